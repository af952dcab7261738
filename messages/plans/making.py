"""Making a plan in the browser: what was shown, what was frozen, and how the two differ. services.py freezes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet

from console.core.errors import Invalid
from console.core.ids import uuid7_floor
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.models import DeadLetter, Plan, PlanItem
from messages.plans.freeze import MOST_ITEMS, sql_of
from messages.plans.selection import Selection, letters_of
from messages.plans.services import Options, create_plan

TOKEN = re.compile(r"[A-Za-z0-9_-]{8,40}", re.ASCII)
SAME_PRESS = timedelta(hours=1)  # a form that is sent again within this time is the same press


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The set that a form showed: how many, a fingerprint of their ids, and when. As text in the form: "181.-72.1764147600000"."""

    count: int
    fingerprint: int
    at: datetime

    def __str__(self) -> str:
        return f"{self.count}.{self.fingerprint}.{int(self.at.timestamp() * 1000)}"


def parse_shown(text: str) -> Shown | None:
    """Return what str() of it was; None for anything else: then nothing is said of a difference."""
    match = re.fullmatch(r"(\d{1,9})\.(-?\d{1,20})\.(\d{1,14})", text, re.ASCII)
    if match is None:
        return None
    at = datetime.fromtimestamp(int(match[3]) / 1000, UTC)
    return Shown(count=int(match[1]), fingerprint=int(match[2]), at=at)


def shown_of(selection: Selection, *, actor: Actor, environment: Environment) -> Shown:
    """Return the set as it is now. Raises BadQuery, Invalid; above a million, which no plan takes, Invalid in words."""
    found = _fingerprint(letters_of(selection, actor=actor, environment=environment))
    if found.count > MOST_ITEMS:
        raise Invalid(f"more than {MOST_ITEMS:,} match: narrow the search, by flow, time or error")
    return found


def _fingerprint(letters: QuerySet[DeadLetter]) -> Shown:
    sql, params = sql_of(letters.order_by().values("pk")[: MOST_ITEMS + 1])
    asked = f"SELECT count(*), coalesce(bit_xor(hashtextextended(one.id::text, 0)), 0) FROM ({sql}) one (id)"  # noqa: S608  our own SQL
    with connection.cursor() as cursor:
        cursor.execute(asked, params)
        count, fingerprint = cursor.fetchone()
    return Shown(count=count, fingerprint=fingerprint, at=datetime.now(UTC))


@transaction.atomic
def make_plan(
    selection: Selection,
    *,
    environment: Environment,
    by: Actor,
    reason: str,
    ticket: str = "",
    options: Options | None = None,
    shown: Shown | None = None,
    token: str = "",
) -> Plan:
    """Freeze a selection into a draft, once for a token however often the form is sent. Raises what create_plan raises.

    With `shown` the plan's figures gain "shown", "same", "came" and "gone": how many were shown before, whether they are the same, how
    many were added since and fit no more.
    """
    token = token if TOKEN.fullmatch(token) else ""
    if token and (made := _made_already(environment, by, token)):
        return made
    plan = create_plan(selection, environment=environment, by=by, reason=reason, ticket=ticket, options=options)
    plan.figures = plan.figures | {"token": token} | (_difference(plan, shown) if shown else {})
    plan.save(update_fields=["figures"])
    return plan


def _made_already(environment: Environment, by: Actor, token: str) -> Plan | None:
    """Return the plan that the first press made; a second that comes at the same time waits for the first."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 7))", [f"{by.name} {token}"])
    own = Plan.objects.filter(
        environment=environment, created_by=by.name, created_at__gt=datetime.now(UTC) - SAME_PRESS
    )
    return own.filter(figures__token=token).order_by("-pk").first()


def _difference(plan: Plan, shown: Shown) -> dict[str, Any]:
    """Return how the frozen set differs from what was shown; ids of letters tell when they came."""
    items = PlanItem.objects.filter(plan=plan)
    frozen = _fingerprint(DeadLetter.objects.filter(pk__in=items.values("dead_letter_id")))
    if (frozen.count, frozen.fingerprint) == (shown.count, shown.fingerprint):
        return {"shown": shown.count, "same": True, "came": 0, "gone": 0}
    came = items.filter(dead_letter_id__gte=uuid7_floor(shown.at)).count()
    gone = shown.count - (frozen.count - came)
    return {"shown": shown.count, "same": False, "came": came + max(0, -gone), "gone": max(0, gone)}


def difference_words(figures: Mapping[str, Any]) -> str:
    """Return how what is frozen differs from what was shown, as a sentence; "" when that is not known."""
    if "shown" not in figures:
        return ""
    shown, came, gone = figures["shown"], figures["came"], figures["gone"]
    if figures["same"]:
        return "The one that was shown." if shown == 1 else f"Exactly the {shown:,} that were shown."
    if not came and not gone:
        return f"As many as the {shown:,} that were shown, but not the same: some fitted no more, and others came in their place."
    changes = [f"{came:,} {'was' if came == 1 else 'were'} added"] if came else []
    changes += [f"{gone:,} fitted no more"] if gone else []
    return f"{shown:,} were shown; when it was frozen {figures['selected']:,} matched: {' and '.join(changes)}."
