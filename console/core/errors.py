"""The errors of the domain. Each has an HTTP status and a stable code; they are translated to HTTP once, at the border.

The page /docs/errors is drawn from these classes: code, status, what the docstring says, whether to send again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class ConsoleError(Exception):
    """Anything the product refuses or cannot do, in words an operator understands.

    status    HTTP status it becomes.   code  stable, documented in docs/api.md; runbooks compare it.
    again     whether a program should send the same again, in words.
    answered  whether a request can be answered with it; else it ends a start or a command.
    """

    status = 500
    code = "internal_error"
    again = "No: the answer would be the same."
    answered = True

    @property
    def more(self) -> dict[str, Any]:
        """Return what a program is told beside the sentence: further members of the problem document."""
        return {}


class Failed(ConsoleError):
    """The console failed to answer; what happened is in its log."""

    code = "internal_error"
    again = "Once, a while later; then tell whoever runs the console."


class ConfigurationError(ConsoleError):
    """A setting is missing or wrong; the sentence says which and what to do."""

    code = "configuration_error"
    answered = False


class NotFound(ConsoleError):
    """The object does not exist, or this actor may not know that it does."""

    status = 404
    code = "not_found"


class Forbidden(ConsoleError):
    """The actor can see the object and may not do this to it."""

    status = 403
    code = "forbidden"
    again = "Not before somebody gave you the role."


class Unauthenticated(ConsoleError):
    """No key or session, or one that is not valid (any more)."""

    status = 401
    code = "unauthenticated"
    again = "With a key that holds."


class Invalid(ConsoleError):
    """The input cannot be used; the sentence says what is wrong with it."""

    status = 400
    code = "invalid"
    again = "Changed, as the sentence says."


class Conflict(ConsoleError):
    """The object is not in a state in which this can be done."""

    status = 409
    code = "conflict"
    again = "Not before you have looked at the object again."


class Unavailable(ConsoleError):
    """Something the console stands on does not answer now; the caller should come back."""

    status = 503
    code = "unavailable"
    again = "Yes, after Retry-After."


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorKind:
    """One code as programs meet it; several classes may share it, each with its own meaning."""

    code: str
    status: int
    meanings: tuple[str, ...]
    again: str


def kinds_of_error() -> list[ErrorKind]:
    """Return every code that a request can be answered with, by status and code: those of the modules that are loaded."""
    by_code: dict[str, ErrorKind] = {}
    queue = list(ConsoleError.__subclasses__())
    while queue:
        kind = queue.pop(0)
        queue += kind.__subclasses__()
        if "code" in vars(kind) and kind.answered:
            known = by_code.get(kind.code)
            meanings = (*(known.meanings if known else ()), _meaning(kind))
            by_code[kind.code] = ErrorKind(
                code=kind.code, status=kind.status, meanings=meanings, again=known.again if known else kind.again
            )
    return sorted(by_code.values(), key=lambda one: (one.status, one.code))


def _meaning(kind: type[ConsoleError]) -> str:
    """Return the first paragraph of the docstring, without marks of code."""
    return " ".join((kind.__doc__ or "").split("\n\n")[0].split()).replace("`", "")
