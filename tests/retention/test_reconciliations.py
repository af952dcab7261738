"""Lists of keys go with the policy: days after the list came, not while the flow is on hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from messages.models import Reconciliation
from messages.reconcile.evaluating import sweep_removed
from messages.reconcile.services import ListOnHold, receive_list, remove_reconciliation
from messages.retention.plan import plan_retention
from messages.retention.run import run_retention
from messages.retention.services import place_hold
from tests.factories import ROOT
from tests.services.reconciling import compared, flow, message
from tests.services.test_reconcile import rows_in

pytestmark = pytest.mark.django_db


def aged(days: float, **said: object) -> Reconciliation:
    one = compared("1\n2\n", **said)
    Reconciliation.objects.filter(pk=one.pk).update(received_at=datetime.now(UTC) - timedelta(days=days))
    return one


def test_a_list_goes_days_after_it_came_with_its_keys_and_a_hold_keeps_it():
    message("1")
    old, young, held = aged(30.1), aged(29.9), aged(400, of=flow("held"))
    place_hold(held.environment, held.flow, by=ROOT, reason="a lawsuit")

    planned = [
        (line.kind, line.rows) for line in plan_retention(now=datetime.now(UTC)).lines if line.kind == "reconciliations"
    ]
    run_retention()
    sweep_removed()

    with pytest.raises(ListOnHold):
        remove_reconciliation(held, by=ROOT)
    with pytest.raises(ListOnHold):
        receive_list(held, [b"3\n"], by=ROOT)
    assert planned == [("reconciliations", 1)]
    assert set(Reconciliation.objects.values_list("pk", flat=True)) == {young.pk, held.pk}
    assert not Reconciliation.objects.filter(pk=old.pk).exists()
    assert rows_in("reconciliation_line") == 4
