"""The map: systems and what goes between them; a click leads from a system to its neighbours, from a flow to its stations, from a line to messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from console.identity.pages import PageRequest, asked_text, page
from messages.figures.asking import AskedTime, asked_time, stamp, with_time
from messages.models import Flow
from messages.search.quoting import quoted
from messages.search.window import BadWindow, parse_window
from messages.topology.graph import ORDER, Edge, Graph, Node, near, of_flow
from messages.topology.picture import Addresses, draw_map, rate_words
from messages.topology.queries import Topology, read_topology, system_named

SHOWN_SYSTEMS, SHOWN_EDGES = 200, 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemLine:
    """A row of the table of systems: rates a minute; url "" for one that nobody named."""

    node: Node
    url: str
    sent: str
    taken: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeLine:
    """A row of the table of connections; `url` finds its messages, `flow_url` the stations of its flow."""

    edge: Edge
    source: Node
    target: Node
    flow: Flow
    url: str
    flow_url: str


@require_safe
@page
def topology(request: PageRequest) -> HttpResponse:
    """Who sends what to whom, how fast, and what goes wrong: all of it, one system with its neighbours, or one flow."""
    now = timezone.now()
    asked = asked_time(request, now=now)
    try:
        found = read_topology(request.actor, request.environment, asked.window, now=now)
    except BadWindow as error:
        asked = AskedTime(window=parse_window("24h", now=now), text="24h", query={}, problem=str(error))
        found = read_topology(request.actor, request.environment, asked.window, now=now)
    context = _context(request, found, asked)
    return render(request, "messaging/topology.html", context, status=400 if asked.problem else 200)


def _context(request: PageRequest, found: Topology, asked: AskedTime) -> dict[str, Any]:
    name, flow_id = asked_text(request, "system", most=200), asked_text(request, "flow", most=18)
    graph, focus, flow = found.graph, "", None
    if flow_id:
        flow = found.flows.get(int(flow_id)) if flow_id.isascii() and flow_id.isdigit() else None
        graph = of_flow(graph, flow.pk) if flow else Graph(nodes={}, edges=[])
    elif name:
        focus = system_named(found, name)
        graph = near(graph, focus) if focus else Graph(nodes={}, edges=[])
    systems = graph.systems
    edges = sorted((edge for edge in graph.edges if edge.flow_id in found.flows), key=_worst_edge_first)
    return {
        "asked": asked,
        "window": asked.text,
        "topology": found,
        "name": name,
        "focused": bool(flow_id or name),
        "flow": flow,
        "focus": graph.nodes.get(focus),
        "kept": [("system", name), ("flow", flow_id)],
        "all_url": with_time(request.path, asked),
        "figures_url": with_time(reverse("figures"), asked, flow=flow.name if flow else ""),
        "map": draw_map(graph, minutes=found.minutes, addresses=_addresses(request.path, asked, found), focus=focus),
        "systems": [_system_line(node, found, asked, request.path) for node in systems[:SHOWN_SYSTEMS]],
        "more_systems": max(0, len(systems) - SHOWN_SYSTEMS),
        "edges": [_edge_line(edge, found, asked, request.path) for edge in edges[:SHOWN_EDGES]],
        "about": any(edge.about for edge in edges[:SHOWN_EDGES]),
        "more_edges": max(0, len(edges) - SHOWN_EDGES),
        "by_health": {health: sum(node.health == health for node in systems) for health in ORDER},
        "flow_count": len({edge.flow_id for edge in edges} | {pk for node in systems for pk in node.flows}),
        "flow_waiting": found.waiting.get(flow.pk, 0) if flow else 0,
        "letters_url": _letters_url(flow, graph.nodes.get(focus)),
    }


def _worst_edge_first(edge: Edge) -> tuple[int, int, int, int, str, str]:
    return ORDER.index(edge.health), -edge.failed, -edge.count, edge.flow_id, edge.source, edge.target


def _addresses(path: str, asked: AskedTime, found: Topology) -> Addresses:
    return Addresses(
        system=lambda node: with_time(path, asked, system=node.name),
        line=lambda edges: _messages_url(edges, found, asked),
    )


def _messages_url(edges: Sequence[Edge], found: Topology, asked: AskedTime) -> str:
    """Return the search for the messages of a line: that both ends touched, by way of its flow where it has one. By way of several flows it
    is not asked: each would be looked for in every event of the time. Where the receiver is at no other line of the flow, the sender is not
    asked for: a receiver may report under ids of its own, as those of webhooks do.

    What a sender failed to send no receiver has touched: where the line counts such, it is what failed of its sender, there or at a receiver.
    Both in one, with OR, reads all that the receiver did (of ten million messages longer than a page may take).
    """
    flows = [quoted(found.flows[pk].name) for pk in {edge.flow_id for edge in edges} if pk in found.flows]
    ends = [found.graph.nodes[key] for key in (edges[0].source, edges[0].target)]
    words = [f"via:{flows[0]}"] if len(flows) == 1 else []
    if any(edge.unsent for edge in edges):
        words += [f"flow:({' OR '.join(sorted(flows))})"] if len(flows) > 1 else []
        words += [f"system:{quoted(ends[0].name)}", "error:*"]
    else:
        asked_ends = ends[1:] if edges[0].alone and len(edges) == 1 and ends[1].kind == "system" else ends
        words += [f"system:{quoted(node.name)}" for node in asked_ends if node.kind == "system"]
    query = {"window": asked.text}
    if "since" in asked.query:
        words.append(f'at:["{stamp(found.since)}" TO "{stamp(found.until)}"]')
        query = {}
    return f"{reverse('messages')}?{urlencode({'q': ' '.join(words), **query})}"


def _letters_url(flow: Flow | None, node: Node | None) -> str:
    words = [f"flow:{quoted(flow.name)}"] if flow else [f"system:{quoted(node.name)}"] if node else []
    return f"{reverse('dead-letters')}?{urlencode({'q': ' '.join(words)})}" if words else reverse("dead-letters")


def _system_line(node: Node, found: Topology, asked: AskedTime, path: str) -> SystemLine:
    return SystemLine(
        node=node,
        url=with_time(path, asked, system=node.name) if node.kind == "system" else "",
        sent=rate_words(node.sent, found.minutes),
        taken=rate_words(node.taken, found.minutes),
    )


def _edge_line(edge: Edge, found: Topology, asked: AskedTime, path: str) -> EdgeLine:
    return EdgeLine(
        edge=edge,
        source=found.graph.nodes[edge.source],
        target=found.graph.nodes[edge.target],
        flow=found.flows[edge.flow_id],
        url=_messages_url([edge], found, asked),
        flow_url=with_time(path, asked, flow=str(edge.flow_id)),
    )
