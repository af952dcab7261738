"""What a group says of its failures: whom they touch, their share, its title, whether it grows. On the real PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from console.audit.models import AuditEntry
from messages.groups import refresh, standing
from messages.groups.present import reach_said, sentence_of
from messages.groups.queries import count_failing
from messages.groups.refresh import refresh_groups
from messages.groups.services import change_state, merge_groups, take_apart
from messages.groups.sweep import sweep_groups
from messages.models import DeadLetter, FailureGroup, GroupHour, Message
from tests.factories import ROOT, agent_key, environment, push
from tests.services.grouping import failed_event, merged, push_letters, silent_letter, timeout

pytestmark = pytest.mark.django_db


def test_a_title_has_no_words_of_another_failure_of_the_message_that_came_before():
    """The agent that saw the second failure pushed first: that is what the message is told by, and its group is of the first one."""
    first, then = (datetime.now(UTC) - timedelta(minutes=ago) for ago in (9, 5))
    refused = {"error": {"type": "Refused", "message": "erp refused it", "stack": ""}}
    push("/ingest/v1/events", [failed_event(1, id="then", occurred_at=then.isoformat())], key=agent_key())
    push("/ingest/v1/events", [failed_event(1, id="first", occurred_at=first.isoformat()) | refused], key=agent_key())
    sweep_groups()

    refresh_groups()

    assert [group.heading for group in FailureGroup.objects.all()] == ["Refused: erp refused it"]


def test_the_figures_follow_what_waits_and_whom_it_touches():
    letters = push_letters(*(timeout(number) for number in range(4)))
    push("/ingest/v1/events", [failed_event(9)], key=agent_key())
    sweep_groups()
    DeadLetter.objects.filter(pk=letters[0].pk).update(state="replaying", keys={**letters[0].keys, "amount": "12,500"})

    refresh_groups()
    group = FailureGroup.objects.get()
    assert (group.amounts_partial, reach_said(group)) == (True, "5 orders of at least 2 customers, at least 30")
    assert (group.letters, group.replaying, group.failed, group.customers, group.documents, group.word, group.amounts) == (
        4, 1, 1, 2, 5, "order", {"": "30"},
    )  # fmt: skip
    assert group.oldest_at == min(one.failed_at for one in [*letters, *Message.objects.exclude(failed_at=None)])
    assert refresh_groups(now=datetime.now(UTC) + timedelta(seconds=1)) == 0

    DeadLetter.objects.update(state="closed", resolution="discarded", closed_at=datetime.now(UTC))
    Message.objects.update(status=1)
    refresh_groups(now=datetime.now(UTC) + timedelta(minutes=1))

    group = FailureGroup.objects.get()
    assert (group.waiting, group.blast, group.oldest_at, group.spread_words, group.title) == (
        0, 0, None, "", "erp did not answer order … in 30 s",
    )  # fmt: skip


def test_failures_that_name_no_document_are_told_and_ranked_beside_the_one_that_does():
    nameless: dict[str, Any] = {"keys": {}, "body": "{}"}
    vat = {"type": "DataError", "message": "vat is missing"}
    push_letters(timeout(1), *(timeout(number, **nameless) for number in range(2, 5)))
    push("/ingest/v1/events", [failed_event(9) | {"keys": {}}], key=agent_key())
    push_letters(*(timeout(number, **nameless, error=vat) for number in range(6, 8)))
    sweep_groups()
    before = ranked()

    refresh_groups()

    said = [
        ("ErpTimeout", "5 failures, at least 1 order of at least 1 customer, at least 10", True),
        ("DataError", "2 failures", False),
    ]
    assert before[0][0] == "ErpTimeout"
    assert ranked() == said


def ranked() -> list[tuple[str, str, bool]]:
    groups = FailureGroup.objects.order_by("-blast")
    return [(one.error_type, reach_said(one), one.is_least) for one in groups]


def test_what_failed_earlier_and_comes_later_makes_its_group_older():
    now = datetime.now(UTC)
    push_letters(timeout(1, failed_at=now.isoformat()))
    push_letters(timeout(2, failed_at=(now - timedelta(hours=3)).isoformat()))

    refresh_groups()
    assert FailureGroup.objects.get().first_seen_at == now - timedelta(hours=3)
    push("/ingest/v1/events", [failed_event(3, occurred_at=(now - timedelta(hours=5)).isoformat())], key=agent_key())
    sweep_groups()

    assert FailureGroup.objects.get().first_seen_at == now - timedelta(hours=5)


def fail_and_pass_again(count: int, *, passed: int, sent: datetime) -> None:
    """Messages that fail for one reason; the newest pass when they are tried again."""
    events = [
        failed_event(number, occurred_at=(sent + timedelta(seconds=number)).isoformat()) for number in range(count)
    ]
    push("/ingest/v1/events", events, key=agent_key())
    sweep_groups()
    refresh_groups()
    later = [one | {"outcome": "ok", "occurred_at": datetime.now(UTC).isoformat()} for one in events[count - passed :]]
    for one in later:
        one.pop("error")
        one["id"] = f"again {one['message_id']}"
    assert push("/ingest/v1/events", later, key=agent_key()).json()["accepted"] == passed


@pytest.mark.parametrize("page", [2, 3, 6, 10])
def test_messages_that_failed_count_though_many_newer_ones_of_their_cause_were_delivered_after_all(
    monkeypatch: pytest.MonkeyPatch, page: int
):
    now = datetime.now(UTC)
    fail_and_pass_again(10, passed=6, sent=now - timedelta(hours=2))
    monkeypatch.setattr(standing, "MOST_WALKED", page)

    refresh_groups(now=now + timedelta(minutes=1))

    group = FailureGroup.objects.get()
    assert (group.failed, group.documents, group.capped) == (4, 4, False)


def test_a_cause_that_is_too_large_to_look_through_does_not_leave_the_list_as_though_nothing_waited(
    monkeypatch: pytest.MonkeyPatch,
):
    """Until nothing is counted of the last day: then nothing of it can stand any more that failed once."""
    now = datetime.now(UTC)
    fail_and_pass_again(10, passed=8, sent=now - timedelta(hours=2))
    monkeypatch.setattr(standing, "MOST_WALKED", 3)
    monkeypatch.setattr(standing, "MOST_PAGES", 1)

    def said(after: timedelta) -> tuple[int, bool, int, str, int]:
        refresh_groups(now=now + after)
        group = FailureGroup.objects.get()
        return group.failed, group.capped, group.blast, reach_said(group), count_failing(ROOT, environment())

    few = said(timedelta(minutes=1))
    monkeypatch.setattr(standing, "MOST_PAGES", 2)
    enough = said(timedelta(minutes=2))
    monkeypatch.setattr(standing, "MOST_PAGES", 1)
    later = said(timedelta(hours=26))

    unknown = "more failed than was looked through, and some of it may wait"
    assert few == (0, True, 1, unknown, 1)
    assert enough == (1, True, 1_000_001_000_001, "at least 1 order", 1)
    assert later == (0, True, 0, "nothing waits", 0)


def test_a_whole_was_seen_first_and_last_when_its_parts_were_and_what_is_left_when_its_own_failures_were():
    now = datetime.now(UTC)

    def ago(hours: int) -> datetime:
        return now - timedelta(hours=hours)

    def failed(number: int, kind: str, hours: int) -> FailureGroup:
        error = {"type": kind, "message": kind}
        (one,) = push_letters(timeout(number, error=error, failed_at=ago(hours).isoformat()))
        return FailureGroup.objects.get(pk=one.group_id)

    def seen(group: FailureGroup) -> tuple[datetime, datetime]:
        refresh_groups()
        group.refresh_from_db()
        return group.first_seen_at, group.last_seen_at

    whole, old, new = failed(1, "Whole", 5), failed(2, "Old", 50), failed(3, "New", 2)
    DeadLetter.objects.update(state="closed", resolution="discarded", closed_at=now)
    merge_groups(whole, [old, new], by=ROOT, reason="one cause")
    assert (seen(whole), seen(old), seen(new)) == ((ago(50), ago(2)), (ago(50), ago(50)), (ago(2), ago(2)))

    take_apart(old, by=ROOT, reason="another cause")
    of_whole = ago(5).replace(minute=0, second=0, microsecond=0)
    assert (seen(whole), seen(old)) == ((of_whole, ago(2)), (ago(50), ago(50)))
    take_apart(new, by=ROOT, reason="another cause")

    assert (seen(whole), seen(new)) == ((of_whole, ago(5)), (ago(2), ago(2)))


@pytest.mark.parametrize("is_apart", [False, True])
def test_a_merge_and_a_taking_apart_while_figures_are_read_are_not_lost_though_none_were_read_before(
    is_apart: bool, monkeypatch: pytest.MonkeyPatch
):
    now = datetime.now(UTC)
    days_ago = now - timedelta(days=3)
    (whole,) = push_letters(timeout(1, failed_at=now.isoformat()))
    (part,) = push_letters(timeout(2, failed_at=days_ago.isoformat(), error={"type": "V", "message": "v"}))
    DeadLetter.objects.update(state="closed", resolution="discarded", closed_at=now)
    refresh_groups()

    def group(pk: int | None) -> FailureGroup:
        return FailureGroup.objects.get(pk=pk)

    def merge() -> None:
        merge_groups(group(whole.group_id), [group(part.group_id)], by=ROOT, reason="one cause")

    if is_apart:
        merge()
        refresh_groups()
    FailureGroup.objects.update(figures_at=None)
    read = refresh.hours_of

    def meanwhile(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(refresh, "hours_of", read)
        take_apart(group(part.group_id), by=ROOT, reason="another") if is_apart else merge()
        return read(*args, **kwargs)

    monkeypatch.setattr(refresh, "hours_of", meanwhile)
    refresh_groups()
    refresh_groups()

    assert (group(whole.group_id).first_seen_at > now - timedelta(days=1)) == is_apart


def test_a_part_that_failed_while_another_spoke_for_it_was_last_seen_then():
    now = datetime.now(UTC)
    died = {"failed_at": (now - timedelta(hours=9)).isoformat()}
    [one] = push_letters(timeout(1, **died))
    [other] = push_letters(timeout(2, error={"type": "ValueError", "message": "vat"}, **died))
    whole, part = FailureGroup.objects.get(pk=one.group_id), FailureGroup.objects.get(pk=other.group_id)
    DeadLetter.objects.update(state="closed", resolution="discarded", closed_at=now)
    merge_groups(whole, [part], by=ROOT, reason="one cause")
    again = failed_event(3, occurred_at=now.isoformat()) | {"error": {"type": "ValueError", "message": "vat"}}
    push("/ingest/v1/events", [again], key=agent_key())
    sweep_groups()
    part.refresh_from_db()

    take_apart(part, by=ROOT, reason="two causes")

    part.refresh_from_db()
    whole.refresh_from_db()
    assert (part.last_seen_at, whole.last_seen_at) == (now, now - timedelta(hours=9))


def test_what_is_left_after_taking_a_part_out_does_not_fail_still_because_the_part_does():
    now = datetime.now(UTC).replace(minute=40, second=0, microsecond=0) - timedelta(hours=1)

    def failed(number: int, kind: str, minutes: int) -> FailureGroup:
        at = (now - timedelta(minutes=minutes)).isoformat()
        (one,) = push_letters(timeout(number, error={"type": kind, "message": kind}, failed_at=at))
        return FailureGroup.objects.get(pk=one.group_id)

    whole, part = failed(1, "Whole", 34), failed(2, "Part", 1)
    sent = failed_event(3, occurred_at=(now - timedelta(minutes=20)).isoformat())
    push("/ingest/v1/events", [sent | {"error": {"type": "Whole", "message": "Whole"}}], key=agent_key())
    sweep_groups()
    DeadLetter.objects.update(state="closed", resolution="discarded", closed_at=now)
    Message.objects.update(status=1)
    merge_groups(whole, [part], by=ROOT, reason="one cause")
    refresh_groups()
    part.refresh_from_db()

    take_apart(part, by=ROOT, reason="two causes")

    refresh_groups()
    for group, quiet in ((whole, "the last one failed 20 min ago"), (part, "it still fails")):
        group.refresh_from_db()
        assert quiet in sentence_of(group, now=now)


def test_what_is_tried_again_and_again_without_a_letter_still_fails_and_takes_its_times_along_when_it_is_taken_apart():
    now = datetime.now(UTC)

    def ago(**time: float) -> datetime:
        return now - timedelta(**time)

    tried = [failed_event(1, id=f"try {at}", occurred_at=ago(minutes=at).isoformat()) for at in (180, 120, 60, 1)]
    push("/ingest/v1/events", tried, key=agent_key())
    (letter,) = push_letters(timeout(2, failed_at=ago(hours=8).isoformat(), error={"type": "V", "message": "v"}))
    sweep_groups()
    refresh_groups()
    whole = FailureGroup.objects.get(pk=letter.group_id)
    part = FailureGroup.objects.exclude(pk=whole.pk).get()
    assert (part.failed, part.first_seen_at, part.last_seen_at) == (1, ago(minutes=180), ago(minutes=1))
    assert "it still fails" in sentence_of(part, now=now)

    merge_groups(whole, [part], by=ROOT, reason="one cause")
    refresh_groups()
    whole.refresh_from_db()
    assert whole.last_seen_at == ago(minutes=1)

    part.refresh_from_db()
    take_apart(part, by=ROOT, reason="two causes")
    refresh_groups()
    whole.refresh_from_db()
    part.refresh_from_db()
    assert (whole.last_seen_at, part.last_seen_at) == (ago(hours=8), ago(minutes=1))


def test_a_title_keeps_the_values_that_all_of_them_share():
    push_letters(timeout(1, error={"type": "E", "message": "erp:8443 did not answer in 30 s"}))
    push_letters(timeout(2, error={"type": "E", "message": "erp:8443 did not answer in 30 s"}))
    refresh_groups()
    assert FailureGroup.objects.get().title == "erp:8443 did not answer in 30 s"

    push_letters(timeout(3, error={"type": "E", "message": "erp:8444 did not answer in 30 s"}))
    refresh_groups()

    assert FailureGroup.objects.get().title == "… did not answer in 30 s"


def test_a_whole_is_called_by_its_own_failures_whatever_it_speaks_for():
    push("/ingest/v1/events", [failed_event(number) for number in range(60)], key=agent_key())
    sweep_groups()
    (away,) = FailureGroup.objects.all()
    vat = push_letters(*(without_a_vat(number) for number in range(4)))[0].group
    refresh_groups()
    before = headings(away, vat)
    assert before == [
        "ErpTimeout: erp did not answer order … in 30 s",
        "DataError: customer.vat is missing for customer …",
    ]

    merged(away, [vat])
    refresh_groups()
    push_letters(*(without_a_vat(number) for number in range(4, 60)))
    refresh_groups()
    grown = headings(away)
    Message.objects.update(status=1)
    refresh_groups(now=datetime.now(UTC) + timedelta(minutes=1))
    alone = headings(away)
    take_apart(FailureGroup.objects.get(pk=vat.pk), by=ROOT, reason="two causes")
    refresh_groups()

    assert grown == alone == before[:1]
    assert headings(away, vat) == before


def test_a_whole_is_called_by_its_own_failures_though_those_it_speaks_for_have_the_same_form():
    [own] = push_letters(timeout(1))
    [other] = push_letters(timeout(2, error={"type": "OtherTimeout", "message": "erp did not answer order 2 in 30 s"}))
    assert own.group is not None
    assert other.group is not None

    merged(own.group, [other.group])
    refresh_groups()

    assert headings(own.group) == ["ErpTimeout: erp did not answer order 1 in 30 s"]


def without_a_vat(number: int) -> dict[str, Any]:
    return timeout(number, error={"type": "DataError", "message": f"customer.vat is missing for customer K-{number}"})


def headings(*groups: FailureGroup) -> list[str]:
    return [FailureGroup.objects.get(pk=one.pk).heading for one in groups]


def test_a_title_is_of_what_has_the_form_of_its_group_and_not_of_a_letter_that_says_nothing_of_its_error():
    push("/ingest/v1/events", [failed_event(1)], key=agent_key())
    sweep_groups()
    (stored,) = push_letters(silent_letter() | {"reason": "expired"})
    refresh_groups()

    (group,) = FailureGroup.objects.all()
    assert (stored.group_id, group.heading) == (group.pk, "ErpTimeout: erp did not answer order 1 in 30 s")


def test_a_title_of_several_forms_that_an_earlier_release_wrote_is_put_right():
    (one,) = push_letters(timeout(1))
    FailureGroup.objects.update(title="order …: customer.vat is missing for customer …")
    DeadLetter.objects.update(state="closed", resolution="discarded", closed_at=datetime.now(UTC))

    refresh_groups()

    assert headings(one.group) == ["ErpTimeout: erp did not answer order … in … s"]


def test_a_group_that_grows_escalates_even_when_somebody_took_it_and_calms_when_nothing_comes():
    now = datetime.now(UTC)
    push_letters(*(timeout(number) for number in range(12)))
    FailureGroup.objects.update(first_seen_at=now - timedelta(hours=9), state="acknowledged")
    GroupHour.objects.update(hour=now.replace(minute=0, second=0, microsecond=0))

    refresh_groups()
    assert FailureGroup.objects.get().state == "escalating"
    refresh_groups(now=now + timedelta(hours=4))

    assert FailureGroup.objects.get().state == "open"
    assert list(AuditEntry.objects.filter(object_kind="failuregroup").order_by("id").values_list("action", flat=True)) == [
        "group.escalated", "group.calmed",
    ]  # fmt: skip


def test_who_takes_a_group_that_escalated_keeps_it_until_its_failures_have_doubled():
    now = datetime.now(UTC)
    push_letters(*(timeout(number) for number in range(12)))
    FailureGroup.objects.update(first_seen_at=now - timedelta(hours=9))
    GroupHour.objects.update(hour=now.replace(minute=0, second=0, microsecond=0))
    refresh_groups()
    group = FailureGroup.objects.get()
    assert change_state(group, "acknowledge", by=ROOT).state == "acknowledged"

    for more, state in ((1, "acknowledged"), (12, "escalating")):
        push_letters(*(timeout(100 * more + number) for number in range(more)))
        refresh_groups()
        assert FailureGroup.objects.get().state == state
