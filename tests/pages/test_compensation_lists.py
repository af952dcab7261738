"""Lists of compensations and of their tasks, and who may see and do what."""

from __future__ import annotations

from csv import reader
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from console.identity.models import Membership, Role, Team
from messages.compensation.execute import work_on
from messages.compensation.queries import stuck_compensations
from messages.compensation.services import skip_step, start
from messages.models import Compensation, CompensationStep, Flow
from tests.compensation.orders import BOOK, proposed
from tests.factories import ROOT, environment, person
from tests.pages.compensating import TASK, body_of, of, stuck
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db


# lists ---------------------------------------------------------------------------------------------------------------


def test_the_list_of_what_did_not_happen_names_the_next_step_and_whose_it_is(line):
    client = signed_in("ops", Role.OPERATOR)
    assert "Nothing needs a person" in text_of(client.get("/compensations/"))
    assert "compensation book of a flow" in text_of(client.get("/compensations/?show=all"))
    run = stuck(line, "stock")
    fine = proposed("payment")

    page = text_of(client.get("/compensations/"))
    assert run.reference in page
    assert fine.reference not in page
    assert "“release the articles of order” failed: retry it, skip it, or do it by hand" in page
    assert text_of(client.get("/compensations/?show=open")).count("C-") >= 2
    assert fine.reference not in text_of(client.get("/compensations/?show=all&state=stuck"))
    assert "None like this" in text_of(client.get("/compensations/?mine=1"))
    assert "None like this" in text_of(client.get("/compensations/?flow=nothing"))
    assert run.reference in text_of(client.get(f"/compensations/?flow={run.flow.name}"))
    assert "1 compensation needs a person" in text_of(client.get("/"))
    assert '<b class="hot">1</b>' in body_of(client.get("/agents/"))
    [told] = stuck_compensations(datetime.now(UTC) + timedelta(minutes=42))
    assert (told.reference, told.flow_id, told.environment_id) == (run.reference, run.flow_id, run.environment_id)
    assert told.age >= timedelta(minutes=42)
    assert "no queue takes it" in told.why

    lines = list(reader(b"".join(client.get("/compensations/csv?show=open").streaming_content).decode().splitlines()))
    assert [row[0] for row in lines] == ["reference", fine.reference, run.reference]
    skip_step(run.steps.select_related("compensation__flow").get(), by=ROOT, reason="gone")
    assert stuck_compensations(datetime.now(UTC)) == []


def test_tasks_stand_with_whom_they_are_for_the_overdue_first(line):
    runs = [proposed("stock", text=TASK) for _ in range(3)]
    for run in runs:
        start(run, by=ROOT)
        work_on(run.pk)
    late = runs[2].steps.get()
    CompensationStep.objects.filter(pk=late.pk).update(due_at=datetime.now(UTC) - timedelta(hours=1), assignee="ops")
    client = signed_in("ops", Role.OPERATOR)

    page = client.get("/compensations/?show=tasks")
    places = [body_of(page).index(f"/compensations/{one.reference}/") for one in (runs[2], runs[0], runs[1])]
    assert places == sorted(places)
    assert text_of(page).count("overdue") == 1
    assert runs[0].reference not in text_of(client.get("/compensations/?show=tasks&mine=1"))
    assert runs[2].reference in text_of(client.get("/compensations/?show=tasks&mine=1"))
    assert runs[2].reference in text_of(client.get("/compensations/"))
    assert runs[0].reference not in text_of(client.get("/compensations/"))
    assert "release 4711-" in text_of(client.get(of(runs[0])))


def test_metrics_tell_states_and_the_age_of_the_oldest_that_needs_a_person(line):
    run = stuck(line, "stock")
    Compensation.objects.filter(pk=run.pk).update(state_at=datetime.now(UTC) - timedelta(minutes=42))

    told = Client().get("/metrics").content.decode()

    assert 'waybill_compensations{state="stuck"} 1.0' in told
    assert 'waybill_compensations{state="running"} 0.0' in told
    assert 'waybill_compensation_oldest_stuck_seconds{environment="production"} 252' in told


# who may -------------------------------------------------------------------------------------------------------------


def test_a_viewer_looks_and_does_nothing(line):
    run = stuck(line, "stock")
    vic = signed_in("vic", Role.VIEWER)
    page = vic.get(of(run))

    assert "You may look" in text_of(page)
    assert 'action="/compensations/' not in body_of(page)
    for path in ("stop/", "resume/", "steps/1/skip/", "steps/1/assign/"):
        assert vic.post(of(run, path), {"reason": "x"}).status_code == 403, path
    assert vic.get(f"/compensations/new/?letter={run.dead_letter_id}").status_code == 403
    run.refresh_from_db()
    assert run.state == "stuck"


def test_another_teams_compensation_does_not_exist_and_another_environments_switches_there(line):
    run = stuck(line, "stock")
    both = signed_in("both", Role.OPERATOR)
    from console.identity.models import User

    Membership.objects.create(
        user=User.objects.get(username="both"), team=Team.objects.get(name="Order team"), environment=environment("staging"),
        role=Role.OPERATOR,
    )  # fmt: skip
    both.post("/environment/", {"environment": "staging", "next": "/"})
    assert both.get(of(run))["Location"].endswith("?environment=production")
    there = Client()
    there.force_login(person("there", Role.OPERATOR, slug="staging"))
    assert there.get(of(run)).status_code == 404

    Flow.objects.filter(pk=run.flow_id).update(team=Team.objects.create(name="Billing team"))
    stranger = signed_in("stranger", Role.ADMINISTRATOR)
    assert [stranger.get(of(run, one)).status_code for one in ("", "now/")] == [404, 404]
    assert stranger.post(of(run, "steps/1/skip/"), {"reason": "x"}).status_code == 404
    assert run.reference not in text_of(stranger.get("/compensations/?show=all"))
    assert "need a person" not in text_of(stranger.get("/")).replace("needs", "need")
    assert run.reference not in b"".join(stranger.get("/compensations/csv?show=all").streaming_content).decode()
    assert stranger.get(f"/compensations/new/?letter={run.dead_letter_id}").status_code == 404


HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>{{ 7 }}'


def test_no_text_of_a_book_a_receiver_or_a_person_becomes_markup(line):
    text = BOOK.replace("title: stock reserved", f"title: '{HOSTILE}'").replace(
        "title: release the articles of {order}", f"title: '{HOSTILE}'"
    )
    run = proposed("stock", text=text, ticket=HOSTILE[:90])
    CompensationStep.objects.filter(compensation=run).update(detail=HOSTILE, assignee=HOSTILE[:140], state="failed")
    Compensation.objects.filter(pk=run.pk).update(
        state="stuck", why=HOSTILE, reason=HOSTILE, keys={"order_no": HOSTILE}, already=[{"title": HOSTILE, "by": "C-1"}],
        late=[{"step": HOSTILE, "event": HOSTILE, "at": HOSTILE, "answer": ""}],
    )  # fmt: skip
    client = signed_in("ops", Role.OPERATOR)

    addresses = [of(run), "/compensations/", "/compensations/?show=open", f"/dead-letters/{run.dead_letter_id}/"]
    addresses += [f"/messages/{run.message_uid}/", f"/j/{run.trace_id.hex}", f"/compensations/new/?letter={run.dead_letter_id}"]  # fmt: skip
    for address in addresses:
        page = client.get(address)
        assert page.status_code == 200, address
        assert "<img src=x" not in body_of(page), address
        assert "<script>alert" not in body_of(page), address
