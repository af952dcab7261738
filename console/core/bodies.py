"""Bodies of requests, whole or not at all.

The server ends a body that was cut on the wire as one that is all there, and Django and REST framework hand on what came. Here it is
an error, whoever reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from gunicorn.http.errors import ParseException
from rest_framework.request import Request

from console.core.errors import ConsoleError


class BodyCut(ConsoleError):
    """The body ended before it was whole: the connection broke, or its sender died. Nothing of it was taken."""

    status = 400
    code = "body_cut"
    again = "Yes, the whole body."


class BodyTooSlow(ConsoleError):
    """The body came slower than 50 KB a second; nothing of it was stored."""

    status = 503
    code = "body_too_slow"


class WholeBody:
    """A `wsgi.input` whose reads raise OSError where the body is cut, from then on; `refusal` is then why, in words."""

    def __init__(self, environ: dict[str, Any]) -> None:
        self.input = environ["wsgi.input"]
        self.length = 0 if is_chunked(environ) else int(environ.get("CONTENT_LENGTH") or 0)  # chunks say their own end
        self.came = 0
        self.refusal: ConsoleError | None = None

    def read(self, size: int | None = -1) -> bytes:
        return self._take(self.input.read, size)

    def readline(self, size: int | None = -1) -> bytes:
        return self._take(self.input.readline, size, end=b"\n")

    def _take(self, take: Callable[[int], bytes], size: int | None, end: bytes | None = None) -> bytes:
        wanted = size if size is not None and size >= 0 else -1
        try:
            if self.refusal is not None:
                raise OSError(str(self.refusal))
            data = take(wanted)
        except TimeoutError:
            self.refusal = BodyTooSlow("the body came too slowly; send it again, in smaller parts if it is large")
            raise
        except (OSError, ParseException) as error:
            raise self._cut() from error
        self.came += len(data)
        is_short = self.came < self.length and not 0 <= wanted <= len(data)
        if is_short and not (end and data.endswith(end)):
            raise self._cut()
        return data

    def _cut(self) -> OSError:
        of = f" of {self.length:,}" if self.length else ""
        self.refusal = self.refusal or BodyCut(
            f"the body was cut: {self.came:,}{of} bytes came; nothing was changed, send it again whole"
        )
        return OSError(str(self.refusal))


def is_chunked(environ: dict[str, Any]) -> bool:
    """Whether a body says where it ends in its chunks, and not by a length before it."""
    return "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower()


def with_whole_body(environ: dict[str, Any]) -> dict[str, Any]:
    """Return what a WSGI server says of a request, with a body that is whole or raises."""
    return environ | {"wsgi.input": WholeBody(environ)}


def refusal_of(request: HttpRequest | Request) -> ConsoleError | None:
    """Return why the body of this request could not be read to its end; None when nobody failed to."""
    return getattr(request.META.get("wsgi.input"), "refusal", None)
