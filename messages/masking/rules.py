"""Masking rules, compiled, and what they make of one item: its body, headers, attributes and texts. Pure but for its CPU clock.

Nothing here can hang: paths are followed in one walk (trees.py), regular expressions run on RE2, which does not backtrack, and every
batch has a budget of CPU time. What the budget does not reach is not stored unmasked: a text becomes the mark, a body a note.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import msgspec
import re2

from console.core.errors import Unavailable
from messages.masking.hashes import keyed_hash
from messages.masking.octets import bytes_in, readings_of, text_of
from messages.masking.paths import LONGEST, BadExpression, Path, parse_json_path, parse_xpath

MARK = "•••"
JSON_PATH, XPATH, HEADER, REGEX = KINDS = ("json_path", "xpath", "header", "regex")
MOST_KEPT = 8
MOST_PROGRAM = 500  # instructions of RE2: its slow path costs about 20 ns for each of them and each byte
MOST_WORK = 150_000_000  # instructions × bytes of one text: 3 s of that slow path, which no sensible expression takes
BUDGET_S = 3.0  # CPU time that all rules together may take for one batch; 20 MiB of ordinary bodies take under one


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule as its row says it. flow_id None: every flow. keep_last: characters left at the end. drop: see docs/masking.md.

    found_as  business key that the keyed hash of what it replaces becomes, "" for none; under hash_key.
    """

    id: int
    flow_id: int | None
    kind: str
    expression: str
    keep_last: int = 0
    drop: bool = True
    found_as: str = ""
    hash_key: bytes = field(default=b"", repr=False)


ANCHOR = re.compile(r"(?<!\[)\^|\$|\\A|\\z")


class Overrun(Exception):
    """The budget of this batch, or of this one text, is used up."""


class Budget:
    """CPU seconds of this thread that a batch may still spend on masking; waiting and other threads do not count."""

    def __init__(self, seconds: float = BUDGET_S) -> None:
        self.until = time.thread_time() + seconds

    def check(self) -> None:
        if time.thread_time() > self.until:
            raise Overrun


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """The rules of one flow, each kind in the order of the list."""

    json_paths: tuple[tuple[Rule, Path], ...] = ()
    xpaths: tuple[tuple[Rule, Path], ...] = ()
    headers: tuple[tuple[Rule, re.Pattern[str]], ...] = ()
    patterns: tuple[tuple[Rule, Any], ...] = ()

    @property
    def all(self) -> list[Rule]:
        return [rule for rule, _ in (*self.json_paths, *self.xpaths, *self.headers, *self.patterns)]

    @property
    def for_bodies(self) -> bool:
        return bool(self.json_paths or self.xpaths or self.patterns)

    @property
    def for_texts(self) -> bool:
        return bool(self.headers or self.patterns)


