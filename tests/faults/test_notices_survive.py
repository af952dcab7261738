"""Notices of a running product: receivers that are slow, gone or hostile, and workers that are killed between sending and marking."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.request import Request, urlopen

import psycopg
import pytest
from aiosmtpd.controller import Controller

from tests.conftest import need
from tests.engines.alertmanager import INSTALLED, Alertmanager
from tests.engines.receiver import Answer, receiving
from tests.ports import free_port
from tests.product import Product, call, wait_until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]
SLOW_S = 20.0  # longer than a look of a worker, than the time-out of every other step, than the beat
TELL = """
from datetime import UTC, datetime
from django.db import transaction
from alerts.delivery.services import tell
from alerts.notices import Happening, Notice

for thread, channels in {told}:
    with transaction.atomic():
        tell(Notice(happening=Happening.FIRING, thread=thread, severity="page", environment="production", title="Orders are late",
                    summary="12 of 340 came late.", starts_at=datetime.now(UTC)), channels)
"""


class Mailbox:
    """A mail server that takes its time with every mail, and at least until it is told to go on."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.release = threading.Event()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        await asyncio.sleep(SLOW_S)
        while not self.release.is_set():
            await asyncio.sleep(0.1)
        self.taken.append(envelope.content)
        return "250 taken"


@pytest.fixture(scope="module")
def mailbox() -> Iterator[tuple[Mailbox, int]]:
    box = Mailbox()
    controller = Controller(box, hostname="127.0.0.1", port=free_port())
    controller.start()
    yield box, controller.port
    controller.stop()


@pytest.fixture(scope="module")
def product(mailbox: tuple[Mailbox, int]) -> Iterator[Product]:
    url = f"smtp://127.0.0.1:{mailbox[1]}?from=waybill@example.com"
    product = Product.prepared("notices", EMAIL_URL=url).start()
    yield product
    product.stop()


@pytest.fixture(scope="module")
def api(product: Product) -> str:
    return product.api_key()


def made(product: Product, api: str, kind: str, name: str, *, host: str = "", **said: Any) -> int:
    """Make a channel over REST, its host approved before; return its id."""
    if host:
        assert call("POST", f"{product.base}/api/v1/approved-hosts", key=api, body={"host": host})[0] == 201
    body = {"environment": "production", "kind": kind, "name": name, **said}
    status, channel = call("POST", f"{product.base}/api/v1/channels", key=api, body=body)
    assert status == 201, channel
    return int(channel["id"])


def hook(product: Product, api: str, url: str, name: str) -> int:
    settings, secrets = {"url": url}, {"secret": "a secret of the webhook"}
    return made(
        product, api, "webhook", name, host=url.removeprefix("http://").rstrip("/"), settings=settings, secrets=secrets
    )


def say(product: Product, **told: list[int]) -> None:
    """Tell a notice of each thread over its channels."""
    product.manage("shell", "-c", TELL.format(told=list(told.items())))


