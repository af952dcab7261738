"""Lucene syntax → our own nodes. The grammar is luqum's; what it reads otherwise than people mean it is refused in words.

luqum.thread.parse gives each thread a lexer of its own (ply's keeps state); the tables of the parser are only read.
"""

from __future__ import annotations

import re
from typing import Any

from luqum import tree as lucene
from luqum.exceptions import IllegalCharacterError, ParseError
from luqum.thread import parse as lucene_tree

from messages.search.query import (
    EVERYTHING,
    BadQuery,
    Compare,
    Exists,
    Node,
    Place,
    Prefix,
    Query,
    Range,
    Term,
    all_of,
    any_of,
    depth_of,
    leaves_of,
    none_of,
    value_text,
)
from messages.search.scan import DEEPEST, LONGEST, RUN, check_text, clean, quoted_at

MOST_TERMS = 100
MOST_SLIPS = 4  # that are mended together in what is suggested
MOST_WORDS = 20  # without a field: each is looked for in every text of every row of the window
OTHER_WORDS = {"&&": "AND", "||": "OR", "!": "NOT"}
CLOCK = re.compile(r"((?:[01]\d|2[0-3])(?::[0-5]\d){1,2}(?:\.\d{1,6})?)(Z|[+-]\d\d:\d\d)?(?=[\s)]|$)", re.ASCII)
SIGNED = re.compile(r"-?(?:age|duration):[<>]=?[-+]")
DAY = re.compile(r"(\d{4}-\d\d-\d\d)\s+$", re.ASCII)
# error:*timeout*: words of a text are found anywhere in it
ANYWHERE = re.compile(r"\*+(?!(?:AND|OR|NOT|TO)\b)(\w[\w.\-]*)\*?")


def read_query(text: str) -> Query:
    """Return the query of a text, of everything for an empty one; raises BadQuery with the column.

    What it suggests may be refused in its turn: parse_query says only what is taken.
    """
    text = clean(text)
    check_text(text)
    if not text.strip():
        return Query(source=text)
    try:
        tree = lucene_tree(text)
    except IllegalCharacterError as error:
        raise _illegal(text, _offset(error, text)) from error
    except (ParseError, RecursionError, ArithmeticError) as error:
        raise _misplaced(text, _offset(error, text)) from error
    query = Query(_Reader(text).node(tree, None, 0), text)
    check_size(query)
    return query


def check_size(query: Query) -> None:
    """Raise BadQuery for a query that is more than a back end is asked at once, or could not be read from its own text."""
    fields = [leaf.field for leaf in leaves_of(query.root)]
    if len(fields) > MOST_TERMS:
        raise BadQuery(f"a query asks for at most {MOST_TERMS} values")
    if fields.count(None) > MOST_WORDS:
        raise BadQuery(f"at most {MOST_WORDS} words stand without a field: write field:(a OR b), or phrases in quotes")
    if depth_of(query.root) > DEEPEST:
        raise BadQuery(f"this query is nested too deeply: at most {DEEPEST} levels")
    if len(query.text) > LONGEST:
        raise BadQuery(f"a query has at most {LONGEST:,} characters, with every field written out")


def _offset(error: Exception, text: str) -> int:
    found = re.search(r"at position (\d+)!?$", str(error))
    return int(found[1]) if found else len(text)


def _illegal(text: str, at: int) -> BadQuery:
    """luqum found no word here: a single quote, a lone slash."""
    if text[at : at + 1] == "'":
        end = text.find("'", at + 1)
        whole = end > at
        return BadQuery(
            "a phrase stands in double quotes",
            at + 1,
            f'{text[:at]}"{text[at + 1 : end]}"{text[end + 1 :]}' if whole else "",
        )
    return BadQuery(f"a word with {text[at : at + 1]} needs quotes", at + 1, quoted_at(text, at))


