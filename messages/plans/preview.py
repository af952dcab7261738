"""What a plan's edits make of its messages: before and after, side by side, over a sample chosen for variety; checked by the flow's schemas.

It is a sample: what is not in it may fail when its turn comes, and is refused then in words.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db import connection

from console.identity.actor import Actor
from messages.compare.canonical import canonical
from messages.compare.changes import Change, changes_between_trees
from messages.compare.lines import Work, common_lines
from messages.compare.rows import Rows, rows_of
from messages.masking.trees import Unreadable, read_json
from messages.models import DeadLetter, Plan, PlanItem
from messages.payloads.queries import StoredPayload, read_payload, stored_contents
from messages.payloads.readable import Readable, readable
from messages.payloads.seal import Content, PayloadUnreadable
from messages.plans.access import check_can_read_plan_payloads
from messages.plans.applying import EditFailed, apply_edits
from messages.plans.edits import Edits
from messages.programs.runner import Runner
from messages.schemas.checking import check_body
from messages.schemas.queries import schemas_for_checking

SAMPLE = 20
LOOKED_AT = 60  # items from which the sample is chosen
MOST_WALKED = 50_000
WITHIN_S = 10.0  # a hostile program takes two seconds for each message
STEPS = 1_000_000  # of comparing one body: a third of a second

# One of each kind before a second of any. Of a plan of many items every so manieth is looked at.
CANDIDATES = """
WITH walked AS MATERIALIZED (
    SELECT i.dead_letter_id, i.ordinal, d.payload_on, d.flow_id, d.origin, d.queue, d.content_type, d.error_root_type,
           width_bucket(ln(greatest(d.size_bytes, 1)), 0, 18, 9) AS size
    FROM messaging_planitem i JOIN messaging_deadletter d ON d.id = i.dead_letter_id
    WHERE i.plan_id = %(plan)s AND i.ordinal <= %(items)s AND i.left_out IN ('', 'not_open') AND (i.ordinal - 1) %% %(every)s = 0
)
SELECT dead_letter_id, payload_on, flow_id, origin, content_type, error_root_type, size FROM (
    SELECT walked.*, row_number() OVER (PARTITION BY flow_id, origin, content_type, error_root_type, size ORDER BY ordinal) AS nth FROM walked
) one ORDER BY nth, ordinal LIMIT %(most)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Previewed:
    """One message of the sample.

    tried     False: what came before it took too long.
    missing   why it cannot be shown at all, "" when it can.     failed   why the edits do not fit it.   hidden: why its diff is not shown.
    rows      line by line, before and after.  headers  name by name.  same: nothing changes.
    checked   names of the schemas that it was checked by.  wrong_before, wrong_after: what they find.
    """

    item: PlanItem
    letter: DeadLetter
    tried: bool = True
    missing: str = ""
    failed: str = ""
    hidden: str = ""
    rows: Rows | None = None
    headers: Sequence[Change] = ()
    same: bool = False
    checked: Sequence[str] = ()
    wrong_before: Sequence[str] = ()
    wrong_after: Sequence[str] = ()


def preview_edits(plan: Plan, edits: Edits, *, by: Actor) -> list[Previewed]:
    """Return what these edits make of a sample of the plan's messages. Raises Forbidden. Each body counts as read, and is audited."""
    check_can_read_plan_payloads(by, plan)
    schemas = schemas_for_checking(plan.environment_id)
    until, found = time.monotonic() + WITHIN_S, []
    with Runner(checks=True) as runner:
        for item in sample_of(plan):
            if time.monotonic() < until:
                found.append(_previewed(plan, item, edits, schemas, runner, by))
            else:
                found.append(Previewed(item=item, letter=item.dead_letter, tried=False))
    return found


