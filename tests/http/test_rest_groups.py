"""REST of failure groups: what the pages do, with curl."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client

from console.audit.models import AuditEntry
from console.identity.models import Role, Team
from messages.groups import refresh
from messages.groups.refresh import refresh_groups
from messages.groups.ruling import NewGroupRule, add_rule
from messages.models import DeadLetter, FailureGroup, Flow, GroupNote, Message
from tests.factories import ROOT, api_key, environment, person, stored_letter

pytestmark = pytest.mark.django_db


class Api:
    """One key's view of /api/v1/."""

    def __init__(self, name: str = "root", role: Role = Role.OPERATOR, team: str = "Order team") -> None:
        self.key = api_key(person(name, role, team=team))

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        call = getattr(Client(raise_request_exception=False), method)
        more = {"data": body, "content_type": "application/json"} if body is not None else {}
        return call(f"/api/v1/{path}", HTTP_AUTHORIZATION=f"Bearer {self.key}", **more)


def three_letters() -> tuple[FailureGroup, FailureGroup]:
    for number in range(2):
        error = {"type": "ErpTimeout", "message": f"erp did not answer order {number}", "stack": ""}
        stored_letter(error=error, keys={"order_no": str(number), "customer_no": str(number)})
    stored_letter(
        error={"type": "ValueError", "message": "vat_number is required", "stack": ""}, keys={"order_no": "9"}
    )
    refresh_groups()
    large, small = FailureGroup.objects.order_by("-blast")
    return large, small


def test_groups_are_listed_filtered_and_paged():
    large, small = three_letters()
    api = Api()

    first = api("get", "groups?limit=1").json()
    second = Client().get(first["next"], HTTP_AUTHORIZATION=f"Bearer {api.key}").json()

    assert [one["reference"] for one in first["results"] + second["results"]] == [large.reference, small.reference]
    assert second["next"] is None
    told = first["results"][0]
    assert (told["reach"], told["state"], told["failure_class"], told["waiting"], told["environment"]) == (
        "2 orders of 2 customers", "open", "transient", 2, "production",
    )  # fmt: skip
    assert [one["reference"] for one in api("get", "groups?class=data").json()["results"]] == [small.reference]
    assert [one["reference"] for one in api("get", f"groups?q=group:{small.reference}").json()["results"]] == [
        small.reference
    ]
    environment("staging")
    for q, found in (
        (small.reference, [small]),
        (large.error_type.upper(), [large]),
        ("nobody said this", []),
        ("G-99999", []),
    ):
        assert [one["reference"] for one in api("get", f"groups?q={q}").json()["results"]] == [
            one.reference for one in found
        ], q
    assert api("get", f"groups?q={small.reference}&environment=staging").status_code == 404
    for wrong in ("state=x", "class=x", "show=x", "limit=0", "cursor=x", "owner=%00&state=x"):
        assert api("get", f"groups?{wrong}").status_code == 400, wrong


def test_one_group_says_its_hours_notes_runbook_and_owners():
    large, _ = three_letters()
    Flow.objects.update(runbook_url="https://wiki.example/flow")
    api = Api("member")
    assert api("post", f"groups/{large.reference}/notes", {"text": "ask the ERP team"}).status_code == 201
    assert api("put", f"groups/{large.reference}/runbook", {"runbook_url": ""}).status_code == 200

    told = api("get", f"groups/{large.reference.lower()}").json()

    assert sum(told["hours"]) == 2
    assert [note["text"] for note in told["notes"]] == ["ask the ERP team"]
    assert (told["runbook"], told["owners"], told["speaks_for"]) == ("https://wiki.example/flow", ["member"], [])
    assert told["action"].startswith("Wait until")
    assert api("get", f"groups/{large.reference}/notes").json()["results"][0]["author"] == "member"


def test_every_note_can_be_read_page_by_page_with_those_of_what_was_merged():
    large, small = three_letters()
    api = Api("member")
    api("post", f"groups/{large.reference}/merge", {"groups": [small.reference], "reason": "one trouble"})
    GroupNote.objects.bulk_create(
        GroupNote(group=(large, small)[number % 2], author="member", text=f"note {number}") for number in range(130)
    )
    texts, address = [], f"groups/{large.reference}/notes?limit=60"

    while address:
        page = api("get", address).json()
        texts += [note["text"] for note in page["results"]]
        address = (page["next"] or "").partition("/api/v1/")[2]

    assert texts == [f"note {number}" for number in reversed(range(130))]
    assert len(api("get", f"groups/{large.reference}").json()["notes"]) == 100
    assert api("get", f"groups/{large.reference}/notes?cursor=x").json()["code"] == "invalid_cursor"


