"""The errors of the domain. Each has an HTTP status and a stable code; they are translated to HTTP once, at the border."""

from __future__ import annotations


class ConsoleError(Exception):
    """Anything the product refuses or cannot do, in words an operator understands.

    status  HTTP status it becomes.   code  stable, documented in docs/api.md; runbooks compare it.
    """

    status = 500
    code = "internal_error"


class ConfigurationError(ConsoleError):
    """A setting is missing or wrong; the sentence says which and what to do."""

    code = "configuration_error"


class NotFound(ConsoleError):
    """The object does not exist, or this actor may not know that it does."""

    status = 404
    code = "not_found"


class Forbidden(ConsoleError):
    """The actor can see the object and may not do this to it."""

    status = 403
    code = "forbidden"


class Unauthenticated(ConsoleError):
    """No key or session, or one that is not valid (any more)."""

    status = 401
    code = "unauthenticated"


class Invalid(ConsoleError):
    """The input cannot be used; the sentence says what is wrong with it."""

    status = 400
    code = "invalid"


class Conflict(ConsoleError):
    """The object is not in a state in which this can be done."""

    status = 409
    code = "conflict"


class Unavailable(ConsoleError):
    """Something the console stands on does not answer now; the caller should come back."""

    status = 503
    code = "unavailable"
