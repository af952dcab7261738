"""What a program says to Waybill: steps, events, dead letters. Nothing here waits for the network but `flush` and `close`."""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .calls import call_of, letter_of, verdict_of
from .sender import Counts, Sender
from .spool import Spool
from .steps import Step, body_of, encoded, headers_of
from .transport import Transport

log = logging.getLogger("waybill")
EVENTS, LETTERS = "/ingest/v1/events", "/ingest/v1/dead-letters"
_step: ContextVar[Step | None] = ContextVar("waybill_step", default=None)


class Waybill:
    """One client for a program, shared by its threads; a forked child goes on with an empty memory.

    console, key    default to WAYBILL and WAYBILL_AGENT_KEY. Raises ValueError without them: at the start, not in the middle of work.
    spool           a folder for what the console cannot take now; without one it waits in memory.
    most_items      what memory holds at most.   strict  raise when something cannot be reported, instead of only logging it.
    """

    def __init__(
        self, console: str | None = None, key: str | None = None, *, system: str, spool: str | Path | None = None,
        most_items: int = 10_000, most_spool_bytes: int = 256 * 1024 * 1024, timeout_s: float = 10.0, strict: bool = False,
    ) -> None:  # fmt: skip
        base = (console or os.environ.get("WAYBILL", "")).rstrip("/")
        key = key or os.environ.get("WAYBILL_AGENT_KEY", "")
        if not base.startswith(("http://", "https://")) or not key:
            raise ValueError(
                "name the console and an agent key: Waybill(console, key), or WAYBILL and WAYBILL_AGENT_KEY"
            )
        self.system, self.strict = system, strict
        on_disk = Spool(Path(spool), most_spool_bytes) if spool is not None else None
        self._sender = Sender(Transport(base, key, timeout_s), on_disk, most_items)
        atexit.register(self.close)

    @contextmanager
    def step(self, operation: str, *, system: str = "", traceparent: str | None = None, **given: Any) -> Iterator[Step]:
        """Report what happens inside: its duration, its outcome, and what was raised, which goes on.

        operation    create, send, receive, process, settle or other.   traceparent  from the message's headers.
        given        destination, message_id, correlation_id, keys, attributes, payload, content_type.
        """
        step = Step(system or self.system, operation, given, traceparent, _step.get())
        token = _step.set(step)
        try:
            yield step
        except BaseException as error:
            step.raised(error)
            raise
        finally:
            _step.reset(token)
            self._report(EVENTS, step.as_event)

    def event(
        self, operation: str, *, occurred_at: datetime | None = None, duration_ms: float = 0.0, id: str = "",
        error: BaseException | None = None, traceparent: str | None = None, **given: Any,
    ) -> None:  # fmt: skip
        """Report one thing that is over; `given` as in `step`. id: unique in its system; the same id and time is stored once."""

        def item() -> dict[str, Any]:
            step = Step(given.get("system") or self.system, operation, given, traceparent, _step.get())
            if error is not None:
                step.raised(error)
            at = occurred_at or step.started_at
            return step.as_event() | {"id": id or step.id, "occurred_at": at.isoformat(), "duration_ms": duration_ms}

        self._report(EVENTS, item)

    def dead_letter(
        self, id: str, *, queue: str, broker: str, family: str = "python", body: bytes | str | None = None,
        headers: Mapping[str, Any] | None = None, error: BaseException | None = None, failed_at: datetime | None = None, **given: Any,
    ) -> None:  # fmt: skip
        """Report a message that failed for good and waits for a person. id: names this death, the same when it is reported again.

        given  any other field of docs/schemas/dead-letter.json: origin, reason, reason_code, message_id, attempts, keys, route, …
        """

        def item() -> dict[str, Any]:
            letter = {
                "id": id, "queue": queue, "broker": broker, "family": family, "system": self.system,
                "failed_at": (failed_at or datetime.now(UTC)).isoformat(), "headers": headers_of(headers or {}), **given,
            }  # fmt: skip
            if error is not None:
                step = Step(self.system, "process", {}, None, None)
                step.raised(error)
                letter["error"] = step.error
            if body is not None:
                letter |= body_of(body) if isinstance(body, bytes) else {"body": body}
            return letter

        self._report(LETTERS, item)

    def failed_request(
        self, response: Any = None, *, broker: str, request: Any = None, error: BaseException | None = None,
        origin: str = "", **given: Any,
    ) -> bool:  # fmt: skip
        """Report an HTTP call that failed for good as a dead letter; False when its answer says that it was taken, and nothing is reported.

        A SOAP fault and GraphQL errors are failures, although HTTP says 200 (see answers.py).
        response, request, error  of requests, httpx or what is like them; a mapping does too: {"status", "headers", "body"}, {"method",
                 "url", "headers", "body"}. The request is found in the answer or the error when it is there.
        broker   the console's connection for replays, of kind HTTP, has this name.
        origin   names the flow: the path's template when ids are in it ("/orders/{no}"); else the path does.
        given    any field of docs/schemas/dead-letter.json: attempts, keys, message_id, failed_at, … id: when it may be reported twice.
        """
        call = call_of(response, request, error)
        said = verdict_of(call, error)
        if said.kind == "taken":
            return False

        def item() -> dict[str, Any]:
            return letter_of(call, said, error, system=self.system, origin=origin) | {"broker": broker, **given}

        self._report(LETTERS, item)
        return True

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Send now what was reported so far; True when none of it can be lost any more.

        True: the console has stored it, or refused it for good (see `counts`), or, with a spool, it lies on the disk and will be sent
        from there, after a restart too. False: after so many seconds some of it is in memory alone.
        """
        return self._sender.flush(timeout_s)

    def close(self, timeout_s: float = 5.0) -> bool:
        """Flush and end the thread; returns what `flush` does. At a program's exit this happens by itself."""
        atexit.unregister(self.close)
        return self._sender.close(timeout_s)

    @property
    def counts(self) -> Counts:
        return self._sender.counts()

    def _report(self, endpoint: str, item: Callable[[], dict[str, Any]]) -> None:
        """Hand an item to the sender. Whatever goes wrong is this client's trouble and not the caller's, unless it is strict."""
        try:
            self._sender.put((endpoint, encoded(item())))
        except Exception as error:
            if self.strict:
                raise
            log.warning("not reported: %s: %s", type(error).__name__, error)
