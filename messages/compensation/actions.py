"""What a step sends, as people may read it: to those who may read payloads, audited as reading one is, and with what the rules mask masked.

A masking rule that came after a body was stored masks what is shown of it (messages/payloads/readable.py). Here the values of that body
stand elsewhere: an input whose path a rule may cover is shown as the mark, wherever it was filled in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from console.identity.actor import Actor
from messages.access import readable_flows
from messages.compensation.access import can_read_actions
from messages.compensation.book import Undo
from messages.compensation.books import read_book
from messages.compensation.fill import Action, CannotFill, filled
from messages.compensation.proposing import Proposed
from messages.compensation.sealed import opened_action
from messages.ingest.catalog import rules_of
from messages.masking.bodies import mask_body
from messages.masking.paths import Path, parse_json_path, parse_xpath
from messages.masking.rules import MARK, Budget, Compiled, Work
from messages.models import Compensation, CompensationStep, Flow
from messages.payloads.queries import audit_read
from messages.payloads.render import RenderedBody, render_body
from messages.payloads.seal import PayloadUnreadable


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownAction:
    """What a step sends or asks. masked: values are hidden that it sends; refusal: why nothing of it can be shown."""

    title: str = ""
    connection: str = ""
    destination: str = ""
    headers: Sequence[tuple[str, str]] = ()
    content_type: str = ""
    text: str = ""
    body: RenderedBody | None = None
    instructions: str = ""
    masked: bool = False
    refusal: str = ""


def shown_actions(actor: Actor, run: Compensation, steps: Sequence[CompensationStep]) -> dict[int, ShownAction]:
    """Return {ordinal: what the step sends}, empty for those who may not read payloads. The first read within an hour is audited."""
    if not can_read_actions(actor, run.flow):
        return {}
    sealed = [step for step in steps if step.action]
    if not sealed:
        return {}
    undos = {step.name: step.undo for step in read_book(run.book).steps}
    readable = _Readable(actor)
    found = {step.ordinal: _opened(run, step, undos.get(step.name), readable) for step in sealed}
    audit_read(actor, run.flow, run, run.pk)
    return found


def proposed_actions(actor: Actor, flow: Flow, owner: object, pk: object, found: Sequence[Proposed]) -> list[ShownAction | None]:  # fmt: skip
    """Return what each part of a proposal that is not stored would send, in its order; None for each that the actor may not read, or that sends nothing."""
    if not can_read_actions(actor, flow) or not any(one.action for one in found):
        return [None] * len(found)
    audit_read(actor, flow, owner, pk)
    rules = _rules(flow.environment_id)
    readable = _Readable(actor)
    return [_shown(one.action, one.completed.step.undo, rules, readable) if one.action else None for one in found]


class _Readable:
    """The flows whose payloads somebody may read; asked for once, and only when something comes from a flow."""

    def __init__(self, actor: Actor) -> None:
        self.actor = actor

    @cached_property
    def flows(self) -> set[int]:
        return set(readable_flows(self.actor).values_list("pk", flat=True))

    def holds(self, action: Action) -> bool:
        return not action.flows or self.flows.issuperset(action.flows)


def _opened(run: Compensation, step: CompensationStep, undo: Undo | None, readable: _Readable) -> ShownAction:
    try:
        action = opened_action(step, run.environment_id)
    except PayloadUnreadable as error:
        return ShownAction(refusal=str(error))
    return _shown(action, undo, _rules(run.environment_id), readable)


def _rules(environment_id: int) -> Compiled | None:
    """Return every masking rule of the environment: the inputs may come from bodies of any of its flows."""
    return rules_of(environment_id).masking.of_unknown_flow()


def _shown(action: Action, undo: Undo | None, rules: Compiled | None, readable: _Readable) -> ShownAction:
    if not readable.holds(action):
        return ShownAction(refusal="some of its values come from a flow whose payloads you may not read")
    if rules is None:
        return _as_shown(action)
    hidden = hidden_inputs(undo, rules) & action.values.keys() if undo else set()
    if hidden and undo:
        try:
            action = filled(undo, {**action.values, **dict.fromkeys(hidden, MARK)})
        except CannotFill as error:
            return ShownAction(refusal=str(error))
    work = Work(rules, Budget())
    title, destination = work.text(action.title) or "", work.text(action.destination) or ""
    headers = tuple((str(one["name"]), str(one["value"])) for one in work.headers(_headers(action)))
    body = mask_body(work, action.body, action.content_type).body
    instructions = work.text(action.instructions) or ""
    if work.dropped:
        return ShownAction(refusal="a masking rule cannot be applied to what it sends")
    plain = replace(action, title=title, destination=destination, headers=headers, body=body, instructions=instructions)
    return replace(_as_shown(plain), masked=bool(hidden or work.counts))


def _headers(action: Action) -> list[dict[str, str]]:
    return [{"name": name, "type": "string", "value": value} for name, value in action.headers]


def _as_shown(action: Action) -> ShownAction:
    return ShownAction(
        title=action.title,
        connection=action.connection,
        destination=action.destination,
        headers=action.headers,
        content_type=action.content_type,
        text=action.body.decode("utf-8", "replace"),
        body=render_body(action.body, action.content_type) if action.body else None,
        instructions=action.instructions,
    )


def hidden_inputs(undo: Undo, rules: Compiled) -> set[str]:
    """Return the inputs that come from a place in a body that a rule may mask. Pure."""
    json_paths = [path for _, path in rules.json_paths]
    xpaths = [path for _, path in rules.xpaths]
    hidden = set()
    for name, one in undo.inputs.items():
        if one.json and any(covers(rule, parse_json_path(one.json)) for rule in json_paths):
            hidden.add(name)
        if one.xml and any(covers(rule, parse_xpath(one.xml)) for rule in xpaths):
            hidden.add(name)
    return hidden


def covers(rule: Path, path: Path) -> bool:
    """Whether what a rule's path leads to may be, or hold, what this path leads to. Conditions are taken as fulfilled: rather too much."""
    if not rule or (rule[0].kind == "text" and not path):
        return True
    if not path:
        return False
    first, here = rule[0], path[0]
    fits = first.name is None or here.name is None or first.name == here.name
    fits = fits and (first.index is None or here.index is None or first.index == here.index)
    return (
        (fits and covers(rule[1:], path[1:]))
        or (first.deep and covers(rule, path[1:]))
        or (here.deep and covers(rule[1:], path))
    )
