"""People's programs (jq, XSLT, JSON Schema, XSD) on bodies, in a process of its own with limits: child.py says which.

Neither libjq nor libxslt can be given a limit in the process that calls them: `[range(1e12)]` takes all memory, a template that calls
itself all time. One child serves many bodies and compiles each program once. Measured: 40 ms to start it, then 0.05 ms a body of 1 KB.
"""

from __future__ import annotations

import contextlib
import select
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Literal

Kind = Literal["jq", "xslt", "xsd", "json_schema"]
LETTERS: dict[str, bytes] = {"jq": b"q", "xslt": b"t", "xsd": b"x", "json_schema": b"j"}
CHILD = Path(__file__).with_name("child.py")
WAIT_S = 30.0  # of wall time for one body, whose program gets 2 s of CPU time: a machine may have other things to do
DONE, UNUSABLE = 0, 2


class ProgramFailed(Exception):
    """The program cannot be applied to this body; the sentence says why, and may have words of the body in it."""


class BadProgram(ProgramFailed):
    """The program itself cannot be used; the sentence is its compiler's."""


class Runner:
    """A child that is started when it is first needed, and again after it died; close it, or use it with `with`. Threads take turns.

    checks  whether it checks by JSON Schemas: loading what that needs takes 0.1 s more.
    """

    def __init__(self, *, checks: bool = False) -> None:
        self._checks = checks
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def run(self, kind: Kind, program: bytes, body: bytes) -> bytes:
        """Return what the program makes of the body; of a check a JSON list of sentences. jq's is a list of one value.

        Raises ProgramFailed, BadProgram.
        """
        request = struct.pack(">cI", LETTERS[kind], len(program)) + program + struct.pack(">I", len(body)) + body
        with self._lock:
            found = self._asked(request)
            if found is None:  # it had ended because nobody asked for long
                found = self._asked(request)
        if found is None:
            raise ProgramFailed("the process that runs programs ends by itself: tell whoever runs the console")
        status, made = found
        if status == DONE:
            return made
        words = made.decode("utf-8", "replace")
        raise BadProgram(words) if status == UNUSABLE else ProgramFailed(words)

    def _asked(self, request: bytes) -> tuple[int, bytes] | None:
        child = self._alive()
        until = time.monotonic() + WAIT_S
        try:
            self._write(child, request)
            status, size = struct.unpack(">BI", self._read(child, 5, until))
            return status, self._read(child, size, until)
        except (OSError, EOFError):
            ended = self._end()
        if ended == 0:
            return None
        raise ProgramFailed("it takes too long, or too much memory: a program has 2 s and 512 MiB for one body")

    def _alive(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._child.poll() is not None:
            self.close()
            command = [sys.executable, "-I", str(CHILD), *(["checks"] if self._checks else [])]
            pipe = subprocess.PIPE
            self._child = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env={}, cwd="/", bufsize=0
            )
        return self._child

    def _write(self, child: subprocess.Popen[bytes], data: bytes) -> None:
        assert child.stdin is not None
        left = memoryview(data)
        while left:
            left = left[child.stdin.write(left) :]

    def _read(self, child: subprocess.Popen[bytes], size: int, until: float) -> bytes:
        assert child.stdout is not None
        ready = select.poll()  # select() takes no descriptor over 1,023
        ready.register(child.stdout, select.POLLIN)
        data = bytearray()
        while len(data) < size:
            if not ready.poll(max(0.0, until - time.monotonic()) * 1000):
                raise EOFError
            chunk = child.stdout.read(size - len(data))
            if not chunk:
                raise EOFError
            data += chunk
        return bytes(data)

    def _end(self) -> int:
        """End the child and return its exit status: 0 when it had ended by itself."""
        assert self._child is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(0.5)  # it died already, mostly
        child = self._child
        self.close()
        return int(child.returncode)

    def close(self) -> None:
        """End the child. Harmless when there is none."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()
