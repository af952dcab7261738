"""The walk along the ties of a journey: traces, span links, message ids, correlation id, business key; rights applied in each query.

Events are read in a few columns (seen.py), failures first, so that the limit never costs one; what a page shows is read in full later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain, islice, starmap
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import BigIntegerField, BooleanField, Q, QuerySet, TextField
from django.db.models.expressions import RawSQL

from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import visible_events, visible_messages
from messages.ingest.identity import LONG_ID, message_uid
from messages.journeys.evidence import (
    ANSWER,
    CORRELATION,
    KEY,
    LINK,
    MESSAGE,
    REQUEST,
    START,
    TRACE,
    Evidence,
    NotFollowed,
    brought,
)
from messages.journeys.seen import ERROR_SHOWN, Link, Seen
from messages.masking.shown import key_shown
from messages.models import Event, TraceLink
from messages.search.query import Query, Term

MOST_SEEN = 50_000  # events; with their evidence about 52 MB while a page is made
MOST_TRACES = MOST_LINKS = 25_000
MOST_CORRELATIONS, MOST_OF_A_KEY = 20, 200
MOST_OWN_TRACES, MOST_OF_AN_OWN_TRACE = 20, 200
MOST_FOLLOWED = 1_000  # events that a correlation id brings; more have it in common by mistake as likely as not, and are not followed
ROUNDS = 4
NO_TRACE = UUID(int=0)
AROUND = timedelta(days=3)  # a journey's events lie within days of each other; keeps partitions pruned
AFTER = 10 * AROUND
KEY_AROUND = timedelta(days=1)
# A trace of millions costs what one of 201 events does.
OWN_TRACES = """
SELECT event.* FROM unnest(%s::uuid[]) WITH ORDINALITY AS own (trace_id, at) CROSS JOIN LATERAL ({events}) AS event ORDER BY own.at
"""
# As much of a message as a page shows; of one that is stored out of line no more than that is fetched.
ERROR_NUMBER = RawSQL(
    "CASE WHEN messaging_event.outcome = 2 THEN"
    " hashtextextended(concat(messaging_event.error_type, chr(31), left(messaging_event.error_message, %s)), 0) END",
    [ERROR_SHOWN],
    output_field=BigIntegerField(),
)
A_DAY_OFF = timedelta(days=4)  # a message's row may lie on an earlier or later day than its events


@dataclass(slots=True, kw_only=True)
class Gathered:
    """What was found, and why each of it belongs here; truncated: there was more than is looked at; not_followed: ties that too many share."""

    seen: dict[UUID, Seen] = field(default_factory=dict)
    evidence: dict[UUID, Evidence] = field(default_factory=dict)
    traces: set[UUID] = field(default_factory=set)
    uids: set[UUID] = field(default_factory=set)
    links: dict[Link, None] = field(default_factory=dict)  # each once, though it is found from both of its ends
    truncated: bool = False
    not_followed: list[NotFollowed] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)  # business keys that it has one value of
    around: datetime | None = None  # when the walk began


def any_of(table: type[Any], column: str, values: Collection[Any]) -> RawSQL:
    """Return the condition that a column is one of thousands of values: one array, which its index serves; IN would be as many parameters."""
    return RawSQL(f'"{table._meta.db_table}"."{column}" = ANY(%s)', [list(values)], output_field=BooleanField())  # noqa: S611  names of ours


def read_seen(rows: QuerySet[Event]) -> Iterator[Seen]:
    """Yield these events, the failures before the rest; one more than MOST_SEEN where there are more."""
    rows = rows.annotate(error=ERROR_NUMBER).order_by("-outcome", "occurred_at", "id")
    return starmap(Seen, rows.values_list(*Seen._fields)[: MOST_SEEN + 1])


def gather(
    actor: Actor, environments: Sequence[Environment], traces: set[UUID], uids: set[UUID], around: datetime, *,
    correlation: str | None, keys: dict[str, str], read: Mapping[UUID, Sequence[Seen]] | None = None,
) -> Gathered:  # fmt: skip
    """Return what is tied to these traces and messages, and to the correlation id and number that they carry.

    read  {trace: its events}, as read_seen has them, of traces that were read before.
    """
    walk = _Walk(actor, environments, around, read or {})
    walk.follow(dict.fromkeys(traces, START), dict.fromkeys(uids, Evidence(kind=MESSAGE)))
    walk.correlate(correlation)
    walk.found.around, walk.found.keys = around, keys or walk.keys()
    walk.by_number(document_numbers(walk.found.keys)[:1])
    return walk.found


class _Walk:
    def __init__(
        self,
        actor: Actor,
        environments: Sequence[Environment],
        around: datetime,
        read: Mapping[UUID, Sequence[Seen]],
    ) -> None:
        self.actor, self.environments, self.around, self.read = actor, environments, around, read
        self.since, self.until = around - AROUND, around + AFTER
        self.base = visible_events(actor).filter(environment__in=environments)
        self.near = self.base.filter(occurred_at__gte=self.since, occurred_at__lte=self.until)
        self.found = Gathered()

    def follow(self, traces: dict[UUID, Evidence], uids: dict[UUID, Evidence]) -> None:
        """Take the events of these traces and messages, then of what those lead to, round by round."""
        found = self.found
        for _ in range(ROUNDS):
            traces = {trace: why for trace, why in traces.items() if trace not in found.traces}
            uids = {uid: why for uid, why in uids.items() if uid not in found.uids}
            if len(traces) + len(found.traces) > MOST_TRACES:
                found.truncated = True
                traces = dict(islice(traces.items(), max(0, MOST_TRACES - len(found.traces))))
            if not traces and not uids:
                return
            fresh = self._take_traces(traces) + self._take_messages(uids)
            links = self._links(traces)
            traces, uids = self._led_to_by(fresh, links)
        further = Q(any_of(Event, "trace_id", traces)) | Q(any_of(Event, "message_uid", uids.keys() - found.uids))
        found.truncated |= self.near.filter(further).exclude(any_of(Event, "id", found.seen)).exists()

    def _take_traces(self, traces: dict[UUID, Evidence]) -> list[Seen]:
        self.found.traces |= traces.keys()
        if not traces:
            return []
        return self._add(self._of_traces(traces), lambda seen: traces.get(seen.trace_id or NO_TRACE, START))

    def _of_traces(self, traces: Collection[UUID]) -> Iterable[Seen]:
        if self.read.keys() >= set(traces):
            known = (one for trace in traces for one in self.read[trace])
            return (one for one in known if self.since <= one.occurred_at <= self.until)
        return read_seen(self.near.filter(any_of(Event, "trace_id", traces)))

    def _take_messages(self, uids: dict[UUID, Evidence]) -> list[Seen]:
        self.found.uids |= uids.keys()
        if not uids:
            return []
        return self.take(
            self.near.filter(any_of(Event, "message_uid", uids)),
            lambda seen: uids.get(seen.message_uid or NO_TRACE, Evidence(kind=MESSAGE)),
        )

    def take(self, rows: QuerySet[Event], why: Callable[[Seen], Evidence]) -> list[Seen]:
        """Add the rows that are not there yet, with the evidence that brought them; the failures among them before the rest."""
        return self._add(read_seen(rows), why)

    def _add(self, rows: Iterable[Seen], why: Callable[[Seen], Evidence]) -> list[Seen]:
        found = self.found
        fresh = []
        for seen in rows:
            if seen.id in found.seen:
                continue
            if len(found.seen) >= MOST_SEEN:
                found.truncated = True
                break
            found.seen[seen.id], found.evidence[seen.id] = seen, why(seen)
            fresh.append(seen)
        return fresh

    def _links(self, traces: Collection[UUID]) -> list[Link]:
        """Return the span links that leave or reach these traces."""
        if not traces:
            return []
        rows = TraceLink.objects.filter(
            Q(any_of(TraceLink, "trace_id", traces)) | Q(any_of(TraceLink, "linked_trace_id", traces)),
            environment__in=self.environments,
            occurred_at__gte=self.since,
            occurred_at__lte=self.until,
        )
        names = ("trace_id", "span_id", "linked_trace_id", "linked_span_id")
        found: list[Any] = list(rows.values_list(*names)[: MOST_LINKS + 1])
        self.found.truncated |= len(found) > MOST_LINKS
        self.found.links.update(dict.fromkeys(found[:MOST_LINKS]))
        return found[:MOST_LINKS]

    def _led_to_by(
        self, fresh: Sequence[Seen], links: Sequence[Link]
    ) -> tuple[dict[UUID, Evidence], dict[UUID, Evidence]]:
        """Return (traces, messages) that events and links lead to, each with the evidence for what it will bring."""
        found = self.found
        traces: dict[UUID, Evidence] = {}
        uids: dict[UUID, Evidence] = {}
        by_span = {(one.trace_id, one.span_id): one for one in fresh if one.span_id}
        for trace, span, other, other_span in links:
            here, there = ((trace, span), other) if trace in found.traces else ((other, other_span), trace)
            if there not in found.traces and there not in traces:
                words = f"span {span} of trace {trace.hex} links to span {other_span} of trace {other.hex}"
                traces[there] = brought(LINK, words, self._as_bringer(by_span.get(here)))
        for one in fresh:
            if one.message_uid and one.message_uid not in uids:
                uids[one.message_uid] = brought(MESSAGE, "", self._as_bringer(one))
            if one.trace_id and one.trace_id not in found.traces and one.trace_id not in traces:
                traces[one.trace_id] = brought(TRACE, one.trace_id.hex, self._as_bringer(one))
        return traces, uids

    def _as_bringer(self, seen: Seen | None) -> tuple[UUID, Evidence] | None:
        return (seen.id, self.found.evidence[seen.id]) if seen else None

    def correlate(self, correlation: str | None) -> None:
        """Take what carries the correlation id asked for, or those of the events found, and follow it. So replies and their requests, of
        which one has the other's message id as its correlation id, as far as that id is unique.
        """
        seen = self.found.seen.values()
        answered = {one.message_id: one for one in reversed(seen) if one.message_id and len(one.message_id) >= LONG_ID}
        bringers: dict[str, Seen | None] = {}
        for one in seen:
            known = one.correlation_id
            if not known or known in bringers or known in answered or (correlation and known != correlation):
                continue
            if len(bringers) == MOST_CORRELATIONS:
                self.found.truncated = True
                break
            bringers[known] = one
        if correlation and correlation not in answered:
            bringers.setdefault(correlation, None)
        why = {one: brought(CORRELATION, one, self._as_bringer(by)) for one, by in bringers.items()}
        why |= {one: brought(ANSWER, one, self._as_bringer(by)) for one, by in answered.items()}
        if not why:
            return
        fresh = self.take(
            self.near.filter(any_of(Event, "correlation_id", why)), lambda seen: why[seen.correlation_id or ""]
        )
        of_each = Counter(one.correlation_id for one in fresh)
        self._say_not_followed({one for one, count in of_each.items() if one and count > MOST_FOLLOWED}, why)
        traces, uids = self._led_to_by([one for one in fresh if of_each[one.correlation_id] <= MOST_FOLLOWED], [])
        requests = {
            UUID(bytes=message_uid(place.pk, one, None)): brought(REQUEST, one, self._as_bringer(by))
            for one, by in bringers.items()
            if len(one) >= LONG_ID and of_each[one] <= MOST_FOLLOWED
            for place in self.environments
        }
        self.follow(traces, requests | uids)

    def _say_not_followed(self, correlations: Collection[str], why: Mapping[str, Evidence]) -> None:
        if not correlations:
            return
        carrying = Counter(one.correlation_id for one in self.found.seen.values())
        for one in correlations:
            words = (
                f"{carrying[one]:,} events carry the correlation id {one}, and over {MOST_FOLLOWED:,} are not followed: "
                "they are here, but not what else is in their traces and about their messages"
            )
            q = Query(Term("correlation", one)).text
            self.found.not_followed.append(NotFollowed(kind=why[one].kind, value=one, words=words, q=q))

    def keys(self) -> dict[str, str]:
        """Return the business keys that the first events carry, of those with one value only: a batch of many orders has no number."""
        first = list(islice(self.found.seen.values(), 200))
        if not first:
            return {}
        values: dict[str, set[str]] = {}
        times = [seen.occurred_at for seen in first]
        rows = self.base.filter(
            any_of(Event, "id", [seen.id for seen in first]), occurred_at__range=(min(times), max(times))
        )
        for keys in rows.exclude(keys={}).values_list("keys", flat=True):
            for name, value in keys.items():
                values.setdefault(name, set()).add(value)
        return {name: next(iter(known)) for name, known in values.items() if len(known) == 1}

    def by_number(self, numbers: Sequence[tuple[str, str]]) -> None:
        """Take what has the same document number within a day, and the rest of the messages which that names."""
        since, until = self.around - KEY_AROUND, self.around + KEY_AROUND
        for name, value in numbers:
            ids = messages_with(self.actor, self.environments, (name, value), since, until)
            many, ids = len(ids) > MOST_OF_A_KEY, ids[:MOST_OF_A_KEY]
            rows = self.base.filter(occurred_at__range=(since, until), keys__contains={name: value}).filter(
                Q(any_of(Event, "message_uid", ids)) | Q(message_uid__isnull=True)
            )
            tie, q = tie_of(self.actor, self.environments, (name, value))
            carrying = list(read_seen(rows))
            bringer = next((one for one in carrying if one.id in self.found.seen), None)
            why = brought(KEY, tie, self._as_bringer(bringer))
            fresh = self._add(carrying, lambda _, why=why: why)  # type: ignore[misc]
            # A message that one event with the number has brought is here with all its events: receivers seldom repeat the number.
            named = {
                one.message_uid: one for one in fresh if one.message_uid and one.message_uid not in self.found.uids
            }
            self._take_messages({uid: brought(MESSAGE, "", self._as_bringer(one)) for uid, one in named.items()})
            large = self._take_own_traces(fresh, name, value)
            if many:
                words = f"over {MOST_OF_A_KEY:,} messages have {tie} within days of it: it brings the events of {MOST_OF_A_KEY:,} of them"
                self.found.not_followed.append(NotFollowed(kind=KEY, value=tie, words=words, q=q))
            if large:
                words = (
                    f"{large:,} other trace{'s have' if large > 1 else ' has'} {tie} and over {MOST_OF_AN_OWN_TRACE:,} events: "
                    "only those with the number are here"
                )
                self.found.not_followed.append(NotFollowed(kind=KEY, value=tie, words=words, q=q))

    def _take_own_traces(self, fresh: Sequence[Seen], name: str, value: str) -> int:
        """Take the rest of the traces of events that a number brought, where a trace has no other number: that of a batch has many. Return how
        many were too large.
        """
        bringers: dict[UUID, Seen] = {}
        for one in fresh:
            if one.trace_id and one.trace_id not in self.found.traces:
                bringers.setdefault(one.trace_id, one)
        self.found.truncated |= len(bringers) > MOST_OWN_TRACES
        asked = list(islice(bringers, MOST_OWN_TRACES))
        alone = self._without_another(name, value, asked) if asked else {}
        own = {trace: events for trace, events in alone.items() if len(events) <= MOST_OF_AN_OWN_TRACE}
        self.found.traces |= own.keys()
        why = {trace: brought(TRACE, trace.hex, self._as_bringer(bringers[trace])) for trace in own}
        self._add(chain.from_iterable(own.values()), lambda seen: why[seen.trace_id or NO_TRACE])
        return len(alone) - len(own)

    def _without_another(self, name: str, value: str, traces: list[UUID]) -> dict[UUID, list[Seen]]:
        """Return the events of those of these traces in which the number has no other value, as far as the actor sees them; of a large one some."""
        events = self.near.filter(RawSQL("messaging_event.trace_id = own.trace_id", [], output_field=BooleanField()))
        number = RawSQL("messaging_event.keys ->> %s", [name], output_field=TextField())
        columns = events.annotate(error=ERROR_NUMBER, number=number).values_list(*Seen._fields, "number")
        one, with_rights = columns[: MOST_OF_AN_OWN_TRACE + 1].query.sql_with_params()
        own: dict[UUID, list[Seen]] = {trace: [] for trace in traces}
        others: set[UUID] = set()
        with connection.cursor() as cursor:
            cursor.execute(OWN_TRACES.format(events=one), [traces, *with_rights])
            for *row, its_number in cursor.fetchall():
                seen = Seen(*row)
                own[seen.trace_id or NO_TRACE].append(seen)
                if its_number not in (None, value):
                    others.add(seen.trace_id or NO_TRACE)
        return {trace: found for trace, found in own.items() if trace not in others}


def messages_with(
    actor: Actor, environments: Sequence[Environment], number: tuple[str, str], since: datetime, until: datetime
) -> list[UUID]:
    """Return the messages with this number of these days, at most one more than MOST_OF_A_KEY."""
    messages = visible_messages(actor).filter(
        environment__in=environments,
        first_seen_on__range=((since - A_DAY_OFF).date(), (until + A_DAY_OFF).date()),
        keys__contains=dict([number]),
    )
    return list(messages.values_list("id", flat=True)[: MOST_OF_A_KEY + 1])


def tie_of(actor: Actor, environments: Sequence[Environment], number: tuple[str, str]) -> tuple[str, str]:
    """Return a number as the actor may know it, ("order_no=4711", the search for it), the search "" where its value is not told."""
    name, value = number
    shown = value
    for environment in environments:
        shown = key_shown(actor, environment.pk, shown)
    return f"{name}={shown}", Query(Term(f"key.{name}", value)).text if shown == value else ""


def document_numbers(keys: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the document numbers among these keys, first the one that may tie events which no context ties; customers have too many documents."""
    numbers = [(name, value) for name, value in sorted(keys.items()) if name.endswith("_no") and name != "customer_no"]
    numbers.sort(key=lambda pair: pair[0] != "order_no")
    return numbers
