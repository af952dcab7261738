"""Notifiers by kind: one dict of dotted paths, merged with the operator's own, and a getter that raises on an unknown kind."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any, cast

from alerts.delivery.notifiers.base import Notifier

NOTIFIERS = {
    "mail": "alerts.delivery.notifiers.mail.MAIL",
    "slack": "alerts.delivery.notifiers.slack.SLACK",
    "teams": "alerts.delivery.notifiers.teams.TEAMS",
    "pagerduty": "alerts.delivery.notifiers.pagerduty.PAGERDUTY",
    "opsgenie": "alerts.delivery.notifiers.opsgenie.OPSGENIE",
    "jsm": "alerts.delivery.notifiers.opsgenie.JSM",
    "webhook": "alerts.delivery.notifiers.webhook.WEBHOOK",
    "alertmanager": "alerts.delivery.notifiers.alertmanager.ALERTMANAGER",
    "apprise": "alerts.delivery.notifiers.apprise.APPRISE",
}


class UnknownNotifier(LookupError):
    """Nobody declared a notifier of this kind."""


@cache
def _load(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def get_notifier(kind: str, more: Mapping[str, str] | None = None) -> Notifier:
    """Return the notifier of this kind; raises UnknownNotifier. more: the operator's own, kind → dotted path."""
    paths = NOTIFIERS | dict(more or {})
    path = paths.get(kind)
    if path is None:
        raise UnknownNotifier(f"there is no channel kind “{kind[:40]}”; use {', '.join(sorted(paths))}")
    return cast(Notifier, _load(path))


def notifiers(more: Mapping[str, str] | None = None) -> list[Notifier]:
    """Return every notifier, in the order in which a person is offered them."""
    return [get_notifier(kind, more) for kind in NOTIFIERS | dict(more or {})]
