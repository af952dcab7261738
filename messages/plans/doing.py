"""What a plan does to its letters: send them again, or compensate what had happened. One engine: only the rows behind its items differ."""

from __future__ import annotations

from console.core.errors import Invalid

REPLAY, COMPENSATE = "replay", "compensate"
DOES = {REPLAY: "sends them again", COMPENSATE: "undoes what had happened"}
# A compensation's state as the outcome of the plan's item that it is; its row as that of a replay, so that every statement reads either.
COMPENSATIONS = """(
    SELECT c.uid AS id, c.plan_id, c.dead_letter_id, c.destination, 1 AS attempt, c.created_at, c.started_at AS sent_at,
           NULL::timestamptz AS confirmed_at, c.finished_at, NULL::uuid AS proof_event_id, NULL::timestamptz AS proof_event_at,
           '' AS proof_tie, c.why AS detail, c.trace_id, 'C-' || c.id AS reference, CASE c.state
               WHEN 'compensated' THEN 'processed' WHEN 'partially_compensated' THEN 'refused' WHEN 'stuck' THEN 'failed_again'
               WHEN 'stopped' THEN 'withdrawn' ELSE 'sending' END AS state
    FROM messaging_compensation c)"""
ROWS = {REPLAY: "messaging_replay", COMPENSATE: COMPENSATIONS}
WORDS = {
    "processed": "undone",
    "sending": "being undone",
    "failed_again": "stuck",
    "refused": "undone in part",
    "withdrawn": "stopped before it was undone",
    "waiting": "not begun",
    "left_out": "left out when their turn came",
}

# What the page filters its items by, in its own words.
FILTERS = {
    "": "every item",
    "processed": "undone",
    "sent": "being undone",
    "failed": "stuck, or undone in part",
    "waiting": "not begun",
    "withdrawn": "stopped",
    "left_out": "left out",
}


def word_of(does: str, outcome: str) -> str:
    """Return what an outcome is called where the usual word is of a replay; "" for the usual one."""
    return WORDS.get(outcome, "") if does == COMPENSATE else ""


def rows_of(does: str, sql: str) -> str:
    """Return the statement with what stands behind the items of a plan that does this in place of {rows}."""
    return sql.replace("{rows}", ROWS[does])


def check_does(does: str, *, destination: str, expiry: str, order_key: str | None) -> None:
    """Raise Invalid, in words, for what a plan cannot do, or what means nothing to it."""
    if does not in DOES:
        raise Invalid("a plan does one of replay and compensate")
    if does == COMPENSATE and (destination or expiry or order_key):
        raise Invalid("a plan that compensates has no destination, expiry and order key: its compensation books say")
