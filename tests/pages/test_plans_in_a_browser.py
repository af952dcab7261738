"""A plan in Chromium, by keyboard: ticked, approved by a second person, it stops itself at its canary, goes on, and is proved."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from playwright.sync_api import Browser, expect

from console.core.bundles import write_bundles
from messages.models import DeadLetter, Flow, Plan, Replay
from messages.plans.advance import advance_plan
from messages.plans.selection import Selection
from messages.plans.services import Options, create_plan, pause_plan, request_approval, start_plan
from messages.plans.stops import stop_replays
from messages.replay.proofs import settle_replays
from messages.replay.sending import send_due
from tests.axe import faults_of
from tests.factories import ROOT, agent_key, environment, event, letter, memory_connection, push
from tests.pages.keys import press
from tests.pages.test_in_a_browser import browser, sign_in, unsafe_async  # noqa: F401  fixtures
from tests.product import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]
ERROR = {"type": "java.net.SocketTimeoutException", "message": "erp.example:8443 did not answer in 30 s", "stack": ""}


@pytest.fixture(scope="module", autouse=True)
def bundle() -> None:
    """What set-up writes, and the test's server finds as collectstatic would."""
    write_bundles(Path(settings.CONFIG.data))


def orders(count: int) -> list[DeadLetter]:
    """Orders that the ERP did not answer, the one that failed first first."""
    first = datetime.now(UTC) - timedelta(hours=3)
    made = [
        letter(
            failed_at=(first + timedelta(seconds=number)).isoformat(), error=ERROR,
            keys={"order_no": f"4711-{2200 + number}", "customer_no": f"10{number % 7}"},
        )
        for number in range(count)
    ]  # fmt: skip
    assert push("/ingest/v1/dead-letters", made, key=agent_key("harvester")).json()["accepted"] == count
    return list(DeadLetter.objects.order_by("failed_at"))


def prove(replays: list[Replay]) -> None:
    """Report, as the ERP does, that it processed these."""
    now = datetime.now(UTC).isoformat()
    proofs = [
        event(system="erp", operation="process", destination="erp.orders", message_id="", trace_id=one.trace_id.hex, occurred_at=now)
        for one in replays
    ]  # fmt: skip
    push("/ingest/v1/events", proofs, key=agent_key("erp exporter"))
    settle_replays()


def work(plan: Plan, line: int) -> Plan:
    """Do what the workers do in a second."""
    advance_plan(plan.pk)
    send_due(line)
    plan.refresh_from_db()
    return plan


def sent(plan: Plan, line: int) -> int:
    work(plan, line)
    return Replay.objects.filter(plan=plan, sent_at__isnull=False).exclude(state="sending").count()


def test_a_plan_from_ticked_rows_to_its_proofs_by_two_people_at_the_keyboard(browser: Browser, live_server: Any):  # noqa: F811
    line = memory_connection().pk
    chosen = orders(3)
    Flow.objects.filter(pk=chosen[0].flow_id).update(approve_above=0)
    author, second = sign_in(browser, live_server.url), sign_in(browser, live_server.url)
    complaints: list[str] = []
    for one in (author, second):
        one.on("pageerror", lambda error: complaints.append(str(error)))

    # tick two, plan them
    author.goto(f"{live_server.url}/dead-letters/")
    expect(author.locator("main")).to_contain_text("Plan a replay of all 3 that wait")
    press(author, *"jxjx")
    expect(author.locator("[data-pick-count]")).to_have_text("2 selected")
    press(author, "p")
    expect(author.locator("h1")).to_have_text("Plan a replay of 2 dead letters, in production")
    author.keyboard.type("erp 4.2.2 is out")  # the focus is in the reason
    author.locator("[name=waves]").fill("1, 100%")
    press(author, "Enter")
    expect(author.locator("h1")).to_have_text("Replay 2 orders to erp.orders")
    expect(author.locator(".verdict")).to_contain_text("Sends 2 orders to erp.orders over redis")
    plan = Plan.objects.get()

    # a second person approves exactly this
    press(author, "s")
    expect(author.locator("#plan-now")).to_contain_text("A second person must approve it.")
    second.goto(author.url)
    press(second, "a")
    expect(second.locator("#approve")).to_contain_text(plan.checksum)
    press(second, "Enter")
    expect(second.locator("#plan-now .chip").first).to_have_text("approved, not started")

    # the author's page has seen it; the start counts down, is taken back, and made again
    expect(author.locator("#plan-now .chip").first).to_have_text("approved, not started", timeout=15_000)
    press(author, "s")
    expect(author.locator("#plan-now")).to_contain_text("Begins in")
    press(author, "u")
    expect(author.locator("#plan-now .chip").first).to_have_text("approved, not started")
    press(author, "s")
    expect(author.locator("#plan-now")).to_contain_text("Begins in")
    Plan.objects.filter(pk=plan.pk).update(begins_at=datetime.now(UTC))

    # the canary fails again, and the plan stops itself
    wait_until(lambda: sent(plan, line) == 1, seconds=20, what="the canary to be sent")
    expect(author.locator("#plan-now .chip").first).to_have_text("running, wave 1 of 2", timeout=15_000)
    canary = Replay.objects.get(plan=plan)
    push("/ingest/v1/dead-letters", [letter(replay_id=str(canary.pk), error=ERROR)], key=agent_key("harvester"))
    work(plan, line)
    expect(author.locator("#plan-now")).to_contain_text("It stopped itself. 1 of 1 failed again", timeout=15_000)
    expect(author.locator("#plan-items")).to_contain_text("failed again")

    # the ERP is mended: resume, and the rest is proved
    press(author, "r")
    expect(author.locator("#resume-reason")).to_be_focused()
    author.keyboard.type("erp is mended")
    press(author, "Enter")
    expect(author.locator("#plan-now .chip").first).to_contain_text("running")
    wait_until(lambda: sent(plan, line) == 2, seconds=20, what="the second wave to be sent")
    rest = list(Replay.objects.filter(plan=plan).exclude(pk=canary.pk))
    assert [one.state for one in rest] == ["confirmed"]
    press(author, "p")
    expect(author.locator("#plan-now .chip").first).to_contain_text("paused")
    press(author, "r")
    expect(author.locator("#resume-reason")).to_be_focused()
    press(author, "Enter")
    expect(author.locator("#plan-now .chip").first).to_contain_text("running")
    prove(rest)
    work(plan, line)

    expect(author.locator("#plan-now .chip").first).to_have_text("finished", timeout=15_000)
    expect(author.locator("#plan-now .legend")).to_contain_text("1 processed, proved by erp")
    proof = author.locator("#plan-items a", has_text="erp success")
    expect(proof).to_have_attribute(
        "href", f"/j/{rest[0].trace_id.hex}#event-{Replay.objects.get(pk=rest[0].pk).proof_event_id}"
    )
    expect(author.locator("#plan-chart [data-figures][data-drawn]")).to_have_count(1, timeout=20_000)
    assert complaints == []


