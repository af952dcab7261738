"""Dead letters that name no message in a reconciliation: which keys they decide about, and what an upgrade leaves of a comparison under way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from console.core.ids import uuid7_floor
from messages.models import DeadLetter, MessageStatus, Reconciliation
from messages.reconcile.evaluating import Lost, claim, do_step, reconcile
from messages.reconcile.queries import every_key
from messages.reconcile.services import receive_list
from messages.reconcile.sets import SETS
from tests.factories import stored_letter
from tests.services.reconciling import begun, compared, flow, keys_in, message, operator

pytestmark = pytest.mark.django_db
MOVING, DELIVERED, FAILED, DEAD = (
    MessageStatus.MOVING,
    MessageStatus.DELIVERED,
    MessageStatus.FAILED,
    MessageStatus.DEAD,
)


def unnamed(key: str, **columns: Any) -> DeadLetter:
    """Return a dead letter that names no message, as those of Kafka."""
    letter = stored_letter(id=f"orders-{uuid4()}", origin="orders", keys={"order_no": key}, message_id="")
    assert (letter.message_uid, letter.flow) == (None, flow())
    if "resolution" in columns:
        columns |= {"state": "closed", "closed_at": datetime.now(UTC)}
    DeadLetter.objects.filter(pk=letter.pk).update(**columns)
    return letter


def test_a_dead_letter_that_names_no_message_decides_as_a_message_would():
    failed, replayed = unnamed("1"), unnamed("2", resolution="processed")
    message("3", MOVING)
    died, _ = unnamed("3"), unnamed("4", resolution="discarded")
    message("5"), unnamed("5")
    unnamed("6"), unnamed("6")
    DeadLetter.objects.filter(pk=unnamed("7").pk).update(keys={})
    unnamed("8"), unnamed("9")
    DeadLetter.objects.filter(keys={"order_no": "9"}).update(id=uuid7_floor(datetime.now(UTC) - timedelta(hours=25)))
    later = unnamed("10")

    one = compared("1\n2\n3\n4\n5\n6\n7\n9\n")

    assert keys_in(one, "processed") == ["2", "5"]
    assert keys_in(one, "failed") == ["1", "3", "4", "6"]
    assert keys_in(one, "never-seen") == ["7", "9"]
    assert keys_in(one, "not-on-the-list") == ["10", "8"]
    assert keys_in(one, "twice") == []
    assert (one.messages, one.without_key) == (2, 0)
    decided = {row.key: (row.message_uid, row.letter_id, row.messages) for row in every_key(one)}
    letters = {"1": failed, "2": replayed, "3": died, "10": later}
    assert {key: decided[key] for key in letters} == {key: (None, one.pk, 1) for key, one in letters.items()}
    assert decided["5"][1] is None


def test_a_dead_letter_that_came_after_the_period_decides_about_a_key_that_was_seen_in_it():
    now = datetime.now(UTC)
    period = {"since": now - timedelta(hours=49), "until": now - timedelta(hours=25)}
    inside = uuid7_floor(now - timedelta(hours=26))
    for key, status in (("1", MOVING), ("2", MOVING), ("3", DELIVERED)):
        message(key, status, at=now - timedelta(hours=30))
    died, replayed, _ = unnamed("1"), unnamed("2", resolution="processed"), unnamed("3")
    DeadLetter.objects.filter(pk=unnamed("4", resolution="failed_again").pk).update(id=inside)
    again = unnamed("4", resolution="processed", previous_id=inside)
    unnamed("5")

    one = compared("1\n2\n3\n4\n5\n", **period)

    assert keys_in(one, "processed") == ["2", "3", "4"]
    assert keys_in(one, "failed") == ["1"]
    assert keys_in(one, "never-seen") == ["5"]
    assert keys_in(one, "not-on-the-list") == []
    decided = {row.key: (row.letter_id, row.messages) for row in every_key(one)}
    assert decided == {"1": (died.pk, 1), "2": (replayed.pk, 1), "3": (None, 1), "4": (again.pk, 1), "5": (None, 0)}
    assert (one.messages, one.without_key) == (3, 0)


def test_of_what_failed_alike_the_dead_letter_decides_that_can_be_sent_again():
    message("1", FAILED)
    undone, dead = message("2", MessageStatus.COMPENSATED), message("3", DEAD)
    first, _, _ = unnamed("1"), unnamed("2"), unnamed("3")

    one = compared("1\n2\n3\n")

    decided = {row.key: (row.message_uid, row.letter_id, row.messages) for row in every_key(one, SETS["failed"])}
    assert decided == {"1": (None, first.pk, 1), "2": (undone, None, 1), "3": (dead, None, 1)}


def test_a_comparison_that_a_version_before_began_is_ended_by_this_one():
    uid, one = message("1"), begun()
    receive_list(one, [b"1\n"], by=operator())
    claimed = claim()
    assert claimed is not None
    while claimed.steps_done < claimed.steps - 1:
        do_step(claimed)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE messaging_reconciliation_seen SET best = left(best, 1) || right(best, 36)")

    do_step(claimed)

    one.refresh_from_db()
    assert [row.message_uid for row in every_key(one)] == [uid]


def test_what_a_version_before_is_comparing_at_the_upgrade_begins_anew_and_knows_of_letters():
    unnamed("1")
    receive_list(begun(), [b"1\n"], by=operator())
    claimed = claim()
    assert claimed is not None
    while claimed.steps_done < claimed.steps - 1:
        do_step(claimed)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM messaging_reconciliation_seen")  # it saw no letters
        cursor.execute(import_module("messages.migrations.0044_reconciled_letters").ANEW)

    with pytest.raises(Lost):
        do_step(claimed)
    reconcile()

    assert keys_in(Reconciliation.objects.get(), "failed") == ["1"]
