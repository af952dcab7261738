"""Dead letters from a queue of ActiveMQ over STOMP."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from stomp.utils import Frame

from messages.connectors.activemq.client import MOST_BYTES, Line, LineBroke, reached, receipt, says
from messages.connectors.activemq.decode import decode_message, is_whole
from messages.connectors.activemq.management import Manager
from messages.connectors.activemq.names import misread, wire_name
from messages.connectors.base import Address, BrokerUnavailable, Check, Received
from messages.connectors.browse import Browse

PREFETCH = 200  # messages of Classic; Artemis counts bytes
WINDOW_BYTES = 4 * 1024 * 1024
NOTHING = "1 = 2"  # a selector
MOST_BROWSED = 400  # what Classic shows a browser of one queue, unless its maxBrowsePageSize says otherwise
LOOK_S = 10.0
TAKES = (
    "Artemis takes from the queue what a STOMP subscriber sees, a browser's too: mirror it over AMQP 1.0 (amqp10://), or use "
    'mode = "move"'
)
LEFT = "the body is a JMS map, object or stream message, which STOMP cannot carry: the message stays on the broker"


class StompSource:
    """Subscribes with client-individual acknowledgement; what is not acknowledged comes again after a crash.

    options  system (who failed), prefetch (messages of Classic), window_bytes (of Artemis), empty (`take`: messages without a body
             are taken as empty; default `leave`: shown, and left on the broker), redelivery (`accept`: harvest a queue of Artemis
             although it drops what was in hand when the connection broke so many times), browse_limit (maxBrowsePageSize of Classic,
             for a mirror: 400).
    """

    def __init__(self, address: Address, *, broker: str, queue: str, options: Mapping[str, object]) -> None:
        self.address, self.broker, self.queue = address, broker, queue
        self.system = str(options.get("system") or "")
        self.prefetch = _positive(options.get("prefetch"), PREFETCH)
        self.window_bytes = _positive(options.get("window_bytes"), WINDOW_BYTES)
        self.takes_empty = options.get("empty") == "take"
        self.accepts_loss = options.get("redelivery") == "accept"
        self.most_browsed = _positive(options.get("browse_limit"), MOST_BROWSED)
        self.mirror = options.get("mode") == "mirror"
        self.browse = Browse(self._browsed)
        self.line: Line | None = None
        self.manager: Manager | None = None
        self.held: set[object] = set()  # ack ids in hand
        self.staying: set[object] = set()  # of those, what is never acknowledged
        self.subscriptions = self.held_then = 0

    def _open(self) -> Line:
        if self.line is None:
            self.line = Line(self.address, timeout_s=10)
            if self.line.artemis:
                self.manager = Manager(self.address)
                if not self.accepts_loss and (danger := self._danger(self.manager)):
                    raise LineBroke(danger)
            elif why := misread(self.queue):
                raise LineBroke(why)
            self._subscribe(self.line)
        return self.line

    def _subscribe(self, line: Line) -> None:
        """Ask for messages; a second time when what stays in hand has used up the first window."""
        self.subscriptions += 1
        self.held_then = len(self.held)
        window = (
            {"consumer-window-size": str(self.window_bytes), "subscription-type": "ANYCAST"}
            if line.artemis
            else {"activemq.prefetchSize": str(self.prefetch)}
        )
        line.send(
            "SUBSCRIBE",
            {
                "destination": wire_name(self.queue, artemis=line.artemis), "id": f"letters-{self.subscriptions}",
                "ack": "client-individual", **window,
            },
        )  # fmt: skip

    def _danger(self, manager: Manager) -> str:
        """Return why a letter may get lost by our being killed; "" when it cannot or nobody tells."""
        limit = manager.limit(self.queue)
        if limit is None or limit[0] < 0 or limit[1]:
            return ""
        return (
            f"once the line has broken {limit[0]} times with a letter in hand Artemis would drop it: {self.queue} has no dead-letter-address. "
            "Set its max-delivery-attempts to -1 in the broker's address-settings"
        )

    def receive(self, limit: int, wait_s: float) -> list[Received]:
        try:
            line = self._open()
            taken = self._take(line, limit, wait_s)
            if not taken and len(self.held) > self.held_then:
                self._subscribe(line)
        except LineBroke as error:
            self.close()
            raise BrokerUnavailable(str(error)) from error
        return [self._received(frame, line.artemis) for frame in taken]

    def _take(self, line: Line, limit: int, wait_s: float) -> list[Frame]:
        """Return what has come, up to so many messages or bytes."""
        taken: list[Frame] = []
        size = 0
        while len(taken) < limit and size < MOST_BYTES:
            frame = line.next(0 if taken else wait_s)
            if frame is None:
                break
            if frame.cmd == "MESSAGE":
                taken.append(frame)
                size += len(frame.body)
        return taken

    def _received(self, frame: Frame, artemis: bool) -> Received:
        letter = decode_message(
            frame.headers, frame.body, broker=self.broker, queue=self.queue, artemis=artemis, system=self.system
        )
        token = frame.headers.get("ack", "")
        self.held.add(token)
        if not is_whole(frame.headers, frame.body):
            if self.takes_empty:
                letter["body"] = ""
            else:
                self.staying.add(token)
                letter["reason"] = "; ".join(filter(None, (str(letter["reason"]), LEFT)))
        return Received(token=token, letter=letter)

    def acknowledge(self, tokens: Sequence[object]) -> None:
        if self.line is None:
            raise BrokerUnavailable("the line to ActiveMQ ended before the acknowledgement: it sends these again")
        try:
            for token in tokens:
                if token not in self.staying:
                    self.line.send("ACK", {"id": str(token)})
                    self.held.discard(token)
        except LineBroke as error:
            self.close()
            raise BrokerUnavailable(str(error)) from error

    def peek(self, limit: int, after: object | None) -> list[Received]:
        """Look with a browser of Classic: nothing is delivered by it, counted or locked. Artemis over STOMP has none."""
        return self.browse.page(limit, after)

    def _browsed(self) -> Iterator[Received]:
        """Yield what the queue holds; raises BrokerUnavailable, also at the end when there may be more than Classic shows."""
        count = 0
        try:
            with contextlib.closing(Line(self.address, timeout_s=10)) as line:
                if line.artemis:
                    raise BrokerUnavailable(TAKES)
                if why := misread(self.queue):
                    raise BrokerUnavailable(why)
                where = wire_name(self.queue, artemis=False)
                line.send("SUBSCRIBE", {"destination": where, "id": "look", "ack": "auto", "browser": "true"})
                while (frame := line.next(LOOK_S)) is None or frame.headers.get("browser") != "end":
                    if frame is None:
                        raise BrokerUnavailable(f"the browser showed nothing more for {LOOK_S:g} s and did not end")
                    if frame.cmd == "MESSAGE":
                        count += 1
                        yield self._browsed_letter(frame)
        except LineBroke as error:
            raise BrokerUnavailable(str(error)) from error
        if count >= self.most_browsed:
            raise BrokerUnavailable(
                f"ActiveMQ Classic shows a browser {count} messages and no more: letters behind them are not seen, and none is called gone. "
                'Raise maxBrowsePageSize for this queue and say it as browse_limit, or use mode = "move"'
            )

    def _browsed_letter(self, frame: Frame) -> Received:
        letter = decode_message(
            frame.headers, frame.body, broker=self.broker, queue=self.queue, artemis=False, system=self.system
        )
        if not is_whole(frame.headers, frame.body):
            if self.takes_empty:
                letter["body"] = ""
            else:
                letter["reason"] = "; ".join(filter(None, (str(letter["reason"]), LEFT)))
        return Received(token=letter["id"], letter=letter)

    def depth(self) -> int | None:
        if self.manager is None:
            return None
        try:
            return self.manager.depth(self.queue)
        except LookupError:
            return None

    def check(self) -> list[Check]:
        line, checks = reached(self.address)
        if line is None:
            return checks
        manager = Manager(self.address) if line.artemis else None
        try:
            exists = queue_exists(manager, self.queue)
            checks.append(exists)
            if exists.answer is not False:
                checks.append(self._may_read(line, manager))
        finally:
            for one in (line, manager):
                if one is not None:
                    one.close()
        return checks

    def _may_read(self, line: Line, manager: Manager | None) -> Check:
        if self.mirror and line.artemis:
            return Check(question="may read", answer=False, detail=TAKES)
        if not line.artemis and (why := misread(self.queue)):
            return Check(question="may read", answer=False, detail=why)
        mark = receipt()
        try:
            line.send(
                "SUBSCRIBE",
                {
                    "destination": wire_name(self.queue, artemis=line.artemis), "id": mark, "ack": "client-individual", "receipt": mark,
                    "selector": NOTHING, **({"subscription-type": "ANYCAST"} if line.artemis else {}),
                },
            )  # fmt: skip
            if not line.wait_for_receipt(mark, 5):
                return Check(question="may read", answer=None, detail="no answer within 5 s")
        except LineBroke as error:
            return Check(question="may read", answer=False, detail=says(error))
        if manager is None:
            words = f"; a browser is shown {self.most_browsed} messages at most" if self.mirror else ""
            return Check(question="may read", answer=True, detail=f"a subscription was accepted{words}")
        if danger := self._danger(manager):
            return Check(question="may read", answer=self.accepts_loss, detail=danger)
        limit = manager.limit(self.queue)
        if limit is None:
            words = "this user may not ask whether broken lines make Artemis move letters on"
        elif limit[0] < 0:
            words = "broken lines move no letter"
        else:
            words = (
                f"but once the line has broken {limit[0]} times with a letter in hand Artemis moves it to {limit[1]}, and its origin is lost: "
                "set max-delivery-attempts to -1 for this queue"
            )
        return Check(question="may read", answer=True, detail=f"a subscription was accepted; {words}")

    def close(self) -> None:
        if self.line is not None:
            with contextlib.suppress(LineBroke):
                for number in range(
                    self.subscriptions
                ):  # what is left unsubscribed counts as a broken line with Artemis
                    self.line.send("UNSUBSCRIBE", {"id": f"letters-{number + 1}"})
        for one in (self.line, self.manager):
            if one is not None:
                one.close()
        self.browse.close()
        self.line = self.manager = None
        self.subscriptions = 0
        self.held.clear()
        self.staying.clear()


def _positive(value: object, default: int) -> int:
    return value if isinstance(value, int) and value > 0 else default


def queue_exists(manager: Manager | None, queue: str) -> Check:
    """Return whether the queue is there, as far as the broker tells."""
    if manager is None:
        words = f"ActiveMQ Classic does not tell; it makes {queue} when it is first used"
        return Check(question="queue exists", answer=None, detail=words)
    try:
        depth = manager.depth(queue)
    except LookupError:
        return Check(question="queue exists", answer=False, detail=f"Artemis has no queue {queue}")
    if depth is None:
        return Check(question="queue exists", answer=None, detail="this user may not ask Artemis: it lacks `manage`")
    return Check(question="queue exists", answer=True, detail=f"queue {queue} holds {depth}")
