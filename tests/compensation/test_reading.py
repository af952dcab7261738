"""Who reads what of a proposal: values of flows that one may not read, letters that do not wait, books that find too much."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.test import Client

from console.identity.models import Role, Team, User
from messages.compensation.execute import work_on
from messages.compensation.journey import TooLarge
from messages.compensation.proposing import preview, propose, target_of_letter
from messages.compensation.services import start
from messages.dead_letters.services import NotOpen
from messages.models import Compensation, CompensationStep, DeadLetter, Event, Flow
from tests.compensation.orders import BOOK, book, failed_order, refund_of, saved
from tests.factories import ROOT, environment, memory_connection, person
from tests.http.test_rest_administration import Caller

pytestmark = pytest.mark.django_db
WORDS = "some of its values come from a flow whose payloads you may not read"


@pytest.fixture
def letter() -> DeadLetter:
    """A letter of the Order team, whose payment was an event of a flow of the Finance team."""
    memory_connection()
    found = failed_order("payment", "stock")
    Flow.objects.filter(pk=found.flow_id).update(team=Team.objects.get_or_create(name="Order team")[0])
    finance = Team.objects.get_or_create(name="Finance team")[0]
    theirs = Flow.objects.create(environment=environment(), name="payments: shop → bank", team=finance)
    Event.objects.filter(system__name="payment").update(flow=theirs)
    saved(found.flow)
    return DeadLetter.objects.select_related("flow").get(pk=found.pk)


def test_values_of_a_flow_that_one_may_not_read_are_shown_in_no_proposal_trial_or_step(letter):
    page = Client()
    page.force_login(person("ada", Role.ADMINISTRATOR, team="Order team"))
    call = Caller("bea", Role.OPERATOR)
    proposal = page.get(f"/compensations/new/?letter={letter.pk}").content.decode()
    trial = page.post(f"/flows/{letter.flow_id}/compensation-book/?do=try", {"content": BOOK}).content.decode()
    dry = call("post", "compensations", {"letter": str(letter.pk), "dry_run": True}).json()
    run = propose(target_of_letter(letter), by=ROOT, reason="x")
    shown = page.get(f"/compensations/{run.reference}/").content.decode()
    action = call("get", f"compensations/{run.reference}/steps/2/action").json()

    for told in (proposal, trial, shown):
        assert "1284.5" not in told
        assert "ome of its values come from a flow" in told
        assert "release the articles of 4711-" in told
    assert (dry["steps"][1]["undo"], dry["steps"][1]["action"]["refusal"]) == ("refund amount", WORDS)
    assert (action["body"], action["refusal"]) == ("", WORDS)
    root = Client()
    User.objects.filter(pk=person("eve", Role.ADMINISTRATOR).pk).update(is_superuser=True)
    root.force_login(User.objects.get(username="eve"))
    assert "refund 1284.50" in root.get(f"/compensations/{run.reference}/").content.decode()


@pytest.mark.parametrize(
    ("state", "resolution", "words"),
    [
        ("closed", "processed", "closed, processed"),
        ("closed", "discarded", "discarded"),
        ("replaying", None, "under way"),
    ],
)
def test_nothing_is_offered_or_proposed_for_a_letter_that_does_not_wait(letter, state, resolution, words):
    DeadLetter.objects.filter(pk=letter.pk).update(
        state=state, resolution=resolution, closed_at=datetime.now(UTC) if resolution else None
    )
    found = DeadLetter.objects.select_related("flow").get(pk=letter.pk)
    call = Caller("olga", Role.OPERATOR)
    page = Client()
    page.force_login(person("otto", Role.OPERATOR))
    with pytest.raises(NotOpen, match=words):
        propose(target_of_letter(found), by=ROOT, reason="x")
    for more in ({"dry_run": True}, {"reason": "x"}):
        refused = call("post", "compensations", {"letter": str(letter.pk), **more})
        assert (refused.status_code, refused.json()["code"]) == (409, "dead_letter_not_open")
    told = page.get(f"/compensations/new/?letter={letter.pk}").content.decode()
    assert words in told
    assert "Propose" not in told
    assert "compensations/new/" not in page.get(f"/dead-letters/{letter.pk}/").content.decode()
    assert Compensation.objects.count() == 0


def test_a_book_that_finds_hundreds_of_steps_is_refused_before_anything_is_made_of_them(letter):
    text = "steps:\n" + "".join(
        f"  - {{name: s{n}, title: t, happened: {{name: '*'}}, irreversible: gone}}\n" for n in range(50)
    )
    for _ in range(10):
        refund_of(letter)
    with pytest.raises(TooLarge, match="200 are undone at once"):
        preview(letter.flow.environment, book(text), target_of_letter(letter))
    tried = Caller("ada", Role.ADMINISTRATOR)("post", f"flows/{letter.flow_id}/compensation-book/try", {"yaml": text})
    assert (tried.status_code, tried.json()["code"]) == (400, "journey_too_large")


def test_whose_turn_it_is_is_told_the_same_in_the_list_and_of_the_one(letter):
    run = propose(target_of_letter(letter), by=ROOT, reason="x")
    start(run, by=ROOT)
    work_on(run.pk)
    CompensationStep.objects.filter(compensation=run, name="payment").update(state="failed", assignee="Kim")
    call = Caller("olga", Role.OPERATOR)
    assert call("get", "compensations").json()["results"][0]["owner"] == "Kim"
    assert call("get", f"compensations/{run.reference}").json()["owner"] == "Kim"
    Compensation.objects.update(state="stopped")
    assert call("get", f"compensations/{run.reference}").json()["owner"] == ""
