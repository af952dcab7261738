"""A two-way agent from end to end: a real RabbitMQ that the console has no credentials of, and an agent that is killed and stopped."""

from __future__ import annotations

import contextlib
import shutil
import signal
import time
import uuid
from pathlib import Path
from typing import Any

import pika
import pytest

from messages.orders.wire import SENT_WITHIN_S
from messages.replay.window import LEASE_S
from tests.gate import Gate
from tests.http.test_rabbitmq_loop import QUEUE, consume, publish
from tests.loops import Corner, harvesting, tracer
from tests.product import wait_until

END_LEASES = "from messages.models import Replay; from django.utils import timezone; Replay.objects.filter(state='sending').update(lease_until=timezone.now())"


class Bench:
    """A console, a RabbitMQ, an agent's file, and a gate between agent and console."""

    def __init__(self, corner: Corner, rabbitmq: str, folder: Path) -> None:
        self.corner, self.ask, self.listed, self.gate = corner, corner.ask, corner.listed, Gate(corner.base)
        self.config, key = folder / "harvest.toml", corner.agent_key("harvester")
        [agent] = [one for one in self.listed("agents") if one["name"] == "harvester"]
        secret = self.ask("POST", f"agents/{agent['id']}/order-secret")["order_secret"]
        corner.connect(name="rabbit", kind="rabbitmq", agent="harvester")
        self.config.write_text(
            f'console = "{self.gate.base}"\nkey = "{key}"\norder_secret = "{secret}"\nname = "h"\n[[broker]]\nname = "rabbit"\nkind = "rabbitmq"\n'
            f'address = "amqp://{rabbitmq.split("@")[1]}"\nusername = "guest"\nsecret = "guest"\nreplay = true\n'
            f'[[broker.queue]]\nname = "{QUEUE}.dlq"\nsystem = "erp"\n'
        )

    def replay(self, message_id: str) -> dict[str, Any]:
        """Wait for the letter of this message, and ask for its replay."""
        [letter] = wait_until(
            lambda: [one for one in self.listed("dead-letters") if one["message_id"] == message_id],
            seconds=60, what="the letter",
        )  # fmt: skip
        return self.corner.replay(letter)

    def became(self, replay: dict[str, Any], *states: str) -> dict[str, Any]:
        seen: dict[str, Any] = {}

        def now() -> bool:
            seen.update(self.ask("GET", f"replays/{replay['id']}"))
            return seen["state"] in states

        try:
            wait_until(now, seconds=60, what=f"{states}")
        except AssertionError as error:
            raise AssertionError(
                f"{error}; it is {seen}; the end of the log: {self.corner.product.log.read_text()[-2000:]}"
            ) from error
        return seen

    def end_leases(self) -> None:
        self.corner.product.manage("shell", "-c", END_LEASES)


def dies(channel: Any, message_id: str) -> None:
    channel.basic_publish("", QUEUE, b"{}", pika.BasicProperties(message_id=message_id))
    method, _, _ = wait_until(lambda: _taken(channel), seconds=30, what="a message")
    channel.basic_reject(method.delivery_tag, requeue=False)


def _taken(channel: Any) -> Any:
    found = channel.basic_get(QUEUE)
    return found if found[0] else None


def copies(channel: Any) -> list[str]:
    """Take what lies in the queue; return the replay ids."""
    found = []
    while taken := _taken(channel):
        found.append(str(taken[1].headers["replay-id"]))
        channel.basic_ack(taken[0].delivery_tag)
    return found