def test_a_split_with_letters_of_other_groups_is_refused_and_takes_none():
    large, small = three_letters()
    ids = [str(pk) for pk in DeadLetter.objects.values_list("pk", flat=True)]

    refused = Api()("post", f"groups/{large.reference}/split", {"letters": ids, "name": "All", "reason": "odd"})

    other = DeadLetter.objects.get(group=small).pk
    assert (refused.status_code, refused.json()["detail"]) == (
        400, f"nothing was taken out: 1 of 3 letters is not in {large.reference}, such as {other}",
    )  # fmt: skip
    assert DeadLetter.objects.filter(group=large).count() == 2


def test_a_runbook_acknowledges_assigns_resolves_and_reopens():
    large, _ = three_letters()
    api = Api("member")
    path = f"groups/{large.reference}"

    assert api("post", f"{path}/acknowledge", {}).json()["owner"] == "member"
    assert api("post", f"{path}/acknowledge", {}).json()["code"] == "group_state"
    assert api("post", f"{path}/assign", {"owner": ""}).json()["owner"] is None
    assert api("post", f"{path}/assign", {"owner": "nobody"}).status_code == 404
    assert api("post", f"{path}/resolve", {}).status_code == 400
    assert api("post", f"{path}/resolve", {"reason": "over"}).json()["state"] == "resolved"
    assert api("post", f"{path}/reopen", {"reason": "not over"}).json()["state"] == "open"
    assert api("get", "groups?show=resolved").json()["results"] == []
    assert set(AuditEntry.objects.values_list("via", flat=True)) >= {"api"}


def test_groups_are_merged_taken_apart_and_split():
    large, small = three_letters()
    api = Api()

    merged = api("post", f"groups/{large.reference}/merge", {"groups": [small.reference], "reason": "one trouble"})
    assert merged.status_code == 200
    assert len(api("get", f"dead-letters?q=group:{large.reference}").json()["results"]) == 3
    assert api("get", f"groups/{small.reference}").json()["merged_into"] == large.reference
    assert api("post", f"groups/{small.reference}/acknowledge", {}).status_code == 409
    assert api("post", f"groups/{small.reference}/apart", {"reason": "two troubles"}).json()["merged_into"] is None
    assert api("post", f"groups/{small.reference}/apart", {"reason": "again"}).status_code == 409

    letter = str(DeadLetter.objects.filter(group=large).first().pk)
    made = api(
        "post", f"groups/{large.reference}/split", {"letters": [letter], "name": "This one", "reason": "odd"}
    ).json()
    assert api("get", f"dead-letters/{letter}").json()["group"] == made["group"]["reference"]
    assert (
        api("post", f"groups/{large.reference}/split", {"letters": [letter], "name": "x", "reason": "odd"}).status_code
        == 400
    )
    by_queue = api("post", f"groups/{large.reference}/split", {"by": "queue", "reason": "two queues"})
    assert (by_queue.status_code, by_queue.json()["group"]) == (201, None)
    assert api("post", f"groups/{large.reference}/split", {"by": "flow", "reason": "x"}).status_code == 400


def reach(answer: Any) -> tuple[int, int, str]:
    said = answer.json()
    said = said.get("group", said)
    return said["waiting"], said["documents"], said["reach"]


def test_who_merges_takes_apart_or_splits_reads_the_new_figures_at_once():
    large, small = three_letters()
    FailureGroup.objects.update(spread="outage", spread_words="nothing passes")
    api, path = Api(), f"groups/{large.reference}"

    merged = api("post", f"{path}/merge", {"groups": [small.reference], "reason": "one trouble"})
    whole = api("get", path)
    apart = api("post", f"groups/{small.reference}/apart", {"reason": "two troubles"})
    rest = api("get", path)
    letter = str(DeadLetter.objects.filter(group=large).first().pk)
    made = api("post", f"{path}/split", {"letters": [letter], "name": "This one", "reason": "odd"})
    left = api("get", path)
    api("post", f"{path}/split", {"by": "queue", "reason": "two queues"})
    by_rule = FailureGroup.objects.get(rule__isnull=False)

    assert reach(merged) == reach(whole) == (3, 3, "3 orders of at least 2 customers")
    assert (reach(apart), reach(rest)) == ((1, 1, "1 order"), (2, 2, "2 orders of 2 customers"))
    assert (reach(made), reach(left)) == ((1, 1, "1 order of 1 customer"),) * 2
    assert (reach(api("get", path)), by_rule.documents) == ((0, 0, "nothing waits"), 1)
    assert not FailureGroup.objects.exclude(spread_words="").filter(
        merged_into=None
    )  # told by the next run, of what is now
    assert FailureGroup.objects.filter(blast__gt=0).count() == refresh_groups()


