"""How REST reads a body: at most so many bytes, so deep, and only text that an answer can repeat."""

from __future__ import annotations

from typing import Any

import msgspec
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from console.core.errors import ConsoleError
from console.core.nesting import deeper_than

MOST_BYTES = 24 * 1024 * 1024  # a mended item of 20 MB with its escapes
MOST_DEPTH = 64


class BodyTooLarge(ConsoleError):
    """The body of a REST request has more than 24 MiB."""

    status = 413
    code = "too_large"
    again = "In smaller parts."


class JSONParser(BaseParser):
    """JSON without lone surrogates and NaN: the framework's own parser takes both, has no limit, and ends in RecursionError."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        data: bytes = stream.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise BodyTooLarge(f"a body has at most {MOST_BYTES:,} bytes")
        if deeper_than(MOST_DEPTH, data):
            raise ParseError(f"the JSON is nested deeper than {MOST_DEPTH}")
        try:
            return msgspec.json.decode(data)
        except (msgspec.DecodeError, ValueError) as error:
            raise ParseError(f"the body is not JSON: {error}") from error
