"""Silences: made with a comment and an end, ended by a person, by time, or when what they silenced is over."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction

from alerts.breaches.access import (
    audited_as,
    check_can_end_silence,
    check_can_operate_breach,
    check_can_silence,
    team_that_alone_sees,
)
from alerts.breaches.held import environments_to_look_at, hold_back, matcher_of, standing_of
from alerts.breaches.holding import fits
from alerts.breaches.moves import lock_environment, now_utc
from alerts.breaches.states import FIRED, OPEN
from alerts.models import Breach, Silence
from console.audit.services import record_audit
from console.core.errors import Conflict, Invalid
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.models import Flow

LONGEST = timedelta(days=90)
LONGEST_COMMENT = 1_000
MOST_LABELS = 20
A_PRESS = timedelta(seconds=30)
OVER_BY_ITSELF = "what it silenced is over"


class SilenceState(Conflict):
    """The silence is over already."""

    code = "silence_state"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSilence:
    """What is silenced, from when, for how long, and why. Empty is everything; starts_at None: now."""

    comment: str
    expires_at: datetime
    starts_at: datetime | None = None
    flow: Flow | None = None
    source: str = ""
    severity: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    end_when_resolved: bool = False


def silence(environment: Environment, said: NewSilence, *, by: Actor) -> Silence:
    """Silence what fits. Without a flow it silences every team's: for administrators. Raises Forbidden, Invalid."""
    check_can_silence(by, environment, said.flow)
    row = _new(environment, said, by=by, now=now_utc())
    return _keep(row, by=by)


def silence_breach(
    breach: Breach, *, expires_at: datetime, comment: str, end_when_resolved: bool, by: Actor
) -> Silence:
    """Silence one breach, whatever its flow. Raises Forbidden, Invalid, Conflict when it is over."""
    check_can_operate_breach(by, breach)
    if breach.state not in OPEN:
        raise SilenceState(f"{breach.reference} is over: there is nothing to silence")
    said = NewSilence(
        comment=comment, expires_at=expires_at, source=breach.source, severity=breach.severity, end_when_resolved=end_when_resolved,
    )  # fmt: skip
    row = _new(breach.environment, said, by=by, now=now_utc())
    row.key, row.about = breach.key, breach
    if len(breach.flow_ids) == 1:  # whose it is when the breach is gone, which never fired
        row.flow = Flow.objects.filter(pk=breach.flow_ids[0]).first()
    return _keep(row, by=by)


def _new(environment: Environment, said: NewSilence, *, by: Actor, now: datetime) -> Silence:
    comment = " ".join(said.comment.replace("\x00", "").split())[:LONGEST_COMMENT]
    if not comment:
        raise Invalid("say in the comment why nobody is to be told")
    starts_at = said.starts_at or now
    if said.expires_at <= max(starts_at, now):
        raise Invalid("a silence ends after it begins, and not in the past")
    if said.expires_at - now > LONGEST:
        raise Invalid(f"a silence ends within {LONGEST.days} days: make it again when it is still needed")
    labels = {name.replace("\x00", ""): value.replace("\x00", "") for name, value in said.labels.items()}
    if len(labels) > MOST_LABELS:
        raise Invalid(f"a silence names at most {MOST_LABELS} labels")
    return Silence(
        environment=environment, flow=said.flow, source=said.source, severity=said.severity, labels=labels, author=by.name,
        comment=comment, starts_at=starts_at, expires_at=said.expires_at, end_when_resolved=said.end_when_resolved,
    )  # fmt: skip


def _keep(row: Silence, *, by: Actor) -> Silence:
    with transaction.atomic():
        lock_environment(row.environment_id)
        if (before := _pressed_before(row)) is not None:
            return before
        if row.about is not None and not Breach.objects.filter(pk=row.about.pk, state__in=OPEN).exists():
            raise SilenceState(f"{row.about.reference} is over: there is nothing to silence")
        row.save(force_insert=True)
        _audit(by, "silence.created", row, reason=row.comment)
        hold_back(row.environment_id, now=now_utc())
    return row


