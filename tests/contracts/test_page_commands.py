"""Every command that docs/brokers/ and docs/agents.md say to run is run, or held against the program that would run it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis

from tests.conftest import need
from tests.contracts.test_agents_check import RIGHTS
from tests.contracts.test_broker_pages import PAGES, blocks
from tests.contracts.test_harvester import FakeConsole, console
from tests.contracts.test_sqs_troubles import READS
from tests.product import ROOT, wait_until

__all__ = ["console"]  # a fixture
AGENTS = ROOT / "docs" / "agents.md"
STREAM = "billing.invoices.dlq"  # as the page has it
# (page, language of a block, how many of them) → the test that runs them
RUN_BY = {
    ("agents", "", 1): "here: what check says",
    ("agents", "sh", 1): "here: docker",
    ("agents", "ini", 1): "here: systemd",
    ("celery", "python", 1): "tests/http/test_celery_loop.py",
    ("celery", "sh", 1): "tests/http/test_celery_loop.py",
    ("http", "python", 1): "tests/http/test_docs_lines.py",
    ("http", "sh", 1): "tests/http/test_docs_lines.py",
    ("sqs", "json", 1): "here: the rights",
}
OF_FILES = {"toml", "xml"}  # tests/contracts/test_broker_pages.py reads every one
# A docker that writes down what it is asked, an argument a line.
DOCKER = "#!/bin/sh\nfor one; do printf '%s\\n' \"$one\"; done >> asked\necho >> asked\n"


def fenced(page: Path) -> list[tuple[str, str]]:
    """Return (language, text) of every block."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.S | re.M)


def test_no_page_says_to_run_what_no_test_runs():
    found: dict[tuple[str, str], int] = {}
    for page in PAGES:
        for language, _ in fenced(page):
            if language not in OF_FILES:
                found[page.stem, language] = found.get((page.stem, language), 0) + 1

    assert {(*block, count) for block, count in found.items()} == set(RUN_BY)
    for test in RUN_BY.values():
        assert test.startswith("here: ") or (ROOT / test).is_file()


@pytest.fixture
def harvested(console: FakeConsole, tmp_path: Path) -> Iterator[Path]:
    """A folder with harvest.toml and harvest.env, as the page has them, for a stream in the tests' own Redis that holds one letter."""
    login = urlsplit(os.environ["REDIS_URL"])
    (tmp_path / "harvest.env").write_text(f"WAYBILL_AGENT_KEY=wb_agent_x\nREDIS_PASSWORD={login.password}\n")
    (tmp_path / "harvest.toml").write_text(
        f'console = "{console.url}"\nkey_env = "WAYBILL_AGENT_KEY"\nname = "harvest-eu"\n[[broker]]\nname = "streams"\nkind = "redis-streams"\n'
        f'address = "redis://127.0.0.1:{login.port}/0"\nusername = "default"\nsecret_env = "REDIS_PASSWORD"\n[[broker.queue]]\nname = "{STREAM}"\n'
    )
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        client.xadd(STREAM, {"body": "one"}, id=f"{int(time.time() - 41) * 1000}-0")
        yield tmp_path
        client.delete(STREAM)


def check_harvests(command: list[str], folder: Path, cwd: Path, console: FakeConsole) -> None:
    """Run the command with the folder's harvest.env and see the letter come."""
    named = dict(line.split("=", 1) for line in (folder / "harvest.env").read_text().splitlines())
    environ = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME"}} | named
    with subprocess.Popen(command, cwd=cwd, env=environ, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: console.letters, seconds=60, what="the letter")
        finally:
            process.terminate()
    assert [letter["body"] for letter in console.letters.values()] == ["one"]
    assert process.returncode == 0


