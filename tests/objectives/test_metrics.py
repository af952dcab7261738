"""Objectives as gauges: of flows, the riskiest first, and never of somebody's search."""

from __future__ import annotations

import pytest
from django.test import Client

from alerts.models import Standing
from alerts.objectives import queries
from alerts.objectives.services import add_objective
from alerts.objectives.wishes import NewObjective
from console.identity.models import Role
from messages.models import SavedSearch
from tests.factories import actor, environment, person
from tests.objectives.stored import promised

pytestmark = pytest.mark.django_db


def metrics() -> str:
    return Client(REMOTE_ADDR="127.0.0.1").get("/metrics").content.decode()


def stands(name: str, **columns: object) -> None:
    Standing.objects.filter(objective__name=name).update(**{"state": "burning", "left": 0.25, "burn": 14.4} | columns)


def test_metrics_tell_what_is_left_and_how_fast_it_goes():
    promised("Orders arrive"), promised("Silent"), promised("New")
    stands("Orders arrive"), stands("Silent", state="no_data")
    labels = '{environment="production",flow="orders",objective="Orders arrive"}'

    told = metrics()

    assert f"waybill_objective_budget_left_ratio{labels} 0.25" in told
    assert f"waybill_objective_burn_rate{labels} 14.4" in told
    assert told.count("waybill_objective_burn_rate{") == 1


def test_an_objective_on_a_search_is_not_named_and_their_number_is_bounded(monkeypatch: pytest.MonkeyPatch):
    owner = person("ada", Role.OPERATOR)
    search = SavedSearch.objects.create(environment=environment(), owner=owner, of="messages", name="s", q="order_no:*")
    add_objective(NewObjective(name="Secret", kind="success", target="0.99"), search=search, by=actor(owner))
    for name, left in (("a", 0.5), ("b", -2.0), ("c", 0.1)):
        promised(name)
        stands(name, left=left)
    stands("Secret")
    monkeypatch.setattr(queries, "MOST_METRICS", 2)

    assert [one[2] for one in queries.figures_of_flows()] == ["b", "c"]
    assert "Secret" not in metrics()
