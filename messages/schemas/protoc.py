"""Protobuf's own compiler, in a process of its own with limits: an administrator's .proto source becomes a FileDescriptorSet.

It runs when a schema is saved or tried, never when a body is read. It sees one folder with that one file, and google/protobuf's
well-known types; other imports are not found. grpcio-tools is the project's own protoc as a wheel. Measured: 45 ms.
"""

from __future__ import annotations

import re
import subprocess
import sys
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from messages.schemas.limits import LARGEST_SCHEMA, BadSchema

NAME = "schema.proto"
LARGEST_COMPILED = 1024 * 1024
WAIT_S = 15
CHILD = Path(__file__).with_name("protoc_child.py")
NOISE = re.compile(r": warning: |^WARNING: All log|^[IW]\d{4} ")
PLACE = re.compile(r"^(?:\S*/)?schema\.proto:(\d+):(\d+): ")


@lru_cache(maxsize=64)
def compile_proto(source: str) -> bytes:
    """Return a serialised FileDescriptorSet of this source and what it imports; raises BadSchema with protoc's words."""
    data = source.encode("utf-8", "replace")
    if len(data) > LARGEST_SCHEMA:
        raise BadSchema(f"a schema has at most {LARGEST_SCHEMA // 1024} KiB")
    with TemporaryDirectory(prefix="waybill-proto-") as folder:
        Path(folder, NAME).write_bytes(data)
        compiled = Path(folder, "compiled")
        command = [sys.executable, "-I", str(CHILD), f"-I{folder}", f"-I{_well_known()}"]
        command += ["--include_imports", f"--descriptor_set_out={compiled}", NAME]
        try:
            # No shell, and nothing that an administrator wrote is an argument.
            done = subprocess.run(command, capture_output=True, timeout=WAIT_S, cwd=folder, check=False)
        except subprocess.TimeoutExpired:
            raise BadSchema("compiling it takes too long") from None
        if done.returncode != 0 or not compiled.exists():
            raise BadSchema(_words(done.stderr.decode("utf-8", "replace")))
        if compiled.stat().st_size > LARGEST_COMPILED:
            raise BadSchema(f"compiled it has more than {LARGEST_COMPILED // 1024 // 1024} MiB")
        return compiled.read_bytes()


def _well_known() -> Path:
    found = find_spec("grpc_tools")
    if found is None or found.origin is None:
        raise BadSchema("the compiler for .proto sources is not installed here: give a FileDescriptorSet")
    return Path(found.origin).with_name("_proto")


def _words(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip() and not NOISE.search(line)]
    if not lines:
        return "the compiler ended without a word: it may be too large"
    return "; ".join(PLACE.sub(r"line \1, column \2: ", line) for line in lines[:5])[:500]
