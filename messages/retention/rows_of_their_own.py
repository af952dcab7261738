"""What does not go with its day: dead letters with replays and payloads, refused items, data keys. A few hundred rows a step."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.backends.utils import CursorWrapper

from messages.compensation.states import BEGUN
from messages.models import DataKey
from messages.plans.states import ENDED
from messages.retention.rules import GRACE, Going, Terms
from messages.retention.tables import TABLES, condition

CHUNK = 500
ENDED_PLAN = "p.state IN (" + ", ".join(f"'{state}'" for state in sorted(ENDED)) + ")"
IN_PLAN = f"""EXISTS (SELECT 1 FROM messaging_planitem i JOIN messaging_plan p ON p.id = i.plan_id
                  WHERE i.dead_letter_id = d.id AND NOT {ENDED_PLAN})"""  # noqa: S608  constants of ours

# A letter stays while a later death points to it, a worker has a replay of it in hand, or a plan that has not ended has it;
# restored meanwhile, it is open and stays.
LETTERS = """
SELECT {what} FROM messaging_deadletter d
WHERE d.environment_id = %s AND d.state = 'closed' AND d.closed_at < %s AND d.flow_id <> ALL(%s)
  AND NOT EXISTS (SELECT 1 FROM messaging_deadletter later WHERE later.previous_id = d.id)
  AND NOT EXISTS (SELECT 1 FROM messaging_replay r WHERE r.dead_letter_id = d.id AND r.state IN ('queued', 'sending'))
  AND NOT EXISTS (SELECT 1 FROM messaging_compensation c WHERE c.dead_letter_id = d.id)
  AND NOT {in_plan}
""".replace("{in_plan}", IN_PLAN)
# A compensation that has ended, or was never begun, is kept as long as a closed letter, and as long as its own; with it goes what it sent.
NOT_AT_WORK = "c.state NOT IN (" + ", ".join(f"'{state}'" for state in sorted(BEGUN)) + ")"
COMPENSATIONS = f"""
SELECT {{what}} FROM messaging_compensation c
WHERE c.environment_id = %s AND {NOT_AT_WORK} AND c.state_at < %s AND c.flow_id <> ALL(%s)
  AND NOT EXISTS (SELECT 1 FROM messaging_deadletter d WHERE d.id = c.dead_letter_id AND (d.state <> 'closed' OR d.closed_at >= %s))
"""  # noqa: S608  constants of ours
# A plan goes after its last letter: its page would show nothing.
PLANS = f"""
DELETE FROM messaging_plan WHERE id IN (
    SELECT p.id FROM messaging_plan p WHERE p.environment_id = %s AND {ENDED_PLAN} AND p.state_at < %s AND NOT p.flow_ids && %s::int8[]
    AND NOT EXISTS (SELECT 1 FROM messaging_planitem i WHERE i.plan_id = p.id)
    AND NOT EXISTS (SELECT 1 FROM messaging_replay r WHERE r.plan_id = p.id)
    AND NOT EXISTS (SELECT 1 FROM messaging_compensation c WHERE c.plan_id = p.id)
    ORDER BY p.id LIMIT {CHUNK} FOR UPDATE OF p SKIP LOCKED)
"""  # noqa: S608  constants of ours
REJECTS = """
SELECT {what} FROM messaging_ingestreject i
WHERE i.environment_id = %s AND (i.settled_at < %s OR (i.settled_at IS NULL AND i.received_at < %s))
  AND (i.flow_id <> ALL(%s)) IS NOT FALSE
