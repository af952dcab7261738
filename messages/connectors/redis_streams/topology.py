"""What to mind before an entry goes to a stream, from what Redis says of it. Pure.

Source: Redis documentation, XINFO GROUPS and XINFO CONSUMERS (`idle`: milliseconds since the consumer last asked), PTTL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from messages.connectors.spans import some, span

QUIET_S = 600  # a reader that blocks for as long as it likes asks seldom; one that is gone never


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A consumer group. idle_s: since when nobody of it has asked, None when it has no consumer."""

    name: str
    idle_s: float | None


def stream_hints(stream: str, groups: Sequence[Group], *, expires_in_s: float | None) -> list[str]:
    """Return what to mind of a stream that is there: who reads it, and that it goes away as a whole. Pure."""
    found = []
    if expires_in_s is not None:
        found.append(f"stream {stream} itself expires in {span(max(1, round(expires_in_s)))}, with everything in it")
    if not groups:
        return [*found, f"no consumer group reads stream {stream}"]
    if len(groups) > 1:
        names = some(sorted(group.name for group in groups))
        found.append(
            f"{len(groups)} consumer groups read stream {stream} ({names}): each gets it, also those that did well with it before"
        )
    if all(group.idle_s is None for group in groups):
        names = some(sorted(group.name for group in groups))
        return [*found, f"stream {stream} has the groups {names}, and none has a consumer"]
    quiet = [(group.name, group.idle_s) for group in groups if group.idle_s is not None and group.idle_s >= QUIET_S]
    if len(quiet) == sum(group.idle_s is not None for group in groups):
        who = some([f"{name} for {span(idle // 60 * 60)}" for name, idle in quiet])
        found.append(f"nobody has asked for entries of stream {stream} for long: {who}. Are its consumers there?")
    return found


def group_of(row: Mapping[str, object], consumers: Sequence[Mapping[str, object]]) -> Group:
    """Return a group from redis-py's rows; odd ones never raise."""
    name = row.get("name")
    idle = [float(one) / 1000 for consumer in consumers if isinstance(one := consumer.get("idle"), int | float)]
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
    return Group(name=text, idle_s=min(idle) if idle else 0.0 if consumers else None)
