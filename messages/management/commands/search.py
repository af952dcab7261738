"""`search status` says how the optional search back end stands; `search rebuild` builds its index anew beside the one that is used."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from console.identity.models import Environment
from messages.models import SearchGeneration
from messages.search.base import Away
from messages.search.elastic.client import FAULTS, words_of
from messages.search.elastic.outbox import attach
from messages.search.elastic.rebuild import LEASE, Filling, RebuildElsewhere, begin_generation, go_live
from messages.search.elastic.state import COUNTED_TO, Status, search_status

SAID_EVERY_S = 2.0
WAITED = LEASE + timedelta(seconds=10)  # for a lease: whoever still has it then is alive


class Command(BaseCommand):
    help = "How the optional search back end stands, and building its index anew; a rebuild that was killed goes on where it was."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["status", "rebuild"])
        parser.add_argument("--environment", help="slug of the only environment to rebuild")
        parser.add_argument("--anew", action="store_true", help="throw away what an earlier rebuild had built")
        parser.add_argument("--json", action="store_true", help="print the status as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "status":
            status = search_status()
            self.stdout.write(
                json.dumps(asdict(status), default=str) if options["json"] else "\n".join(lines_of(status))
            )
            return
        if settings.SEARCH_BACKEND != "elasticsearch":
            raise CommandError("ELASTICSEARCH_URL is not set: PostgreSQL searches, and there is nothing to build")
        chosen = Environment.objects.all()
        if options["environment"]:
            chosen = chosen.filter(slug=options["environment"])
            if not chosen:
                raise CommandError(f"there is no environment {options['environment']}")
        attach()
        for environment in chosen:
            self._rebuild(environment, anew=options["anew"])

    def _rebuild(self, environment: Environment, *, anew: bool) -> None:
        generation = begin_generation(environment, anew=anew)
        said = 0.0

        def tell(now: SearchGeneration) -> None:
            nonlocal said
            if now.filled or time.monotonic() - said > SAID_EVERY_S:
                said = time.monotonic()
                self.stdout.write(f"{environment.slug}: {progress_of(now)}")

        try:
            self._fill(Filling(generation, tell))
            go_live(generation)
        except RebuildElsewhere as error:
            raise CommandError(str(error)) from error
        except Away as away:
            raise CommandError(f"Elasticsearch: {away}; run this again and it goes on where it was") from away
        except FAULTS as fault:
            raise CommandError(
                f"Elasticsearch: {words_of(fault)}; run this again and it goes on where it was"
            ) from fault
        self.stdout.write(f"{environment.slug}: live")

    def _fill(self, filling: Filling) -> None:
        """Fill; one that died holds its lease until it ends, so that this waits for it and says so. Raises RebuildElsewhere when it is alive."""
        until, said = time.monotonic() + WAITED.total_seconds(), False
        while True:
            try:
                filling.fill()
                return
            except RebuildElsewhere:
                waiting = SearchGeneration.objects.filter(
                    pk=filling.generation.pk, state=SearchGeneration.State.BUILDING
                )
                if time.monotonic() > until or not waiting.exists():
                    raise
            if not said:
                slug, seconds = filling.environment.slug, LEASE.total_seconds()
                self.stdout.write(
                    f"{slug}: another process fills its index, or died less than {seconds:.0f} s ago: waiting for it"
                )
                said = True
            time.sleep(1)


def progress_of(generation: SearchGeneration) -> str:
    left = "dead letters" if generation.messages_filled else f"{generation.days_left or 0} days of messages left"
    return f"{generation.documents:,} documents, {'all there' if generation.filled else left}"


def lines_of(status: Status) -> list[str]:
    """Return the status in lines for a terminal."""
    if not status.configured:
        return ["ELASTICSEARCH_URL is not set: PostgreSQL searches."]
    more = "+" if status.waiting >= COUNTED_TO else ""
    lines = [f"outbox: {status.waiting:,}{more} rows wait, the oldest for {status.behind_s:.0f} s"]
    for one in status.environments:
        left = f", {one.days_left} days of messages left" if one.days_left is not None else ""
        lines.append(
            f"{one.environment}: {one.state}, {one.documents:,} documents when built{left}, {one.refused} refused"
        )
        lines += [f"  refused last: {one.latest_refused}, {one.latest_refusal}"] if one.latest_refusal else []
    return lines
