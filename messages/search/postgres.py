"""A query → Django conditions, for messages, events and dead letters. What is no field is a business key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

from django.db.models import DurationField, ExpressionWrapper, F, Q, Value
from django.db.models.expressions import Combinable
from django.db.models.fields.json import DataContains, HasKey
from django.db.models.functions import Coalesce
from django.db.models.lookups import GreaterThan

from console.core.ids import uuid7_floor
from console.identity.models import Agent
from messages.access import visible_dead_letters, where_hashes_are_tried
from messages.masking.hashes import is_hash
from messages.masking.queries import hashes_of
from messages.models import DeadLetter, Flow, Message, System
from messages.models.stream import MessageStatus, Operation, Outcome
from messages.search.conditions import (
    ALL,
    NOTHING,
    Condition,
    Scope,
    any_true,
    lasting,
    later,
    named,
    one_of,
    time_of,
    trace_of,
    uuid_of,
    value_of,
    whole,
    words_in,
)
from messages.search.fields import RESOLUTIONS, STATES, Kind, fields_of, nearest, others_with
from messages.search.groups import event_of_group, of_group
from messages.search.keys import known_keys
from messages.search.lookups import Holds
from messages.search.of_events import A_DAY_OFF, EVER_FAILED, failing, touched
from messages.search.query import (
    And,
    BadQuery,
    Exists,
    Leaf,
    Node,
    Not,
    Or,
    Prefix,
    Query,
    Refused,
    Term,
    leaves_of,
)
from messages.search.reading import MOST_SLIPS, read_query
from messages.search.reconciled import of_set
from messages.search.said import days_saying
from messages.search.words import NUMBERS, key_of
from messages.told import told_to

MOST_OF_A_KEY = 1_000  # messages whose events are looked for by their ids
MOST_LOOKS = 10  # leaves of a query for each of which days are looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What one kind of row can be asked for: `fields` by the names of messages.search.fields, `says` by the texts that people read."""

    name: str
    time_field: str
    says: Condition
    fields: dict[str, Condition]


def to_q(query: Query, target: Target, scope: Scope) -> Q:
    """Return the condition of a query over one kind of row; raises BadQuery for what cannot be asked of it."""
    if sum(1 for _ in leaves_of(query.root)) > MOST_LOOKS:
        scope = replace(scope, by_days=False)
    together = partial(_of_one_event, scope=scope) if target is MESSAGES else _apart
    return asked(query, lambda leaf: _leaf(leaf, target, scope), together)


Together = Callable[[Sequence[Node]], tuple[Q, Sequence[Node]]]


def _apart(parts: Sequence[Node]) -> tuple[Q, Sequence[Node]]:
    return Q(), parts


def asked(query: Query, leaf: Callable[[Leaf], Q], together: Together = _apart) -> Q:
    """Return the condition of a query whose leaves `leaf` reads; its Refused is told of the reader's own text, as BadQuery.

    together  of parts that must all hold, what some of them mean in one, and the others, each of which is asked by itself.
    """
    try:
        return _joined(query.root, leaf, together)
    except Refused as refused:
        refusal = query.refusal(refused)
        refusal.suggestion = _mended(refusal.suggestion, leaf, together) if refusal.suggestion else ""
        raise refusal from refused


def _mended(text: str, leaf: Callable[[Leaf], Q], together: Together) -> str:
    """Return what is suggested when it is taken itself, else what is suggested in its stead; "" after some slips, or none that is."""
    for _ in range(MOST_SLIPS):
        try:
            query = read_query(text)
        except BadQuery:
            return ""
        try:
            _joined(query.root, leaf, together)
        except Refused as refused:
            text = query.refusal(refused).suggestion
        else:
            return text  # "" reads as everything
    return ""


def _joined(node: Node, leaf: Callable[[Leaf], Q], together: Together) -> Q:
    """No part is ever an empty Q: it would vanish from an OR and under a NOT instead of being true."""
    if isinstance(node, And):
        condition, parts = together(node.parts) if node.parts else (ALL, ())
        for part in parts:
            condition &= _joined(part, leaf, together)
        return condition
    if isinstance(node, Or):
        condition = NOTHING
        for part in node.parts:
            condition |= _joined(part, leaf, together)
        return condition
    return ~_joined(node.of, leaf, together) if isinstance(node, Not) else leaf(node)


def _leaf(leaf: Leaf, target: Target, scope: Scope) -> Q:
    if leaf.field is None:
        return _free_text(leaf, target, scope)
    field = fields_of(target.name).get(leaf.field.lower())
    if field is not None:
        return target.fields[field.name](leaf, scope)
    return _by_key(leaf, target, scope)


