"""The native change, decoded and cleaned, and how a later message about it adds to what is known. Pure but for the caller's clock.

The struct is the schema: docs/schemas/change.json is generated from it and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
from msgspec import Meta

from console.core.ids import derived_uuid
from console.core.links import is_link
from messages.ingest import clean
from messages.ingest.http import Malformed
from messages.ingest.model import RawItem, Refused
from messages.ingest.native import Id, Name, Zoned, decode_item

PAST, AHEAD = timedelta(days=3650), timedelta(days=366)
LONGEST = timedelta(days=31)  # bounds how far back a look for what still lasts has to reach
FINAL = frozenset({"succeeded", "failed", "cancelled"})
# The words of GitHub Actions, GitLab CI, Jenkins and Azure DevOps are taken as they are, so that a pipeline needs no `case`.
OUTCOMES = {
    "running": "running", "succeeded": "succeeded", "failed": "failed", "cancelled": "cancelled",
    "success": "succeeded", "failure": "failed", "canceled": "cancelled",
    "SUCCESS": "succeeded", "UNSTABLE": "succeeded", "FAILURE": "failed", "ABORTED": "cancelled", "NOT_BUILT": "cancelled",
    "Succeeded": "succeeded", "SucceededWithIssues": "succeeded", "Failed": "failed", "Canceled": "cancelled",
}  # fmt: skip
OutcomeWord = Literal[
    "running", "succeeded", "failed", "cancelled", "success", "failure", "canceled", "SUCCESS", "UNSTABLE", "FAILURE",
    "ABORTED", "NOT_BUILT", "Succeeded", "SucceededWithIssues", "Failed", "Canceled",
]  # fmt: skip
Names = Annotated[list[Name], Meta(max_length=50)]


class ChangeItem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change, or more about one: `id` names it in its environment. First kind and title are needed; what is left out later stays."""

    id: Id
    kind: Literal["deployment", "configuration", "maintenance"] | None = None
    title: Annotated[str, Meta(min_length=1, max_length=2000)] | None = None
    systems: Names | None = None
    flows: Names | None = None
    version: Annotated[str, Meta(max_length=300)] | None = None
    started_at: Zoned | None = None
    ended_at: Zoned | None = None
    outcome: OutcomeWord | None = None
    url: Annotated[str, Meta(max_length=2000)] | None = None
    author: Annotated[str, Meta(max_length=300)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a change: the columns that messages about it fill."""

    kind: str
    title: str
    started_at: datetime
    version: str = ""
    systems: tuple[str, ...] = ()
    flows: tuple[str, ...] = ()
    ended_at: datetime | None = None
    outcome: str = ""
    url: str = ""
    author: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One message about a change; `said` holds only what it says, cleaned."""

    index: int
    raw: RawItem
    identity: UUID
    external_id: str
    said: Mapping[str, Any]


def change_identity(environment_id: int, identity: str) -> UUID:
    return derived_uuid("change", environment_id, identity)


def changes_of(items: Sequence[RawItem], *, environment_id: int, now: datetime) -> tuple[list[Told], list[Refused]]:
    """Return (messages about changes in their order, refused items) of these JSON items."""
    told: list[Told] = []
    refused: list[Refused] = []
    for index, raw in enumerate(items):
        try:
            item = decode_item(raw, ChangeItem)
            told.append(
                Told(
                    index=index,
                    raw=raw,
                    identity=change_identity(environment_id, item.id.replace("\x00", "\ufffd")),
                    external_id=clean.text(item.id, 256),
                    said=said_by(item, now=now),
                )
            )
        except Malformed as error:
            refused.append(Refused(index=index, code="invalid_item", detail=str(error), raw=raw))
    return told, refused


def said_by(item: ChangeItem, *, now: datetime) -> dict[str, Any]:
    """Return what a message says, by column; raises Malformed for a time or an address that cannot be."""
    said: dict[str, Any] = {
        "kind": item.kind,
        "title": clean.text(item.title.strip(), 300) if item.title else None,
        "version": clean.text(item.version.strip(), 120) if item.version is not None else None,
        "systems": names(item.systems, 120),
        "flows": names(item.flows, 200),
        "started_at": moment(item.started_at, "started_at", now=now),
        "ended_at": moment(item.ended_at, "ended_at", now=now),
        "outcome": OUTCOMES[item.outcome] if item.outcome else None,
        "url": address(item.url.strip()) if item.url is not None else None,
        "author": clean.text(item.author.strip(), 150) if item.author is not None else None,
    }
    if item.title is not None and not said["title"]:
        raise Malformed("a title has at least one character - at `$.title`")
    return {column: value for column, value in said.items() if value is not None}


def names(given: list[str] | None, most_bytes: int) -> tuple[str, ...] | None:
    """Return names as ingest writes them to the catalog, each once; None when the message does not say."""
    if given is None:
        return None
    return tuple(dict.fromkeys(text for name in given if (text := clean.text(name, most_bytes)).strip()))


def moment(at: datetime | None, field: str, *, now: datetime) -> datetime | None:
    """Return a time as UTC; unlike an event's it may lie ahead, and out of reason it is refused instead of clamped."""
    if at is None:
        return None
    try:
        at = at.astimezone(UTC)
    except OverflowError as error:
        raise Malformed(f"a change lies within ten years back and one ahead - at `$.{field}`") from error
    if not now - PAST <= at <= now + AHEAD:
        raise Malformed(f"a change lies within ten years back and one ahead - at `$.{field}`")
    return at


def address(url: str) -> str:
    """Return an http(s) address that is safe to link to, or nothing for nothing; raises Malformed for any other."""
    if not url:
        return ""
    if not is_link(url) or set('<>"\\') & set(url):
        raise Malformed("an address begins with http:// or https:// and has no spaces - at `$.url`")
    if "@" in urlsplit(url).netloc:
        raise Malformed("an address must not carry a user name or password - at `$.url`")
    return clean.text(url, 2000)


def merged(known: Known | None, said: Mapping[str, Any], *, now: datetime) -> Known:
    """Return what is known after a message; raises Malformed when the two cannot be true together.

    What it says replaces what was known, what it leaves out stays. A final outcome without a time ends the change now, unless it
    has ended already; `running` never undoes an end, so a start that comes late or again changes nothing that is over.
    """
    said = dict(said)
    if known is None:
        if not said.get("kind") or not said.get("title"):
            raise Malformed("no change with this id is known here: its first message needs kind and title")
        known = Known(kind=said["kind"], title=said["title"], started_at=said.get("started_at") or _begin(said, now))
    elif said.get("kind", known.kind) != known.kind:
        raise Malformed(f"this id belongs to a {known.kind}; another change needs another id - at `$.kind`")
    if said.get("outcome") == "running" and known.outcome in FINAL:
        del said["outcome"]
    if said.get("outcome") in FINAL and "ended_at" not in said and (known.ended_at is None or known.ended_at > now):
        started_at = said.get("started_at", known.started_at)
        said["ended_at"] = min(max(now, started_at), started_at + LONGEST)
    after = replace(known, **said)
    if after.ended_at is not None and after.ended_at < after.started_at:
        raise Malformed("a change ends after it started - at `$.ended_at`")
    if after.ended_at is not None and after.ended_at - after.started_at > LONGEST:
        raise Malformed(f"a change lasts at most {LONGEST.days} days - at `$.ended_at`")
    return after


def _begin(said: Mapping[str, Any], now: datetime) -> datetime:
    """Return when a change began whose first message does not say: now, or at its end when it only tells that."""
    ended_at: datetime | None = said.get("ended_at")
    return min(now, ended_at) if ended_at else now
