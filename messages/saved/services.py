"""Every write to saved searches and subscriptions by people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F

from console.audit.services import record_audit
from console.core.calendars import DAY_MINUTES, working_time
from console.core.errors import Conflict, Invalid, NotFound
from console.identity.actor import Actor
from console.identity.models import Environment, Team
from messages.models import SavedSearch, Subscription
from messages.saved.access import (
    check_can_change_saved_search,
    check_can_save,
    get_visible_saved_search,
    own_subscriptions,
    teams_to_share_with,
)
from messages.saved.assessing import about_of
from messages.saved.matching import check_asked
from messages.saved.outbox import withdraw_mails

MOST_SEARCHES = 200  # of one person in one environment
LONGEST_SILENCE = 7 * 24 * 60  # minutes of working time
DIGESTS = (5, 7 * 24 * 60)  # minutes: the least and the most


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSearch:
    """What a person says of a saved search. team_id: None keeps it to oneself. window: a span such as 7d, or that of the list."""

    name: str
    q: str
    window: str = ""
    team_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """When somebody wants to be told. minutes: of silence; digest_minutes: between news while it matches, None for none."""

    when: str
    minutes: int | None = None
    digest_minutes: int | None = None
    days: Sequence[int] = (1, 2, 3, 4, 5)
    from_minute: int = 0
    until_minute: int = DAY_MINUTES
    time_zone: str = "UTC"


@transaction.atomic
def save_search(environment: Environment, of: str, said: NewSearch, *, by: Actor) -> SavedSearch:
    """Keep a query under a name, audited. Raises Forbidden, Invalid, BadQuery, BadWindow, Conflict."""
    owner_id = check_can_save(by)
    if of not in SavedSearch.Of.values:
        raise Invalid("a saved search is of messages or of dead-letters")
    columns = _columns(environment, of, said, by)
    if SavedSearch.objects.filter(environment=environment, owner_id=owner_id).count() >= MOST_SEARCHES:
        raise Invalid(f"you have {MOST_SEARCHES} saved searches in {environment.slug}, and more are not taken")
    try:
        with transaction.atomic():
            made = SavedSearch.objects.create(environment=environment, owner_id=owner_id, of=of, **columns)
    except IntegrityError as error:
        raise Conflict(f"you have a saved search “{columns['name']}” of this list already") from error
    _audit(by, "saved_search.added", made)
    return made


@transaction.atomic
def change_search(search: SavedSearch, said: NewSearch, *, by: Actor) -> SavedSearch:
    """Edit, rename, share or keep to oneself, audited; subscriptions look again at once. Raises as save_search."""
    check_can_change_saved_search(by, search)
    columns = _columns(search.environment, search.of, said, by, keeping=search.team_id)
    now = datetime.now(UTC)
    changed = sorted(name for name, value in columns.items() if getattr(search, name) != value)
    try:
        with transaction.atomic():
            SavedSearch.objects.filter(pk=search.pk).update(**columns, updated_at=now)
    except IntegrityError as error:
        raise Conflict(f"there is a saved search “{columns['name']}” of this list already") from error
    if changed != ["name"]:
        Subscription.objects.filter(search=search, next_look_at__isnull=False).update(
            next_look_at=now, in_vain=0, attempt=F("attempt") + 1
        )
    search.refresh_from_db()
    _audit(by, "saved_search.changed", search, details={"changed": changed})
    return search


@transaction.atomic
def remove_search(search: SavedSearch, *, by: Actor, reason: str = "") -> None:
    """Remove a saved search and every subscription to it, audited. Raises Forbidden."""
    check_can_change_saved_search(by, search)
    _audit(by, "saved_search.removed", search, reason=reason.replace("\x00", "").strip()[:1000])
    for pk in Subscription.objects.filter(search=search).values_list("pk", flat=True):
        withdraw_mails(about_of(pk), "the saved search is removed")
    search.delete()


def _columns(
    environment: Environment, of: str, said: NewSearch, by: Actor, *, keeping: int | None = None
) -> dict[str, Any]:
    name = " ".join(said.name.replace("\x00", "").split())
    if not 1 <= len(name) <= 80:
        raise Invalid("a name has 1 to 80 characters")
    q, window = said.q.replace("\x00", " ").strip(), said.window.strip()
    if len(window) > 12:
        raise Invalid("a window is a span such as 24h or 7d")
    check_asked(by, environment, of, q, window)
    return {"name": name, "q": q, "window": window, "team_id": _team(environment, said.team_id, by, keeping)}


def _team(environment: Environment, team_id: int | None, by: Actor, keeping: int | None) -> int | None:
    """Return the team to share with: one's own, or the one that has it already; raises NotFound."""
    if team_id is None or team_id == keeping:
        return team_id
    team: Team | None = teams_to_share_with(by, environment).filter(pk=team_id).first()
    if team is None:
        raise NotFound("there is no such team of yours in this environment")
    return team.pk


