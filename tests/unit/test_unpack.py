"""Bodies without their compression: every encoding by real bytes, and what is broken, cut or a bomb."""

from __future__ import annotations

import contextlib
import gzip
import tracemalloc
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from messages.payloads.unpack import MOST_BYTES, Packed, declared_encoding, unpack

PLAIN = b'{"order_no": "4711"}' * 20
GZIP, ZSTD, ZLIB = gzip.compress(PLAIN), zstandard.compress(PLAIN), zlib.compress(PLAIN)
RAW = zlib.compress(PLAIN, wbits=-15)
BOMB = gzip.compress(bytes(64 * 1024 * 1024))


@pytest.mark.parametrize(
    ("body", "encoding", "layers"),
    [
        (GZIP, "gzip", ("gzip",)),
        (GZIP, "X-GZIP", ("x-gzip",)),
        (GZIP, "", ("gzip",)),
        (GZIP, "utf-8", ("gzip",)),  # Celery and AMQP say what the text is in
        (ZSTD, "zstd", ("zstd",)),
        (ZSTD, "", ("zstd",)),
        (ZLIB, "deflate", ("deflate",)),
        (RAW, "deflate", ("deflate",)),
        (zstandard.compress(GZIP), "gzip, zstd", ("gzip", "zstd")),
        (gzip.compress(zstandard.compress(ZLIB)), "deflate,zstd , gzip", ("deflate", "zstd", "gzip")),
        (PLAIN, "identity", ()),
        (PLAIN, "", ()),
    ],
)
def test_a_body_is_unpacked_as_its_header_says_or_its_first_bytes(body: bytes, encoding: str, layers: tuple[str, ...]):
    found = unpack(body, encoding)

    assert (found.body, found.layers, found.cut) == (PLAIN, layers, False)


@pytest.mark.parametrize("body", [ZLIB, RAW])
def test_without_a_header_deflate_is_not_guessed(body: bytes):
    assert unpack(body).body == body


@pytest.mark.parametrize(
    ("body", "encoding", "words"),
    [
        (GZIP[:-9], "", "it is packed as gzip, and broken: it is cut"),
        (ZSTD[:-3], "", "it is packed as zstd, and broken: it is cut"),
        (GZIP[:12] + b"\xff" * 20, "", "it is packed as gzip, and broken: "),
        (GZIP + b"more", "", "it is packed as gzip, and broken: there are bytes after it"),
        (ZLIB[:-4], "deflate", "it is packed as deflate, and broken: "),
        (PLAIN, "gzip", "its content-encoding says gzip, and it is not gzip"),
        (PLAIN, "zstd", "its content-encoding says zstd, and it is not zstd"),
        (GZIP, "br", "it is packed as br, which is not known here"),
        (GZIP, "gzip, gzip, gzip, gzip", "it is packed 4 times over, and at most 3 are unpacked"),
        (b"", "gzip", "its content-encoding says gzip, and it is not gzip"),
    ],
)
def test_what_cannot_be_unpacked_says_why_in_one_sentence(body: bytes, encoding: str, words: str):
    with pytest.raises(Packed) as refused:
        unpack(body, encoding)

    assert str(refused.value).startswith(words)


@pytest.mark.parametrize(
    ("body", "encoding"), [(BOMB, ""), (zstandard.compress(bytes(64 * 1024 * 1024)), ""), (gzip.compress(BOMB), "gzip, gzip")]
)  # fmt: skip
def test_a_bomb_is_inflated_to_the_bound_and_no_further(body: bytes, encoding: str):
    tracemalloc.start()
    found = unpack(body, encoding)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (len(found.body), found.cut) == (MOST_BYTES, True)
    assert most < 20 * 1024 * 1024  # gathered once, cut once


def test_a_bomb_within_is_not_inflated_for_the_one_within_it():
    with pytest.raises(Packed, match=r"larger than 4,194,304 bytes in between"):
        unpack(gzip.compress(gzip.compress(bytes(20_000_000), 0)), "gzip, gzip")


@given(st.binary(max_size=300), st.sampled_from(["", "gzip", "zstd", "deflate", "deflate, gzip", "x", ","]))
def test_any_bytes_under_any_header_are_unpacked_or_refused(body: bytes, encoding: str):
    for one in (body, GZIP[:10] + body, ZSTD[:6] + body):
        with contextlib.suppress(Packed):
            assert len(unpack(one, encoding, most=1000).body) <= max(1000, len(one))


def test_the_encoding_is_found_among_headers_and_properties_of_any_spelling():
    assert declared_encoding([{"name": "Content-Encoding", "value": "gzip"}], {}) == "gzip"
    assert declared_encoding([], {"content_encoding": "zstd"}) == "zstd"
    assert declared_encoding([{"name": "content-encoding", "value": 7}], {}) == ""