def test_of_groups_too_large_to_be_counted_at_once_rest_and_page_say_that_they_are_being_counted(
    monkeypatch: pytest.MonkeyPatch,
):
    large, small = three_letters()
    monkeypatch.setattr(refresh, "MOST_AT_ONCE", 2)
    api, path = Api(), f"groups/{large.reference}"

    merged = api("post", f"{path}/merge", {"groups": [small.reference], "reason": "one trouble"}).json()
    refresh_groups()
    then = api("get", path).json()

    assert (merged["counted_at"], merged["reach"]) == (None, "being counted")
    assert (bool(then["counted_at"]), then["waiting"], then["reach"]) == (True, 3, "3 orders of at least 2 customers")
    assert "being counted" not in api("get", f"groups/{small.reference}").json()["reach"]


@pytest.mark.parametrize("groups", [[], ["G-99999"], ["self"]])
def test_what_cannot_be_merged_is_refused(groups: list[str]):
    large, _ = three_letters()
    wrong = {"groups": [large.reference if one == "self" else one for one in groups], "reason": "x"}

    assert Api()("post", f"groups/{large.reference}/merge", wrong).status_code in {400, 404}


def test_groups_of_two_flows_are_not_merged():
    large, _ = three_letters()
    other = stored_letter(origin="invoices")

    answer = Api()("post", f"groups/{large.reference}/merge", {"groups": [f"G-{other.group_id}"], "reason": "x"})

    assert answer.status_code == 400
    assert "of another flow" in answer.json()["detail"]


def test_rules_are_added_previewed_moved_changed_applied_and_removed():
    three_letters()
    api = Api()
    said = {"environment": "production", "name": "ERP", "step": "erp", "parts": ["step", "reason"]}

    preview = api("post", "rules/groups/preview", said).json()
    assert (
        preview["letters"],
        preview["moved"],
        preview["looked_at"],
        sum(way["count"] for way in preview["ways"]),
    ) == (3, 3, 3, 3)
    assert {way["after"] for way in preview["ways"]} == {"ERP: erp, delivery_limit"}
    first = api("post", "rules/groups", said).json()
    assert api("post", "rules/groups", said).status_code == 409
    second = api("post", "rules/groups", said | {"name": "Timeouts", "error_type": "*Timeout"}).json()
    assert api("post", f"rules/groups/{second['id']}/move", {"to": 1, "reason": "more exact"}).status_code == 204
    assert [one["name"] for one in api("get", "rules/groups").json()["results"]] == ["Timeouts", "ERP"]
    again = {"instead_of": first["id"], **said}
    assert api("post", "rules/groups/preview", again).json()["letters"] == 1
    changed = api("put", f"rules/groups/{first['id']}", {"name": "ERP", "step": "erp"}).json()
    assert (changed["parts"], api("get", f"rules/groups/{first['id']}").json()["id"]) == ([], first["id"])

    applied = api("post", "rules/groups/apply", {"environment": "production", "reason": "cleaner"}).json()

    assert applied == {"moved": 3, "more": False}
    assert set(DeadLetter.objects.values_list("group__name", flat=True)) == {"ERP", "Timeouts: erp, delivery_limit"}
    assert set(Message.objects.values_list("group_id", flat=True)) == set(
        DeadLetter.objects.values_list("group_id", flat=True)
    )
    assert api("post", "rules/groups/apply", {"environment": "production", "reason": "again"}).json()["moved"] == 0
    assert api("delete", f"rules/groups/{first['id']}", {"reason": "over"}).status_code == 204


