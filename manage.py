#!/usr/bin/env python3
"""Django's command line for Waybill; uses the checkout's own virtual environment when started from outside it."""

import os
import sys
from pathlib import Path


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError:
        own = Path(__file__).resolve().parent / ".venv" / "bin" / "python"
        if own.exists() and Path(sys.prefix) != own.parent.parent:
            os.execv(own, [str(own), *sys.argv])
        sys.exit("Django is not installed here: run `make run` once, it makes .venv")
    from console.core.errors import ConfigurationError

    try:
        execute_from_command_line(sys.argv)
    except ConfigurationError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
