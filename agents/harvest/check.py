"""`check`: says in words, queue by queue, what works and what does not."""

from __future__ import annotations

from agents.harvest.config import HarvestConfig
from agents.harvest.console import Console, ConsoleAway, ConsoleRefuses
from messages.connectors import get_source

MARKS = {True: "yes", False: "NO", None: "?"}


def check(config: HarvestConfig) -> int:
    """Ask the console and every queue; print one line an answer; return 1 when any answer is no."""
    fine = _check_console(config)
    for queue in config.queues:
        print(f"{queue.broker} / {queue.name} ({queue.kind})")
        source = get_source(queue.kind, queue.address, broker=queue.broker, queue=queue.name, options=queue.options)
        try:
            for answer in source.check():
                print(f"  {MARKS[answer.answer]:3} {answer.question}: {answer.detail}")
                fine &= answer.answer is not False
        finally:
            source.close()
    print("everything can be harvested" if fine else "not everything works: see the lines with NO")
    return 0 if fine else 1


def _check_console(config: HarvestConfig) -> bool:
    console = Console(config.console, config.key, timeout_s=10)
    print(f"console {config.console}")
    try:
        console.push_dead_letters([])
    except ConsoleAway as error:
        print(f"  NO  reached: {error}")
        return False
    except ConsoleRefuses as error:
        print("  yes reached: the console answers")
        print(f"  NO  key accepted: {error}")
        return False
    print("  yes reached: the console answers\n  yes key accepted: it may push here")
    return True
