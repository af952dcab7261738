"""`retention`: let go what is older than its policy, now; `--dry-run` says what would go and changes nothing."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from console.core.words import size_words
from messages.retention.plan import lines_of, plan_retention
from messages.retention.run import run_retention


class Command(BaseCommand):
    help = "Let go what is older than its environment's retention policy; --dry-run says what would go and how much it frees."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="change nothing, say what would go")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["dry_run"]:
            plan = plan_retention(now=datetime.now(UTC))
            self.stdout.write(json.dumps(plan.as_json()) if options["json"] else "\n".join(lines_of(plan)))
            return
        run = run_retention()
        if options["json"]:
            self.stdout.write(json.dumps({"state": run.state} | run.details))
        else:
            self.stdout.write("\n".join(_words(run.details)))
        if run.state != "finished":
            raise CommandError("not everything went: run it again later, or let the next task do it")


def _words(details: dict[str, Any]) -> list[str]:
    lines = [
        f"{one['table']:<28} {one['way']:<13} {one['day'] or one['environment']:<12} {one['rows']:>10,} rows {size_words(one['bytes']):>10}"
        for one in details["done"]
    ]
    lines += [f"left: {one['table']} {one['day']}: {one['because']}" for one in details["left"]]
    return lines or ["Nothing had to go."]
