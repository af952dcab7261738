"""The query tree → Django conditions, for messages, events and dead letters. Anything that is no field is a business key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q

from console.identity.models import Environment
from messages.models import Event, Flow, Message, System
from messages.models.stream import MessageStatus, Operation, Outcome
from messages.search.parse import And, BadQuery, Node, Not, Or, Term
from messages.search.window import BadWindow, parse_span

Condition = Callable[[Term], Q]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What one kind of row can be asked for."""

    name: str
    time_field: str
    text_fields: tuple[str, ...]
    fields: dict[str, Condition]


def to_q(node: Node, target: Target, *, environments: list[Environment], now: datetime) -> Q:
    """Return the condition of a query over one kind of row; raises BadQuery for values that cannot be."""
    if isinstance(node, And):
        condition = Q()
        for part in node.parts:
            condition &= to_q(part, target, environments=environments, now=now)
        return condition
    if isinstance(node, Or):
        condition = to_q(node.parts[0], target, environments=environments, now=now)
        for part in node.parts[1:]:
            condition |= to_q(part, target, environments=environments, now=now)
        return condition
    if isinstance(node, Not):
        return ~to_q(node.of, target, environments=environments, now=now)
    return _term(node, target, environments, now)


def _term(term: Term, target: Target, environments: list[Environment], now: datetime) -> Q:
    if term.field is None:
        return _free_text(term, target, environments)
    name = term.field.lower()
    if name == "flow":
        return _by_name("flow_id", Flow, term, environments)
    if name == "system":
        named = _by_name("system_id", System, term, environments)
        return named if "system" in target.fields else _messages_touched_by(named, now)
    if name == "age":
        return _age(term, target, now)
    if name == "at":
        return _compare(target.time_field, term, _moment(term.value))
    condition = target.fields.get(name)
    if condition is not None:
        return condition(term)
    if term.prefix or term.op != "=":
        raise BadQuery(f"a business key is compared whole: write {term.field}:value")
    return _by_key(target, environments, {term.field: term.value})


def _by_key(target: Target, environments: list[Environment], keys: dict[str, str]) -> Q:
    """A key of a message is a key of all its events: those are found through their message, which alone is indexed by key."""
    if target.name != "events":
        return Q(keys__contains=keys)
    of_messages = Message.objects.filter(environment__in=environments, keys__contains=keys)
    return Q(message_uid__in=of_messages.values("id")) | Q(message_uid__isnull=True, keys__contains=keys)


def _free_text(term: Term, target: Target, environments: list[Environment]) -> Q:
    """Return a condition over the texts that people read; ids and key values match whole."""
    condition = Q()
    for field in target.text_fields:
        condition |= Q(**{f"{field}__icontains": term.value})
    condition |= Q(message_id__startswith=term.value) if term.prefix else Q(message_id=term.value)
    if (trace := _trace(term.value)) is not None:
        condition |= Q(trace_id=trace)
    if not term.prefix:
        for key in ("order_no", "invoice_no", "customer_no", "shipment_no"):
            condition |= _by_key(target, environments, {key: term.value})
    return condition


def _trace(text: str) -> UUID | None:
    try:
        return UUID(hex=text) if len(text.replace("-", "")) == 32 else None
    except ValueError:
        return None


def _by_name(column: str, model: Any, term: Term, environments: list[Environment]) -> Q:
    rows = model.objects.filter(environment__in=environments)
    lookup = "name__istartswith" if term.prefix else "name__iexact"
    ids = list(rows.filter(**{lookup: term.value}).values_list("pk", flat=True)[:500])
    if not ids and not term.prefix:  # a word of the name is enough: flow:orders finds "orders: shop → erp"
        ids = list(rows.filter(name__icontains=term.value).values_list("pk", flat=True)[:500])
    return Q(**{f"{column}__in": ids})


def _messages_touched_by(system: Q, now: datetime) -> Q:
    """A message has no system of its own: it is one that a system touched, in the last week."""
    touched = Event.objects.filter(system, occurred_at__gte=now - timedelta(days=7), message_uid__isnull=False)
    return Q(id__in=touched.values("message_uid"))


def _age(term: Term, target: Target, now: datetime) -> Q:
    """age:>1h is older than an hour: an earlier time."""
    try:
        at = now - parse_span(term.value)
    except BadWindow as error:
        raise BadQuery(str(error)) from error
    return _compare(
        target.time_field,
        Term(term.field, term.value, op={">": "<", "<": ">", ">=": "<=", "<=": ">=", "=": "<="}[term.op]),
        at,
    )


