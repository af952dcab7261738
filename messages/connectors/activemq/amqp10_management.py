"""Questions to Artemis through its management address, over AMQP 1.0. Classic has none: there the address would be a queue like others."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from proton import Message, symbol
from proton.utils import BlockingConnection

from messages.connectors.activemq.amqp10 import BROKEN

ANSWER_S = 3.0


def is_artemis(connection: BlockingConnection) -> bool:
    told: Any = connection.conn.remote_properties or {}  # type: ignore[union-attr]
    return "artemis" in str(told.get(symbol("product"), "")).lower()


class AmqpManager:
    """Asks over a connection that is open already; what it opened there goes with close(). The answers come to a queue that goes too."""

    def __init__(self, connection: BlockingConnection) -> None:
        self.connection = connection
        self.sender: Any = None
        self.receiver: Any = None
        self.silent = False

    def ask(
        self, resource: str, *, attribute: str = "", operation: str = "", arguments: tuple[object, ...] = ()
    ) -> Any:
        """Return the answer as JSON has it; None when there is none, LookupError when there is no such resource."""
        if self.silent:
            return None
        try:
            if self.sender is None:
                self.receiver = self.connection.create_receiver(None, dynamic=True, credit=1)
                self.sender = self.connection.create_sender("activemq.management")
            about = {"_AMQ_Attribute": attribute} if attribute else {"_AMQ_OperationName": operation}
            body = json.dumps(list(arguments)) if operation else None
            properties = {"_AMQ_ResourceName": resource, **about}
            where = self.receiver.link.remote_source.address
            self.sender.send(Message(body, reply_to=where, properties=properties), timeout=ANSWER_S)
            answer = self.receiver.receive(timeout=ANSWER_S)
            self.receiver.accept()
        except BROKEN:  # who may not ask is not answered
            self.silent = True
            return None
        return _read(answer)

    def close(self) -> None:
        for link in (self.sender, self.receiver):
            with contextlib.suppress(*BROKEN):
                if link is not None:
                    link.close()
        self.sender = self.receiver = None


def _read(answer: Any) -> Any:
    """Return the first of what was answered: a list as text, or as AMQP has lists."""
    if not (answer.properties or {}).get("_AMQ_OperationSucceeded"):
        raise LookupError(str(answer.body)[:300])
    with contextlib.suppress(ValueError, IndexError, KeyError, TypeError):
        return (json.loads(answer.body) if isinstance(answer.body, str) else list(answer.body))[0]
    return None
