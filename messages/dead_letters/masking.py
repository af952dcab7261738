"""Masking of dead letters, before their rows are made and their bodies sealed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from uuid import UUID

from messages.dead_letters.items import NewDeadLetter
from messages.ingest.bodies import Keys
from messages.ingest.catalog import business_keys, flow_id_for, rules_of
from messages.ingest.masking import as_json, keys_after_masking
from messages.masking.bodies import mask_content
from messages.masking.rules import Budget, Work

TEXTS = ("reason", "error_type", "error_root_type", "error_message", "error_stack")


def mask_letters(environment_id: int, letters: Sequence[NewDeadLetter]) -> dict[UUID, Work]:
    """Mask letters in place by the rules of their flows; return what was done to each that has any."""
    rules = rules_of(environment_id)
    if not rules.masking:
        return {}
    works, budget = {}, Budget()
    for letter in letters:
        destination = letter.texts["origin"] or letter.texts["queue"]
        flow_id = flow_id_for(environment_id, destination, letter.item.system or "unknown")
        compiled = rules.masking.of_flow(flow_id)
        if compiled is not None:
            works[letter.id] = Work(compiled, budget)
            mask_letter(letter, works[letter.id], partial(business_keys, rules))
    return works


def mask_letter(letter: NewDeadLetter, work: Work, keys: Keys) -> None:
    """Mask one letter in place: body, headers, properties, error, reason, and its business keys found again in what is left."""
    item = letter.item
    if letter.content is not None:
        letter.content, letter.content_masked = mask_content(
            work, letter.content, letter.texts["content_type"], item.content_encoding
        )
        work.in_payload = work.counts.copy()
    if work.rules.patterns:
        for name in TEXTS:
            letter.texts[name] = work.text(letter.texts[name]) or ""
    if work.counts or work.rules.for_texts:
        sent = [{"name": header.name, "type": header.type, "value": header.value} for header in item.headers]
        headers = {one["name"]: one["value"] for one in Work(work.rules, work.budget).headers(sent)}
        body = letter.content.body if letter.content else None
        letter.keys = keys_after_masking(work, keys, body, (headers,), item.keys)
    letter.masked = as_json(work.counts)
