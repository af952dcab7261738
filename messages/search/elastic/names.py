"""Names of aliases and indices. Pure.

An alias an environment, `waybill-e1-production`; behind it the indices of one generation, each of some days of one kind:
`waybill-e1-production-g7-messages-20261126`. Where a document lies follows from its row alone and never changes, so that its
newest version always meets the older ones, and so that days which retention lets go leave as whole indices.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from uuid import UUID

LETTER_DAYS = 91  # one index of dead letters for so many days of harvest
MOST_INDICES = 40  # of messages in a generation: each is a shard, and a node takes a thousand


def alias_of(prefix: str, environment_id: int, slug: str) -> str:
    return f"{prefix}-e{environment_id}-{slug.lower()}"


def indices_of(alias: str, generation: int) -> str:
    """Return the pattern of a generation's indices."""
    return f"{alias}-g{generation}-*"


def index_of_message(alias: str, generation: int, day: int, days_per_index: int) -> str:
    return _index(alias, generation, "messages", day, days_per_index)


def index_of_letter(alias: str, generation: int, identity: UUID) -> str:
    """Return the index of a letter, by the time in its id (a UUID of version 7)."""
    harvested = datetime.fromtimestamp((identity.int >> 80) / 1000, tz=UTC).date()
    return _index(alias, generation, "letters", harvested.toordinal(), LETTER_DAYS)


def _index(alias: str, generation: int, kind: str, day: int, days: int) -> str:
    first = date.fromordinal(max(1, day - day % days))
    return f"{alias}-g{generation}-{kind}-{first:%Y%m%d}"


def days_per_index(metadata_days: int) -> int:
    """Return how many days one index of messages holds, so that there are at most MOST_INDICES."""
    return max(1, -(-metadata_days // MOST_INDICES))


def parts_of(index: str) -> tuple[str, int, str, date] | None:
    """Return (alias, generation, kind, first day) of an index that we named, None for any other."""
    found = re.fullmatch(r"(.+)-g(\d{1,18})-(messages|letters)-(\d{8})", index, re.ASCII)
    if found is None:
        return None
    alias, generation, kind, day = found.groups()
    return alias, int(generation), kind, datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).date()
