"""What the dry run names, table by table and environment by environment, is what went: of estates that nobody arranged."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from messages.dead_letters.services import discard_dead_letter
from messages.models import DeadLetter
from messages.retention import plan as plans
from messages.retention import run
from messages.retention.plan import EMPTY, plan_retention
from messages.retention.run import run_retention
from messages.retention.services import place_hold
from messages.retention.tables import TABLES
from tests.factories import ROOT, agent_key, environment, event, letter, push
from tests.retention.stored import EVENTS, in_days, store
from tests.retention.test_run import policy

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_dead_rows")]
ALSO = ("messaging_deadletter", "messaging_ingestreject")


def rows_of_all() -> Counter[tuple[str, str]]:
    """Return {(environment, table): rows} of everything that retention lets go."""
    counted: Counter[tuple[str, str]] = Counter()
    with connection.cursor() as cursor:
        for table in (*TABLES, *ALSO):
            cursor.execute(
                f"SELECT e.slug, count(*) FROM {table} t JOIN identity_environment e ON e.id = t.environment_id GROUP BY e.slug"
            )
            counted.update({(slug, table): rows for slug, rows in cursor.fetchall()})
    return counted


def make_an_estate(chance: random.Random) -> None:
    for slug in ("production", "staging"):
        policy(
            slug,
            payload_days=chance.choice([3, 20]),
            metadata_days=chance.choice([20, 60]),
            rollup_days=chance.choice([60, 200]),
        )
        for _ in range(chance.randint(3, 8)):
            ago = timedelta(days=chance.randint(0, 15), minutes=1)
            store(chance.choice(["orders", "invoices"]), slug, occurred_at=(datetime.now(UTC) - ago).isoformat())
        key = agent_key("h", slug)
        push("/ingest/v1/dead-letters", [letter(origin=chance.choice(["orders", "bills"])) for _ in range(3)], key=key)
        push(EVENTS, [event(operation="nonsense", destination="orders") for _ in range(2)], key=key)
        for one in DeadLetter.objects.filter(environment__slug=slug)[: chance.randint(0, 3)]:
            discard_dead_letter(one, by=ROOT, reason="done")
    if chance.random() < 0.7:
        held = DeadLetter.objects.earliest("id").flow if chance.random() < 0.5 else None
        place_hold(environment("staging") if held is None else held.environment, held, by=ROOT, reason="case 7")


@pytest.mark.parametrize("seed", range(4))
def test_what_the_dry_run_names_is_what_goes(seed: int, monkeypatch: pytest.MonkeyPatch):
    chance = random.Random(seed)
    few = chance.choice([0, 1000])
    monkeypatch.setattr(run, "FEW", few)
    monkeypatch.setattr(plans, "FEW", few)
    make_an_estate(chance)

    for days in sorted(chance.sample([4, 17, 21, 40, 70, 130, 230], 3)):
        before = rows_of_all()
        plan = plan_retention(now=in_days(days))
        assert rows_of_all() == before
        record = run_retention(now=in_days(days))
        went = before - rows_of_all()

        named: Counter[tuple[str, str]] = Counter()
        for line in plan.lines:
            if line.environment != EMPTY and line.rows:
                named[line.environment, line.table] += line.rows
        more = went - named
        # A letter goes with its payload, and is one row of the plan, where the day's other payloads stay.
        for slug, table in [*more]:
            if table == "messaging_payload":
                assert more.pop((slug, table)) <= went[slug, "messaging_deadletter"]
        assert (record.state, dict(named - went), dict(more)) == ("finished", {}, {}), (seed, days)
