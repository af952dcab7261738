"""What to mind before a record goes to a topic, from what Kafka's admin API says of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from messages.connectors.base import Found, Outgoing
from messages.connectors.kafka.window import place_of
from messages.connectors.naming import MOST_FOUND, why_dead_letters
from messages.connectors.spans import SOON_S, some, span

RETRY = re.compile(r"(?:^|[-_.])retry(?:[-_.]?\d+)?$", re.IGNORECASE)  # Spring Kafka: orders-retry, orders-retry-0


@dataclass(frozen=True, slots=True, kw_only=True)
class Readers:
    """Who reads a topic: groups with a member that has a partition of it, groups that have read it and have no member now.

    seen  how many groups were looked at; all_seen: there are no more of them.
    """

    active: Sequence[str] = ()
    idle: Sequence[str] = ()
    seen: int = 0
    all_seen: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic as the broker tells of it; config: the settings that were asked for, {} when this login may not read them."""

    name: str
    partitions: int
    config: Mapping[str, str]


def topic_hints(item: Outgoing, topic: Topic, *, died_in: str, dead: Topic | None) -> list[str]:
    """Return what to mind of the topic itself. dead: the topic it was found in, None when that is gone. Pure."""
    return [
        *_itself_of_dead_letters(topic.name, died_in),
        *_fewer_partitions(item, topic, dead),
        *_compacted(item, topic),
        *_short(topic),
    ]


def _itself_of_dead_letters(name: str, died_in: str) -> list[str]:
    if name == died_in:
        return [f"it goes back into {name}, where it lies already: whoever harvests that topic brings it here again"]
    if RETRY.search(name):
        return [
            f"{name} is a retry topic by its name: its consumer tries it again after a while, and if it fails it goes on from there"
        ]
    if why := why_dead_letters(name):
        return [f"{name} is itself a topic of dead letters ({why}): nobody may process what is sent there"]
    return []


def _fewer_partitions(item: Outgoing, topic: Topic, dead: Topic | None) -> list[str]:
    asked = item.route.get("partition", "")
    keyed = item.properties.get("key_base64") is not None
    if place_of(item, topic.partitions)[0] < 0 and asked.isascii() and asked.isdigit():
        where = "its key decides where it goes" if keyed else "it goes to any of them, as it has no key"
        return [
            f"it was in partition {asked[:10]} and topic {topic.name} has only {_parts(topic.partitions)} now: {where}, "
            "and its order among the records it came with is not kept"
        ]
    if not asked and keyed and dead is not None and topic.partitions < dead.partitions:
        return [
            f"topic {topic.name} has {_parts(topic.partitions)}, fewer than the {dead.partitions} of {dead.name}: "
            "its key decides where it goes, beside other keys than before"
        ]
    return []


def _compacted(item: Outgoing, topic: Topic) -> list[str]:
    tombstone = bool(item.properties.get("tombstone")) and not item.body
    if "compact" not in topic.config.get("cleanup.policy", ""):
        return []
    if item.properties.get("key_base64") is None:
        return [f"topic {topic.name} is compacted and takes no record without a key: Kafka would refuse it"]
    if tombstone:
        return [f"it is a tombstone and topic {topic.name} is compacted: it deletes whatever stands under its key now"]
    return [f"topic {topic.name} is compacted: this becomes the newest value of its key, over any that came since"]


def _short(topic: Topic) -> list[str]:
    kept = topic.config.get("retention.ms", "")
    if "delete" in topic.config.get("cleanup.policy", "delete") and kept.isascii() and kept.isdigit():
        seconds = int(kept[:18]) / 1000
        if seconds <= SOON_S:
            return [
                f"topic {topic.name} keeps a record for {span(seconds)} only: who has not read it by then misses it"
            ]
    return []


def reader_hints(name: str, readers: Readers) -> list[str]:
    """Return what to mind of those who read a topic: nobody, nobody now, or several. Pure."""
    found = []
    everybody = [*readers.active, *readers.idle]
    if len(everybody) > 1:
        found.append(
            f"{len(everybody)} consumer groups read topic {name} ({some(everybody)}): each gets it, also those that did well with it before"
        )
    if readers.active:
        return found
    if readers.idle:
        who = (
            f"group {readers.idle[0]} has" if len(readers.idle) == 1 else f"none of the groups {some(readers.idle)} has"
        )
        words = "no member now" if len(readers.idle) == 1 else "a member now"
        return [*found, f"nobody consumes topic {name} at the moment: {who} {words}; the record waits there"]
    bound = "" if readers.all_seen else f", of the first {readers.seen} that were looked at"
    return [f"no consumer group that this login may see reads topic {name}{bound}"]


def _parts(count: int) -> str:
    return "1 partition" if count == 1 else f"{count} partitions"


def dead_letter_topics(names: Sequence[str]) -> list[Found]:
    """Return the topics whose names say that they hold dead letters; Kafka itself does not know which do. Pure."""
    found = []
    for name in sorted(names):
        if not name.startswith("__") and (why := why_dead_letters(name)):
            found.append(Found(queue=name, why=f"{why}; Kafka itself does not tell which topics hold dead letters"))
    return found[:MOST_FOUND]