def test_the_docker_lines_build_an_image_and_harvest_in_it(harvested: Path, console: FakeConsole):
    [lines] = blocks(AGENTS, "sh")
    (harvested / "docker").write_text(DOCKER)
    (harvested / "docker").chmod(0o755)
    environ = os.environ | {"PATH": f"{harvested}:{os.environ['PATH']}"}

    subprocess.run(["bash", "-euc", lines], cwd=harvested, env=environ, check=True)

    build, run = ([*call.splitlines()] for call in (harvested / "asked").read_text().strip().split("\n\n"))
    image = build[build.index("-t") + 1]
    assert (build[0], build[-1], (ROOT / build[build.index("-f") + 1]).is_file()) == ("build", ".", True)
    inside = run[run.index(image) + 1 :]
    assert run[run.index("--entrypoint") + 1] == "python"
    [volume] = [run[at + 1] for at, word in enumerate(run) if word == "-v"]
    assert volume == f"{harvested}:/harvest"
    assert (harvested / run[run.index("--env-file") + 1]).is_file()
    here = [word.replace("/harvest/", f"{harvested}/") for word in inside]
    check_harvests([sys.executable, *here], harvested, ROOT, console)


def test_docker_itself_knows_every_option_of_these_lines():
    need(shutil.which("docker") is not None, "docker")
    [lines] = blocks(AGENTS, "sh")
    run = next(command for command in lines.replace("\\\n", " ").splitlines() if command.startswith("docker run"))

    said = subprocess.run(
        ["bash", "-c", run.replace("--env-file harvest.env", "--env-file /dev/null")],
        env=os.environ | {"DOCKER_HOST": "tcp://127.0.0.1:1"}, capture_output=True, text=True,
    )  # fmt: skip

    assert "unknown" not in said.stderr
    assert "Cannot connect to the Docker daemon" in said.stderr


def test_the_unit_is_one_and_its_command_harvests(harvested: Path, console: FakeConsole):
    [unit] = blocks(AGENTS, "ini")
    here = unit.replace("/etc/waybill", str(harvested)).replace("/opt/waybill/.venv/bin/python", f'"{sys.executable}"')
    here = here.replace("/opt/waybill", str(ROOT))
    (harvested / "waybill.service").write_text(here)
    told = dict(line.split("=", 1) for line in here.splitlines() if "=" in line)

    if shutil.which("systemd-analyze"):
        verified = subprocess.run(
            ["systemd-analyze", "verify", harvested / "waybill.service"], capture_output=True, text=True
        )
        assert (verified.returncode, verified.stderr) == (0, "")

    assert set(told) == {"ExecStart", "WorkingDirectory", "Restart", "EnvironmentFile"}
    assert told["EnvironmentFile"] == str(harvested / "harvest.env")
    check_harvests(shlex.split(told["ExecStart"]), harvested, Path(told["WorkingDirectory"]), console)


def test_check_says_what_the_page_says(harvested: Path, console: FakeConsole):
    [expected] = [text for language, text in fenced(AGENTS) if not language]
    file = harvested / "harvest.toml"
    file.write_text(file.read_text().replace('"default"', '"looker"') + 'system = "billing"\ngroup = "waybill"\n')
    rights = [*RIGHTS.split(), "+time", "+xgroup", "+xreadgroup", "+xautoclaim"]
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        client.xadd(STREAM, {"body": "two"})
        client.execute_command("ACL", "SETUSER", "looker", "on", ">secret", f"~{STREAM}", *rights)
        try:
            done = subprocess.run(
                [sys.executable, "-m", "agents", "check", "--config", str(file)], cwd=ROOT, capture_output=True, text=True,
                env=os.environ | {"WAYBILL_AGENT_KEY": "wb_agent_x", "REDIS_PASSWORD": "secret"},
            )  # fmt: skip
        finally:
            client.execute_command("ACL", "DELUSER", "looker")

    def plain(text: str) -> str:
        return re.sub(r"\d+ s$", "N s", text.replace(console.url, "http://127.0.0.1:8000"), flags=re.M)

    assert plain(done.stdout).splitlines() == plain(expected).splitlines()
    assert done.returncode == 1


def test_the_policy_of_the_sqs_page_names_what_the_harvester_asks():
    [block] = blocks(ROOT / "docs" / "brokers" / "sqs.md", "json")
    [statement] = json.loads(block)["Statement"]

    assert statement["Action"] == [f"sqs:{action}" for action in READS]
    assert statement["Effect"] == "Allow"
