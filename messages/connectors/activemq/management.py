"""Questions to Artemis through its management address. Classic has none over STOMP.

The answer comes to one multicast address that every Waybill uses and that stays, empty; a selector on the correlation id keeps
the answers of others away. Source: Artemis documentation, "Management Via Apache ActiveMQ Artemis API".
"""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

from messages.connectors.activemq.client import Line, LineBroke, receipt
from messages.connectors.activemq.names import address_of, queue_of
from messages.connectors.base import Address

REPLIES = "waybill.replies"
ANSWER_S = 3.0
DEFAULT_ATTEMPTS = 10


class Manager:
    """A line of its own, since Artemis hangs up on who may not ask. None is the answer to everything then."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.line: Line | None = None
        self.silent = False
        self.mark = receipt()

    def ask(
        self, resource: str, *, attribute: str = "", operation: str = "", arguments: tuple[object, ...] = ()
    ) -> Any:
        """Return the answer as JSON has it; None when there is none, LookupError when there is no such resource."""
        if self.silent:
            return None
        try:
            line = self._open()
            about = {"_AMQ_Attribute": attribute} if attribute else {"_AMQ_OperationName": operation}
            line.send(
                "SEND",
                {
                    "destination": "activemq.management", "_AMQ_ResourceName": resource, "reply-to": REPLIES,
                    "correlation-id": self.mark, **about,
                },
                json.dumps(list(arguments)).encode() if operation else b"",
            )  # fmt: skip
            return self._answer(line)
        except LineBroke:
            self.close()
            self.silent = True  # it may not ask, and would not be told otherwise by asking every five seconds
            return None

    def _open(self) -> Line:
        if self.line is None:
            self.line = Line(self.address, timeout_s=5)
            self.line.send(
                "SUBSCRIBE",
                {
                    "destination": REPLIES, "id": "replies", "ack": "auto", "subscription-type": "MULTICAST",
                    "selector": f"JMSCorrelationID='{self.mark}'", "receipt": self.mark,
                },
            )  # fmt: skip
            if not self.line.wait_for_receipt(self.mark, ANSWER_S):
                raise LineBroke("no answer")
        return self.line

    def _answer(self, line: Line) -> Any:
        until = time.monotonic() + ANSWER_S
        while (left := until - time.monotonic()) > 0:
            frame = line.next(left)
            if frame is not None and frame.cmd == "MESSAGE":
                if frame.headers.get("_AMQ_OperationSucceeded") != "true":
                    raise LookupError(frame.body.decode("utf-8", "replace")[:300])
                with contextlib.suppress(ValueError, IndexError, KeyError):
                    return json.loads(frame.body)[0]
                return None
        raise LineBroke("no answer")

    def depth(self, queue: str) -> int | None:
        """Return how many messages the queue holds, those under way to a consumer too; raises LookupError."""
        answer = self.ask(f"queue.{queue_of(queue)}", attribute="messageCount")
        return answer if isinstance(answer, int) else None

    def limit(self, queue: str) -> tuple[int, str] | None:
        """Return (deliveries before Artemis moves a message on, where to; "" drops it), None when it does not tell."""
        with contextlib.suppress(LookupError, ValueError, TypeError):
            answer = self.ask("broker", operation="getAddressSettingsAsJSON", arguments=(address_of(queue),))
            settings = json.loads(answer)
            return int(settings.get("maxDeliveryAttempts", DEFAULT_ATTEMPTS)), str(
                settings.get("deadLetterAddress") or ""
            )
        return None

    def close(self) -> None:
        if self.line is not None:
            self.line.close()
            self.line = None
