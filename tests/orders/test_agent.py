"""The agent's side of an order, against the console over real HTTP; the broker is the in-memory double."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.harvest.config import BadConfig, HarvestConfig, ReplayBroker, load_config
from agents.harvest.console import Console, ConsoleAway
from agents.replay import sender
from agents.replay.sender import ReplaySender
from messages.connectors import FAMILIES, memory
from messages.connectors.base import Address
from messages.models import Connection, Replay
from messages.orders.rights import make_order_secret
from tests.factories import ROOT, agent, agent_key
from tests.orders.test_services import agents_connection, asked, states

HERE = "memory://the agent's own broker"


class Lossy(Console):
    """A line to the console on which answers get lost, after the console has done what was asked."""

    lose: str = "/orders"
    losses: int = 0

    def post(self, path: str, plain: bytes, more: dict[str, str]) -> dict[str, Any]:
        answer = super().post(path, plain, more)
        if path.endswith(self.lose) and self.losses:
            self.losses -= 1
            raise ConsoleAway("the line went")
        return answer


@pytest.fixture
def made(
    committed: None, live_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., ReplaySender]]:
    """Return what makes an agent beside a connection that lives with it."""
    monkeypatch.setitem(FAMILIES, "memory", "messages.connectors.memory.FAMILY")
    memory.QUEUES.pop(HERE, None)
    agents_connection()
    key, secret = agent_key("harvester"), make_order_secret(agent("harvester"), by=ROOT)

    def make(order_secret: str = secret, *, options: dict[str, object] | None = None) -> ReplaySender:
        config = HarvestConfig(
            console=live_server.url, key=key, name="h", queues=(), state=str(tmp_path), order_secret=order_secret
        )
        broker = ReplayBroker(name="redis", kind="memory", address=Address(url=HERE, options=options or {}))
        return ReplaySender(config, broker, threading.Event(), lambda event, **fields: None)

    yield make
    while LINES:
        LINES.pop().close()


LINES: list[Console] = []


def line(one: ReplaySender, kind: type[Console] = Console) -> Any:
    LINES.append(kind(one.config.console, one.config.key, most_bytes=2**26))
    return LINES[-1]


def arrived() -> list[str]:
    return [str(one.id) for one in memory.QUEUES[HERE]["erp.orders"]]


def test_it_sends_what_is_ordered_over_its_own_broker_and_reports_it(made: Callable[..., ReplaySender]):
    replays, one = asked(3), made()
    console = line(one)

    first, second = one.round(console), one.round(console)

    assert arrived() == [str(replay.pk) for replay in replays]
    assert set(states(replays)) == {"confirmed"}
    assert (first, second) == (0.0, 1.0)
    assert (one.told()["confirmed"], one.told()["error"]) == (3, "")


def test_an_answer_that_was_lost_comes_again_and_each_message_leaves_once(made: Callable[..., ReplaySender]):
    replays, one = asked(2), made()
    console = line(one, Lossy)
    console.losses = 1

    for _ in range(3):
        one.round(console)

    assert arrived() == [str(replay.pk) for replay in replays]
    assert set(Replay.objects.values_list("state", "attempt")) == {("confirmed", 1)}


def test_results_that_the_console_did_not_hear_are_told_after_a_restart_and_nothing_new_is_fetched_before(
    made: Callable[..., ReplaySender],
):
    replays, one = asked(2), made()
    console = line(one)
    one.round(console)
    one.config = HarvestConfig(
        console="http://127.0.0.1:1", key=one.config.key, name="h", queues=(), state=one.config.state
    )
    away = one.round(line(one))
    more = asked(1)
    before = states([*replays, *more])

    again = made()
    for _ in range(2):
        again.round(line(again))

    assert before == ["sending", "sending", "queued"]
    assert away > 0
    assert set(states([*replays, *more])) == {"confirmed"}
    assert len(arrived()) == 3


def test_a_report_whose_answer_was_lost_is_told_twice_and_counts_once(made: Callable[..., ReplaySender]):
    [replay], one = asked(1), made()
    console = line(one, Lossy)
    console.lose, console.losses = "/results", 1

    for _ in range(3):
        one.round(console)

    assert (states([replay]), one.reports.next()) == (["confirmed"], None)


def test_an_agent_that_was_stopped_with_an_order_in_hand_sends_nothing_and_says_so(
    made: Callable[..., ReplaySender], monkeypatch: pytest.MonkeyPatch
):
    [replay], one = asked(1), made()
    clock = iter([1000.0, 1016.0])
    monkeypatch.setattr(sender, "boot_s", lambda: next(clock, 2000.0))

    one.round(line(one))
    one._deliver(line(one))

    assert (arrived(), states([replay])) == ([], ["queued"])
    assert "the agent was held up" in Replay.objects.get().detail


def test_what_the_connector_says_is_what_the_console_marks(made: Callable[..., ReplaySender]):
    replays, one = asked(1), made(options={"unknown": "erp.orders"})

    one.round(line(one))
    one.round(line(one))

    assert states(replays) == ["unknown"]
    assert one.told()["unknown"] == 1


def test_a_connector_that_breaks_makes_it_unknown_and_its_words_stay_with_the_agent(
    made: Callable[..., ReplaySender], monkeypatch: pytest.MonkeyPatch
):
    def breaks(*arguments: Any, **named: Any) -> None:
        raise RuntimeError("a bug of the family, with Bearer t0ken in it")

    [replay], one = asked(1), made()
    monkeypatch.setattr(memory.MemoryConnector, "publish", breaks)

    one.round(line(one))
    one.round(line(one))

    assert states([replay]) == ["unknown"]
    assert "t0ken" not in Replay.objects.get().detail


def test_a_wrong_order_secret_fetches_nothing_and_is_said(made: Callable[..., ReplaySender]):
    [replay], one = asked(1), made("wb_order_wrong")

    pause = one.round(line(one))

    assert (arrived(), states([replay]), pause) == ([], ["queued"], sender.REFUSED_PAUSE_S)
    assert "not signed with the order secret" in str(one.told()["error"])


class Forging(Console):
    """Somebody between agent and console who changes the order."""

    def post(self, path: str, plain: bytes, more: dict[str, str]) -> dict[str, Any]:
        answer = super().post(path, plain, more)
        return answer | {"order": answer["order"].replace("erp.orders", "my.orders")} if answer.get("order") else answer


def test_a_changed_order_is_not_carried_out(made: Callable[..., ReplaySender]):
    [replay], one = asked(1), made()

    one.round(line(one, Forging))

    assert (memory.QUEUES[HERE], states([replay])) == ({}, ["sending"])
    assert "not signed" in str(one.told()["error"])


def test_what_a_person_has_to_do_first_is_said_in_the_heartbeat(made: Callable[..., ReplaySender]):
    one = made()
    Connection.objects.update(approved_at=None, approved_by="")

    pause = one.round(line(one))

    assert (pause, "is not approved" in str(one.told()["error"])) == (10.0, True)


def test_results_wait_in_memory_where_the_disk_takes_nothing(made: Callable[..., ReplaySender], tmp_path: Path):
    [replay], one = asked(1), made()
    one.reports.folder = tmp_path / "a file" / "results"
    (tmp_path / "a file").write_text("")

    one.round(line(one))
    one.round(line(one))

    assert (arrived(), states([replay]), one.reports.next()) == ([str(replay.pk)], ["confirmed"], None)


HEAD = 'console = "http://c"\nkey = "k"\n'
SENDS = '[[broker]]\nname = "b"\nkind = "http"\naddress = "https://b.example"\nreplay = true\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD + SENDS, "needs order_secret_env"),
        (HEAD + 'order_secret = "s"\n' + SENDS.replace("true", '"yes"'), "replay is true or false"),
        (HEAD + 'order_secret = "s"\n' + SENDS.replace('"http"', '"fax"'), "kind is one of"),
        (HEAD + 'order_secret_env = "NOT_SET"\n' + SENDS, "NOT_SET, which is not set"),
        (HEAD + SENDS.replace("replay = true\n", ""), "kind is one of"),
        (HEAD + 'order_secret = "s"\n' + SENDS.replace('address = "https://b.example"\n', ""), "needs an address"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, words: str):
    file = tmp_path / "harvest.toml"
    file.write_text(text)

    with pytest.raises(BadConfig, match=words):
        load_config(file, {})


def test_a_broker_sends_when_its_file_says_so_and_needs_no_queue(tmp_path: Path):
    file = tmp_path / "harvest.toml"
    other = '[[broker]]\nname = "r"\nkind = "redis-streams"\naddress = "redis://r"\n[[broker.queue]]\nname = "q"\n'
    file.write_text(HEAD + 'order_secret_env = "S"\n' + SENDS + other)

    config = load_config(file, {"S": " s3cret\n"})

    assert [(one.name, one.kind) for one in config.replays] == [("b", "http")]
    assert ([one.name for one in config.queues], config.order_secret) == (["q"], "s3cret")
    assert "s3cret" not in repr(config)
