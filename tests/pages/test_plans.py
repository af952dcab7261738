"""Pages of plans: made of exactly what was shown, acted on by who may, alive while something moves, and true in every state."""

from __future__ import annotations

import re
from csv import DictReader
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.test import Client

from console.audit.models import AuditEntry
from console.identity.models import Role, User
from messages.models import DeadLetter, Flow, Plan, Replay
from messages.plans.advance import advance_plan
from messages.plans.services import pause_plan, resume_plan
from messages.reconcile.sets import FORMULA
from messages.replay.sending import send_due
from tests.factories import ROOT, actor, agent_key, environment, letter, person, push
from tests.pages.people import signed_in, text_of
from tests.pages.planning import HTMX, begin, letters, plan_of, prove

pytestmark = pytest.mark.django_db


# who may ------------------------------------------------------------------------------------------------------------------


def test_a_viewer_sees_the_plan_and_no_button(line: Any):
    chosen = letters(1)
    plan = plan_of(chosen)
    viewer = signed_in("viewer", Role.VIEWER)

    page = viewer.get(f"/plans/{plan.reference}/")

    assert page.status_code == 200
    assert f"/plans/{plan.reference}/start/" not in page.content.decode()
    assert viewer.post(f"/plans/{plan.reference}/start/").status_code == 403
    assert viewer.get(f"/plans/new/?of=ticked&id={chosen[0].pk}").status_code == 403
    assert "Plan a replay of all" not in text_of(viewer.get("/dead-letters/"))
    plan.refresh_from_db()
    assert plan.state == "draft"


def test_another_teams_plan_does_not_exist(line: Any):
    from console.identity.models import Team

    plan = plan_of(letters(1))
    Flow.objects.filter(pk__in=plan.flow_ids).update(team=Team.objects.create(name="ERP team"))
    stranger = signed_in("stranger", Role.ADMINISTRATOR, team="Order team")

    addresses = [f"/plans/{plan.reference}/{one}" for one in ("", "now/", "chart/", "csv")]
    assert [stranger.get(one).status_code for one in addresses] == [404] * 4
    assert stranger.post(f"/plans/{plan.reference}/cancel/").status_code == 404
    assert plan.reference not in text_of(stranger.get("/plans/?show=all"))


def test_a_plan_of_another_environment_switches_there_or_does_not_exist(line: Any):
    plan = plan_of(letters(1))
    here, elsewhere = person("both", Role.OPERATOR), environment("staging")
    from console.identity.models import Membership, Team

    Membership.objects.create(
        user=here, team=Team.objects.get(name="Order team"), environment=elsewhere, role=Role.OPERATOR
    )
    client = Client()
    client.force_login(here)
    client.post("/environment/", {"environment": "staging", "next": "/"})

    assert client.get(f"/plans/{plan.reference}/")["Location"].endswith("?environment=production")
    only_there = Client()
    only_there.force_login(person("there", Role.OPERATOR, slug="staging"))
    assert only_there.get(f"/plans/{plan.reference}/").status_code == 404


# the buttons -----------------------------------------------------------------------------------------------------------


def test_a_second_person_approves_what_the_page_shows(line: Any):
    chosen = letters(2)
    Flow.objects.filter(pk=chosen[0].flow_id).update(approve_above=0)
    author, second = signed_in("author", Role.OPERATOR), signed_in("erp-owner", Role.OPERATOR)
    plan = plan_of(chosen, by=actor(User.objects.get(username="author")))
    here = f"/plans/{plan.reference}/"
    assert "It needs a second person." in text_of(author.get(here))
    assert author.post(f"{here}start/").status_code == 422
    author.post(f"{here}request/")

    assert f"{here}approve/" not in author.get(here).content.decode()
    assert author.post(f"{here}approve/", {"checksum": plan.checksum}).status_code == 403
    assert plan.checksum in second.get(here).content.decode()
    assert second.post(f"{here}approve/", {"checksum": "0" * 64}).status_code == 422
    assert second.post(f"{here}approve/", {"checksum": plan.checksum}).status_code == 303

    assert "Approved by erp-owner" in text_of(author.get(here))
    assert f"{here}start/" in author.get(here).content.decode()


