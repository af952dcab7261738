"""How deep a JSON text is nested, told in one pass and before anything parses it. Pure."""

from __future__ import annotations

import re

# A string that never ends is eaten to the end of the text, and nothing is given back (*+, ++): with a pattern that could fail
# there, each quote was tried as a start again, and 40 KB of `"\"\"\"…` took 19 s.
STRING = re.compile(rb'"(?:[^"\\]++|\\.?)*+"?', re.S)
NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def deeper_than(most: int, data: bytes) -> bool:
    """Whether brackets outside strings are nested deeper than `most`; what is no JSON gets some answer, in linear time."""
    depth = 0
    for byte in STRING.sub(b"", data).translate(None, NO_BRACKETS):
        depth += 1 if byte in b"[{" else -1
        if depth > most:
            return True
    return False
