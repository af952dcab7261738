"""The questions of `make bench-search`: for each the page, the service behind it and the SQL that a person would write for the same rows."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.test import Client

from benchmarks.search import Case
from benchmarks.stored import Stored
from console.core.paging import decode_time_cursor, encode_cursor
from console.dashboard import overview
from console.identity.actor import Actor, actor_of
from console.identity.models import Environment, Membership, Role, Team, User
from messages.catalog.queries import find_flows
from messages.figures.queries import read_figures
from messages.figures.ranges import range_of
from messages.groups.queries import Filter, find_groups, trends_of, verdict_of
from messages.journeys.queries import journey_of_trace
from messages.models import Flow, Message
from messages.search.parse import parse_query
from messages.search.queries import find_dead_letters, find_messages
from messages.search.window import parse_window

PAGE = 50
WORDS = ("timed out", "article", "expired for client")
ROW = (
    "SELECT m.*, f.name, e.slug FROM messaging_message m JOIN messaging_flow f ON f.id = m.flow_id JOIN identity_environment e ON e.id = m.environment_id "
    "WHERE m.environment_id = %s AND m.flow_id = ANY(%s) "
)
SINCE = "AND m.first_seen_at >= %s AND m.first_seen_on BETWEEN %s AND %s "  # a partition is a day
NEWEST = "ORDER BY m.first_seen_at DESC, m.id DESC LIMIT 51"
LETTER = (
    "SELECT d.*, f.name, t.name, s.name, e.slug FROM messaging_deadletter d JOIN messaging_flow f ON f.id = d.flow_id "
    "JOIN identity_environment e ON e.id = d.environment_id LEFT JOIN identity_team t ON t.id = f.team_id "
    "LEFT JOIN messaging_system s ON s.id = d.system_id WHERE d.environment_id = %s AND d.flow_id = ANY(%s) "
)
EVENT = (
    "SELECT e.*, f.name, s.name FROM messaging_event e JOIN messaging_flow f ON f.id = e.flow_id JOIN messaging_system s ON s.id = e.system_id "
    "WHERE e.environment_id = %s AND e.flow_id = ANY(%s) "
)


def viewer(stored: Stored) -> tuple[User, Client]:
    """Return a member of a team who sees three flows of four: the rest are another team's."""
    environment = Environment.objects.get(pk=stored.environment)
    ours, theirs = (Team.objects.get_or_create(name=name)[0] for name in ("Orders", "Others"))
    flows = list(Flow.objects.filter(environment=environment).order_by("pk"))
    for number, flow in enumerate(flows):
        flow.team = theirs if number % 4 == 3 else ours
        flow.save(update_fields=["team"])
    user, _ = User.objects.get_or_create(username="bench-member")
    Membership.objects.get_or_create(user=user, team=ours, environment=environment, defaults={"role": Role.OPERATOR})
    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(user)
    return user, client


def cases_of(stored: Stored, user: User, chance: random.Random) -> list[Case]:
    """Return every case; values are drawn from `chance`."""
    environment, actor = Environment.objects.get(pk=stored.environment), actor_of(user, via="web")
    flows = list(Flow.objects.filter(team__name="Orders").order_by("pk"))
    return _Cases(stored, environment, actor, flows, chance).all()


