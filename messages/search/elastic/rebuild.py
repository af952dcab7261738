"""A generation of an environment's indices: begun, filled, swapped in, and the one before it deleted. May be killed at any line.

From the moment that a generation is begun the worker writes every change into it as well, so that nothing has to be caught up with.
Filling walks the messages by day and id, then the dead letters by id, and remembers where it stands after each request. Versions tell
an older state from a newer one, so that filling and changes may overtake each other.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import structlog
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import F, Q

from console.core.ids import uuid7
from console.identity.models import Environment
from messages.models import DeadLetter, Flow, SearchGeneration
from messages.retention.policies import policy_of
from messages.search.base import Away
from messages.search.elastic.bulk import Outcome, raise_if_away, send
from messages.search.elastic.client import client
from messages.search.elastic.documents import MAPPING, SETTINGS
from messages.search.elastic.indexing import LETTER, MESSAGE, letter_items, message_items, set_aside
from messages.search.elastic.names import alias_of, days_per_index, index_of_letter, indices_of
from messages.search.elastic.outbox import next_version
from messages.search.elastic.texts import READING, searchable_flows
from messages.search.elastic.whole import (
    check_not_set_back,
    check_whole,
    days_with_messages,
    remember,
    remember_kept,
    retire_all,
    this_turn,
)
from messages.search.elastic.words import FOLDING

log = structlog.get_logger(__name__)
LEASE = timedelta(minutes=2)
CHUNK = 1_000
State = SearchGeneration.State
Progress = Callable[[SearchGeneration], None]
MAPPED = hashlib.sha256(json.dumps([MAPPING, FOLDING], sort_keys=True).encode()).hexdigest()[:16]


class RebuildElsewhere(Exception):
    """Another process fills this index now."""


def put_template() -> None:
    """Tell Elasticsearch what our indices look like; whatever index of ours is made later has this mapping.

    Raises Away when these names are another console's: each would take the other's indices for its own left-overs.
    """
    prefix, mine, turn = settings.ELASTICSEARCH_PREFIX, _console(), this_turn()
    said: int | None = 0
    found = client().options(ignore_status=404).indices.get_index_template(name=prefix)
    for one in found.get("index_templates", []):
        if (owner := one["index_template"].get("_meta", {}).get("console")) not in (None, mine):
            log.error("search_names_taken", prefix=prefix, owner=owner)
            raise Away(f"another console uses its names {prefix}-…: set ELASTICSEARCH_PREFIX")
        about = one["index_template"].get("_meta", {})
        said = about.get("kept")  # a worker of an older version says none
        if about.get("mapping") != MAPPED:
            retire_all(reason="its mapping is another version's")
        elif about.get("texts") != READING:
            _read_anew()
    if said is not None:
        check_not_set_back(int(said))
        turn = max(turn, int(said))  # another worker's clock may be ahead
    client().indices.put_index_template(
        name=prefix,
        index_patterns=[f"{prefix}-e*-g*"],
        priority=500 + len(prefix),  # of two consoles whose names begin alike the longer one's counts
        template={"settings": SETTINGS, "mappings": MAPPING},
        meta={"console": mine, "kept": turn, "mapping": MAPPED, "texts": READING},
    )
    remember_kept(turn)


def _read_anew() -> None:
    """Have indices with words of payloads built anew, because another version read those otherwise; what is live answers meanwhile."""
    for environment in Environment.objects.filter(
        pk__in=Flow.objects.filter(payload_search=True).values("environment")
    ):
        begin_generation(environment, anew=True)
        log.info("search_texts_read_anew", environment=environment.slug, reading=READING)


def _console() -> str:
    """Return what tells this console's database from another's."""
    first = Environment.objects.order_by("pk").values_list("created_at", flat=True).first()
    return hashlib.sha256(str(first and first.timestamp()).encode()).hexdigest()[:16]


def begin_generation(environment: Environment, *, anew: bool = False) -> SearchGeneration:
    """Return the generation that is being built, begun now when there is none. anew: what was begun is thrown away."""
    if anew:
        SearchGeneration.objects.filter(environment=environment, state=State.BUILDING).update(
            state=State.RETIRING, lease_until=None, leased_by=None
        )
    days = days_per_index(policy_of(environment).metadata_days)
    try:
        with transaction.atomic():
            return SearchGeneration.objects.create(environment=environment, days_per_index=days)
    except IntegrityError:  # it was begun before, perhaps by another
        return SearchGeneration.objects.get(environment=environment, state=State.BUILDING)


class Filling:
    """Fills one generation under a lease, renewed with each chunk; raises RebuildElsewhere, Away, and Lost, which is for good."""

    def __init__(self, generation: SearchGeneration, told: Progress | None = None) -> None:
        self.generation, self.told, self.me = generation, told, uuid4()
        self.environment = generation.environment
        self.alias = alias_of(settings.ELASTICSEARCH_PREFIX, self.environment.pk, self.environment.slug)
        self.kept = [(self.alias, generation)]
        self.searchable = searchable_flows()

    def fill(self, *, budget_s: float | None = None) -> bool:
        """Fill until everything is there, or for about so long; return whether everything is."""
        until = None if budget_s is None else time.monotonic() + budget_s
        self._move()
        try:
            put_template()
            remember(self.generation, check_whole(self.generation))
            while not self.generation.filled:
                if until is not None and time.monotonic() > until:
                    return False
                if not self.generation.messages_filled:
                    self._next_messages()
                else:
                    self._next_letters()
                remember(self.generation, check_whole(self.generation))
                if self.told:
                    self.told(self.generation)
        finally:
            self._let_go()
        return True

    def _move(self, **changes: object) -> None:
        """Write down where it stands, and that we go on: one conditional update, so that two never fill at once."""
        now = datetime.now(UTC)
        free = Q(lease_until=None) | Q(lease_until__lt=now) | Q(leased_by=self.me)
        mine = SearchGeneration.objects.filter(free, pk=self.generation.pk, state=State.BUILDING)
        if not mine.update(lease_until=now + LEASE, leased_by=self.me, **changes):
            raise RebuildElsewhere(
                f"another process fills the index of {self.environment.slug}, or it is not to be built any more"
            )
        self.generation.refresh_from_db()

    def _let_go(self) -> None:
        SearchGeneration.objects.filter(pk=self.generation.pk, leased_by=self.me).update(
            lease_until=None, leased_by=None
        )

    def _next_messages(self) -> None:
        now = self.generation
        day, after = now.filled_day, now.filled_id or UUID(int=0)
        days = days_with_messages()
        left = [one for one in days if day is None or one >= day]
        if day is None or day not in left:
            if not left:
                return self._move(messages_filled=True, days_left=0, filled_id=None)
            day, after = left[0], UUID(int=0)
        version = next_version()
        ids = _message_ids(self.environment.pk, day, after)
        outcome = send(message_items(self.environment.pk, ids, (day, day), self.kept, version, self.searchable))
        self._check(outcome, MESSAGE)
        if len(ids) == CHUNK:
            return self._move(
                filled_day=day, filled_id=ids[-1], days_left=len(left), documents=F("documents") + len(ids)
            )
        following = next((one for one in days if one > day), None)
        done = F("documents") + len(ids)
        if following is None:
            return self._move(messages_filled=True, filled_id=None, days_left=0, documents=done)
        return self._move(filled_day=following, filled_id=None, days_left=len(left) - 1, documents=done)

    def _next_letters(self) -> None:
        version, after = next_version(), self.generation.filled_id or UUID(int=0)
        letters = DeadLetter.objects.filter(environment=self.environment, pk__gt=after).order_by("pk")
        ids = list(letters.values_list("pk", flat=True)[:CHUNK])
        outcome = send(letter_items(self.environment.pk, ids, self.kept, version, self.searchable))
        self._check(outcome, LETTER)
        self._move(filled=len(ids) < CHUNK, filled_id=ids[-1] if ids else after, documents=F("documents") + len(ids))

    def _check(self, outcome: Outcome, kind: int) -> None:
        raise_if_away(outcome)
        set_aside(self.environment.pk, kind, outcome.refused)


def _message_ids(environment_id: int, day: date, after: UUID) -> list[UUID]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM messaging_message WHERE first_seen_on = %s AND environment_id = %s AND id > %s ORDER BY id LIMIT %s",
            [day, environment_id, after, CHUNK],
        )
        return [row[0] for row in cursor.fetchall()]


def go_live(generation: SearchGeneration) -> None:
    """Swap the alias over to a filled generation, at one go, and then say so. Killed between the two, it is done again. Raises Lost."""
    check_whole(generation)
    environment = generation.environment
    alias = alias_of(settings.ELASTICSEARCH_PREFIX, environment.pk, environment.slug)
    today = index_of_letter(alias, generation.pk, uuid7())
    indices = client().indices
    if not indices.exists(index=today):
        indices.create(index=today)  # so that the alias leads somewhere even when nothing is stored yet
    indices.refresh(index=indices_of(alias, generation.pk))
    point_alias(alias, generation)
    with transaction.atomic():
        SearchGeneration.objects.filter(environment=environment, state=State.LIVE).update(state=State.RETIRING)
        SearchGeneration.objects.filter(pk=generation.pk, state=State.BUILDING, filled=True).update(
            state=State.LIVE, went_live_at=datetime.now(UTC)
        )
    there = check_whole(generation)
    point_alias(alias, generation)  # an index that a worker made meanwhile
    remember(generation, there)
    log.info("search_index_live", environment=environment.slug, generation=generation.pk)


def point_alias(alias: str, generation: SearchGeneration) -> None:
    """Have the alias lead to exactly the indices of this generation; does nothing when it does."""
    indices = client().indices
    there = set(indices.get_alias(name=alias).keys()) if indices.exists_alias(name=alias) else set()
    # asked last: one that a worker has made and led to since must not look like another generation's
    wanted = set(indices.get(index=indices_of(alias, generation.pk), features="aliases").keys())
    actions = [{"add": {"index": one, "alias": alias}} for one in sorted(wanted - there)]
    actions += [{"remove": {"index": one, "alias": alias}} for one in sorted(there - wanted)]
    if actions:
        indices.update_aliases(actions=actions)