def test_a_plan_that_is_sent_back_says_why(line: Any):
    chosen = letters(1)
    Flow.objects.filter(pk=chosen[0].flow_id).update(approve_above=0)
    plan = plan_of(chosen)
    signed_in().post(f"/plans/{plan.reference}/request/")
    second = signed_in("second", Role.OPERATOR)

    assert second.post(f"/plans/{plan.reference}/refuse/", {"reason": ""}).status_code == 422
    second.post(f"/plans/{plan.reference}/refuse/", {"reason": "wrong queue"})

    assert "Sent back by second. Wrong queue." in text_of(second.get(f"/plans/{plan.reference}/"))


def test_a_start_counts_down_and_can_be_taken_back(line: Any):
    plan = plan_of(letters(1))
    client, here = signed_in(), f"/plans/{plan.reference}/"

    client.post(f"{here}start/")

    page = client.get(here)
    assert re.search(r"Begins in (9|10) s\.", text_of(page))
    assert 'hx-trigger="every 1s"' in page.content.decode()
    client.post(f"{here}undo/")
    plan.refresh_from_db()
    assert (plan.state, Replay.objects.count()) == ("draft", 0)


def test_a_start_can_be_set_for_later(line: Any):
    plan = plan_of(letters(1))
    client, here = signed_in(), f"/plans/{plan.reference}/"
    at = (datetime.now(UTC) + timedelta(hours=3)).replace(second=0, microsecond=0)

    assert client.post(f"{here}later/", {"at": "soon"}).status_code == 422
    assert client.post(f"{here}later/", {"at": "2020-01-01T00:00"}).status_code == 422
    assert client.post(f"{here}later/", {"at": f"{at:%Y-%m-%dT%H:%M}"}).status_code == 303

    plan.refresh_from_db()
    assert (plan.state, plan.begins_at) == ("scheduled", at)


@pytest.mark.parametrize("action", ["start", "pause", "resume", "stop"])
def test_a_second_press_of_the_same_button_finds_it_done(line: Any, action: str):
    plan = plan_of(letters(3))
    client, here = signed_in(), f"/plans/{plan.reference}/"
    user = actor(User.objects.get(username="root"))
    if action != "start":
        begin(plan)
    if action == "resume":
        pause_plan(plan, by=user)

    answers = [client.post(f"{here}{action}/", {"reason": "x"}).status_code for _ in range(2)]

    assert answers == [303, 303]
    done = {"start": "started", "pause": "paused", "resume": "resumed", "stop": "stopped"}[action]
    assert AuditEntry.objects.filter(action=f"plan.{done}", actor="root").count() == (1)


def test_what_another_did_is_told_with_the_page(line: Any):
    plan = begin(plan_of(letters(1)))
    pause_plan(plan, by=ROOT)
    answer = signed_in("second", Role.OPERATOR).post(f"/plans/{plan.reference}/pause/")
    assert answer.status_code == 422
    assert "somebody was faster" in text_of(answer)


# progress ----------------------------------------------------------------------------------------------------------------


def counts_on(page: str) -> list[int]:
    legend = re.search(r'<ul class="legend">(.*?)</ul>', page, re.S)
    assert legend
    return [int(one.replace(",", "")) for one in re.findall(r"<b>([\d,]+)</b>", legend[1])]


def test_a_running_plan_shows_counts_that_add_up_in_every_wave(line: Any):
    plan = begin(plan_of(letters(20), steps=("1", "50%", "100%")))
    send_due(line.pk)
    prove(Replay.objects.get(plan=plan))
    advance_plan(plan.pk)
    advance_plan(plan.pk)
    send_due(line.pk)
    client = signed_in()

    page = client.get(f"/plans/{plan.reference}/").content.decode()

    assert sum(counts_on(page)) == 20
    assert "running, wave 2 of 3" in page
    assert re.findall(r'<div class="wave( now)?">', page) == ["", " now", ""]
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    assert "1 processed, proved by erp" in text
    assert "Canary processed 1 Wave 2 0 processed 9 Wave 3 waiting 10" in text
    assert "erp success" in text


