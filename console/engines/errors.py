from console.core.errors import ConsoleError


class EngineError(ConsoleError):
    """An embedded engine does not start; the sentence says why and where its log is."""

    status = 503
    code = "engine_failed"
    answered = False
