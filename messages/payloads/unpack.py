"""A stored body without its compression, for whoever has to look into it: readers and masking. What is stored stays packed. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from messages.ingest.http import Malformed, WrongType, inflated_chunks

MOST_BYTES = 4 * 1024 * 1024
MOST_LAYERS = 3
ENCODING = "content-encoding"
PLAIN = {"", "identity", "utf-8", "utf8", "us-ascii", "ascii", "binary"}
LIBRARY = re.compile(r"^the body is not \w+: (?:Error -?\d+ while decompressing data: )?")
MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


class Packed(Exception):
    """The body cannot be unpacked; the sentence says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """layers: how it was packed, the innermost first, () when it was not. cut: there is more than `most`, and the rest is left out."""

    body: bytes
    layers: tuple[str, ...] = ()
    cut: bool = False


def is_encoding(name: str) -> bool:
    """Whether a header or property of this name says how the body is packed."""
    return name.lower().replace("_", "-") == ENCODING


def declared_encoding(headers: Sequence[Mapping[str, Any]], properties: Mapping[str, Any]) -> str:
    """Return what typed headers ({"name", "value"}) and broker properties say of the body's packing, "" for nothing."""
    named: dict[str, Any] = {str(h.get("name", "")): h.get("value") for h in headers} | dict(properties)
    return next((value for name, value in named.items() if is_encoding(name) and isinstance(value, str)), "")


def unpack(body: bytes, encoding: str = "", *, most: int = MOST_BYTES) -> Unpacked:
    """Return at most `most` bytes of the body unpacked as `encoding` says ("gzip", "gzip, zstd"), else as its first bytes do.

    Stops at the first step past `most`, whatever the body claims: a step is 1 MiB, of zstd 8 MiB. Raises Packed.
    """
    layers = [one for part in encoding.split(",") if (one := part.strip().lower()) not in PLAIN]
    if not layers:
        layers = [named for magic, named in MAGIC.items() if body.startswith(magic)]
    if len(layers) > MOST_LAYERS:
        raise Packed(f"it is packed {len(layers)} times over, and at most {MOST_LAYERS} are unpacked")
    cut = False
    for layer in reversed(layers):
        if cut:
            raise Packed(f"it is packed {len(layers)} times over and larger than {most:,} bytes in between")
        body, cut = _one_layer(body, layer, most)
    return Unpacked(body=body, layers=tuple(layers), cut=cut)


def _one_layer(body: bytes, layer: str, most: int) -> tuple[bytes, bool]:
    try:
        return _gathered(inflated_chunks(body, layer), most)
    except WrongType:
        raise Packed(f"it is packed as {layer[:40]}, which is not known here") from None
    except Malformed as error:
        if layer == "deflate" and (raw := _raw_deflate(body, most)):
            return raw
        raise Packed(_words(body, layer.removeprefix("x-"), error)) from None


def _raw_deflate(body: bytes, most: int) -> tuple[bytes, bool] | None:
    """Unpack deflate as some write it, without zlib's header; None when it is not that either."""
    try:
        return _gathered(inflated_chunks(body, "deflate", raw=True), most)
    except Malformed:
        return None


def _gathered(chunks: Iterator[bytes], most: int) -> tuple[bytes, bool]:
    gathered = BytesIO()
    for chunk in chunks:
        gathered.write(chunk)
        if gathered.tell() > most:
            return gathered.getvalue()[:most], True
    return gathered.getvalue(), False


def _words(body: bytes, layer: str, error: Malformed) -> str:
    if layer in MAGIC.values() and not any(body.startswith(magic) for magic, named in MAGIC.items() if named == layer):
        return f"its content-encoding says {layer}, and it is not {layer}"
    why = LIBRARY.sub("", str(error).replace("the compressed body", "it"))
    return f"it is packed as {layer}, and broken: {why}"[:300]