def deliveries(product: Product, api: str, channel: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = call("GET", f"{product.base}/api/v1/deliveries?channel={channel}", key=api)[1][
        "results"
    ]
    return found


def wait_for(product: Product, api: str, channel: int, state: str, *, seconds: float = 60) -> dict[str, Any]:
    def reached() -> Any:
        return next((one for one in deliveries(product, api, channel) if one["state"] == state), None)

    found: dict[str, Any] = wait_until(reached, seconds=seconds, what=f"a delivery that is {state}")
    return found


def test_a_slow_mail_server_gets_one_mail_and_holds_up_nothing_else(
    product: Product, api: str, mailbox: tuple[Mailbox, int]
):
    """Row 18: SMTP slow or down."""
    with receiving() as receiver:
        mail = made(product, api, "mail", "slow mail", settings={"to": "ada@example.com, bob@example.com"})
        web = hook(product, api, receiver.url, "quick")

        say(
            product, slow=[mail, web], **{f"other_{number}": [web] for number in range(8)}
        )  # more than there are workers
        wait_until(lambda: len(receiver.came) == 9, seconds=60, what="the other channel's notices")
        assert mailbox[0].taken == []
        mailbox[0].release.set()
        wait_for(product, api, mail, "delivered", seconds=60)

    assert [one["attempt"] for one in deliveries(product, api, mail)] == [1]
    assert len(mailbox[0].taken) == 1
    assert message_from_bytes(mailbox[0].taken[0])["To"] == "ada@example.com, bob@example.com"


def test_receivers_that_redirect_fail_talk_for_ever_or_never_answer_do_no_harm(product: Product, api: str):
    """Row 19: a webhook that is slow, fails, redirects, or answers without end."""
    silent = socket.create_server(("127.0.0.1", 0))
    with (
        contextlib.closing(silent),
        receiving() as good,
        receiving() as elsewhere,
        receiving(Answer(status=302, headers={"Location": elsewhere.url})) as moved,
        receiving(*[Answer(status=500, body=b"x" * 20_000_000)] * 9) as huge,
    ):
        quiet = hook(product, api, f"http://127.0.0.1:{silent.getsockname()[1]}", "silent")
        channels = [
            hook(product, api, one.url, name) for one, name in ((good, "good"), (moved, "moved"), (huge, "huge"))
        ]

        say(product, hostile=[quiet, *channels])

        wait_for(product, api, channels[0], "delivered")
        redirected = wait_for(product, api, channels[1], "dead")
        failed = wait_for(product, api, channels[2], "failed")
        unanswered = wait_for(product, api, quiet, "failed")
        assert (elsewhere.came, len(good.came)) == ([], 1)

    assert "redirects are not followed" in redirected["answer"]
    assert failed["answer"].startswith("HTTP 500: xxx")
    assert "may have taken it" in unanswered["answer"]
    detail = call("GET", f"{product.base}/api/v1/deliveries/{failed['id']}", key=api)[1]
    assert max(len(one["response"]) for one in detail["attempts"]) <= 2_000


class Killer:
    """An endpoint that takes a notice, kills every Celery process, and only then would answer."""

    def __init__(self, product: Product) -> None:
        self.keys: list[tuple[str, str]] = []
        self.killing = True
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.keys.append((self.headers["Waybill-Delivery"], body["thread"]))
                if outer.killing:
                    outer.killing = False
                    for pid, line in product.descendants().items():
                        if "celery" in line and " beat" not in line:
                            with contextlib.suppress(ProcessLookupError):
                                os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(OSError):
                    self.send_response(200)
                    self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self) -> Killer:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def test_a_worker_killed_between_sending_and_marking_sends_the_same_again_under_the_same_key(
    product: Product, api: str
):
    with Killer(product) as killer:
        channel = hook(product, api, f"http://127.0.0.1:{killer.server.server_port}", "killer")
        say(product, killed=[channel])
        wait_until(lambda: not killer.killing, seconds=30, what="the kill")
        left = deliveries(product, api, channel)
        with psycopg.connect(product.engines()["database_url"], autocommit=True) as database:  # the lease ends
            database.execute("UPDATE alerts_noticedelivery SET next_at = now() WHERE state = 'sending'")

        done = wait_for(product, api, channel, "delivered", seconds=90)

    assert [(one["state"], one["attempt"]) for one in left] == [("sending", 1)]
    assert done["attempt"] == 2
    assert killer.keys == [(f"waybill-{done['id']}", "killed")] * 2


def test_alerts_of_a_real_alertmanager_arrive_and_end(product: Product):
    need(INSTALLED.exists(), "Alertmanager")
    key = product.agent_key("alertmanager")
    with Alertmanager(webhook=f"{product.base}/ingest/v1/alertmanager", key=key) as engine:
        firing = {"labels": {"alertname": "DiskFull", "flow": "orders"}, "annotations": {"summary": "full"}}

        post(engine, firing)
        wait_until(lambda: heard(product) == [("DiskFull", "firing")], seconds=30, what="the alert")
        post(engine, firing | {"endsAt": datetime.now(UTC).isoformat()})

        wait_until(lambda: heard(product) == [("DiskFull", "resolved")], seconds=30, what="its end")


def post(engine: Alertmanager, alert: dict[str, Any]) -> None:
    request = Request(f"{engine.url}/api/v2/alerts", json.dumps([alert]).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def heard(product: Product) -> list[tuple[Any, ...]]:
    with psycopg.connect(product.engines()["database_url"], autocommit=True) as database:
        return database.execute("SELECT name, status FROM alerts_externalalert").fetchall()
