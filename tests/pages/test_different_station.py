"""What is different: one flow with several receivers, of which each message fails at one; what it did at another says nothing of that."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

import pytest

from console.identity.models import Role
from messages.catalog.services import add_flow_rule
from messages.different.queries import letters_of_group, messages_of_group, window_of_group
from messages.different.services import find_differences
from messages.groups.ruling import NewGroupRule, add_rule
from messages.groups.sweep import sweep_groups
from messages.models import DeadLetter, FailureGroup
from tests.factories import ROOT, api_key, environment, letter, person
from tests.http.test_access import ask
from tests.pages.differing import nothing_is_kept, order, said  # noqa: F401  the fixture
from tests.pages.test_different_where import EXCHANGE, NO_VAT, at, sent, taken, told, uid
from tests.services.grouping import merged
from tests.services.test_group_of_batches import send, take

pytestmark = pytest.mark.django_db

OF = {"erp": f"{EXCHANGE}.erp", "crm": f"{EXCHANGE}.crm"}  # the queues
BAD, OF_ERP, ALL = range(10), range(70), range(170)  # the CRM takes all, the ERP those that are of its country


def fill(stray: Collection[int] = (), *, letters: bool = True, system: str = "erp", seconds: int = 3) -> None:
    """Orders of one flow, of an exchange and two queues: of 70 that the ERP takes ten die there.

    stray  failed at the CRM as well, and passed there a little later.
    """
    add_flow_rule(environment(), pattern=f"{EXCHANGE}*", flow_name="orders", by=ROOT)
    events = [sent(n, vat=n not in BAD) for n in ALL] + [
        taken(n, OF["erp"], ok=n not in BAD, system="erp") for n in OF_ERP
    ]
    for n in ALL:
        if n in stray:
            events.append(timed_out(n, seconds))
        events.append(taken(n, OF["crm"], system="crm", seconds=9 if n in stray else 2))
    told(events, [died(n, system) for n in BAD] if letters else None)
    sweep_groups()


def timed_out(number: int, seconds: int = 3) -> dict[str, Any]:
    return taken(number, OF["crm"], ok=False, system="crm", seconds=seconds) | {
        "error": {"type": "Timeout", "message": "crm"}
    }


def died(number: int, system: str, kind: str = "BadVat") -> dict[str, Any]:
    return letter(
        message_id=uid(number), origin=OF[system or "erp"], system=system, failed_at=at(number, 5), body=order(number, vat=False),
        error={"type": kind, "message": "no", "stack": ""},
    )  # fmt: skip


def compared(group: FailureGroup) -> Any:
    window = window_of_group(group, now=datetime.now(UTC))
    letters, messages = letters_of_group(ROOT, group, window), messages_of_group(ROOT, group, window)
    return find_differences(ROOT, group.flow, letters, window, messages)


def of_erp() -> FailureGroup:
    return FailureGroup.objects.get(step="erp")


def like_one_of_erp() -> dict[str, Any]:
    one = DeadLetter.objects.filter(system__name="erp").first()
    assert one is not None
    return ask(f"dead-letters/{one.pk}/different", api_key(person("olga", Role.OPERATOR))).json()


STRAYS = {"none": (), "one": (3,), "all": BAD, "an outage": range(5, 40)}


def test_a_failure_that_only_its_letter_tells_of_is_at_the_system_of_the_letter_whatever_failed_elsewhere():
    add_flow_rule(environment(), pattern=f"{EXCHANGE}*", flow_name="orders", by=ROOT)
    events = [sent(n, vat=n not in BAD) for n in ALL] + [
        taken(n, OF["erp"], system="erp") for n in OF_ERP if n not in BAD
    ]
    events += [timed_out(n) for n in BAD] + [taken(n, OF["crm"], system="crm", seconds=9) for n in ALL]
    told(events, [died(n, "erp") for n in BAD])
    sweep_groups()

    assert compared(of_erp()).delivered == 60


@pytest.mark.parametrize("stray", STRAYS.values(), ids=STRAYS)
@pytest.mark.parametrize("letters", [True, False], ids=["letters", "messages"])
def test_what_failed_at_another_system_as_well_is_beside_what_passed_where_it_died(
    stray: Collection[int], letters: bool
):
    fill(stray, letters=letters)

    found = compared(of_erp())

    assert (found.failed, found.delivered) == (10, 60)
    assert said(found).keys() == {NO_VAT}


@pytest.mark.parametrize("stray", STRAYS.values(), ids=STRAYS)
def test_letters_like_one_are_beside_what_passed_its_system(stray: Collection[int]):
    fill(stray)

    answer = like_one_of_erp()

    assert (answer["failed"], answer["delivered"]) == (10, 60)
    assert [one["words"] for one in answer["differences"]] == [f"{NO_VAT} in 100 % of failed, 0 % of delivered"]


def test_letters_of_the_same_error_at_another_system_are_not_like_one():
    fill()
    told([timed_out(100, 20)], [died(100, "crm")])

    answer = like_one_of_erp()

    assert (answer["failed"], answer["delivered"]) == (10, 60)


def test_what_died_at_another_system_was_delivered_where_it_passed():
    fill(range(20, 30))
    told([timed_out(n, 20) for n in range(20, 30)], [died(n, "crm", "Timeout") for n in range(20, 30)])
    sweep_groups()

    assert compared(of_erp()).delivered == 60
    assert compared(FailureGroup.objects.get(step="crm", message="no")).delivered == 160


@pytest.mark.parametrize("stray", STRAYS.values(), ids=STRAYS)
def test_letters_that_name_no_system_are_beside_what_passed_where_they_died(stray: Collection[int]):
    fill(stray, system="")

    found = compared(FailureGroup.objects.get(step=""))

    assert (found.failed, found.delivered) == (10, 60)
    assert said(found).keys() == {NO_VAT}


def test_a_group_whose_rule_leaves_the_system_out_is_beside_what_passed_where_most_of_it_failed():
    add_rule(environment(), NewGroupRule(name="By error alone", flow="orders", parts=("error_type",)), by=ROOT)
    fill((3,), letters=False)

    found = compared(FailureGroup.objects.get(error_type="BadVat", step=""))

    assert (found.failed, found.delivered) == (10, 60)
    assert said(found).keys() == {NO_VAT}


def test_a_group_that_speaks_for_failures_at_two_systems_is_beside_what_passed_either():
    fill(letters=False)
    again = [taken(n, OF["erp"], ok=False, system="erp", seconds=10) for n in BAD]
    told(again + [timed_out(n, 20) for n in range(100, 120)])
    sweep_groups()
    erp, crm = of_erp(), FailureGroup.objects.get(step="crm")

    found = compared(merged(erp, [crm]))

    assert (found.failed, found.delivered) == (30, 140)
    assert not [one for one in said(found) if one.startswith("receiving system")]


def test_a_group_of_batches_is_beside_what_passed_the_system_that_it_names():
    orders = send(120)
    take(orders[:60], by="erp", size=20, fails=[0])
    take(orders, by="crm", size=20)
    sweep_groups()

    found = compared(of_erp())

    assert (found.failed, found.delivered) == (20, 40)
