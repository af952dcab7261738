"""What is true of the estate, reckoned by hand from the table of happenings, as docs/ has it. No code of the product.

Everything is asked of what one reader may see. The one thing that depends on the order in which agents push, by ruling, is the flow of a
message: that which told of it first. So the order is given.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from math import ceil

from tests.estate.happenings import NOBODY, READERS, TEAM_OF, Batch, Event, Letter

ELSEWHERE = "it failed in a flow of another team"
Cause = tuple[str, str, str, str, str]  # flow, system, type, words, destination


@dataclass(frozen=True, slots=True)
class Seen:
    """A message as a reader may know it."""

    about: str
    flow: str
    status: str
    events: int
    first: float
    last: float
    age: float
    took: float
    keys: dict[str, str]
    error: tuple[str, str] | None
    cause: Cause | None
    via: frozenset[str]
    systems: frozenset[str]
    letters: int


@dataclass(frozen=True, slots=True)
class Reach:
    """What a group says. Times are minutes ago."""

    letters: int
    failed: int
    customers: int
    customers_partial: bool
    documents_partial: bool
    amounts_partial: bool
    documents: int
    amounts: dict[str, Decimal]
    first: float
    last: float
    oldest: float | None
    failures: tuple[float, ...]

    @property
    def waiting(self) -> int:
        return self.letters + self.failed


class Estate:
    """What was told, in this order, at this time."""

    def __init__(self, batches: list[Batch], now: datetime) -> None:
        self.now = now
        told = {one.id: one for batch in batches for one in batch}
        self.events = [one for one in told.values() if isinstance(one, Event)]
        self.letters = [one for one in told.values() if isinstance(one, Letter)]
        self.flow_of: dict[str, str] = {}
        self.first_seen: dict[str, float] = {}  # minutes ago, as the batch that first named it has it
        for batch in batches:
            named = [one for one in batch if isinstance(one, Event) or one.named]
            for one in named:
                self.flow_of.setdefault(one.about, one.flow)
            for message in {one.about for one in named} - self.first_seen.keys():
                self.first_seen[message] = max(one.ago for one in named if one.about == message)

    # who sees what

    def sees(self, reader: str, flow: str) -> bool:
        return TEAM_OF[flow] in READERS[reader]

    def events_of(self, reader: str) -> list[Event]:
        return [one for one in self.events if self.sees(reader, one.flow)]

    def letters_of(self, reader: str) -> list[Letter]:
        return [one for one in self.letters if self.sees(reader, one.flow)]

    def flows_of(self, reader: str) -> list[str]:
        return sorted(flow for flow in TEAM_OF if self.sees(reader, flow))

    # messages

    def about(self, message: str) -> list[Event]:
        return sorted((one for one in self.events if one.about == message), key=lambda one: -one.ago)

    def named_letters(self, message: str) -> list[Letter]:
        return [one for one in self.letters if one.named and one.about == message]

    def status(self, message: str) -> str:
        """A message is dead while a letter of its waits, and failed when that was discarded."""
        letters = self.named_letters(message)
        if letters:
            return "failed" if all(one.closed for one in letters) else "dead"
        return became(self.about(message))

    def messages(self, reader: str) -> list[Seen]:
        return [self.message(reader, one) for one, flow in self.flow_of.items() if self.sees(reader, flow)]

    def message(self, reader: str, message: str) -> Seen:
        seen = [one for one in self.about(message) if self.sees(reader, one.flow)]
        letters = [one for one in self.named_letters(message) if self.sees(reader, one.flow)]
        errors = sorted((one for one in [*seen, *letters] if one.error), key=lambda one: -one.ago)
        own = [one for one in errors if one.flow == self.flow_of[message]]
        cause = self.cause_of(message)
        every = [one.ago for one in [*self.about(message), *self.named_letters(message)]]
        return Seen(
            about=message,
            flow=self.flow_of[message],
            status=self.status(message),
            events=len(seen),
            first=max(one.ago for one in seen),
            last=min(one.ago for one in seen),
            age=self.first_seen[message],
            took=max(every) - min(every),
            keys=self.keys_said(message, [*seen, *letters]),
            error=next((one.error for one in own or errors), None),
            cause=cause if cause and self.sees(reader, cause[0]) else None,
            via=frozenset(one.flow for one in seen),
            systems=frozenset(one.system for one in seen) | {one.system for one in letters},
            letters=len(letters),
        )

    # groups

    def cause_of(self, message: str) -> Cause | None:
        """Return the cause of a message: of its letter, else of its first failure that everybody may know who sees its flow."""
        letters = self.named_letters(message)
        if letters:
            return cause_of_letter(letters[-1])
        failed = [one for one in self.about(message) if one.error]
        flow = self.flow_of[message]
        known = [one for one in failed if TEAM_OF[one.flow] in (TEAM_OF[flow], NOBODY)]
        if known and known[0].error:
            return (flow, known[0].system, *known[0].error, known[0].flow)
        return (flow, "", "", ELSEWHERE, "") if failed else None

    def groups(self, reader: str) -> dict[Cause, Reach]:
        """Return what each group that the reader may see says."""
        failed: dict[Cause, list[str]] = defaultdict(list)
        for message in self.flow_of:
            cause = self.cause_of(message)
            if cause and not self.named_letters(message):
                failed[cause].append(message)
        letters: dict[Cause, list[Letter]] = defaultdict(list)
        for letter in self.letters:
            letters[cause_of_letter(letter)].append(letter)
        causes = {cause for cause in (*failed, *letters) if self.sees(reader, cause[0])}
        return {cause: self._reach(failed[cause], letters[cause]) for cause in causes}

    def _reach(self, messages: list[str], letters: list[Letter]) -> Reach:
        """A letter that names no message is that of the failed message of its document: the two are one failure."""
        documents = {one.about for one in letters if not one.named}
        lone = [one for one in messages if one not in documents]
        standing = [one for one in lone if self.status(one) == "failed" and self.failed_ago(one) < 1440]
        waiting = [one for one in letters if not one.closed]
        touched = [self.keys_for_all(one) for one in standing] + [one.keys for one in waiting]
        amounts = {one["order_no"]: one for one in touched if "amount" in one}
        total: dict[str, Decimal] = defaultdict(Decimal)
        for one in amounts.values():
            total[one["currency"]] += Decimal(one["amount"])
        failures = [self.failed_ago(one) for one in messages] + [one.ago for one in letters]
        return Reach(
            letters=len(waiting),
            failed=len(standing),
            customers=len({one["customer_no"] for one in touched if "customer_no" in one}),
            customers_partial=partly(touched, "customer_no"),
            documents_partial=len({bool(document_of(one)) for one in touched}) == 2,
            amounts_partial=partly(touched, "amount"),
            documents=len({document for one in touched if (document := document_of(one))}),
            amounts=dict(total),
            first=max(failures),
            last=min(failures + [self.last_failed_ago(one) for one in standing]),
            oldest=max([self.failed_ago(one) for one in standing] + [one.ago for one in waiting], default=None),
            failures=tuple([self.failed_ago(one) for one in lone] + [one.ago for one in letters]),
        )

    def failed_ago(self, message: str) -> float:
        """When a message failed first."""
        return max(one.ago for one in [*self.about(message), *self.named_letters(message)] if one.error)

    def last_failed_ago(self, message: str) -> float:
        """When a message failed last, as everybody may know who sees its flow."""
        teams = (TEAM_OF[self.flow_of[message]], NOBODY)
        known = [one.ago for one in self.about(message) if one.error and TEAM_OF[one.flow] in teams]
        return min(known, default=self.failed_ago(message))

    def keys_said(self, message: str, said: Iterable[Event | Letter]) -> dict[str, str]:
        """Of two values of a key that of the message's own flow counts."""
        own_last = sorted(said, key=lambda one: one.flow == self.flow_of[message])
        return dict(pair for one in own_last for pair in one.keys.items())

    def keys_for_all(self, message: str) -> dict[str, str]:
        """What everybody may know who sees the message's flow."""
        teams = (TEAM_OF[self.flow_of[message]], NOBODY)
        return self.keys_said(message, [one for one in self.about(message) if TEAM_OF[one.flow] in teams])

    def hours(self, reach: Reach, now: datetime) -> list[int]:
        """Return the failures of the last 24 hours, the one that runs last."""
        this = now.replace(minute=0, second=0, microsecond=0)
        at = [self.now - timedelta(minutes=one) for one in reach.failures]
        back = [(this - one.replace(minute=0, second=0, microsecond=0)) // timedelta(hours=1) for one in at]
        return [back.count(hour) for hour in range(23, -1, -1)]

    # flows

    def figures(self, events: Iterable[Event], since: datetime, until: datetime) -> tuple[int, int, list[int]]:
        """Return (delivered, failed, how long receivers took in ms) of events in a time."""
        within = [one for one in events if since <= one.at(self.now) < until]
        took = sorted(one.took_ms for one in within if one.operation == "process")
        delivered = [one for one in within if one.operation == "process" and not one.error]
        return len(delivered), len([one for one in within if one.error]), took

    def waiting(self, reader: str, flow: str) -> tuple[int, int, float | None]:
        """Return (letters, failed messages without one, how long the oldest of them waits) of a flow."""
        own = [one for cause, one in self.groups(reader).items() if cause[0] == flow]
        oldest = max((one.oldest for one in own if one.oldest is not None), default=None)
        return sum(one.letters for one in own), sum(one.failed for one in own), oldest

    def systems_of(self, flow: str, since: datetime) -> Counter[tuple[str, str, str, int, int]]:
        done = Counter[tuple[str, str]]()
        failed = Counter[tuple[str, str]]()
        for one in self.events:
            if one.flow == flow and one.at(self.now) >= since:
                done[one.system, one.operation] += 1
                failed[one.system, one.operation] += bool(one.error)
        return Counter((*key, flow, count, failed[key]) for key, count in done.items())

    # the map

    def stations(self, reader: str) -> dict[str, tuple[int, int, int, int, int]]:
        """Return {system: (sent, taken, processed, failed, waiting)} of all that was told."""
        events, letters = self.events_of(reader), [one for one in self.letters_of(reader) if not one.closed]
        return {
            name: (
                sum(one.operation == "send" for one in events if one.system == name),
                sum(self._tries([one for one in events if one.system == name]).values()),
                sum(one.operation == "process" for one in events if one.system == name),
                sum(one.error is not None for one in events if one.system == name),
                sum(one.system == name for one in letters),
            )
            for name in {one.system for one in [*events, *letters]}
        }

    def _tries(self, events: list[Event]) -> dict[str, int]:
        """Return {flow: tries} of what was received and processed: the larger of both, once."""
        done: dict[str, Counter[str]] = defaultdict(Counter)
        for one in events:
            if one.operation in ("receive", "process"):
                done[one.flow][one.operation] += 1
        return {flow: max(counts.values()) for flow, counts in done.items()}

    def lines(self, reader: str) -> Counter[tuple[str, str, str, int, int]]:
        """Return (sender, receiver, flow, tries, failed); each flow here has at most one sender and one receiver. "": nobody told.

        What was taken where nobody sends is of the flow, without a receiver of its own, in which the same messages were sent: what of it was.
        """
        sends, takes = (
            {
                flow: [one for one in self.events if one.flow == flow and (one.operation == "send") is out]
                for flow in self.flows_of(reader)
            }
            for out in (True, False)
        )
        exchanges = {flow for flow in sends if sends[flow] and not takes[flow]}
        found, came = Counter[tuple[str, str, str, int, int]](), defaultdict[str, list[tuple[str, int, int]]](list)
        for flow, taken in takes.items():
            of_exchange = Counter(self._sent_in(about, exchanges, sends) for about in {one.about for one in taken})
            tries, failed = (
                max(Counter(one.operation for one in taken).values(), default=0),
                sum(one.error is not None for one in taken),
            )
            if not taken or sends[flow] or set(of_exchange) == {""}:
                continue
            left = of_exchange.pop("", 0)
            ((exchange, here),) = of_exchange.items()  # no queue here has messages of two
            rest, bad = (round_half_up(count * left, here + left) for count in (tries, failed))
            came[exchange].append((taken[0].system, tries - rest, failed - bad))
            if rest:
                found["", taken[0].system, flow, rest, bad] += 1
            takes[flow] = []
        for flow in sends:
            tries = max([len(sends[flow]), *Counter(one.operation for one in takes[flow]).values()])
            failed = sum(one.error is not None for one in [*sends[flow], *takes[flow]])
            ends = [next((one.system for one in side), "") for side in (sends[flow], takes[flow])]
            unsent = failed if came[flow] else 0
            for system, taken_there, failed_there in sorted(came[flow], key=lambda one: -one[1]):
                found[ends[0], system, flow, taken_there + unsent, failed_there + unsent] += 1
                unsent = 0  # one alone was not sent, and is of who takes most
            if tries and not came[flow]:
                found[ends[0], ends[1], flow, tries, failed] += 1
        return found

    def _sent_in(self, about: str, exchanges: set[str], sends: dict[str, list[Event]]) -> str:
        return next((flow for flow in sorted(exchanges) if any(one.about == about for one in sends[flow])), "")

    # reconciliations

    def reconciled(self, flow: str, key: str, listed: list[str]) -> dict[str, set[str] | int]:
        """Return the sets of a list against what the flow told within a day."""
        told = [one for one in self.events if one.flow == flow and one.ago < 1440]
        messages = {one.about for one in [*told, *(one for one in self.letters if one.flow == flow and one.named)]}
        ends: dict[str, list[str]] = defaultdict(list)
        for message in messages:
            ends[self._key(message, flow, key)].append(self._end(message, flow))
        for letter in self.letters:
            if letter.flow == flow and not letter.named:
                ends[letter.keys[key]].append("failed")
        came = Counter(self._key(message, flow, key) for message in messages)
        ends.pop("", None)  # a contact that goes to the warehouse has no order
        arrived = {one for one in listed if one in ends}
        processed = {one for one in arrived if "delivered" in ends[one]}
        failed = {one for one in arrived - processed if {"failed", "dead"} & set(ends[one])}
        return {
            "arrived": arrived, "processed": processed, "failed": failed, "on-the-way": arrived - processed - failed,
            "never-seen": set(listed) - arrived, "twice": {one for one in arrived if came[one] > 1},
            "not-on-the-list": set(ends) - set(listed), "messages": len(messages),
        }  # fmt: skip

    def _key(self, message: str, flow: str, key: str) -> str:
        said = [*self.about(message), *self.named_letters(message)]
        return next((one.keys[key] for one in said if one.flow == flow and key in one.keys), "")

    def _end(self, message: str, flow: str) -> str:
        """What became of a message as a flow counts it: its row where it told first, else what its own events and letters say last."""
        if self.flow_of[message] == flow:
            return self.status(message)
        if any(one.flow == flow for one in self.named_letters(message)):
            return "dead"
        end = became(one for one in self.about(message) if one.flow == flow)
        teams = {TEAM_OF[one.flow] for one in self.about(message)} - {NOBODY, TEAM_OF[flow]}
        return end if end != "moving" or teams else self.status(message)


def round_half_up(count: int, of: int) -> int:
    return (2 * count + of) // (2 * of)


def became(events: Iterable[Event]) -> str:
    """Failed while a system that took it failed it last; else what the latest event says that decides: an error fails, a processing delivers."""
    decides = [one for one in events if one.error or one.operation == "process"]
    latest = min(decides, key=lambda one: one.ago, default=None)
    lasts = {
        one.system: one for one in sorted(decides, key=lambda one: -one.ago) if one.operation in ("receive", "process")
    }
    failing = any(one.error for one in lasts.values())
    return "moving" if latest is None else "failed" if failing or latest.error else "delivered"


def cause_of_letter(letter: Letter) -> Cause:
    return (letter.flow, letter.system, *letter.error, letter.flow)


def heading(cause: Cause) -> str:
    return ": ".join(one for one in cause[2:4] if one)


def partly(touched: list[dict[str, str]], key: str) -> bool:
    """Whether some documents have this key in one of their failures and some in none."""
    having = {document_of(one) for one in touched if key in one and document_of(one)}
    some = any(key in one for one in touched)
    return some and any(key not in one and document_of(one) not in having for one in touched)


def reach_words(reach: Reach, word: str) -> str:
    """Return "3 prices", "1 order of 1 customer, €100", "2 orders of at least 1 customer", "3 failures, at least 1 order": what is touched."""
    if not reach.waiting:
        return "nothing waits"
    count = reach.documents or reach.waiting
    said = f"{count} {word if reach.documents else 'failure'}{'s' if count != 1 else ''}"
    said = f"{reach.waiting} failures, at least {said}" if reach.documents_partial else said
    some, part = "at least " * reach.customers_partial, "at least " * reach.amounts_partial
    said += f" of {some}{reach.customers} customer{'s' if reach.customers != 1 else ''}" if reach.customers else ""
    amount = reach.amounts.get("EUR", Decimal())
    return said + (
        f", {part}€{amount:.0f}" if amount and amount == int(amount) else f", {part}€{amount:.2f}" if amount else ""
    )


def document_of(keys: dict[str, str]) -> str:
    return next((keys[name] for name in ("order_no", "invoice_no", "price_no", "pick_no") if name in keys), "")


def percentile(took: list[int], share: float) -> int | None:
    """Nearest rank."""
    return took[ceil(share * len(took)) - 1] if took else None
