"""In which days a message's error may have these words, by what is kept of all error texts: the other days need not be looked through."""

from __future__ import annotations

from datetime import date, timedelta

from django.db import connection
from django.db.models import Q

from messages.ingest.error_texts import core_of
from messages.search.conditions import ALL, Scope

SHORT = timedelta(days=2)  # in which failures are looked through as soon as the days are
A_DAY_OFF = timedelta(days=4)  # a message's events may have come before the one that made its row
DAYS = """
SELECT (SELECT max(since) FROM messaging_errortextssince), ARRAY(
    SELECT DISTINCT day FROM messaging_message_text
    WHERE environment_id = ANY(%s) AND day >= %s AND (text IS NULL OR text LIKE '%%' || lower(%s) || '%%'))
"""


def days_saying(words: str, scope: Scope) -> Q:
    """Return the condition, over messages, of the days in which an error may hold these words; everything when nothing is known.

    Every message whose error holds them meets it, so it changes no answer. One statement, over one small row per distinct error of a day.
    """
    core = core_of(words) if scope.by_days and scope.now - scope.since > SHORT else ""
    if not core:
        return ALL
    oldest = scope.since.date() - A_DAY_OFF
    with connection.cursor() as cursor:
        cursor.execute(DAYS, [[one.pk for one in scope.environments], oldest, connection.ops.prep_for_like_query(core)])
        since, days = cursor.fetchone()
    return ALL if since is None else _days(max(since, oldest), days, scope.now.date())


def _days(known_since: date, saying: list[date], today: date) -> Q:
    days = sorted(day for day in saying if day >= known_since)
    if len(days) >= (today - known_since).days + 1:
        return ALL  # in every day: another condition would only make the planner expect fewer rows
    return Q(first_seen_on__lt=known_since) | Q(first_seen_on__in=days)