@pytest.mark.engine
@pytest.mark.fault
@pytest.mark.timeout(300)
def test_an_agent_sends_what_the_console_orders_and_survives_what_a_worker_survives(
    corner: Corner, rabbitmq: str, tmp_path: Path
):
    bench = Bench(corner, rabbitmq, tmp_path)
    exporter = corner.agent_key("exporter")
    shop, erp, proved = tracer(corner, exporter, "shop"), tracer(corner, exporter, "erp"), str(uuid.uuid4())
    gate, state = bench.gate, Path(f"{bench.config}.state")
    with (
        contextlib.closing(gate),
        contextlib.closing(pika.BlockingConnection(pika.URLParameters(rabbitmq))) as connection,
    ):
        channel = connection.channel()
        channel.queue_delete(f"{QUEUE}.dlq"), channel.queue_delete(QUEUE)
        channel.queue_declare(f"{QUEUE}.dlq")
        channel.queue_declare(
            QUEUE, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{QUEUE}.dlq"}
        )
        for message_id in ("told-later", "lost", "again", "late"):
            dies(channel, message_id)
        publish(shop, channel, proved)
        consume(erp, channel, fails=True)

        with harvesting(bench.config) as agent:
            # sent by the agent, proved by the receiver
            replay = bench.replay(proved)
            bench.became(replay, "confirmed")
            consume(erp, channel, fails=False)
            done = bench.became(replay, "processed")
            shown = bench.listed("agents")

            # killed between sending and reporting, and back within the lease: its disk tells
            gate.before = lambda path: path.endswith("/results")
            told_later = bench.replay("told-later")
            assert gate.held.wait(60)
            agent.kill()
        gate.open(lost=True)
        with harvesting(bench.config) as agent:
            bench.became(told_later, "confirmed")
            once = copies(channel)

            # killed there, and not back before the lease is over
            gate.before = lambda path: path.endswith("/results")
            lost = bench.replay("lost")
            assert gate.held.wait(60)
            agent.kill()
        bench.end_leases()
        unknown = bench.became(lost, "unknown")
        gate.open(lost=True)
        sent_before = copies(channel)

        # the same with a receiver that takes a second copy, and the agent's disk lost
        [flow] = [one for one in bench.listed("flows") if one["name"] == QUEUE]
        bench.ask("PATCH", f"flows/{flow['id']}", {"receiver_is_idempotent": True})
        shutil.rmtree(state)
        with harvesting(bench.config) as agent:
            gate.before = lambda path: path.endswith("/results")
            again = bench.replay("again")
            assert gate.held.wait(60)
            agent.kill()
        gate.open(lost=True)
        shutil.rmtree(state)
        bench.end_leases()
        with harvesting(bench.config) as agent:
            bench.became(again, "confirmed")
            twice = copies(channel)
            bench.ask("PATCH", f"flows/{flow['id']}", {"receiver_is_idempotent": False})

            # stopped with an order in hand, and awake after its lease
            gate.hold = lambda path, answer: path.endswith("/orders") and bool(answer["order"])
            late = bench.replay("late")
            assert gate.held.wait(60)
            ordered_at = time.monotonic()
            agent.send_signal(signal.SIGSTOP)
            gate.open()
            bench.end_leases()
            bench.became(late, "unknown")
            passed = LEASE_S - SENT_WITHIN_S + 2
            wait_until(lambda: time.monotonic() - ordered_at > passed, seconds=passed + 5, what="the end of its time")
            asks: list[str] = []
            gate.before = lambda path: path.endswith("/orders") and bool(asks.append(path))
            agent.send_signal(signal.SIGCONT)
            # with the second question it is done with whatever came before
            wait_until(lambda: len(asks) >= 2, seconds=60, what="an agent that goes on")
            nothing = copies(channel)
            agent.terminate()
            assert agent.wait(timeout=60) == 0

    assert done["proof_tie"] == "link"
    assert [one["agent"] for one in bench.listed("connections")] == ["harvester"]
    assert "guest" not in str(bench.listed("connections"))
    assert shown
    assert once == [told_later["id"]]
    assert sent_before == [lost["id"]]
    assert "worker was lost" in unknown["detail"]
    assert (twice, bench.ask("GET", f"replays/{again['id']}")["attempt"]) == ([again["id"]] * 2, 2)
    names = {lost["id"]: "lost", again["id"]: "again", late["id"]: "late"}
    assert [names.get(one, one) for one in nothing] == []
    assert bench.ask("GET", f"replays/{late['id']}")["state"] == "unknown"
