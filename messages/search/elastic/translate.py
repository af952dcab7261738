"""A query → Elasticsearch's query DSL, with the meaning that messages.search.postgres gives it. Pure.

Everything is in filter context: nothing is scored. What cannot be asked with the same answer raises Unsuited. A query was read by
the PostgreSQL back end first, which refuses what is no query, so nothing is refused here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from messages.masking.hashes import is_hash
from messages.models import DeadLetter
from messages.models.stream import MessageStatus
from messages.search.base import Question, Unsuited
from messages.search.conditions import bounds_of, trace_of
from messages.search.elastic.words import LONGEST_WORD, MICROSECOND, anywhere, folded, key_term, microseconds
from messages.search.fields import RESOLUTIONS, STATES, fields_of
from messages.search.query import And, Compare, Exists, Leaf, Node, Not, Or, Prefix, Range, Term
from messages.search.times import span_of
from messages.search.words import NUMBERS, key_of

Clause = dict[str, Any]
Asking = Callable[[Leaf, Question], Clause]
ALL: Clause = {"match_all": {}}
NOTHING: Clause = {"match_none": {}}
OPERATORS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
KINDS = {"messages": "message", "dead-letters": "letter"}


def body_of(question: Question) -> Clause:
    """Return the body of a search that gives a page: the ids are the sort values. Raises Unsuited."""
    filters = [{"term": {"kind": KINDS[question.target]}}, *_rights(question, "flow"), *_window(question)]
    filters.append(_joined(question.query.root, question))
    order = [{"id": "desc"}, {"at": "desc"}] if question.target == "dead-letters" else [{"at": "desc"}, {"id": "desc"}]
    body: Clause = {
        "query": {"bool": {"filter": filters}},
        "sort": order,
        "size": question.limit,
        "_source": False,
        "track_total_hits": False,
    }
    if question.after is not None:
        at, identity = question.after
        # Of dead letters the id alone is the position: after whatever has it, so that its time never decides.
        body["search_after"] = [str(identity), -(2**62)] if at is None else [microseconds(at), str(identity)]
    return body


def _rights(question: Question, field: str) -> list[Clause]:
    return [] if question.flows is None else [{"terms": {field: list(question.flows)}}]


def _window(question: Question) -> list[Clause]:
    bounds = {"gte": question.since, "lt": question.until}
    given = {op: microseconds(at) for op, at in bounds.items() if at is not None}
    return [{"range": {"at": given}}] if given else []


def _joined(node: Node, question: Question) -> Clause:
    if isinstance(node, And):
        return _all([_joined(part, question) for part in node.parts])
    if isinstance(node, Or):
        return _any([_joined(part, question) for part in node.parts])
    if isinstance(node, Not):
        return {"bool": {"must_not": [_joined(node.of, question)]}}
    return _leaf(node, question)


def _all(clauses: list[Clause]) -> Clause:
    return {"bool": {"filter": clauses}} if clauses else ALL


def _any(clauses: list[Clause]) -> Clause:
    return {"bool": {"should": clauses, "minimum_should_match": 1}} if clauses else NOTHING


def _parts(clause: Clause) -> list[Clause]:
    """Return the clauses of which one must hold: the fewer brackets, the deeper a query may be."""
    only_should = clause.get("bool", {}).keys() == {"should", "minimum_should_match"}
    return list(clause["bool"]["should"]) if only_should else [clause]


def _leaf(leaf: Leaf, question: Question) -> Clause:
    if leaf.field is None:
        return _free_text(leaf, question)
    field = fields_of(question.target).get(leaf.field.lower())
    if field is None:
        return _by_key(leaf, question)
    asking = FIELDS[question.target].get(field.name)
    if asking is None:
        raise Unsuited(f"{field.name} is not in the index")
    return asking(leaf, question)


def _by_key(leaf: Leaf, question: Question) -> Clause:
    name = key_of(str(leaf.field))
    if isinstance(leaf, Exists):
        return _told_to(question, lambda within: {"term": {f"{within}key_names": name}})
    value = _value_of_key(leaf)
    values = [value, *question.hashed(name, value)]
    return _has_key(question, [key_term(name, value) for value in values])


def _value_of_key(leaf: Leaf) -> str:
    value = _value(leaf)
    if is_hash(value):
        raise Unsuited("who may ask for the hash of a masked value differs by environment")
    return value


def _has_key(question: Question, terms: list[str]) -> Clause:
    return _told_to(question, lambda within: {"terms": {f"{within}keys": terms}})


def _told_to(question: Question, clause: Callable[[str], Clause]) -> Clause:
    """Return the clause of a document, where a message's reader may see all that told of it, or else something that told the same."""
    if question.target != "messages" or question.flows is None:
        return clause("")
    seen: Clause = {"terms": {"told.flow": list(question.flows)}}
    unseen = {"nested": {"path": "told", "query": {"bool": {"must_not": [seen]}}}}
    told = {"nested": {"path": "told", "query": {"bool": {"filter": [seen, clause("told.")]}}}}
    told_to = [{"bool": {"must_not": [unseen]}}, told]
    return {"bool": {"filter": [clause("")], "should": told_to, "minimum_should_match": 1}}


