"""The channels that a policy may name: those of its environment."""

from __future__ import annotations

from collections.abc import Iterable

from alerts.delivery.queries import find_channels
from console.core.errors import Invalid
from console.identity.actor import Actor
from console.identity.models import Environment


def names_of_channels(actor: Actor, environment: Environment) -> dict[int, str]:
    """Return {channel: its name} of an environment."""
    return {one.pk: one.name for one in find_channels(actor, environment)}


def check_channels(actor: Actor, environment: Environment, channels: Iterable[int]) -> None:
    """Raise Invalid for a channel of another environment, or none: its notices would go where nobody should read them."""
    known = names_of_channels(actor, environment)
    foreign = sorted(set(channels) - set(known))
    if foreign:
        raise Invalid(f"there is no channel {foreign[0]} in {environment.slug}")


def channel_words(channels: Iterable[int], names: dict[int, str]) -> str:
    """Return channels as people call them: "Mail of ops, PagerDuty"; numbers of those that are there no more."""
    said = [names.get(one, f"channel {one}") for one in channels]
    return ", ".join(said) or "no channel"
