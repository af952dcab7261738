"""Objectives and exclusions by REST: everything that the pages do, and whose it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerts.models import Exclusion, Objective
from alerts.objectives import assess, importing
from alerts.objectives.importing import MOST_EXPORTED
from alerts.objectives.services import MOST_OBJECTIVES
from console.identity.models import Role, Team
from messages.models import SavedSearch
from tests.http.test_rest_administration import Caller
from tests.objectives.searching import on_search, operator
from tests.objectives.stored import DAY, HOUR, looked, promised, rolled
from tests.services.reconciling import flow

pytestmark = pytest.mark.django_db
WISH = {"environment": "production", "flow": "orders", "name": "Orders succeed", "kind": "success", "target": "0.995"}


def now() -> datetime:
    return datetime.now(UTC)


def test_a_promise_is_made_read_changed_and_removed():
    flow()
    ada = Caller("ada", Role.OPERATOR)

    made = ada("post", "objectives", WISH | {"window": "month", "time_zone": "Europe/Berlin"})
    assert made.status_code == 201, made.content
    one = f"objectives/{made.json()['id']}"

    assert ada("get", one).json() == made.json()
    assert made.json()["promise"] == "99.5 % of the attempts in orders succeed, a calendar month, Europe/Berlin"
    assert made.json()["pairs"] == ["1h-5m", "6h-30m", "1d-2h", "3d-6h"]
    changed = ada(
        "put", one, {"name": "In time", "kind": "freshness", "target": "0.9", "limit_minutes": 15, "pairs": ["6h-30m"]}
    )
    assert (changed.status_code, changed.json()["recover_minutes"], changed.json()["target"]) == (200, 1440, 0.9)
    assert ada("get", "objectives?environment=production&kind=freshness").json()["results"] == [ada("get", one).json()]
    assert ada("get", "objectives?kind=volume").json() == {"results": [], "next": None}
    assert ada("delete", one).status_code == 204
    assert ada("get", one).status_code == 404


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"target": "0.9", "pairs": ["1h-5m"]}, 400, "objective_invalid"),
        ({"kind": "latency", "limit_ms": 1000}, 400, "objective_invalid"),
        ({"target": "1.5"}, 400, "objective_invalid"),
        ({"target": "x"}, 400, "invalid"),
        ({"kind": "nonsense"}, 400, "invalid"),
        ({"flow": "nobody's"}, 404, "not_found"),
        ({"flow": ""}, 400, "objective_invalid"),
        ({"search": 1}, 404, "not_found"),
        ({"environment": "elsewhere"}, 404, "not_found"),
        ({"opens": "8"}, 400, "objective_invalid"),
        ({"days": -1}, 400, "objective_invalid"),
        ({"limit_minutes": 10**12, "kind": "freshness"}, 400, "objective_invalid"),
        ({"name": "\u0000"}, 400, "invalid"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], status: int, code: str):
    flow()
    ada = Caller("ada", Role.OPERATOR)

    answer = ada("post", "objectives", WISH | changes)

    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.content
    assert not Objective.objects.exists()


def test_budget_minutes_and_what_if():
    rolled(now() - 5 * HOUR, 90)
    rolled(now() - 3 * HOUR, 0, 10)
    one = promised(days=1, now=now(), target="0.9")
    looked(now())
    ada = Caller("ada", Role.OPERATOR)

    budget = ada("get", f"objectives/{one.pk}/budget").json()
    part = ada("get", f"objectives/{one.pk}/budget?since={(now() - 4 * HOUR).isoformat().replace('+', '%2B')}").json()
    minutes = ada(
        "get", f"objectives/{one.pk}/minutes?since={(now() - 6 * HOUR).isoformat().replace('+', '%2B')}"
    ).json()
    what_if = ada("get", f"objectives/{one.pk}/what-if?targets=80,90").json()["results"]

    assert (budget["good"], budget["lost"], budget["attained"], budget["unit"]) == (90, 10, 0.9, "events")
    assert (round(budget["budget"], 6), budget["spent"], round(budget["left"], 6)) == (10, 10, 0)
    assert (part["good"], part["lost"], part["attained"]) == (0, 10, 0)
    assert (sum(minutes["good"]), sum(minutes["lost"])) == (90, 10)
    assert [(row["target"], row["current"]) for row in what_if] == [(0.8, False), (0.9, True)]
    of_hours = ada("get", f"objectives/{one.pk}/budget?since=2026-01-02T03:30:00Z&until=2026-01-02T05:00:01Z").json()
    assert (of_hours["since"], of_hours["until"]) == ("2026-01-02T03:00:00Z", "2026-01-02T06:00:00Z")
    for junk in (
        "budget?since=yesterday",
        "budget?since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z",
        "budget?until=2026-01-01T00:00:00Z",
        "minutes?since=2026-01-01T00:00:00Z",
        "what-if?targets=x",
        "what-if?targets=0",
    ):
        assert ada("get", f"objectives/{one.pk}/{junk}").status_code == 400
    assert ada("get", "objectives?show=riks").json()["detail"] == "show is one of all, risk, no-data, kept, not “riks”"
    assert "dead_letter_age" in ada("get", "objectives?kind=sucess").json()["detail"]


def test_an_export_leaves_nothing_out_without_a_word(monkeypatch: pytest.MonkeyPatch):
    promised("One")
    promised("Another")
    ada = Caller("ada", Role.OPERATOR)
    assert ada("get", "objectives/openslo").json()["text"].count("kind: SLO") == 2
    monkeypatch.setattr(importing, "MOST_EXPORTED", 1)

    refused = ada("get", "objectives/openslo")

    assert (refused.status_code, "name an environment" in refused.json()["detail"]) == (400, True)
    assert MOST_EXPORTED == MOST_OBJECTIVES


def test_exclusions_are_made_listed_and_withdrawn():
    rolled(now() - 3 * HOUR, 5, 10)
    one = promised(days=1, now=now())
    looked(now())
    ada = Caller("ada", Role.OPERATOR)
    wish = {"starts_at": (now() - 4 * HOUR).isoformat(), "minutes": 120, "reason": "carrier", "category": "partner"}

    made = ada("post", "exclusions", wish | {"objective": one.pk})
    assert made.status_code == 201, made.content
    assess.assess(now())
    standing = ada("get", f"objectives/{one.pk}").json()["standing"]
    budget = ada("get", f"objectives/{one.pk}/budget").json()
    of_flow = ada(
        "post", "exclusions", wish | {"environment": "production", "flow": "orders", "rule": "FREQ=WEEKLY;BYDAY=SU"}
    )

    assert (standing["excluded"], standing["adjusted"], standing["lost"]) == (15, None, 10)
    assert len(budget["excluded"]) == 1
    assert of_flow.json()["flow"] == "orders"
    assert len(ada("get", f"exclusions?objective={one.pk}").json()["results"]) == 2
    pk = made.json()["id"]
    assert ada("get", f"exclusions/{pk}").json() == made.json()
    assert ada("post", f"exclusions/{pk}/withdraw", {"reason": "it did count"}).json()["withdrawn_by"] == "ada"
    assert ada("post", f"exclusions/{pk}/withdraw").status_code == 409
    assert ada("post", "exclusions", wish).status_code == 400
    assert ada("post", "exclusions", wish | {"objective": one.pk, "rule": "FREQ=SECONDLY"}).status_code == 400


def test_openslo_goes_out_and_comes_back():
    flow()
    ada = Caller("ada", Role.OPERATOR)
    ada("post", "objectives", WISH | {"method": "timeslices", "slice_minutes": 5, "pairs": ["6h-30m"]})

    text = ada("get", "objectives/openslo?environment=production").json()["text"]

    def looked_at(text: str, by: Caller = ada) -> list[str]:
        said = {"environment": "production", "text": text, "only_look": True}
        return [one["refusal"] for one in by("post", "objectives/openslo", said).json()["results"]]

    before = looked_at(text)
    twice = ada("post", "objectives/openslo", {"environment": "production", "text": text}).json()["results"]
    Objective.objects.all().delete()
    assert "already" in before[0]
    assert [bool(one) for one in looked_at(f"{text}---\n{text}")] == [False, True]
    assert "you may look" in looked_at(text, Caller("vera", Role.VIEWER))[0]
    assert not Objective.objects.exists()
    made = ada("post", "objectives/openslo", {"environment": "production", "text": text}).json()["results"]

    assert "already" in twice[0]["refusal"]
    one = Objective.objects.get(pk=made[0]["objective"])
    assert (one.name, one.method, one.slice_minutes, one.pairs, str(one.target)) == (
        "Orders succeed",
        "timeslices",
        5,
        ["6h-30m"],
        "0.99500000",
    )
    assert (
        ada("post", "objectives/openslo", {"environment": "production", "text": "a: ["}).json()["code"]
        == "openslo_invalid"
    )


@pytest.mark.parametrize(
    ("said", "unit"),
    [
        ({"kind": "freshness", "limit_minutes": 15}, "events"),
        ({"kind": "volume", "at_least": 1, "limit_minutes": 60}, "periods"),
        ({"kind": "dead_letter_age", "limit_minutes": 15}, "minutes"),
        ({"kind": "success", "method": "timeslices", "slice_minutes": 5}, "slices"),
    ],
)
def test_a_budget_says_what_it_is_counted_in(said: dict[str, Any], unit: str):
    one = promised(now=now(), **said)

    assert Caller("ada", Role.OPERATOR)("get", f"objectives/{one.pk}/budget").json()["unit"] == unit


def test_whose_they_are():
    mine = flow("orders", team=Team.objects.get_or_create(name="Order team")[0])
    one = promised(of=mine, now=now())
    ada, vic, sam = (
        Caller("ada", Role.OPERATOR),
        Caller("vic", Role.VIEWER),
        Caller("sam", Role.OPERATOR, team="Strangers"),
    )
    out = ada(
        "post", "exclusions", {"objective": one.pk, "starts_at": now().isoformat(), "minutes": 5, "reason": "x"}
    ).json()["id"]

    assert vic("get", f"objectives/{one.pk}").status_code == 200
    assert vic("post", "objectives", WISH).status_code == 403
    assert vic("delete", f"objectives/{one.pk}").status_code == 403
    assert (
        vic(
            "post", "exclusions", {"objective": one.pk, "starts_at": now().isoformat(), "minutes": 5, "reason": "x"}
        ).status_code
        == 403
    )
    assert vic("post", f"exclusions/{out}/withdraw").status_code == 403
    for path in ("", "/budget", "/minutes", "/what-if"):
        assert sam("get", f"objectives/{one.pk}{path}").status_code == 404
    assert sam("get", f"exclusions/{out}").status_code == 404
    assert sam("get", "objectives").json()["results"] == []
    assert sam("get", "exclusions").json()["results"] == []
    assert sam("get", "objectives/openslo").json()["text"] == ""
    assert Exclusion.objects.get().withdrawn_at is None
    assert now() - Exclusion.objects.get().created_at < timedelta(minutes=5)


def test_a_promise_of_another_kind_says_that_it_is_not_assessed_yet():
    """Until the next look it would have the figures of what it was."""
    rolled(now() - 2 * HOUR, 90, 10)
    one, ada = promised(now=now()), Caller("ada", Role.OPERATOR)
    looked(now())
    assert ada("get", f"objectives/{one.pk}").json()["standing"]["state"] == "spent"
    wish = {"name": one.name, "kind": "latency", "limit_ms": 1024, "target": "0.99"}

    changed = ada("put", f"objectives/{one.pk}", wish).json()
    [listed] = ada("get", "objectives").json()["results"]

    assert changed["verdict"] == "Nothing was measured yet: its history is being counted."
    for said in (changed["standing"], listed["standing"]):
        assert (said["state"], said["assessed_at"], said["attained"], said["lost"], said["left"]) == (
            "filling",
            None,
            None,
            0,
            1,
        )
    assert said["rules"] == []
    looked(now())
    renamed = ada("put", f"objectives/{one.pk}", wish | {"name": "Orders in time"}).json()
    assert renamed["standing"]["state"] == "kept"


HOOK = "https://hooks.slack.com/services/T/B/X"


@pytest.mark.parametrize(
    ("made", "change"),
    [
        (("objectives", WISH), {"target": 0.9, "pairs": ["6h-30m"]}),
        (("objectives", WISH | {"kind": "volume", "at_least": 5, "opens": "08:00", "closes": "18:00"}), {"at_least": 6}),
        (("saved-searches", {"environment": "production", "of": "messages", "name": "Mine", "q": "status:failed"}), {"name": "Others"}),
        (("alerting/policies", {"environment": "production", "wait_s": 20}), {"wait_s": 40}),
        (("rules/groups", {"environment": "production", "name": "ERP is away", "words": "did not answer", "parts": ["queue"]}), {"name": "Away"}),
        (("channels", {"environment": "production", "kind": "slack", "name": "Ops", "secrets": {"url": HOOK}}), {"name": "Operations"}),
        (("reports/schedules", {"environment": "production", "name": "Board", "cadence": "daily", "receivers": ["partner@example.org"]}), {"hour": 9}),
    ],
)  # fmt: skip
def test_what_get_answers_may_be_sent_back_whole_with_something_changed(made: Any, change: dict[str, Any]):
    flow()
    root = Caller("root", Role.ADMINISTRATOR)
    answer = root("post", *made)
    assert answer.status_code == 201, answer.content
    one = f"{made[0]}/{answer.json()['id']}"
    whole = root("get", one).json()

    changed = root("put", one, whole | change)

    assert changed.status_code == 200, changed.content
    assert {name: changed.json()[name] for name in change} == change
    for name in {"secrets", "receivers"}.intersection(whole):
        assert changed.json()[name] == whole[name]
    assert root("put", one, whole | {"nme": "x"}).status_code == 400


@pytest.mark.parametrize(
    "changes",
    [
        {"target": "0.5"},
        {"target": "0.999"},
        {"days": 1},
        {"window": "year"},
        {"window": "week", "time_zone": "Asia/Kathmandu"},
        {"method": "timeslices", "slice_minutes": 60, "slice_target": 0.5},
        {"method": "timeslices", "slice_minutes": 60, "slice_target": 0.5, "empty_is_good": True},
        {"method": "ratio_timeslices", "slice_minutes": 30},
    ],
)
def test_a_promise_that_was_changed_stands_at_once_as_its_budget_says(changes: dict[str, Any]):
    rolled(now() - 2 * DAY, 100, 1)
    rolled(now() - 5 * HOUR, 90, 10)
    one = promised(days=3, now=now(), target="0.9")
    looked(now())
    ada = Caller("ada", Role.OPERATOR)
    wish = {"name": one.name, "kind": "success", "target": "0.9", "days": 3} | changes

    answer = ada("put", f"objectives/{one.pk}", wish).json()
    budget = ada("get", f"objectives/{one.pk}/budget").json()
    looked(now())
    after = ada("get", f"objectives/{one.pk}").json()["standing"]

    told = {name: answer["standing"][name] for name in ("budget", "spent", "attained", "adjusted")}
    assert told == pytest.approx({name: budget[name] for name in told})
    assert answer["standing"]["left"] == pytest.approx(budget["left_ratio"])
    assert told == pytest.approx({name: after[name] for name in told}) or answer["standing"]["state"] == "filling"


@pytest.mark.parametrize(
    "changes", [{"flow": "another"}, {"flow": None}, {"search": 7}, {"environment": "staging"}, {"q": "status:failed"}]
)
def test_what_a_promise_is_about_does_not_change_without_a_word(changes: dict[str, Any]):
    flow("another")
    one = promised(now=now())
    ada = Caller("ada", Role.OPERATOR)
    answered = ada("get", f"objectives/{one.pk}").json()

    assert ada("put", f"objectives/{one.pk}", answered).status_code == 200
    refused = ada("put", f"objectives/{one.pk}", answered | changes)

    assert (refused.status_code, refused.json()["code"]) == (400, "objective_invalid")
    assert "does not change" in refused.json()["detail"]


def test_what_is_excluded_stands_at_once_as_its_budget_says():
    rolled(now() - 5 * HOUR, 90, 10)
    rolled(now() - 10 * HOUR, 50)
    one = promised(days=1, now=now(), target="0.9")
    looked(now())
    ada = Caller("ada", Role.OPERATOR)

    def figures() -> tuple[Any, ...]:
        standing, budget = (ada("get", f"objectives/{one.pk}{part}").json() for part in ("", "/budget"))
        standing = standing["standing"]
        assert (standing["adjusted"], standing["budget"]) == (budget["adjusted"], budget["budget"])
        return standing["adjusted"], standing["excluded"]

    said = {"objective": one.pk, "starts_at": (now() - 6 * HOUR).isoformat(), "minutes": 120, "reason": "carrier"}
    made = ada("post", "exclusions", said).json()

    assert figures() == (1.0, 100)
    ada("post", f"exclusions/{made['id']}/withdraw")
    assert figures() == (140 / 150, 0)


def test_a_promise_whose_search_was_removed_meanwhile_is_changed_all_the_same():
    ada = Caller("ada", Role.OPERATOR)
    one = on_search("status:failed", by=operator("ada"), now=now())
    answered = ada("get", f"objectives/{one.pk}").json()
    SavedSearch.objects.all().delete()

    changed = ada("put", f"objectives/{one.pk}", answered | {"target": 0.9})

    assert (changed.status_code, changed.json()["search"], changed.json()["target"]) == (200, None, 0.9)
    assert ada("put", f"objectives/{one.pk}", answered | {"flow": "orders"}).status_code == 400
