"""One suite for every notifier: what is told arrives under one key, what is refused says so and is not tried again, what is away may pass."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from django.test import override_settings

from alerts.delivery.notifiers import NOTIFIERS, UnknownNotifier, get_notifier, notifiers
from alerts.delivery.notifiers.base import BadChannel, Notifier
from alerts.delivery.notifiers.memory import ANSWERS, MEMORY, TOLD, Told
from alerts.delivery.secrets import scrubbed
from alerts.notices import Happening
from tests.delivery.notices import hostile, notice, telling
from tests.engines.receiver import Answer, receiving
from tests.engines.vendors import GENIE_KEY, ROUTING_KEY, SLACK_PATH, TEAMS_PATH, vendors
from tests.ports import free_port
from tests.services.test_outbox import Mailbox

DOUBLE = {"memory": "alerts.delivery.notifiers.memory.MEMORY"}
AWAY = "http://127.0.0.1:9"


@dataclasses.dataclass
class Bench:
    """A notifier before a receiver of its own. said: good; refused: what the receiver refuses; away: nobody is there.

    taken  how many tellings the receiver has.   allowed  the hosts.
    """

    notifier: Notifier
    said: dict[str, str]
    refused: dict[str, str]
    away: dict[str, str]
    taken: Callable[[], int]
    allowed: set[str]


def _vendor(stack: ExitStack, kind: str) -> Bench:
    stub = stack.enter_context(vendors())
    host = stub.base.removeprefix("http://")
    keyed = [(ROUTING_KEY, GENIE_KEY, stub.base), ("x" * 32, "wrong-key", stub.base), (ROUTING_KEY, GENIE_KEY, AWAY)]
    genie = [{"api_key": key, "url": f"{base}/v2/alerts"} for _, key, base in keyed]
    good, refused, away = {
        "slack": [
            {"url": stub.base + SLACK_PATH},
            {"url": f"{stub.base}/services/T/B/anotherwebhook"},
            {"url": f"{AWAY}/services/x"},
        ],
        "teams": [
            {"url": stub.base + TEAMS_PATH},
            {"url": f"{stub.base}/workflows/other?sig=wrongsignature"},
            {"url": f"{AWAY}/w"},
        ],
        "pagerduty": [{"routing_key": key, "url": f"{base}/v2/enqueue"} for key, _, base in keyed],
        "opsgenie": genie,
        "jsm": genie,
    }[kind]
    taken = {"slack": stub.slack, "teams": stub.teams, "pagerduty": stub.pagerduty}.get(kind, stub.created)
    return Bench(
        get_notifier(kind),
        good,
        refused,
        away,
        taken=lambda: len([one for one in taken if one.get("routing_key") != "x" * 32]),
        allowed={host, "127.0.0.1:9"},
    )


def _plain(stack: ExitStack, kind: str) -> Bench:
    good, bad = (
        stack.enter_context(receiving(*[Answer(status=200)] * 9)),
        stack.enter_context(receiving(*[Answer(status=400)] * 9)),
    )
    hosts = [one.url.removeprefix("http://") for one in (good, bad)]
    made = {
        "webhook": lambda base: {"url": f"{base}/hook", "secret": "a secret of the webhook"},
        "alertmanager": lambda base: {"peers": base, "username": "waybill", "password": "a password of it"},
        "apprise": lambda base: {"url": f"gotify://{base.removeprefix('http://')}/abcdefghijklmno"},
    }[kind]
    return Bench(
        get_notifier(kind), made(good.url), made(bad.url), made(AWAY), lambda: len(good.came), {*hosts, "127.0.0.1:9"}
    )


def _mail(stack: ExitStack, kind: str) -> Bench:
    box = Mailbox()
    controller = Controller(box, hostname="127.0.0.1", port=free_port())
    controller.start()
    stack.callback(controller.stop)
    stack.enter_context(_server(controller.port))
    box.to_rcpt = ""

    async def refuse_nobody(server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address.startswith("nobody"):
            return "550 no such person"
        if address.startswith("later"):
            return "451 not now"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    box.handle_RCPT = refuse_nobody  # type: ignore[method-assign]
    return Bench(
        get_notifier(kind),
        {"to": "ada@example.com"},
        {"to": "nobody@example.com"},
        {"to": "later@example.com"},
        lambda: len(box.taken),
        set(),
    )


def _server(port: int) -> Any:
    return override_settings(
        EMAIL_BACKEND="django.core.mail.backends.smtp.EmailBackend", EMAIL_HOST="127.0.0.1", EMAIL_PORT=port, EMAIL_HOST_USER="",
        EMAIL_USE_TLS=False, EMAIL_USE_SSL=False, DEFAULT_FROM_EMAIL="waybill@example.com",
    )  # fmt: skip


def _memory(stack: ExitStack, kind: str) -> Bench:
    TOLD.clear()
    ANSWERS.update(no=[Told(result="refused", answer="no")], later=[Told(result="later", answer="not now")])
    return Bench(MEMORY, {"name": "yes"}, {"name": "no"}, {"name": "later"}, lambda: len(TOLD["yes"]), set())


BENCHES = dict.fromkeys(("slack", "teams", "pagerduty", "opsgenie", "jsm"), _vendor) | {
    "webhook": _plain, "alertmanager": _plain, "apprise": _plain, "mail": _mail, "memory": _memory,
}  # fmt: skip


@pytest.fixture(params=[*NOTIFIERS, "memory"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield BENCHES[request.param](stack, request.param)


def test_a_notice_is_taken_once(bench: Bench):
    bench.notifier.check(bench.said)

    told = bench.notifier.tell(telling(notice()), bench.said, bench.allowed)

    assert (told.result, bench.taken()) == ("taken", 1), told
    assert told.answer


def test_the_longest_and_oddest_notice_is_taken_too(bench: Bench):
    told = bench.notifier.tell(telling(hostile(), untold=True), bench.said, bench.allowed)

    assert (told.result, bench.taken()) == ("taken", 1), told


@pytest.mark.parametrize("happening", [Happening.ACKNOWLEDGED, Happening.RESOLVED, Happening.TEST])
def test_what_nobody_knows_of_can_be_over(bench: Bench, happening: Happening):
    assert bench.notifier.tell(telling(notice(happening)), bench.said, bench.allowed).result == "taken"


def test_what_is_refused_says_so_and_no_secret(bench: Bench):
    told = bench.notifier.tell(telling(notice()), bench.refused, bench.allowed)

    assert (told.result, bench.taken()) == ("refused", 0), told
    secrets = [
        bench.refused[field.name] for field in bench.notifier.fields if field.secret and field.name in bench.refused
    ]
    shown = scrubbed(told.answer, secrets)
    assert shown
    assert all(secret not in shown for secret in secrets)


def test_what_is_away_may_pass_another_time(bench: Bench):
    told = bench.notifier.tell(telling(notice()), bench.away, bench.allowed)

    assert (told.result, bench.taken()) == ("later", 0), told


def test_no_host_is_asked_that_nobody_approved(bench: Bench):
    addresses = bench.notifier.addresses(bench.said)
    if not addresses:
        return

    told = bench.notifier.tell(telling(notice()), bench.said, set())

    assert (told.result, bench.taken()) == ("refused", 0)
    assert "is not approved" in told.answer


def test_every_kind_says_what_a_form_needs_and_bounds_itself():
    for notifier in [*notifiers(), MEMORY]:
        assert notifier.label
        assert notifier.fields
        assert 0 < notifier.longest_s <= 160
        assert notifier.at_once >= 1
        with pytest.raises(BadChannel):
            notifier.check({})
        with pytest.raises(BadChannel):
            notifier.check({"nothing of it": "x"})


def test_an_unknown_kind_raises_and_an_operators_own_is_found():
    with pytest.raises(UnknownNotifier, match="there is no channel kind “fax”; use alertmanager"):
        get_notifier("fax")
    assert get_notifier("memory", DOUBLE) is MEMORY
    assert notifiers(DOUBLE)[-1] is MEMORY


def test_apprise_reaches_nothing_but_what_was_approved_and_follows_nothing():
    apprise = get_notifier("apprise")
    with receiving() as elsewhere, receiving(Answer(status=302, headers={"Location": f"{elsewhere.url}/x"})) as moved:
        said = {"url": f"gotify://{moved.url.removeprefix('http://')}/abcdefghijklmno"}

        told = apprise.tell(
            telling(notice()), said, {moved.url.removeprefix("http://"), elsewhere.url.removeprefix("http://")}
        )

        assert (told.result, len(moved.came), len(elsewhere.came)) == ("refused", 1, 0), told


def test_a_huge_answer_is_not_read_to_its_end():
    huge = b"x" * 5_000_000
    for kind, made in (
        ("webhook", lambda url: {"url": url, "secret": "s" * 20}),
        ("apprise", lambda url: {"url": f"gotify://{url.removeprefix('http://')}/abcdefghijklmno"}),
    ):
        with receiving(Answer(status=500, body=huge)) as receiver:
            told = get_notifier(kind).tell(
                telling(notice()), made(receiver.url), {receiver.url.removeprefix("http://")}
            )

        assert told.result != "taken"
        assert len(told.answer) < 2_100


def test_a_receiver_that_never_answers_is_left_at_the_deadline(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("alerts.delivery.outbound.send.__kwdefaults__", {"timeout_s": 0.3})
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"

        told = get_notifier("webhook").tell(telling(notice()), {"url": url, "secret": "s" * 20}, {url[7:-1]})

    assert told.result == "later"
    assert "may have taken it" in told.answer


def test_a_name_of_others_that_leads_to_this_machine_is_refused(monkeypatch: pytest.MonkeyPatch):
    with receiving() as receiver:
        port = int(receiver.url.rsplit(":", 1)[1])
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
        monkeypatch.setattr("messages.connectors.wire.socket.getaddrinfo", lambda *_, **__: found)
        said = {"url": f"http://rebound.example.com:{port}/", "secret": "s" * 20}

        told = get_notifier("webhook").tell(telling(notice()), said, {f"rebound.example.com:{port}"})

    assert (told.result, receiver.came) == ("refused", [])
    assert "where no request may go" in told.answer
