"""`python -m tests.deployment`: Django's own audits against settings as in production, and migrations that are complete."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile


def main() -> int:
    with tempfile.TemporaryDirectory() as data:
        environ = {
            **os.environ,
            "WAYBILL_DATA": data,
            "WAYBILL_URL": "https://waybill.example.com",
            "WAYBILL_SECRET_KEY": "k" * 25 + "0123456789abcdefghijklmnopqrstuvwxyz",
            "DATABASE_URL": "postgres://nobody@127.0.0.1:1/none",
            "REDIS_URL": "redis://127.0.0.1:1/0",
        }
        for arguments in (["check", "--deploy", "--fail-level", "WARNING"], ["makemigrations", "--check", "--dry-run"]):
            code = subprocess.call(
                [sys.executable, "-W", "ignore::RuntimeWarning", "manage.py", *arguments], env=environ
            )
            if code:
                return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
