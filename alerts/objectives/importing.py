"""OpenSLO in and out: each SLO of a file is made or refused on its own, with its cautions; and the objectives that an actor sees as a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from alerts.models import Objective
from alerts.objectives import openslo
from alerts.objectives.access import check_can_change_objective, visible_objectives
from alerts.objectives.openslo import BadOpenSlo, Taken
from alerts.objectives.services import add_objective, name_taken
from alerts.objectives.wishes import NewObjective, checked
from console.core.errors import ConsoleError, Invalid
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.queries import Flow, get_visible_flow_named

MOST_EXPORTED = 5_000  # as many as an environment has
COLUMNS = (
    "name", "description", "kind", "target", "limit_ms", "limit_minutes", "recover_minutes", "at_least", "method", "slice_minutes", "slice_target",
    "empty_is_good", "unit", "days", "time_zone", "work_days", "from_minute", "until_minute", "holidays", "pairs", "guarded", "sustained", "exhausted",
)  # fmt: skip


class OpenSloInvalid(Invalid):
    """A text that is no OpenSLO v1; the sentence says what is wrong and where."""

    code = "openslo_invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What became of one SLO. made: the objective, None when it was refused, or only looked at."""

    name: str
    flow: str
    warnings: Sequence[str] = ()
    refusal: str = ""
    made: Objective | None = None
    wish: dict[str, Any] = field(default_factory=dict)


def import_openslo(text: str, *, environment: Environment, by: Actor, only_look: bool = False) -> list[Imported]:
    """Make an objective of each SLO of a text that can be one, in an environment; what cannot is said and keeps no other from it.

    only_look  nothing is made: what would become of each.   Raises OpenSloInvalid when the text has no SLO at all.
    """
    try:
        taken = openslo.read(text)
    except BadOpenSlo as error:
        raise OpenSloInvalid(str(error)) from error
    names = (
        set(Objective.objects.filter(environment=environment).values_list("name", flat=True)) if only_look else set()
    )
    return [_import(one, environment, by, names if only_look else None) for one in taken]


def _import(one: Taken, environment: Environment, by: Actor, names: set[str] | None) -> Imported:
    """names: of a look, those that are taken; one that could be made takes its own."""
    about: dict[str, Any] = {"name": one.name, "flow": one.flow, "warnings": one.warnings}
    if one.refusal:
        return Imported(**about, refusal=one.refusal)
    try:
        flow = get_visible_flow_named(by, environment, one.flow)
        said = NewObjective(**one.wish)
        if names is not None:
            _look_at(said, flow, names, by)
            return Imported(**about, wish=one.wish)
        return Imported(**about, made=add_objective(said, flow=flow, by=by))
    except ConsoleError as refusal:
        return Imported(**about, refusal=str(refusal))


def _look_at(said: NewObjective, flow: Flow, names: set[str], by: Actor) -> None:
    """Raise what would keep this promise from being made."""
    columns = checked(said, searched=False)
    check_can_change_objective(by, Objective(environment=flow.environment, flow=flow, name=columns["name"]))
    if columns["name"] in names:
        raise name_taken(flow.environment, columns["name"])
    names.add(columns["name"])


def export_openslo(actor: Actor, environments: Sequence[Environment]) -> str:
    """Return the objectives on flows that an actor may see as OpenSLO v1; one on a saved search has no name elsewhere and is left out. Raises Invalid."""
    seen = visible_objectives(actor).filter(environment__in=environments, flow__isnull=False)
    rows = list(seen.order_by("pk")[: MOST_EXPORTED + 1])
    if len(rows) > MOST_EXPORTED:
        raise Invalid(f"more than {MOST_EXPORTED:,} objectives are not written into one text: name an environment")
    return openslo.write(_columns(rows))


def _columns(rows: Iterable[Objective]) -> Iterable[dict[str, Any]]:
    for one in rows:
        team = one.flow.team if one.flow else None
        yield {name: getattr(one, name) for name in COLUMNS} | {
            "id": one.pk,
            "flow": one.flow.name if one.flow else "",
            "team": team.name if team else "",
            "environment": one.environment.slug,
        }