def _moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadQuery(f"“{text[:40]}” is not a time such as 2026-11-24T10:00:00Z") from error
    if at.tzinfo is None:
        raise BadQuery("a time needs a zone, such as …Z")
    return at


def _compare(field: str, term: Term, value: object) -> Q:
    return Q(**{field + {"=": "", ">": "__gt", "<": "__lt", ">=": "__gte", "<=": "__lte"}[term.op]: value})


def text_of(*columns: str) -> Condition:
    """Return a condition: any of these columns contains the value, whatever the case."""

    def condition(term: Term) -> Q:
        found = Q()
        for column in columns:
            found |= Q(**{f"{column}__icontains": term.value})
        return found

    return condition


def exact(column: str) -> Condition:
    def condition(term: Term) -> Q:
        return Q(**{f"{column}__startswith" if term.prefix else column: term.value})

    return condition


def one_of(column: str, choices: dict[str, object]) -> Condition:
    """Return a condition over a fixed vocabulary; a word outside it is refused with the words there are."""

    def condition(term: Term) -> Q:
        if term.value.lower() not in choices:
            raise BadQuery(f"{term.field} is one of {', '.join(choices)}, not “{term.value[:40]}”")
        return Q(**{column: choices[term.value.lower()]})

    return condition


def uuid_of(column: str) -> Condition:
    def condition(term: Term) -> Q:
        found = _trace(term.value)
        return (
            Q(**{column: found})
            if found is not None
            else Q(**{f"{column}__isnull": True}) & Q(**{f"{column}__isnull": False})
        )

    return condition


def _labels(choices: Any) -> dict[str, object]:
    return {label: value for value, label in choices.choices}


STATES: dict[str, object] = {state: state for state in ("open", "replaying", "closed")}
RESOLUTIONS: dict[str, object] = {name: name for name in ("processed", "discarded", "failed_again", "gone")}


def _letter_state(term: Term) -> Q:
    word = term.value.lower()
    if word == "waiting":
        return Q(state__in=["open", "replaying"])
    return (
        one_of("resolution", RESOLUTIONS)(term)
        if word in RESOLUTIONS
        else one_of("state", STATES | {"waiting": ""})(term)
    )


COMMON: dict[str, Condition] = {
    "id": uuid_of("id"),
    "message_id": exact("message_id"),
    "trace": uuid_of("trace_id"),
    "trace_id": uuid_of("trace_id"),
    "correlation": exact("correlation_id"),
    "correlation_id": exact("correlation_id"),
}
MESSAGES = Target(
    name="messages",
    time_field="first_seen_at",
    text_fields=("error_message", "error_type"),
    fields=COMMON
    | {
        "status": one_of("status", _labels(MessageStatus)),
        "error": text_of("error_message", "error_type"),
        "class": text_of("error_type"),
    },
)
EVENTS = Target(
    name="events",
    time_field="occurred_at",
    text_fields=("error_message", "error_type", "name"),
    fields=COMMON
    | {
        "system": exact("system_id"),
        "status": one_of("outcome", _labels(Outcome)),
        "outcome": one_of("outcome", _labels(Outcome)),
        "operation": one_of("operation", _labels(Operation)),
        "destination": text_of("destination"),
        "error": text_of("error_message", "error_type"),
        "class": text_of("error_type"),
        "name": text_of("name"),
        "span": exact("span_id"),
    },
)
DEAD_LETTERS = Target(
    name="dead letters",
    time_field="failed_at",
    text_fields=("error_message", "error_type", "error_root_type", "reason", "queue"),
    fields=COMMON
    | {
        "system": exact("system_id"),
        "state": _letter_state,
        "status": _letter_state,
        "queue": text_of("queue"),
        "destination": text_of("origin"),
        "origin": text_of("origin"),
        "broker": exact("broker"),
        "reason": text_of("reason", "reason_code"),
        "error": text_of("error_message", "error_type", "error_root_type"),
        "class": text_of("error_root_type"),
    },
)


def is_exact(node: Node) -> bool:
    """Whether a query names one thing by an id or a business key, so that the default window must not hide it."""
    if isinstance(node, And):
        return any(is_exact(part) for part in node.parts)
    if not isinstance(node, Term) or node.field is None:
        return False
    name = node.field.lower()
    words = set(COMMON) | {"span"}
    fields = set(MESSAGES.fields) | set(EVENTS.fields) | set(DEAD_LETTERS.fields) | {"flow", "age", "at", "system"}
    return name in words or name not in fields
