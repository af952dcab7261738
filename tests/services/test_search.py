"""Searching: what cannot be asked is refused where it stands, NOT and OR are right over empty columns, ids go through an index."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.db.models import Q
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from console.identity.models import Environment, Role, Team
from messages.models import Flow, Message
from messages.search import conditions
from messages.search.conditions import Scope
from messages.search.parse import parse_query
from messages.search.postgres import DEAD_LETTERS, EVENTS, MESSAGES, to_q
from messages.search.queries import bounds, find_dead_letters, find_events, find_messages
from messages.search.query import BadQuery, Node, Not, Query, Term, all_of, any_of, none_of
from messages.search.times import NotATime, moment_of, span_of
from messages.search.window import EARLIEST
from tests.factories import ROOT, actor, agent_key, environment, event, person, push, stored_letter
from tests.services.reconciling import compared, message
from tests.services.search_corpus import fill

NOW = datetime(2026, 11, 26, 10, 30, 20, tzinfo=UTC)
LISTS = {"messages": find_messages, "events": find_events, "dead-letters": find_dead_letters}


def found(q: str, who: object = ROOT) -> list[str]:
    page = find_messages(who, environments=[environment()], query=parse_query(q))  # type: ignore[arg-type]
    return sorted(row.message_id for row in page.rows)


@pytest.mark.django_db
def test_a_name_means_every_row_that_it_fits_and_none_that_the_reader_may_not_see(monkeypatch: pytest.MonkeyPatch):
    of = [Flow(environment=environment(), name=f"route {number:03d}") for number in range(600)]
    Flow.objects.bulk_create(of)
    for one in of[::-1][:1] + of[:1]:
        message(None, of=one)
    assert len(find_messages(ROOT, environments=[environment()], query=parse_query("flow:route*")).rows) == 2
    assert len(find_messages(ROOT, environments=[environment()], query=parse_query("flow:oute")).rows) == 2

    monkeypatch.setattr(conditions, "MOST_NAMED", 599)
    with pytest.raises(BadQuery, match="more than 599 are called like “route”: write more of the name"):
        find_messages(ROOT, environments=[environment()], query=parse_query("flow:route*"))
    monkeypatch.undo()

    Flow.objects.create(environment=environment(), name="route", team=Team.objects.create(name="others"))
    mate = actor(person("mate", Role.OPERATOR))
    assert len(find_messages(mate, environments=[environment()], query=parse_query("flow:route")).rows) == 2
    assert not find_messages(ROOT, environments=[environment()], query=parse_query("flow:route")).rows


@pytest.mark.django_db
def test_a_name_is_looked_for_in_each_environment_by_itself():
    """A question of all environments finds what the same question finds in each of them."""
    for slug, flow in (("production", "orders"), ("staging", "orders: shop → erp"), ("test", "contacts")):
        push(
            "/ingest/v1/events", [event(destination=flow, system=f"shop of {slug}")], key=agent_key("shop agent", slug)
        )
    all_of_them = [environment(slug) for slug in ("production", "staging", "test")]

    def asked(q: str, *where: Environment) -> set[str]:
        return {row.flow.name for row in find_messages(ROOT, environments=where, query=parse_query(q)).rows}

    assert asked("flow:orders", *all_of_them) == {"orders", "orders: shop → erp"}
    assert asked('system:"shop of test"', *all_of_them) == {"contacts"}
    for q in ("flow:orders", "flow:o*", "system:shop", "-flow:orders", "agent:shop"):
        assert asked(q, *all_of_them) == set().union(*(asked(q, one) for one in all_of_them)), q


@pytest.mark.parametrize(
    ("target", "q", "column", "suggestion", "words"),
    [
        ("messages", "status:faild", 8, "status:failed", "moving, delivered, failed, dead"),
        ("messages", "a status:(dead OR fail*)", 19, "a status:(dead OR failed)", "status is one of"),
        ("messages", "stauts:failed", 1, "status:failed", "messages have no stauts"),
        ("messages", "flows:(a OR b)", 1, "flow:(a OR b)", "messages have no flows"),
        ("messages", "stauts:faild agee:>2H", 1, "status:failed age:>2h", "messages have no stauts"),
        ("messages", "stauts:open", 1, "", "messages have no stauts"),
        ("messages", "queue:x", 1, "", "dead letters have; a business key of this name is key.queue"),
        ("messages", "status:>dead", 9, "", "status has no order"),
        ("messages", "order_no:>5", 11, "", "a business key is compared whole"),
        ("messages", "order_no:5*", 10, "", "a business key is compared whole"),
        ("messages", "age:>soon", 6, "", "a span is a number"),
        ("messages", "status:failed age:>24H", 20, "status:failed age:>24h", "a span is a number"),
        ("messages", "age:2hours", 5, "age:2h", "a span is a number"),
        ("messages", "age:5M", 5, "", "a span is a number"),
        ("messages", "age:5sept", 5, "", "a span is a number"),
        ("messages", "age:90Seconds", 5, "age:90s", "a span is a number"),
        ("messages", "age:5MINS", 5, "age:5min", "a span is a number"),
        ("messages", "age:2hrs", 5, "age:2h", "a span is a number"),
        ("messages", "age:5Ms", 5, "", "a span is a number"),
        ("messages", "at:>now-1M", 5, "", "is not a time"),
        ("messages", "at:>now/M", 5, "", "is not a time"),
        ("messages", "at:>NOW-5MIN", 5, "at:>now-5min", "is not a time"),
        ("messages", "age:>1month", 6, "", "a span is a number"),
        ("messages", "at:[2H TO now]", 4, "", "is not a time"),
        ("messages", "at:>NOW-1D", 5, "at:>now-1d", "is not a time"),
        ("messages", "at:[x TO now]", 4, "", "is not a time"),
        ("messages", "at:>2026-11-24T10:00", 0, "", ""),
        ("messages", "duration:>2x", 11, "", "a span is a number"),
        ("messages", "group:erp", 7, "", "called by its reference, such as G-204"),
        ("events", "group:>7", 8, "", "group has no order"),
        ("messages", "id:9eb43137*", 4, "", "id is compared whole"),
        ("events", "status:failed", 8, "", "unset, ok, error"),
        ("events", "reason:x", 1, "", "messages and dead letters have"),
        ("dead-letters", "status:opne", 8, "status:open", "waiting, open"),
        ("dead-letters", "duration:>2s", 1, "", "messages and events have"),
    ],
)  # fmt: skip
@pytest.mark.django_db
def test_what_cannot_be_asked_is_refused_where_it_stands(target: str, q: str, column: int, suggestion: str, words: str):
    environment()

    with pytest.raises(BadQuery) as refused:
        LISTS[target](ROOT, environments=[environment()], query=parse_query(q))

    if column:
        assert (refused.value.column, refused.value.suggestion) == (column, suggestion)
        assert words in str(refused.value)


@pytest.mark.django_db
def test_a_name_that_looks_like_a_field_is_a_business_key_where_messages_carry_it():
    push(
        "/ingest/v1/events",
        [event(keys={"states": "x", "queue": "7", "status": "new"}, message_id="m9")],
        key=agent_key(),
    )

    assert found("states:x") == found("queue:7") == found("key.status:new") == ["m9"]
    assert found("key.queue:8") == []


@pytest.mark.django_db
def test_a_name_of_several_parts_is_a_business_key_even_when_no_recent_message_has_it():
    environment()

    assert found("agent_no:5") == found("reason_code:5") == found("color:red") == found("flow.part:1") == []
    with pytest.raises(BadQuery, match="messages have no mesage_id"):
        found("mesage_id:5")


@pytest.mark.django_db
def test_a_name_is_no_business_key_for_those_who_may_not_see_the_messages_that_carry_it():
    push("/ingest/v1/events", [event(keys={"states": "x"}, message_id="m9")], key=agent_key())
    Flow.objects.update(team=Team.objects.create(name="others"))
    mate = actor(person("mate", Role.OPERATOR))

    with pytest.raises(BadQuery):
        found("states:x", mate)
    assert found("key.states:x", mate) == found("order_no:1 OR *", mate) == []


@pytest.mark.django_db
def test_rights_hold_in_every_part_of_a_query():
    fill()
    Flow.objects.filter(name="contacts").update(team=Team.objects.create(name="others"))
    mate, stranger = actor(person("mate", Role.OPERATOR)), actor(person("stranger"))

    assert found("* OR -status:moving", mate) == ["m1", "m2", "m3"]
    assert found("flow:contacts", mate) == found("system:crm", mate) == found("error:postal", mate) == []
    assert found("NOT system:crm", mate) == ["m1", "m2", "m3"]
    assert found("*", stranger) == []


@pytest.mark.django_db
def test_a_message_is_not_found_by_an_event_that_the_reader_may_not_see():
    common = {"message_id": "a message of two flows", "keys": {"order_no": "1"}}
    events = [event(**common), event(**common, destination="payroll", system="hr", operation="process")]
    push("/ingest/v1/events", events, key=agent_key())
    Flow.objects.filter(name="payroll").update(team=Team.objects.create(name="Payroll team"))
    mate, owner = actor(person("mate", Role.OPERATOR)), actor(person("owner", Role.VIEWER, team="Payroll team"))

    asked = ("system:hr", "destination:payroll", "order_no:1")

    assert [len(found(q, mate)) for q in asked] == [0, 0, 1]
    assert [len(found(q, owner)) for q in asked] == [1, 1, 1]


PARTS = ["error:timed", "class:BadAddress", "system:crm", "reason:expired", "order_no:4711", "customer_no:*", "status:failed",
         "flow:orders", "agent:nobody", "age:<1h", "duration:>=2s", "4712", "*", "correlation:*", "trace:*"]  # fmt: skip
trees = st.recursive(
    st.sampled_from(PARTS).map(lambda q: parse_query(q).root),
    lambda inner: st.builds(all_of, inner, inner) | st.builds(any_of, inner, inner) | st.builds(none_of, inner),
    max_leaves=6,
)


@pytest.fixture
def truth(db: None) -> dict[Node, set[str]]:
    """Which messages each part alone finds, in a week; beside them an event and a letter of no message, whose null excludes nothing."""
    fill()
    of_none = event(system="crm")
    del of_none["message_id"]
    push("/ingest/v1/events", [of_none], key=agent_key())
    stored_letter(message_id="", reason="expired", reason_code="expired")
    return {parse_query(q).root: set(found(f"({q}) age:<7d")) for q in PARTS}


@given(tree=trees)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_not_and_or_are_those_of_sets_whatever_columns_are_empty(truth: dict[Node, set[str]], tree: Node):
    everything = {"m1", "m2", "m3", "m4", "m5"}

    def expected(node: Node) -> set[str]:
        if node in truth:
            return truth[node]
        if isinstance(node, Not):
            return everything - expected(node.of)
        sets = [expected(part) for part in node.parts]  # type: ignore[union-attr]
        return set.intersection(everything, *sets) if type(node).__name__ == "And" else set.union(*sets)

    query = Query(tree).also(parse_query("age:<7d").root)
    page = find_messages(ROOT, environments=[environment()], query=query)

    assert {row.message_id for row in page.rows} == expected(tree)


@pytest.mark.django_db
@pytest.mark.parametrize("target", [MESSAGES, EVENTS, DEAD_LETTERS], ids=lambda target: target.name)
def test_every_field_can_be_asked_of_rows_with_nothing_in_it(target):
    stored_letter(system="", error={"type": "", "message": "", "stack": ""}, reason="")
    push("/ingest/v1/events", [event()], key=agent_key())
    model = {"messages": "Message", "events": "Event", "dead-letters": "DeadLetter"}[target.name]
    rows = getattr(__import__("messages.models", fromlist=[model]), model).objects
    scope = Scope(actor=ROOT, environments=[environment()], now=datetime.now(UTC), since=EARLIEST)
    words = {
        "status": (target.name == "dead-letters" and "open") or (target.name == "events" and "ok") or "failed",
        "operation": "send",
    }
    words |= {
        "age": "<1h",
        "at": "now/d",
        "failed": "now/d",
        "duration": ">1s",
        "died_of": "expired",
        "reconciled": f"{compared('1').pk}.arrived",
    }

    for name in target.fields:
        if name not in ("group", "payload"):
            q = to_q(parse_query(f"{name}:{words.get(name, 'x')}"), target, scope)
            assert rows.filter(q).count() + rows.filter(~q).count() == rows.count(), name
            assert rows.filter(~(q | Q(pk__in=[]))).count() == rows.filter(~q).count(), name


@pytest.mark.parametrize(
    ("q", "hours"),
    [
        ("", 24), ("error:x", 24), ("age:>1h", 24), ("status:failed age:<3h", 3), ("age:>1h age:<3h", 3), ("at:>=now-90d", 90 * 24),
        ("age:>24h", None), ("order_no:1", None), ("order_no:(1 OR 2)", None), ("order_no:1 OR error:x", 24), ("NOT order_no:1", 24),
        ("at:[now-50h TO now-30h] OR at:[now-110h TO now-90h]", 110), ("age:>30h OR age:<1h", None), ("age:<2h OR age:<30h", 30),
        ("age:>1h OR at:[now-110h TO now-90h]", 110), ("error:x OR age:>30h", 24), ("error:x age:<2h OR order_no:1", None),
        ("status:dead (error:x at:>=now-40h OR destination:y (age:<50h OR age:<60h))", 60), ("(age:>30h OR age:<1h) age:<3d", 72),
        ("(age:>1h OR age:>2h) at:>=now-90d", 90 * 24), ("order_no:1 (error:x OR status:dead)", None), ("NOT (age:>30h OR age:<1h)", 30),
        ("NOT (age:<30h error:x)", 24), ("NOT (age:<30h age:<40h)", None), ("error:x OR status:dead", 24),
        ("NOT age:<1d", None), ("-at:>=now-3h -age:>5h", 5), ("NOT age:[1h TO 3d]", 24), ("-age:>2d", 48),
        ("message_id:a*", 24), ("key.status:1", None), ("trace:x -flow:y", None), ("4711", 24), ("destination:x", 24), ("queue:x", None),
        ("failed:>=now-2h", 4 * 24 + 2), ("failed:[now-50h TO now-30h] via:x", 4 * 24 + 50), ("failed:>=now-90h at:>=now-2h", 2), ("failed:<now-1h", 24),
        ("failed:<now-30h", None), ("failed:*", 24), ("NOT failed:>=now-90h", 24), ("failed:>=now-2h OR age:<9d", 9 * 24), ("failed:>=now-2h OR error:x", 24),
    ],
)  # fmt: skip
@pytest.mark.django_db
def test_a_query_is_bounded_by_24_hours_unless_it_asks_beyond_them(q: str, hours: int | None):
    since, until = bounds(None, parse_query(q), MESSAGES, now=NOW)

    assert NOW < until < NOW + timedelta(hours=1)
    if hours is None:
        assert since < NOW - timedelta(days=30)
    else:
        assert since == NOW - timedelta(hours=hours)


MANY = """INSERT INTO messaging_message (first_seen_on, id, environment_id, flow_id, message_id, correlation_id, trace_id, first_seen_at,
  last_seen_at, status, event_count, keys)
