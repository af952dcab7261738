"""Failures find their groups: letters as they are stored, messages by the sweep, figures by the refresh. On the real PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import pytest
from django.db import connection

from console.core.errors import Invalid
from console.identity.models import Team
from messages.different.queries import letters_of_group, window_of_group
from messages.groups import standing
from messages.groups.queries import trends_of, whole_of
from messages.groups.refresh import refresh_groups
from messages.groups.services import merge_groups
from messages.groups.sweep import sweep_groups
from messages.models import FailureGroup, Flow, GroupHour, Message
from tests.factories import ROOT, agent_key, environment, event, push, stored_letter
from tests.services.grouping import failed_event, merged, push_letters, silent_letter, timeout

pytestmark = pytest.mark.django_db


def test_letters_of_one_cause_come_into_one_group_in_the_transaction_that_stores_them():
    first, second, other = push_letters(
        timeout(1), timeout(2), timeout(3, error={"type": "ValueError", "message": "vat"})
    )

    assert first.group_id == second.group_id != other.group_id
    group = FailureGroup.objects.get(pk=first.group_id)
    assert (group.heading, group.failure_class, group.state, group.letters, group.customers, group.documents) == (
        "ErpTimeout: erp did not answer order … in 30 s", "transient", "open", 2, 2, 2,
    )  # fmt: skip
    assert group.reference == f"G-{group.pk}"
    assert sum(GroupHour.objects.filter(group=group).values_list("letters", flat=True)) == 2
    assert {row.group_id for row in Message.objects.filter(id__in=[first.message_uid, second.message_uid])} == {
        group.pk
    }


def test_the_same_death_delivered_again_counts_once_and_makes_no_group():
    one = timeout(1)
    push_letters(one)
    counts = list(GroupHour.objects.values_list("letters", flat=True))

    push_letters(one, one | {"error": {"type": "Other", "message": "told otherwise"}})

    assert FailureGroup.objects.count() == 1
    assert list(GroupHour.objects.values_list("letters", flat=True)) == counts == [1]


def test_a_letter_that_says_nothing_belongs_to_the_group_of_its_message():
    push("/ingest/v1/events", [failed_event(1)], key=agent_key())
    sweep_groups()
    silent = silent_letter()

    (stored,) = push_letters(silent)

    assert stored.group_id == FailureGroup.objects.get().pk


def test_failed_messages_without_a_letter_are_swept_into_the_same_groups():
    (dead,) = push_letters(timeout(1))
    push("/ingest/v1/events", [failed_event(2), failed_event(3)], key=agent_key())

    assert sweep_groups() == 2
    assert sweep_groups() == 0

    group = FailureGroup.objects.get()
    assert (
        set(Message.objects.exclude(failed_at=None).values_list("group_id", flat=True)) == {dead.group_id} == {group.pk}
    )
    assert sum(GroupHour.objects.values_list("messages", flat=True)) == 2
    assert group.last_seen_at >= group.first_seen_at


def test_a_message_that_failed_before_its_letter_came_is_one_failure():
    """Its event is counted first, in the group of its own; the letter, which may be of another cause, counts in its place."""
    push("/ingest/v1/events", [failed_event(number) for number in (1, 2, 3)], key=agent_key())
    sweep_groups()
    swept = FailureGroup.objects.get()

    def failures(group: FailureGroup) -> int:
        return sum(trends_of([group], datetime.now(UTC))[group.pk])

    of_first = {"message_id": "failed-message-1-long-enough", "origin": "erp.orders"}
    push_letters(timeout(1, **of_first))
    assert failures(swept) == 3
    push_letters(timeout(1, **of_first, id="died once more"))
    assert failures(swept) == 4

    error = {"type": "QueueFull", "message": "told by the broker"}
    (elsewhere,) = push_letters(timeout(2, message_id="failed-message-2-long-enough", error=error))
    assert (failures(swept), failures(elsewhere.group)) == (3, 1)


def test_failures_of_before_an_upgrade_that_both_counted_are_counted_once():
    (one,) = push_letters(timeout(1))
    GroupHour.objects.all().delete()
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    for back, shard, letters, messages in ((0, 0, 2, 3), (0, 5, 1, 2), (1, 3, 4, 1), (2, 1, 2, 0), (3, 1, 0, 2)):
        GroupHour.objects.create(
            group_id=one.group_id, hour=now - timedelta(hours=back), shard=shard, letters=letters, messages=messages
        )

    with connection.cursor() as cursor:
        cursor.execute(import_module("messages.migrations.0043_failures_counted_once").ONCE)

    group = FailureGroup.objects.get()
    assert trends_of([group], now)[group.pk][-4:] == [2, 2, 4, 5]


def test_a_root_exception_is_read_from_the_stack_of_the_event():
    stack = "java.lang.RuntimeException: x\n\tat a.b\nCaused by: java.net.SocketTimeoutException: no\n"
    error = {"type": "java.lang.RuntimeException", "message": "x", "stack": stack}
    push("/ingest/v1/events", [failed_event(1) | {"error": error}], key=agent_key())

    sweep_groups()

    assert FailureGroup.objects.get().heading == "SocketTimeoutException: x"


def test_a_message_that_failed_days_ago_and_again_now_counts_and_the_newest_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
):
    days_ago = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    push(
        "/ingest/v1/events", [failed_event(1, occurred_at=days_ago), failed_event(2), failed_event(3)], key=agent_key()
    )
    sweep_groups()
    refresh_groups()
    before = FailureGroup.objects.get().failed
    push("/ingest/v1/events", [failed_event(1)], key=agent_key())

    refresh_groups(now=datetime.now(UTC) + timedelta(minutes=1))
    after = FailureGroup.objects.get().failed
    monkeypatch.setattr(standing, "MOST_WALKED", 2)
    monkeypatch.setattr(standing, "MOST_PAGES", 0)
    refresh_groups(now=datetime.now(UTC) + timedelta(minutes=2))

    assert (before, after, FailureGroup.objects.get().failed) == (2, 3, 2)


def test_a_message_that_was_sent_days_before_it_failed_counts_in_its_group_for_a_day():
    sent = failed_event(1) | {"operation": "send", "outcome": "ok", "error": None}
    sent["occurred_at"] = (datetime.now(UTC) - timedelta(hours=70)).isoformat()
    sent.pop("error")
    push("/ingest/v1/events", [sent], key=agent_key())
    push("/ingest/v1/events", [failed_event(1)], key=agent_key())
    sweep_groups()

    refresh_groups()
    now = FailureGroup.objects.get().failed
    refresh_groups(now=datetime.now(UTC) + timedelta(hours=25))

    assert (now, FailureGroup.objects.get().failed) == (1, 0)


def test_all_of_the_groups_that_one_speaks_for_count_and_more_are_refused_in_words():
    """A hundred are the most; some were merged before there was a most, and count, too."""
    causes = [timeout(number, error={"type": f"Erp{number:03}", "message": "x"}) for number in range(103)]
    push_letters(*causes)
    target, *others = FailureGroup.objects.order_by("pk")
    whole = merged(target, others[:99])

    with pytest.raises(Invalid, match=f"{whole.reference} would speak for 101 groups, and 100 are the most"):
        merge_groups(whole, others[99:101], by=ROOT, reason="one trouble")
    other, *_ = others[99:]
    merge_groups(other, [others[101]], by=ROOT, reason="another")
    with pytest.raises(Invalid, match="would speak for 101 groups"):
        merge_groups(whole, [other], by=ROOT, reason="it brings what it speaks for")

    FailureGroup.objects.filter(pk__in=[one.pk for one in others]).update(merged_into=whole)
    assert len(whole_of(whole)) == 102
    refresh_groups()
    whole.refresh_from_db()
    window = window_of_group(whole, now=datetime.now(UTC))
    assert (whole.letters, letters_of_group(ROOT, whole, window).count()) == (103, 103)


def test_masked_values_are_masked_in_title_and_fingerprint():
    from messages.masking.services import NewRule, add_masking_rule
    from tests.factories import ROOT

    add_masking_rule(environment(), NewRule(kind="regex", expression=r"\b4111[0-9]{12}\b"), by=ROOT)
    stored_letter(error={"type": "CardRefused", "message": "card 4111111111111111 refused"})

    refresh_groups()

    group = FailureGroup.objects.get()
    assert "4111" not in f"{group.title} {group.message} {group.heading}"
    assert "•••" in group.title


@pytest.mark.parametrize(
    ("sql", "index"),
    [
        ("SELECT * FROM messaging_deadletter WHERE group_id = 1 ORDER BY id DESC LIMIT 51", "dead_letter_by_group"),
        ("SELECT group_id, min(failed_at) FROM messaging_deadletter "
     "WHERE closed_at IS NULL AND group_id IS NOT NULL GROUP BY group_id", "dead_letter_waits_in_group"),
        ("SELECT id FROM messaging_deadletter WHERE group_id IS NULL ORDER BY id LIMIT 500", "dead_letter_ungrouped"),
        ("SELECT id FROM messaging_message_default WHERE group_id = 1 ORDER BY first_seen_at DESC, id DESC LIMIT 51", "group_id_first_seen_at"),
        ("SELECT id FROM messaging_message_default WHERE failed_at IS NOT NULL AND group_id IS NULL ORDER BY first_seen_at LIMIT 5", "first_seen_at_idx"),
        ("SELECT FROM messaging_event_default WHERE message_uid = gen_random_uuid() AND outcome = 2 AND occurred_at > now() LIMIT 500", "message_uid"),
        ("SELECT hour FROM messaging_grouphour WHERE group_id = 1 AND letters + messages > 0 ORDER BY hour DESC LIMIT 1", "messaging_grouphour_pk"),
        ("SELECT id FROM messaging_failuregroup WHERE environment_id = 1 AND merged_into_id IS NULL "
         "ORDER BY blast DESC, next_breach_s, id DESC LIMIT 51", "group_by_reach"),
    ],
)  # fmt: skip
def test_what_is_asked_of_groups_is_served_by_an_index(sql: str, index: str):
    with connection.cursor() as cursor:
        # hashing, too: of a table that was analysed with two rows in it any index will do
        cursor.execute(
            "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_hashagg = off"
        )
        # of a table whose rows are all of one group the index of its hours does as well as that of the group
        cursor.execute(
            "INSERT INTO messaging_grouphour (group_id, hour, shard, letters, messages) "
            "SELECT g, date_trunc('hour', now()) - h * interval '1 hour', 0, 1, 1 FROM generate_series(1, 50) g, generate_series(1, 40) h"
        )
        cursor.execute("ANALYZE messaging_grouphour")
        cursor.execute(f"EXPLAIN {sql}")
        plan = "\n".join(row[0] for row in cursor.fetchall())
        cursor.execute("DELETE FROM messaging_grouphour")  # before the deferred keys ask for their groups

    assert index in plan
    assert "Sort" not in plan


def test_events_never_write_the_group_of_a_message_so_that_its_updates_stay_in_their_page(no_dead_rows: None):
    push("/ingest/v1/events", [failed_event(1)], key=agent_key())
    sweep_groups()
    group, before = Message.objects.get().group_id, updates()

    push("/ingest/v1/events", [failed_event(1, id="another one")], key=agent_key())

    assert Message.objects.get().group_id == group is not None
    assert [after - known for after, known in zip(updates(), before, strict=True)] == [1, 1]


def updates() -> tuple[int, int]:
    """Return (updates, those of them that touched no index) of messages in this transaction."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(pg_stat_get_xact_tuples_updated(c.oid)), sum(pg_stat_get_xact_tuples_hot_updated(c.oid)) "
            "FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'messaging_message'::regclass"
        )
        return cursor.fetchone()


