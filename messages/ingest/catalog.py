"""Flows, systems and business-key rules by name, cached in the process; unknown names make rows by themselves."""

from __future__ import annotations

import fnmatch
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connection, models

from messages.ingest import clean
from messages.models import Flow, FlowRule, KeyRule, System

RULES_FRESH_S = 3.0
MOST_NAMES = 2_000  # per environment: a sender that puts ids into destination names must not make a million flows
TOO_MANY = "(too many names)"


@dataclass(frozen=True, slots=True)
class Rules:
    """One environment's rules, compiled."""

    flows: list[tuple[re.Pattern[str], int]]
    exact_keys: dict[str, str]
    key_patterns: list[tuple[re.Pattern[str], str, str]]  # pattern, key name or "", prefix to strip
    read_at: float
    key_names: dict[str, str]  # attribute → key name, "" for none: what the patterns said of names seen


_rules: dict[int, Rules] = {}
_ids: dict[tuple[type[models.Model], int, str], int] = {}


def rules_of(environment_id: int) -> Rules:
    """Return the rules, at most 3 s old."""
    known = _rules.get(environment_id)
    if known is None or time.monotonic() - known.read_at > RULES_FRESH_S:
        known = _rules[environment_id] = _read_rules(environment_id)
        for cached in [key for key in list(_ids) if key[0] is FlowRule]:  # a copy: other threads add to it
            _ids.pop(cached, None)
    return known


def _read_rules(environment_id: int) -> Rules:
    flows = [
        (re.compile(fnmatch.translate(r.pattern)), r.flow_id)
        for r in FlowRule.objects.filter(environment_id=environment_id)
    ]
    exact: dict[str, str] = {}
    patterns: list[tuple[re.Pattern[str], str, str]] = []
    for rule in KeyRule.objects.filter(environment_id=environment_id):
        if "*" in rule.attribute or "?" in rule.attribute:
            prefix = rule.attribute[:-1] if rule.attribute.endswith(".*") else ""
            patterns.append((re.compile(fnmatch.translate(rule.attribute)), rule.key_name, prefix))
        else:
            exact.setdefault(rule.attribute, rule.key_name or rule.attribute)
    return Rules(flows=flows, exact_keys=exact, key_patterns=patterns, read_at=time.monotonic(), key_names={})


def business_keys(rules: Rules, attributes: Mapping[str, Any]) -> dict[str, str]:
    """Return the business keys among these attributes, at most 32."""
    keys: dict[str, str] = {}
    names = rules.key_names
    for name, value in attributes.items():
        key_name = names.get(name)
        if key_name is None:
            key_name = _key_name(rules, name)
        if key_name and (text := clean.key_value(value)) is not None and len(keys) < clean.MOST_KEYS:
            keys[key_name] = text
    return keys


def _key_name(rules: Rules, attribute: str) -> str:
    found = rules.exact_keys.get(attribute, "")
    if not found:
        for pattern, given, prefix in rules.key_patterns:
            if pattern.match(attribute):
                found = given or attribute.removeprefix(prefix)
                break
    found = clean.text(found, 64)
    if len(rules.key_names) < 10_000 and len(attribute) <= clean.KEY_BYTES:
        rules.key_names[attribute] = found
    return found


def flow_id_for(environment_id: int, destination: str | None, system: str) -> int:
    """Return the flow of a destination: the first rule that matches, else one of the destination's own name."""
    if destination is None:
        return _id_of(Flow, environment_id, system)
    cached = _ids.get((FlowRule, environment_id, destination))
    if cached is None:
        rules = rules_of(environment_id)
        matched = next((flow_id for pattern, flow_id in rules.flows if pattern.match(destination)), None)
        cached = matched or _id_of(Flow, environment_id, destination)
        _remember((FlowRule, environment_id, destination), cached)
    return cached


def known_flow(environment_id: int, destination: str) -> int | None:
    """Return the flow that a destination belongs to, when there is one; makes none."""
    matched = next((flow_id for pattern, flow_id in rules_of(environment_id).flows if pattern.match(destination)), None)
    name = clean.text(destination, 200)
    return matched or Flow.objects.filter(environment_id=environment_id, name=name).values_list("pk", flat=True).first()


def system_id_for(environment_id: int, name: str) -> int:
    return _id_of(System, environment_id, name)


def _id_of(model: type[models.Model], environment_id: int, name: str) -> int:
    name = clean.text(name, 120 if model is System else 200)
    cached = _ids.get((model, environment_id, name))
    if cached is None:
        cached = _find_or_make(model, environment_id, name)
        _remember((model, environment_id, name), cached)
    return cached


def _remember(name: tuple[type[models.Model], int, str], pk: int) -> None:
    """Keep an id, unless it was perhaps made in a transaction that is still open: rolled back, it would be nobody's."""
    if len(_ids) < 50_000 and not connection.in_atomic_block:
        _ids[name] = pk


def _find_or_make(model: type[models.Model], environment_id: int, name: str) -> int:
    rows = model._default_manager.filter(environment_id=environment_id)
    found = rows.filter(name=name).values_list("pk", flat=True).first()
    if found is None:
        if rows.count() >= MOST_NAMES:
            name = TOO_MANY
        defaults: dict[str, Any] = {"found_by_itself": True} if model is Flow else {}
        found = model._default_manager.get_or_create(environment_id=environment_id, name=name, defaults=defaults)[0].pk
    return int(found)


def forget() -> None:
    """Drop everything cached; tests that roll rows back need it."""
    _rules.clear()
    _ids.clear()
