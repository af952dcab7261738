"""The fault matrix for as long as you like: `python -m tests.faults.soak --minutes 30`.

Agents send without a pause while one fault after the other is drawn; every few faults they stop, every invariant is checked, and new
agents go on over the rows of the former. The first invariant that does not hold ends it with exit code 1 and leaves the data to be looked at.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.checker import Fleet, wait_until_green
from tests.faults.inject import FAULTS
from tests.product import Product

A_ROUND = 6  # faults between two checks


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the same faults in the same order")
    parser.add_argument("--agents", type=int, default=3)
    given = parser.parse_args(arguments)
    data = Path(tempfile.mkdtemp(prefix="waybill-soak-"))
    data.chmod(0o711)
    say(f"seed {given.seed}, data and log in {data}")
    product = Product(data / "data", demo=False, WAYBILL_DISK_RESERVE_PERCENT="1").start()
    try:
        soak(product, minutes=given.minutes, chance=random.Random(given.seed), agents=given.agents)
    except AssertionError as failure:
        say(f"FAILED: {failure}")
        return 1
    finally:
        product.stop()
    return 0


def soak(product: Product, *, minutes: float, chance: random.Random, agents: int) -> None:
    wait_until_green(product)
    until, faults, batches = time.monotonic() + 60 * minutes, 0, 0
    while time.monotonic() < until:
        fleet, done = Fleet(product, agents=agents), []
        with fleet.sending():
            for _ in range(A_ROUND):
                time.sleep(chance.uniform(0.1, 4))
                fault = chance.choice(FAULTS)
                done.append(fault.__name__)
                fault(product, chance)
                fleet.wait_for_acknowledged(1, seconds=120)
        fleet.check()
        faults, batches = faults + A_ROUND, batches + fleet.acknowledged()
        say(f"{faults} faults, {batches} batches: all hold after {', '.join(done)}; answers {dict(fleet.statuses())}")


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
