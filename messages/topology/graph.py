"""Who sends to whom, and how it goes: counts of events become systems and the connections between them. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from messages.models.stream import Operation
from messages.topology.sides import SENDS, TAKES, Cell, Side, by_destination, sent_of, shares, sides_of, united
from messages.topology.ties import Ties, joined

FAILING_SHARE = (
    0.05  # of its tries: from here on a system, or a connection, is failing and not only touched by a failure
)
OURS = "waybill"  # the system of the console's own sends
MOST_PAIRS = 16  # senders × receivers of one destination that are drawn one by one; more meet at the destination
ORDER = ("failing", "failures", "quiet", "well")  # worst first; the words of words.CHIPS["health"]


@dataclass(slots=True, kw_only=True)
class Node:
    """A system, a destination where many meet, or a side that nobody reported.

    kind  system, destination, unknown.   waiting  dead letters that died at it.   quiet  the agents that reported it are silent.
    """

    key: str
    kind: str
    name: str
    system_id: int | None = None
    sent: int = 0
    taken: int = 0
    processed: int = 0
    count: int = 0
    failed: int = 0
    waiting: int = 0
    quiet: bool = False
    flows: set[int] = field(default_factory=set)

    @property
    def health(self) -> str:
        if self.waiting or (self.count and self.failed / self.count >= FAILING_SHARE):
            return "failing"
        return "failures" if self.failed else "quiet" if self.quiet else "well"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """What went from one node to another in one flow. `count` is tries: a message that was processed three times is three.

    unsent  how many of `failed` its sender failed to send.
    about  the counts are a share of what was counted for several lines together.
    alone  its receiver is at no other line of the flow: what it touched there came from the sender, under whatever id.
    tie  why the two are tied: destination (one sends to it, the other takes from it), flow (each named another destination of the
         same flow), messages (each named another flow, of the same messages), or nobody (one side was never reported).
    taken_in  the flow that its receiver names, where it is another than its sender's.
    """

    source: str
    target: str
    flow_id: int
    destination: str
    count: int
    failed: int
    tie: str
    unsent: int = 0
    about: bool = False
    alone: bool = False
    taken_in: int | None = None

    @property
    def health(self) -> str:
        return health_of(self.count, self.failed)


@dataclass(slots=True, kw_only=True)
class Graph:
    nodes: dict[str, Node]
    edges: list[Edge]

    @property
    def systems(self) -> list[Node]:
        """Return the systems, and the unknown ones at which dead letters wait, the worst first."""
        return sorted((node for node in self.nodes.values() if node.kind == "system" or node.waiting), key=worst_first)


def health_of(count: int, failed: int) -> str:
    if not failed:
        return "well"
    return "failing" if failed / max(count, failed) >= FAILING_SHARE else "failures"


def worst_first(node: Node) -> tuple[int, int, int, int, str]:
    """Return the place of a node: by health, then by what waits, failed and went through."""
    return ORDER.index(node.health), -node.waiting, -node.failed, -node.count, node.key


def system_key(system_id: int) -> str:
    return f"system {system_id}"


def build_graph(
    cells: Iterable[Cell],
    *,
    names: Mapping[int, str],
    waiting: Mapping[tuple[int, int | None], int] | None = None,
    quiet: Collection[int] = (),
    ties: Ties | None = None,
) -> Graph:
    """Return the systems that were seen and what went between them.

    names    of systems, by id; a cell of a system without one is left out.   waiting  dead letters by flow id and system id: where they
             died is a station of their flow, also when nothing of it went through; None is a station that nobody named.
    quiet    ids of systems whose agents are silent.   ties  flows whose messages were sent in others.
    """
    nodes: dict[str, Node] = {}
    known = [cell for cell in cells if cell.system_id in names]
    _count(nodes, known, names)
    by_flow: dict[int, list[Cell]] = defaultdict(list)
    for cell in joined(known, ties or {}):
        by_flow[cell.flow_id].append(cell)
    _wait(nodes, waiting or {}, names)
    for node in nodes.values():
        node.quiet = node.system_id in quiet
    ours = next((system_id for system_id, name in names.items() if name == OURS), None)
    edges = [edge for flow_id in sorted(by_flow) for edge in _edges_of(flow_id, by_flow[flow_id], nodes, ours)]
    return Graph(nodes=nodes, edges=edges)


def _wait(nodes: dict[str, Node], waiting: Mapping[tuple[int, int | None], int], names: Mapping[int, str]) -> None:
    for (flow_id, system_id), count in waiting.items():
        if system_id is not None and system_id in names:
            node = _system(nodes, system_id, names)
            node.waiting += count
            node.flows.add(flow_id)
    passed = {flow_id for node in nodes.values() for flow_id in node.flows}
    for (flow_id, system_id), count in waiting.items():
        if system_id is None and flow_id not in passed:
            _other(nodes, "unknown", flow_id, "", "system").waiting += count


def _system(nodes: dict[str, Node], system_id: int, names: Mapping[int, str]) -> Node:
    key = system_key(system_id)
    return nodes.setdefault(key, Node(key=key, kind="system", name=names[system_id], system_id=system_id))


def _count(nodes: dict[str, Node], cells: Iterable[Cell], names: Mapping[int, str]) -> None:
    """Count what each system did, in tries as its lines have them: what it received, processed and settled of a destination is one."""
    tries: dict[tuple[int, int, str, str], Side] = {}
    for cell in cells:
        what = "sent" if cell.operation in SENDS else "taken" if cell.operation in TAKES else ""
        place = cell.system_id, cell.flow_id, cell.destination, what
        side = tries.setdefault(place, Side(cell.destination))
        side.counts[cell.operation] += cell.count
        side.failures[cell.operation] += cell.failed
    for (system_id, flow_id, _, what), side in tries.items():
        node = _system(nodes, system_id, names)
        node.flows.add(flow_id)
        node.count += side.count
        node.failed += side.failed
        node.sent += side.count * (what == "sent")
        node.taken += side.count * (what == "taken")
        node.processed += side.counts[Operation.PROCESS]


def _edges_of(flow_id: int, cells: Sequence[Cell], nodes: dict[str, Node], ours: int | None) -> list[Edge]:
    senders, takers = sides_of(cells, SENDS), sides_of(cells, TAKES)
    elsewhere = united({name: sides for name, sides in senders.items() if name not in takers})
    taking = {system_id for sides in takers.values() for system_id in sides}
    elsewhere = {system_id: side for system_id, side in elsewhere.items() if system_id != ours}
    begun = sent_of(side for system_id, side in elsewhere.items() if system_id not in taking)
    named_by = {cell.destination: cell.named_by for cell in cells if cell.named_by is not None}
    edges: list[Edge] = []
    for destination in sorted(senders.keys() & takers.keys()):
        mine, into = senders.pop(destination), takers.pop(destination)
        tied, left = _tied(
            _Meeting(flow_id, destination, "destination", nodes, named_by), mine, into, ours, elsewhere, begun
        )
        edges += tied
        if left:
            takers[destination] = left
    # One publishes to an exchange or a topic, another takes from a queue bound to it: the flow is what they have in common.
    if senders and takers:
        name = " → ".join(dict.fromkeys((min(senders), min(takers))))
        tied, left = _tied(
            _Meeting(flow_id, name, "flow", nodes, named_by), united(senders), united(takers), ours, {}, 0
        )
        edges += tied
        senders, takers = {}, by_destination(left)
    for destination in sorted(senders.keys() | takers.keys()):
        sides, way = (senders, 1) if destination in senders else (takers, -1)
        other = _other(nodes, "unknown", flow_id, destination, "receiver" if way == 1 else "sender")
        for system_id, side in sorted(sides[destination].items()):
            pair = (system_key(system_id), other.key)[::way]
            edges.append(_edge(pair, flow_id, destination, side, "nobody", named_by))
    met = Counter(end for edge in edges for end in (edge.source, edge.target))
    return [replace(edge, alone=met[edge.target] == 1) for edge in edges]


@dataclass(frozen=True, slots=True)
class _Meeting:
    """Where senders and takers of a flow meet, and why they are tied there.

    nodes  of the whole graph.   named_by  destination → flow, of what is named by another flow than this one.
    """

    flow_id: int
    destination: str
    tie: str
    nodes: dict[str, Node]
    named_by: Mapping[str, int]


def _tied(
    at: _Meeting,
    senders: dict[int, Side],
    takers: dict[int, Side],
    ours: int | None,
    elsewhere: Mapping[int, Side],
    begun: int,
) -> tuple[list[Edge], dict[int, Side]]:
    """Return the edges between those who send and those who take, and what the takers did for nobody of these.

    elsewhere  the other senders of the flow, who name what nobody takes from.   begun  what those of them sent who take nothing of the flow.

    The console sends again what another sent, and so do they who sent no more than half of what was taken and no more than was begun: they have
    at most what they sent. The rest is of the other senders, or else is returned: of who sends elsewhere, or of a sender that nobody reported.
    """
    forward = {system_id: side for system_id, side in senders.items() if {system_id} != takers.keys()}
    if forward or elsewhere:  # not a receiver that puts back what it could not do yet
        senders = forward
    main = {system_id: side for system_id, side in senders.items() if system_id != ours}
    if begun and sent_of(main.values()) <= min(begun, max(side.count for side in takers.values()) / 2):
        main = {}
    again = {system_id: side for system_id, side in senders.items() if system_id not in main}
    sent, others = sent_of(again.values()), sent_of((main or elsewhere).values())
    lent: dict[int, Side] = {}
    left: dict[int, Side] = {}
    for system_id, into in takers.items():
        most = sent + others if main else into.count  # of what went elsewhere no more came here than was taken
        part = min(sent, shares(into.count, (min(sent, most), min(others, most)))[0])
        exact = len(takers) == 1 and not into.failed and into.count == sent + others
        about = bool(sent and (others or into.count > sent) and not exact)
        lent[system_id], left[system_id] = into.parted(part, about=about or into.about)
    edges = _between(at, again, lent)
    if main:
        return edges + _between(at, main, left), {}
    return edges, {system_id: side for system_id, side in left.items() if side.count}


def _between(at: _Meeting, senders: dict[int, Side], takers: dict[int, Side]) -> list[Edge]:
    """Return the edges between those who send and those who take: what each taker did, and what a sender failed to send.

    Of several senders each has its share of what a taker did, by what it sent; of several takers each its share of what was not sent.
    """
    if len(senders) * len(takers) > MOST_PAIRS:
        return _at_hub(at, senders, takers)
    pairs = [(sender, taker) for sender in sorted(senders) for taker in sorted(takers)]
    if len(pairs) > 1:  # not a receiver that puts back what it could not do yet
        pairs = [(sender, taker) for sender, taker in pairs if sender != taker]
    count, failed, unsent = (dict.fromkeys(pairs, 0) for _ in range(3))
    about = set()
    for taker, into in takers.items():
        mine = [pair for pair in pairs if pair[1] == taker]
        sent = [sent_of([senders[sender]]) for sender, _ in mine]
        tries = shares(into.count, sent)
        for pair, tried, bad in zip(mine, tries, shares(into.failed, tries), strict=True):
            count[pair] += tried
            failed[pair] += bad
        if into.about or (len(mine) > 1 and (len(takers) > 1 or into.failed or into.count != sum(sent))):
            about.update(mine)
    for sender, out in senders.items():
        mine = [pair for pair in pairs if pair[0] == sender]
        for pair, bad in zip(mine, shares(out.failed, [takers[taker].count for _, taker in mine]), strict=True):
            count[pair] += bad
            failed[pair] += bad
            unsent[pair] = bad
        if len(mine) > 1 and out.failed:
            about.update(mine)
    return [
        Edge(
            source=system_key(pair[0]), target=system_key(pair[1]), flow_id=at.flow_id,
            tie="messages" if at.tie == "flow" and takers[pair[1]].destination in at.named_by else at.tie,
            taken_in=at.named_by.get(takers[pair[1]].destination),
            destination=" → ".join(dict.fromkeys((senders[pair[0]].destination, takers[pair[1]].destination))),
            count=count[pair], failed=failed[pair], unsent=unsent[pair], about=pair in about,
        )
        for pair in pairs
    ]  # fmt: skip


def _at_hub(at: _Meeting, senders: dict[int, Side], takers: dict[int, Side]) -> list[Edge]:
    hub = _other(at.nodes, "destination", at.flow_id, at.destination, at.destination)
    pairs = [((system_key(one), hub.key), side) for one, side in sorted(senders.items())]
    pairs += [((hub.key, system_key(one)), side) for one, side in sorted(takers.items())]
    return [_edge(pair, at.flow_id, side.destination, side, at.tie, at.named_by) for pair, side in pairs]


def _other(nodes: dict[str, Node], kind: str, flow_id: int, destination: str, name: str) -> Node:
    key = f"{kind} {flow_id} {name} {destination}"
    return nodes.setdefault(key, Node(key=key, kind=kind, name=name, flows={flow_id}))


def _edge(
    pair: tuple[str, ...], flow_id: int, destination: str, side: Side, tie: str, named_by: Mapping[str, int]
) -> Edge:
    return Edge(
        source=pair[0], target=pair[1], flow_id=flow_id, destination=destination, count=side.count, failed=side.failed,
        tie=tie, about=side.about, taken_in=named_by.get(side.destination),
    )  # fmt: skip


def near(graph: Graph, key: str) -> Graph:
    """Return a node, its neighbours and what goes between it and them."""
    edges = [edge for edge in graph.edges if key in (edge.source, edge.target)]
    return _with(graph, edges, {key})


def of_flow(graph: Graph, flow_id: int) -> Graph:
    """Return the stations of one flow, and from whom it has what nobody sent in it."""
    stations = {node.key for node in graph.systems if flow_id in node.flows}
    return _with(graph, [edge for edge in graph.edges if flow_id in (edge.flow_id, edge.taken_in)], stations)


def _with(graph: Graph, edges: list[Edge], keys: set[str]) -> Graph:
    keys = keys | {end for edge in edges for end in (edge.source, edge.target)}
    return Graph(nodes={key: node for key, node in graph.nodes.items() if key in keys}, edges=edges)
