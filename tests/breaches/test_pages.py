"""Pages of breaches and policies: what they say, what their buttons do, who may see and press them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client

from alerts.breaches import acts
from alerts.breaches.policies import watch_groups
from alerts.breaches.services import flag_unwatched, observe
from alerts.conditions import Severity
from alerts.delivery.services import tell
from alerts.models import AlertPolicy, Breach, BreachEntry, GroupWatch, Silence, Telling
from console.audit.models import AuditEntry
from console.identity.models import Role
from tests.breaches.breaching import condition, fired, flow, now, orders_breach, policy
from tests.delivery.notices import memory_channel, notice
from tests.factories import ROOT, agent_key, environment, person, push
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db


def test_the_list_says_what_is_wrong_first_and_has_words_when_nothing_is():
    client = signed_in()
    assert "Nothing is wrong." in text_of(client.get("/breaches/"))
    orders_breach()
    observe([condition(key="8", severity=Severity.TICKET, title="Invoices", pending=timedelta(hours=1))])

    text = text_of(client.get("/breaches/"))

    assert "1 page that nobody has taken. Orders delivered in 5 min : 3.1 % of the orders" in text
    assert "1 may fire soon." in text
    assert "Invoices" in text
    assert "Invoices" not in text_of(client.get("/breaches/?severity=page"))
    assert "Nothing matches" in text_of(client.get("/breaches/?source=group"))
    assert "No breach is over yet" in text_of(client.get("/breaches/?show=resolved"))
    assert client.get("/breaches/?severity=loud").status_code == 400
    assert client.get("/breaches/?cursor=junk").status_code == 400
    for path, words in (
        ("", "Show is one of open, resolved, all, not “zz”."),
        ("silences/", "running, over, all, not “zz”"),
    ):
        odd = client.get(f"/breaches/{path}?show=zz")
        assert (odd.status_code, words in text_of(odd)) == (400, True), path
    assert '<a href="/breaches/" aria-current="page">' in client.get("/breaches/").content.decode()


def test_the_rail_counts_what_fires_and_the_person_may_see():
    orders_breach(), orders_breach("Invoice team", key="8")

    assert '<b class="hot">1</b>' in signed_in().get("/agents/").content.decode()
    assert '<b class="hot">2</b>' in signed_in("all", superuser=True).get("/agents/").content.decode()


def test_the_page_of_a_breach_says_who_has_it_what_happened_and_who_knows():
    client = signed_in()
    change = {
        "id": "1",
        "kind": "deployment",
        "title": "ERP 4.2.1",
        "flows": ["orders of Order team"],
        "version": "4.2.1",
    }
    breach = orders_breach()
    push("/ingest/v1/changes", [change], key=agent_key())

    text = text_of(client.get(f"/breaches/{breach.reference}/"))

    assert "It fires for 12 min, nobody has taken it." in text
    assert "It fired." in text
    assert "deployment: ERP 4.2.1" in text
    assert "Nobody: no policy says who is told here." in text
    policy()
    assert "Policy of everything else: not told yet" in text_of(client.get(f"/breaches/{breach.reference}/"))


def test_every_button_works_without_script_and_is_audited():
    client, breach = signed_in("olga"), orders_breach()
    address = f"/breaches/{breach.reference}/"

    for action, said in (
        ("acknowledge", {"reason": "on it"}),
        ("assign", {"owner": ""}),
        ("note", {"text": "the ERP is down"}),
        ("silence", {"hours": "4", "reason": "known", "end_when_resolved": "1"}),
    ):
        answer = client.post(f"{address}{action}/", said)
        assert (answer.status_code, answer["Location"]) == (303, address), action

    breach.refresh_from_db()
    assert (breach.state, breach.acknowledged_by, breach.owner) == ("acknowledged", "olga", None)
    assert breach.silenced_by is not None
    assert list(AuditEntry.objects.order_by("pk").values_list("action", "actor")) == [
        ("breach.acknowledged", "olga"), ("breach.assigned", "olga"), ("breach.noted", "olga"), ("silence.created", "olga"),
    ]  # fmt: skip
    text = text_of(client.get(address))
    assert "olga wrote: the ERP is down" in text
    assert "Silenced by olga until" in text


def test_who_acknowledges_what_somebody_else_owns_is_not_told_that_it_is_theirs():
    person("owen", Role.OPERATOR)
    client, breach = signed_in("olga"), orders_breach()
    address = f"/breaches/{breach.reference}/"
    client.post(f"{address}assign/", {"owner": "owen"})

    text = text_of(client.post(f"{address}acknowledge/", follow=True))

    assert f"{breach.reference} is acknowledged: who was told hears that somebody is on it." in text


def test_what_is_pressed_twice_is_done_once():
    client, breach = signed_in(), orders_breach()
    for _ in range(2):
        client.post(f"/breaches/{breach.reference}/note/", {"text": "once"})
        client.post(f"/breaches/{breach.reference}/silence/", {"hours": "1", "reason": "once"})
    assert client.post(f"/breaches/{breach.reference}/acknowledge/").status_code == 303

    again = client.post(f"/breaches/{breach.reference}/acknowledge/")

    assert again.status_code == 422
    assert "somebody was faster, or it is over" in text_of(again)
    assert BreachEntry.objects.filter(kind="note").count() == Silence.objects.count() == 1


def test_a_refusal_keeps_what_was_written():
    client, breach = signed_in(), orders_breach()

    for action, said, words in (
        ("assign", {"owner": "nobody-here"}, "no operator of all its flows"),
        ("silence", {"hours": "4", "reason": " "}, "say in the comment why"),
        ("silence", {"hours": "999999", "reason": "x"}, "choose for how long"),
        ("note", {"text": " "}, "a note has words"),
        ("close", {"reason": "x"}, "is looked at"),
    ):
        answer = client.post(f"/breaches/{breach.reference}/{action}/", said)
        assert answer.status_code in (404, 422), action
        assert words.lower() in text_of(answer).lower()


def test_a_breach_that_nobody_looks_at_says_so_and_can_be_closed():
    client, breach = signed_in(), fired(now() - timedelta(hours=2))
    flag_unwatched()

    assert "Nobody looks at it since" in text_of(client.get(f"/breaches/{breach.reference}/"))
    assert client.post(f"/breaches/{breach.reference}/close/", {"reason": "the objective is gone"}).status_code == 303
    assert Breach.objects.get().state == "resolved"


def test_a_breach_that_cannot_be_measured_can_be_closed_after_an_hour():
    client, breach = signed_in(), fired(now() - timedelta(hours=3))
    page, closes = f"/breaches/{breach.reference}/", f"/breaches/{breach.reference}/close/"
    observe([condition("unknown")], now=now() - timedelta(minutes=30))
    early = client.get(page).content.decode()
    Breach.objects.update(frozen_at=now() - timedelta(minutes=61))  # and it is looked at still

    late = client.get(page).content.decode()

    assert (closes in early, closes in late) == (False, True)
    assert client.post(closes, {"reason": "its agent is gone"}).status_code == 303
    assert Breach.objects.get().state == "resolved"


def test_what_holds_a_breach_back_is_said_on_both_pages():
    client = signed_in()
    page = orders_breach(key="7:fast")
    ticket = orders_breach(key="7:slow", severity=Severity.TICKET)

    assert f"Held back by {page.reference} : nobody is told" in text_of(client.get(f"/breaches/{ticket.reference}/"))
    assert f"It holds back {ticket.reference}" in text_of(client.get(f"/breaches/{page.reference}/"))
    assert "1 is held back." in text_of(client.get("/breaches/"))


# rights -------------------------------------------------------------------------------------------------------------------


def test_a_breach_is_for_who_sees_all_of_its_flows_and_acts_are_for_operators():
    breach = orders_breach()
    both = fired(key="9", title="Both together", flow_ids=(*breach.flow_ids, flow("invoices", "Invoice team").pk))
    general = fired(key="10")
    viewer, stranger, elsewhere = (
        signed_in("viewer", Role.VIEWER), signed_in("stranger", team="Invoice team"), Client(),
    )  # fmt: skip
    elsewhere.force_login(person("elsewhere", Role.ADMINISTRATOR, slug="staging"))

    assert [viewer.get(f"/breaches/{one.reference}/").status_code for one in (breach, both, general)] == [200, 404, 200]
    assert [stranger.get(f"/breaches/{one.reference}/").status_code for one in (breach, both, general)] == [
        404,
        404,
        200,
    ]
    assert [elsewhere.get(f"/breaches/{one.reference}/").status_code for one in (breach, both, general)] == [404] * 3
    assert both.title not in text_of(viewer.get("/breaches/"))
    for action in ("acknowledge", "assign", "note", "silence"):
        said = {"text": "x", "hours": "4", "reason": "x"}
        assert viewer.post(f"/breaches/{breach.reference}/{action}/", said).status_code == 403
        assert stranger.post(f"/breaches/{breach.reference}/{action}/", said).status_code == 404
    assert "You may look" in text_of(viewer.get(f"/breaches/{breach.reference}/"))
    assert Breach.objects.exclude(state="firing").count() == Silence.objects.count() == 0


def test_only_operators_of_every_flow_can_own_a_breach():
    breach, operator = orders_breach(), person("operator", Role.OPERATOR)
    person("viewer", Role.VIEWER), person("other", Role.OPERATOR, team="Invoice team")
    client = signed_in()

    assert client.post(f"/breaches/{breach.reference}/assign/", {"owner": "other"}).status_code == 404
    assert client.post(f"/breaches/{breach.reference}/assign/", {"owner": "viewer"}).status_code == 404
    assert client.post(f"/breaches/{breach.reference}/assign/", {"owner": "operator"}).status_code == 303
    assert Breach.objects.get().owner == operator
    owners = client.get(f"/breaches/{breach.reference}/").content.decode()
    assert '<option value="other">' not in owners


# policies -----------------------------------------------------------------------------------------------------------------

SAID = {
    "team": "", "page_channels": ["1", "4"], "ticket_channels": ["2"], "step0_minutes": "15", "step0_channels": ["4"], "step1_minutes": "45",
    "step1_channels": ["5"], "days": ["1", "2", "3", "4", "5"],
    "from_clock": "08:00", "until_clock": "18:00", "time_zone": "Europe/Berlin", "wait_s": "30", "repeat_minutes": "240", "quiet_minutes": "30",
}  # fmt: skip


def test_policies_are_made_changed_and_removed():
    client = signed_in()
    assert "Nobody is told" in text_of(client.get("/settings/alerting/"))

    assert client.post("/settings/alerting/new/", SAID).status_code == 303

    made = AlertPolicy.objects.get()
    assert (made.page_channels, made.steps[1]) == ([1, 4], {"after_minutes": 45, "channels": [5]})
    words = "Pages to channel 1, channel 4; tickets to channel 2 (Mon to Fri, 08:00 to 18:00, Europe/Berlin); after 15 min to channel 4;"
    assert words in text_of(client.get("/settings/alerting/"))
    assert client.post("/settings/alerting/new/", SAID).status_code == 422
    assert client.post(f"/settings/alerting/{made.pk}/", SAID | {"page_channels": ["9"]}).status_code == 303
    made.refresh_from_db()
    assert made.page_channels == [9]
    assert client.post(f"/settings/alerting/{made.pk}/", SAID | {"time_zone": "Mars"}).status_code == 422
    assert client.post(f"/settings/alerting/{made.pk}/remove/", {"reason": "x"}).status_code == 303
    assert not AlertPolicy.objects.exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"page_channels": ["mail"]}, "mail is not one of the available choices"),
        ({"step0_minutes": "soon"}, "whole number"),
        ({"step0_minutes": ""}, "after how many minutes"),
        ({"from_clock": "8h"}, "08:30"),
        ({"step1_channels": []}, "at least one"),
    ],
)
def test_a_policy_that_cannot_be_read_is_refused_with_its_words(changes, words):
    answer = signed_in().post("/settings/alerting/new/", SAID | changes)

    assert answer.status_code == 422
    assert words in text_of(answer)


def test_who_may_not_say_who_is_told_may_look():
    operator, made = signed_in("operator", Role.OPERATOR), policy()

    assert operator.get("/settings/alerting/").status_code == 200
    assert "You may look" in text_of(operator.get(f"/settings/alerting/{made.pk}/"))
    assert operator.post(f"/settings/alerting/{made.pk}/", SAID).status_code == 422
    assert operator.post(f"/settings/alerting/{made.pk}/remove/", {"reason": "x"}).status_code == 403
    assert operator.post("/settings/alerting/new/", SAID).status_code == 422
    assert operator.post("/settings/alerting/groups/", {"class-data": "page"}).status_code == 403
    assert AlertPolicy.objects.get().page_channels == [1]


def test_classes_of_failures_that_make_a_breach_are_chosen():
    client = signed_in()

    assert (
        client.post("/settings/alerting/groups/", {"class-data": "page", "class-poison": "ticket"}).status_code == 303
    )
    before = GroupWatch.objects.get(failure_class="data").since
    assert client.post("/settings/alerting/groups/", {"class-data": "ticket"}).status_code == 303

    assert list(GroupWatch.objects.values_list("failure_class", "severity", "since")) == [("data", "ticket", before)]
    watch_groups(environment(), {"data": ""}, by=ROOT)
    assert not GroupWatch.objects.exists()


def test_a_hostile_title_is_text():
    breach = orders_breach(title="<script>alert(1)</script>", summary="<img src=x>", labels={"<b>": "<i>"})
    acts.add_note(breach, "<script>", by=ROOT)
    client = signed_in()

    for address in ("/breaches/", f"/breaches/{breach.reference}/"):
        assert "<script>alert" not in client.get(address).content.decode()
        assert "<img src=x>" not in client.get(address).content.decode()


def test_the_page_says_that_nobody_is_told_where_only_others_have_a_policy():
    policy("Others")
    breach = orders_breach()

    answer = signed_in().get(f"/breaches/{breach.reference}/")

    assert "Nobody: no policy tells of its flows, and none of everything else." in text_of(answer)
    assert "Say who is told" in text_of(answer)


def test_the_page_lists_what_each_policy_told_of_a_breach():
    policy("Order team", page_channels=(1,)), policy(page_channels=(2,))
    others = flow("of nobody")
    breach = orders_breach()
    Breach.objects.filter(pk=breach.pk).update(flow_ids=[*breach.flow_ids, others.pk])
    for number, one in enumerate(AlertPolicy.objects.order_by("pk")):
        channel = memory_channel(f"channel of {number}")
        thread = f"waybill/production/{breach.reference}"
        Telling.objects.update_or_create(
            breach=breach,
            policy=one,
            defaults={
                "said": "firing",
                "thread": thread,
                "channels": [channel.pk],
                "began_at": now(),
                "told_at": now(),
            },
        )
        tell(notice(thread=thread), [channel.pk])

    text = text_of(signed_in("root", superuser=True).get(f"/breaches/{breach.reference}/"))

    assert "channel of 0 firing" in text
    assert "channel of 1 firing" in text