SELECT first_seen_on, gen_random_uuid(), environment_id, flow_id, 'm-' || n, 'c-' || n, gen_random_uuid(), first_seen_at, last_seen_at,
  status, 1, jsonb_build_object('order_no', n::text) FROM messaging_message, generate_series(1, 8000) n"""


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("q", "index"),
    [
        ("order_no:777", "keys"),
        ("order_no:(777 OR 778) flow:orders", "keys"),
        ("message_id:m-777", "message_id"),
        ("correlation:c-777", "correlation_id"),
        ("trace:4bf92f3577b34da6a3ce929d0e0e4736", "trace_id"),
        ("status:moving -error:x", "first_seen_at"),
    ],
)
def test_a_message_is_found_by_its_numbers_through_an_index(q: str, index: str):
    push("/ingest/v1/events", [event()], key=agent_key())
    with connection.cursor() as cursor:
        cursor.execute(MANY)
        cursor.execute("ANALYZE")

    with CaptureQueriesContext(connection) as asked:
        find_messages(ROOT, environments=[environment()], query=parse_query(q))

    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN " + asked[-1]["sql"])
        lines = [row[0] for row in cursor.fetchall()]
    today = Message.objects.values_list("first_seen_on", flat=True)[0].strftime("%Y%m%d")
    scans = [line for line in lines if "messaging_message" in line and "Scan" in line]
    assert not any("Seq Scan" in line and today in line for line in scans), "\n".join(lines)
    assert any(index in line for line in lines), "\n".join(lines)


EVENTS_OF_NO_MESSAGE = """INSERT INTO messaging_event (occurred_at, id, received_at, environment_id, flow_id, system_id, operation, outcome,
  duration_us, name, keys, attributes)
