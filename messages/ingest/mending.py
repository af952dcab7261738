"""What a person does with a refused item: read it, mend it and send it again, or dismiss it. Each is audited."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from google.protobuf.message import DecodeError

from console.audit.services import record_audit
from console.core.errors import Conflict, Invalid
from console.identity.actor import Actor
from messages.access import check_can_operate_rejects
from messages.ingest import cloudevents, intake
from messages.ingest.http import Body
from messages.ingest.model import MAPPED
from messages.ingest.otlp_text import KINDS, as_json
from messages.models import IngestReject
from messages.payloads.seal import unseal
from messages.payloads.services import open_data_key


class NotMended(Invalid):
    """The mended item was refused again; nothing was stored and the item still waits."""

    code = "not_mended"


class AlreadySettled(Conflict):
    """Somebody sent this item again or dismissed it."""

    code = "reject_settled"


def text_of(reject: IngestReject) -> str:
    """Return the item as text that can be read and mended; spans and log records as OTLP's JSON. Raises PayloadUnreadable."""
    key = open_data_key(reject.data_key_id)
    raw = unseal(key, bytes(reject.raw), environment_id=reject.environment_id, row_id=reject.pk.bytes).body
    if (kind := KINDS.get(reject.endpoint)) is not None:
        try:
            return as_json(raw, kind)
        except DecodeError:
            pass
    return raw.decode("utf-8", "replace")


def read_refused(reject: IngestReject, *, by: Actor) -> str:
    """Return the item's text for a person who may operate it; the read is audited."""
    check_can_operate_rejects(by, reject)
    _audit(by, "reject.read", reject)
    return text_of(reject)


@transaction.atomic
def resubmit(reject: IngestReject, text: str, *, by: Actor) -> dict[str, Any]:
    """Take a mended item as if its agent had sent it now; return the answer. Raises NotMended, AlreadySettled, Forbidden."""
    check_can_operate_rejects(by, reject)
    claimed = IngestReject.objects.select_for_update().filter(pk=reject.pk, settled_at=None).first()
    if claimed is None:
        raise AlreadySettled("this item was sent again or dismissed by somebody")
    if claimed.masked:
        raise NotMended("its values were masked before it was stored, so only its sender can send it again")
    data = text.encode("utf-8", "replace")
    is_mapped = reject.endpoint.startswith(MAPPED)
    if not reject.whole and not is_mapped and reject.endpoint not in {*KINDS, "cloudevents"}:
        data = b"[" + data + b"]"
    media_type = "application/json"
    if reject.endpoint == "cloudevents":
        media_type = cloudevents.BATCHED if data.lstrip()[:1] == b"[" else cloudevents.STRUCTURED
    digest = hashlib.sha256(data).digest()
    body = Body(data=data, media_type=media_type, wire_bytes=0, sha256=digest, batch_id=f"mended:{reject.pk}")
    if not intake.is_endpoint(reject.endpoint):
        raise NotMended("its record named no endpoint that there is; dismiss it and send it again with a good header")
    decoded = intake.decode(reject.endpoint, reject.agent, body, alone=not reject.whole)
    if decoded.items > 1 and not reject.whole and not is_mapped:  # a mapping makes several of one, and looks itself
        raise NotMended(f"it has become {decoded.items} items: one was refused, so send one; nothing was stored")
    if decoded.refused and not reject.whole:
        raise NotMended(f"it is still refused: {decoded.refused[0].detail}")
    if not decoded.items:
        raise NotMended("there is nothing in it to store")
    answer = intake.store(reject.endpoint, decoded)
    if answer.get("rejected") and not reject.whole:
        raise NotMended(f"it is still refused: {answer['rejected'][0]['detail']}")
    if answer.get("ignored") and not reject.whole and not is_mapped:
        raise NotMended("it is no exception inside a span any more: give it a traceId, a spanId and exception.type")
    _settle(claimed, "resubmitted", by)
    _audit(
        by, "reject.resubmitted", reject, details={"accepted": answer["accepted"], "duplicates": answer["duplicates"]}
    )
    return answer


@transaction.atomic
def dismiss(reject: IngestReject, reason: str, *, by: Actor) -> None:
    """Put a refused item aside with a reason; it stays readable until retention takes it. Raises AlreadySettled, Forbidden."""
    check_can_operate_rejects(by, reject)
    reason = reason.replace("\x00", "").strip()[:1000]
    if not reason:
        raise Invalid("say why: the reason is kept in the audit list")
    claimed = IngestReject.objects.select_for_update().filter(pk=reject.pk, settled_at=None).first()
    if claimed is None:
        raise AlreadySettled("this item was sent again or dismissed by somebody")
    _settle(claimed, "dismissed", by)
    _audit(by, "reject.dismissed", reject, reason=reason)


def _settle(reject: IngestReject, how: str, by: Actor) -> None:
    IngestReject.objects.filter(pk=reject.pk).update(settled_at=datetime.now(UTC), settled_by=by.name, settled_how=how)


def _audit(
    by: Actor, action: str, reject: IngestReject, *, reason: str = "", details: dict[str, Any] | None = None
) -> None:
    record_audit(
        by,
        action,
        reject,
        environment=reject.environment,
        team_id=reject.flow.team_id if reject.flow else None,
        label=f"{reject.endpoint} from {reject.agent.name}: {reject.code}",
        reason=reason,
        details=details,
    )
