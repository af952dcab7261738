"""What notifiers over HTTP share: a pure `render` says the requests, and these are sent one after the other."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from alerts.delivery.notifiers.base import BadChannel, Field, Said, Telling, Told
from alerts.delivery.outbound import TIMEOUT_S, Call, parse_url, send

JSON = {"Content-Type": "application/json"}


class HTTPNotifier:
    """Subclasses say kind, label, fields, and `render`; `read` where an answer of 200 may mean no."""

    kind = ""
    label = ""
    fields: tuple[Field, ...] = ()
    hosts: tuple[str, ...] = ()
    a_second = 10.0
    at_once = 4
    repeat_s: float | None = None
    longest_s = 3 * TIMEOUT_S

    def render(self, telling: Telling, said: Said) -> Sequence[Call]:
        """Return the requests that tell it, none when there is nothing to tell this receiver. Pure."""
        raise NotImplementedError

    def check(self, said: Said) -> None:
        check_fields(self.fields, said)
        for url in self.addresses(said):
            parse_url(url)

    def addresses(self, said: Said) -> list[str]:
        return [said["url"]] if said.get("url") else []

    def tell(self, telling: Telling, said: Said, allowed: Collection[str]) -> Told:
        told = Told(result="taken", answer="there is nothing to tell it")
        for call in self.render(telling, said):
            told = self.read(send(call, {*allowed, *self.hosts}))
            if told.result != "taken":
                return told
        return told

    def read(self, told: Told) -> Told:
        return told


def check_fields(fields: Sequence[Field], said: Said) -> None:
    """Raise BadChannel for a required field that is empty, one that is too long, or one that nobody knows."""
    known = {field.name: field for field in fields}
    for name in said:
        if name not in known:
            raise BadChannel(f"a channel of this kind has no “{name[:40]}”; it has {', '.join(known) or 'nothing'}")
    for field in fields:
        value = said.get(field.name, "")
        if field.required and not value.strip():
            raise BadChannel(f"{field.label} is missing")
        if len(value) > 2000 or "\x00" in value:
            raise BadChannel(f"{field.label} has at most 2,000 characters")


def as_json(value: Any) -> bytes:
    return msgspec.json.encode(value)