def test_a_group_is_asked_for_in_every_list_by_those_who_see_its_flow_and_offered_by_what_it_says():
    from console.identity.models import Role
    from messages.search.complete import complete
    from messages.search.parse import parse_query
    from messages.search.queries import find_dead_letters, find_events, find_messages
    from messages.search.query import BadQuery
    from tests.factories import ROOT, actor, person

    push_letters(timeout(1), timeout(2))
    push("/ingest/v1/events", [failed_event(3), event()], key=agent_key())
    sweep_groups()
    group = FailureGroup.objects.get()
    here, asked = [environment()], parse_query(f"group:{group.reference}")

    def counts(who: Any) -> list[int]:
        finders = (find_messages, find_events, find_dead_letters)
        return [len(find(who, environments=here, query=asked).rows) for find in finders]

    assert counts(ROOT) == [3, 1, 2]
    assert len(find_events(ROOT, environments=here, query=parse_query(f"NOT group:{group.reference}")).rows) == 1
    assert [one.text for one in complete(ROOT, here, "messages", "group:g").items] == [f"{group.reference} "]
    assert [one.label[:20] for one in complete(ROOT, here, "messages", "group:answ").items] == [f"{group} "[:20]]
    Flow.objects.update(team=Team.objects.create(name="ERP team"))
    stranger = actor(person("stranger", Role.OPERATOR))
    for find in (find_messages, find_events, find_dead_letters):
        for q in (f"group:{group.reference}", f"NOT group:{group.reference}", "group:G-999999"):
            with pytest.raises(BadQuery, match=r"there is no failure group G-\d+ here, or none that you may see"):
                find(stranger, environments=here, query=parse_query(q))
    assert complete(stranger, here, "messages", "group:g").items == []
    for wrong in ("group:x", "group:G-1*", "group:>3", "group:G-0"):
        with pytest.raises(BadQuery):
            find_messages(ROOT, environments=here, query=parse_query(wrong))


def test_counts_by_hour_are_let_go_after_400_days():
    from messages.groups.retention import expire_hours

    push_letters(timeout(1))
    GroupHour.objects.update(hour=datetime.now(UTC) - timedelta(days=401))

    assert expire_hours() == 1
    assert not GroupHour.objects.exists()