def test_a_canary_that_fails_again_stops_the_plan_and_says_so(line: Any):
    plan = begin(plan_of(letters(10)))
    send_due(line.pk)
    replay = Replay.objects.get(plan=plan)
    died = letter(replay_id=str(replay.pk), error={"type": "SocketTimeout", "message": "no answer", "stack": ""})
    push("/ingest/v1/dead-letters", [died], key=agent_key("harvester"))
    advance_plan(plan.pk)
    client, here = signed_in(), f"/plans/{plan.reference}/"

    text = text_of(client.get(here))
    failed = client.get(f"{here}?outcome=failed", **HTMX)

    assert "It stopped itself. 1 of 1 failed again: more than 5 %." in text
    assert "SocketTimeout" in text_of(failed)
    assert f"/dead-letters/{DeadLetter.objects.latest('pk').pk}/" in failed.content.decode()
    plan.refresh_from_db()
    resume_plan(plan, by=ROOT)
    assert "stopped itself" not in text_of(client.get(here)).split("What was done")[0]


def test_failures_below_the_bound_are_told_with_how_near_it_is(line: Any):
    plan = begin(plan_of(letters(3), steps=("100%",), stop_failed_percent=60))
    send_due(line.pk)
    first = Replay.objects.filter(plan=plan).order_by("pk")[0]
    push("/ingest/v1/dead-letters", [letter(replay_id=str(first.pk))], key=agent_key("harvester"))

    text = text_of(signed_in().get(f"/plans/{plan.reference}/"))

    assert "1 of 3 failed again. The plan stops itself above 60 %; it stands at 33.3 %." in text


def test_what_was_sent_long_ago_without_a_proof_is_told(line: Any):
    plan = begin(plan_of(letters(2), steps=("100%",)))
    send_due(line.pk)
    Replay.objects.filter(plan=plan).update(sent_at=datetime.now(UTC) - timedelta(minutes=12, seconds=5))

    text = text_of(signed_in().get(f"/plans/{plan.reference}/"))

    assert "2 are sent, not confirmed as processed, the oldest for 12 min." in text


def test_the_live_part_ends_with_the_state_it_was_drawn_in(line: Any):
    plan = begin(plan_of(letters(2)))
    client, now = signed_in(), f"/plans/{plan.reference}/now/"
    assert client.get(f"{now}?seen=running", **HTMX).content.decode().startswith('<div class="stack" id="plan-now"')
    pause_plan(plan, by=ROOT)

    assert client.get(f"{now}?seen=running", **HTMX)["HX-Refresh"] == "true"
    assert client.get(now).status_code == 302


def test_items_held_back_say_behind_which_one(line: Any):
    letters(1, keys={"order_no": "first", "customer_no": "c1"})
    chosen = letters(2, keys={"order_no": "next", "customer_no": "c1"}, failed_at="2026-11-24T10:00:00Z")
    plan = begin(plan_of(chosen, steps=("100%",), order_key="customer_no"))
    text = text_of(signed_in().get(f"/plans/{plan.reference}/"))
    assert text.count("held back behind first, same customer") == 2


def test_items_are_paged_and_filtered_and_left_out_ones_are_linked(line: Any):
    chosen = letters(60)
    DeadLetter.objects.filter(pk=chosen[0].pk).update(
        state="closed", resolution="discarded", closed_at=datetime.now(UTC)
    )
    plan = plan_of(chosen)
    client, here = signed_in(), f"/plans/{plan.reference}/"
    page = client.get(here).content.decode()

    following = re.findall(r'rel="next" href="\?([^"#]*)', page)[0]
    second = client.get(f"{here}?{following}", **HTMX).content.decode()

    assert page.count('id="item-') == 50
    assert second.count('id="item-') == 10
    assert "?left_out=closed" in page
    assert "it is closed already" in text_of(client.get(f"{here}?left_out=closed", **HTMX))
    assert client.get(f"{here}?outcome=x").status_code == 400
    assert client.get(f"{here}?cursor=x").status_code == 400


