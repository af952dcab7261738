"""Who may see and do what with objectives, breaches, silences, channels and reports: the only way to fetch them for an actor."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from alerts.models import ApprovedHost, Channel, ExternalAlert, NoticeDelivery
from console.identity.access import check_superuser
from console.identity.actor import Actor
from console.identity.models import Role
from messages.access import get_one, visible_flows

# channels and what was told ------------------------------------------------------------------------------------------


def visible_channels(actor: Actor) -> QuerySet[Channel]:
    """Return the channels of the actor's environments: members see that they are there, administrators also what they were told."""
    channels = Channel.objects.select_related("environment")
    return channels if actor.is_superuser else channels.filter(environment_id__in=list(actor.grants))


def get_visible_channel(actor: Actor, pk: int) -> Channel:
    return get_one(visible_channels(actor), "channel", pk=pk)


def visible_deliveries(actor: Actor) -> QuerySet[NoticeDelivery]:
    """Return what was told, of environments that the actor administers: a notice may be of any flow there."""
    deliveries = NoticeDelivery.objects.select_related("channel__environment")
    if actor.is_superuser:
        return deliveries
    administered = [pk for pk in actor.grants if actor.has_role(pk, None, Role.ADMINISTRATOR)]
    return deliveries.filter(channel__environment_id__in=administered)


def get_visible_delivery(actor: Actor, pk: int) -> NoticeDelivery:
    return get_one(visible_deliveries(actor), "delivery", pk=pk)


def approved_hosts(actor: Actor) -> QuerySet[ApprovedHost]:
    """Return the hosts that channels may send to; whoever makes a channel has to know them."""
    administers = actor.is_superuser or any(actor.has_role(pk, None, Role.ADMINISTRATOR) for pk in actor.grants)
    return ApprovedHost.objects.all() if administers else ApprovedHost.objects.none()


def get_approved_host(actor: Actor, pk: int) -> ApprovedHost:
    return get_one(approved_hosts(actor), "approved host", pk=pk)


def can_approve_hosts(actor: Actor) -> bool:
    """Whether the actor may say where the console may send to: administrators of the whole console, for it is the console's network."""
    return actor.is_superuser


def check_can_approve_hosts(actor: Actor) -> None:
    check_superuser(actor)


def visible_external_alerts(actor: Actor) -> QuerySet[ExternalAlert]:
    """Return alerts from elsewhere of the flows that the actor sees; those that name no flow are for every member of the environment."""
    alerts = ExternalAlert.objects.select_related("environment", "flow")
    if actor.is_superuser:
        return alerts
    own = Q(flow__isnull=True) | Q(flow__in=visible_flows(actor).order_by().values("pk"))
    return alerts.filter(own, environment_id__in=list(actor.grants))
