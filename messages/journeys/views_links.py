"""Deep links from tickets, chats and log lines: the one that is meant, a choice of several, or a page that says what was looked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import quote, urlencode
from uuid import UUID

from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from console.identity.access import visible_environments
from console.identity.actor import Actor
from console.identity.models import Environment
from console.identity.pages import PageRequest, page
from messages.journeys.links import parse_trace, readings_of
from messages.journeys.queries import environments_of_trace, messages_with_id
from messages.models import DeadLetter, Event, Message
from messages.retention.policies import longest_age
from messages.search.naming import name_of
from messages.search.queries import find_dead_letters, find_events, find_messages
from messages.search.query import Query, Term, all_of, none_of

LONGEST_SHOWN, LONGEST_KEY = 120, 256
MOST_OFFERED = 50  # messages of a choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a link named: in words, what to search for, why it cannot be, and what it may have meant instead ((words, address), …)."""

    words: str
    q: str
    wrong: str = ""
    instead: list[tuple[str, str]] = field(default_factory=list)


def in_its_environment(request: PageRequest, environment: Environment) -> HttpResponse | None:
    """Return the redirect that switches to the object's environment, so that the page never wears another one's colour."""
    if environment.pk == request.environment.pk:
        return None
    return HttpResponseRedirect(f"{request.path}?{urlencode({'environment': environment.slug})}")


def nothing_here(request: PageRequest, asked: Asked) -> HttpResponse:
    """Answer 404 with what was looked for, where, and what to do: the same whether it is not there or not for this reader."""
    context = {
        "asked": asked,
        "looked_in": list(visible_environments(request.actor)),
        "days": longest_age().days,
    }
    return render(request, "messaging/not_here.html", context, status=404)


def asked_for_trace(actor: Actor, text: str, trace: UUID | None) -> Asked:
    """Return what /j/ was asked for. trace: None when the text is no trace id."""
    plain = text.replace("\x00", "").strip()[:LONGEST_SHOWN]
    found = messages_with_id(actor, list(visible_environments(actor)), text)
    instead = [("A message has this id", f"/m/{quote(text, safe='')}")] if found else []
    if trace is None:
        wrong = "A trace id has 32 hexadecimal digits; a whole traceparent header is taken as well."
        return Asked(words=f"trace {plain}", q=plain, wrong=wrong, instead=instead)
    return Asked(words=f"trace {trace.hex}", q=f"trace:{trace.hex}", instead=instead)


def one_environment_or_choice(request: PageRequest, environments: list[Environment], trace: UUID) -> HttpResponse:
    """Lead to the trace in its environment, or offer those that have it: one id may have been used in several."""
    address = reverse("j", args=[trace.hex])
    if len(environments) == 1:
        return HttpResponseRedirect(f"{address}?{urlencode({'environment': environments[0].slug})}")
    context = {"asked": f"trace {trace.hex}", "in_environments": environments, "address": address}
    return render(request, "messaging/choice.html", context)


@require_safe
@page
def by_message_id(request: PageRequest, message_id: str) -> HttpResponse:
    """/m/<message id>: the message, or a choice when several have this id."""
    environments = list(visible_environments(request.actor))
    for reading in readings_of(message_id, _cut_off(request)):
        if found := messages_with_id(request.actor, environments, reading):
            query = Query(Term("message_id", reading)) if len(found) >= MOST_OFFERED else None
            return _one_or_choice(request, found, f"message id {reading[:LONGEST_SHOWN]}", query)
    trace = parse_trace(message_id)
    there = trace is not None and environments_of_trace(request.actor, environments, trace)
    plain = message_id.replace("\x00", "")[:LONGEST_SHOWN]
    instead = [("A journey has this trace id", reverse("j", args=[trace.hex]))] if trace and there else []
    return nothing_here(request, Asked(words=f"message id {plain}", q=plain, instead=instead))


@require_safe
@page
def by_key(request: PageRequest, name: str, value: str) -> HttpResponse:
    """/k/<key name>/<value>: the message with this business number, else the dead letter or the journey that has it, or a choice."""
    asked = f"{name.replace(chr(0), '')[:64]} {value.replace(chr(0), '')[:LONGEST_SHOWN]}"
    plain = value.replace("\x00", "").strip()[:LONGEST_SHOWN]
    if not 1 <= len(name.encode()) <= LONGEST_KEY or "\x00" in name:
        wrong = f"The name of a key has at most {LONGEST_KEY} bytes, like order_no."
        return nothing_here(request, Asked(words=asked, q=plain, wrong=wrong))
    environments = list(visible_environments(request.actor))
    readings = [one for one in readings_of(value, _cut_off(request)) if len(one) <= LONGEST_KEY]
    for lead in (_to_message, _to_letter, _to_journey):
        for reading in readings:
            query = Query(Term(f"key.{name}", reading))
            if (found := lead(request, environments, query, f"{name} {reading[:LONGEST_SHOWN]}")) is not None:
                return found
    return nothing_here(request, Asked(words=asked, q=plain))


