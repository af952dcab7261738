"""The checksum of a plan: what a second person approves and what execution runs."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from django.db import connection

from console.core.errors import Conflict
from console.core.ids import framed
from messages.models import Plan
from messages.plans.doing import COMPENSATE

IDS = """
SELECT encode(sha256(coalesce(string_agg(uuid_send(dead_letter_id) || uuid_send(replay_id), ''::bytea ORDER BY ordinal), ''::bytea)), 'hex')
FROM messaging_planitem WHERE plan_id = %s AND left_out IN ('', 'not_open')
"""


class PlanChanged(Conflict):
    """The rows of the plan are not what its checksum says: make a new plan."""

    code = "plan_changed"


def checksum_of(plan: Plan) -> str:
    """Return SHA-256, in hex, over the ids of what is sent in its order, and everything that changes what is sent where."""
    with connection.cursor() as cursor:
        cursor.execute(IDS, [plan.pk])
        ids = cursor.fetchone()[0]
    parts: tuple[Any, ...] = (
        plan.environment_id,
        ids,
        plan.edits_sha256,
        plan.destination,
        plan.connection_id or "",
        plan.expiry,
        plan.order_key,
    )
    if plan.does == COMPENSATE:
        parts += (plan.does, *(f"{flow} v{version}" for flow, version in sorted(plan.figures["books"].items())))
    return hashlib.sha256(framed("waybill plan 1", *parts)).hexdigest()


def check_checksum(plan: Plan) -> None:
    """Raise PlanChanged when the rows are not those that were previewed."""
    if not hmac.compare_digest(plan.checksum, checksum_of(plan)):
        raise PlanChanged(f"{plan.reference} is not what its checksum says: make a new plan")
