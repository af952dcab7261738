"""What holds a breach back from being told: a worse breach of the same thing, a silent agent, a silence. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

AGENT = "agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An open breach that has fired. scope: of a silent agent, the flows of which it reports; else empty."""

    pk: int
    source: str
    key: str
    severity: str
    flow_ids: frozenset[int] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)
    scope: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Matcher:
    """What a silence fits; None and empty is everything. flow_id: breaches of this flow alone. labels: all of these, exactly."""

    flow_id: int | None = None
    source: str = ""
    key: str = ""
    severity: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


def stem_of(key: str) -> str:
    """Return what a key names without its variant: "5:fast" and "5:slow" are both of "5"."""
    return key.partition(":")[0]


def holders(standing: Sequence[Standing]) -> dict[int, int]:
    """Return {breach: the breach that holds it back}, of one environment.

    A page holds back the tickets of the same source and stem of key; a silent agent the breaches all of whose flows it reports.
    """
    ordered = sorted(standing, key=lambda one: one.pk)
    pages = {(one.source, stem_of(one.key)): one.pk for one in reversed(ordered) if one.severity == "page"}
    agents = [one for one in ordered if one.source == AGENT and one.scope]
    found: dict[int, int] = {}
    for one in ordered:
        if one.source != AGENT and one.flow_ids:
            holder = next((agent.pk for agent in agents if one.flow_ids <= agent.scope), None)
            if holder is not None:
                found[one.pk] = holder
                continue
        page = pages.get((one.source, stem_of(one.key)))
        if one.severity == "ticket" and page is not None:
            found[one.pk] = page
    return found


def fits(silence: Matcher, breach: Standing) -> bool:
    """Whether a silence fits a breach of its environment."""
    return (
        (silence.flow_id is None or breach.flow_ids == {silence.flow_id})
        and silence.source in ("", breach.source)
        and silence.key in ("", breach.key)
        and silence.severity in ("", breach.severity)
        and all(breach.labels.get(name) == value for name, value in silence.labels.items())
    )


def silenced(standing: Collection[Standing], silences: Mapping[int, Matcher]) -> dict[int, int]:
    """Return {breach: the silence that holds it back}; silences are tried in their order."""
    found = {}
    for one in standing:
        pk = next((pk for pk, matcher in silences.items() if fits(matcher, one)), None)
        if pk is not None:
            found[one.pk] = pk
    return found
