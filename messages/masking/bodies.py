"""A body through the rules of its flow: unpacked, read as JSON or XML, masked, written again; or a note instead. Pure.

A body that a rule cannot be applied to is not stored: a note says which rule and why. It never gets through unmasked, unless the rule
itself says that such bodies are kept.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from messages.masking.rules import MARK, Overrun, Rule, Work
from messages.masking.trees import (
    Ambiguous,
    Unreadable,
    mask_json,
    mask_json_texts,
    mask_xml,
    mask_xml_texts,
    read_json,
    read_xml,
    reads_as_ascii,
    write_json,
    write_xml,
)
from messages.payloads.seal import Content
from messages.payloads.unpack import MOST_BYTES, Packed, declared_encoding, is_encoding, unpack

BOM = codecs.BOM_UTF8


@dataclass(frozen=True, slots=True, kw_only=True)
class Masked:
    """What came of a body; encoding: what it is still packed with, "" when it was unpacked to be masked."""

    body: bytes
    changed: bool = False
    encoding: str = ""


def mask_content(work: Work, content: Content, content_type: str, encoding: str = "") -> tuple[Content, bool]:
    """Return (content, whether a replay would send something else than what came) of a body with headers and properties."""
    declared = encoding or declared_encoding(content.headers, content.properties)
    masked = mask_body(work, content.body, content_type, declared)
    headers, properties = content.headers, content.properties
    if work.rules.for_texts:
        headers, properties = work.headers(headers), work.named(properties)
    if masked.changed and declared and not masked.encoding:
        headers = [header for header in headers if not is_encoding(str(header.get("name", "")))]
        properties = {name: value for name, value in properties.items() if not is_encoding(name)}
    changed = masked.changed or headers != content.headers or properties != content.properties
    return (Content(masked.body, headers, properties) if changed else content), changed


def mask_body(work: Work, body: bytes, content_type: str = "", encoding: str = "") -> Masked:
    """Return a body masked by JSON paths, XPaths and regular expressions; a packed one unpacked when anything in it was."""
    if not body or not work.rules.for_bodies:
        return Masked(body=body, encoding=encoding)
    before = work.counts.copy()
    try:
        work.budget.check()
        masked = _masked(work, _unpacked(body, encoding), content_type)
    except (Unreadable, Overrun) as error:
        work.counts = before
        rules = _structured(work) or [rule for rule, _ in work.rules.patterns if rule.drop]
        if isinstance(error, Overrun):
            return _note(work, rules or work.rules.all, "it would take too long")
        return _note(work, rules, str(error)) if rules else Masked(body=body, encoding=encoding)
    if masked is None:
        return Masked(body=body, encoding=encoding)
    return Masked(body=masked, changed=True)


def _unpacked(body: bytes, encoding: str) -> bytes:
    """Return the body without its compression, at most 4 MiB; raises Unreadable."""
    try:
        plain = unpack(body, encoding)
    except Packed as error:
        raise Unreadable("it is packed in a way that is not known, or broken") from error
    if plain.cut or len(plain.body) > MOST_BYTES:
        raise Unreadable(f"it is larger than {MOST_BYTES // 1024 // 1024} MiB")
    return plain.body


def _masked(work: Work, body: bytes, content_type: str) -> bytes | None:
    """Return the body masked, None when nothing in it is; raises Unreadable, Overrun."""
    text = body.removeprefix(BOM).lstrip()
    is_xml = text.startswith((b"<", codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    paths = work.rules.xpaths if is_xml else work.rules.json_paths
    texts = bool(work.rules.patterns) and not (_tells_all(body, is_xml) and not work.may_match(body))
    if not paths and not texts and not _structured(work):
        return None
    try:
        masked = (_xml if is_xml else _json)(work, body, texts)
    except Ambiguous:
        raise
    except Unreadable:
        if _structured(work):
            raise
        return _text(work, body, content_type)
    if not paths and _structured(work):
        raise Unreadable("it is XML" if is_xml else "it is JSON")
    # What an expression matches over the border of two values is no value of JSON or XML: it is replaced as text.
    border = b"<>\"'" if is_xml else b'",:[]{}'
    across = work.matches(body if masked is None else masked, across=border) if texts else None
    return masked if across is None else across


def _tells_all(body: bytes, is_xml: bool) -> bool:
    """Whether every value stands in the body as it is, without escapes, so that what is not found in the whole is in no value."""
    if is_xml:
        return body.isascii() and reads_as_ascii(body) and not any(byte in body for byte in b"&\r\n\t")
    return b"\\" not in body and charset_of(body, "") is not None


def _structured(work: Work) -> list[Rule]:
    """Return the rules that need JSON or XML and let nothing else through."""
    return [rule for rule, _ in (*work.rules.json_paths, *work.rules.xpaths) if rule.drop]


def _json(work: Work, body: bytes, texts: bool) -> bytes | None:
    tree, before, paths = read_json(body), work.counts.total(), work.rules.json_paths
    if paths:
        mask_json(tree, [path for _, path in paths], lambda at, old: work.masked(paths[at][0], old), work.budget.check)
    if texts:
        tree = mask_json_texts(tree, work.leaf, work.budget.check)
    return write_json(tree) if work.counts.total() > before else None


def _xml(work: Work, body: bytes, texts: bool) -> bytes | None:
    root, before, paths = read_xml(body), work.counts.total(), work.rules.xpaths
    if paths:
        mask_xml(root, [path for _, path in paths], lambda at, old: work.masked(paths[at][0], old), work.budget.check)
    if texts:
        mask_xml_texts(root, work.leaf, work.budget.check)
    declared = body.removeprefix(BOM).lstrip().startswith(b"<?xml")
    return write_xml(root, declaration=declared) if work.counts.total() > before else None


def _text(work: Work, body: bytes, content_type: str) -> bytes | None:
    """Return a body that is neither JSON nor XML masked by regular expressions; raises Unreadable when it is no text."""
    if not work.rules.patterns:
        return None
    charset = charset_of(body, content_type)
    if charset is None:
        if any(rule.drop for rule, _ in work.rules.patterns):
            raise Unreadable("it is not text")
        masked = work.matches(body)
        return masked if work.octets(masked or body) is None else MARK.encode()
    masked = work.matches(body.decode(charset).encode())
    return None if masked is None else masked.decode("utf-8", "replace").encode(charset, "replace")


ONE_BYTE = {"iso-8859-1", "iso8859-15", "cp1252", "latin-1"}


def charset_of(body: bytes, content_type: str) -> str | None:
    """Return how the bytes are text: UTF-8, or the one-byte charset that their content type names; None when they are not."""
    if b"\x00" in body:  # UTF-16 passes for UTF-8 with NULs between its letters
        return None
    try:
        body.decode()
        return "utf-8"
    except UnicodeDecodeError:
        pass
    _, _, named = content_type.lower().partition("charset=")
    try:
        charset = codecs.lookup(named.partition(";")[0].strip(" \"'")).name
    except (LookupError, ValueError):
        return None
    try:
        return charset if charset in ONE_BYTE | {"iso8859-1"} and body.decode(charset) is not None else None
    except UnicodeDecodeError:
        return None


def _note(work: Work, rules: list[Rule], why: str) -> Masked:
    """Return the note that is stored instead of a body, counted for each of these rules."""
    for rule in rules:
        work.dropped[rule.id] += 1
        work.counts[rule.id] += 1
    numbers = ", ".join(str(rule.id) for rule in rules[:5])
    plural = "s" if len(rules) > 1 else ""
    note = f"[not stored: masking rule{plural} {numbers} cannot be applied to this body: {why}]"
    return Masked(body=note.encode(), changed=True)
