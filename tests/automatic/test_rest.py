"""REST of replay rules, recipes and reports: what operators do, what others may not, what is not there for strangers."""

from __future__ import annotations

import pytest

from console.identity.models import Role, Team
from messages.automatic.running import run_rules
from messages.models import AutomaticRule, FailureGroup, Flow, Plan
from tests.automatic.failing import died, processed, run_plan
from tests.factories import environment, memory_connection
from tests.http.test_rest_administration import Caller

pytestmark = pytest.mark.django_db
WANTED = {"environment": "production", "name": "erp is away", "failure_class": "transient", "rate_per_s": 1000}


def test_a_rule_is_made_switched_on_acts_is_read_changed_and_removed():
    line = memory_connection()
    died(2)
    processed(20)
    ada = Caller("ada", Role.OPERATOR)

    made = ada("post", "rules/replay", WANTED)
    one = f"rules/replay/{made.json()['id']}"
    assert (made.status_code, made.json()["on"], made.json()["why"]) == (201, False, "it was never switched on")
    assert ada("post", f"{one}/on", {}).status_code == 400
    on = ada("post", f"{one}/on", {"reason": "nights"})
    assert (on.json()["on"], on.json()["author"], on.json()["waits"]) == (True, "ada", [5, 15, 60])
    assert ada("post", f"{one}/on", {"reason": "nights"}).status_code == 409
    assert run_rules() == 1
    plan = Plan.objects.get()
    run_plan(plan, line)
    read = ada("get", one).json()
    assert (read["plans"], read["budget"]) == ([plan.reference], {"last_hour": 2, "last_day": 2, "left": 98})
    assert [row["id"] for row in ada("get", "rules/replay?environment=production").json()["results"]] == [read["id"]]
    report = ada("get", f"plans/{plan.reference}/report").json()
    assert (report["created_by"], report["selected"], report["outcomes"][0]["items"]) == (
        "automatic: erp is away",
        2,
        2,
    )

    asked = ada("put", f"plans/{plan.reference}/report", {"mail_to_author": False})
    assert (report["mail_to_author"], asked.json()["mail_to_author"]) == (True, False)
    assert (
        Caller("vic", Role.VIEWER)("put", f"plans/{plan.reference}/report", {"mail_to_author": True}).status_code == 403
    )

    group = FailureGroup.objects.get().reference
    changed = ada("put", one, {"name": "G only", "group": group, "waits": [1]})
    assert (changed.status_code, changed.json()["group"], changed.json()["failure_class"]) == (200, group, "")
    off = ada("post", "rules/replay/off", {"environment": "production", "reason": "drill"})
    assert (off.json(), ada("get", one).json()["why"]) == ({"off": 1}, "drill")
    assert ada("post", f"{one}/off", {"reason": "x"}).status_code == 409
    assert ada("delete", one, {"reason": "over"}).status_code == 204
    plan.refresh_from_db()
    assert (plan.automatic, plan.created_by) == (None, "automatic: erp is away")


@pytest.mark.parametrize(
    "wrong",
    [
        {"failure_class": ""}, {"failure_class": "x"}, {"group": "G-1"}, {"waits": []}, {"waits": [0]}, {"waits": ["a"]}, {"waits": [1] * 11},
        {"per_hour": 0}, {"per_day": 10**9}, {"rate_per_s": "NaN"}, {"rate_per_s": 0}, {"success_percent": 100}, {"name": " "}, {"name": "\x00"},
        {"environment": "elsewhere"}, {"waits": None}, {"stop_failed_percent": -1},
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(wrong):
    answer = Caller("ada", Role.OPERATOR)("post", "rules/replay", WANTED | wrong)

    assert answer.status_code in (400, 404)
    assert answer.json()["detail"]
    assert AutomaticRule.objects.count() == 0


def test_viewers_look_operators_of_other_places_see_nothing():
    letter = died(1)[0]
    ada, vic = Caller("ada", Role.OPERATOR), Caller("vic", Role.VIEWER)
    one = f"rules/replay/{ada('post', 'rules/replay', WANTED).json()['id']}"
    environment("staging")
    stranger = Caller("sam")

    assert vic("get", one).status_code == 200
    assert stranger("get", one).status_code == 404
    for method, path, body in [
        ("post", "rules/replay", WANTED | {"name": "other"}), ("put", one, {"name": "x", "failure_class": "data"}),
        ("post", f"{one}/on", {"reason": "x"}), ("post", f"{one}/off", {"reason": "x"}), ("delete", one, {"reason": "x"}),
        ("post", "rules/replay/off", {"environment": "production", "reason": "x"}),
    ]:  # fmt: skip
        assert vic(method, path, body).status_code == 403, path
        assert stranger(method, path, body).status_code in (403, 404), path
    for path in (f"{one}x", "rules/replay/0", "rules/replay/99999999999999999999"):
        assert ada("get", path).status_code == 404

    group = FailureGroup.objects.get(pk=letter.group_id).reference
    of_group = f"rules/replay/{ada('post', 'rules/replay', WANTED | {'name': 'g', 'failure_class': '', 'group': group}).json()['id']}"
    Flow.objects.update(team=Team.objects.create(name="Payroll"))
    assert ada("get", of_group).status_code == 404, "its group is of a flow that she may not see"
    assert ada("post", "rules/replay", WANTED | {"name": "h", "failure_class": "", "group": group}).status_code == 404


def test_a_recipe_is_planned_by_one_request():
    line = memory_connection()
    died(1)
    ada, vic = Caller("ada", Role.OPERATOR), Caller("vic", Role.VIEWER)
    processed(20)
    on = ada("post", "rules/replay", WANTED).json()["id"]
    group = FailureGroup.objects.get().reference
    ada("put", f"rules/replay/{on}", {"name": "g", "group": group, "rate_per_s": 1000})
    ada("post", f"rules/replay/{on}/on", {"reason": "x"})
    run_rules()
    run_plan(Plan.objects.get(), line)
    assert ada("post", f"groups/{group}/recipes", {"like": Plan.objects.get().reference}).status_code == 201
    died(2)

    recipe = ada("get", f"groups/{group}/recipes").json()["results"][0]
    made = ada("post", f"groups/{group}/recipes", {"like": recipe["like"]})

    assert (recipe["times"], recipe["words"]) == (1, "replay at 1000/s")
    assert (made.status_code, made.json()["state"], made.json()["items"]) == (201, "draft", 2)
    assert vic("post", f"groups/{group}/recipes", {"like": recipe["like"]}).status_code == 403
    assert ada("post", f"groups/{group}/recipes", {"like": "P-0"}).status_code == 404
