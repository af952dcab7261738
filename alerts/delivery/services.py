"""Every write of delivery: notices into the outbox, channels and approved hosts, tests, what is sent again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Q

from alerts import tasks
from alerts.access import check_can_approve_hosts
from alerts.delivery.claim import PARTLY_TOLD, SPARE_S, Claimed, notifier_of
from alerts.delivery.errors import ChannelExists, ChannelInvalid, DeliveryState, HostNotApproved
from alerts.delivery.frozen import freeze
from alerts.delivery.notifiers import UnknownNotifier, get_notifier, notifiers
from alerts.delivery.notifiers.base import BadChannel, Notifier
from alerts.delivery.outbound import host_of, is_allowed, parse_approved
from alerts.delivery.secrets import opened, seal
from alerts.delivery.sending import allowed_hosts, deliver
from alerts.delivery.templates import MOST_TEXT, MOST_TITLE, BadTemplate, Words, check_template, worded
from alerts.models import ApprovedHost, Channel, ExternalAlert, NoticeDelivery
from alerts.notices import Happening, Notice
from console.audit.services import record_audit
from console.core.errors import Conflict, Invalid, NotFound
from console.identity.access import check_can_administer
from console.identity.actor import Actor
from console.identity.models import Environment

log = structlog.get_logger(__name__)
KEPT = timedelta(days=90)
MOST_CHANNELS, MOST_HOSTS = 200, 500
REMOVED_IN = 5  # tries; each knows of the notices that were written during the one before


@dataclass(frozen=True, slots=True, kw_only=True)
class NewChannel:
    """What an administrator says of a channel. secrets: those left out, or empty, stay as they are."""

    kind: str
    name: str
    settings: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    title_template: str = ""
    text_template: str = ""
    enabled: bool = True


def tell(notice: Notice, channels: Collection[int]) -> int:
    """Put a notice into the outbox of these channels, in the caller's transaction; nothing is sent here. Return how many there are.

    Channels that are off, or are there no more, are passed over.
    """
    now, frozen = datetime.now(UTC), freeze(notice)
    found = list(Channel.objects.filter(pk__in=list(channels), enabled=True).order_by("pk"))
    if not found:
        return 0
    before = NoticeDelivery.objects.filter(channel__in=found, thread=frozen["thread"], repeat_at__isnull=False)
    before.update(repeat_at=None)  # from now on this notice speaks for the thread
    rows = [_row(channel, frozen, now) for channel in found]
    NoticeDelivery.objects.bulk_create(rows)
    transaction.on_commit(_say_look)
    return len(rows)


def _row(channel: Channel, frozen: Mapping[str, Any], now: datetime) -> NoticeDelivery:
    return NoticeDelivery(
        channel=channel, thread=frozen["thread"], happening=frozen["happening"], title=frozen["title"][:300], notice=frozen,
        next_at=now, queued_at=now,
    )  # fmt: skip


def _say_look() -> None:
    """Say "look" to a worker; when the broker is away the next tick finds the rows."""
    try:
        tasks.send_notices.delay()
    except Exception as error:  # noqa: BLE001  any broker failure means the same
        log.warning("notices_not_announced", reason=str(error)[:200])


def channel_kinds() -> list[Notifier]:
    """Return the kinds that a channel may be of."""
    return notifiers(settings.CONSOLE_NOTIFIERS)


def known_notifier(kind: str) -> Notifier:
    try:
        return get_notifier(kind, settings.CONSOLE_NOTIFIERS)
    except UnknownNotifier as error:
        raise ChannelInvalid(str(error)) from error


def _checked(said: NewChannel, kept: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return (settings, secrets) as they are stored; raises ChannelInvalid, HostNotApproved. kept: the secrets that there are."""
    notifier = known_notifier(said.kind)
    if not said.name.strip() or len(said.name) > 120 or "\x00" in said.name:
        raise ChannelInvalid("a name has 1 to 120 characters")
    secret = {one.name for one in notifier.fields if one.secret}
    plain_names = {one.name for one in notifier.fields if not one.secret}
    for what, given, known in (("setting", said.settings, plain_names), ("secret", said.secrets, secret)):
        for name in given:
            if name not in known:
                raise ChannelInvalid(
                    f"{notifier.label} has no {what} “{name[:40]}”; it has {', '.join(sorted(known)) or 'none'}"
                )
    plain = {name: value.strip() for name, value in said.settings.items() if value.strip()}
    secrets = {name: value for name, value in kept.items() if name in secret} | {
        name: value.strip() for name, value in said.secrets.items() if value.strip()
    }
    _check_words(said)
    try:
        notifier.check(plain | secrets)
        _check_hosts(notifier, plain | secrets)
    except BadChannel as error:
        raise ChannelInvalid(str(error)) from error
    return plain, secrets


