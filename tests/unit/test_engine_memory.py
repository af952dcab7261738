"""How much memory the embedded engines reckon with: the least of what the machine has and its container may use."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.engines import postgres
from console.engines.memory import memory_mb


@pytest.mark.parametrize(("said", "expected"), [("536870912\n", 512), ("max\n", None), ("", None), (str(2**63), None)])
def test_a_containers_limit_counts_where_it_says_one(tmp_path: Path, said: str, expected: int | None):
    limit = tmp_path / "memory.max"
    limit.write_text(said)

    assert memory_mb([limit, tmp_path / "missing"]) == (expected or memory_mb([]))


@pytest.mark.parametrize(("memory", "buffers"), [(256, 128), (4096, 512), (262_144, 2048)])
def test_postgresql_keeps_an_eighth_of_it(monkeypatch: pytest.MonkeyPatch, memory: int, buffers: int):
    monkeypatch.setattr(postgres, "memory_mb", lambda: memory)

    assert f"shared_buffers = {buffers}MB\n" in postgres.configuration()
