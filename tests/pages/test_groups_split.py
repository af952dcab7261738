"""A group is taken apart: ticked letters under a name of their own, or all of it by one more part."""

from __future__ import annotations

import pytest

from messages.groups.refresh import refresh_groups
from messages.groups.regroup import split_by, take_out
from messages.groups.ruling import NewGroupRule, add_rule
from messages.groups.services import merge_groups
from messages.models import DeadLetter, FailureGroup, GroupRule
from tests.factories import ROOT, environment
from tests.pages.people import signed_in, text_of
from tests.pages.test_groups import fails, two_groups

pytestmark = pytest.mark.django_db


def test_ticked_letters_are_taken_out_under_a_name_of_their_own():
    large, _ = two_groups()
    client = signed_in()
    first, second = DeadLetter.objects.filter(group=large).order_by("id")[:2]
    path = f"/groups/{large.reference}/split/"
    assert "Take 2 letters out" in text_of(client.get(path, {"id": [first.pk, second.pk]}))

    assert client.post(path, {"id": [first.pk], "name": "", "reason": "x"}).status_code == 422
    done = client.post(path, {"id": [first.pk, second.pk], "name": "The blue ones", "reason": "another trouble"})

    made = FailureGroup.objects.get(name="The blue ones")
    assert done["Location"] == f"/groups/{made.reference}/"
    assert DeadLetter.objects.filter(group=made).count() == 2
    refresh_groups()
    assert (FailureGroup.objects.get(pk=made.pk).letters, FailureGroup.objects.get(pk=large.pk).letters) == (2, 1)
    assert "another trouble" in text_of(client.get(f"/groups/{made.reference}/"))


def test_a_group_is_split_by_a_business_key_and_what_comes_follows():
    for number, country in enumerate(("DE", "FR", "DE")):
        fails(number, keys={"order_no": str(number), "country": country})
    whole = FailureGroup.objects.get()
    client = signed_in()
    assert client.post(f"/groups/{whole.reference}/split/", {"part": "message", "reason": "x"}).status_code == 422

    done = client.post(f"/groups/{whole.reference}/split/", {"part": "key.country", "reason": "France has another ERP"})

    assert done.status_code == 303
    assert sorted(DeadLetter.objects.values_list("keys__country", "group__name")) == [
        ("DE", f"{whole.reference} by key.country: erp, ErpTimeout, erp.orders, DE")] * 2 + [
        ("FR", f"{whole.reference} by key.country: erp, ErpTimeout, erp.orders, FR"),
    ]  # fmt: skip
    assert fails(9, keys={"order_no": "9", "country": "FR"}).group.name.endswith("FR")


def test_a_split_takes_no_other_cause_of_the_flow():
    """A group of letters whose system and error nobody told is split: the patterns of its rule fit what is empty, not everything."""
    large, small = two_groups()
    silent = fails(7, "", system="", reason="", error={"type": "", "message": ""})
    assert (silent.group.step, silent.group.error_type, silent.group.message) == ("", "", "")

    split_by(silent.group, "queue", by=ROOT, reason="another owner")

    assert fails(8).group_id == large.pk
    assert fails(9, "vat_number is required").group_id == small.pk
    assert DeadLetter.objects.get(pk=silent.pk).group.name.startswith(f"{silent.group.reference} by queue")


def test_a_group_that_a_rule_or_a_hand_made_is_not_split_by_a_rule_that_would_take_more():
    large, _ = two_groups()
    add_rule(environment(), NewGroupRule(name="ERP is away", words="did not answer"), by=ROOT)
    ruled = fails(7).group
    by_hand = take_out(large, [DeadLetter.objects.filter(group=large)[0].pk], "The blue one", by=ROOT, reason="x")
    client = signed_in()

    for group, words in ((ruled, "add queue to what that rule groups by"), (by_hand, "rules leave it alone")):
        answer = client.post(f"/groups/{group.reference}/split/", {"part": "queue", "reason": "x"})

        assert answer.status_code == 422
        assert words in text_of(answer)
    assert GroupRule.objects.count() == 1


def test_a_merged_group_is_taken_apart_before_each_part_is_split():
    large, small = two_groups()
    merge_groups(large, [small], by=ROOT, reason="one trouble")

    answer = signed_in().post(f"/groups/{large.reference}/split/", {"part": "queue", "reason": "x"})

    assert answer.status_code == 422
    assert f"{small.reference} is merged into {large.reference}: take apart first" in text_of(answer)
    assert not GroupRule.objects.exists()
