"""`python -m agents.demo`: the whole estate. `… service NAME` and `… fill`: one of its processes, started by the first."""

from __future__ import annotations

import argparse
import os
import sys

from agents.demo.names import SERVICES
from console.core.config import load_config
from console.core.errors import ConsoleError


def main(arguments: list[str] | None = None) -> int:
    os.umask(0o077)
    parser = argparse.ArgumentParser(prog="python -m agents.demo", description="The demo estate of Waybill.")
    parser.add_argument("part", nargs="?", choices=["service", "fill"], help="one part alone; nothing starts them all")
    parser.add_argument("name", nargs="?", choices=SERVICES)
    given = parser.parse_args(arguments)
    if (given.part == "service") != bool(given.name):
        parser.error("`service` takes the name of a service, nothing else does")
    # Imported here: a service must not pay for the supervisor, nor the supervisor for the telemetry of the services.
    try:
        if given.part == "service":
            from agents.demo.service import run_service

            run_service(given.name, load_config())
        elif given.part == "fill":
            from agents.demo.fill import fill_history

            fill_history(load_config())
        else:
            from agents.demo.estate import run_estate

            run_estate(load_config())
    except ConsoleError as error:
        print(f"waybill demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