def _check_words(said: NewChannel) -> None:
    for what, template, most in (("Title", said.title_template, MOST_TITLE), ("Text", said.text_template, MOST_TEXT)):
        try:
            check_template(template, most=most)
        except BadTemplate as error:
            raise ChannelInvalid(f"{what}: {error}") from error


def _check_hosts(notifier: Notifier, said: Mapping[str, str]) -> None:
    allowed = allowed_hosts() | set(notifier.hosts)
    for url in notifier.addresses(said):
        if not is_allowed(url, allowed):
            raise HostNotApproved(
                f"the host {host_of(url)} is not approved: an administrator of the console approves hosts, under Channels or by POST approved-hosts"
            )


def create_channel(environment: Environment, said: NewChannel, *, by: Actor) -> Channel:
    """Make a channel. Raises Forbidden, ChannelInvalid, HostNotApproved, ChannelExists."""
    check_can_administer(by, environment)
    plain, secrets = _checked(said, {})
    if Channel.objects.filter(environment=environment).count() >= MOST_CHANNELS:
        raise ChannelInvalid(f"{environment.slug} has {MOST_CHANNELS} channels, and more are not taken")
    try:
        with transaction.atomic():
            made = Channel.objects.create(
                environment=environment, kind=said.kind, name=said.name.strip(), settings=plain, secret=seal(secrets),
                title_template=said.title_template, text_template=said.text_template, enabled=said.enabled, created_by=by.name,
            )  # fmt: skip
            _audit(by, "channel.created", made, {"kind": made.kind, "enabled": made.enabled})
    except IntegrityError as error:
        raise ChannelExists(f"{environment.slug} has a channel {said.name} already") from error
    return made


@transaction.atomic
def change_channel(channel: Channel, said: NewChannel, *, by: Actor) -> Channel:
    """Replace what a channel was told; its kind stays. Raises Forbidden, ChannelInvalid, HostNotApproved, ChannelExists, NotFound.

    A stored secret does not follow to another host: whoever could lead it to an address of their own could read it.
    """
    check_can_administer(by, channel.environment)
    now = _hold(channel.pk)
    if said.kind != now.kind:
        raise ChannelInvalid("its kind stays: make another channel and remove this one")
    kept = _opened_or_none(now)
    plain, secrets = _checked(said, kept)
    given = {name for name, value in said.secrets.items() if value.strip()}
    if set(secrets) - given and _hosts(said.kind, plain | secrets) - _hosts(now.kind, {**now.settings, **kept}):
        raise ChannelInvalid("it would send to another host: give its secrets again, the stored ones do not follow")
    columns = {
        "name": said.name.strip(), "settings": plain, "title_template": said.title_template, "text_template": said.text_template,
        "enabled": said.enabled,
    }  # fmt: skip
    changed = sorted(
        [name for name, value in columns.items() if getattr(now, name) != value] + (["secret"] if given else [])
    )
    try:
        with transaction.atomic():
            Channel.objects.filter(pk=now.pk).update(
                **columns,
                secret=seal(secrets),
                failures=0,
                rests_until=None,
                next_at=None,
                updated_at=datetime.now(UTC),
            )
    except IntegrityError as error:
        raise ChannelExists(f"{now.environment.slug} has a channel {said.name} already") from error
    if not said.enabled:
        NoticeDelivery.objects.filter(channel=now, repeat_at__isnull=False).update(repeat_at=None)
    now.refresh_from_db()
    _audit(by, "channel.changed", now, {"changed": changed})
    return now


