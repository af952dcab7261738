"""The Python SDK against a live console: what is reported arrives once, with the console here, away, or back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.db import connections
from django.test.testcases import LiveServerThread

from agents.sdk import Full, Waybill
from messages.models import DeadLetter, Event, IngestReject, Message
from tests.factories import agent_key
from tests.ports import free_port
from tests.product import wait_until

ROOT = Path(__file__).resolve().parents[2]
ORDERS = {"destination": "orders", "message_id": "order-4711-message"}


class Switchable:
    """A live console on one port that can go away and come back."""

    def __init__(self) -> None:
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.thread: LiveServerThread | None = None

    def on(self) -> None:
        self.thread = LiveServerThread("127.0.0.1", StaticFilesHandler, port=self.port)
        self.thread.daemon = True
        self.thread.start()
        self.thread.is_ready.wait()
        assert self.thread.error is None, self.thread.error

    def off(self) -> None:
        if self.thread is not None:
            self.thread.terminate()
            self.thread = None


@pytest.fixture
def console(committed) -> Iterator[Switchable]:
    switchable = Switchable()
    switchable.on()
    yield switchable
    switchable.off()
    connections.close_all()


@pytest.fixture
def waybill(console: Switchable) -> Iterator[Waybill]:
    client = Waybill(console.base, agent_key(), system="erp")
    yield client
    client.close(0)


def test_a_step_says_what_it_did_how_long_it_took_and_what_was_raised_which_goes_on(waybill: Waybill):
    with waybill.step("send", system="shop", **ORDERS, keys={"order_no": 4711}, payload={"order_no": 4711}) as sent:
        time.sleep(0.02)
    with pytest.raises(TimeoutError, match="no answer"):  # noqa: PT012  the step is what lets it pass
        with waybill.step("process", traceparent=sent.traceparent, **ORDERS) as processed:
            processed.keys["invoice_no"] = "R-9"
            raise TimeoutError("no answer")

    assert waybill.flush()

    send, process = Event.objects.order_by("operation")
    assert (send.system.name, send.get_outcome_display(), send.keys) == ("shop", "ok", {"order_no": "4711"})
    assert send.duration_us >= 20_000
    assert send.payload_on is not None
    assert (process.error_type, process.error_message) == ("TimeoutError", "no answer")
    assert 'raise TimeoutError("no answer")' in process.error_stack
    assert (process.trace_id, process.parent_span_id) == (send.trace_id, send.span_id)
    message = Message.objects.get()
    assert (message.get_status_display(), message.keys) == ("failed", {"order_no": "4711", "invoice_no": "R-9"})


def test_a_step_inside_another_belongs_to_it_and_one_that_fails_without_an_exception_says_so(waybill: Waybill):
    with waybill.step("process", **ORDERS), waybill.step("send", destination="invoices") as inner:
        inner.fail("no invoice number left", error_type="NumberRange")
    for _ in range(2):
        waybill.event(
            "settle", **ORDERS, id="settled-1", occurred_at=datetime.now(UTC).replace(microsecond=0, second=0)
        )

    assert waybill.flush()

    outer, inner_event = Event.objects.get(operation=4), Event.objects.get(destination="invoices")
    assert (inner_event.trace_id, inner_event.parent_span_id) == (outer.trace_id, outer.span_id)
    assert (inner_event.error_type, inner_event.error_message) == ("NumberRange", "no invoice number left")
    assert outer.get_outcome_display() == "ok"
    assert (Event.objects.filter(operation=5).count(), waybill.counts.duplicates) == (1, 1)


def test_a_dead_letter_keeps_its_headers_types_and_its_bytes(waybill: Waybill):
    try:
        raise ValueError("not an order")
    except ValueError as error:
        waybill.dead_letter(
            "orders.dlq/1", queue="orders.dlq", broker="files", body=b"\xff\x00", headers={"tries": 3, "tenant": "de", "raw": b"\1"},
            error=error, message_id="order-4712-message", reason="not an order", reason_code="deserialization", attempts=3,
        )  # fmt: skip

    assert waybill.flush()

    letter = DeadLetter.objects.get()
    assert (letter.queue, letter.error_type, letter.reason_code) == ("orders.dlq", "ValueError", "deserialization")
    assert letter.message_id == "order-4712-message"


def test_while_the_console_is_away_work_goes_on_and_everything_arrives_once_when_it_is_back(console, waybill):
    console.off()
    for number in range(50):
        with waybill.step("process", destination="orders", message_id=f"a message of number {number}"):
            pass
    assert waybill.flush(0.5) is False
    assert waybill.counts.waiting == 50

    console.on()

    assert waybill.flush(20)
    assert Event.objects.count() == Message.objects.count() == waybill.counts.accepted == 50


def test_what_flush_acknowledged_while_the_console_was_away_survives_a_kill(console: Switchable, tmp_path: Path):
    console.off()
    script = (
        "import os, signal, sys; from agents.sdk import Waybill\n"
        "waybill = Waybill(system='erp', spool=sys.argv[1])\n"
        "for number in range(1200): waybill.event('process', destination='orders', message_id=f'a message of number {number}')\n"
        "waybill.dead_letter('d/1', queue='d', broker='files', body='x')\n"
        "assert waybill.flush()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environ = os.environ | {"WAYBILL": console.base, "WAYBILL_AGENT_KEY": agent_key()}
    died = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], env=environ, cwd=ROOT, capture_output=True, text=True
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    console.on()

    # two programs share the spool: what both of them send is stored once
    heirs = [Waybill(console.base, environ["WAYBILL_AGENT_KEY"], system="erp", spool=tmp_path) for _ in range(2)]

    wait_until(lambda: all(heir.counts.spooled == 0 for heir in heirs), seconds=30, what="an empty spool")
    for heir in heirs:
        heir.close()
    assert (Event.objects.count(), DeadLetter.objects.count()) == (1200, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_copy_of_the_folder_needs_nothing_else_and_sends_at_the_programs_exit(console: Switchable, tmp_path: Path):
    shutil.copytree(ROOT / "agents" / "sdk", tmp_path / "waybill_sdk", ignore=shutil.ignore_patterns("__pycache__"))
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from waybill_sdk import Waybill\n"
        "Waybill(system='cron').event('process', destination='orders', message_id='reported at the exit')\n"
        "assert not [name for name in sys.modules if name.partition('.')[0] in ('django', 'agents', 'msgspec')]\n"
    )
    environ = {"PATH": os.environ["PATH"], "WAYBILL": console.base, "WAYBILL_AGENT_KEY": agent_key()}

    done = subprocess.run([sys.executable, "-I", "-c", script], env=environ, capture_output=True, text=True, timeout=30)

    assert (done.returncode, done.stderr) == (0, "")
    assert Event.objects.get().message_id == "reported at the exit"


def test_eight_threads_share_a_client_and_nothing_is_lost_or_doubled(waybill: Waybill):
    def work(name: int) -> None:
        for number in range(100):
            with waybill.step("process", destination="orders", message_id=f"message {number} of thread {name}"):
                pass

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert waybill.flush(30)
    assert Event.objects.count() == Event.objects.values("id").distinct().count() == 800


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_reports_its_own_and_not_what_its_parent_has_in_memory(console: Switchable, tmp_path: Path):
    script = (
        "import os; from agents.sdk import Waybill\n"
        "waybill = Waybill(system='web')\n"
        "waybill.event('send', destination='orders', message_id='said before the fork')\n"
        "child = os.fork()\n"
        "waybill.event('send', destination='orders', message_id='said by the ' + ('parent' if child else 'child'))\n"
        "assert waybill.flush() and waybill.counts.duplicates == 0\n"
        "os.waitpid(child, 0) if child else os._exit(0)\n"
    )
    environ = os.environ | {"WAYBILL": console.base, "WAYBILL_AGENT_KEY": agent_key()}

    done = subprocess.run(
        [sys.executable, "-c", script], env=environ, cwd=ROOT, capture_output=True, text=True, timeout=40
    )

    assert done.returncode == 0, done.stderr
    said = sorted(Event.objects.values_list("message_id", flat=True))
    assert said == ["said before the fork", "said by the child", "said by the parent"]


def test_what_json_cannot_say_is_said_as_text(waybill: Waybill):
    circle: dict[str, object] = {}
    circle["again"] = circle
    waybill.event("send", **ORDERS, attributes={"nan": float("nan")}, keys={"ratio": float("inf")}, payload=circle)
    waybill.event("send", **ORDERS, attributes=circle)
    waybill.event("send", **ORDERS, attributes={"path": Path("/x"), "lone": "\ud800"}, keys={"flag": True})

    assert waybill.flush()
    assert (Event.objects.count(), waybill.counts.refused) == (3, 0)


def test_an_item_that_the_console_refuses_is_counted_and_holds_up_no_other(
    waybill: Waybill, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("WARNING", logger="waybill")
    waybill.event("invent", **ORDERS)
    waybill.event("send", **ORDERS)
    waybill.event("send", **ORDERS, payload="x" * 21_000_000)

    assert waybill.flush(30)
    assert (waybill.counts.accepted, waybill.counts.refused) == (1, 2)
    assert "items were refused" in caplog.text
    assert IngestReject.objects.count() == 1


def test_without_room_an_item_is_dropped_and_counted_and_only_a_strict_client_raises():
    nowhere = f"http://127.0.0.1:{free_port()}"
    quiet, strict = (Waybill(nowhere, "key", system="erp", most_items=3, strict=strict) for strict in (False, True))
    for client in (quiet, strict):
        for _ in range(3):
            client.event("send")

    quiet.event("send")
    with pytest.raises(Full):
        strict.event("send")

    for client in (quiet, strict):
        assert (client.counts.waiting, client.counts.dropped) == (3, 1)
        assert client.close(0) is False


def test_a_client_without_address_or_key_says_so_at_the_start(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WAYBILL", raising=False)

    with pytest.raises(ValueError, match="WAYBILL_AGENT_KEY"):
        Waybill(system="erp")


class Busy(BaseHTTPRequestHandler):
    """Answers 429 and 503 with Retry-After, a proxy's 404, a cut connection, then takes what comes."""

    came: list[tuple[float, str, bytes]] = []
    answers = [(429, "1"), (503, "1"), (404, ""), (0, ""), (0, ""), (200, "")]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status, retry_after = self.answers[min(len(self.came), len(self.answers) - 1)]
        self.came.append((time.monotonic(), self.headers["Idempotency-Key"], body))
        if not status:
            self.close_connection = True
            return
        answer = b'{"accepted": 1, "duplicates": 0, "rejected": []}' if status == 200 else b"not now"
        self.send_response(status)
        if retry_after:
            self.send_header("Retry-After", retry_after)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


def test_a_busy_console_is_asked_again_when_it_said_and_the_same_batch_keeps_its_name(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("agents.sdk.sender.LONGEST_PAUSE_S", 0.5)  # a proxy's 404 is waited out for so long
    server = ThreadingHTTPServer(("127.0.0.1", 0), Busy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = Waybill(f"http://127.0.0.1:{server.server_port}", "key", system="erp")

    client.event("send", **ORDERS)

    assert client.flush(15)
    assert client.counts.accepted == 1
    assert len(Busy.came) == 6
    assert [later[0] - first[0] >= 1 for first, later in zip(Busy.came[:2], Busy.came[1:3], strict=True)] == [
        True,
        True,
    ]
    assert len({(name, body) for _, name, body in Busy.came}) == 1
    client.close()
    server.shutdown()
    server.server_close()
