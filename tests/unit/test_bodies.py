"""A body whose reads raise where it was cut, whatever the server says of it."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIRequest
from django.http import UnreadablePostError
from django.test import RequestFactory
from gunicorn.http.errors import InvalidChunkSize, NoMoreData

from console.core.bodies import WholeBody, refusal_of, with_whole_body


class Failing:
    """Raises once; then it looks ended, as the chunks of gunicorn do."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def read(self, size: int = -1) -> bytes:
        error, self.error = self.error, None
        if error:
            raise error
        return b""

    readline = read


def body(data: bytes, length: int) -> WholeBody:
    return WholeBody({"wsgi.input": BytesIO(data), "CONTENT_LENGTH": str(length)})


@pytest.mark.parametrize("size", [1, 2, 3, 4, 100, -1, None])
def test_a_whole_body_is_read_in_any_parts_and_a_cut_one_raises_again_and_again(size: int | None):
    whole, cut, came = body(b"1\n2\n", 4), body(b"1\n2\n", 5), b""
    while part := whole.read(size):
        came += part

    assert (came, whole.refusal) == (b"1\n2\n", None)
    cut.read(4)
    for _ in range(2):
        with pytest.raises(OSError, match="4 of 5 bytes came"):
            cut.read(size)


def test_lines_are_read_to_the_end_of_a_whole_body_and_raise_where_it_is_cut():
    whole, cut = body(b"1\n2", 3), body(b"1\n2", 4)

    assert [whole.readline(), whole.readline(), whole.readline()] == [b"1\n", b"2", b""]
    assert cut.readline() == b"1\n"
    with pytest.raises(OSError, match="the body was cut"):
        cut.readline()


def test_a_request_without_a_body_has_an_empty_one():
    assert WholeBody({"wsgi.input": BytesIO(), "CONTENT_LENGTH": ""}).read() == b""
    assert WholeBody({"wsgi.input": BytesIO()}).read(10) == b""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NoMoreData(), "body_cut"),
        (InvalidChunkSize(b"x"), "body_cut"),
        (ConnectionResetError(), "body_cut"),
        (TimeoutError(), "body_too_slow"),
    ],
)
def test_what_broke_once_is_broken_for_everybody_who_reads_on_and_says_why(error: Exception, code: str):
    environ: dict[str, Any] = RequestFactory().post("/").environ
    environ |= {"wsgi.input": Failing(error), "HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": "9"}
    request = WSGIRequest(with_whole_body(environ))

    for _ in range(2):
        with pytest.raises(UnreadablePostError):
            request.read(10)
        assert getattr(refusal_of(request), "code", "") == code
