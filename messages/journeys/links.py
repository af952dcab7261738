"""What people paste behind /j/ and /m/: trace ids as logs, headers and tools write them, message ids as browsers bring them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote
from uuid import UUID

LONGEST, LONGEST_LINE = 512, 8_000
NAMED = re.compile(
    r"^[\s\"'{\[(]*(?:trace[-_. ]?parent|(?:uber-|x-amzn-)?trace[-_. ]?id|x-b3-traceid|b3|root)[\"']?\s*[:=]\s*", re.I
)
# W3C trace context: version-trace-parent-flags, and whatever a later version adds.   B3 single: trace-span-sampled-parent.
TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}(?:-[0-9a-f]{2}(?:-.*)?)?")
B3 = re.compile(r"([0-9a-f]{32}|[0-9a-f]{16})-[0-9a-f]{16}(?:-[01d](?:-[0-9a-f]{16})?)?")
XRAY = re.compile(r"1-([0-9a-f]{8})-([0-9a-f]{24})(?:;.*)?")
# trace:span:parent:flags; zeros before an id are left out
JAEGER = re.compile(r"([0-9a-f]{8,32})(?:(?::|%3a)[0-9a-f]{1,16}){3}")
HEX = re.compile(r"[0-9a-f]{32}")
SHORT = re.compile(r"[0-9a-f]{16}")  # 64 bits, as B3 and Jaeger once had; stored with zeros before them
UUID_LIKE = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# In a line of a log, a header of Google Cloud: the first of these that is there, for other ids often look as the later ones do.
ANYWHERE = [
    re.compile(rf"(?<![0-9a-z]){one}(?![0-9a-z])")
    for one in (HEX.pattern, r"root=1-([0-9a-f]{8}-[0-9a-f]{24})", r"1-([0-9a-f]{8}-[0-9a-f]{24})", UUID_LIKE.pattern)
]


def parse_trace(text: str) -> UUID | None:
    """Return the trace id in what somebody pasted, None when there is none.

    Takes 32 hexadecimal digits in any case, with the dashes of a UUID or without; 16; a W3C traceparent, B3, Jaeger and X-Ray headers whole, with
    or without their names, quotes and spaces; and any text with one such id of 32 digits in it, as a whole line of a log: one with dashes
    where none is without. All zeros are no trace (W3C trace context).
    """
    bare = NAMED.sub("", text[:LONGEST_LINE]).strip(" \t\r\n\"'{}[]().,;/")
    plain = bare.lower().removeprefix("0x").removeprefix("root=")
    found = ""
    if match := TRACEPARENT.fullmatch(plain) or B3.fullmatch(plain) or JAEGER.fullmatch(plain):
        found = match[1]
    elif match := XRAY.fullmatch(plain):
        found = match[1] + match[2]
    elif HEX.fullmatch(plain) or SHORT.fullmatch(plain):
        found = plain
    elif len(told := next(filter(None, (set(one.findall(plain)) for one in ANYWHERE)), set())) == 1:
        found = told.pop().replace("-", "")
    return UUID(found.zfill(32)) if found.strip("0") else None


def readings_of(text: str, query: str) -> Iterator[str]:
    """Yield what a message id or key value in an address may have been: as it came, with what a bare `?` cut off, trimmed, escaped twice.

    query  the query string behind it.
    """
    seen = set()
    cut = (f"{text}?{query}", f"{text}?{unquote(query)}") if query else ()
    for one in (*cut, text, text.strip(), unquote(text), text.strip("\"'<> ")):
        if one and one not in seen and len(one) <= LONGEST and "\x00" not in one:
            seen.add(one)
            yield one
