"""`agents check` says in words what a harvester can reach, read and would do with each queue, and which right is missing."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pika
import pytest
import redis

from agents.harvest.check import check, doing
from agents.harvest.config import load_config
from messages.connectors import get_source
from messages.connectors.base import Address
from tests.contracts.test_harvester import STORED, FakeConsole, console
from tests.ports import free_port
from tests.product import ROOT

__all__ = ["console"]  # a fixture
RIGHTS = "+ping +type +xlen +xrange"


@pytest.fixture
def stream() -> Iterator[str]:
    """A stream with two letters."""
    name = f"t-{uuid.uuid4()}.dlq"
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        client.xadd(name, {"body": "1"})
        client.xadd(name, {"body": "2"})
        yield name
        client.delete(name)


@pytest.fixture
def reader(stream: str) -> Iterator[str]:
    """A user of Redis who may look at the stream and no more."""
    name = f"u{uuid.uuid4().hex}"
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        client.execute_command("ACL", "SETUSER", name, "on", ">secret", f"~{stream}", *RIGHTS.split())
        yield name
        client.execute_command("ACL", "DELUSER", name)


def config_of(tmp_path: Path, console_url: str, stream: str, *, user: str = "", more: str = "") -> Path:
    parts = urlsplit(os.environ["REDIS_URL"])
    address = f"redis://127.0.0.1:{parts.port}/0"
    who = f'username = "{user}"\nsecret = "secret"' if user else f'secret = "{parts.password}"\nusername = "default"'
    file = tmp_path / "harvest.toml"
    file.write_text(
        f'console = "{console_url}"\nkey = "wb_agent_x"\n[[broker]]\nname = "b"\nkind = "redis-streams"\naddress = "{address}"\n{who}\n'
        f'[[broker.queue]]\nname = "{stream}"\n{more}\n'
    )
    return file


def test_it_says_what_would_be_done_and_changes_nothing(console: FakeConsole, tmp_path: Path, stream: str):
    config = config_of(tmp_path, console.url, stream, more='system = "erp"\nper_s = 5')
    command = [sys.executable, "-m", "agents", "check", "--config", str(config)]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert (
        "would move letters that erp failed to process to the console, 200 at a time, at most 5 a second" in done.stdout
    )
    assert "; 2 wait now, the oldest for " in done.stdout
    assert "yes may take: XGROUP, XREADGROUP, XAUTOCLAIM, XACK, XDEL are allowed" in done.stdout
    assert done.stdout.endswith("everything can be harvested\n")
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        assert (client.xlen(stream), client.xinfo_groups(stream)) == (2, [])
    assert [path.name for path in tmp_path.iterdir()] == ["harvest.toml"]


def test_it_names_the_rights_that_moving_lacks_and_a_mirror_does_not_need(
    console: FakeConsole, tmp_path: Path, stream: str, reader: str, capsys: pytest.CaptureFixture[str]
):
    console.judge = lambda letters: STORED

    moving = check(load_config(config_of(tmp_path, console.url, stream, user=reader)))
    said = capsys.readouterr().out
    mirroring = check(load_config(config_of(tmp_path, console.url, stream, user=reader, more='mode = "mirror"')))

    assert (moving, mirroring) == (1, 0)
    assert "NO  may take: its user may not run XGROUP, XREADGROUP, XAUTOCLAIM, XACK, XDEL" in said
    assert f"+xack +xdel ~{stream}" in said
    assert "secret" not in said
    assert "would mirror it: look every 30 s" in capsys.readouterr().out


def test_a_console_that_is_away_a_broker_that_is_away_and_folders_that_cannot_be_written_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").write_text("")
    file = tmp_path / "harvest.toml"
    file.write_text(
        f'console = "http://127.0.0.1:{free_port()}"\nkey = "k"\nstate = "{tmp_path}/file/note"\n[[broker]]\nname = "b"\n'
        f'kind = "rabbitmq"\naddress = "amqp://127.0.0.1:{free_port()}/"\n[[broker.queue]]\nname = "q"\nspool = "{tmp_path}/file"\n'
    )

    assert check(load_config(file)) == 1

    said = capsys.readouterr().out
    for words in (
        "NO  reached: http://",
        "NO  reached: RabbitMQ does not answer",
        "NO  its note can be",
        "NO  the spool can be",
    ):
        assert words in said
    assert "keep up to 200 MB of them in" in said


def test_a_letters_system_is_read_from_it_when_the_file_names_none(tmp_path: Path):
    config = load_config(config_of(tmp_path, "http://c", "q"))

    assert doing(config, config.queues[0]).startswith(
        "would move letters of whatever system each names to the console, 200 at"
    )


@pytest.mark.engine
def test_rabbitmq_is_asked_for_a_letter_only_where_none_would_be_delivered(rabbitmq: str):
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(rabbitmq))) as connection:
        channel = connection.channel()
        name = channel.queue_declare(f"t-{uuid.uuid4()}").method.queue
        source = get_source("rabbitmq", Address(url=rabbitmq), broker="b", queue=name, options={})
        empty = source.check()[-1]
        channel.basic_publish("", name, b"1")
        full = source.check()[-1]
        method, _, _ = channel.basic_get(name, auto_ack=True)

    assert (empty.question, empty.answer) == ("may read", True)
    assert (full.question, full.answer) == ("may read", None)
    assert "it needs the read right" in full.detail
    assert method.redelivered is False


def test_an_address_that_is_none_is_a_no_and_the_other_queues_are_asked_all_the_same(
    console: FakeConsole, stream: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = config_of(tmp_path, console.url, stream)
    odd = '[[broker]]\nname = "odd"\nkind = "redis-streams"\naddress = "redis://h/0?db=first"\n[[broker.queue]]\nname = "x.dlq"\n'
    head, _, rest = file.read_text().partition("[[broker]]")
    file.write_text(f"{head}{odd}[[broker]]{rest}")

    code = check(load_config(file, {}))

    said = capsys.readouterr().out
    assert (code, "NO  reached: the address is not like redis://host:6379/0" in said) == (1, True)
    assert f"b / {stream}" in said
