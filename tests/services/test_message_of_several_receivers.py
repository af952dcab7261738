"""A message that several systems take is failed while one of them failed it last, whatever the others say and in whatever order they tell."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from importlib import import_module
from itertools import permutations
from typing import Any

import pytest
from django.db import connection
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from messages.dead_letters.services import discard_dead_letter
from messages.models import DeadLetter, Message, MessageStatus
from messages.receivers import is_one_queue
from messages.replay.proofs import settle_replays
from messages.replay.sending import send_due
from messages.replay.services import request_replay
from tests.factories import ROOT, agent_key, event, memory_connection, push, stored_letter
from tests.http.test_otlp import export, span

pytestmark = pytest.mark.django_db
ORDER = "message-of-several-receivers"
START = datetime.now(UTC) - timedelta(minutes=30)
REFUSED = {"outcome": "error", "error": {"type": "Refused", "message": "no such customer"}}
Did = dict[str, Any]


def did(minute: int, system: str, operation: str = "process", **changes: Any) -> Did:
    at = (START + timedelta(minutes=minute)).isoformat()
    return event(system=system, operation=operation, occurred_at=at, message_id=ORDER, **changes)


def tell(*pushed: Sequence[Did]) -> tuple[str, datetime | None]:
    """Push these, each a batch; return (status, minutes after START at which it was decided) of the message."""
    for batch in pushed:
        answer = push("/ingest/v1/events", list(batch), key=agent_key())
        assert answer.json()["accepted"] == len(batch), answer.content
    found = Message.objects.get()
    return MessageStatus(found.status).name, found.decided_at and round((found.decided_at - START).total_seconds() / 60)


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "each by itself"])
def test_who_passed_it_does_not_speak_for_who_failed_it(order: Sequence[int], together: bool):
    told = [did(0, "shop", "send"), did(1, "erp", **REFUSED), did(2, "mail")]
    given = [told[at] for at in order]

    assert (tell(given) if together else tell(*([one] for one in given))) == ("FAILED", 1)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_it_is_delivered_once_the_system_that_failed_passed_it(order: Sequence[int]):
    told = [did(1, "erp", **REFUSED), did(2, "mail"), did(3, "erp")]

    assert tell(*([told[at]] for at in order)) == ("DELIVERED", 3)


@pytest.mark.parametrize(
    ("passed", "status"),
    [("q.stock", "FAILED"), ("q.booking", "DELIVERED"), ("q.booking.retry-1", "DELIVERED"), ("", "DELIVERED")],
)
@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "each by itself"])
def test_nor_does_one_queue_of_a_system_speak_for_another(passed: str, status: str, together: bool):
    told = [did(1, "erp", destination="q.booking", **REFUSED), did(2, "erp", destination=passed)]

    assert (tell(told) if together else tell(*([one] for one in told)))[0] == status


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("orders", "orders", True), ("orders", "Orders-retry-0", True), ("orders-retry-0", "orders-retry-1", True), ("orders_error", "orders", True),
        ("orders.dlq", "orders", True), ("orders-dead-letter", "orders", True), ("erp.orders", "erp.orders.5m", True),
        (None, "orders", True), ("", "orders", True), ("q.stock", "q.booking", False),
        ("orders", "orders2", False), ("order", "orders", False), ("orders-retry-0", "prices-retry-0", False),
        ("orders.a_b", "orders.a%b", False), ("wait", "orders", False), ("https://shop/hook/a", "https://shop/hook/b", False),
        ("retry", "orders", False), (".retry", "orders", False),
    ],
)  # fmt: skip
def test_which_queues_are_one_is_the_same_in_sql(one: str | None, other: str | None, same: bool):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT messaging_is_one_queue(%s, %s), messaging_is_one_queue(%s, %s)", [one, other, other, one]
        )
        assert cursor.fetchone() == (same, same)
    assert is_one_queue(one, other) is is_one_queue(other, one) is same


def test_a_sending_that_failed_is_made_good_by_any_receiver():
    assert tell([did(0, "shop", "send", **REFUSED)], [did(1, "shop", "send")], [did(2, "erp")]) == ("DELIVERED", 2)


def test_what_is_pushed_in_parts_and_out_of_order_comes_to_the_same():
    chance = random.Random(4711)
    systems = ("shop", "erp", "mail", "crm")
    for _ in range(25):
        Message.objects.all().delete()
        minutes = chance.sample(range(25), 6)
        told = [
            did(
                minute,
                system,
                chance.choice(["send"] if system == "shop" else ["receive", "process"]),
                **chance.choice([{}, REFUSED]),
            )
            for minute, system in zip(minutes, chance.choices(systems, k=6), strict=True)
        ]
        by_time = sorted(told, key=lambda one: one["occurred_at"])
        decided = [one for one in by_time if "error" in one or one["operation"] == "process"]
        lasts = {one["system"]: one for one in decided if one["system"] != "shop"}
        failing = any("error" in one for one in lasts.values())
        expected = "MOVING" if not decided else "FAILED" if failing or "error" in decided[-1] else "DELIVERED"
        for one in told:
            one["message_id"] = f"{ORDER}-{minutes}"
        chance.shuffle(told)
        cut = chance.randrange(1, 6)

        assert tell(told[:cut], told[cut:])[0] == expected, by_time


@pytest.mark.parametrize("outcome", [1, 2], ids=["passes", "fails"])
def test_a_batch_tells_of_each_of_its_messages_when_others_told_before(outcome: int):
    """Nothing but a link ties what a batch tells to its message."""
    request = ExportTraceServiceRequest()
    queue = {"messaging__system": "kafka", "messaging__destination__name": "orders"}
    sent = span(request, **queue, messaging__operation__type="send")
    spans = {}
    for second, (system, fails) in enumerate({"erp": True, "erp again": outcome == 2, "mail": False}.items(), start=1):
        one = ExportTraceServiceRequest()
        done = span(
            one, service=system.split()[0], kind=5, links=[(sent.trace_id, sent.span_id)] * 2, **queue, messaging__operation__type="process",
            messaging__batch__message_count=2,
        )  # fmt: skip
        done.start_time_unix_nano = sent.start_time_unix_nano + second * 1_000_000_000
        done.end_time_unix_nano = done.start_time_unix_nano + 5_000_000
        done.status.code = 2 if fails else 1
        spans[system] = one

    for one in (request, *spans.values()):
        assert export(one, agent_key()).status_code == 200

    found = Message.objects.get()
    assert found.event_count == 4
    assert found.status == (MessageStatus.FAILED if outcome == 2 else MessageStatus.DELIVERED)


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ([("erp", True), ("erp", False)], MessageStatus.DELIVERED),
        ([("erp", False), ("mail", True)], MessageStatus.FAILED),
    ],
    ids=["tried again", "of another receiver"],
)
def test_the_batch_that_came_last_is_known_to_tell_of_its_message(told: list[tuple[str, bool]], status: int):
    request = ExportTraceServiceRequest()
    queue = {"messaging__system": "kafka", "messaging__destination__name": "orders"}
    sent = span(request, **queue, messaging__operation__type="send")
    assert export(request, agent_key()).status_code == 200
    for second, (system, fails) in enumerate(told, start=1):
        one = ExportTraceServiceRequest()
        done = span(
            one, service=system, kind=5, links=[(sent.trace_id, sent.span_id)], **queue, messaging__operation__type="process",
            messaging__batch__message_count=1,
        )  # fmt: skip
        done.start_time_unix_nano = sent.start_time_unix_nano + second * 1_000_000_000
        done.status.code = 2 if fails else 1

        assert export(one, agent_key()).status_code == 200

    assert Message.objects.get().status == status


def replay_of(letter: DeadLetter) -> None:
    """Replay a letter, and prove it by an event of the system that it died of: under another id, as a copy has it."""
    replay = request_replay(letter, by=ROOT, reason="mended")
    send_due(replay.connection_id)
    replay.refresh_from_db()
    proof = event(
        system="erp", operation="process", destination="erp.orders", message_id="", occurred_at=datetime.now(UTC).isoformat(),
        trace_id=replay.trace_id.hex, span_id="ab" * 8, parent_span_id=replay.span_id,
    )  # fmt: skip
    push("/ingest/v1/events", [proof], key=agent_key())
    settle_replays()


def status() -> MessageStatus:
    return MessageStatus(Message.objects.get(message_id=ORDER).status)


def test_it_is_dead_until_the_last_of_its_letters_is_dealt_with():
    memory_connection()
    of_erp, of_crm = (
        stored_letter(message_id=ORDER, system=system, queue=f"{system}.dlq") for system in ("erp", "crm")
    )

    replay_of(of_erp)
    of_erp.refresh_from_db()
    assert (of_erp.resolution, status()) == ("processed", MessageStatus.DEAD)

    discard_dead_letter(of_crm, by=ROOT, reason="they have it from elsewhere")
    assert status() == MessageStatus.FAILED


@pytest.mark.parametrize("other", ["", "mail"], ids=["nobody else", "another receiver"])
def test_a_replay_makes_good_what_its_own_system_failed(other: str):
    memory_connection()
    tell([did(1, "erp", **REFUSED), *([did(1, other, **REFUSED)] if other else [])])
    letter = stored_letter(message_id=ORDER, system="erp")
    assert status() == MessageStatus.DEAD

    replay_of(letter)

    assert status() == (MessageStatus.FAILED if other else MessageStatus.DELIVERED)
    tell_late = did(2, "erp", **REFUSED)  # a last try of before, told late
    push("/ingest/v1/events", [tell_late], key=agent_key())
    assert status() == (MessageStatus.FAILED if other else MessageStatus.DELIVERED)


@pytest.mark.parametrize("named", [True, False], ids=["its system is told", "nobody told its system"])
@pytest.mark.parametrize(
    ("systems", "queues"),
    [(("erp", "crm"), ("erp.orders", "crm.orders")), (("erp", "erp"), ("erp.orders", "erp.billing"))],
    ids=["of two systems", "of two queues"],
)
@pytest.mark.parametrize("discarded_first", [True, False])
def test_of_two_letters_the_one_that_was_replayed_does_not_speak_for_the_one_that_was_discarded(
    named: bool, systems: Sequence[str], queues: Sequence[str], discarded_first: bool
):
    memory_connection()
    tell([did(1, system, destination=queue, **REFUSED) for system, queue in zip(systems, queues, strict=True)])
    kept, lost = (
        stored_letter(message_id=ORDER, system=system if named else "", origin=queue, queue=f"{queue}.dlq")
        for system, queue in zip(systems, queues, strict=True)
    )
    acts = [lambda: discard_dead_letter(lost, by=ROOT, reason="not wanted"), lambda: replay_of(kept)]

    for act in acts if discarded_first else reversed(acts):
        act()

    kept.refresh_from_db()
    assert (kept.resolution, kept.system and kept.system.name) == ("processed", "erp")
    assert status() == MessageStatus.FAILED


def test_a_letter_whose_queue_the_broker_names_otherwise_than_events_do_speaks_for_its_system():
    memory_connection()
    tell([did(1, "erp", destination="ex.orders:created", **REFUSED)])

    replay_of(stored_letter(message_id=ORDER, system="erp", origin="erp.orders"))

    assert status() == MessageStatus.DELIVERED


def test_a_letter_of_a_system_that_told_of_nothing_speaks_for_those_that_did():
    memory_connection()
    tell([did(1, "erp-adapter-v2", **REFUSED)])

    replay_of(stored_letter(message_id=ORDER, system="erp"))

    assert status() == MessageStatus.DELIVERED


def gone(letter: DeadLetter) -> None:
    answer = push("/ingest/v1/dead-letters/gone", {"ids": ["of-the-erp"]}, key=agent_key("harvester"))
    assert answer.json()["closed"] == 1, answer.content


@pytest.mark.parametrize(
    "close",
    [gone, lambda letter: discard_dead_letter(letter, by=ROOT, reason="entered by hand")],
    ids=["gone", "discarded"],
)
def test_what_its_system_processed_after_it_died_is_delivered_whenever_its_letter_is_closed(
    close: Callable[[DeadLetter], None],
):
    """Somebody shovelled it back, or entered it again."""
    late = {"system": "erp", "operation": "process", "message_id": ORDER, "occurred_at": datetime.now(UTC).isoformat()}
    letter = stored_letter(
        id="of-the-erp", message_id=ORDER, system="erp", failed_at=(START + timedelta(minutes=2)).isoformat()
    )
    tell([did(1, "erp", **REFUSED)], [did(5, "mail")], [did(6, "erp")])
    assert status() == MessageStatus.DEAD

    close(letter)
    assert tell() == ("DELIVERED", 6)

    Message.objects.update(status=MessageStatus.FAILED)
    push("/ingest/v1/events", [event(**late)], key=agent_key())
    assert status() == MessageStatus.DELIVERED


@pytest.mark.parametrize(
    "close", [gone, lambda letter: discard_dead_letter(letter, by=ROOT, reason="not wanted")], ids=["gone", "discarded"]
)
def test_a_letter_that_was_closed_is_a_failure_of_its_system_for_which_no_other_speaks(
    close: Callable[[DeadLetter], None],
):
    letter = stored_letter(
        id="of-the-erp", message_id=ORDER, system="erp", failed_at=(START + timedelta(minutes=2)).isoformat()
    )
    close(letter)
    assert status() == MessageStatus.FAILED

    assert tell([did(1, "erp")], [did(5, "mail")])[0] == "FAILED"
    assert tell([did(6, "erp")])[0] == "DELIVERED"


def test_what_was_stored_before_is_told_anew_by_an_upgrade():
    tell([did(1, "erp", **REFUSED)], [did(2, "mail")])
    passed = {"message_id": "passed-by-all-of-them", "occurred_at": START.isoformat()}
    push("/ingest/v1/events", [event(system="erp", operation="process", **passed, **REFUSED)], key=agent_key())
    push(
        "/ingest/v1/events",
        [event(system="erp", operation="process", message_id=passed["message_id"])],
        key=agent_key(),
    )
    stored_letter(message_id="its-letter-waits-still", system="crm")
    Message.objects.update(status=MessageStatus.DELIVERED)

    with connection.cursor() as cursor:
        cursor.execute(import_module("messages.migrations.0059_fares").BACKFILL)

    told = {one.message_id: MessageStatus(one.status).name for one in Message.objects.all()}
    assert told == {ORDER: "FAILED", passed["message_id"]: "DELIVERED", "its-letter-waits-still": "DEAD"}
    assert Message.objects.get(message_id=ORDER).decided_at == START + timedelta(minutes=1)


def test_a_batch_that_no_link_ties_is_believed_as_it_was_told():
    """It names its messages by their ids, and links to spans that nobody reported: only when it comes is it known of whom it tells."""
    foreign = {"trace_id": "cd" * 16, "span_id": "ef" * 8, "message_id": ORDER}
    batch = {"trace_id": "ab" * 16, "span_id": "12" * 8, "links": [foreign]}

    def of_batch(minute: int, **changes: Any) -> Did:
        return did(minute, "erp", destination="orders", **batch, **changes) | {"message_id": ""}

    assert tell([did(1, "erp", **REFUSED)], [of_batch(2)]) == ("DELIVERED", 2)
    assert tell([did(0, "erp", **REFUSED)]) == ("DELIVERED", 2)  # an earlier try, told late
    assert tell([did(3, "erp", **REFUSED)])[0] == "FAILED"


def test_an_event_about_no_message_that_links_to_one_decides_nothing():
    sent = {"trace_id": "ab" * 16, "span_id": "12" * 8}
    drawn = did(3, "pdf", "other", destination="", links=[sent], **REFUSED) | {"trace_id": "ef" * 16, "message_id": ""}

    assert tell([did(0, "shop", "send", **sent), did(1, "erp", **REFUSED), drawn], [did(2, "erp")]) == ("DELIVERED", 2)
