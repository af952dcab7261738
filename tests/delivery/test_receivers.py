"""Channels before real receivers: an SMTP server that is slow and refuses, Alertmanager, and the stubs of the vendors, through the outbox."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from typing import Any

import pytest
import time_machine

from alerts.delivery.notifiers import mail as mailing
from alerts.delivery.sending import at_once, look
from alerts.delivery.services import NewChannel, approve_host, create_channel, send_test, tell
from alerts.models import Channel, NoticeDelivery
from alerts.notices import Happening
from tests.conftest import need
from tests.delivery.notices import memory_channel, notice
from tests.engines.alertmanager import INSTALLED, Alertmanager
from tests.engines.mailbox import SlowMailbox
from tests.engines.receiver import Answer, receiving
from tests.engines.vendors import ROUTING_KEY, SLACK_PATH, TEAMS_PATH, Vendors, vendors
from tests.factories import ROOT, environment
from tests.product import wait_until

pytestmark = pytest.mark.django_db


def channel(
    kind: str, settings: dict[str, str] | None = None, *, hosts: tuple[str, ...] = (), **secrets: str
) -> Channel:
    for host in hosts:
        approve_host(host, by=ROOT)
    said = NewChannel(kind=kind, name=kind, settings=settings or {}, secrets=secrets)
    return create_channel(environment(), said, by=ROOT)


def go(seconds: float = 0, **more: Any) -> int:
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=seconds), tick=True):
        return look(begin=at_once, **more)


# mail ----------------------------------------------------------------------------------------------------------------
def test_a_breach_is_one_mail_to_all_receivers_and_its_end_another_of_the_same_thread(mailbox: SlowMailbox):
    made = channel("mail", {"to": "ada@example.com, bob@example.com"})
    tell(notice(), [made.pk])
    go()
    tell(notice(Happening.RESOLVED), [made.pk])
    go()

    fired, over = (message_from_bytes(one) for one in mailbox.taken)
    row = NoticeDelivery.objects.earliest("id")
    assert fired["To"] == "ada@example.com, bob@example.com"
    assert fired["Subject"] == "[production] Firing: Orders delivered in 5 min"
    assert fired["Message-ID"].startswith(f"<waybill-{row.pk}@")
    assert fired["References"] == over["References"]
    assert over["Subject"] == "[production] Resolved: Orders delivered in 5 min"
    assert row.attempts.get().status == 250


def test_dots_at_the_begin_of_lines_arrive(mailbox: SlowMailbox):
    made = channel("mail", {"to": "ada@example.com"})
    tell(notice(summary=".\n..two\n.x"), [made.pk])

    go()

    text = message_from_bytes(mailbox.taken[0]).get_payload(0).get_payload(decode=True).decode()  # type: ignore[union-attr]
    assert ".\r\n..two\r\n.x" in text or ".\n..two\n.x" in text


@pytest.mark.usefixtures("committed")
@pytest.mark.django_db(transaction=True)
def test_a_server_that_takes_long_gets_one_mail_and_holds_up_no_worker_and_no_other_channel(
    mailbox: SlowMailbox, monkeypatch: pytest.MonkeyPatch
):
    mailbox.wait_s = 8.0  # of a minute in earnest: longer than a task looks, shorter than the wait for the answer
    made, other = channel("mail", {"to": "ada@example.com"}), memory_channel()
    tell(notice(), [made.pk, other.pk])

    begun = [look(budget_s=1.0), look(budget_s=0.2)]

    assert sum(begun) == 2
    assert NoticeDelivery.objects.get(channel=made).state == "sending"  # the task has gone, the mail has not
    assert NoticeDelivery.objects.get(channel=other).state == "delivered"
    wait_until(lambda: NoticeDelivery.objects.get(channel=made).state == "delivered", seconds=20, what="the slow mail")
    assert (len(mailbox.taken), NoticeDelivery.objects.get(channel=made).attempt) == (1, 1)
    assert mailing.ANSWER_S > 60
    for thread in threading.enumerate():
        if thread.name.startswith("notice"):
            thread.join(5)


def test_a_server_that_is_silent_before_the_text_is_tried_again_and_got_nothing(
    mailbox: SlowMailbox, monkeypatch: pytest.MonkeyPatch, settings: Any
):
    import socket

    monkeypatch.setattr(mailing, "STEP_S", 0.2)
    made = channel("mail", {"to": "ada@example.com"})
    tell(notice(), [made.pk])
    good = settings.EMAIL_PORT
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.EMAIL_PORT = silent.getsockname()[1]
        go()
    assert NoticeDelivery.objects.get().state == "failed"
    settings.EMAIL_PORT = good

    go(10)

    assert (NoticeDelivery.objects.get().state, len(mailbox.taken)) == ("delivered", 1)


@pytest.mark.parametrize(
    ("where", "answer", "state"),
    [("to_rcpt", "550 no such person", "dead"), ("to_data", "451 not now", "failed"), ("to_data", "554 spam", "dead")],
)
def test_what_a_server_refuses_for_good_is_given_up_and_the_rest_tried_again(
    mailbox: SlowMailbox, where: str, answer: str, state: str
):
    setattr(mailbox, where, answer)
    made = channel("mail", {"to": "ada@example.com"})
    tell(notice(), [made.pk])

    go()

    row = NoticeDelivery.objects.get()
    assert (row.state, row.answer[:3], row.attempts.get().status in (None, int(answer[:3]))) == (
        state,
        answer[:3],
        True,
    )


def test_without_a_mail_server_it_says_which_setting(settings: Any):
    settings.EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
    made = channel("mail", {"to": "ada@example.com"})

    assert send_test(made, by=ROOT).answer == "no mail server is set: EMAIL_URL"


# the vendors ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def stub() -> Iterator[Vendors]:
    with vendors() as found:
        yield found


def host_of(stub: Vendors) -> str:
    return stub.base.removeprefix("http://")


def test_an_incident_of_pagerduty_opens_is_acknowledged_and_ends_under_one_key(stub: Vendors):
    made = channel("pagerduty", {"url": f"{stub.base}/v2/enqueue"}, hosts=(host_of(stub),), routing_key=ROUTING_KEY)

    seen = []
    for happening in (Happening.FIRING, Happening.ESCALATED, Happening.ACKNOWLEDGED, Happening.RESOLVED):
        tell(notice(happening), [made.pk])
        go()
        seen.append(dict(stub.incidents))

    assert [one["breach-4711"] for one in seen] == ["triggered", "triggered", "acknowledged", "resolved"]


def test_a_test_leaves_no_incident_open(stub: Vendors):
    made = channel("pagerduty", {"url": f"{stub.base}/v2/enqueue"}, hosts=(host_of(stub),), routing_key=ROUTING_KEY)

    assert send_test(made, by=ROOT).state == "delivered"

    assert list(stub.incidents.values()) == ["resolved"]


def test_nobody_is_woken_for_what_is_over(stub: Vendors):
    made = channel("pagerduty", {"url": f"{stub.base}/v2/enqueue"}, hosts=(host_of(stub),), routing_key=ROUTING_KEY)
    stub.away = True
    tell(notice(), [made.pk])
    go()
    tell(notice(Happening.RESOLVED), [made.pk])
    stub.away = False

    go(10)

    assert ([one["event_action"] for one in stub.pagerduty], stub.incidents) == (["resolve"], {})


def test_429_of_pagerduty_waits_for_minutes():
    with receiving(Answer(status=429)) as receiver:
        host = receiver.url.removeprefix("http://")
        made = channel("pagerduty", {"url": f"{receiver.url}/v2/enqueue"}, hosts=(host,), routing_key=ROUTING_KEY)
        tell(notice(), [made.pk])
        go()

        assert (go(100), go(130), len(receiver.came)) == (0, 1, 2)


def test_slack_and_teams_are_never_asked_faster_than_they_allow(stub: Vendors):
    approve_host(host_of(stub), by=ROOT)
    slack, teams = channel("slack", url=stub.base + SLACK_PATH), channel("teams", url=stub.base + TEAMS_PATH)
    for number in range(6):
        tell(notice(thread=f"breach-{number}"), [teams.pk] if number > 2 else [slack.pk, teams.pk])

    look(budget_s=8.0, begin=at_once)

    assert (len(stub.slack), len(stub.teams), stub.throttled) == (3, 6, [])
    assert set(NoticeDelivery.objects.values_list("state", "attempt")) == {("delivered", 1)}


def test_a_webhook_of_slack_that_is_gone_is_given_up_and_its_secret_stands_nowhere(stub: Vendors):
    made = channel("slack", hosts=(host_of(stub),), url=f"{stub.base}/services/T1/B1/agonewebhookssecret")
    tell(notice(), [made.pk])

    go()

    row = NoticeDelivery.objects.get()
    assert (row.state, row.answer) == ("dead", "HTTP 404: no_service")
    assert "agonewebhook" not in str(Channel.objects.values().get())


def test_what_quotes_a_secret_back_is_scrubbed_before_it_is_kept():
    secret = "a-signing-secret-of-ours"
    with receiving(Answer(status=400, body=f"bad signature for {secret}".encode())) as receiver:
        made = channel("webhook", {"url": receiver.url}, hosts=(receiver.url.removeprefix("http://"),), secret=secret)

        told = send_test(made, by=ROOT)

    assert told.answer == "HTTP 400: bad signature for •••"
    assert told.attempts.get().response == "HTTP 400: bad signature for •••"


def test_a_redirect_is_not_followed_and_says_so():
    with receiving() as elsewhere, receiving(Answer(status=307, headers={"Location": elsewhere.url})) as receiver:
        hosts = tuple(one.url.removeprefix("http://") for one in (elsewhere, receiver))
        made = channel("webhook", {"url": receiver.url}, hosts=hosts, secret="s" * 20)

        told = send_test(made, by=ROOT)

        assert (told.state, elsewhere.came) == ("dead", [])
    assert "redirects are not followed" in told.answer


def test_a_host_whose_approval_was_withdrawn_is_asked_no_more():
    from alerts.delivery.services import withdraw_host
    from alerts.models import ApprovedHost

    with receiving() as receiver:
        made = channel("webhook", {"url": receiver.url}, hosts=(receiver.url.removeprefix("http://"),), secret="s" * 20)
        withdraw_host(ApprovedHost.objects.get(), by=ROOT)

        told = send_test(made, by=ROOT)

        assert (told.state, receiver.came) == ("dead", [])
    assert "is not approved" in told.answer


# Alertmanager --------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def alertmanager() -> Iterator[Alertmanager]:
    need(INSTALLED.exists(), "Alertmanager")
    with Alertmanager() as engine:
        yield engine


def test_an_alert_fires_in_a_real_alertmanager_is_repeated_and_ends(alertmanager: Alertmanager):
    peers = f"{alertmanager.url}, http://127.0.0.1:9"
    made = channel("alertmanager", {"peers": peers}, hosts=(alertmanager.host, "127.0.0.1:9"))
    tell(notice(), [made.pk])
    go()

    [alert] = [one for one in alertmanager.alerts() if one["labels"]["waybill_thread"] == "breach-4711"]
    assert alert["labels"]["slo"] == "orders in 5 min"
    assert alert["annotations"]["summary"] == "Firing: Orders delivered in 5 min"
    assert NoticeDelivery.objects.get().answer.startswith(
        "1 of 2 peers took it; http://127.0.0.1:9: 127.0.0.1:9 cannot"
    )

    assert go(61) == 1
    [again] = [one for one in alertmanager.alerts() if one["labels"]["waybill_thread"] == "breach-4711"]
    assert again["fingerprint"] == alert["fingerprint"]
    assert again["endsAt"] > alert["endsAt"]

    tell(notice(Happening.RESOLVED, ends_at=datetime.now(UTC), labels={"window": "6h"}), [made.pk])
    go()
    assert alertmanager.alerts() == []


def test_the_oddest_alert_is_taken_by_a_real_alertmanager(alertmanager: Alertmanager):
    from tests.delivery.notices import hostile

    made = channel("alertmanager", {"peers": alertmanager.url}, hosts=(alertmanager.host,))
    for happening in (Happening.FIRING, Happening.RESOLVED):
        tell(hostile(happening), [made.pk])
        go()

    assert set(NoticeDelivery.objects.values_list("state", flat=True)) == {"delivered"}
