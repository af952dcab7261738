"""The edits of a plan as they lie in its row: values in them may be personal data, so they are sealed as payloads are.

Plan.edits = id of the data key (8 bytes) ‖ nonce ‖ ciphertext ‖ tag; the associated data names the environment and the plan, so that
the edits of one plan are refused in the row of another. Retention keeps the key until 30 days after the plan has ended.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from datetime import UTC, datetime

from messages.models import Plan
from messages.payloads.seal import Content, PayloadUnreadable, seal, unseal
from messages.payloads.services import data_key_for, open_data_key
from messages.plans.edits import BadEdits, Edits, canonical, parse_edits, sha256_of

KEY_BYTES = 8


def _row_id(plan_id: int) -> bytes:
    return b"planedit" + plan_id.to_bytes(8, "big")


def sealed_edits(plan: Plan, edits: Edits) -> bytes:
    """Return what is stored in Plan.edits; b"" for none."""
    if not edits:
        return b""
    key_id, key = data_key_for(plan.environment_id, datetime.now(UTC).date(), kept=True)
    content = Content(canonical(edits))
    return key_id.to_bytes(KEY_BYTES, "big") + seal(
        key, content, environment_id=plan.environment_id, row_id=_row_id(plan.pk)
    )


def opened_edits(plan: Plan) -> Edits:
    """Return the edits of a plan, () for none; raises PayloadUnreadable when they cannot be opened or are not what its checksum says."""
    stored = bytes(plan.edits)
    if not stored:
        if plan.edits_sha256:
            raise PayloadUnreadable("the edits of this plan are gone")
        return ()
    key = open_data_key(int.from_bytes(stored[:KEY_BYTES], "big"))
    content = unseal(key, stored[KEY_BYTES:], environment_id=plan.environment_id, row_id=_row_id(plan.pk))
    try:
        edits = parse_edits(content.body)
    except BadEdits as error:  # another version wrote them
        raise PayloadUnreadable(f"the edits of this plan cannot be used any more: {error}") from error
    if not hmac.compare_digest(sha256_of(edits), plan.edits_sha256):
        raise PayloadUnreadable("the edits of this plan are not what its checksum says")
    return edits


def edits_of_plans(plan_ids: Collection[int]) -> dict[int, Edits | PayloadUnreadable]:
    """Return the edits of those of these plans that have any, or why they cannot be opened: one read for all."""
    plans = Plan.objects.filter(pk__in=plan_ids).exclude(edits_sha256="") if plan_ids else []
    return {plan.pk: _opened(plan) for plan in plans}


def _opened(plan: Plan) -> Edits | PayloadUnreadable:
    try:
        return opened_edits(plan)
    except PayloadUnreadable as error:
        return error
