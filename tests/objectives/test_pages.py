"""Objectives on pages: the list, one, the form, excluded periods, OpenSLO, what if; and who may do what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from alerts.models import Exclusion, Objective
from alerts.objectives import assess
from alerts.objectives.present import verdict
from console.audit.models import AuditEntry
from console.identity.models import Role, Team
from messages.models import Flow, SavedSearch
from tests.factories import environment
from tests.objectives.stored import HOUR, MINUTE, looked, promised, rolled
from tests.pages.people import signed_in, text_of
from tests.services.reconciling import flow

pytestmark = pytest.mark.django_db
HOSTILE = '<script>alert("1")</script>'


def now() -> datetime:
    return datetime.now(UTC)


def form(**changes: Any) -> dict[str, Any]:
    return {
        "about": "flow:orders", "name": "Orders succeed", "kind": "success", "target": "99.5", "unit": "rolling", "days": "2", "time_zone": "UTC",
        "method": "occurrences", "slice_minutes": "1", "slice_target": "95", "limit_ms": "4096", "pairs": ["auto"], "guarded": "on", "exhausted": "on",
        "days_of_week": ["1"], "opens": "08:00", "closes": "18:00",
    } | changes  # fmt: skip


def a_burning_one(name: str = "Orders succeed") -> Objective:
    rolled(now() - 30 * HOUR, 100, minutes=29 * 60)
    rolled(now() - HOUR, 0, 100, minutes=61)
    one = promised(name, now=now(), target="0.99")
    looked(now())
    return one


def test_an_empty_list_says_the_next_step_and_has_a_line_to_paste():
    flow()
    client = signed_in("ada", Role.OPERATOR)

    page = client.get("/objectives/")

    assert "Nothing is promised yet" in text_of(page)
    assert b"/api/v1/objectives" in page.content
    assert b'href="/objectives/new/"' in page.content


def test_a_promise_is_made_listed_changed_and_removed():
    flow()
    client = signed_in("ada", Role.OPERATOR)
    assert client.get("/objectives/new/?flow=orders").status_code == 200

    made = client.post("/objectives/new/", form())
    assert made.status_code == 303, text_of(made)
    one = Objective.objects.get()
    assert made["Location"] == f"/objectives/{one.pk}/"
    page = text_of(client.get(made["Location"]))
    assert "99.5 % of the attempts in orders succeed, over 2 days." in page
    assert "Nothing was measured yet" in page
    assert "Orders succeed" in text_of(client.get("/objectives/"))

    assert client.get(f"/objectives/{one.pk}/edit/").status_code == 200
    again = client.post(f"/objectives/{one.pk}/edit/", form(name="Orders <b>", target="99.95"))
    assert again.status_code == 303
    one.refresh_from_db()
    assert (one.name, str(one.target)) == ("Orders <b>", "0.99950000")
    assert b"Orders <b>" not in client.get(f"/objectives/{one.pk}/").content

    assert client.post(f"/objectives/{one.pk}/remove/", {"reason": "done"}).status_code == 303
    assert not Objective.objects.exists()
    assert list(AuditEntry.objects.filter(object_kind="objective").order_by("id").values_list("action", flat=True)) == [
        "objective.added", "objective.changed", "objective.removed",
    ]  # fmt: skip


def test_every_flow_can_be_chosen_however_many_there_are():
    where = flow().environment
    Flow.objects.bulk_create(Flow(environment=where, name=f"flow {number:04d}") for number in range(1_000))
    client = signed_in("ada", Role.OPERATOR)

    made = client.post("/objectives/new/", form(about="flow:flow 0999"))

    assert made.status_code == 303, text_of(made)
    assert '<option value="flow 0999" selected>' in client.get("/objectives/?flow=flow+0999").content.decode()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"target": "90", "days": "30", "pairs": ["1h-5m"]}, "can never fire"),
        ({"kind": "volume", "at_least": "5", "limit_minutes": "0", "opens": "x"}, "a time of day is written"),
        ({"kind": "volume", "at_least": "5", "limit_minutes": "0", "holidays": "Christmas"}, "a holiday is written"),
        ({"kind": "volume", "at_least": "5", "limit_minutes": "0", "days_of_week": []}, "at least one working day"),
        ({"target": "100"}, "between 0 and 100"),
        ({"target": "often"}, "number"),
        ({"about": "flow:another"}, "another"),
    ],
)
def test_what_cannot_be_is_said_in_the_form(changes: dict[str, Any], words: str):
    flow()
    client = signed_in("ada", Role.OPERATOR)

    answer = client.post("/objectives/new/", form(**changes))

    assert answer.status_code == 422
    assert words in text_of(answer).lower()
    assert not Objective.objects.exists()


def test_a_second_press_makes_no_second_promise():
    flow()
    client = signed_in("ada", Role.OPERATOR)
    client.post("/objectives/new/", form())

    assert "has an objective “Orders succeed” already" in text_of(client.post("/objectives/new/", form()))


def test_the_page_says_what_is_left_and_which_rule_fires():
    one = a_burning_one()
    client = signed_in("ada", Role.OPERATOR)

    page = text_of(client.get(f"/objectives/{one.pk}/"))
    part = client.get(f"/objectives/{one.pk}/", HTTP_HX_REQUEST="true")

    assert "The budget is spent : " in page or "The budget is spent: " in page
    assert "budget spent" in page
    assert "1 h and 5 min" in page
    assert "firing" in page
    assert "<html" not in part.content.decode()
    assert b'id="objective"' in part.content
    listed = text_of(client.get("/objectives/?show=risk"))
    assert "1 promise is being broken" in listed
    assert "No objective is like that" in text_of(client.get("/objectives/?show=kept"))
    what_if = text_of(client.get(f"/objectives/{one.pk}/what-if/"))
    assert "99 % now" in what_if


def test_the_list_is_paged_by_what_is_left():
    rolled(now() - 10 * MINUTE, 50, 50)
    bad, good = promised("Bad", now=now()), promised("Good", of=flow("another"), now=now())
    looked(now())
    client = signed_in("ada", Role.OPERATOR)

    from alerts.objectives.queries import find_objectives
    from tests.factories import ROOT

    first = find_objectives(ROOT, environments=[environment()], limit=1)
    second = find_objectives(ROOT, environments=[environment()], limit=1, cursor=first.next)

    assert [*first.rows, *second.rows] == [bad, good]
    assert second.next is None
    assert client.get("/objectives/?cursor=nonsense").status_code == 400


def test_a_period_is_excluded_once_however_often_it_is_pressed_and_counts_again():
    one = a_burning_one()
    client = signed_in("ada", Role.OPERATOR)
    out = {
        "token": "01234567-89ab-7def-8123-456789abcdef", "starts_at": f"{now() - 2 * HOUR:%Y-%m-%dT%H:%M}", "ends_at": f"{now() + 5 * MINUTE:%Y-%m-%dT%H:%M}",
        "category": "partner", "reason": HOSTILE, "rule": "", "time_zone": "UTC",
    }  # fmt: skip

    first = client.post(f"/objectives/{one.pk}/exclude/", out)
    second = client.post(f"/objectives/{one.pk}/exclude/", out)
    assess.assess(now())
    page = client.get(f"/objectives/{one.pk}/")

    assert (first.status_code, second.status_code) == (303, 303)
    [made] = Exclusion.objects.all()
    assert (made.minutes, made.objective_id, made.made_by) == (125, one.pk, "ada")
    assert b"<script>alert" not in page.content
    assert "kept" in text_of(page)
    assert client.post(f"/objectives/exclusions/{made.pk}/withdraw/", {"back": one.pk}).status_code == 303
    assess.assess(now())
    assert "budget spent" in text_of(client.get(f"/objectives/{one.pk}/"))
    wrong = client.post(f"/objectives/{one.pk}/exclude/", out | {"token": "", "rule": "FREQ=SECONDLY"})
    assert (wrong.status_code, "FREQ=DAILY" in text_of(wrong)) == (422, True)
    assert (
        client.post(f"/objectives/{one.pk}/exclude/", out | {"token": "", "ends_at": out["starts_at"]}).status_code
        == 422
    )


def test_a_form_that_says_something_else_by_now_or_of_what_counts_again_excludes_once_more():
    """After Back, a browser sends the token of the first time."""
    one = a_burning_one()
    client, at = signed_in("ada", Role.OPERATOR), now()
    out = {
        "token": "01234567-89ab-7def-8123-456789abcdef", "starts_at": f"{at - 2 * HOUR:%Y-%m-%dT%H:%M}", "ends_at": f"{at - HOUR:%Y-%m-%dT%H:%M}",
        "category": "partner", "reason": "carrier", "rule": "", "time_zone": "UTC",
    }  # fmt: skip

    client.post(f"/objectives/{one.pk}/exclude/", out)
    changed = out | {"ends_at": f"{at:%Y-%m-%dT%H:%M}"}
    for _ in range(2):  # a double press
        client.post(f"/objectives/{one.pk}/exclude/", changed)
    assert list(Exclusion.objects.order_by("pk").values_list("minutes", flat=True)) == [60, 120]
    client.post(f"/objectives/exclusions/{out['token']}/withdraw/")
    client.post(f"/objectives/{one.pk}/exclude/", out)

    assert sorted(Exclusion.objects.filter(withdrawn_at=None).values_list("minutes", flat=True)) == [60, 120]


def test_a_refused_exclusion_leaves_a_page_that_goes_on():
    one = a_burning_one()
    client = signed_in("ada", Role.OPERATOR)

    refused = client.post(f"/objectives/{one.pk}/exclude/", {"reason": ""})

    assert refused.status_code == 422
    [asked] = [part for part in refused.content.decode().split("<div ") if 'id="objective"' in part[:200]]
    assert f'hx-get="/objectives/{one.pk}/"' in asked


def test_what_slices_without_messages_change_is_shown_beside_the_raw_figure():
    rolled(now() - 5 * HOUR, 0, 10)
    one = promised(now=now(), days=1, target="0.9", method="timeslices", slice_minutes=60, empty_is_good=True)
    looked(now())
    client = signed_in("ada", Role.OPERATOR)
    out = {
        "starts_at": f"{now() - 20 * HOUR:%Y-%m-%dT%H:%M}", "ends_at": f"{now() - 8 * HOUR:%Y-%m-%dT%H:%M}",
        "category": "partner", "reason": "carrier", "rule": "", "time_zone": "UTC",
    }  # fmt: skip

    client.post(f"/objectives/{one.pk}/exclude/", out)
    assess.assess(now())
    one.refresh_from_db()

    assert one.standing.attained != one.standing.adjusted
    assert ", adjusted " in text_of(client.get(f"/objectives/{one.pk}/"))


def test_a_stricter_target_has_every_pair_that_can_fire_there_unless_somebody_chose():
    one = promised(now=now(), target="0.8")
    client = signed_in("ada", Role.OPERATOR)
    assert "1h-5m" not in one.pairs

    from tests.objectives.test_changing import as_a_browser_sends_it

    shown = client.get(f"/objectives/{one.pk}/edit/").context["form"]
    client.post(f"/objectives/{one.pk}/edit/", as_a_browser_sends_it(shown) | {"target": "99.9"})

    assert "1h-5m" in Objective.objects.get().pairs


def test_every_exclusion_can_be_reached_on_the_page():
    one = a_burning_one()
    for number in range(21):
        Exclusion.objects.create(
            environment=one.environment,
            objective=one,
            starts_at=now(),
            minutes=1,
            reason=f"night {number:02}",
            made_by="ada",
        )
    client = signed_in("ada", Role.OPERATOR)

    first = client.get(f"/objectives/{one.pk}/")
    [older] = [part for part in first.content.decode().split('"') if part.startswith("?cursor=")]
    second = client.get(f"/objectives/{one.pk}/{older}")

    assert "night 20" in text_of(first)
    assert "night 00" not in text_of(first)
    assert "night 00" in text_of(second)
    assert client.get(f"/objectives/{one.pk}/?cursor=x").status_code == 400


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_a_calendar_month_ends_with_its_last_day_in_every_zone(zone: str):
    at = datetime(2026, 11, 20, 12, tzinfo=UTC)
    rolled(at - HOUR, 995, 5)
    one = promised(unit="month", time_zone=zone, now=at)
    looked(at)

    assert verdict(one, Objective.objects.get().standing, now=at)["rest"] == ": 5 more failures until 30 Nov."


def test_openslo_is_looked_at_first_and_then_made():
    flow()
    client = signed_in("ada", Role.OPERATOR)
    text = (
        "apiVersion: openslo/v1\nkind: SLO\nmetadata: {name: orders}\nspec:\n  service: orders\n  budgetingMethod: Timeslices\n"
        "  timeWindow: [{duration: 1M, isRolling: true}]\n  objectives: [{target: 0.99, timeSliceTarget: 0.95, timeSliceWindow: 1m}]\n"
        "---\napiVersion: openslo/v1\nkind: SLO\nmetadata: {name: hidden}\nspec: {service: hidden, objectives: [{target: 0.9}]}\n"
    )

    looked_at = client.post("/objectives/import/", {"text": text, "do": "look"})
    none = Objective.objects.count()
    made = client.post("/objectives/import/", {"text": text, "do": "make"})
    given = client.get("/objectives/openslo.yaml")

    assert "can be made" in text_of(looked_at)
    assert "does not say what a slice without events is" in text_of(looked_at)
    assert "there is no such flow that you may see" in text_of(looked_at).lower()
    assert (none, Objective.objects.count()) == (0, 1)
    assert "made" in text_of(made)
    assert given["Content-Type"].startswith("application/yaml")
    assert b"waybill/flow: orders" in given.content
    assert client.post("/objectives/import/", {"text": "a: [", "do": "look"}).status_code == 422


def test_who_may_look_and_who_may_change():
    hidden = flow("secret", team=Team.objects.create(name="Others"))
    mine = flow("orders", team=Team.objects.get_or_create(name="Order team")[0])
    one, other = promised(of=mine, now=now()), promised("Hidden", of=hidden, now=now())
    operator, viewer, stranger = (
        signed_in("ada", Role.OPERATOR),
        signed_in("vic", Role.VIEWER),
        signed_in("sam", Role.OPERATOR, team="Strangers"),
    )

    assert operator.get(f"/objectives/{one.pk}/").status_code == 200
    assert viewer.get(f"/objectives/{one.pk}/").status_code == 200
    assert b"Exclude it" not in viewer.get(f"/objectives/{one.pk}/").content
    for client, pk, status in ((viewer, one.pk, 403), (stranger, one.pk, 404), (operator, other.pk, 404)):
        assert client.get(f"/objectives/{pk}/edit/").status_code == status
        assert client.post(f"/objectives/{pk}/edit/", form()).status_code == status
        assert client.post(f"/objectives/{pk}/remove/").status_code == status
    assert viewer.post("/objectives/new/", form(name="x")).status_code == 403
    assert stranger.get(f"/objectives/{one.pk}/").status_code == 404
    assert "Orders arrive" not in text_of(stranger.get("/objectives/"))
    assert "Hidden" not in text_of(operator.get("/objectives/"))
    assert b"secret" not in operator.get("/objectives/openslo.yaml").content
    assert Objective.objects.count() == 2


def test_an_objective_on_a_saved_search_is_its_makers_and_its_teams():
    from tests.objectives.stored import message

    shop = flow()
    client = signed_in("ada", Role.OPERATOR)
    ada = client.get("/objectives/").wsgi_request.user
    search = SavedSearch.objects.create(
        environment=shop.environment, owner=ada, of="messages", name="Big ones", q="size:big"
    )
    for size, took in (("big", MINUTE), ("big", 2 * HOUR), ("small", MINUTE), ("big", None)):
        message(now() - 3 * HOUR, took=took, keys={"size": size})

    made = client.post("/objectives/new/", form(about=f"search:{search.pk}", kind="freshness", limit_minutes="15"))
    assert made.status_code == 303, text_of(made)
    one = Objective.objects.get()
    looked(now())
    one.refresh_from_db()

    assert (one.flow, one.q, one.owner) == (None, "size:big", ada)
    assert (one.standing.good, one.standing.late, one.standing.lost) == (1, 1, 1)
    assert "that “Big ones” finds" in text_of(client.get(f"/objectives/{one.pk}/"))
    assert signed_in("sam", Role.OPERATOR).get(f"/objectives/{one.pk}/").status_code == 404


def test_a_search_that_cannot_be_asked_any_more_has_no_data():
    shop = flow()
    client = signed_in("ada", Role.OPERATOR)
    ada = client.get("/objectives/").wsgi_request.user
    search = SavedSearch.objects.create(
        environment=shop.environment, owner=ada, of="messages", name="Big ones", q="size:big"
    )
    client.post("/objectives/new/", form(about=f"search:{search.pk}"))
    looked(now())
    Objective.objects.update(owner=None)

    held = looked(now() + timedelta(minutes=1))

    assert set(held.values()) == {"unknown"}
    assert "No data" in text_of(signed_in("root", superuser=True).get(f"/objectives/{Objective.objects.get().pk}/"))


def test_a_stranger_goes_to_sign_in():
    from django.test import Client

    assert Client().get("/objectives/").status_code == 302


def test_the_list_is_as_many_queries_for_many_as_for_few():
    client = signed_in("ada", Role.OPERATOR)

    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            assert client.get("/objectives/").status_code == 200
        return len(seen)

    promised("One", now=now())
    few = queries()
    for number in range(7):
        promised(f"Promise {number}", of=flow(f"flow {number}"), now=now())

    assert queries() == few <= 13
