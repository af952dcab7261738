"""Changes on pages: marks on charts and sparks, rows in journeys and logs, a sentence on dead letters; the list and its form."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from console.audit.models import AuditEntry
from console.identity.models import Role, Team
from messages.models import Change, DeadLetter, Flow, IngestReject, Message
from tests.factories import agent_key, environment, event, push, stored_letter
from tests.pages.people import TRACE, signed_in, text_of

pytestmark = pytest.mark.django_db
NOW = datetime.now(UTC).replace(microsecond=0)


def tell(title: str = "erp 2.4.1", *, ago_min: float = 0, **said: Any) -> Change:
    item = {"id": title, "kind": "deployment", "title": title, "systems": ["erp"]} | said
    item.setdefault("started_at", (NOW - timedelta(minutes=ago_min)).isoformat())
    answer = push("/ingest/v1/changes", [item], key=agent_key("pipeline")).json()
    assert answer["rejected"] == [], answer
    return Change.objects.get(external_id=title)


def journey(ago_min: float = 30, **changes: Any) -> Message:
    """An order that the ERP processes ten minutes after it was sent."""
    common = {"trace_id": TRACE, "destination": "erp.orders", "message_id": "order-4711-long-enough"} | changes
    sent, done = NOW - timedelta(minutes=ago_min), NOW - timedelta(minutes=ago_min - 10)
    events = [
        event(**common, span_id="a" * 16, occurred_at=sent.isoformat()),
        event(**common, span_id="b" * 16, system="erp", operation="process", occurred_at=done.isoformat()),
    ]
    push("/ingest/v1/events", events, key=agent_key())
    return Message.objects.get(message_id="order-4711-long-enough")


def body(page: Any) -> str:
    return html.unescape(page.content.decode())


# the overview ---------------------------------------------------------------------------------------------------------------


def test_the_overview_marks_changes_on_its_chart_with_label_and_exact_instant():
    journey()
    at = NOW - timedelta(hours=3)
    tell("Deploy", version="2.4.1", started_at=at.isoformat())
    tell("last week", ago_min=60 * 24 * 7)
    tell("tomorrow", started_at=(NOW + timedelta(days=1)).isoformat())

    page = signed_in("viewer", Role.VIEWER).get("/")

    titles = re.findall(r"<title>([^<]*)</title></rect>", body(page))
    assert titles == [f"erp 2.4.1, {at.day} {at:%b %Y, %H:%M:%S}.000 UTC"]
    assert re.search(r'<text class="said"[^>]*>erp 2\.4\.1</text>', body(page))
    assert "erp 2.4.1 deployed" in text_of(page)  # below the chart, for who has no pointer
    assert "last week" not in body(page)
    assert "tomorrow" not in body(page)


def test_the_hour_chart_shows_what_lasts_into_it_and_what_is_brand_new():
    journey()
    tell("ERP patch", kind="maintenance", ago_min=180)
    tell("just now")
    tell("this morning", ago_min=120)

    page = signed_in("viewer", Role.VIEWER).get("/?window=1h")

    bands = re.findall(r'<rect class="band" x="([\d.]+)%"[^>]*width="([\d.]+)%"', body(page))
    assert bands == [("0.00", "100.00")]
    assert "just now, " in body(page)
    assert "this morning" not in body(page)


def test_many_changes_at_one_time_collapse():
    journey()
    for number in range(3):
        tell(f"erp {number}", ago_min=300)

    page = signed_in("viewer", Role.VIEWER).get("/")

    assert re.search(r">3 deployments</text>", body(page))


def test_a_cause_shows_the_changes_to_its_own_flow_and_system():
    stored_letter(system="erp", error={"type": "ErpTimeout", "message": "no"})
    journey()
    tell("erp release", ago_min=5)
    tell("crm release", systems=["crm"], ago_min=5)
    tell("flow switched", systems=[], flows=["erp.orders"], kind="configuration", ago_min=5)
    tell("network down", systems=[], kind="maintenance", ago_min=5)

    spark = re.search(r'<svg class="spark".*?</svg>', body(signed_in("viewer", Role.VIEWER).get("/")), re.S)

    assert spark
    words = "\n".join(re.findall(r"<title>([^<]*)</title>", spark[0]))
    assert {"erp release", "flow switched", "network down"} <= {
        line.split(": ")[1].split(",")[0] for line in words.splitlines()
    }
    assert "crm release" not in words


# journeys, messages, dead letters, flows --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["message", "journey"])
def test_a_journey_shows_what_changed_during_it_and_just_before(path: str):
    message = journey(ago_min=30)
    tell("erp during", ago_min=25)
    tell("erp before", ago_min=42)
    tell("erp long before", ago_min=70)
    tell("erp after", ago_min=15)
    tell("crm during", ago_min=25, systems=["crm"])

    page = signed_in("viewer", Role.VIEWER).get(f"/messages/{message.id}/" if path == "message" else f"/j/{TRACE}")

    rows = re.findall(r"<li><span class=\"what\">.*?</li>", body(page), re.S)
    told = [text for row in rows if "deployed" in (text := re.sub(r"<[^>]+>|\s+", " ", row))]
    assert [re.sub(r"\s+", " ", text).strip() for text in told] == [
        "deployed: erp before 12 min before",
        "deployed: erp during",
    ]
    assert len(set(re.findall(r'<line class="mark" x1="([\d.]+)%"', body(page)))) == 1
    assert text_of(page).count("see the change") == 2
    for absent in ("long before", "erp after", "crm during"):
        assert absent not in body(page)


def test_a_dead_letter_says_what_was_deployed_before_it_failed():
    failed_at = NOW - timedelta(minutes=5)
    letter = stored_letter(failed_at=failed_at.isoformat(), system="erp")
    tell("Deploy ERP", version="2.4.1", ago_min=17)
    tell("crm", systems=["crm"], ago_min=10)
    tell("later", ago_min=1)
    tell("yesterday", ago_min=60 * 24)

    page = signed_in("viewer", Role.VIEWER).get(f"/dead-letters/{letter.pk}/")

    assert "deployed 12 min before this failed: erp 2.4.1" in text_of(page)
    assert "before this failed: " in text_of(page)
    for absent in ("crm", "later", "yesterday"):
        assert f"failed: {absent}" not in text_of(page)


def test_a_dead_letter_during_maintenance_says_so_and_a_cancelled_change_explains_nothing():
    letter = stored_letter(failed_at=(NOW - timedelta(minutes=5)).isoformat(), system="erp")
    tell("ERP patch", kind="maintenance", ago_min=20)
    tell("not gone out", outcome="cancelled", ago_min=8)

    page = signed_in("viewer", Role.VIEWER).get(f"/dead-letters/{letter.pk}/")

    assert "during maintenance, 15 min after it began: ERP patch" in text_of(page)
    assert "not gone out" not in text_of(page)


def test_a_flow_lists_what_changed_on_it_and_its_systems():
    journey()
    tell("erp release", ago_min=60)
    tell("crm release", systems=["crm"], ago_min=60)
    tell("tomorrow", kind="maintenance", started_at=(NOW + timedelta(days=1)).isoformat())

    page = signed_in("viewer", Role.VIEWER).get(f"/flows/{Flow.objects.get(name='erp.orders').pk}/")

    assert "erp release" in text_of(page)
    assert "tomorrow" in text_of(page)
    assert "crm release" not in text_of(page)


def test_a_withdrawn_change_marks_nothing():
    message = journey()
    letter = stored_letter(system="erp")
    change = tell("wrong one", ago_min=25)
    client = signed_in("operator", Role.OPERATOR)
    paths = ["/", f"/messages/{message.id}/", f"/dead-letters/{letter.pk}/", f"/flows/{message.flow_id}/", "/changes/"]
    before = ["wrong one" in body(client.get(path)) for path in paths]

    client.post(f"/changes/{change.pk}/withdraw/", {"reason": "it was staging"})

    assert before == [True] * len(paths)
    client.get("/changes/")  # the toast that names it
    assert ["wrong one" in body(client.get(path)) for path in paths] == [False] * len(paths)
    assert "wrong one" in body(client.get("/changes/?show=withdrawn"))


def test_a_change_of_another_teams_flow_marks_nothing_for_strangers():
    journey()
    Flow.objects.create(environment=environment(), name="payroll", team=Team.objects.create(name="Finance team"))
    change = tell("secret release", systems=[], flows=["payroll"], ago_min=5)
    stranger, mate = signed_in("stranger", Role.OPERATOR), signed_in("mate", Role.VIEWER, team="Finance team")

    assert ["secret release" in body(client.get("/")) for client in (stranger, mate)] == [False, True]
    assert ["secret release" in body(client.get("/changes/")) for client in (stranger, mate)] == [False, True]
    assert [client.get(f"/changes/{change.pk}/").status_code for client in (stranger, mate)] == [404, 200]


# the list, its form, one change -------------------------------------------------------------------------------------------------


def test_without_any_change_the_page_says_what_to_do_with_a_line_to_paste():
    environment()

    page = signed_in("viewer", Role.VIEWER).get("/changes/")

    assert "No change was told yet" in text_of(page)
    assert "curl -sS http://testserver/ingest/v1/changes" in body(page)
    assert "You may look." in text_of(page)


def test_the_tabs_and_filters_narrow_the_list():
    tell("erp release", version="2.4.1", ago_min=60, outcome="succeeded")
    tell("ERP patch", kind="maintenance", started_at=(NOW + timedelta(days=1)).isoformat())
    tell("limits", kind="configuration", systems=["crm"])
    client = signed_in("viewer", Role.VIEWER)

    def listed(query: str) -> set[str]:
        return {row[0].title for row in client.get(f"/changes/{query}").context["rows"]}

    assert listed("") == {"erp release", "ERP patch", "limits"}
    assert listed("?show=ahead") == {"ERP patch"}
    assert listed("?show=deployment") == {"erp release"}
    assert listed("?q=system:crm") == {"limits"}
    assert listed("?show=withdrawn") == listed("?flow=nothing") == set()
    assert client.get("/changes/?q=(").status_code == 400
    assert "Nothing matches" in text_of(client.get("/changes/?q=system:nobody"))


def said(**changes: str) -> dict[str, str]:
    return {"kind": "maintenance", "title": "ERP patch", "systems": "erp, crm", "flow": "", "version": "", "started_at": "",
            "ended_at": "", "url": ""} | changes  # fmt: skip


def test_an_operator_adds_a_window_by_hand():
    client = signed_in("operator", Role.OPERATOR)
    tomorrow = NOW + timedelta(days=1)

    answer = client.post(
        "/changes/",
        said(started_at=f"{tomorrow:%Y-%m-%dT%H:%M}", ended_at=f"{tomorrow + timedelta(hours=2):%Y-%m-%dT%H:%M}"),
    )

    change = Change.objects.get()
    assert (answer.status_code, answer["Location"]) == (303, f"/changes/{change.pk}/")
    assert (change.systems, change.author, change.agent) == (["erp", "crm"], "operator", None)
    assert (change.started_at, change.ended_at) == (
        tomorrow.replace(second=0),
        tomorrow.replace(second=0) + timedelta(hours=2),
    )
    assert "maintenance planned: ERP patch" in text_of(client.get(f"/changes/{change.pk}/"))
    entry = AuditEntry.objects.get(action="change.announced")
    assert (entry.actor, entry.object_label) == ("operator", "ERP patch")
    assert f'href="/changes/{change.pk}/"' in body(signed_in("admin").get("/audit/"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"title": ""}, "This field is required."),
        ({"kind": "party"}, "Select a valid choice"),
        ({"started_at": "tomorrow"}, "Enter a valid date/time."),
        ({"started_at": "2051-01-01T00:00"}, "A change lies within ten years back and one ahead."),
        ({"ended_at": "2026-01-01T00:00"}, "A change ends after it started."),
        ({"url": "javascript:alert(1)"}, "An address begins with http:// or https://"),
    ],
)
def test_what_cannot_be_is_said_in_the_form_and_keeps_what_was_written(changes: dict[str, str], words: str):
    given = said(**{"version": "7.7.7", "started_at": f"{NOW:%Y-%m-%dT%H:%M}"} | changes)

    answer = signed_in("operator", Role.OPERATOR).post("/changes/", given)

    assert answer.status_code == 422
    assert words in text_of(answer)
    assert 'value="7.7.7"' in body(answer)
    assert Change.objects.count() == 0


def test_a_viewer_sees_no_form_and_posting_one_is_forbidden():
    change = tell()
    client = signed_in("viewer", Role.VIEWER)

    assert "Add one by hand" not in text_of(client.get("/changes/"))
    assert client.post("/changes/", said()).status_code == 403
    assert client.post(f"/changes/{change.pk}/withdraw/", {"reason": "x"}).status_code == 403
    assert "Withdraw" not in text_of(client.get(f"/changes/{change.pk}/"))
    assert Change.objects.get().withdrawn_at is None


def test_one_change_says_everything_and_links_safely():
    tell(
        "Deploy ERP",
        version="2.4.1",
        url="https://ci.example/17?a=1&b=<x>".replace("<x>", "x"),
        author="ana",
        outcome="failed",
    )
    change = Change.objects.get()

    page = signed_in("viewer", Role.VIEWER).get(f"/changes/{change.pk}/")

    assert "deployment failed: erp 2.4.1" in text_of(page)
    assert re.search(r'href="https://ci\.example/17\?a=1&b=x" rel="noopener noreferrer"', body(page))
    assert "Nothing here is called system erp yet" in text_of(page)


def test_a_name_that_was_unknown_is_matched_once_it_is_there():
    change = tell("Deploy ERP", ago_min=42)
    client = signed_in("viewer", Role.VIEWER)
    assert "Nothing here is called" in text_of(client.get(f"/changes/{change.pk}/"))

    message = journey(ago_min=30)

    assert "Nothing here is called" not in text_of(client.get(f"/changes/{change.pk}/"))
    assert "Deploy ERP" in text_of(client.get(f"/messages/{message.id}/"))


def test_an_open_window_is_ended_and_a_withdrawal_needs_a_reason():
    change = tell("ERP patch", kind="maintenance", ago_min=60)
    client = signed_in("operator", Role.OPERATOR)
    path = f"/changes/{change.pk}/"
    assert "End it now" in text_of(client.get(path))

    ended = client.post(f"{path}end/", {"reason": ""})
    again = client.post(f"{path}end/", {})
    without = client.post(f"{path}withdraw/", {"reason": " "})
    client.post(f"{path}withdraw/", {"reason": "wrong"})

    assert (ended.status_code, again.status_code, without.status_code) == (303, 422, 422)
    assert "It has ended already" in text_of(again)
    assert "say why" in text_of(without)
    assert "“wrong”" in text_of(client.get(path)) or "wrong" in text_of(client.get(path))
    assert client.post(f"{path}withdraw/", {"reason": "again"}).status_code == 422
    assert list(AuditEntry.objects.order_by("id").values_list("action", flat=True)) == [
        "change.ended",
        "change.withdrawn",
    ]


def test_a_refused_change_is_mended_on_the_page_of_ingest():
    item = {"id": "1", "kind": "release", "title": "ERP", "flows": ["orders"]}
    Flow.objects.create(environment=environment(), name="orders", team=Team.objects.create(name="Owners"))
    push("/ingest/v1/changes", [item], key=agent_key())
    reject = IngestReject.objects.get()
    owner, other = signed_in("owner", Role.OPERATOR, team="Owners"), signed_in("other", Role.OPERATOR)
    path = f"/ingest/refused/{reject.pk}/"

    page = owner.get(path)
    still = owner.post(
        f"{path}resubmit/",
        {"text": html.unescape(re.findall(r"<textarea[^>]*>(.*?)</textarea>", page.content.decode(), re.S)[0])},
    )
    mended = owner.post(
        f"{path}resubmit/", {"text": '{"id": "1", "kind": "deployment", "title": "ERP", "flows": ["orders"]}'}
    )

    assert other.get(path).status_code == 404
    assert (still.status_code, mended.status_code) == (422, 303)
    assert (Change.objects.get().title, Change.objects.get().agent.name) == ("ERP", "shop agent")
    assert IngestReject.objects.filter(settled_at=None).count() == 0


def test_a_change_that_contradicts_what_is_known_stays_refused_when_it_is_sent_again():
    tell("erp")
    push("/ingest/v1/changes", [{"id": "erp", "kind": "maintenance", "title": "x"}], key=agent_key())
    reject = IngestReject.objects.get()

    answer = signed_in("operator", Role.OPERATOR).post(
        f"/ingest/refused/{reject.pk}/resubmit/", {"text": '{"id": "erp", "kind": "maintenance"}'}
    )

    assert (answer.status_code, "belongs to a deployment" in text_of(answer)) == (422, True)
    assert IngestReject.objects.filter(settled_at=None).count() == 1


def test_a_letter_without_any_change_before_it_says_nothing():
    letter = stored_letter()

    assert "before this failed" not in text_of(signed_in("viewer", Role.VIEWER).get(f"/dead-letters/{letter.pk}/"))
    assert DeadLetter.objects.count() == 1