class Masking:
    """An environment's rules by flow."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        self._by_flow: dict[int, Compiled | None] = {}

    def __bool__(self) -> bool:
        return bool(self.rules)

    def of_flow(self, flow_id: int) -> Compiled | None:
        """Return what applies to a flow, None for nothing."""
        if flow_id not in self._by_flow:
            mine = tuple(rule for rule in self.rules if rule.flow_id in (None, flow_id))
            self._by_flow[flow_id] = _compiled(mine) if mine else None
        return self._by_flow[flow_id]

    def of_unknown_flow(self) -> Compiled | None:
        """Return every rule of the environment: what is not known to belong elsewhere may belong to any flow."""
        return _compiled(self.rules) if self.rules else None


def _compiled(rules: tuple[Rule, ...]) -> Compiled:
    try:
        return compile_rules(rules)
    except BadExpression as error:  # another version of RE2 took it: store nothing until somebody has looked
        raise Unavailable(f"a masking rule cannot be used any more: {error}") from error


@lru_cache(maxsize=256)
def compile_rules(rules: tuple[Rule, ...]) -> Compiled:
    """Return these rules compiled; raises BadExpression for one that check_expression would have refused."""
    return Compiled(
        json_paths=tuple((rule, parse_json_path(rule.expression)) for rule in rules if rule.kind == JSON_PATH),
        xpaths=tuple((rule, parse_xpath(rule.expression)) for rule in rules if rule.kind == XPATH),
        headers=tuple((rule, _header_pattern(rule.expression)) for rule in rules if rule.kind == HEADER),
        patterns=tuple((rule, compile_regex(rule.expression)) for rule in rules if rule.kind == REGEX),
    )


def check_expression(kind: str, expression: str) -> None:
    """Raise BadExpression, in words that name the column, when a rule of this kind cannot have this expression."""
    if not expression.strip() or len(expression) > LONGEST:
        raise BadExpression(f"an expression has 1 to {LONGEST} characters")
    if "\x00" in expression:
        raise BadExpression(f"column {expression.index(chr(0)) + 1}: NUL is no part of an expression")
    checks = {JSON_PATH: parse_json_path, XPATH: parse_xpath, REGEX: compile_regex, HEADER: _check_header}
    if kind not in checks:
        raise BadExpression(f"a rule is one of {', '.join(KINDS)}")
    checks[kind](expression)


def _check_header(expression: str) -> None:
    if found := re.search(r"[\s:\[\]]", expression):
        raise BadExpression(
            f"column {found.start() + 1}: a header's name has no space, colon or bracket; * and ? stand for anything"
        )


def _header_pattern(expression: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(expression.lower()))  # atomic groups: it does not backtrack


def compile_regex(expression: str) -> Any:
    """Return the expression compiled by RE2; raises BadExpression with the column of what it does not take."""
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True  # groups would send every match through the slow path
    try:
        pattern = re2.compile(expression, options)
    except re2.error as error:
        raise _refused(expression, error) from error
    except UnicodeError as error:
        raise BadExpression("the expression is not valid text") from error
    if max(pattern.programsize, pattern.reverseprogramsize) > MOST_PROGRAM:
        raise BadExpression(
            f"it repeats too much: {pattern.programsize:,} steps, at most {MOST_PROGRAM} are taken; make the numbers in {{…}} smaller"
        )
    if pattern.groups:  # never_capture spares named groups
        raise BadExpression(
            f"column {max(expression.find('(?P<'), expression.find('(?<')) + 1}: a group has no name here"
        )
    if pattern.search(b"") is not None:
        raise BadExpression("it matches the empty text, so it would match everywhere")
    return pattern


HINTS = {
    "invalid perl operator": "looking ahead or behind is not taken, because it cannot be done in linear time",
    "invalid escape sequence": "this escape is not taken; \\1 and other back references cannot be done in linear time",
}


def _refused(expression: str, error: Exception) -> BadExpression:
    words = error.args[0]
    said = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
    what, _, where = said.partition(": ")
    at = expression.find(where) if where and where != expression else -1
    column = at + 1 if at >= 0 else len(expression) + 1
    return BadExpression(f"column {column}: {HINTS.get(what, what)}" + (f" ({where[:60]})" if at >= 0 else ""))


class Work:
    """What the rules of a flow do to one item, and how often each did. One budget serves all items of a batch."""

    def __init__(self, rules: Compiled, budget: Budget) -> None:
        self.rules = rules
        self.budget = budget
        self.counts: Counter[int] = Counter()  # rule id → values replaced
        self.in_payload: Counter[int] = Counter()  # those of counts that lie in the payload
        self.hashes: dict[str, str] = {}  # name it is found by → keyed hash of the first value of that name
        self.dropped: Counter[int] = Counter()  # rule id → bodies and texts not stored because it could not be applied

    def masked(self, rule: Rule, value: object) -> str:
        """Return what stands instead of a value: the mark, and its last characters where the rule keeps some.

        They stay only when they are at most half of the value: a PIN under a rule for card numbers shows nothing.
        """
        self.counts[rule.id] += 1
        text = bytes(value).decode() if isinstance(value, msgspec.Raw) else value
        if rule.found_as and isinstance(text, str) and text.strip():
            self.hashes.setdefault(rule.found_as, keyed_hash(rule.hash_key, rule.found_as, text))
        if rule.keep_last and isinstance(text, str) and len(text := text.strip()) >= 2 * rule.keep_last:
            return MARK + text[-rule.keep_last :]
        return MARK

    def text(self, text: str | None) -> str | None:
        """Return a text with what the regular expressions match replaced, also in bytes that stand in it as base64."""
        if not text or not self.rules.patterns:
            return text
        masked = self._text(text)
        return text if masked is None else masked

    def _text(self, text: str) -> str | None:
        masked = self.leaf(text)
        data = bytes_in(text) if masked is None else None
        return masked if data is None else self.octets(data)

    def octets(self, data: bytes) -> str | None:
        """Return bytes masked as the text they are; the mark for those that are none and have a match however they are read; None without."""
        if (text := text_of(data)) is not None:
            return self.leaf(text)
        return MARK if any(self.leaf(reading) is not None for reading in readings_of(data)) else None

    def leaf(self, text: str) -> str | None:
        """Return a text masked by the regular expressions, None when none of them matches."""
        data = text.encode("utf-8", "surrogatepass")
        try:
            masked = self.matches(data)
        except Overrun:
            for rule, _ in self.rules.patterns:
                self.dropped[rule.id] += 1
                self.counts[rule.id] += 1
            return MARK
        return None if masked is None else masked.decode("utf-8", "replace")

    def may_match(self, data: bytes) -> bool:
        """Whether an expression could match one of the values of which this is the whole; those with anchors always could."""
        if any(ANCHOR.search(rule.expression) for rule, _ in self.rules.patterns):
            return True
        return any(
            len(data) * pattern.programsize > MOST_WORK or pattern.search(data) for _, pattern in self.rules.patterns
        )

    def matches(self, data: bytes, *, across: bytes = b"") -> bytes | None:
        """Return UTF-8 with every match replaced, None without any; across: only those that contain one of these bytes."""
        found = None
        for rule, pattern in self.rules.patterns:
            if len(data) * pattern.programsize > MOST_WORK:
                raise Overrun
            pieces, end = [], 0
            for match in pattern.finditer(data):
                self.budget.check()
                hit = match.group()
                if hit and not (across and not any(byte in hit for byte in across)):
                    pieces += [data[end : match.start()], self.masked(rule, hit.decode("utf-8", "replace")).encode()]
                    end = match.end()
            if pieces:
                found = data = b"".join([*pieces, data[end:]])
            self.budget.check()
        return found

    def named(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return attributes, properties or headers by name, masked by header rules and regular expressions."""
        return {name: self.value(value, name) for name, value in values.items()}

    def value(self, value: Any, name: str = "") -> Any:
        """Return a JSON-like value masked; a number that matches becomes text."""
        if value is None:
            return None
        if name and (rule := self.header_rule(name)) is not None:
            return self.masked(rule, _plain(value))
        if isinstance(value, dict):
            return self.named(value)
        if isinstance(value, list | tuple):
            return [self.value(one) for one in value]
        if isinstance(value, bool) or not self.rules.patterns:
            return value
        masked = self._scalar(value)
        return value if masked is None else masked

    def _scalar(self, value: Any) -> str | None:
        if isinstance(value, bytes):
            return self.octets(value)
        return self.leaf(str(value)) if isinstance(value, int | float) else self._text(str(value))

    def header_rule(self, name: str) -> Rule | None:
        lower = name.lower()
        return next((rule for rule, pattern in self.rules.headers if pattern.match(lower)), None)

    def headers(self, headers: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return typed headers ({"name", "type", "value"}) masked; one that was is a string from now on."""
        return [self._header(dict(header)) for header in headers]

    def _header(self, header: dict[str, Any]) -> dict[str, Any]:
        value = header.get("value")
        if header.get("type") == "bytes" and isinstance(value, str):
            value = _from_base64(value)
        masked = self.value(value, str(header.get("name", "")))
        if masked == value:
            return header
        kind = "json" if isinstance(masked, dict | list) else "string"
        return {"name": header.get("name", ""), "type": kind, "value": masked}


def _from_base64(text: str) -> object:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return text


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
