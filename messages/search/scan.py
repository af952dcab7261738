"""A query's text before it is parsed: what luqum would not survive or say badly is found here, with its column. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from messages.search.query import BadQuery
from messages.search.quoting import quoted

LONGEST = 4_000  # characters
DEEPEST = 20  # brackets in brackets
MODIFIERS = {
    "~": "a word or phrase is searched as it is: there is no ~",
    "^": "results are in order of time: there is no ^",
}
PAIRS = {")": "(", "]": "[", "}": "["}
OPERATOR = re.compile(r"\b(?:AND|OR|NOT)\b|&&|\|\|")
RUN = re.compile(r'[^\s()"]*')


@dataclass(slots=True)
class _Scan:
    """opened: (bracket, offset) of what is not closed yet.   quote: offset of an open quote, -1 without."""

    opened: list[tuple[str, int]]
    quote: int = -1


def clean(text: str) -> str:
    """Return the text with what no database takes (NUL, halves of surrogate pairs) replaced; its length and columns stay."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text.replace("\x00", " "))


def check_text(text: str) -> None:
    """Raise BadQuery for what is too long or too deep, not closed, or a modifier that is not supported."""
    if len(text) > LONGEST:
        raise BadQuery(f"a query has at most {LONGEST:,} characters", LONGEST + 1)
    scan = scanned(text)
    if scan.quote >= 0:
        words = text.rstrip().rstrip("\\")
        suggestion = f'{words}"' if words[scan.quote + 1 :].strip() else ""
        raise BadQuery("this quote is not closed", scan.quote + 1, suggestion)
    if scan.opened:
        at, closable = scan.opened[-1][1], all(bracket == "(" for bracket, _ in scan.opened)
        raise BadQuery(
            f"this {text[at]} is not closed", at + 1, f"{text.rstrip()}{')' * len(scan.opened)}" if closable else ""
        )
    if _escapes_nothing(text):
        raise BadQuery("a \\ at the end escapes nothing", len(text), text[:-1].rstrip())


def scanned(text: str) -> _Scan:
    """Return what is open at the end of the text; raises BadQuery for a bracket too many or too deep, and for ~ and ^."""
    scan, skip = _Scan(opened=[]), False
    for at, one in enumerate(text):
        if skip:
            skip = False
        elif one == "\\":
            skip = True
        elif one == '"':
            scan.quote = at if scan.quote < 0 else -1
        elif scan.quote < 0:
            _step(scan, text, one, at)
    return scan


def _step(scan: _Scan, text: str, one: str, at: int) -> None:
    if one in "([{":
        scan.opened.append(("[" if one == "{" else one, at))
        if len(scan.opened) > DEEPEST:
            raise BadQuery(f"this query is nested too deeply: at most {DEEPEST} brackets in one another", at + 1)
    elif one in PAIRS:
        if not scan.opened or scan.opened[-1][0] != PAIRS[one]:
            raise BadQuery(f"nothing opened this {one}", at + 1, (text[:at] + text[at + 1 :]).strip())
        scan.opened.pop()
    elif one in "-+" and _stands_alone(text, at) and "[" not in {bracket for bracket, _ in scan.opened}:
        words = f"a {one} stands right before what it is about; one that is meant as it is needs quotes"
        raise BadQuery(words, at + 1, _joined_or_quoted(text, at))
    elif one in MODIFIERS:
        rest = re.match(r".[\d.]*", text[at:])
        suggestion = text[:at] + text[at + (rest.end() if rest else 1) :]
        raise BadQuery(MODIFIERS[one], at + 1, suggestion.strip())


def _stands_alone(text: str, at: int) -> bool:
    return text[at + 1 : at + 2].isspace() and (not at or text[at - 1].isspace() or text[at - 1] == "(")


def _joined_or_quoted(text: str, at: int) -> str:
    """Return the query with its dash at what follows, without it where nothing does; of plain words one phrase."""
    if not set(text) & set(':"()[]{}\\') and not OPERATOR.search(text):
        return quoted(text.strip())
    rest = text[at + 1 :].lstrip()
    return f"{text[: at + 1]}{rest}" if rest and rest[0] != ")" else f"{text[:at].rstrip()}{rest}"


def _escapes_nothing(text: str) -> bool:
    return (len(text) - len(text.rstrip("\\"))) % 2 == 1


def quoted_at(text: str, at: int) -> str:
    """Return the query with the run of characters that starts here, up to a space, in quotes."""
    run = RUN.match(text, at)
    end = run.end() if run else at
    return text[:at] + quoted(text[at:end].replace("\\", "")) + text[end:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What stands before the cursor. start: where completing replaces from; field: None while a field may still be typed."""

    start: int
    field: str | None
    written: str


FIELD = re.compile(r'(?:^|[\s(])[-+!]*((?:[^\s:()"\\+-]|(?<=[^\s(])[-+]|\\.)+):(\(?)')
PHRASES = re.compile(r'\\.|"(?:[^"\\]|\\.)*"?', re.DOTALL)


def token_before(text: str, cursor: int) -> Token | None:
    """Return the token that ends at the cursor, None inside of a free phrase or a range. Never raises."""
    before = text[: max(0, cursor)]
    bare = _without_phrases(before)
    start = _token_start(before)
    piece = before[start:]
    field, value = None, piece
    if match := re.match(r'((?:[^\s:()"\\]|\\.)+):', piece):
        field, value = match[1], piece[match.end() :]
        start += match.end()
    elif group := _open_group(bare):
        field = group
    if value.startswith(("[", "{", ">", "<")):
        return Token(start=start, field=field, written=value) if field else None
    if field is None and (value.startswith('"') or _in_range(bare)):
        return None
    return Token(start=start, field=field, written=value.removeprefix('"').replace('\\"', '"'))


def _token_start(before: str) -> int:
    """Return where the token begins: after the last space or bracket that is outside of quotes."""
    start, quote, skip = 0, False, False
    for at, one in enumerate(before):
        if skip:
            skip = False
        elif one == "\\":
            skip = True
        elif one == '"':
            quote = not quote
        elif not quote and (one.isspace() or one in "()"):
            start = at + 1
    while start < len(before) and before[start] in "-+":
        start += 1
    return start


def _without_phrases(before: str) -> str:
    """Return the text as long as it is, with nothing in its phrases that could be taken for a bracket."""
    return PHRASES.sub(lambda found: found[0] if found[0][0] == "\\" else "x" * len(found[0]), before)


def _in_range(before: str) -> bool:
    return max(before.rfind("["), before.rfind("{")) > max(before.rfind("]"), before.rfind("}"))


def _open_group(before: str) -> str | None:
    """Return the field whose brackets are open before the cursor, as in `flow:(orders OR `."""
    last = None
    for match in FIELD.finditer(before):
        if match[2] and before.count("(", match.end() - 1) > before.count(")", match.end()):
            last = match[1]
    return last
