"""`python -m agents harvest|check --config harvest.toml`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from agents.harvest.config import BadConfig, load_config


def main() -> int:
    ask = argparse.ArgumentParser(prog="python -m agents", description="Move dead letters from brokers to the console.")
    commands = ask.add_subparsers(dest="command", required=True)
    for name, words in (
        ("harvest", "move dead letters until stopped"),
        ("check", "say in words what can be reached and read"),
    ):
        commands.add_parser(name, help=words).add_argument("--config", required=True, type=Path)
    given = ask.parse_args()
    try:
        config = load_config(given.config)
    except BadConfig as error:
        print(f"agents: {error}", file=sys.stderr)
        return 2
    if given.command == "check":
        from agents.harvest.check import check

        return check(config)
    from agents.harvest.loop import harvest

    return harvest(config)


if __name__ == "__main__":
    sys.exit(main())
