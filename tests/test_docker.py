"""The containers run what `make run` runs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import yaml

from console.runner.supervisor import read_procfile

ROOT = Path(__file__).resolve().parent.parent


def test_every_console_container_runs_a_process_of_the_procfile():
    services = yaml.safe_load((ROOT / "docker/compose.yml").read_text())["services"]

    ours = {name: service["command"] for name, service in services.items() if "build" in service}

    assert ours == {"web": ["web"], "worker": ["worker"], "beat": ["beat"]}
    asked = {name for name in ours if not services[name].get("healthcheck", {}).get("disable")}
    assert asked == {"web"}  # the image asks port 8000, which only the web process answers
    assert set(ours) <= set(read_procfile())


def test_the_entry_point_execs_the_procfiles_command(tmp_path):
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\necho "$@"\n')
    fake.chmod(0o755)
    environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "WAYBILL_DATA": str(tmp_path / "data")}

    said = subprocess.run(
        [ROOT / "docker/entrypoint", "worker"], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    ).stdout.split()
    unknown = subprocess.run(
        [ROOT / "docker/entrypoint", "nobody"], cwd=ROOT, env=environ, capture_output=True, text=True
    )

    assert said == read_procfile()["worker"][1:]
    assert (unknown.returncode, "nobody" in unknown.stderr) == (2, True)