def _opened_or_none(channel: Channel) -> dict[str, str]:
    """Return the stored secrets; none when no key opens them, for then they are given again."""
    try:
        return opened(channel)
    except BadChannel:
        return {}


def _hosts(kind: str, said: Mapping[str, str]) -> set[str]:
    try:
        return {host_of(url) for url in known_notifier(kind).addresses(said)}
    except BadChannel:
        return set()


@transaction.atomic
def remove_channel(channel: Channel, *, by: Actor, reason: str) -> None:
    """Remove a channel with everything that was told over it; what waits is not told any more.

    Raises Forbidden, NotFound, Conflict, Invalid without a reason.
    """
    check_can_administer(by, channel.environment)
    reason = reason.replace("\x00", "").strip()[:1000]
    if not reason:
        raise Invalid("say why: the reason is kept in the audit list")
    _hold(channel.pk)
    waiting = NoticeDelivery.objects.filter(channel=channel, finished_at__isnull=True).count()
    _audit(by, "channel.removed", channel, {"kind": channel.kind, "not_told": waiting}, reason=reason)
    if not any(_is_removed(channel) for _ in range(REMOVED_IN)):
        raise Conflict("it is told over this channel at this moment: switch the channel off, and remove it then")


def _hold(pk: int) -> Channel:
    """Return a channel as it is now, held before its rows, as claims do: one lock, one order. Raises NotFound when it was removed meanwhile."""
    rows = Channel.objects.select_for_update(of=("self",), no_key=True).select_related("environment")
    if (found := rows.filter(pk=pk).first()) is None:
        raise NotFound("this channel was removed meanwhile")
    return found


def _is_removed(channel: Channel) -> bool:
    """Remove a channel with its rows; False when a notice was written for it meanwhile, which nobody waits for while it is written."""
    try:
        with transaction.atomic():
            Channel.objects.filter(pk=channel.pk).delete()
            connection.check_constraints()
    except IntegrityError:
        return False
    return True


def _audit(by: Actor, action: str, channel: Channel, details: dict[str, Any], *, reason: str = "") -> None:
    record_audit(by, action, channel, environment=channel.environment, details=details, reason=reason)


def send_test(channel: Channel, *, by: Actor, token: str | None = None) -> NoticeDelivery:
    """Send a test now, and return it with what came back. token: a second press of the same form gets the first one's answer."""
    check_can_administer(by, channel.environment)
    token = (token or "").replace("\x00", "")[:40] or None
    now, notifier = datetime.now(UTC), notifier_of(channel)
    row = _row(channel, freeze(_test_notice(channel, by, now)), now)
    row.state, row.attempt, row.tries, row.token = "sending", 1, 1, token
    row.next_at = now + timedelta(seconds=(notifier.longest_s if notifier else 0) + SPARE_S)
    try:
        with transaction.atomic():
            row.save()
            _audit(by, "channel.tested", channel, {"delivery": row.pk})
    except IntegrityError:
        return NoticeDelivery.objects.get(channel=channel, token=token)
    deliver(Claimed(delivery=row, channel=channel, notifier=notifier))
    row.refresh_from_db()
    if row.state == "failed":  # a test is told once: a person looks at the answer and presses again
        state = "delivered" if "only" in row.notice else "dead"  # some have it; the answer names the others
        ended = {"state": state, "next_at": None, "finished_at": datetime.now(UTC)}
        NoticeDelivery.objects.filter(pk=row.pk, state="failed").update(**ended)
        row.refresh_from_db()
    return row


def _test_notice(channel: Channel, by: Actor, now: datetime) -> Notice:
    return Notice(
        happening=Happening.TEST,
        thread=f"waybill-test-{channel.pk}-{now.timestamp():.6f}",
        severity="ticket",
        environment=channel.environment.slug,
        title=f"Test of {channel.name}",
        summary=f"{by.name} sends a test over this channel. Nothing is wrong.",
        starts_at=now,
        facts={"Channel": channel.name, "Environment": channel.environment.name},
        links={"Open Waybill": f"{settings.CONSOLE_URL}/settings/channels/{channel.pk}/"},
    )