def sample_of(plan: Plan, most: int = SAMPLE) -> list[PlanItem]:
    """Return up to 20 items with their letters, in order: of as many flows, destinations, types, sizes, errors and shapes as there are."""
    every = max(1, -(-plan.items_count // MOST_WALKED))
    asked = {"plan": plan.pk, "items": plan.items_count, "every": every, "most": LOOKED_AT}
    with connection.cursor() as cursor:
        cursor.execute(CANDIDATES, asked)
        rows: list[Any] = cursor.fetchall()
    places = {pk: day for pk, day, *_ in rows if day is not None}
    contents = stored_contents(plan.environment_id, places) if len(rows) > most else {}
    features = [(pk, {*enumerate(kind), ("shape", _shape(contents.get(pk)))}) for pk, _, *kind in rows]
    items = plan.items.filter(dead_letter_id__in=_varied(features, most))
    return list(items.select_related("dead_letter__flow__team", "dead_letter__environment").order_by("ordinal"))


def _varied(features: Sequence[tuple[Any, set[Any]]], most: int) -> list[Any]:
    """Return the ids of a few that have the most features between them: each next one is that with the most which none has yet."""
    left, seen, chosen = list(features), set[Any](), list[Any]()
    while left and len(chosen) < most:
        best = max(left, key=lambda one: len(one[1] - seen))  # the first of equals
        left.remove(best)
        chosen.append(best[0])
        seen |= best[1]
    return chosen


def _shape(content: Content | PayloadUnreadable | None) -> tuple[str, ...]:
    """Return the names of a JSON body's members with their types: what tells one version of a message from another."""
    if not isinstance(content, Content) or len(content.body) > 64 * 1024:
        return ()
    try:
        tree = read_json(content.body)
    except Unreadable:
        return (content.body[:1].decode("latin-1"),)
    if not isinstance(tree, dict):
        return (type(tree).__name__,)
    return tuple(sorted(f"{name}:{type(one).__name__}" for name, one in tree.items()))


def _previewed(plan: Plan, item: PlanItem, edits: Edits, schemas: Any, runner: Runner, by: Actor) -> Previewed:
    letter = item.dead_letter
    try:
        stored = read_payload(by, letter.flow, letter, letter.pk, letter.payload_on)
    except PayloadUnreadable as error:
        return Previewed(item=item, letter=letter, missing=str(error))
    if stored is None:
        return Previewed(item=item, letter=letter, missing="its body is not stored any more")
    return _shown(plan, item, stored, edits, schemas, runner)


def _shown(plan: Plan, item: PlanItem, stored: StoredPayload, edits: Edits, schemas: Any, runner: Runner) -> Previewed:
    letter = item.dead_letter
    before = Content(stored.body, stored.headers, stored.properties)
    places = [one for one in (plan.destination, letter.origin, letter.queue) if one]
    seen = _readable(letter, before, stored.content_type, places)
    hides = seen.hides_stored
    made = Previewed(item=item, letter=letter)
    try:
        after = apply_edits(edits, before, stored.content_type, runner)
    except EditFailed as failure:
        return replace(made, failed=failure.words if hides else failure.detail)
    shown = _readable(letter, after, stored.content_type, places)
    checked, wrong_after = check_body(after.body, after.headers, after.properties, places, schemas, runner)
    _, wrong_before = check_body(before.body, before.headers, before.properties, places, schemas, runner)
    made = replace(made, checked=checked, same=after is before)
    if hides or shown.hides_stored:
        count = [
            f"{len(wrong)} finding{'' if len(wrong) == 1 else 's'}" for wrong in (wrong_before, wrong_after) if wrong
        ]
        return replace(
            made,
            hidden="values in it are masked when it is read: what the edits make of it is not shown",
            wrong_before=count[:1] if wrong_before else (),
            wrong_after=count[-1:] if wrong_after else (),
        )
    headers, _ = changes_between_trees(_by_name(before), _by_name(after))
    rows = _rows(seen, shown)
    return replace(made, rows=rows, headers=headers, wrong_before=wrong_before, wrong_after=wrong_after)


def _readable(letter: DeadLetter, content: Content, content_type: str, places: Sequence[str]) -> Readable:
    return readable(letter.flow, content.body, content_type, content.headers, content.properties, places)


def _by_name(content: Content) -> dict[str, str]:
    return {str(one.get("name", ""))[:200]: str(one.get("value", ""))[:600] for one in content.headers[:200]}


def _rows(before: Readable, after: Readable) -> Rows:
    left = canonical(before.body, before.content_type, cut=before.cut).lines
    right = canonical(after.body, after.content_type, cut=after.cut).lines
    return rows_of(left, right, common_lines(left, right, Work(left=STEPS)))
