"""The overview, its verdict, and the first run."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from alerts.breaches.acts import acknowledge
from alerts.breaches.services import observe
from alerts.conditions import Severity
from console.identity.models import Key, Role
from messages.groups import standing
from messages.groups.refresh import refresh_groups
from messages.groups.services import merge_groups
from messages.groups.sweep import sweep_groups
from messages.models import DeadLetter, FailureGroup, Flow
from tests.breaches.breaching import NOON, condition, fired
from tests.factories import ROOT, agent_key, environment, event, memory_connection, push, stored_letter
from tests.pages.people import journey_of_two, signed_in, text_of
from tests.services.grouping import failed_event, merged, push_letters, timeout

pytestmark = pytest.mark.django_db


# overview and first run ----------------------------------------------------------------------------------------------


def test_the_verdict_counts_what_waits_by_flow_and_cause():
    for number in range(3):
        stored_letter(origin="erp.orders", error={"type": "ErpTimeout", "message": f"no answer {number}"})
    stored_letter(origin="invoices", error={"type": "ValueError", "message": "vat_number is required"})
    page = signed_in(superuser=True).get("/")

    assert re.search(
        r"2 flows are failing\. 4 messages wait for a person, the oldest for \d+ (s|min) ?\.", text_of(page)
    )
    assert "3 failed in erp.orders with ErpTimeout" in text_of(page)
    urls = re.findall(r'href="(/groups/G-\d+/)"', page.content.decode())
    client = signed_in("again", Role.ADMINISTRATOR)
    assert [len(client.get(url).context["rows"]) for url in urls] == [3, 1]


def test_the_oldest_letter_is_the_open_one_that_failed_first_whatever_its_group_and_with_or_without_one():
    causes = ("Replayed", "Merged", "Alone", "Newest")
    letters = [stored_letter(error={"type": cause, "message": "x"}) for cause in causes]
    for days, letter in zip((9, 8, 7, 1), letters, strict=True):
        DeadLetter.objects.filter(pk=letter.pk).update(failed_at=datetime.now(UTC) - timedelta(days=days))
    replayed, merged, alone, newest = letters
    DeadLetter.objects.filter(pk=replayed.pk).update(state="replaying")
    merge_groups(newest.group, [merged.group], by=ROOT, reason="one trouble")
    DeadLetter.objects.filter(pk=alone.pk).update(group=None)
    client = signed_in(superuser=True)

    found = []
    while (oldest := client.get("/").context["verdict"].oldest) is not None:
        found.append(oldest.pk)
        DeadLetter.objects.filter(pk=oldest.pk).update(state="replaying")

    assert found == [merged.pk, alone.pk, newest.pk]


def test_a_flow_whose_messages_fail_without_dead_letters_is_failing_as_the_list_of_groups_says():
    push("/ingest/v1/events", [failed_event(number) for number in range(3)], key=agent_key())
    sweep_groups()
    refresh_groups()
    client = signed_in(superuser=True)

    page = client.get("/")
    flow = Flow.objects.get(name="erp.orders")

    assert re.search(r"1 flow is failing\. 3 messages wait for a person, the oldest for \d+ (s|min) ?\.", text_of(page))
    assert "3 failed in erp.orders with ErpTimeout" in text_of(page)
    assert f'href="/groups/{FailureGroup.objects.get().reference}/"' in page.content.decode()
    assert "failed by hour, last 24 hours: 3" in page.content.decode()
    assert "1 cause in 1 flow." in text_of(client.get("/groups/"))
    [told] = client.get("/api/v1/overview").json()
    assert (told["flows_failing"], told["waiting"], sum(told["failing"][0]["hours"])) == (1, 3, 3)
    assert client.get(f"/api/v1/flows/{flow.pk}/figures").json()["waiting"] == 3
    assert f'href="/groups/?flow={flow.name}"' in client.get(f"/flows/{flow.pk}/").content.decode()
    FailureGroup.objects.update(state="resolved")
    assert "Nothing is failing. No message waits" in text_of(client.get("/"))


def test_letters_and_failed_messages_of_one_cause_are_added_once():
    (dead,) = push_letters(timeout(9))
    merged(dead.group, [push_letters(timeout(8, error={"type": "Other", "message": "x"}))[0].group])
    push("/ingest/v1/events", [failed_event(number) for number in range(3)], key=agent_key())
    sweep_groups()
    refresh_groups()

    page = signed_in(superuser=True).get("/")

    assert "1 flow is failing. 5 messages wait for a person" in text_of(page)
    group = page.context["verdict"].largest
    assert (group.letters, group.failed, sum(group.hours)) == (2, 3, 5)
    assert ">2</b></a>" in page.content.decode().split("Dead letters")[1][:60]


def test_the_oldest_is_a_failed_message_where_the_letter_before_it_is_being_replayed():
    now = datetime.now(UTC)
    dead, later = push_letters(timeout(8), timeout(9))
    for letter, days, state in ((dead, 3, "replaying"), (later, 0, "open")):
        DeadLetter.objects.filter(pk=letter.pk).update(state=state, failed_at=now - timedelta(days=days))
    failed_at = now - timedelta(hours=2)
    push("/ingest/v1/events", [failed_event(1, occurred_at=failed_at.isoformat())], key=agent_key())
    sweep_groups()
    refresh_groups()

    verdict = signed_in(superuser=True).get("/").context["verdict"]

    assert (verdict.waiting, verdict.replaying, verdict.oldest_at) == (2, 1, failed_at)
    assert (verdict.largest.group, verdict.largest.oldest_at) == (dead.group, now - timedelta(days=3))


def test_of_more_failed_messages_than_are_looked_at_it_says_at_least(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(standing, "MOST_READ", 3)
    push("/ingest/v1/events", [failed_event(number) for number in range(5)], key=agent_key())
    sweep_groups()
    refresh_groups()
    client, flow = signed_in(superuser=True), Flow.objects.get()

    page = client.get("/")

    assert "At least 3 messages wait for a person" in text_of(page)
    assert "At least 3 failed in" in text_of(page)
    assert ">3+</b>" in page.content.decode()
    assert all(">3+<" in client.get(path).content.decode() for path in ("/flows/", f"/flows/{flow.pk}/"))
    told = [client.get(f"/api/v1/{path}").json() for path in ("overview", f"flows/{flow.pk}/figures")]
    assert (told[0][0]["at_least"], told[0][0]["failing"][0]["at_least"], told[1]["at_least"]) == (True, True, True)


def test_when_nothing_waits_the_overview_says_so():
    journey_of_two()

    assert "Nothing is failing. No message waits for a person in production." in text_of(
        signed_in(superuser=True).get("/")
    )


def test_the_first_run_makes_a_real_key_shown_once_and_its_light_turns_green():
    environment()
    client = signed_in()
    assert "Waiting for the first event" in text_of(client.get("/"))

    shown = client.post("/first-run/key")
    key = re.search(r"wb_agent_\w+", shown.content.decode())
    assert key
    assert shown["Cache-Control"] == "no-store"
    assert "wb_agent" not in client.get("/").content.decode()

    assert "hx-trigger" in client.get("/first-run/light").content.decode()
    assert push("/ingest/v1/events", [event()], key=key[0]).status_code == 200
    light = client.get("/first-run/light")
    assert "The first event is here." in text_of(light)
    assert "hx-trigger" not in light.content.decode()


def test_only_administrators_make_keys():
    environment()
    for path in ("/first-run/key", "/agents/"):
        answer = signed_in(f"operator {path}", Role.OPERATOR).post(path, {"name": "mine"})
        assert answer.status_code in {403, 422}
    assert Key.objects.count() == 0


def test_what_is_being_replayed_does_not_wait_for_a_person():
    memory_connection()
    stored_letter()
    letter = stored_letter()
    client = signed_in(superuser=True)
    client.post(f"/dead-letters/{letter.pk}/replay/", {"reason": "again"})
    assert "1 message waits for a person" in text_of(client.get("/"))
    assert "1 more is being replayed" in text_of(client.get("/"))

    client.post(f"/dead-letters/{DeadLetter.objects.get(state='open').pk}/replay/", {"reason": "again"})

    assert "2 messages are being replayed in production; nothing else waits." in text_of(client.get("/"))


def test_the_rail_counts_on_the_overview_as_on_any_other_page():
    for number in range(3):
        stored_letter(error={"type": "ErpTimeout", "message": f"no answer {number}"})
    DeadLetter.objects.filter(pk=stored_letter(origin="invoices").pk).update(state="replaying")
    first, second = fired(), fired(key="8", severity=Severity.TICKET)
    fired(key="9", severity=Severity.TICKET)
    acknowledge(first, by=ROOT)
    over = timedelta(minutes=9)
    observe([condition("no", key=second.key, severity=Severity.TICKET)], now=NOON + over)
    observe([condition("no", key=second.key, severity=Severity.TICKET)], now=NOON + 2 * over)
    client = signed_in(superuser=True)

    def counts(url: str) -> dict[str, str]:
        lines = re.findall(r"</svg>([^<]+)<b[^>]*>([^<]+)</b></a>", client.get(url).content.decode().split("</nav>")[0])
        return dict(lines)

    assert counts("/") == counts("/flows/") == {"Dead letters": "4", "Breaches": "2"}