def estate() -> list[str]:
    """Plans in the states that look most different; return the addresses."""
    line = memory_connection()
    chosen = orders(30)
    flow = chosen[0].flow

    def plan_of(letters: list[DeadLetter], **options: Any) -> Plan:
        selection = Selection(source=Plan.Source.TICKED, ids=[one.pk for one in letters])
        reason = "erp 4.2.2 is out, and the connection pool of the interface was doubled"
        return create_plan(
            selection, environment=environment(), by=ROOT, reason=reason, ticket="INC-2291",
            options=Options(**{"rate_per_s": None, **options}),
        )  # fmt: skip

    DeadLetter.objects.filter(pk=chosen[0].pk).update(
        state="closed", resolution="discarded", closed_at=datetime.now(UTC)
    )
    running = plan_of(chosen[:15], stop_failed_percent=20)
    start_plan(running, by=ROOT)
    for _ in range(4):
        work(running, line.pk)
        prove(list(Replay.objects.filter(plan=running, state="confirmed").order_by("pk")[:3]))
    last = Replay.objects.filter(plan=running, state="confirmed").last()
    if last:
        push("/ingest/v1/dead-letters", [letter(replay_id=str(last.pk), error=ERROR)], key=agent_key("harvester"))
    Replay.objects.filter(plan=running, state="confirmed").update(sent_at=datetime.now(UTC) - timedelta(minutes=12))
    paused = plan_of(chosen[15:20])
    start_plan(paused, by=ROOT)
    work(paused, line.pk)
    pause_plan(paused, by=ROOT, reason="the ERP team asks to wait")
    draft = plan_of(chosen[:25], rate_per_s=5.0)
    soon = plan_of(chosen[25:28])
    start_plan(soon, by=ROOT, at=datetime.now(UTC) + timedelta(hours=1))
    Flow.objects.filter(pk=flow.pk).update(approve_above=0)
    waiting = plan_of(chosen[28:])
    request_approval(waiting, by=ROOT)
    stop_replays(environment(), flow, by=ROOT, reason="the ERP is being restored from yesterday's backup")
    made = [f"/plans/{one.reference}/" for one in (running, paused, draft, soon, waiting)]
    asked = f"/plans/new/?of=ticked&id={chosen[29].pk}"
    return [*made, "/plans/", "/plans/?state=expired", "/plans/stops/", asked, "/dead-letters/?q=system:erp"]


def test_pages_of_plans_fit_a_phone_and_a_desk_and_axe_finds_nothing(browser: Browser, live_server: Any):  # noqa: F811
    paths = estate()
    page = sign_in(browser, live_server.url)
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))

    found = faults_of(page, live_server.url, paths)

    assert (found, complaints) == ({}, [])