@pytest.mark.parametrize(
    "wrong",
    [{"step": ""}, {"parts": ["flow"]}, {"parts": ["key."]}, {"failure_class": "x"}, {"reason": "x"}, {"name": ""},
     {"runbook_url": "ftp://x"}, {"parts": ["key.a"] * 9}, {"words": "x" * 400}],
)  # fmt: skip
def test_a_rule_that_cannot_be_is_refused(wrong: dict[str, Any]):
    environment()

    answer = Api()("post", "rules/groups", {"environment": "production", "name": "x", "step": "erp"} | wrong)

    assert answer.status_code == 400


def test_a_stranger_sees_nothing_and_a_viewer_changes_nothing():
    large, small = three_letters()
    Flow.objects.update(team=Team.objects.create(name="ERP team"))
    stranger, viewer = Api("stranger"), Api("viewer", Role.VIEWER, team="ERP team")
    path = f"groups/{large.reference}"
    why, of = {"reason": "x"}, {"environment": "production"}
    bodies = {
        "assign": why | {"owner": ""},
        "notes": {"text": "x"},
        "merge": why | {"groups": [small.reference]},
        "split": why | {"by": "queue"},
    }

    assert stranger("get", "groups").json()["results"] == []
    assert stranger("get", path).status_code == 404
    assert len(viewer("get", "groups").json()["results"]) == 2
    assert viewer("get", path).json()["owners"] == []
    for action in ("acknowledge", "resolve", "reopen", "assign", "notes", "merge", "apart", "split"):
        said = bodies.get(action, why)
        assert stranger("post", f"{path}/{action}", said).status_code == 404, action
        assert viewer("post", f"{path}/{action}", said).status_code == 403, action
    assert viewer("put", f"{path}/runbook", {"runbook_url": ""}).status_code == 403
    assert viewer("post", "rules/groups/apply", why | of).status_code == 403
    assert viewer("post", "rules/groups", of | {"name": "x", "step": "x"}).status_code == 403
    assert viewer("get", "rules/groups").status_code == 200
    assert stranger("post", "rules/groups/apply", why | of).json() == {"moved": 0, "more": False}


def test_a_rule_of_one_flow_is_seen_by_those_who_see_the_flow():
    stored_letter(origin="orders")
    Flow.objects.update(team=Team.objects.get_or_create(name="Order team")[0])
    group = FailureGroup.objects.get()
    owner, stranger = Api("olga"), Api("stan", team="Stock team")
    old = add_rule(environment(), NewGroupRule(name="Salary table missing", flow="orders", words="salary"), by=ROOT)
    made = owner("post", f"groups/{group.reference}/split", {"by": "queue", "reason": "two brokers"}).json()["rule"]
    wide = owner("post", "rules/groups", {"environment": "production", "name": "all", "words": "gone"}).json()["id"]

    assert {one["id"] for one in owner("get", "rules/groups").json()["results"]} == {made, wide, old.pk}
    everybodys = add_rule(environment(), NewGroupRule(name="every flow", words="gone"), by=ROOT).pk
    assert {one["id"] for one in stranger("get", "rules/groups").json()["results"]} == {everybodys}
    told = stranger("get", "audit").json()["results"]
    assert [one["object_label"] for one in told if one["action"].startswith("group_rule.")] == ["every flow"]
    assert stranger("get", f"rules/groups/{made}").status_code == 404
    assert stranger("delete", f"rules/groups/{made}", {"reason": "not mine"}).status_code == 404


@pytest.mark.parametrize(
    ("q", "instead"),
    [
        ("flow:orders.new", "narrow the list by its parameter flow"),
        ("timeout -class:transient", "narrow the list by its parameter class"),
        ("(state:open", "narrow the list by its parameter state"),
        ("age:>1h", "it is narrowed by flow, state"),
        ("((", "brackets alone"),
    ],
)
def test_what_looks_like_a_query_is_refused_as_the_list_takes_words(q: str, instead: str):
    three_letters()

    answer = Api()("get", f"groups?{urlencode({'q': q})}")

    assert answer.status_code == 400
    assert instead in answer.json()["detail"]


def test_words_with_a_colon_that_are_no_field_are_words():
    large, _ = three_letters()
    FailureGroup.objects.filter(pk=large.pk).update(title="ORA-00942: table (or view) http://erp is unknown")

    for q in ("ORA-00942: table", "(or view)", "http://erp"):
        assert [
            one["reference"] for one in Api("again" + q[:2])("get", f"groups?{urlencode({'q': q})}").json()["results"]
        ] == [large.reference]
