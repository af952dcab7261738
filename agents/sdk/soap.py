"""The fault in a SOAP answer. Pure, standard library only: no DTD, no entities, bounded depth and text; hostile bodies raise nothing.

Source: SOAP 1.1, section 4.4 (faultcode, faultstring); SOAP 1.2 part 1, section 5.4 (Code, Subcode, Reason).
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from xml.parsers import expat

SOAP_11, SOAP_12 = "http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope"
ENCODINGS = frozenset({"utf-8", "utf-16", "iso-8859-1", "us-ascii"})  # those that expat itself knows
DEEPEST, MOST_TEXT = 100, 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class SoapFault:
    """code and subcode as they stand there, with their prefix: "soap:Server"; text: faultstring, or the first Reason."""

    code: str
    subcode: str
    text: str


class _NotForUs(Exception):
    """A document type, too deep, or no SOAP: nothing more is read."""


class _Reader:
    """Collects text by the path of its element below Fault, without namespaces: 1.1 has none there, 1.2 has its own."""

    def __init__(self) -> None:
        self.path: list[str] = []
        self.found: dict[tuple[str, ...], str] = {}
        self.faulty = False

    def start(self, name: str, _: object) -> None:
        namespace, _, local = name.rpartition(" ")
        self.path.append(local)
        depth = len(self.path)
        if depth > DEEPEST or (depth == 1 and not (local == "Envelope" and namespace in (SOAP_11, SOAP_12))):
            raise _NotForUs
        if depth == 3 and self.path[1:] == ["Body", "Fault"] and namespace in (SOAP_11, SOAP_12):
            self.faulty = True
        if depth > 3 and self.path[1:3] == ["Body", "Fault"] and self.path[3:] in (["Reason", "Text"], ["faultstring"]):
            key = tuple(self.path[3:])
            if self.found.get(key):  # the same in another language
                self.found[key] += "\0"

    def end(self, _: str) -> None:
        self.path.pop()

    def text(self, data: str) -> None:
        if self.faulty and self.path[1:3] == ["Body", "Fault"] and len(self.path) <= 7:
            key = tuple(self.path[3:])
            self.found[key] = (self.found.get(key, "") + data)[:MOST_TEXT]

    def stop(self, *_: object) -> None:
        raise _NotForUs

    def said(self, *paths: str) -> str:
        texts = (self.found.get(tuple(path.split("/")), "").split("\0")[0].strip() for path in paths)
        return next((text for text in texts if text), "")


def soap_fault(body: bytes, charset: str = "") -> SoapFault | None:
    """Return the fault of an answer, also of one that is cut off behind it; None when it has none or is no SOAP."""
    reader = _Reader()
    with contextlib.suppress(expat.ExpatError, ValueError, LookupError, _NotForUs):
        parser = expat.ParserCreate(charset if charset in ENCODINGS else None, " ")
        parser.buffer_text = True
        parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
        parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = reader.text, reader.stop
        parser.Parse(body, True)
    if not reader.faulty:
        return None
    return SoapFault(
        code=reader.said("faultcode", "Code/Value"),
        subcode=reader.said("Code/Subcode/Value"),
        text=reader.said("faultstring", "Reason/Text"),
    )
