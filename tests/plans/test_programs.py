"""The process in which people's programs run: bounded, alone, and gone when the one that started it is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from messages.programs.runner import ProgramFailed, Runner
from tests.product import wait_until

ROOT = Path(__file__).resolve().parents[2]
STARTS = """
from messages.programs.runner import Runner
import time
runner = Runner()
runner.run("jq", b".", b"1")
print(runner._child.pid, flush=True)
time.sleep(600)
"""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()


def test_the_child_of_a_worker_that_is_killed_ends():
    worker = subprocess.Popen([sys.executable, "-c", STARTS], stdout=subprocess.PIPE, cwd=ROOT)
    assert worker.stdout is not None
    pid = int(worker.stdout.readline())
    assert is_alive(pid)

    worker.kill()
    worker.wait()
    worker.stdout.close()

    wait_until(lambda: not is_alive(pid), seconds=30, what="the child to end")


def test_a_child_that_ended_by_itself_is_no_failure():
    with Runner() as runner:
        runner.run("jq", b".", b"1")
        child = runner._child
        assert child is not None
        assert child.stdin is not None
        child.stdin.close()  # as if nothing had come for long
        child.wait(30)

        assert runner.run("jq", b".", b"2") == b"[2]"


def test_one_child_serves_many_and_threads_take_turns():
    with Runner() as runner:
        assert runner.run("jq", b". + 1", b"1") == b"[2]"
        first = runner._child
        assert [runner.run("jq", b". + 1", b"%d" % n) for n in range(20)] == [b"[%d]" % (n + 1) for n in range(20)]
        assert runner._child is first


@pytest.mark.parametrize(
    "program", [b"[range(1e12)]", b'"x" * 5e8', b"last(range(1e12))", b"[limit(1e8; repeat(1))] | length"]
)
def test_what_takes_too_much_ends_and_the_next_body_is_served(program: bytes):
    with Runner() as runner:
        began = time.process_time()
        with pytest.raises(ProgramFailed, match="too much memory"):
            runner.run("jq", program, b"null")
        assert runner.run("jq", b".", b"1") == b"[1]"
        assert time.process_time() - began < 2  # of ours: the child's is its own


def test_a_program_reads_no_file_and_no_variable():
    os.environ["A_SECRET"] = "s3cret"
    try:
        with Runner() as runner:
            for program in (b"$ENV", b"env"):
                assert b"s3cret" not in runner.run("jq", program, b"1")
            for program in (b'import "a" as $a {search: "/etc"}; $a', b'include "passwd" {search: "/etc"}; .'):
                with pytest.raises(ProgramFailed, match="module not found"):
                    runner.run("jq", program, b"1")
    finally:
        del os.environ["A_SECRET"]
