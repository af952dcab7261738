"""One contract for every search back end: same corpus, same questions, same answers, on PostgreSQL and on a real Elasticsearch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings as configured
from django.test import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from console.core.paging import Page, decode_time_cursor, decode_uuid_cursor
from console.identity.actor import Actor
from console.identity.models import Environment, Role, Team
from messages.models import DeadLetter, Flow, Message, SearchChange, SearchGeneration, Unindexed
from messages.search.backends import get_backend
from messages.search.base import Hit, Unsuited
from messages.search.elastic.client import client
from messages.search.elastic.indexing import index_changes
from messages.search.elastic.outbox import attach
from messages.search.elastic.upkeep import build_what_is_missing
from messages.search.elsewhere import page_of, question_of
from messages.search.parse import parse_query
from messages.search.postgres import DEAD_LETTERS, MESSAGES, Target
from messages.search.queries import bounds, find_dead_letters, find_messages
from messages.search.query import Node, Query, all_of, any_of, none_of
from messages.search.window import Window
from tests.factories import ROOT, actor, agent_key, environment, event, letter, person, push, stored_letter
from tests.services.search_corpus import fill, noted_since
from tests.services.test_search_examples import examples

pytestmark = [pytest.mark.django_db, pytest.mark.engine]
WEEK = timedelta(days=7)


@dataclass
class Lists:
    """The two lists, answered by one back end whatever the question."""

    name: str

    def messages(self, q: str | Query, who: Actor = ROOT, **more: Any) -> Page[Message]:
        return self._page(MESSAGES, find_messages, q, who, **more)

    def letters(self, q: str | Query, who: Actor = ROOT, **more: Any) -> Page[DeadLetter]:
        return self._page(DEAD_LETTERS, find_dead_letters, q, who, **more)

    def names(self, q: str | Query, who: Actor = ROOT, **more: Any) -> list[str]:
        return sorted(row.message_id for row in self.messages(q, who, **more).rows)

    def dead(self, q: str | Query, who: Actor = ROOT, **more: Any) -> list[str]:
        return sorted(row.message_id for row in self.letters(q, who, **more).rows)

    def _page(self, target: Target, find: Any, q: str | Query, who: Actor, **more: Any) -> Page[Any]:
        with override_settings(SEARCH_BACKEND=self.name):
            page = self._asked(target, find, q, who, **more)
        assert page.by == self.name
        return page

    def _asked(
        self, target: Target, find: Any, q: str | Query, who: Actor, slugs: tuple[str, ...] = ("production",),
        window: Window | None = None, limit: int = 50, cursor: str | None = None,
    ) -> Page[Any]:  # fmt: skip
        query, where = parse_query(q) if isinstance(q, str) else q, [environment(slug) for slug in slugs]
        if self.name == "postgresql":
            return find(who, environments=where, query=query, window=window, limit=limit, cursor=cursor)
        self.catch_up()
        now = datetime.now(UTC)
        since, until = bounds(window, query, target, now=now) if target is MESSAGES else (None, None)
        after = None
        if cursor:
            after = decode_time_cursor(cursor) if target is MESSAGES else (None, decode_uuid_cursor(cursor))
        question = question_of(query, target, who, where, now=now, since=since, until=until, after=after, limit=limit)
        model = Message if target is MESSAGES else DeadLetter

        def fetch(hits: list[Hit]) -> dict[UUID, Any]:
            return {row.id: row for row in model.objects.filter(id__in=[hit.id for hit in hits])}

        return page_of(get_backend("elasticsearch"), question, fetch)  # type: ignore[arg-type]

    def catch_up(self) -> None:
        live = SearchGeneration.objects.filter(state="live").count() == Environment.objects.count()
        if self.name == "elasticsearch" and (SearchChange.objects.exists() or not live):
            build_what_is_missing(budget_s=20)
            index_changes()
            assert not SearchChange.objects.exists()
            assert not Unindexed.objects.exists()
            client().indices.refresh(index=f"{configured.ELASTICSEARCH_PREFIX}-*")


@pytest.fixture(params=["postgresql", "elasticsearch"])
def lists(request: Any, db: None) -> Lists:
    if request.param == "elasticsearch":
        request.getfixturevalue("elasticsearch")
        attach()
    noted_since(datetime.now(UTC).date() - timedelta(days=60))
    return Lists(request.param)


def test_every_example_of_the_page_finds_what_it_says(lists: Lists):
    fill()
    of_messages, of_letters = examples("Query"), examples("Query for dead letters")
    if lists.name == "elasticsearch":
        ours = [q for q in of_messages if "via:" in q or "failed:" in q]  # the index has no events
        assert [of_messages.pop(q) for q in ours] == [["m1", "m2", "m3"], ["m2"], ["m2"]]

    assert {q: lists.names(q) for q in of_messages} == of_messages
    assert {q: lists.dead(q) for q in of_letters} == of_letters


MORE = [
    ("ERROR:TIMED", ["m2"]), ("error:ed*", ["m2"]), ('error:"answer, timed"', ["m2"]), ("class:TIMEOUT", ["m2"]), ("status:FAILED", ["m2", "m4"]),
    ("flow:ORDERS", ["m1", "m2", "m3"]), ("flow:*", ["m1", "m2", "m3", "m4"]), ("flow:nobody", []), ("-flow:nobody", ["m1", "m2", "m3", "m4"]),
    ("system:*", ["m1", "m2", "m3", "m4"]), ("-system:*", []), ("agent:nobody", []), ("agent:*", ["m1", "m2", "m3", "m4"]),
    ("destination:ORD", ["m1", "m2", "m3"]), ("destination:*", ["m1", "m2", "m3", "m4"]), ("destination:orders -system:erp", ["m3"]),
    ("correlation:*", []), ("-correlation:*", ["m1", "m2", "m3", "m4"]), ("trace:*", []), ("trace:4bf92f3577b34da6a3ce929d0e0e4736", []),
    ("id:x", []), ("-id:x", ["m1", "m2", "m3", "m4"]), ("message_id:m1", ["m1"]), ("message_id:M1", []), ("message_id:m*", ["m1", "m2", "m3", "m4"]),
    ("m1", ["m1"]), ("m*", ["m1", "m2", "m3", "m4"]), ("order_no:47", []), ("key.order_no:*", ["m1", "m2", "m3"]), ("-order_no:*", ["m4"]),
    ("customer_no:(77 OR 78)", ["m1", "m4"]), ("key.color:red", []), ("duration:>2s", ["m1"]), ("duration:[1s TO 1min]", ["m1"]),
    ("duration:<1ms", ["m2", "m3", "m4"]), ("-duration:>2s", ["m2", "m3", "m4"]), ("duration:*", ["m1", "m2", "m3", "m4"]), ("age:<20min", ["m1"]),
    ("-age:<20min", ["m2", "m3", "m4"]), ("at:>now-40min", ["m1", "m3"]), ("at:*", ["m1", "m2", "m3", "m4"]),
    ("age:{30min TO 3d}", ["m2", "m3", "m4", "m5"]), ("reason:*  age:<7d", ["m5"]), ("-reason:* age:<7d", ["m1", "m2", "m3", "m4"]),
    ("status:* -error:*", ["m1", "m3"]), ("*", ["m1", "m2", "m3", "m4"]), ("-*", []), ("* OR timed", ["m1", "m2", "m3", "m4"]), ('error:"100%"', []),
    ('error:"_"', []), ('error:"\\\\"', []), ('error:"did*"', []), ('"?"', []),
]  # fmt: skip


def test_more_questions_have_one_answer(lists: Lists):
    fill()

    assert {q: lists.names(q) for q, _ in MORE} == dict(MORE)


def test_words_are_found_anywhere_in_an_error_of_64_kb(lists: Lists):
    long = "".join(f"part {number:05d} of it; " for number in range(3_400))[:64_000]
    push("/ingest/v1/events", [event(message_id="long", outcome="error", error={"type": "T", "message": long, "stack": ""})], key=agent_key())  # fmt: skip
    beside_a_seam = long[7_930:8_020]

    assert lists.names(f'error:"{beside_a_seam}"') == lists.names('error:"part 03200 of it"') == ["long"]
    assert lists.names('error:"part 99999"') == []


def test_hostile_names_of_keys_and_values_are_told_apart(lists: Lists):
    keys = [{"a": "b=c"}, {"a=b": "c"}, {"1:a": "x"}, {"a": "1:a=x"}, {"n": "ü" * 60}, {"sp ace": "v w"}]
    events = [event(message_id=f"k{number}", keys=one) for number, one in enumerate(keys)]
    assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == len(keys)

    asked = [
        'key.a:"b=c"',
        'key.a\\=b:"c"',
        'key.1\\:a:"x"',
        'key.a:"1:a=x"',
        f'key.n:"{"ü" * 60}"',
        'key.sp\\ ace:"v w"',
    ]
    assert [lists.names(f"({q}) age:<7d") for q in asked] == [[f"k{number}"] for number in range(len(keys))]
    assert lists.names("key.a:* age:<7d") == ["k0", "k3"]


def test_dead_letters_are_asked_in_the_same_words(lists: Lists):
    stored_letter(message_id="d1", reason="", error={"type": "", "message": "", "stack": ""}, system="")
    stored_letter(
        message_id="d2", queue="crm.dlq", origin="crm.in", reason_code="expired", reason="expired", broker="north"
    )
    stored_letter(
        message_id="d3", error={"type": "a.b.PayloadTooLarge", "message": "413", "stack": ""}, keys={"order_no": "9"}
    )
    DeadLetter.objects.filter(message_id="d3").update(
        state="closed", resolution="discarded", closed_at=datetime.now(UTC)
    )
    asked = {
        "error:*": ["d2", "d3"], "-error:*": ["d1"], "error:toolarge": ["d3"], "class:PayloadTooLarge": ["d3"], "reason:expired": ["d2"],
        "died_of:expired": ["d2"], "-died_of:EXPIRED": ["d1", "d3"],
        "queue:crm": ["d2"], "destination:erp": ["d1", "d3"], "broker:north": ["d2"], "broker:no*": ["d2"], "-broker:north": ["d1", "d3"],
        "system:*": ["d2", "d3"], "-system:erp": ["d1"], "agent:harvester": ["d1", "d2", "d3"], "status:waiting": ["d1", "d2"],
        "status:closed": ["d3"], "status:discarded": ["d3"], "-status:discarded": ["d1", "d2"], "status:gone": [], "order_no:9": ["d3"],
        "9 OR north": ["d3"], "413": ["d3"], "age:<1h": ["d1", "d2", "d3"], "age:>1h": [], "flow:crm": ["d2"], "message_id:d*": ["d1", "d2", "d3"],
    }  # fmt: skip

    assert {q: lists.dead(q) for q in asked} == asked


def test_a_page_never_repeats_nor_loses_a_row_where_all_times_are_the_same(lists: Lists):
    at = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    events = [event(message_id=f"t{number:04d}", occurred_at=at, system="erp") for number in range(130)]
    assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == 130
    push(
        "/ingest/v1/dead-letters", [letter(message_id=f"x{number}") for number in range(40)], key=agent_key("harvester")
    )

    def walked(find: Any, q: str, size: int) -> list[UUID]:
        ids: list[UUID] = []
        cursor = None
        while True:
            page = find(q, limit=size, cursor=cursor)
            ids += [row.id for row in page.rows]
            if page.next is None:
                return ids
            cursor = page.next

    messages, letters = walked(lists.messages, "system:erp -status:dead", 25), walked(lists.letters, "error:answer", 7)

    assert messages == [row.id for row in Message.objects.exclude(status=3).order_by("-first_seen_at", "-id")]
    assert letters == list(DeadLetter.objects.order_by("-pk").values_list("pk", flat=True))
    assert (len(messages), len(letters)) == (130, 40)


def test_what_comes_while_somebody_pages_repeats_and_loses_nothing_that_was_there(lists: Lists):
    """Rows of the very same time come between two pages, some before the place where the reader is, some behind."""
    at = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()

    def come(names: Iterable[str]) -> None:
        events = [event(message_id=name, occurred_at=at, system="erp") for name in names]
        assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == len(events)

    come(f"t{number:04d}" for number in range(60))
    there = set(Message.objects.values_list("id", flat=True))
    seen: list[UUID] = []
    cursor: str | None = None
    for turn in range(100):
        page = lists.messages("system:erp", limit=7, cursor=cursor)
        seen += [row.id for row in page.rows]
        cursor = page.next
        if cursor is None:
            break
        if turn < 6:
            come(f"late {turn} {number}" for number in range(5))

    assert len(seen) == len(set(seen))
    assert there <= set(seen)


def test_a_page_begun_by_one_back_end_is_continued_by_the_other(elasticsearch: Any, db: None):
    attach()
    events = [event(message_id=f"t{number:04d}", system="erp") for number in range(30)]
    push("/ingest/v1/events", events, key=agent_key())
    one, other = Lists("elasticsearch"), Lists("postgresql")

    first = one.messages("system:erp", limit=10)
    second = other.messages("system:erp", limit=10, cursor=first.next)
    third = one.messages("system:erp", limit=10, cursor=second.next)

    whole = [row.id for row in other.messages("system:erp").rows]
    assert [row.id for page in (first, second, third) for row in page.rows] == whole
    assert third.next is None


def test_rights_are_inside_the_question(lists: Lists):
    fill()
    Flow.objects.filter(name="contacts").update(team=Team.objects.create(name="others"))
    mate, stranger = actor(person("mate", Role.OPERATOR)), actor(person("stranger"))

    assert lists.names("* OR -status:moving", mate) == ["m1", "m2", "m3"]
    assert lists.names("flow:contacts OR system:crm OR error:postal", mate) == []
    assert lists.names("NOT system:crm", mate) == ["m1", "m2", "m3"]
    assert lists.names("* OR error:timed", stranger) == []
    assert lists.dead("* OR reason:expired", stranger) == []


def test_a_message_is_not_found_by_an_event_or_a_letter_that_the_reader_may_not_see(lists: Lists):
    common = {"message_id": "a message of two flows", "keys": {"order_no": "1"}}
    for one in (
        {},
        {"destination": "payroll", "system": "hr", "operation": "process"},
    ):  # its flow is that of the first
        push("/ingest/v1/events", [event(**common, **one)], key=agent_key())
    stored_letter(message_id="a message of two flows", origin="payroll", reason="salary is negative", body="{}")
    Flow.objects.filter(name="payroll").update(team=Team.objects.create(name="Payroll team"))
    mate, owner = actor(person("mate", Role.OPERATOR)), actor(person("owner", Role.VIEWER, team="Payroll team"))
    asked = ("system:hr", "destination:payroll", "reason:salary", "order_no:1 -system:hr", "order_no:1")

    assert [len(lists.names(q, mate)) for q in asked] == [0, 0, 0, 1, 1]
    assert [len(lists.names(q, owner)) for q in asked] == [1, 1, 1, 0, 1]


def test_a_message_is_not_found_by_a_key_or_an_error_that_the_reader_may_not_see(lists: Lists):
    failed = {"outcome": "error", "error": {"type": "hr.SalaryError", "message": "salary is negative", "stack": ""}}
    of_payroll = {
        "destination": "payroll",
        "system": "hr",
        "operation": "process",
        "keys": {"payroll_no": "S-1", "order_no": "9"},
    }
    for one in (
        {"keys": {"order_no": "1", "customer_no": "7"}},
        of_payroll | failed,
        {"destination": "stock", "keys": {"sku": "A"}},
    ):
        push("/ingest/v1/events", [event(message_id="a message of three flows", **one)], key=agent_key())
    stored_letter(message_id="a message of three flows", origin="payroll", reason="", keys={"iban": "DE1"}, body="{}")
    Flow.objects.filter(name="payroll").update(team=Team.objects.create(name="Payroll team"))
    mate, owner = actor(person("mate", Role.OPERATOR)), actor(person("owner", Role.VIEWER, team="Payroll team"))
    told = (
        "payroll_no:S-1",
        "payroll_no:*",
        "iban:DE1",
        "error:negative",
        "class:SalaryError",
        "salary",
        "error:*",
        "order_no:9",
    )
    own = ("order_no:1", "customer_no:*", "sku:A", "status:dead", "NOT error:salary sku:A", "-payroll_no:*", "1")

    assert {q: len(lists.names(q, mate)) for q in told} == dict.fromkeys(told, 0)
    assert {q: len(lists.names(q, mate)) for q in own} == dict.fromkeys(own, 1)
    assert [len(lists.names(q, owner)) for q in told] == [1, 1, 1, 1, 1, 1, 1, 0]
    assert [len(lists.names(q, owner)) for q in own] == [1, 1, 1, 1, 0, 0, 1]


def test_another_environment_is_another_list(lists: Lists):
    fill()
    push("/ingest/v1/events", [event(message_id="s1", system="erp")], key=agent_key("staging agent", "staging"))

    assert lists.names("system:erp", slugs=("staging",)) == ["s1"]
    assert lists.names("system:erp", slugs=("production", "staging")) == ["m1", "m2", "m4", "s1"]


PARTS = ["error:timed", "class:BadAddress", "system:crm", "reason:expired", "order_no:4711", "customer_no:*", "status:failed",
         "flow:orders", "agent:nobody", "age:<1h", "duration:>=2s", "4712", "*", "correlation:*", "trace:*", "message_id:m*"]  # fmt: skip
trees = st.recursive(
    st.sampled_from(PARTS).map(lambda q: parse_query(q).root),
    lambda inner: st.builds(all_of, inner, inner) | st.builds(any_of, inner, inner) | st.builds(none_of, inner),
    max_leaves=8,
)


@pytest.fixture
def both(elasticsearch: Any, db: None) -> tuple[Lists, Lists]:
    attach()
    fill()
    of_none = event(system="crm")
    del of_none["message_id"]
    push("/ingest/v1/events", [of_none], key=agent_key())
    stored_letter(message_id="", reason="expired", reason_code="expired")
    noted_since(datetime.now(UTC).date() - timedelta(days=60))
    return Lists("elasticsearch"), Lists("postgresql")


@given(tree=trees)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_tree_of_parts_has_one_answer(both: tuple[Lists, Lists], tree: Node):
    one, other = both
    query = Query(tree).also(parse_query("age:<7d").root)

    assert one.names(query) == other.names(query)
    if not query.fields & {"duration", "status"}:
        assert one.dead(query) == other.dead(query)


def test_what_the_index_cannot_answer_alike_is_left_to_postgresql(elasticsearch: Any, db: None):
    attach()
    lists = Lists("elasticsearch")

    with pytest.raises(Unsuited):
        lists.names(f'error:"{"Y" * 101}"')
    assert lists.names(f'error:"{"Y" * 100}"') == []
    for q in ("failed:>now-1h", "via:orders", "failed:* via:orders"):
        with pytest.raises(Unsuited):
            lists.names(q)
