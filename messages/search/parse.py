"""A text → its query, or a refusal in words whose suggestion is one that is taken: what is suggested is asked of the fields themselves."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from console.identity.actor import SYSTEM
from messages.changes.asking import condition_of
from messages.search.conditions import Scope
from messages.search.elsewhere import for_postgresql
from messages.search.fields import TARGETS, fields_of
from messages.search.postgres import DEAD_LETTERS, EVENTS, MESSAGES, to_q
from messages.search.query import BadQuery, Query
from messages.search.reading import MOST_SLIPS, read_query

RUN = re.compile(r'[^\s()"]*')
JOINED = re.compile(r"[;,&|]+(?=(\w+):)")  # status:failed;flow:orders
ASKED = {target.name: target for target in (MESSAGES, EVENTS, DEAD_LETTERS)}
NAMES = {name for target in TARGETS for name in fields_of(target)}


def parse_query(text: str, target: str = "") -> Query:
    """Return the query of a text, of everything for an empty one; raises BadQuery with the column and what to write instead.

    target  of which rows it is asked: what is suggested may be asked of them. Empty: of one kind or another.
    """
    try:
        return read_query(text)
    except BadQuery as error:
        error.suggestion = _taken(error, text, target)
        raise


def _taken(error: BadQuery, text: str, target: str) -> str:
    """Return the first suggestion that is taken, or one that follows from it; "" when none of the few that are looked at is."""
    waiting = _suggestions(error, text)
    for _ in range(MOST_SLIPS):
        if not waiting:
            break
        one, *waiting = waiting
        try:
            _check(read_query(one), target)
        except BadQuery as again:
            waiting = [*_suggestions(again, one), *waiting]
        else:
            return one
    return ""


def _suggestions(error: BadQuery, text: str) -> list[str]:
    found = [error.suggestion] if error.suggestion else []
    column = error.column or 0
    for run in RUN.finditer(text):
        if run.start() < column <= run.end():
            parted = JOINED.sub(
                lambda one: one[0] if one[1].lower() not in NAMES else " OR " if "|" in one[0] else " ", run[0]
            )
            if parted != run[0]:
                found.insert(0, f"{text[: run.start()]}{parted}{text[run.end() :]}")
    return found


def _check(query: Query, target: str) -> None:
    """Raise BadQuery for what the fields do not take. Of no environment: names are looked for nowhere, and no database is asked."""
    refusal: BadQuery | None = None
    for name in [target] if target else TARGETS:
        try:
            _ask(query, name)
        except BadQuery as error:
            refusal = refusal or error
        else:
            return
    if refusal is not None:
        raise refusal


def _ask(query: Query, target: str) -> None:
    if target == "changes":
        condition_of(query, is_hidden=lambda name: False)
        return
    now = datetime.now(UTC)
    scope = Scope(actor=SYSTEM, environments=[], now=now, since=now, by_days=False)
    to_q(for_postgresql(query, ASKED[target]), ASKED[target], scope)