@transaction.atomic
def subscribe(search: SavedSearch, wish: Wish, *, by: Actor) -> Subscription:
    """Be told of a saved search, or of something else than before; looked at within a minute. Raises NotFound, Invalid, Forbidden.

    A wish that judges what the one before did goes on from what was told: its end is told, and not its beginning again.
    """
    owner_id = check_can_save(by)
    search = get_visible_saved_search(by, search.pk)
    check_wish(wish)
    now = datetime.now(UTC)
    started = {"state": "new", "state_since": now, "told": "", "problem": "", "fingerprint": ""}
    asked = asdict(wish) | {"days": sorted(set(wish.days)), "next_look_at": now, "in_vain": 0}
    made, is_new = Subscription.objects.select_for_update().get_or_create(
        search=search, owner_id=owner_id, defaults=asked | started
    )
    if not is_new:
        judges = ["when", "minutes"]
        if wish.when == Subscription.When.SILENT:
            judges += ["days", "from_minute", "until_minute", "time_zone"]
        goes_on = made.state != "stopped" and all(getattr(made, one) == asked[one] for one in judges)
        columns = asked if goes_on else asked | started
        Subscription.objects.filter(pk=made.pk).update(**columns, attempt=F("attempt") + 1)
        made.refresh_from_db()
    _audit_subscription(by, "subscription.added" if is_new else "subscription.changed", made, search)
    return made


@transaction.atomic
def unsubscribe(search: SavedSearch, *, by: Actor) -> None:
    """End one's own subscription to a search. Raises NotFound."""
    found = own_subscriptions(by).filter(search=search).first()
    if found is None:
        raise NotFound("you are not subscribed to this saved search")
    _audit_subscription(by, "subscription.removed", found, search)
    withdraw_mails(about_of(found.pk), "the subscription has ended")
    found.delete()


def check_wish(wish: Wish) -> None:
    """Raise Invalid, in words, for a wish that cannot be."""
    if wish.when == Subscription.When.SILENT:
        if wish.minutes is None or not 1 <= wish.minutes <= LONGEST_SILENCE:
            raise Invalid(f"say for how many minutes nothing may match: 1 to {LONGEST_SILENCE:,}")
        if wish.digest_minutes is not None:
            raise Invalid("silence has no news: only a change is told")
    elif wish.when != Subscription.When.MATCHES:
        raise Invalid("tell me is matches or silent")
    elif wish.minutes is not None:
        raise Invalid("minutes belong to a search that should match and is silent")
    if wish.digest_minutes is not None and not DIGESTS[0] <= wish.digest_minutes <= DIGESTS[1]:
        raise Invalid(f"news come every {DIGESTS[0]} to {DIGESTS[1]:,} minutes, or not at all")
    working_time(wish.days, wish.from_minute, wish.until_minute, wish.time_zone)


def _audit(
    by: Actor, action: str, search: SavedSearch, *, reason: str = "", details: dict[str, Any] | None = None
) -> None:
    """One's own search is nobody's business: only what is shared with a team is named, and to that team."""
    record_audit(
        by,
        action,
        search,
        environment=search.environment,
        team_id=search.team_id,
        label=search.name if search.team_id else "a search of one's own",
        reason=reason,
        details=details,
    )


def _audit_subscription(by: Actor, action: str, subscription: Subscription, search: SavedSearch) -> None:
    record_audit(
        by,
        action,
        subscription,
        environment=search.environment,
        team_id=search.team_id,
        label=search.name if search.team_id else "a search of one's own",
        details={"search": search.pk, "when": subscription.when},
    )
