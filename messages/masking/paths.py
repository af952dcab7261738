"""Paths into JSON and XML, read from a subset of JSONPath (RFC 9535) and XPath 1.0. Pure.

A subset on purpose. Both languages can be written so that a small body keeps a process busy for minutes: measured, libxml2 takes
88 s for `count(//*[count(//*[count(//*)>0])>0])` over 12 KB, and neither it nor the JSONPath libraries can be given a limit. What is
taken here is a chain of steps, so all rules are followed in one walk over the body, in time that grows with its size alone
(messages/masking/trees.py). docs/masking.md lists what can be written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from console.core.errors import Invalid

LONGEST = 500
MOST_STEPS = 32

SPACE = r"[ \t\r\n]*"
QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
JSON_NAME = r"[^\W\d][\w-]*"
MEMBER = re.compile(rf"\.(?P<deep>\.)?(?:(?P<any>\*)|(?P<name>{JSON_NAME})|(?=\[))")
BRACKET = re.compile(rf"\[{SPACE}(?:(?P<any>\*)|(?P<index>-?\d{{1,9}})|(?P<quoted>{QUOTED}))?{SPACE}\]")
FILTER = re.compile(
    rf"\[{SPACE}\?{SPACE}\(?{SPACE}@(?:\.(?P<name>{JSON_NAME})|\[{SPACE}(?P<quoted>{QUOTED}){SPACE}\]){SPACE}=="
    rf"{SPACE}(?P<value>{QUOTED}|-?\d[\d.eE+-]*|true|false|null){SPACE}\)?{SPACE}\]"
)
XML_NAME = r"(?:(?:[^\W\d][\w.-]*|\*):)?(?P<name>[^\W\d][\w.-]*|\*)"
XML_STEP = re.compile(rf"/(?P<deep>/)?(?:(?P<text>text\(\))|(?P<attribute>@)?{XML_NAME})")
CONDITION = re.compile(rf"\[{SPACE}(?P<attribute>@)?{XML_NAME}{SPACE}={SPACE}(?P<value>'[^']*'|\"[^\"]*\"){SPACE}\]")


class BadExpression(Invalid):
    """The expression of a masking rule cannot be used; the sentence names the column."""

    code = "bad_expression"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step down. name: of a member, element or attribute, None for any; index: in an array; deep: at any depth below."""

    name: str | None = None
    index: int | None = None
    deep: bool = False
    kind: str = "child"  # or attribute, text: XML only, and last
    where: tuple[tuple[str, object], ...] = ()  # (member, "@attribute" or element, the value it must have)


Path = tuple[Step, ...]


def parse_json_path(expression: str) -> Path:
    """Return the steps of a JSON path such as `$.order.cards[*].number` or `$..iban`; raises BadExpression."""
    if not expression.startswith("$"):
        raise _bad(expression, 0, "a JSON path begins with $")
    steps: list[Step] = []
    at = 1
    while at < len(expression):
        deep = False
        if expression[at] == ".":
            found = MEMBER.match(expression, at)
            if found is None:
                raise _bad(expression, at + 1, "after a dot comes the name of a member, or *")
            deep, at = bool(found["deep"]), found.end()
            if found["any"] or found["name"]:
                steps.append(Step(name=found["name"], deep=deep))
                continue
            if not deep:
                raise _bad(expression, at, "before a bracket comes no single dot")
        step, at = _bracket(expression, at, deep)
        steps.append(step)
    return _checked(expression, steps, "name a member below $, for instance $.card")


def _bracket(expression: str, at: int, deep: bool) -> tuple[Step, int]:
    if found := FILTER.match(expression, at):
        name = found["name"] or _unquoted(found["quoted"])
        return Step(deep=deep, where=((name, _literal(found["value"])),)), found.end()
    found = BRACKET.match(expression, at)
    if found is None or not (found["any"] or found["index"] or found["quoted"]):
        raise _bad(expression, at, "a step is .name, ..name, ['name'], [0], [*] or [?@.name=='value']")
    name = _unquoted(found["quoted"]) if found["quoted"] else None
    return Step(name=name, index=int(found["index"]) if found["index"] else None, deep=deep), found.end()


def _unquoted(quoted: str) -> str:
    return re.sub(r"\\(.)", r"\1", quoted[1:-1])


def _literal(text: str) -> object:
    """Return a filter's value as trees hold it: text, a number as the bytes it was written with, true, false, null."""
    if text[0] in "'\"":
        return _unquoted(text)
    return {"true": True, "false": False, "null": None}.get(text, text.encode())


def parse_xpath(expression: str) -> Path:
    """Return the steps of an XPath such as `//card/@number` or `/order/customer[@type='private']/name`; raises BadExpression."""
    if not expression.startswith("/"):
        raise _bad(expression, 0, "begin with / or //")
    steps: list[Step] = []
    at = 0
    while at < len(expression):
        if steps and steps[-1].kind != "child":
            raise _bad(expression, at, "nothing comes after an attribute or text()")
        found = XML_STEP.match(expression, at)
        if found is None:
            raise _bad(expression, at, "a step is /name, //name, /*, /@attribute or /text()")
        at, where = found.end(), []
        while condition := CONDITION.match(expression, at):
            if condition["name"] == "*":
                raise _bad(expression, at, "a condition names one attribute or element")
            where.append(((condition["attribute"] or "") + condition["name"], condition["value"][1:-1]))
            at = condition.end()
        if at < len(expression) and expression[at] == "[":
            raise _bad(expression, at, "a condition is [@attribute='value'] or [element='value']")
        kind = "text" if found["text"] else "attribute" if found["attribute"] else "child"
        if where and kind != "child":
            raise _bad(expression, at, "only elements have conditions")
        name = None if found["name"] == "*" else found["name"]
        steps.append(Step(name=name, deep=bool(found["deep"]), kind=kind, where=tuple(where)))
    return _checked(expression, steps, "name an element, for instance //card")


def _checked(expression: str, steps: list[Step], none: str) -> Path:
    if not steps:
        raise _bad(expression, len(expression), none)
    if len(steps) > MOST_STEPS:
        raise _bad(expression, len(expression), f"at most {MOST_STEPS} steps")
    return tuple(steps)


def _bad(expression: str, at: int, why: str) -> BadExpression:
    return BadExpression(f"column {min(at, len(expression)) + 1}: {why}")