def _misplaced(text: str, at: int) -> BadQuery:
    """luqum found a word that cannot stand here, or the end."""
    if at >= len(text):
        end = len(text.rstrip())
        return BadQuery("something is missing at the end", end + 1)
    found = re.match(r"AND\b|OR\b|NOT\b|TO\b|.", text[at:], re.DOTALL)
    word = found[0] if found else ""
    if word in ("AND", "OR"):
        return BadQuery(f"{word} needs something on both sides", at + 1)
    if (to := re.match(r"to\s", text[at:], re.IGNORECASE)) and max(text.rfind("[", 0, at), text.rfind("{", 0, at)) >= 0:
        return BadQuery("TO is written in capitals", at + 1, f"{text[:at]}TO{text[at + to.end() - 1 :]}")
    run = RUN.match(text[:at][::-1])
    start = at - (run.end() if run else 0)  # of what stands right before it, up to a space
    if word == ":" and start < at:
        value = max(start, text.find(":", start, at) + 1)
        bracket = re.match(r"[\[{><=]+", text[value:at])
        return BadQuery(
            "a value with a colon needs quotes", at + 1, quoted_at(text, value + (bracket.end() if bracket else 0))
        )
    if word in "-+" and (span := SIGNED.match(text, start)) and span.end() == at + 1:
        return BadQuery("a span has no sign", at + 1, text[:at] + text[at + 1 :])
    if word in "-+" and start < at:
        return BadQuery(f"a value that begins with {word} needs quotes", at + 1, quoted_at(text, at))
    if word in "[{" or "TO" in text[:at].split():
        return BadQuery("a range is written [low TO high], an open end is *", at + 1)
    return BadQuery(f"“{word}” cannot stand here", at + 1)


