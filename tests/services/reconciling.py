"""Messages of a flow as rows, and lists against them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from console.identity.actor import Actor
from console.identity.models import Role
from messages.catalog.services import ensure_environment
from messages.models import Flow, Message, MessageStatus, Reconciliation
from messages.reconcile.evaluating import reconcile
from messages.reconcile.queries import every_key
from messages.reconcile.services import NewReconciliation, begin_reconciliation, receive_list
from messages.reconcile.sets import SETS
from tests.factories import actor, environment, person

HOURS = timedelta(hours=24)


def flow(name: str = "orders", slug: str = "production", **columns: Any) -> Flow:
    ensure_environment(slug, name=slug, colour="red")
    return Flow.objects.get_or_create(environment=environment(slug), name=name, defaults=columns)[0]


def operator() -> Actor:
    from console.identity.models import User

    user = User.objects.filter(username="ada").first() or person("ada", Role.OPERATOR)
    return actor(user)


def message(
    key: str | None,
    status: MessageStatus = MessageStatus.DELIVERED,
    *,
    of: Flow | None = None,
    at: datetime | None = None,
    on: datetime | None = None,
    key_name: str = "order_no",
) -> UUID:
    of, at, pk = of or flow(), at or datetime.now(UTC) - timedelta(hours=1), uuid4()
    Message.objects.bulk_create(
        [
            Message(
                first_seen_on=(on or at).date(),
                id=pk,
                environment_id=of.environment_id,
                flow=of,
                message_id=f"message {pk}",
                first_seen_at=at,
                last_seen_at=at,
                status=status,
                event_count=1,
                keys={key_name: key} if key is not None else {},
            )
        ]
    )
    return pk


def begun(*, by: Actor | None = None, of: Flow | None = None, **said: Any) -> Reconciliation:
    now = datetime.now(UTC)
    wanted = {"name": "", "key_name": "order_no", "since": now - HOURS, "until": now} | said
    return begin_reconciliation(of or flow(), NewReconciliation(**wanted), by=by or operator())


def compared(text: str | bytes, *, column: str = "", **said: Any) -> Reconciliation:
    """Return a reconciliation whose list was sent and compared."""
    by = said.pop("by", None) or operator()
    one = begun(by=by, **said)
    receive_list(one, [text.encode() if isinstance(text, str) else text], column=column, by=by)
    reconcile()
    one.refresh_from_db()
    return one


def keys_in(one: Reconciliation, slug: str) -> list[str]:
    return [row.key for row in every_key(one, SETS[slug])]