@transaction.atomic
def send_again(delivery: NoticeDelivery, *, by: Actor) -> NoticeDelivery:
    """Put what was given up into the outbox again; raises Forbidden, NotFound, DeliveryState."""
    check_can_administer(by, delivery.channel.environment)
    _hold(delivery.channel_id)
    now = datetime.now(UTC)
    later = NoticeDelivery.objects.filter(channel=delivery.channel_id, thread=delivery.thread, pk__gt=delivery.pk)
    told = later.filter(PARTLY_TOLD | Q(state="delivered"))
    if told.filter(happening=Happening.RESOLVED).exists():
        raise DeliveryState("the channel was told since that it is over: this would say that it begins anew")
    if delivery.happening == Happening.RESOLVED and told.exists():
        raise DeliveryState("the channel was told since that it fires anew: this would say that it is over")
    moved = NoticeDelivery.objects.filter(pk=delivery.pk, state="dead").update(
        state="queued", tries=0, next_at=now, queued_at=now, finished_at=None
    )
    if not moved:
        raise DeliveryState("only what was given up is sent again")
    Channel.objects.filter(pk=delivery.channel_id).update(failures=0, rests_until=None)
    _audit(by, "notice.sent_again", delivery.channel, {"delivery": delivery.pk})
    transaction.on_commit(_say_look)
    delivery.refresh_from_db()
    return delivery


def preview_words(title: str, text: str) -> tuple[str, str]:
    """Return (title, text) of a sample notice by these templates; raises ChannelInvalid."""
    _check_words(NewChannel(kind="", name="", title_template=title, text_template=text))
    return worded(Words(title=title, text=text), SAMPLE)


SAMPLE = Notice(
    happening=Happening.FIRING,
    thread="breach-4711",
    severity="page",
    environment="production",
    title="Orders delivered in 5 min",
    summary="12 of 340 orders of the last hour came late; 71 % of the month’s budget is spent.",
    starts_at=datetime(2026, 11, 26, 9, 41, tzinfo=UTC),
    facts={"Attained": "96.5 %", "Target": "99 %"},
    links={"Open the breach": "https://waybill.example.com/breaches/4711/"},
    labels={"flow": "orders: shop → erp", "team": "Order team", "objective": "Orders delivered in 5 min"},
)


@transaction.atomic
def approve_host(text: str, *, by: Actor) -> ApprovedHost:
    """Let channels send to this host. Raises Forbidden, ChannelInvalid, Conflict when it is approved already."""
    check_can_approve_hosts(by)
    try:
        host = parse_approved(text)
    except BadChannel as error:
        raise ChannelInvalid(str(error)) from error
    if ApprovedHost.objects.count() >= MOST_HOSTS:
        raise ChannelInvalid(f"{MOST_HOSTS} hosts are approved, and more are not taken")
    try:
        with transaction.atomic():
            made = ApprovedHost.objects.create(host=host, approved_by=by.name)
    except IntegrityError as error:
        raise Conflict(f"{host} is approved already") from error
    record_audit(by, "outbound_host.approved", made)
    return made


@transaction.atomic
def withdraw_host(host: ApprovedHost, *, by: Actor) -> None:
    """Let no channel send to this host any more; channels that do are refused from their next try on. Raises Forbidden."""
    check_can_approve_hosts(by)
    record_audit(by, "outbound_host.withdrawn", host)
    host.delete()


def expire(*, now: datetime | None = None) -> int:
    """Forget deliveries that ended, and alerts from elsewhere that were heard last, more than 90 days ago; return how many."""
    before = (now or datetime.now(UTC)) - KEPT
    deliveries = NoticeDelivery.objects.filter(finished_at__lt=before, repeat_at__isnull=True)
    alerts = ExternalAlert.objects.filter(received_at__lt=before)
    return deliveries.delete()[0] + alerts.delete()[0]