class _Reader:
    """luqum's tree → nodes. field: the SearchField that a part belongs to, None for free text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def node(self, item: Any, field: Any, depth: int, *, in_or: bool = False) -> Node:
        if depth > 4 * DEEPEST:
            raise BadQuery(f"this query is nested too deeply: at most {DEEPEST} levels")
        deeper = depth + 1
        match item:
            case lucene.UnknownOperation() | lucene.AndOperation():
                return all_of(*(self.node(child, field, deeper) for child in item.children))
            case lucene.OrOperation():
                return any_of(*(self.node(child, field, deeper, in_or=True) for child in item.children))
            case lucene.Not() | lucene.Prohibit():
                return none_of(self.node(item.children[0], field, deeper))
            case lucene.Plus():
                if in_or:
                    raise BadQuery("+ beside OR says two things: leave one out", item.pos + 1)
                return self.node(item.children[0], field, deeper)
            case lucene.Group() | lucene.FieldGroup():
                return self.node(item.children[0], field, deeper)
            case lucene.SearchField():
                return self.searched(item, field, deeper)
        return self.leaf(item, field)

    def searched(self, item: Any, outer: Any, depth: int) -> Node:
        inner = item.expr
        if outer is not None:
            direct = outer.expr is item
            suggestion = quoted_at(self.text, item.pos) if direct else ""
            raise BadQuery(
                f"{outer.name} is asked already: a value with a colon needs quotes", item.pos + 1, suggestion
            )
        if isinstance(inner, lucene.Prohibit | lucene.Plus | lucene.Not):
            words = "a value that begins with - or + needs quotes, and a - for “not” stands before the field"
            raise BadQuery(words, inner.pos + 1, quoted_at(self.text, inner.pos))
        hour, day = CLOCK.match(self.text, item.pos), DAY.search(self.text[: item.pos])
        if hour and day:  # at:>2026-11-24 10:00 would ask for a business key called 10
            meant = value_text(f"{day[1]}T{hour[1]}{hour[2] or 'Z'}")
            suggestion = f"{self.text[: day.start()]}{meant}{self.text[hour.end() :]}"
            raise BadQuery("a time is one word with its zone, such as 2026-11-24T10:00Z", item.pos + 1, suggestion)
        if item.name == "*" and isinstance(inner, lucene.Word) and inner.value == "*":
            return EVERYTHING
        if re.search(r"(?<!\\)[*?]", item.name):
            raise BadQuery("the name of a field is written out", item.pos + 1)
        if item.name.startswith("!"):
            raise self.other_operator(item, item.name)
        return self.node(inner, item, depth)

    def leaf(self, item: Any, field: Any) -> Node:
        name = None if field is None else _unescaped(field.name)
        match item:
            case lucene.Word():
                return self.word(item, field, name)
            case lucene.Phrase():
                return Term(name, self.phrase(item), place=self.place(item, field))
            case lucene.From() | lucene.To() | lucene.Range() if name is None:
                raise BadQuery("say what is compared, as in duration:>2s", item.pos + 1)
            case lucene.From() | lucene.To():
                op = (">" if isinstance(item, lucene.From) else "<") + ("=" if item.include else "")
                bound = item.children[0]
                return Compare(str(name), op, self.bound(bound), place=self.place(bound, field))
            case lucene.Range():
                return self.range(item, field, str(name))
            case lucene.Regex():
                web = field is not None and item.value == "//"  # https://host/path
                suggestion = quoted_at(self.text, field.pos if web else item.pos)
                raise BadQuery(
                    "there are no regular expressions: text in slashes needs quotes", item.pos + 1, suggestion
                )
        raise BadQuery("this is not supported", (item.pos or 0) + 1)

    def word(self, item: Any, field: Any, name: str | None) -> Node:
        raw, place = item.value, self.place(item, field)
        if raw in OTHER_WORDS or raw.startswith("!"):
            raise self.other_operator(item, raw)
        if raw == "*":
            return EVERYTHING if name is None else Exists(name, place=place)
        stem = raw[:-1] if raw.endswith("*") and not re.search(r"(?<!\\)(\\\\)*\\\*$", raw) else raw
        self.check_no_wildcard(item, stem)
        return Prefix(name, _unescaped(stem), place=place) if stem != raw else Term(name, _unescaped(raw), place=place)

    def check_no_wildcard(self, item: Any, raw: str) -> None:
        if wild := re.search(r"(?<!\\)(?:\\\\)*([*?])", raw):
            words = "a * stands only at the end of a word" if wild[1] == "*" else "there is no ? for any character"
            inner = ANYWHERE.fullmatch(item.value)
            end = item.pos + len(item.value)
            raise BadQuery(
                f"{words}; one that is meant as it is needs quotes",
                item.pos + wild.start(1) + 1,
                f"{self.text[: item.pos]}{inner[1]}{self.text[end:]}" if inner else quoted_at(self.text, item.pos),
            )

    def other_operator(self, item: Any, raw: str) -> BadQuery:
        ours = OTHER_WORDS.get(raw, "-")
        end = item.pos + (len(raw) if raw in OTHER_WORDS else 1)
        return BadQuery(
            f"write {ours} for {self.text[item.pos : end]}",
            item.pos + 1,
            self.text[: item.pos] + ours + self.text[end:],
        )

    def phrase(self, item: Any) -> str:
        value = _unescaped(item.value[1:-1])
        if not value:
            raise BadQuery("there is nothing between these quotes", item.pos + 1)
        return value

    def bound(self, item: Any) -> str:
        """Return the value of one end of a range; a - before it is part of it."""
        if isinstance(item, lucene.Prohibit):
            return f"-{self.bound(item.children[0])}"
        if isinstance(item, lucene.Phrase):
            return self.phrase(item)
        self.check_no_wildcard(item, item.value)
        return _unescaped(item.value)

    def range(self, item: Any, field: Any, name: str) -> Node:
        ends = [
            None if isinstance(end, lucene.Word) and end.value == "*" else self.bound(end)
            for end in (item.low, item.high)
        ]
        low, high = ends
        if low is not None and high is not None:
            return Range(name, low, high, item.include_low, item.include_high, place=self.place(item, field))
        if low is not None:
            return Compare(name, ">=" if item.include_low else ">", low, place=self.place(item.low, field))
        if high is not None:
            return Compare(name, "<=" if item.include_high else "<", high, place=self.place(item.high, field))
        return Exists(name, place=self.place(item, field))

    def place(self, item: Any, field: Any) -> Place:
        end = item.pos + len(str(item))
        if field is None:
            return Place(item.pos, end)
        return Place(item.pos, end, field.pos, field.pos + len(field.name))


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)
