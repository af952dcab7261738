"""Log lines: one JSON object each, whoever writes them and whatever they hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SAY = """
from gunicorn.config import Config
from console.gunicorn import JSONLines
import logging, structlog
server = JSONLines(Config())
server.warning("Invalid request from ip=%s: %s", "127.0.0.1", "evil\\n{\\"event\\": \\"forged\\"}\\x1b[31m")
structlog.get_logger("waybill").warning("said", who="a\\nb\\u2028\\x00")
logging.getLogger("anything").warning("a\\nb")
"""


def test_every_line_is_json_and_no_value_makes_a_line_of_its_own(tmp_path: Path):
    settings = {
        "WAYBILL_DATA": str(tmp_path),
        "WAYBILL_LOG_LEVEL": "INFO",
        "DATABASE_URL": "postgres://nobody@127.0.0.1:1/none",
    }
    environ = {**os.environ, **settings}

    said = subprocess.run(
        [sys.executable, "-c", SAY], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )

    lines = [json.loads(line) for line in said.stderr.split("\n") if line]
    assert [line["event"].split(" ")[0].split("\n")[0] for line in lines] == ["Invalid", "said", "a"]
    assert "\x1b" not in said.stderr
    assert said.stdout == ""