def _value(leaf: Leaf) -> str:
    """Return what is compared. An empty one is a question of columns, some of which are null and some empty."""
    if not isinstance(leaf, Term | Prefix) or not leaf.value:
        raise Unsuited("nothing is compared")
    return leaf.value


def _free_text(leaf: Leaf, question: Question) -> Clause:
    value = _value_of_key(leaf)
    found = _parts(SAID[question.target](leaf, question))
    if isinstance(leaf, Prefix):
        return _any([*found, {"prefix": {"message_id": value}}])
    found.append({"term": {"message_id": value}})
    if (trace := trace_of(value)) is not None:
        found.append({"term": {"trace": str(trace)}})
    return _any([*found, _has_key(question, [key_term(name, value) for name in NUMBERS])])


def _contains(column: str, value: str) -> Clause:
    if len(value) > LONGEST_WORD:
        raise Unsuited("too long for an automaton")
    return {"wildcard": {column: {"value": anywhere(value)}}}


# kinds of fields -------------------------------------------------------------------------------------------------------
def words_in(*columns: str) -> Asking:
    return lambda leaf, question: _words(leaf, columns)


def told_in(*columns: str) -> Asking:
    """As words_in, of what the reader may know of a message."""
    return lambda leaf, question: _told_to(question, lambda within: _words(leaf, [within + one for one in columns]))


def _words(leaf: Leaf, columns: Iterable[str]) -> Clause:
    if isinstance(leaf, Exists):
        return _any([{"exists": {"field": column}} for column in columns])
    return _any([_contains(column, _value(leaf)) for column in columns])


def whole(column: str) -> Asking:
    def asking(leaf: Leaf, question: Question) -> Clause:
        if isinstance(leaf, Exists):
            return {"exists": {"field": column}}
        return {"prefix" if isinstance(leaf, Prefix) else "term": {column: _value(leaf)}}

    return asking


def uuid_in(column: str) -> Asking:
    def asking(leaf: Leaf, question: Question) -> Clause:
        if isinstance(leaf, Exists):
            return {"exists": {"field": column}}
        found = trace_of(_value(leaf))
        return {"term": {column: str(found)}} if found is not None else NOTHING

    return asking


def named(field: str, column: str) -> Asking:
    def asking(leaf: Leaf, question: Question) -> Clause:
        if isinstance(leaf, Exists):
            return {"exists": {"field": column}}
        return {"terms": {column: list(question.named(field, leaf))}}

    return asking


def _group(leaf: Leaf, question: Question) -> Clause:
    if isinstance(leaf, Exists) and question.target == "messages" and question.flows is not None:
        raise Unsuited("whose group a message is in is not in the index")
    return named("group", "group")(leaf, question)


