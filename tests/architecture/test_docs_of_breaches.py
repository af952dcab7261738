"""docs/breaches.md says the states, times and watchers that the code has."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

from alerts.breaches import rules, watching
from alerts.breaches.access import OBJECTIVE
from alerts.breaches.policies import NewPolicy
from alerts.breaches.queries import SOURCES
from alerts.breaches.states import TRANSITIONS, diagram

PAGE = (Path(__file__).resolve().parents[2] / "docs/breaches.md").read_text()
MINUTE = timedelta(minutes=1)


def test_the_state_diagram_of_breaches_is_drawn_from_the_transitions_and_each_is_explained():
    assert diagram() in PAGE
    explained = set(re.findall(r"^- \*\*(\w+)\*\*", PAGE, re.M))
    assert explained == {one for ways in TRANSITIONS.values() for one in ways}


def test_times_on_the_page_are_those_of_the_code():
    assert f"well for **{rules.HOLD_DOWN // MINUTE} minutes**" in PAGE
    assert f"within **{rules.FLAP_WINDOW // MINUTE} minutes**" in PAGE
    assert f"looked at** for\n{rules.WATCHED // MINUTE} minutes" in PAGE
    assert f"not for {watching.SILENT_AFTER // MINUTE} minutes" in PAGE
    said = NewPolicy()
    numbers = re.findall(r"^\| .* \| (\d+) \|$", PAGE, re.M)
    assert numbers == [str(said.wait_s), str(said.repeat_minutes), str(said.quiet_minutes)]


def test_every_watcher_is_on_the_page():
    table = PAGE.split("| Source | A breach while | Severity |")[1].split("\n\n")[0]

    assert re.findall(r"^\| `(\w+)` \|", table, re.M) == list(watching.WATCHERS)


def test_a_breach_is_looked_for_and_silenced_by_the_sources_that_there_are_and_no_other():
    assert set(SOURCES) == {OBJECTIVE, *watching.WATCHERS}