class _Cases:
    def __init__(
        self, stored: Stored, environment: Environment, actor: Actor, flows: list[Flow], chance: random.Random
    ) -> None:
        self.stored, self.environment, self.actor, self.flows, self.chance = stored, environment, actor, flows, chance
        self.rights: list[Any] = [environment.pk, [flow.pk for flow in flows]]
        self.now = datetime.now(UTC)

    def all(self) -> list[Case]:
        return [
            self._messages("business key", lambda: f"order_no:{4_000_000 + self._any() // 2}", self._by_key),
            self._messages("message id", self._message_id, lambda q: ("AND m.message_id = %s ", [q.split(":")[1]])),
            self._journey(),
            self._messages("messages, first page", lambda: "", self._newest(days=1)),
            self._messages("messages, deep page", lambda: "", self._newest(days=30, deep=True), days=30, deep=True),
            self._messages("messages of a flow", lambda: f'flow:"{self.chance.choice(self.flows).name}"', self._of_flow),
            self._messages("failed, first page", lambda: "status:failed", self._failed(days=1)),
            self._messages("failed, 30 days, deep", lambda: "status:failed", self._failed(days=30, deep=True), days=30, deep=True),
            self._messages("error words, a day", lambda: f'error:"{self.chance.choice(WORDS)}"', self._words(days=1)),
            self._messages("words anywhere, a day", lambda: f'"{self.chance.choice(WORDS)}"', self._anywhere),
            self._messages("error words, 30 days", lambda: 'error:"deadlock detected"', self._words(days=30), days=30),
            self._messages("error words, none has them", lambda: "error:nobodysaidthis", self._words(days=30), days=30),
            self._letters(),
            self._groups(),
            self._group(),
            self._flows(),
            self._figures(),
            self._overview(),
        ]  # fmt: skip

    def _any(self) -> int:
        return self.chance.randrange(self.stored.messages)

    def _message_id(self) -> str:
        first = self.stored.at(self._any())
        found = Message.objects.filter(first_seen_at__gte=first, environment=self.environment).order_by("first_seen_at").first()  # fmt: skip
        return f"message_id:{found.message_id}" if found else "message_id:none"

    def _messages(self, name: str, q: Any, bare: Any, *, days: int = 0, deep: bool = False) -> Case:
        """A list of messages; days: its window, none but the usual when 0; deep: from a cursor somewhere inside it."""

        def value() -> tuple[str, str]:
            place = self.stored.at(int(self.stored.messages * self.chance.uniform(0.1, 0.9)))
            return q(), encode_cursor(place, "80000000-0000-0000-0000-000000000000") if deep else ""

        def sql(drawn: tuple[str, str]) -> list[tuple[str, list[Any]]]:
            condition, values = bare(drawn[0]) if not deep else bare(drawn[1])
            return [(ROW + condition + NEWEST, [*self.rights, *values])]

        def service(drawn: tuple[str, str]) -> object:
            window = parse_window(f"{days}d", now=datetime.now(UTC)) if days else None
            page = find_messages(self.actor, environments=[self.environment], query=parse_query(drawn[0]), window=window, cursor=drawn[1] or None)  # fmt: skip
            if deep and len(page.rows) < PAGE:
                raise SystemExit(f"{name}: {len(page.rows)} rows")
            return page

        def path(drawn: tuple[str, str]) -> str:
            asked = {"q": drawn[0], "cursor": drawn[1], "window": f"{days}d" if days else ""}
            return "/messages/?" + urlencode({key: text for key, text in asked.items() if text})

        return Case(name=name, value=value, bare=sql, service=service, page=path)

    def _by_key(self, q: str) -> tuple[str, list[Any]]:
        return "AND m.keys @> jsonb_build_object('order_no', %s) ", [q.split(":")[1]]

    def _of_flow(self, q: str) -> tuple[str, list[Any]]:
        flow = next(flow for flow in self.flows if f'"{flow.name}"' in q)
        return "AND m.flow_id = %s " + SINCE, [flow.pk, *self._since(1)]

    def _since(self, days: int) -> list[Any]:
        since = self.now - timedelta(days=days)
        return [since, since.date(), self.now.date()]

    def _newest(self, *, days: int, deep: bool = False) -> Any:
        def condition(drawn: str) -> tuple[str, list[Any]]:
            return (SINCE, self._since(days)) if not deep else self._from(drawn, self._since(days))

        return condition

    def _from(self, cursor: str, since: list[Any]) -> tuple[str, list[Any]]:
        place, identity = decode_time_cursor(cursor)
        return SINCE + "AND (m.first_seen_at, m.id) < (%s, %s) ", [*since[:2], place.date(), place, identity]

    def _failed(self, *, days: int, deep: bool = False) -> Any:
        newest = self._newest(days=days, deep=deep)

        def condition(drawn: str) -> tuple[str, list[Any]]:
            more, values = newest(drawn)
            return "AND m.status = 2 AND m.failed_at IS NOT NULL " + more, values

        return condition

    def _words(self, *, days: int) -> Any:
        def condition(q: str) -> tuple[str, list[Any]]:
            words = q.removeprefix("error:").strip('"')
            more = "AND m.failed_at IS NOT NULL AND (m.error_message ILIKE %s OR m.error_type ILIKE %s) "
            return more + SINCE, [f"%{words}%", f"%{words}%", *self._since(days)]

        return condition

    def _anywhere(self, q: str) -> tuple[str, list[Any]]:
        words = q.strip('"')
        keys = [json.dumps({name: words}) for name in ("order_no", "invoice_no", "customer_no", "shipment_no")]
        more = (
            "AND (m.failed_at IS NOT NULL AND (m.error_message ILIKE %s OR m.error_type ILIKE %s) OR m.message_id = %s "
            "OR m.keys @> %s OR m.keys @> %s OR m.keys @> %s OR m.keys @> %s) "
        )
        return more + SINCE, [f"%{words}%", f"%{words}%", words, *keys, *self._since(1)]

    def _journey(self) -> Case:
        """Ties by trace, link, message id and order number; bare, a statement for each thing that the page shows."""

        def value() -> Any:
            first = self.stored.at(self._any())
            ours = Message.objects.filter(first_seen_at__gte=first, environment=self.environment, flow__in=self.flows)
            return ours.order_by("first_seen_at").first()

        def bare(found: Message) -> list[tuple[str, list[Any]]]:
            near = [found.first_seen_at - timedelta(days=3), found.first_seen_at + timedelta(days=30)]
            number = [
                found.first_seen_on - timedelta(days=1),
                found.first_seen_on + timedelta(days=1),
                found.keys["order_no"],
            ]
            of_order = "SELECT id FROM messaging_message WHERE first_seen_on BETWEEN %s AND %s AND keys @> jsonb_build_object('order_no', %s)"
            of_events = "SELECT id FROM messaging_event WHERE occurred_at BETWEEN %s AND %s AND trace_id = %s"
            return [
                (EVENT + "AND e.trace_id = %s ", [*self.rights, found.trace_id]),
                ("SELECT * FROM messaging_trace_link WHERE environment_id = %s AND occurred_at BETWEEN %s AND %s AND (trace_id = %s OR linked_trace_id = %s)",
                 [self.environment.pk, *near, found.trace_id, found.trace_id]),
                (EVENT + f"AND e.occurred_at BETWEEN %s AND %s AND e.message_uid IN ({of_order})", [*self.rights, *near, *number]),
                (LETTER + "AND (d.trace_id = %s OR d.message_uid = %s)", [*self.rights, found.trace_id, found.id]),
                (f"SELECT * FROM messaging_logged_exception WHERE occurred_at BETWEEN %s AND %s AND event_id IN ({of_events})",
                 [*near, *near, found.trace_id]),
                ("SELECT * FROM messaging_change WHERE environment_id = %s AND started_at BETWEEN %s AND %s ORDER BY started_at",
                 [self.environment.pk, *near]),
            ]  # fmt: skip

        def service(found: Message) -> object:
            assert found.trace_id is not None
            journey = journey_of_trace(self.actor, [self.environment], found.trace_id)
            if len(journey.steps) < 2:
                raise SystemExit(f"journey of {found.id}: {len(journey.steps)} steps")
            return journey

        return Case(
            name="journey", value=value, bare=bare, service=service, page=lambda found: f"/j/{found.trace_id.hex}"
        )

    def _letters(self) -> Case:
        return Case(
            name="dead letters that wait",
            value=lambda: None,
            bare=lambda _: [(LETTER + "AND d.state IN ('open', 'replaying') ORDER BY d.id DESC LIMIT 51", self.rights)],
            service=lambda _: find_dead_letters(
                self.actor, environments=[self.environment], query=parse_query("status:waiting")
            ),
            page=lambda _: "/dead-letters/",
        )

    def _flows(self) -> Case:
        counted = (
            "SELECT flow_id, sum(count) FILTER (WHERE operation = 4 AND outcome <> 2), sum(count) FILTER (WHERE outcome = 2) FROM messaging_rollup_hour "
            "WHERE environment_id = %s AND flow_id = ANY(%s) AND hour >= %s GROUP BY 1"
        )
        waiting = (
            "SELECT flow_id, count(*), min(failed_at) FROM messaging_deadletter WHERE environment_id = %s AND flow_id = ANY(%s) "
            "AND state IN ('open', 'replaying') GROUP BY 1"
        )
        since = self.now.replace(minute=0, second=0, microsecond=0) - timedelta(days=1)
        return Case(
            name="flows, figures of a day",
            value=lambda: None,
            bare=lambda _: [
                ("SELECT * FROM messaging_flow WHERE environment_id = %s AND id = ANY(%s) ORDER BY name", self.rights),
                (counted, [*self.rights, since]),
                (waiting, self.rights),
            ],
            service=lambda _: find_flows(self.actor, self.environment),
            page=lambda _: "/flows/",
        )

    def _groups(self) -> Case:
        """The list of failures: what fails now, with the failures by hour of each."""
        groups = (
            "SELECT g.*, f.name, t.name, u.username FROM messaging_failuregroup g JOIN messaging_flow f ON f.id = g.flow_id "
            "LEFT JOIN identity_team t ON t.id = f.team_id LEFT JOIN identity_user u ON u.id = g.owner_id WHERE g.environment_id = %s "
            "AND g.flow_id = ANY(%s) AND g.merged_into_id IS NULL AND (g.letters > 0 OR g.failed > 0) AND g.state <> 'resolved' "
            "ORDER BY g.blast DESC, g.id DESC LIMIT 51"
        )
        hours = (
            "SELECT * FROM messaging_grouphour WHERE group_id = ANY(SELECT id FROM ("
            + groups
            + ") shown) AND hour > %s"
        )
        whole = groups.replace(
            "g.*, f.name, t.name, u.username",
            "count(*), count(DISTINCT g.flow_id), sum(g.letters), sum(g.failed), min(g.oldest_at)",
        )
        whole = whole.split(" ORDER BY")[0]

        def service(_: None) -> object:
            found = find_groups(self.actor, environments=[self.environment])
            if len(found.rows) < PAGE:
                raise SystemExit(f"failures: {len(found.rows)} groups")
            return trends_of(found.rows, datetime.now(UTC)), verdict_of(self.actor, self.environment, Filter())

        return Case(
            name="failures", value=lambda: None, service=service, page=lambda _: "/groups/",
            bare=lambda _: [
                (groups, self.rights), (hours, [*self.rights, self.now - timedelta(days=1)]), (whole, self.rights),
            ],
        )  # fmt: skip

    def _group(self) -> Case:
        """Letters of one failure that wait, newest first."""
        groups = list(find_groups(self.actor, environments=[self.environment]).rows)
        return Case(
            name="letters of a failure", value=lambda: self.chance.choice(groups), page=lambda group: f"/groups/{group.reference}/",
            bare=lambda group: [
                ("SELECT id FROM messaging_failuregroup WHERE environment_id = %s AND flow_id = ANY(%s) AND (id = %s OR merged_into_id = %s)",
                 [*self.rights, group.pk, group.pk]),
                (LETTER + "AND d.group_id = %s AND d.state IN ('open', 'replaying') ORDER BY d.id DESC LIMIT 51", [*self.rights, group.pk]),
            ],
            service=lambda group: find_dead_letters(
                self.actor, environments=[self.environment], query=parse_query(f"group:{group.reference} status:waiting"),
            ),
        )  # fmt: skip

    def _figures(self) -> Case:
        """Throughput, failures and latency of 30 days, by three hours."""
        since = self.now - timedelta(days=30)
        counts = (
            "SELECT date_bin('3 h', hour, '2000-01-01'), sum(count) FILTER (WHERE operation = 4 AND outcome <> 2), sum(count) FILTER (WHERE outcome = 2) "
            "FROM messaging_rollup_hour WHERE environment_id = %s AND flow_id = ANY(%s) AND hour >= %s GROUP BY 1"
        )
        latency = (
            "SELECT date_bin('3 h', hour, '2000-01-01'), bucket, sum(count) FROM messaging_rollup_latency "
            "WHERE environment_id = %s AND flow_id = ANY(%s) AND hour >= %s GROUP BY 1, 2"
        )
        young = (
            "SELECT date_bin('3 h', minute, '2000-01-01'), bucket, sum(count) FROM messaging_rollup_minute "
            "WHERE environment_id = %s AND flow_id = ANY(%s) AND operation = 4 AND minute >= %s GROUP BY 1, 2"
        )

        def service(_: None) -> object:
            now = datetime.now(UTC)
            return read_figures(self.actor, self.environment, range_of(parse_window("30d", now=now), now=now))

        return Case(
            name="figures of 30 days", value=lambda: None, service=service, page=lambda _: "/figures/?window=30d",
            bare=lambda _: [
                (counts, [*self.rights, since]), (latency, [*self.rights, since]), (young, [*self.rights, self.now - timedelta(hours=3)]),
            ],
        )  # fmt: skip

    def _overview(self) -> Case:
        """Bare: the letters that wait by group and hour, and the last day of minutes."""
        since = self.now - timedelta(days=1)
        groups = (
            "SELECT group_id, date_trunc('hour', failed_at), count(*), min(failed_at) FROM messaging_deadletter "
            "WHERE environment_id = %s AND flow_id = ANY(%s) AND state IN ('open', 'replaying') GROUP BY 1, 2"
        )
        rates = (
            "SELECT date_bin('15 min', minute, '2000-01-01'), sum(count) FILTER (WHERE operation = 4 AND outcome <> 2), sum(count) FILTER (WHERE outcome = 2) "
            "FROM messaging_rollup_minute WHERE environment_id = %s AND flow_id = ANY(%s) AND minute >= %s GROUP BY 1"
        )

        def service(_: None) -> object:
            now = datetime.now(UTC)
            found = overview.find_failing(self.actor, self.environment, now=now)
            overview.recent_figures(self.actor, self.environment, window="24h", now=now)
            return overview.verdict_of(self.actor, self.environment, found)

        return Case(
            name="overview",
            value=lambda: None,
            bare=lambda _: [(groups, self.rights), (rates, [*self.rights, since])],
            service=service,
            page=lambda _: "/",
        )