def _by_key(leaf: Leaf, target: Target, scope: Scope) -> Q:
    """A key of a message is a key of all its events: those are found through their message, which alone is indexed by key."""
    name = key_of(str(leaf.field))
    if name == leaf.field:
        _check_is_key(leaf, target, scope)
    if isinstance(leaf, Exists):
        named = Q(keys__has_key=name)
        return (
            told_to(scope.actor, named, "keys", lambda keys: Q(HasKey(keys, name)))
            if target.name == "messages"
            else named
        )
    if not isinstance(leaf, Term):
        raise Refused(leaf, f"a business key is compared whole: write {leaf.field}:value")
    hashed = hashes_of(where_hashes_are_tried(scope.actor, scope.environments), name, leaf.value)
    return _by_hash(leaf.value, scope, _with_key(target, scope, [{name: value} for value in (leaf.value, *hashed)]))


def _by_hash(value: str, scope: Scope, found: Q) -> Q:
    """Return the condition of a key, where its value may be asked for: a hash as it stands by those alone who may find by it."""
    return (
        found & Q(environment__in=where_hashes_are_tried(scope.actor, scope.environments)) if is_hash(value) else found
    )


def _check_is_key(leaf: Leaf, target: Target, scope: Scope) -> None:
    """Refuse the name of a field written wrong, or another list's, unless messages do carry a business key of that name."""
    name = str(leaf.field).lower()
    elsewhere, near = others_with(name, target.name), nearest(name, fields_of(target.name))
    if not (elsewhere or near) or leaf.field in known_keys(scope.actor, scope.environments):
        return
    words = f"{target.name.replace('-', ' ')} have no {leaf.field}" + (
        f", {' and '.join(elsewhere)} have" if elsewhere else ""
    )
    way_out = f"; a business key of this name is key.{leaf.field}"
    raise Refused(leaf, words + way_out, part="field", instead="" if elsewhere else near)


def _with_key(target: Target, scope: Scope, wanted: Sequence[dict[str, str]]) -> Q:
    """Return the condition that a row has one of these keys.

    The messages of events are read first: beside a subquery no index serves the rest, and one number costs every event that is kept.
    """
    has = any_true(Q(keys__contains=keys) for keys in wanted)
    if target.name == "dead-letters":
        return has

    def of_told(known: Combinable) -> Q:
        told = ({name: [value] for name, value in keys.items()} for keys in wanted)
        return any_true(Q(DataContains(known, keys)) for keys in told)

    known = told_to(scope.actor, has, "keys", of_told, of_seen_flows=target.name == "messages")
    if target.name == "messages":
        return known
    of_messages = Message.objects.filter(known, environment__in=scope.environments).values_list("id", flat=True)
    ids = list(of_messages[: MOST_OF_A_KEY + 1])
    return Q(message_uid__in=ids if len(ids) <= MOST_OF_A_KEY else of_messages) | Q(has, message_uid__isnull=True)


def _free_text(leaf: Leaf, target: Target, scope: Scope) -> Q:
    """Return a condition over the texts that people read; ids and key values match whole."""
    value = value_of(leaf)
    condition = target.says(leaf, scope)
    if isinstance(leaf, Prefix):
        return condition | Q(message_id__startswith=value)
    condition |= Q(message_id=value)
    if (trace := trace_of(value)) is not None:
        condition |= Q(trace_id=trace)
    return condition | _by_hash(value, scope, _with_key(target, scope, [{key: value} for key in NUMBERS]))


def _of_one_event(parts: Sequence[Node], scope: Scope) -> tuple[Q, Sequence[Node]]:
    """What stands beside `failed` and is said of an event that failed is asked of the same one: it failed then, in that flow."""
    said = [part for part in parts if isinstance(part, Leaf) and (part.field or "").lower() in OF_A_FAILURE]
    if all((leaf.field or "").lower() != "failed" for leaf in said):
        return Q(), parts
    return failing(said, OF_A_FAILURE, scope), [part for part in parts if part not in said]


def _died(condition: Condition) -> Condition:
    """A message has no reason of its own: it is one with a dead letter, which the reader may see, that has."""

    def of_message(leaf: Leaf, scope: Scope) -> Q:
        letters = visible_dead_letters(scope.actor).filter(condition(leaf, scope), environment__in=scope.environments)
        letters = letters.filter(id__gte=uuid7_floor(scope.since - A_DAY_OFF), message_uid__isnull=False)
        return Q(id__in=letters.order_by().values("message_uid"))

    return of_message


def _failing(told: str, *columns: str) -> Condition:
    """Only a message that ever failed has an error: said, so that the index of those is used; and only of days that have such errors."""

    def of_message(leaf: Leaf, scope: Scope) -> Q:
        value = None if isinstance(leaf, Exists) else value_of(leaf)

        def of_told(known: Combinable) -> Q:
            return Q(GreaterThan(known, Value("")) if value is None else Holds(known, value))

        found = told_to(scope.actor, words_in(*columns)(leaf, scope) & EVER_FAILED, told, of_told)
        return found if value is None else found & days_saying(value, scope)

    return of_message


