"""The pages of failures: the list in order of reach, one group with its actions, and rights."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from console.audit.models import AuditEntry
from console.identity.models import Role, Team
from messages.groups import refresh
from messages.groups.refresh import refresh_groups
from messages.groups.ruling import NewGroupRule, add_rule
from messages.groups.services import merge_groups
from messages.groups.sweep import sweep_groups
from messages.models import DeadLetter, FailureGroup, Flow, GroupNote
from tests.factories import ROOT, agent_key, environment, event, memory_connection, push, stored_letter
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db


def fails(number: int, message: str = "", **changes: Any) -> DeadLetter:
    said = message or f"erp did not answer order {number} in 30 s"
    keys = {"order_no": f"47-{number}", "customer_no": str(number), "amount": "100", "currency": "EUR"}
    return stored_letter(**{"error": {"type": "ErpTimeout", "message": said, "stack": ""}, "keys": keys} | changes)


def two_groups() -> tuple[FailureGroup, FailureGroup]:
    small = fails(1, "vat_number is required")
    large, *_ = [fails(number) for number in range(3)]
    refresh_groups()
    return FailureGroup.objects.get(pk=large.group_id), FailureGroup.objects.get(pk=small.group_id)


def test_a_group_of_more_letters_than_are_read_says_which_of_its_figures_are_at_least_what_they_say(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(refresh, "MOST_READ", 3)
    for number in range(5):
        fails(number)
    refresh_groups()

    row = signed_in().get("/groups/").content.decode()
    told = dict(re.findall(r'data-label="(customers|documents|waiting)">(?:<b[^>]*>)?([^<]+)', row))

    assert told == {"customers": "3+", "documents": "3+", "waiting": "5"}
    assert '<span class="nowrap">at least</span> <span class="nowrap">€300</span>' in row


def test_of_more_failed_messages_than_are_looked_through_the_page_of_their_group_says_so():
    group = fails(1).group
    FailureGroup.objects.update(failed=5000, failed_capped=True)

    assert "5,000+ failed messages without a letter" in text_of(signed_in().get(f"/groups/{group.reference}/"))


def test_the_list_says_one_sentence_and_shows_what_reaches_furthest_first():
    large, small = two_groups()
    client = signed_in()

    page = client.get("/groups/")

    text = text_of(page)
    assert (
        "2 causes in 1 flow. The one that reaches furthest: ErpTimeout: erp did not answer order … in 30 s , 3 orders of 3 customers, €300."
        in text
    )
    assert text.index(large.reference) < text.index(small.reference)
    assert [line.group.pk for line in page.context["lines"]] == [large.pk, small.pk]


@pytest.mark.parametrize(
    ("documents", "letters", "said"),
    [(1, 3, "one order alone"), (2, 3, "few alone"), (0, 1, "one message alone"), (0, 2, "few alone")],
)
def test_the_list_says_whether_one_or_few_are_the_trouble(documents: int, letters: int, said: str):
    fails(1)
    FailureGroup.objects.update(spread="poison", documents=documents, letters=letters, word="order")

    assert f"· {said}" in text_of(signed_in().get("/groups/"))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", 2), ("?class=transient", 2), ("?class=data", 0), ("?state=open", 2), ("?state=acknowledged", 0), ("?owner=none", 2),
        ("?owner=member", 0), ("?flow=erp.orders", 2), ("?flow=nope", 0), ("?show=resolved", 0), ("?show=all", 2),
    ],
)  # fmt: skip
def test_filters_are_in_the_address(query: str, expected: int):
    two_groups()

    assert len(signed_in().get(f"/groups/{query}").context["lines"]) == expected


def test_a_filter_that_cannot_be_says_so_and_an_empty_list_says_what_stands_here():
    client = signed_in()

    assert client.get("/groups/?state=nonsense").status_code == 400
    assert client.get("/groups/?cursor=junk").status_code == 400
    odd = client.get("/groups/?show=zz")
    assert (odd.status_code, "Show is one of failing, resolved, all, not “zz”." in text_of(odd)) == (400, True)
    assert "Nothing is failing" in text_of(client.get("/groups/"))
    assert "No failure was resolved yet" in text_of(client.get("/groups/?show=resolved"))
    assert "Nothing matches" in text_of(client.get("/groups/?class=data"))


def test_the_sentence_is_of_what_the_list_is_narrowed_to():
    large, _ = two_groups()
    alone = fails(9, "out of memory", error={"type": "OutOfMemoryError", "message": "out of memory"}, origin="fan-bill")
    refresh_groups()
    FailureGroup.objects.filter(pk=alone.group_id).update(failure_class="poison")
    client = signed_in()

    for query in ("?class=poison", "?flow=fan-bill"):
        text = text_of(client.get(f"/groups/{query}"))
        assert "Of what fits: 1 cause in 1 flow. The one that reaches furthest: OutOfMemoryError: out of memory" in text
    assert "Of what fits: nothing is failing." in text_of(client.get("/groups/?class=throttled"))
    assert "Of what fits: 3 causes in 2 flows." in text_of(client.get("/groups/?owner=none"))
    client.post(f"/groups/{large.reference}/resolve/", {"reason": "over"})
    narrowed = client.get("/groups/?flow=erp.orders").content.decode()
    assert '<a class="link" href="?flow=erp.orders&amp;show=resolved">3 dead letters</a> of resolved causes' in narrowed
    assert "of resolved causes" not in text_of(client.get("/groups/?flow=fan-bill"))
    assert "2 causes in 2 flows." in text_of(client.get("/groups/?state=nonsense"))


def test_pages_of_the_list_are_complete_when_groups_tie():
    for number in range(7):
        fails(1, "tied", origin=f"flow-{number}")
    from messages.groups.queries import find_groups
    from tests.factories import ROOT

    seen, cursor = [], None
    while True:
        page = find_groups(ROOT, environments=[environment()], limit=3, cursor=cursor)
        seen += [one.pk for one in page.rows]
        if (cursor := page.next) is None:
            break

    assert len(seen) == len(set(seen)) == 7


def test_the_page_of_a_group_says_what_it_is_what_to_do_and_shows_its_letters():
    large, small = two_groups()
    change = {"id": "erp-2", "kind": "deployment", "title": "ERP 2", "systems": ["erp"], "version": "2"}
    push("/ingest/v1/changes", [change], key=agent_key())

    page = signed_in().get(f"/groups/{large.reference}/")

    text = text_of(page)
    assert "3 orders of 3 customers, €300, the oldest for" in text
    assert "Wait until the destination answers again, then replay." in text
    assert "erp 2" in text
    assert [letter.group_id for letter, _, _ in page.context["rows"]] == [large.pk] * 3
    assert "Select all 3 that match" in text
    assert signed_in("again").get(f"/groups/{small.pk}/").status_code == 200


def test_all_that_match_leads_to_the_selection_of_exactly_them():
    large, _ = two_groups()
    memory_connection()
    client = signed_in()

    answer = client.get(f"/groups/{large.reference}/letters/")

    asked = parse_qs(urlsplit(answer["Location"]).query)
    assert answer.status_code == 302
    assert set(asked["id"]) == {str(pk) for pk in DeadLetter.objects.filter(group=large).values_list("pk", flat=True)}
    assert "Send 3 dead letters again" in text_of(client.get(answer["Location"]))


def test_it_is_acknowledged_resolved_and_reopened_with_reasons_in_the_history():
    large, _ = two_groups()
    client = signed_in("member", Role.OPERATOR)
    path = f"/groups/{large.reference}/"

    assert client.post(f"{path}acknowledge/").status_code == 303
    assert FailureGroup.objects.get(pk=large.pk).owner.username == "member"
    refused = client.post(f"{path}resolve/", {"reason": " "})
    assert refused.status_code == 422
    assert "say why" in text_of(refused)
    assert client.post(f"{path}resolve/", {"reason": "the ERP is back"}).status_code == 303
    assert client.post(f"{path}acknowledge/").status_code == 422
    assert client.post(f"{path}reopen/", {"reason": "it was not"}).status_code == 303

    assert FailureGroup.objects.get(pk=large.pk).state == "open"
    assert [one.action for one in AuditEntry.objects.filter(object_kind="failuregroup").order_by("id")] == [
        "group.acknowledged", "group.resolved", "group.reopened",
    ]  # fmt: skip
    assert "the ERP is back" in text_of(client.get(path))


def test_it_is_given_to_an_operator_noted_and_has_a_runbook():
    large, _ = two_groups()
    client = signed_in("member", Role.OPERATOR)
    signed_in("watcher", Role.VIEWER)
    path = f"/groups/{large.reference}/"

    assert client.post(f"{path}assign/", {"owner": "member"}).status_code == 303
    assert client.post(f"{path}assign/", {"owner": "watcher"}).status_code == 404
    assert client.post(f"{path}note/", {"text": "<b>ask</b> the ERP team first"}).status_code == 303
    assert client.post(f"{path}note/", {"text": ""}).status_code == 422
    assert client.post(f"{path}runbook/", {"runbook_url": "javascript:alert(1)"}).status_code == 422
    assert client.post(f"{path}runbook/", {"runbook_url": "https://wiki/erp"}).status_code == 303

    page = client.get(path)
    assert "&lt;b&gt;ask&lt;/b&gt; the ERP team first" in page.content.decode()
    assert 'href="https://wiki/erp"' in page.content.decode()
    assert GroupNote.objects.get().author == "member"


def test_letters_of_resolved_groups_are_said_to_wait_and_nobody_calls_them_failing():
    large, small = two_groups()
    client = signed_in()

    client.post(f"/groups/{large.reference}/resolve/", {"reason": "over"})

    assert "1 cause in 1 flow." in text_of(client.get("/groups/"))
    assert "3 dead letters of resolved causes still wait." in text_of(client.get("/groups/"))
    overview = text_of(client.get("/"))
    assert "1 flow is failing. 4 messages wait for a person" in overview
    assert f"1 failed in {small.flow.name}" in overview
    client.post(f"/groups/{small.reference}/resolve/", {"reason": "over"})
    assert "Nothing is failing. 4 dead letters of resolved causes still wait." in text_of(client.get("/groups/"))
    assert "Every cause is resolved. 4 messages still wait for a person" in text_of(client.get("/"))


def test_merged_groups_speak_with_one_voice_and_are_taken_apart_again():
    large, small = two_groups()
    client = signed_in()

    assert (
        client.post(f"/groups/{small.reference}/merge/", {"into": large.reference, "reason": "one trouble"}).status_code
        == 303
    )
    refresh_groups()
    assert [line.group.pk for line in client.get("/groups/").context["lines"]] == [large.pk]
    assert len(client.get(f"/groups/{large.reference}/").context["rows"]) == 4
    assert f"{large.reference} speaks for it" in text_of(client.get(f"/groups/{small.reference}/"))
    assert fails(9, "vat_number is required").group_id == small.pk

    assert client.post(f"/groups/{small.reference}/apart/", {"reason": "it was not"}).status_code == 303
    refresh_groups()

    assert {line.group.pk: line.group.letters for line in client.get("/groups/").context["lines"]} == {
        large.pk: 3,
        small.pk: 2,
    }


def test_a_resolved_group_that_failed_while_another_spoke_for_it_is_regressed_when_it_is_taken_apart():
    large, small = two_groups()
    client = signed_in()
    client.post(f"/groups/{small.reference}/resolve/", {"reason": "over"})
    client.post(f"/groups/{small.reference}/merge/", {"into": large.reference, "reason": "one trouble"})
    client.post(f"/groups/{small.reference}/apart/", {"reason": "it was not"})
    assert FailureGroup.objects.get(pk=small.pk).state == "resolved"
    client.post(f"/groups/{small.reference}/merge/", {"into": large.reference, "reason": "one trouble"})
    fails(9, "vat_number is required")

    client.post(f"/groups/{small.reference}/apart/", {"reason": "it was not"})

    assert FailureGroup.objects.get(pk=small.pk).state == "regressed"


def test_older_notes_are_a_link_away():
    large, _ = two_groups()
    GroupNote.objects.bulk_create(GroupNote(group=large, author="ada", text=f"note {number}.") for number in range(101))
    client = signed_in()
    newest = client.get(f"/groups/{large.reference}/").content.decode()

    older = client.get(unescape(re.findall(r'href="([^"#]*notes=[^"#]*)#notes"', newest)[0])).content.decode()

    assert ("note 100." in newest, "note 1." in newest, "note 0." in newest) == (True, True, False)
    assert ("note 0." in older, "note 1." in older, "Older notes" in older) == (True, False, False)


def test_the_page_tells_of_deployments_of_who_sends_in_the_flow_of_a_group():
    deployed = {
        "kind": "deployment",
        "version": "2",
        "started_at": (datetime.now(UTC) - timedelta(minutes=5)).isoformat(),
    }
    changes = [deployed | {"id": name, "title": f"{name} 2", "systems": [name]} for name in ("shop", "crm")]
    push("/ingest/v1/changes", changes, key=agent_key())
    sent = [event(destination="erp.orders"), event(system="crm", destination="contacts")]
    push("/ingest/v1/events", sent, key=agent_key())
    group = fails(1).group
    assert group

    page = signed_in().get(f"/groups/{group.reference}/")

    assert [one.title for one, *_ in page.context["changes"]] == ["shop 2"]
    assert [one["label"] for one in page.context["suspects"]] == ["shop 2"]


def test_the_page_tells_of_deployments_where_a_group_failed_though_its_rule_leaves_the_system_out_or_a_part_failed_there():
    add_rule(environment(), NewGroupRule(name="Away", error_type="Away", parts=("error_type",)), by=ROOT)
    away = {"error": {"type": "Away", "message": "away", "stack": ""}}
    deployed = {
        "kind": "deployment",
        "version": "2",
        "started_at": (datetime.now(UTC) - timedelta(minutes=5)).isoformat(),
    }
    changes = [
        deployed | {"id": name, "title": f"{name} 2", "systems": [name]} for name in ("wms", "tms", "crm", "pos")
    ]
    push("/ingest/v1/changes", changes, key=agent_key())
    ruled = fails(1, system="wms", **away).group
    failed = event(
        system="tms", operation="process", outcome="error", destination="erp.orders", message_id="x" * 20, **away
    )
    push("/ingest/v1/events", [failed], key=agent_key())
    whole, part = fails(2, system="erp").group, fails(3, system="crm").group
    sweep_groups()
    merge_groups(whole, [part], by=ROOT, reason="one cause")
    client = signed_in()

    of_rule, of_whole = (client.get(f"/groups/{one.reference}/") for one in (ruled, whole))

    def told(page: Any) -> tuple[list[str], list[str]]:
        suspects = [one["label"] for one in page.context["suspects"]]
        return sorted(one.title for one, *_ in page.context["changes"]), sorted(suspects)

    assert told(of_rule) == (["tms 2", "wms 2"], ["tms 2", "wms 2"])
    assert told(of_whole) == (["crm 2"], ["crm 2"])


def test_another_teams_group_is_not_there_and_a_viewer_may_only_look():
    large, small = two_groups()
    Flow.objects.update(team=Team.objects.create(name="ERP team"))
    stranger, viewer = signed_in("stranger", Role.ADMINISTRATOR), signed_in("viewer", Role.VIEWER, team="ERP team")

    assert stranger.get("/groups/").context["lines"] == []
    assert "Nothing is failing" in text_of(stranger.get("/groups/"))
    for path in ("", "letters/", "split/"):
        assert stranger.get(f"/groups/{large.reference}/{path}").status_code == 404
    assert stranger.post(f"/groups/{large.reference}/acknowledge/").status_code == 404
    assert len(viewer.get("/groups/").context["lines"]) == 2
    assert "You may look" in text_of(viewer.get(f"/groups/{large.reference}/"))
    for path in ("acknowledge", "resolve", "note", "assign", "runbook", "merge", "apart", "split"):
        said = {"reason": "x", "text": "x", "into": small.reference, "part": "queue"}
        assert viewer.post(f"/groups/{large.reference}/{path}/", said).status_code == 403, path
    assert viewer.get("/groups/rules/new/").status_code == 403
    assert viewer.post("/groups/rules/apply/", {"reason": "x"}).status_code == 403
    assert "You may look" in text_of(viewer.get("/groups/rules/"))
    assert not AuditEntry.objects.filter(object_kind="failuregroup").exists()


def test_a_group_whose_letters_are_those_of_what_was_merged_into_it_shows_their_newest():
    large, small = two_groups()
    client = signed_in()
    DeadLetter.objects.filter(group=small).delete()
    client.post(f"/groups/{large.reference}/merge/", {"into": small.reference, "reason": "x"})

    page = client.get(f"/groups/{small.reference}/")

    assert page.context["sample"] == DeadLetter.objects.filter(group=large).latest("pk")


@pytest.mark.parametrize("reference", ["G-0", "G-99999999", "x", "G-" + "9" * 40, "-1", "%00"])
def test_a_reference_that_nothing_has_is_not_there(reference: str):
    assert signed_in().get(f"/groups/{reference}/").status_code == 404


def test_hostile_texts_of_failures_are_shown_as_text():
    attack = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    found = fails(1, attack, system=attack, queue=attack)
    refresh_groups()
    client = signed_in()

    for path in ("/groups/", f"/groups/G-{found.group_id}/", "/", f"/groups/G-{found.group_id}/split/?id={found.pk}"):
        assert "<script>alert" not in client.get(path).content.decode()
        assert "<img src=x" not in client.get(path).content.decode()


def test_failed_messages_without_letters_are_a_group_with_a_way_to_them():
    error = {"type": "E", "message": "no", "stack": ""}
    push("/ingest/v1/events", [event(system="erp", operation="process", outcome="error", error=error)], key=agent_key())
    sweep_groups()
    client = signed_in()
    group = FailureGroup.objects.get()

    text = text_of(client.get(f"/groups/{group.reference}/"))

    assert "1 failed message without a letter" in text
    assert len(client.get("/messages/", {"q": f"group:{group.reference} status:failed"}).context["rows"]) == 1