"""


# A list of keys is the customer's business data: it goes with what became of its keys, the newest of its days being that of the list.
RECONCILIATIONS = """
SELECT {what} FROM messaging_reconciliation c
WHERE c.environment_id = %s AND coalesce(c.received_at, c.created_at) < %s AND c.removed_at IS NULL AND c.flow_id <> ALL(%s)
"""


def _before(now: datetime, days: int) -> datetime:
    return now - GRACE - timedelta(days=days)


def _letters(terms: Terms, now: datetime) -> list[Any]:
    return [terms.environment_id, _before(now, terms.policy.letter_days), sorted(terms.held_flows)]


def _compensations(terms: Terms, now: datetime) -> list[Any]:
    return [*_letters(terms, now), _before(now, terms.policy.letter_days)]


def _rejects(terms: Terms, now: datetime) -> list[Any]:
    settled, waiting = terms.policy.settled_reject_days, terms.policy.waiting_reject_days
    return [terms.environment_id, _before(now, settled), _before(now, waiting), sorted(terms.held_flows)]


def _reconciliations(terms: Terms, now: datetime) -> list[Any]:
    return [terms.environment_id, _before(now, terms.policy.reconciliation_days), sorted(terms.held_flows)]


def is_open(terms: Terms) -> bool:
    """Whether anything of this environment may go at all now."""
    return terms.settled and not terms.held


def count_letters(cursor: CursorWrapper, terms: Terms, now: datetime) -> tuple[int, int]:
    """Return (rows, bytes) of the dead letters that a run would begin with; those that a later one points to come after it."""
    if not is_open(terms):
        return 0, 0
    size = "coalesce(sum(pg_column_size(d.*) + coalesce(d.size_bytes, 0)), 0)"
    cursor.execute(LETTERS.format(what=f"count(*), {size}"), _letters(terms, now))
    rows, size_bytes = cursor.fetchone()
    return int(rows), int(size_bytes)


def count_letters_on(cursor: CursorWrapper, terms: Terms, day: date, now: datetime) -> int:
    """Return how many letters whose payload lies in this day stay after a run."""
    due = "d.state = 'closed' AND d.closed_at < %s AND d.flow_id <> ALL(%s)" if is_open(terms) else "false"
    parameters = _letters(terms, now)[1:] if is_open(terms) else []
    cursor.execute(
        "SELECT count(*) FROM messaging_deadletter d WHERE d.payload_on = %s AND d.environment_id = %s "  # noqa: S608  constants
        f"AND (({due}) IS NOT TRUE OR {IN_PLAN} OR EXISTS (SELECT 1 FROM messaging_deadletter later WHERE later.previous_id = d.id))",
        [day, terms.environment_id, *parameters],
    )
    return int(cursor.fetchone()[0])


def count_rejects(cursor: CursorWrapper, terms: Terms, now: datetime) -> tuple[int, int]:
    if not is_open(terms):
        return 0, 0
    cursor.execute(
        REJECTS.format(what="count(*), coalesce(sum(pg_column_size(i.*) + octet_length(i.raw)), 0)"),
        _rejects(terms, now),
    )
    rows, size_bytes = cursor.fetchone()
    return int(rows), int(size_bytes)


def count_reconciliations(cursor: CursorWrapper, terms: Terms, now: datetime) -> tuple[int, int]:
    if not is_open(terms):
        return 0, 0
    cursor.execute(
        RECONCILIATIONS.format(what="count(*), coalesce(sum(100 * (c.lines + c.listed + c.unlisted)), 0)"),
        _reconciliations(terms, now),
    )
    rows, size_bytes = cursor.fetchone()
    return int(rows), int(size_bytes)


def delete_reconciliations(cursor: CursorWrapper, terms: Terms, now: datetime) -> tuple[str, int, int]:
    """Remove up to 500 reconciliations that are due: gone for everybody; the worker deletes their rows within minutes."""
    if not is_open(terms):
        return "messaging_reconciliation", 0, 0
    what = "c.id, 100 * (c.lines + c.listed + c.unlisted)"
    cursor.execute(
        RECONCILIATIONS.format(what=what) + f"LIMIT {CHUNK} FOR UPDATE OF c SKIP LOCKED", _reconciliations(terms, now)
    )
    found = cursor.fetchall()
    cursor.execute(
        "UPDATE messaging_reconciliation SET removed_at = %s, lease_until = %s, attempt = attempt + 1 WHERE id = ANY(%s)",
        [now, now, [pk for pk, _ in found]],
    )
    return "messaging_reconciliation", len(found), sum(size for _, size in found)


def count_compensations(cursor: CursorWrapper, terms: Terms, now: datetime) -> tuple[int, int]:
    if not is_open(terms):
        return 0, 0
    steps = "(SELECT coalesce(sum(pg_column_size(s.*)), 0) FROM messaging_compensationstep s WHERE s.compensation_id = c.id)"
    what = f"count(*), coalesce(sum(pg_column_size(c.*) + {steps}), 0)"
    cursor.execute(COMPENSATIONS.format(what=what), _compensations(terms, now))
    rows, size_bytes = cursor.fetchone()
    return int(rows), int(size_bytes)


def delete_compensations(cursor: CursorWrapper, terms: Terms, now: datetime) -> tuple[str, int, int]:
    """Delete up to 500 compensations that ended, and their steps: before their letters, which wait for them."""
    if not is_open(terms):
        return "messaging_compensation", 0, 0
    asked = COMPENSATIONS.format(what="c.id, pg_column_size(c.*)") + f"LIMIT {CHUNK} FOR UPDATE OF c SKIP LOCKED"
    cursor.execute(asked, _compensations(terms, now))
    found = cursor.fetchall()
    ids = [pk for pk, _ in found]
    cursor.execute(
        "DELETE FROM messaging_compensationstep WHERE compensation_id = ANY(%s) RETURNING pg_column_size(action) + pg_column_size(answer)",
        [ids],
    )
    size_bytes = sum(size for (size,) in cursor.fetchall())
    cursor.execute("DELETE FROM messaging_compensation WHERE id = ANY(%s)", [ids])
    return "messaging_compensation", len(ids), size_bytes + sum(size for _, size in found)


def delete_letters(cursor: CursorWrapper, terms: Terms, now: datetime) -> tuple[str, int, int]:
    """Delete up to 500 closed letters that are due, their replays and their payloads; return (table, rows, bytes)."""
    if not is_open(terms):
        return "messaging_deadletter", 0, 0
    what = "d.id, d.payload_on, pg_column_size(d.*) + coalesce(d.size_bytes, 0)"
    cursor.execute(LETTERS.format(what=what) + f"LIMIT {CHUNK} FOR UPDATE OF d SKIP LOCKED", _letters(terms, now))
    found: list[tuple[UUID, date | None, int]] = cursor.fetchall()
    if not found:
        return "messaging_deadletter", 0, 0
    for day in {day for _, day, _ in found if day is not None}:
        on_day = [pk for pk, its, _ in found if its == day]
        cursor.execute("DELETE FROM messaging_payload WHERE stored_on = %s AND id = ANY(%s)", [day, on_day])
    ids = [pk for pk, _, _ in found]
    cursor.execute("DELETE FROM messaging_replay WHERE dead_letter_id = ANY(%s)", [ids])
    cursor.execute("DELETE FROM messaging_planitem WHERE dead_letter_id = ANY(%s)", [ids])
    cursor.execute("DELETE FROM messaging_deadletter WHERE id = ANY(%s)", [ids])
    return "messaging_deadletter", len(ids), sum(size for _, _, size in found)


def delete_plans(cursor: CursorWrapper, terms: Terms, now: datetime) -> tuple[str, int, int]:
    """Delete up to 500 plans that ended before letters closed then would go, and of which no item is left."""
    if not is_open(terms):
        return "messaging_plan", 0, 0
    cursor.execute(PLANS, _letters(terms, now))
    return "messaging_plan", cursor.rowcount, 0


def delete_rejects(cursor: CursorWrapper, terms: Terms, now: datetime) -> tuple[str, int, int]:
    """Delete up to 500 refused items that are due; return (table, rows, bytes). One that somebody mends right now waits."""
    if not is_open(terms):
        return "messaging_ingestreject", 0, 0
    what = "i.id, pg_column_size(i.*) + octet_length(i.raw)"
    cursor.execute(REJECTS.format(what=what) + f"LIMIT {CHUNK} FOR UPDATE OF i SKIP LOCKED", _rejects(terms, now))
    found = cursor.fetchall()
    cursor.execute("DELETE FROM messaging_ingestreject WHERE id = ANY(%s)", [[pk for pk, _ in found]])
    return "messaging_ingestreject", len(found), sum(size for _, size in found)


def keys_of(environment_id: int) -> list[tuple[int, date]]:
    return list(DataKey.objects.filter(environment_id=environment_id).order_by("day").values_list("pk", "day"))


# Nothing that stays was sealed under the key: neither a refused item, nor what a compensation sends, nor the edits of a plan (30 days longer
# than the plan: plans/sealed.py), nor a payload for which {words} does not hold.
FREE_KEY = """
FROM messaging_datakey k WHERE k.id = %s
AND NOT EXISTS (SELECT 1 FROM messaging_ingestreject i WHERE i.data_key_id = k.id)
AND NOT EXISTS (SELECT 1 FROM messaging_compensationstep s WHERE substring(s.action, 1, 8) = int8send(k.id))
AND NOT EXISTS (SELECT 1 FROM messaging_plan p WHERE p.environment_id = k.environment_id AND substring(p.edits FROM 1 FOR 8) = int8send(k.id)
                AND (p.state <> ALL('{{finished,stopped,cancelled,expired}}') OR p.state_at > now() - interval '30 days'))
AND NOT EXISTS (SELECT 1 FROM messaging_payload r WHERE r.stored_on = %s AND r.data_key_id = k.id AND ({words}) IS NOT TRUE)
"""


def destroy_key(cursor: CursorWrapper, pk: int, day: date, goings: Sequence[Going]) -> bool:
    """Destroy a data key when nothing that stays was sealed under it: what it sealed can never be read again."""
    words, parameters = condition(TABLES["messaging_payload"], day, goings)
    cursor.execute("DELETE " + FREE_KEY.format(words=words), [pk, day, *parameters])
    return bool(cursor.rowcount)


def can_destroy_key(cursor: CursorWrapper, pk: int, day: date, goings: Sequence[Going]) -> bool:
    words, parameters = condition(TABLES["messaging_payload"], day, goings)
    cursor.execute("SELECT 1 " + FREE_KEY.format(words=words), [pk, day, *parameters])
    return cursor.fetchone() is not None