def _pressed_before(row: Silence) -> Silence | None:
    """Return the silence that a first press of the same button made a moment ago."""
    names = ("flow", "source", "key", "severity", "labels", "author", "comment", "end_when_resolved")
    same = {name: getattr(row, name) for name in names}
    same |= {f"{name}__range": _around(getattr(row, name)) for name in ("starts_at", "expires_at")}
    running = Silence.objects.filter(environment=row.environment, ended_at=None, **same)
    return running.filter(created_at__gt=now_utc() - A_PRESS).first()


def _around(at: datetime) -> tuple[datetime, datetime]:
    """Return the times that a second press may say instead: a form says for how long, from the moment in which it is pressed."""
    return at - A_PRESS, at + A_PRESS


def end_silence(row: Silence, *, by: Actor, reason: str = "") -> Silence:
    """End a silence before its time: what it held back is told. Raises Forbidden, SilenceState."""
    check_can_end_silence(by, row)
    now = now_utc()
    with transaction.atomic():
        lock_environment(row.environment_id)
        standing = Silence.objects.filter(pk=row.pk, ended_at=None, expires_at__gt=now)
        if not standing.update(ended_at=now, ended_by=by.name):
            raise SilenceState("this silence is over already")
        _audit(by, "silence.ended", row, reason=" ".join(reason.replace("\x00", "").split())[:1000])
        hold_back(row.environment_id, now=now)
    row.refresh_from_db()
    return row


def _audit(by: Actor, action: str, row: Silence, *, reason: str) -> None:
    flow_ids = [row.flow_id] if row.flow_id else []
    team_id, own = audited_as(row.about) if row.about else (team_that_alone_sees(flow_ids), "")
    details = {name: value for name, value in _said(row).items() if value}
    told = {"label": f"a silence of {own}"} if own else {"reason": reason}
    record_audit(by, action, row, environment=row.environment, team_id=team_id, details=details, **told)


def _said(row: Silence) -> dict[str, object]:
    return {
        "flow": row.flow.name if row.flow else "",
        "source": row.source,
        "key": row.key,
        "severity": row.severity,
        "labels": row.labels,
        "until": row.expires_at.isoformat(),
    }


def end_silences_of(environment_id: int, cleared: Collection[int], *, now: datetime) -> None:
    """End the silences that were to end with what they silenced: they fit what just ended and nothing that still fires.

    Call it under the environment's lock.
    """
    ending = {
        row.pk: matcher_of(row)
        for row in Silence.objects.filter(
            environment=environment_id, ended_at=None, end_when_resolved=True, starts_at__lte=now, expires_at__gt=now
        )
    }
    if not ending or not cleared:
        return
    over = standing_of(Breach.objects.filter(pk__in=cleared))
    firing = standing_of(Breach.objects.filter(environment=environment_id, state__in=FIRED))
    done = [
        pk
        for pk, matcher in ending.items()
        if any(fits(matcher, one) for one in over) and not any(fits(matcher, one) for one in firing)
    ]
    Silence.objects.filter(pk__in=done).update(ended_at=now, ended_by=OVER_BY_ITSELF)


def end_silences_made_on(calm: Collection[int], *, now: datetime) -> None:
    """End those that were to end with these, which are well before they fired. Call it under the environment's lock, while their rows are there."""
    ending = Silence.objects.filter(about__in=calm, end_when_resolved=True, ended_at=None)
    ending.update(ended_at=now, ended_by=OVER_BY_ITSELF)


def look_at_silences(*, now: datetime | None = None) -> None:
    """Hold back what a silence that begins fits, and let go what one that ended held. May run twice at once."""
    for environment_id in environments_to_look_at(now or now_utc()):
        with transaction.atomic():
            lock_environment(environment_id)
            hold_back(environment_id, now=now or now_utc())
