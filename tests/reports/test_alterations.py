"""A promise that was changed or removed since the period began is not told as if it had always been so."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine

from alerts.models import Objective
from alerts.objectives.services import add_objective, change_objective, remove_objective
from alerts.objectives.wishes import NewObjective
from alerts.reports.content import Cadence, Content, as_json, from_json
from alerts.reports.face import face_of
from alerts.reports.gathering import gather
from alerts.reports.making import told_of
from alerts.reports.periods import last_period
from alerts.reports.rendering import render
from console.audit.services import record_audit
from console.identity.models import Role, Team
from messages.models import SavedSearch
from tests.factories import ROOT, actor, person
from tests.objectives.stored import HOUR, looked, message, promised, rolled
from tests.reports.stored import audience, gathered
from tests.services.reconciling import flow

pytestmark = pytest.mark.django_db
AT = datetime(2026, 11, 1, 6, tzinfo=UTC)
OCTOBER = last_period(Cadence.MONTHLY, "Europe/Berlin", AT)
MADE, THIRD, TENTH = (datetime(2026, month, day, 9, tzinfo=UTC) for month, day in ((9, 3), (10, 3), (10, 10)))


def made(name: str = "A", *, at: datetime = MADE, **said: Any) -> Objective:
    with time_machine.travel(at, tick=False):
        return promised(name, now=at, **said)


def changed(one: Objective, at: datetime, **said: Any) -> None:
    wish = {"name": one.name, "kind": "success", "target": "0.99"} | said
    with time_machine.travel(at, tick=False):
        change_objective(one, NewObjective(**wish), by=ROOT, now=at)


def removed(one: Objective, at: datetime) -> None:
    with time_machine.travel(at, tick=False):
        remove_objective(one, by=ROOT)


def october(**said: Any) -> Content:
    return gathered(OCTOBER, now=AT, **said)


@pytest.mark.parametrize(
    ("first", "then", "at", "said"),
    [
        (MADE, {"target": "0.999"}, datetime(2026, 10, 20, 9, tzinfo=UTC), "Changed on 20 October 11:00: promised 99.9\u00a0% (was 99.95\u00a0%)."),
        (MADE, {"target": "0.99"}, datetime(2026, 11, 1, 2, tzinfo=UTC), "Changed on 1 November 03:00: promised 99\u00a0% (was 99.95\u00a0%)."),
        (THIRD, {"target": "0.99"}, datetime(2026, 10, 20, 9, tzinfo=UTC), "Changed on 20 October 11:00: promised 99\u00a0% (was 99.95\u00a0%)."),
    ],
    ids=["in the period", "between the period and the report", "made in the period"],
)  # fmt: skip
def test_a_changed_target_is_told_whenever_it_was_changed_since_the_period_began(first, then, at, said):
    one = made(at=first, target="0.9995")
    rolled(TENTH, 995, 5)
    changed(one, at, **then)
    looked(AT)

    content = october()

    assert content.promises[0].target_before == 0.9995
    assert content.promises[0].changed == (said,)
    assert face_of(content).promises[0].promised.endswith(", was 99.95\u00a0%")
    assert "It was changed since the period began." in face_of(content).verdict
    assert "(one changed)" in face_of(content).subject


def test_a_changed_limit_stands_in_mail_text_paper_and_table():
    one = made(kind="freshness", target="0.99", limit_minutes=5)
    for number in range(100):
        message(TENTH, took=timedelta(minutes=20 if number < 20 else 1))
    looked(AT - 2 * HOUR)
    assert face_of(october()).verdict == "The promise was missed."
    changed(one, datetime(2026, 10, 30, 14, tzinfo=UTC), kind="freshness", target="0.99", limit_minutes=60)
    looked(AT)

    content = october()
    mail = render(content, open_url="https://waybill.example/r", stop_url="https://waybill.example/s")

    said = "Changed on 30 October 15:00: limit 1 h (was 5 min)."
    assert face_of(content).verdict == "The promise was kept. It was changed since the period began."
    assert said in mail.html
    assert said in " ".join(mail.text.split())
    assert said in next(body for name, _, body in mail.attachments if name.endswith(".csv")).decode()
    assert said in face_of(content).promises[0].detail  # of which the PDF is set
    assert from_json(as_json(content)) == content


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ({"kind": "freshness", "limit_minutes": 5}, {}, "kind success (was freshness), no more limit 5 min, no more lost after 1 d"),
        ({"days": 30}, {"unit": "month", "time_zone": "Europe/Berlin"}, "window a calendar month (was over 30 days), time zone Europe/Berlin"),
        (
            {}, {"method": "timeslices", "slice_minutes": 5},
            "counted by time slices (was by events), slices of 5 min, a slice is good from 95\u00a0%, slices without messages are left out",
        ),
        (
            {"kind": "volume", "at_least": 5000, "limit_minutes": 60, "work_days": (1, 2, 3, 4, 5)},
            {"kind": "volume", "at_least": 10, "limit_minutes": 0, "work_days": (1, 3), "from_minute": 480, "holidays": ("2026-12-25",)},
            "a period of a working day (was 1 h), at least in a period 10 (was 5,000), "
            "working days Mon, Wed (was Mon to Fri), from 08:00 (was 00:00), holidays 1 (was 0)",
        ),
    ],
    ids=["kind", "window", "method", "volume"],
)  # fmt: skip
def test_every_term_of_a_promise_is_told(before, now, said):
    days = {"holidays": tuple(map(date.fromisoformat, now["holidays"]))} if "holidays" in now else {}
    one = made(**before)
    changed(one, TENTH, **(now | days))

    assert october().promises[0].changed == (f"Changed on 10 October 11:00: {said}.",)


def test_what_changes_nothing_of_a_promise_is_not_told_nor_what_was_changed_before():
    one = made(target="0.999")
    changed(one, datetime(2026, 9, 20, tzinfo=UTC), target="0.99")
    changed(one, TENTH, target="0.99", description="other words", guarded=False)

    content = october()

    assert (content.promises[0].changed, content.promises[0].target_before) == ((), None)
    assert "changed" not in face_of(content).verdict


def test_of_many_changes_the_newest_are_told_and_the_target_before_the_first():
    one = made(target="0.9")
    for number in range(8):
        changed(one, TENTH + number * HOUR, target=f"0.9{number + 1}")

    told = october().promises[0]

    assert (told.target_before, told.target) == (0.9, 0.98)
    assert told.changed[:2] == (
        "3 changes before that.",
        "Changed on 10 October 14:00: promised 94\u00a0% (was 93\u00a0%).",
    )
    assert len(told.changed) == 6


def test_an_entry_of_before_the_upgrade_says_what_can_be_known_of_it():
    one = made(target="0.999", kind="freshness", limit_minutes=5)
    Objective.objects.update(target="0.99", limit_minutes=60)
    with time_machine.travel(TENTH, tick=False):
        details = {
            "kind": "freshness",
            "target": "0.99000000",
            "window": "rolling 30",
            "changed": ["target", "limit_minutes"],
        }
        record_audit(ROOT, "objective.changed", one, environment=one.environment, details=details)

    assert october().promises[0].changed == (
        "Changed on 10 October 11:00: promised 99\u00a0% (was 99.9\u00a0%), limit (what it was is not known any more).",
    )


def test_numbers_and_days_of_a_change_are_those_of_the_language():
    one = made(target="0.995", kind="latency", limit_ms=1024)
    changed(one, TENTH, target="0.999", kind="latency", limit_ms=2048)

    told = october(language="de-DE").promises[0].changed

    assert told == (
        "Changed on 10. Oktober 11:00: promised 99,9\u00a0% (was 99,5\u00a0%), limit 2.048 ms (was 1.024 ms).",
    )


# removed -------------------------------------------------------------------------------------------------------------
def test_a_promise_that_was_removed_after_the_period_is_named_with_what_is_known_of_it():
    gone = made("A", target="0.99")
    made("B", target="0.5")
    rolled(TENTH, 900, 100)
    looked(AT - 5 * HOUR)
    assert face_of(october()).verdict.startswith("One of two promises was kept. “A” was missed")
    removed(gone, datetime(2026, 11, 1, 2, tzinfo=UTC))

    content = october()
    face = face_of(content)
    mail = render(content, open_url="https://waybill.example/r", stop_url="https://waybill.example/s")

    said = (
        "“A” (success, 99\u00a0%, over 30 days) was removed on 1 November 03:00, and its figures went with it; "
        "in its window it had attained 90.00\u00a0% by then."
    )
    assert face.verdict == "The promise was kept. “A” was removed on 1 November 03:00."
    assert face.subject == "Order team: promise kept (one removed) in October 2026"
    assert face.removed == said
    assert said.replace("\u00a0", "&nbsp;") in mail.html
    assert said in mail.text.replace("\n", " ")
    assert said in next(body for name, _, body in mail.attachments if name.endswith(".csv")).decode()
    assert told_of(content) == ([flow().pk], [])
    assert from_json(as_json(content)) == content


def test_where_every_promise_was_removed_it_is_not_said_that_nothing_was_promised():
    removed(made("A"), TENTH)

    assert face_of(october()).verdict == "“A” was removed on 10 October 11:00."
    assert face_of(october()).removed.endswith("was removed on 10 October 11:00, and its figures went with it.")


def test_what_was_removed_before_the_period_or_made_after_it_is_not_told():
    removed(made("A"), datetime(2026, 9, 20, tzinfo=UTC))
    removed(made("B", at=datetime(2026, 11, 1, 2, tzinfo=UTC)), datetime(2026, 11, 1, 3, tzinfo=UTC))

    assert october().removed == ()


def test_removed_promises_are_told_to_those_who_could_see_them_and_of_what_the_report_is_about():
    teams = {name: Team.objects.create(name=name) for name in ("Order team", "Invoice team")}
    for number, (name, of) in enumerate((("A", "orders"), ("B", "invoices"))):
        team = teams["Order team" if of == "orders" else "Invoice team"]
        whose = flow(of)
        whose.team = team
        whose.save(update_fields=["team"])
        removed(made(name, of=whose), TENTH + number * HOUR)
    ann = actor(person("ann", Role.OPERATOR, team="Order team"))

    assert [one.name for one in october(by=ann).removed] == ["A"]
    assert [one.name for one in october().removed] == ["A", "B"]
    assert [one.name for one in october(flow_ids=(flow("invoices").pk,)).removed] == ["B"]
    assert october(by=ann, flow_ids=(flow("invoices").pk,)).removed == ()


def test_nobody_is_told_of_a_removed_promise_on_a_search_and_everybody_keeps_the_report():
    ada, max_ = person("ada", Role.OPERATOR), person("max", Role.OPERATOR)
    search = SavedSearch.objects.create(
        environment=flow().environment, owner=ada, of="messages", name="Big ones", q="size:big"
    )
    wish = NewObjective(name="Big ones", kind="freshness", target="0.9", limit_minutes=15)
    with time_machine.travel(MADE, tick=False):
        one = add_objective(wish, search=search, by=actor(ada), now=MADE)
    removed(one, TENTH)

    assert october(by=actor(max_)).removed == october(by=actor(ada)).removed == october().removed == ()
    assert told_of(october(by=actor(ada))) == ([], [])


def test_a_revision_tells_of_removed_promises_that_the_first_report_had_and_of_no_other():
    first, other = made("A"), made("B")
    pk = first.pk
    removed(first, TENTH)
    removed(other, TENTH)

    content = gather(audience(), OCTOBER, actor=ROOT, now=AT, promised={pk})

    assert [one.name for one in content.removed] == ["A"]


def test_of_many_removed_promises_the_mail_names_six():
    for number in range(9):
        removed(made(f"A{number}"), TENTH + number * HOUR)

    face = face_of(october())

    assert face.removed.count("was removed") == 6
    assert face.removed.endswith(" 3 more were removed. The CSV has them all.")
    assert face.verdict == "“A0”, “A1” and seven more were removed."