def _labels(column: str, choices: Any) -> Condition:
    return one_of({label: Q(**{column: value}) for value, label in choices.choices})


def _microseconds(span: timedelta) -> int:
    return span // timedelta(microseconds=1)


def _span(span: timedelta) -> timedelta:
    return span


TOOK = ExpressionWrapper(F("last_seen_at") - Coalesce("started_at", "first_seen_at"), output_field=DurationField())
STATUSES = {
    label: Q(status=value) & EVER_FAILED if value in (MessageStatus.FAILED, MessageStatus.DEAD) else Q(status=value)
    for value, label in MessageStatus.choices
}
PAYLOAD = later(
    "payload text is searched by Elasticsearch alone: set ELASTICSEARCH_URL, and allow the search of payloads on the flow's page"
)
DIED_OF = one_of({code: Q(reason_code=code) for code in DeadLetter.ReasonCode.values})
WAITS = Q(closed_at__isnull=True)  # what the indexes of what waits go by
STANDS: dict[str, Q] = {
    "waiting": WAITS,
    **{state: Q(state=state) & (~WAITS if state == "closed" else WAITS) for state in STATES},
    **{name: Q(resolution=name) for name in RESOLUTIONS},
}


def _common(time_field: str) -> dict[str, Condition]:
    return {
        "id": uuid_of("id"),
        "message_id": whole("message_id"),
        "trace": uuid_of("trace_id"),
        "correlation": whole("correlation_id"),
        "flow": named("flow_id", Flow),
        "at": time_of(time_field),
        "age": time_of(time_field),
        "group": of_group,
    }


EVENTS = Target(
    name="events",
    time_field="occurred_at",
    says=words_in("error_message", "error_type", "name"),
    fields=_common("occurred_at")
    | {
        "system": named("system_id", System),
        "agent": named("agent_id", Agent),
        "status": _labels("outcome", Outcome),
        "operation": _labels("operation", Operation),
        "destination": words_in("destination"),
        "error": words_in("error_message", "error_type"),
        "class": words_in("error_type"),
        "duration": lasting("duration_us", _microseconds),
        "name": words_in("name"),
        "span": whole("span_id"),
        "group": event_of_group,
    },
)
DEAD_LETTERS = Target(
    name="dead-letters",
    time_field="failed_at",
    says=words_in("error_message", "error_type", "error_root_type", "reason", "queue"),
    fields=_common("failed_at")
    | {
        "system": named("system_id", System),
        "agent": named("agent_id", Agent),
        "status": one_of(STANDS),
        "queue": words_in("queue"),
        "destination": words_in("origin"),
        "broker": whole("broker"),
        "reason": words_in("reason", "reason_code"),
        "died_of": DIED_OF,
        "error": words_in("error_message", "error_type", "error_root_type"),
        "class": words_in("error_root_type"),
        "payload": PAYLOAD,
        "reconciled": of_set("message_uid", letters=True),
    },
)
OF_A_FAILURE = {"failed": time_of("occurred_at"), "via": EVENTS.fields["flow"]}
SAID = _failing("errors", "error_message", "error_type")
MESSAGES = Target(
    name="messages",
    time_field="first_seen_at",
    says=SAID,
    fields=_common("first_seen_at")
    | {
        "status": one_of(STATUSES),
        "error": SAID,
        "class": _failing("classes", "error_type"),
        "duration": lasting(TOOK, _span),
        **{name: touched(EVENTS.fields[name]) for name in ("system", "agent", "destination")},
        "via": touched(EVENTS.fields["flow"]),
        "failed": lambda leaf, scope: failing([leaf], OF_A_FAILURE, scope),
        "reason": _died(DEAD_LETTERS.fields["reason"]),
        "payload": PAYLOAD,
        "reconciled": of_set("id"),
    },
)


def is_exact(node: Node, target: Target) -> bool:
    """Whether a query names things by an id or a business key, so that the default window must not hide them."""
    if isinstance(node, And):
        return any(is_exact(part, target) for part in node.parts)
    if isinstance(node, Or):
        return all(is_exact(part, target) for part in node.parts)
    return not isinstance(node, Not) and _names_one(node, target)


def _names_one(leaf: Leaf, target: Target) -> bool:
    if not isinstance(leaf, Term) or leaf.field is None:
        return False
    field = fields_of(target.name).get(leaf.field.lower())
    return field is None or field.kind is Kind.ID or field.name in ("message_id", "correlation")


def names_several(query: Query, target: Target) -> bool:
    """Whether a query is exact by several ids or keys: then its rows are fetched through their index and sorted.

    PostgreSQL takes each key for one row in ten thousand, so that a hundred of them look frequent, and walks all rows in their order
    to find the first fifty: measured over a million messages 5,700 ms, where their index takes 31.
    """
    several = sum(1 for leaf in leaves_of(query.root) if _names_one(leaf, target)) > 1
    return several and is_exact(query.root, target)