def test_every_item_is_a_line_of_the_csv_and_none_is_a_formula(line: Any):
    chosen = letters(3, keys={"order_no": "=1+1"})
    plan = plan_of(chosen)

    answer = signed_in().get(f"/plans/{plan.reference}/csv")

    text = b"".join(answer).decode()  # type: ignore[arg-type]
    rows = list(DictReader(StringIO(text)))
    assert [(row["ordinal"], row["message"]) for row in rows] == [(str(n), "'=1+1") for n in (1, 2, 3)]
    assert not any(cell[:1] in FORMULA for row in rows for cell in row.values() if cell)


def test_the_chart_comes_after_the_page(line: Any):
    plan = begin(plan_of(letters(2), steps=("100%",)))
    send_due(line.pk)
    client, here = signed_in(), f"/plans/{plan.reference}/"
    assert 'hx-trigger="load"' in client.get(here).content.decode()

    part = client.get(f"{here}chart/", **HTMX).content.decode()

    assert '<svg class="chart"' in part
    assert "2 sent" in part


# every state ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "buttons"),
    [
        ("draft", {"start", "later", "cancel", "how"}),
        ("awaiting_approval", {"approve", "refuse", "cancel", "report", "how"}),
        ("approved", {"start", "later", "cancel", "report", "how"}),
        ("scheduled", {"undo", "cancel", "report"}),
        ("running", {"pause", "stop", "report"}),
        ("paused", {"resume", "stop", "report"}),
        ("aborted", {"resume", "stop", "report"}),
        ("finished", {"report"}),
        ("stopped", {"report"}),
        ("cancelled", set()),
        ("expired", set()),
    ],
)
def test_every_state_has_its_page_and_its_buttons(line: Any, state: str, buttons: set[str]):
    plan = plan_of(letters(2))
    now = datetime.now(UTC)
    values: dict[str, Any] = {"state": state, "begins_at": now, "wave": 1, "why": "so it is"}
    if state not in ("draft", "awaiting_approval"):
        values |= {"approved_at": now, "approved_by": "x", "approved_checksum": plan.checksum, "started_at": now}
    Plan.objects.filter(pk=plan.pk).update(**values)
    client = signed_in("other", Role.OPERATOR)

    page = client.get(f"/plans/{plan.reference}/")

    assert page.status_code == 200
    offered = set(re.findall(rf'action="/plans/{plan.reference}/(\w+)/"', page.content.decode()))
    shown = buttons - {"report"} if state in ("awaiting_approval", "approved", "scheduled") else buttons
    assert offered == shown
    assert client.get(f"/plans/?state={state}").content.decode().count(f"/plans/{plan.reference}/") == 1


def test_a_plan_that_sends_nothing_can_only_be_given_up(line: Any):
    chosen = letters(1)
    DeadLetter.objects.update(state="closed", resolution="discarded", closed_at=datetime.now(UTC))
    plan = plan_of(chosen)
    page = signed_in().get(f"/plans/{plan.reference}/")
    assert "It would send nothing: everything that was selected is left out." in text_of(page)
    assert f"/plans/{plan.reference}/start/" not in page.content.decode()


def test_the_list_says_how_a_plan_is_made_and_the_rail_counts_those_under_way(line: Any):
    client = signed_in()
    assert "A plan sends many dead letters again" in text_of(client.get("/plans/"))
    begin(plan_of(letters(1)))
    text = text_of(client.get("/plans/"))
    assert "Plans 1" in text
    assert "Replay 1 order to erp.orders" in text
