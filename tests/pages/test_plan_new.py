"""Making a plan: from all that match, ticked rows, a group; what is shown is what is frozen, or the difference is said."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from messages.models import DeadLetter, Plan, PlanItem
from tests.factories import stored_letter
from tests.pages.people import signed_in, text_of
from tests.pages.planning import FORM, address_of, form_of, letters

pytestmark = pytest.mark.django_db


def test_all_that_match_are_planned_as_the_list_shows_them(line: Any):
    letters(3)
    letters(2, error={"type": "Other", "message": "no", "stack": ""})
    client = signed_in()
    html = client.get("/dead-letters/?q=class:ErpTimeout").content.decode()
    address = address_of(html, "Plan a replay of all 3 that match")

    made = client.post(address, form_of(client, address))

    plan = Plan.objects.get()
    assert made.status_code == 303
    assert made["Location"] == f"/plans/{plan.reference}/"
    assert (plan.items_count, plan.source, plan.reason, plan.steps) == (3, "query", "erp is back", ["1", "100%"])
    page = text_of(client.get(made["Location"]))
    assert "Replay 3 orders to erp.orders" in page
    assert "Exactly the 3 that were shown." in page
    assert "Sends 3 orders to erp.orders over redis" in page


def test_what_changes_between_the_form_and_the_freeze_is_said(line: Any):
    first, _, _ = letters(3)
    client = signed_in()
    address = "/plans/new/?of=query&q=system:erp"
    form = form_of(client, address)
    letters(2)
    DeadLetter.objects.filter(pk=first.pk).update(state="closed", resolution="discarded", closed_at=datetime.now(UTC))

    client.post(address, form)

    page = text_of(client.get(f"/plans/{Plan.objects.get().reference}/"))
    assert "3 were shown; when it was frozen 4 matched: 2 were added and 1 fitted no more." in page


def test_ticked_rows_are_planned_and_a_double_click_makes_one_plan(line: Any):
    chosen = letters(3)
    client = signed_in()
    address = f"/plans/new/?of=ticked&id={chosen[0].pk}&id={chosen[1].pk}"
    assert "Freeze these 2 into a plan" in text_of(client.get(address))
    form = form_of(client, address)

    first, second = client.post(address, form), client.post(address, form)

    assert first["Location"] == second["Location"]
    assert set(PlanItem.objects.values_list("dead_letter_id", flat=True)) == {chosen[0].pk, chosen[1].pk}


def test_a_group_is_planned_from_its_page(line: Any):
    one = letters(2)[0]
    client = signed_in()
    html = client.get(f"/groups/G-{one.group_id}/").content.decode()
    address = address_of(html, "Plan a replay of the 2 that wait")

    client.post(address, form_of(client, address))

    assert (Plan.objects.get().group_id, Plan.objects.get().items_count) == (one.group_id, 2)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"reason": ""}, "This field is required"),
        ({"waves": "half"}, "“half” is no wave"),
        ({"rate": "-1"}, "A rate is 0.01 to 100,000 a second"),
        ({"failed": "900"}, "A plan stops itself at 0 to 100 %"),
        ({"wave_wait": "x"}, "Enter a whole number"),
    ],
)
def test_a_form_that_cannot_be_meant_is_shown_again_with_the_words(line: Any, changed: dict[str, str], words: str):
    chosen = letters(1)
    client = signed_in()

    answer = client.post(f"/plans/new/?of=ticked&id={chosen[0].pk}", FORM | changed)

    assert answer.status_code == 422
    assert words in text_of(answer)
    assert not Plan.objects.exists()


@pytest.mark.parametrize(
    "asked", ["", "of=ticked", "of=ticked&id=x", "of=query&q=(", "of=group&group=G-1", "of=query&window=x"]
)
def test_an_address_that_asks_for_nothing_is_refused_in_words(asked: str):
    assert signed_in().get(f"/plans/new/?{asked}").status_code in (400, 404)


def test_what_is_gone_meanwhile_says_so():
    answer = signed_in().get("/plans/new/?of=query&q=order_no:nothing")
    assert "Nothing matches any more" in text_of(answer)


def test_the_reason_that_the_list_is_narrowed_to_is_that_kind_and_no_word_of_another_ones_text(line: Any):
    expired = stored_letter(reason="its time to live has passed", reason_code="expired")
    stored_letter(reason="the certificate has expired", reason_code="rejected")
    client = signed_in()

    page, planning = client.get("/dead-letters/?reason=expired"), client.get("/plans/new/?of=query&reason=expired")

    assert [row[0].pk for row in page.context["rows"]] == [expired.pk]
    assert "Plan a replay of the one that matches" in text_of(page)
    assert "reason expired" in text_of(planning)
    assert client.get("/dead-letters/?reason=certificate").status_code == 400
