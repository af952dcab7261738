"""Dead letters from a queue of SQS, standard or FIFO."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from messages.connectors.base import Address, BrokerUnavailable, Check, Received
from messages.connectors.sqs.client import TROUBLES, Cloud, found, kind_of, says, words_of
from messages.connectors.sqs.decode import decode_message
from messages.connectors.sqs.hand import BATCH, Hand, tens

MOST_BYTES = 32 * 1024 * 1024  # taken by one receive()
COUNTS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed")
GONE = {
    "ReceiptHandleIsInvalid",
    "MessageNotInflight",
    "InvalidParameterValue",
}  # deleted, given back, or held for twelve hours
NO_RECEIPT = "waybill-asks-whether-it-may"  # no message has it


class SQSSource:
    """Receives from one dead-letter queue; what is received stays invisible to others until it is acknowledged or let go of.

    options  system (who failed), origin (where messages come from that do not say it: a queue's name or the ARN of a queue or topic),
             region, visibility_s (60: after a kill -9 the messages in hand come again so much later).
    """

    no_peek = "SQS shows a message only by handing it out: it counts as received, and nobody else sees it meanwhile"

    def __init__(self, address: Address, *, broker: str, queue: str, options: Mapping[str, object]) -> None:
        self.broker, self.queue = broker, queue
        self.system, self.origin = str(options.get("system") or ""), str(options.get("origin") or "")
        self.visibility_s = _seconds(options.get("visibility_s"))
        told = {"region": options["region"]} if options.get("region") else {}
        self.cloud = Cloud(replace(address, options={**address.options, **told}), timeout_s=30)
        self.hand = Hand(self._extend, every_s=self.visibility_s / 3)

    def receive(self, limit: int, wait_s: float) -> list[Received]:
        try:
            messages = self._take(limit, wait_s)
        except TROUBLES as error:
            raise BrokerUnavailable(words_of(error, f"queue {self.queue}")) from error
        return [self._received(message) for message in messages]

    def _take(self, limit: int, wait_s: float) -> list[dict[str, Any]]:
        """Return what waits, up to so many messages or bytes, ten at a time; only the first ten are waited for."""
        taken: list[dict[str, Any]] = []
        size, wait = 0, min(20, math.ceil(wait_s))
        while len(taken) < limit and size < MOST_BYTES:
            ten = self._ten(min(BATCH, limit - len(taken)), wait_s=wait, visibility_s=self.visibility_s)
            if not ten:
                break
            self.hand.take(str(message["ReceiptHandle"]) for message in ten)
            taken += ten
            size += sum(len(message.get("Body") or "") for message in ten)
            wait = 0
        return taken

    def _ten(self, most: int, *, wait_s: int, visibility_s: int) -> list[dict[str, Any]]:
        client, url = self.cloud.queue(self.queue)
        answer = client.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=most,
            WaitTimeSeconds=wait_s,
            VisibilityTimeout=visibility_s,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        return list(answer.get("Messages") or ())

    def _received(self, message: Mapping[str, Any]) -> Received:
        where = {"broker": self.broker, "queue": self.queue, "system": self.system, "origin": self.origin}
        return Received(token=str(message["ReceiptHandle"]), letter=decode_message(message, **where))

    def _extend(self, receipts: Sequence[str], visibility_s: int | None = None) -> list[str]:
        """Make ten messages invisible for so long from now; return the receipts for which that cannot be done any more."""
        client, url = self.cloud.queue(self.queue)
        seconds = self.visibility_s if visibility_s is None else visibility_s
        entries = [{"Id": str(n), "ReceiptHandle": r, "VisibilityTimeout": seconds} for n, r in enumerate(receipts)]
        answer = client.change_message_visibility_batch(QueueUrl=url, Entries=entries)
        failed = answer.get("Failed") or ()
        return [receipts[int(e["Id"])] for e in failed if e.get("SenderFault") or e.get("Code") in GONE]

    def acknowledge(self, tokens: Sequence[object]) -> None:
        left: list[str] = []
        try:
            for ten in tens(str(token) for token in tokens):
                left += self._delete(ten)
        except TROUBLES as error:
            raise BrokerUnavailable(words_of(error, f"queue {self.queue}")) from error
        if left:
            raise BrokerUnavailable(
                f"{len(left)} of {len(tokens)} letters could not be deleted from queue {self.queue}, they come again: {left[0]}"
            )

    def _delete(self, receipts: Sequence[str]) -> list[str]:
        """Delete ten; return the broker's words about those that are still there after a second try."""
        words: list[str] = []
        for _ in range(2):
            client, url = self.cloud.queue(self.queue)
            entries = [{"Id": str(n), "ReceiptHandle": receipt} for n, receipt in enumerate(receipts)]
            failed = client.delete_message_batch(QueueUrl=url, Entries=entries).get("Failed") or []
            left = [receipts[int(entry["Id"])] for entry in failed]
            self.hand.drop(set(receipts) - set(left))
            if not left:
                return []
            receipts, words = left, [f"{entry.get('Code')}: {entry.get('Message', '')}"[:300] for entry in failed]
        return words

    def depth(self) -> int | None:
        try:
            return self._count()
        except (*TROUBLES, KeyError):
            return None

    def _count(self) -> int:
        client, url = self.cloud.queue(self.queue)
        told = client.get_queue_attributes(QueueUrl=url, AttributeNames=list(COUNTS))["Attributes"]
        return sum(int(told.get(name, 0)) for name in COUNTS)

    def check(self) -> list[Check]:
        what = f"queue {self.queue}"
        try:
            self.cloud.queue(self.queue)
        except TROUBLES as error:
            return found(what, error)
        checks = found(what)
        try:
            checks[-1] = Check(question="queue exists", answer=True, detail=f"{what} holds about {self._count()}")
        except TROUBLES as error:
            checks[-1] = Check(
                question="queue exists", answer=True, detail=f"how many it holds is not told: {says(error)}"
            )
        return [*checks, self._may_read(what)]

    def _may_read(self, what: str) -> Check:
        """Ask for what cannot be had: more than ten messages, and to hold and delete one that does not exist. Nothing is received by
        it, and who lacks a right hears that first.
        """
        client, url = self.cloud.queue(self.queue)
        asks: dict[str, Callable[..., Any]] = {
            "sqs:ReceiveMessage": partial(client.receive_message, MaxNumberOfMessages=BATCH + 1, VisibilityTimeout=0),
            "sqs:DeleteMessage": partial(client.delete_message, ReceiptHandle=NO_RECEIPT),
            "sqs:ChangeMessageVisibility": partial(
                client.change_message_visibility, ReceiptHandle=NO_RECEIPT, VisibilityTimeout=0
            ),
        }
        lacks = []
        for right, ask in asks.items():
            try:
                ask(QueueUrl=url)
            except TROUBLES as error:
                kind = kind_of(error)
                if kind not in ("denied", "content", "missing"):
                    return Check(question="may read", answer=None, detail=words_of(error, what))
                lacks += [right] if kind == "denied" else []
        words = (
            f"this login lacks {' and '.join(lacks)}" if lacks else "receiving, holding and deleting were not denied"
        )
        return Check(question="may read", answer=not lacks, detail=words)

    def close(self) -> None:
        """Let go of what is in hand, so that it comes again at once and not after its time-out."""
        with contextlib.suppress(*TROUBLES):
            for ten in tens(self.hand.close()):
                self._extend(ten, visibility_s=0)
        self.cloud.close()


def _seconds(value: object) -> int:
    """Return a visibility time-out as SQS takes it: whole seconds up to twelve hours."""
    return min(43_200, max(1, value)) if isinstance(value, int) and not isinstance(value, bool) else 60
