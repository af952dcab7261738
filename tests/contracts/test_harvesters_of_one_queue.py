"""One queue, harvested in another way than before, or by two at once: nothing is lost, shown twice or closed as gone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import redis

from tests.contracts.test_harvester import STORED, FakeConsole, console, wait_until
from tests.contracts.test_harvester_modes import stream, streams_config
from tests.contracts.test_letters_without_an_id import harvesting

__all__ = ["console", "stream"]  # fixtures
MIRROR = 'mode = "mirror"\nlook_every_s = 0.1'


def keeping_gone(console: FakeConsole) -> list[str]:
    """Let the console answer as one does, and return the ids that are reported as gone to it."""
    gone: list[str] = []

    def judge(body: Any) -> tuple[int, bytes]:
        gone.extend(body.get("ids", []) if isinstance(body, dict) else [])
        return STORED if isinstance(body, list) else (200, b"{}")

    console.judge = judge
    return gone


def test_what_is_moved_between_two_mirrors_is_not_gone(
    console: FakeConsole, tmp_path: Path, stream: tuple[redis.Redis, str]
):
    client, name = stream
    gone = keeping_gone(console)

    def harvest_until(how: str, letters: int, left: int) -> None:
        streams_config(tmp_path, console.url, os.environ["REDIS_URL"], name, how)
        with harvesting(tmp_path / "harvest.toml") as process:
            wait_until(lambda: len(console.letters) >= letters and client.xlen(name) == left)
            process.terminate()
            process.wait()

    for number in range(3):
        client.xadd(name, {"body": str(number)})
    harvest_until(MIRROR, 3, 3)
    harvest_until("", 3, 0)  # the console alone has them now
    client.xadd(name, {"body": "3"})
    with harvesting(streams_config(tmp_path, console.url, os.environ["REDIS_URL"], name, MIRROR)) as process:
        wait_until(lambda: len(console.letters) == 4)
        client.xtrim(name, maxlen=0)  # the sign that a whole round is over
        wait_until(lambda: bool(gone))
        process.terminate()

    assert [one for one in gone if console.letters[one]["body"] != "3"] == []


def test_two_harvesters_share_a_queue_and_the_console_has_each_letter_once(
    console: FakeConsole, tmp_path: Path, stream: tuple[redis.Redis, str]
):
    client, name = stream
    keeping_gone(console)
    for number in range(300):
        client.xadd(name, {"body": str(number)})
    folders = [tmp_path / one for one in ("first", "second")]
    for folder in folders:
        folder.mkdir()
        file = streams_config(folder, console.url, os.environ["REDIS_URL"], name, "")
        file.write_text(file.read_text().replace('name = "h"', f'name = "{folder.name}"', 1))

    with harvesting(folders[0] / "harvest.toml") as first, harvesting(folders[1] / "harvest.toml") as second:
        wait_until(lambda: client.xlen(name) == 0)
        first.kill()
        second.terminate()

    assert sorted(int(one["body"]) for one in console.letters.values()) == list(range(300))
    assert len(console.stored) == 300