def _to_message(request: PageRequest, environments: list[Environment], query: Query, asked: str) -> HttpResponse | None:
    found = find_messages(request.actor, environments=environments, query=query, limit=MOST_OFFERED)
    return _one_or_choice(request, found.rows, asked, query if found.next else None) if found.rows else None


def _to_letter(request: PageRequest, environments: list[Environment], query: Query, asked: str) -> HttpResponse | None:
    """Lead to a dead letter of no message, as a record of Kafka without an id is; to the list of several, of one environment each."""

    def found(*where: Environment) -> list[DeadLetter]:
        return find_dead_letters(request.actor, environments=where, query=query, limit=2).rows

    if not (letters := found(*environments)):
        return None
    if len(letters) == 1:
        address = reverse("dead-letter", args=[letters[0].pk])
        return HttpResponseRedirect(f"{address}?{urlencode({'environment': letters[0].environment.slug})}")
    having, listed = [one for one in environments if found(one)], f"&{urlencode({'state': 'all', 'q': query.text})}"
    address = reverse("dead-letters")
    if len(having) == 1:
        return HttpResponseRedirect(f"{address}?{urlencode({'environment': having[0].slug})}{listed}")
    context = {"asked": asked, "in_environments": having, "address": address, "listed": listed}
    return render(request, "messaging/choice.html", context)


def _to_journey(request: PageRequest, environments: list[Environment], query: Query, asked: str) -> HttpResponse | None:
    """Lead to the journey into which an event about no message, such as that of a web request, brought the key, or to a choice."""
    events = find_events(request.actor, environments=environments, query=query)
    newest = _of_each_trace(events.rows)
    if len(newest) == 1 and events.next:
        ((_, trace),) = newest
        others = Query(all_of(query.root, none_of(Term("trace", trace.hex))))
        events = find_events(request.actor, environments=environments, query=others)
        newest |= _of_each_trace(events.rows)
    found = sorted(newest.values(), key=lambda one: one.occurred_at, reverse=True)
    rows = [(one, _of_trace(one)) for one in found]
    if len(rows) < 2:
        return HttpResponseRedirect(rows[0][1]) if rows else None
    return render(request, "messaging/choice.html", {"journeys": rows, "more": events.next, "asked": asked})


def _of_each_trace(events: list[Event]) -> dict[tuple[int, UUID], Event]:
    """Return the newest of the events about no message for each environment and trace. events: newest first."""
    return {(one.environment_id, one.trace_id): one for one in reversed(events) if one.trace_id and not one.message_uid}


def _of_trace(event: Event) -> str:
    assert event.trace_id is not None
    return f"{reverse('j', args=[event.trace_id.hex])}?{urlencode({'environment': event.environment.slug})}"


def _cut_off(request: PageRequest) -> str:
    """Return what a bare question mark in a pasted id cut off: the query string, when it is none of ours."""
    query = request.META.get("QUERY_STRING", "")
    return "" if query.startswith(("environment=", "clock=", "open=")) else query


def _one_or_choice(request: PageRequest, found: list[Message], asked: str, query: Query | None) -> HttpResponse:
    """Lead to the message, or offer those found. query: what lists the rest of them, None where all are here."""
    if len(found) == 1:
        target = reverse("message", args=[found[0].id])
        if found[0].environment_id != request.environment.pk:
            target += "?" + urlencode({"environment": found[0].environment.slug})
        return HttpResponseRedirect(target)
    rows = [(one, name_of(one.keys, one.message_id)) for one in found]
    having = []
    if query is not None:
        places = visible_environments(request.actor)
        having = [one for one in places if find_messages(request.actor, environments=[one], query=query, limit=1).rows]
    context = {
        "rows": rows,
        "asked": asked,
        "several": len({one.environment_id for one in found}) > 1,
        "having": having,
        "listed": urlencode({"q": query.text}) if query else "",
    }
    return render(request, "messaging/choice.html", context)
