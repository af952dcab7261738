"""What a schema and decoding by it may cost, and how it ends when they cannot be used. Pure."""

from __future__ import annotations

from console.core.errors import Invalid

LARGEST_SCHEMA = 256 * 1024
LONGEST_NAME = 255  # characters: every value of a body repeats the name of its field
MOST_DEPTH = 64
MOST_CHARACTERS = 4 * 1024 * 1024  # of the JSON that is made; a value counts for 8 at least, so 500,000 of them, 0.7 s


class BadSchema(Invalid):
    """A schema cannot be used; the sentence says where and why."""

    code = "bad_schema"


class Misfit(Exception):
    """The bytes are not what the schema says; the sentence says how."""


class Budget:
    """Characters of JSON that may still be made: an array of 2**31 nulls is five bytes long."""

    def __init__(self, characters: int = MOST_CHARACTERS) -> None:
        self.left = characters

    def spend(self, characters: int) -> None:
        self.left -= characters + 8
        if self.left < 0:
            raise Misfit(f"it holds more than is decoded ({MOST_CHARACTERS // 1024 // 1024} MiB of JSON)")