SELECT occurred_at, gen_random_uuid(), received_at, environment_id, flow_id, system_id, operation, outcome, duration_us, name,
  jsonb_build_object('order_no', n::text), attributes FROM messaging_event, generate_series(1, 4000) n"""


@pytest.mark.django_db
@pytest.mark.parametrize("number", ["4711", "777", "none"])
def test_events_are_found_by_a_number_through_the_indexes_of_messages_and_keys(number: str):
    """What /k/ asks of a number that no message has, and REST of any: one that nothing has must not cost every event that is kept."""
    push("/ingest/v1/events", [event(keys={"order_no": "4711"})], key=agent_key())
    with connection.cursor() as cursor:
        cursor.execute(EVENTS_OF_NO_MESSAGE)
        cursor.execute("ANALYZE")

    with CaptureQueriesContext(connection) as asked:
        page = find_events(ROOT, environments=[environment()], query=parse_query(f"order_no:{number}"))

    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN " + asked[-1]["sql"])
        lines = [row[0] for row in cursor.fetchall()]
    assert [one.keys["order_no"] for one in page.rows] == ([] if number == "none" else [number])
    assert any("_keys_" in line for line in lines), "\n".join(lines)
    assert not any("SubPlan" in line for line in lines), "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", (NOW, NOW)),
        ("now-1d", (NOW - timedelta(days=1),) * 2),
        ("now+2h", (NOW + timedelta(hours=2),) * 2),
        ("now/d", (datetime(2026, 11, 26, tzinfo=UTC), datetime(2026, 11, 27, tzinfo=UTC))),
        ("now-1d/h", (datetime(2026, 11, 25, 10, tzinfo=UTC), datetime(2026, 11, 25, 11, tzinfo=UTC))),
        ("2026-11-24", (datetime(2026, 11, 24, tzinfo=UTC), datetime(2026, 11, 25, tzinfo=UTC))),
        ("2026-11-24T10:00:00+01:00", (datetime(2026, 11, 24, 9, tzinfo=UTC),) * 2),
        ("0001-01-01T00:00:00Z", (EARLIEST, EARLIEST)),
    ],
)  # fmt: skip
def test_times(text: str, moment: tuple[datetime, datetime]):
    assert moment_of(text, now=NOW) == moment


@pytest.mark.parametrize("text", ["", "now-", "now-1y", "yesterday", "2026-13-01", "2026-11-24T10:00:00", "now/x", "٣"])
def test_what_is_no_time_is_refused(text: str):
    with pytest.raises(NotATime):
        moment_of(text, now=NOW)
    with pytest.raises(NotATime):
        span_of(text)


@given(st.text())
def test_any_text_is_a_time_and_a_span_or_refused(text: str):
    for reading in (span_of, lambda one: moment_of(one, now=NOW)):
        try:
            reading(text)
        except NotATime:
            continue


def test_spans():
    assert [span_of(one) for one in ("250ms", "90s", "1.5h", "2w")] == [
        timedelta(milliseconds=250), timedelta(seconds=90), timedelta(minutes=90), timedelta(weeks=2),
    ]  # fmt: skip


def test_a_term_that_a_page_adds_means_itself_whatever_it_holds():
    assert parse_query("a OR b").also(Term("flow", 'x" OR *')).text == '(a OR b) flow:"x\\" OR *"'


@pytest.mark.django_db
@pytest.mark.parametrize("q", ["error:x", "class:x", "status:failed", "status:dead", "words"])
def test_what_only_failed_messages_have_leads_to_their_index(q: str):
    with CaptureQueriesContext(connection) as asked:
        find_messages(ROOT, environments=[environment()], query=parse_query(q))

    assert '"failed_at" IS NOT NULL' in asked[-1]["sql"]
