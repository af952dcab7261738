"""What a page asks to plan: the ticked rows, a failure group, one letter, or all that a list shows; said in the address, so that it can be shared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode
from uuid import UUID

from django.urls import reverse

from console.core.errors import Invalid
from console.core.paging import Page
from console.core.words import count_words
from console.identity.pages import PageRequest, asked_text
from messages.groups.access import get_visible_group
from messages.models import DeadLetter, Plan, PlanItem
from messages.plans.access import can_plan_in, get_visible_plan
from messages.plans.doing import COMPENSATE, REPLAY
from messages.plans.selection import Selection, joined
from messages.search.asking import MOST_ASKED, Asked, asked_of
from messages.search.queries import count_dead_letters
from messages.search.query import Node, Term

MOST_TICKED = 1_000
FILTERS = (("flow", "flow"), ("died_of", "reason"))  # (field, what the address calls it)
# The tabs of the list of dead letters: what each asks by itself.
STATES: dict[str, Node | None] = {"waiting": Term("status", "waiting"), "closed": Term("status", "closed"), "all": None}
KEPT = ("q", "flow", "reason", "state", "window")  # of the list's address


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """words: what was chosen, for the page. back: where it was chosen. narrowed: the filters and the window in words. does: of doing.DOES."""

    selection: Selection
    words: str
    back: str
    narrowed: Sequence[str] = ()
    does: str = REPLAY


def wanted_of(request: PageRequest) -> Wanted:
    """Return what the address asks to plan. Raises Invalid, BadQuery, BadWindow, NotFound."""
    kind = asked_text(request, "of", most=20)
    if kind == "undo":
        return replace(_ticked(request.GET.getlist("id")), does=COMPENSATE)
    does = COMPENSATE if asked_text(request, "does", most=20) == COMPENSATE else REPLAY
    return replace(_wanted(request, kind), does=does)


def _wanted(request: PageRequest, kind: str) -> Wanted:
    if kind == "left_out":
        return _left_out(get_visible_plan(request.actor, asked_text(request, "plan", most=20)), request)
    if kind == "ticked":
        return _ticked(request.GET.getlist("id"))
    if kind == "group":
        group = get_visible_group(request.actor, asked_text(request, "group", most=40))
        if group.environment_id != request.environment.pk:
            raise Invalid(f"{group.reference} is in {group.environment.name}: switch there first")
        return Wanted(
            selection=Selection(source=Plan.Source.GROUP, q=f"group:{group.reference} status:waiting", group=group),
            words=f"all that wait in {group.reference}, {group.heading[:120]}",
            back=reverse("group", args=[group.reference]),
        )
    if kind == "query":
        return _matching(request)
    raise Invalid("say what to plan: tick dead letters, or open a list or a failure group and choose there")


def _ticked(asked: Sequence[str]) -> Wanted:
    if not asked:
        raise Invalid("nothing is ticked: tick rows in the list of dead letters, then choose")
    if len(asked) > MOST_TICKED:
        raise Invalid(f"{len(asked)} are too many to tick: plan all that match a search instead")
    try:
        ids = sorted({UUID(one) for one in asked})
    except ValueError as error:
        raise Invalid("this is not the id of a dead letter: tick rows in the list and choose again") from error
    one = len(ids) == 1
    return Wanted(
        selection=Selection(source=Plan.Source.TICKED, ids=ids),
        words="one dead letter" if one else f"the {len(ids)} that were ticked",
        back=reverse("dead-letter", args=[ids[0]]) if one else reverse("dead-letters"),
    )


def _left_out(plan: Plan, request: PageRequest) -> Wanted:
    if plan.environment_id != request.environment.pk:
        raise Invalid(f"{plan.reference} is in {plan.environment.name}: switch there first")
    letters = PlanItem.objects.filter(plan=plan).exclude(left_out="").values_list("dead_letter_id", flat=True)
    return Wanted(
        selection=Selection(source=Plan.Source.LIST, listed=joined(letters.iterator())),
        words=f"those that {plan.reference} left out",
        back=reverse("plan", args=[plan.reference]),
    )


def state_asked(request: PageRequest) -> str:
    """Return which of STATES the list of dead letters is asked for; raises Invalid."""
    state = asked_text(request, "state", most=20) or "waiting"
    if state not in STATES:
        raise Invalid(f"state is one of {', '.join(STATES)}, not “{state}”")
    return state


def _matching(request: PageRequest) -> Wanted:
    tab = state_asked(request)
    asked = asked_of(request, FILTERS, "dead-letters", always=STATES[tab])
    narrowed = [f"{name} {value}" for _, name in FILTERS if (value := asked_text(request, name, most=300))]
    narrowed += [f"failed in the last {asked.window_text}"] if asked.window_text else []
    narrowed += ["those that wait"] if tab not in ("closed", "all") else [f"{tab} states" if tab == "all" else tab]
    selection = Selection(
        source=Plan.Source.QUERY, q=" · ".join([*([asked.q] if asked.q else []), *narrowed]), query=asked.query, window=asked.window
    )  # fmt: skip
    kept = {name: asked_text(request, name, most=MOST_ASKED) for name in KEPT if request.GET.get(name)}
    back = f"{reverse('dead-letters')}?{urlencode(kept)}" if kept else reverse("dead-letters")
    return Wanted(selection=selection, words=asked.q, back=back, narrowed=narrowed)


def plan_all(request: PageRequest, asked: Asked | None, tab: str, found: Page[DeadLetter]) -> dict[str, str]:
    """Return the button "Plan a replay of all 12,431 that match" of the list of dead letters; empty where there is none."""
    if asked is None or tab == "closed" or not found.rows or not can_plan_in(request.actor, request.environment):
        return {}
    count = _count(request, asked, found)
    if not count:
        return {}
    kept = {name: value for name in KEPT if (value := asked_text(request, name, most=MOST_ASKED))}
    what = "match" if asked.filtered or tab == "all" else "wait"
    words = f"{count_words(count)} {what}" if count != 1 else f"1 {what}{'es' if what == 'match' else 's'}"
    all_of_them = f"all {count_words(count)} that {what}" if count != 1 else f"the one that {words[2:]}"
    return {
        "plan_all_url": f"{reverse('plan-new')}?{urlencode({'of': 'query', **kept})}",
        "plan_all_label": f"Plan a replay of {all_of_them}",
        "plan_all_words": words,
    }


def _count(request: PageRequest, asked: Asked, found: Page[DeadLetter]) -> int:
    """Return how many the list has in all, at most 10,001; 0 where only another back end could tell."""
    if found.next is None and not request.GET.get("cursor"):
        return len(found.rows)
    return count_dead_letters(request.actor, environments=[request.environment], query=asked.query, window=asked.window)


def group_address(reference: str) -> str:
    return f"{reverse('plan-new')}?{urlencode({'of': 'group', 'group': reference})}"


def undo_group_address(reference: str) -> str:
    return f"{group_address(reference)}&does={COMPENSATE}"


def left_out_address(reference: str) -> str:
    return f"{reverse('plan-new')}?{urlencode({'of': 'left_out', 'plan': reference, 'does': COMPENSATE})}"


def letter_address(pk: UUID) -> str:
    return f"{reverse('plan-new')}?{urlencode({'of': 'ticked', 'id': str(pk)})}"


def query_address(q: str) -> str:
    return f"{reverse('plan-new')}?{urlencode({'of': 'query', 'q': q})}"