def one_of(meanings: dict[str, Clause]) -> Asking:
    def asking(leaf: Leaf, question: Question) -> Clause:
        return ALL if isinstance(leaf, Exists) else meanings[_value(leaf).lower()]

    return asking


def _at(leaf: Leaf, question: Question) -> Clause:
    bounds = {OPERATORS[op]: microseconds(at) for op, at in bounds_of(leaf, question.now) if at is not None}
    return {"range": {"at": bounds}} if bounds else ALL


def _lasting(leaf: Leaf, question: Question) -> Clause:
    if isinstance(leaf, Exists):
        return ALL
    if isinstance(leaf, Compare):
        bounds = {OPERATORS[leaf.op]: leaf.value}
    elif isinstance(leaf, Range):
        bounds = {"gte" if leaf.with_low else "gt": leaf.low, "lte" if leaf.with_high else "lt": leaf.high}
    else:
        bounds = {"gte": _value(leaf)}
    return {"range": {"duration_us": {op: span_of(text) // MICROSECOND for op, text in bounds.items()}}}


def inside(path: str, asking: Asking) -> Asking:
    """Return a condition over one event or one dead letter of a message: of a flow that the reader may see."""

    def of_message(leaf: Leaf, question: Question) -> Clause:
        parts = [*_rights(question, f"{path}.flow"), asking(leaf, question)]
        return {"nested": {"path": path, "query": {"bool": {"filter": parts}}}}

    return of_message


def _payload(leaf: Leaf, question: Question) -> Clause:
    """Words of a payload, of flows that allow it and whose payloads the reader may read: analysed words, a phrase in their order."""
    if isinstance(leaf, Exists):
        asked: Clause = {"exists": {"field": "payload.text"}}
    else:
        asked = {"match_phrase_prefix" if isinstance(leaf, Prefix) else "match_phrase": {"payload.text": _value(leaf)}}
    rights = [] if question.read_flows is None else [{"terms": {"payload.flow": list(question.read_flows)}}]
    return {"nested": {"path": "payload", "query": {"bool": {"filter": [*rights, asked]}}}}


COMMON: dict[str, Asking] = {
    "id": uuid_in("id"),
    "message_id": whole("message_id"),
    "trace": uuid_in("trace"),
    "correlation": whole("correlation"),
    "flow": named("flow", "flow"),
    "group": _group,
    "at": _at,
    "age": _at,
    "payload": _payload,
}
STANDS: dict[str, Clause] = {
    "waiting": {"terms": {"state": DeadLetter.WAITING}},
    **{state: {"term": {"state": state}} for state in STATES},
    **{name: {"term": {"resolution": name}} for name in RESOLUTIONS},
}
DIED_OF = one_of({code: {"term": {"reason_code": folded(code)}} for code in DeadLetter.ReasonCode.values})
FIELDS: dict[str, dict[str, Asking]] = {
    "messages": COMMON
    | {
        "status": one_of({str(label): {"term": {"status": value}} for value, label in MessageStatus.choices}),
        "error": told_in("error_message", "error_type"),
        "class": told_in("error_type"),
        "duration": _lasting,
        "system": inside("touched", named("system", "touched.system")),
        "agent": inside("touched", named("agent", "touched.agent")),
        "destination": inside("touched", words_in("touched.destination")),
        "reason": inside("died", words_in("died.reason", "died.reason_code")),
    },
    "dead-letters": COMMON
    | {
        "system": named("system", "system"),
        "agent": named("agent", "agent"),
        "status": one_of(STANDS),
        "queue": words_in("queue"),
        "destination": words_in("origin"),
        "broker": whole("broker"),
        "reason": words_in("reason", "reason_code"),
        "died_of": DIED_OF,
        "error": words_in("error_message", "error_type", "error_root_type"),
        "class": words_in("error_root_type"),
    },
}
SAID: dict[str, Asking] = {
    "messages": told_in("error_message", "error_type"),
    "dead-letters": words_in("error_message", "error_type", "error_root_type", "reason", "queue"),
}
