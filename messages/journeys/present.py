"""A journey as its pages show it: the waterfall's bars, the log of what happened, why it stopped. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any

from django.urls import reverse

from console.core.charts import Bar, Waterfall, waterfall
from console.core.words import duration_words
from messages.changes.present import bars_of, entries_of
from messages.journeys.clocks import NONE, Correction
from messages.journeys.evidence import LIKELY, OF_KIND, WEAK, Evidence
from messages.journeys.fold import Fold, opened_at
from messages.journeys.seen import ERROR_SHOWN, OPERATION_WORDS
from messages.journeys.stations import Station
from messages.journeys.stitch import Journey, Step
from messages.models import DeadLetter, Replay
from messages.replay.states import FINAL

MILLISECOND = timedelta(milliseconds=1)
MOST_BARS, MOST_ENTRIES = 300, 120
ALONE = 3  # events of a fold that a folded journey still draws one by one
FAILED_SHOWN = 20
LOOKS = {"ok": "ok", "error": "bad", "unset": "unset"}
DID = {
    0: "reported",
    1: "created it for",
    2: "sent it to",
    3: "received it from",
    4: "processed it from",
    5: "settled it at",
}
FAILED_TO = {
    0: "failed:",
    1: "failed to create it for",
    2: "failed to send it to",
    3: "failed to receive it from",
    4: "failed to process it from",
    5: "failed to settle it at",
}
WORD_NUMBERS = {word: number for number, word in OPERATION_WORDS.items()}
DONE_TO_LETTER = {
    "dead_letter.discarded": "discarded it",
    "dead_letter.restored": "restored it",
    "dead_letter.gone": "saw that it left the queue: somebody took it there",
    "dead_letter.returned": "saw it in the queue again",
    "replay.sent_again": "sent it again with the same replay id",
    "replay.marked_processed": "marked it as processed, without proof",
}


def fall_of(journey: Journey, *, letter: DeadLetter | None = None, opens: str = "?open=") -> Waterfall:
    """Return the waterfall: waits hatched, work in the colour of its outcome, dead letters where they were reported.

    opens  the address that opens a fold, without its ref.
    """
    few = (fold for fold in journey.folds if fold.count <= ALONE)
    alone = {one.seen.id: f"{opens}{opened_at(fold, one.seen)}" for fold in few for one in fold.events}
    listed = {step.event.id for step in steps_shown(journey)}
    bars: list[Bar] = []
    for step in journey.steps[:MOST_BARS]:
        if not journey.folds or step.event.id in alone or step.event.message_uid in journey.own:
            bars += _bars_of_step(step, "" if step.event.id in listed else alone[step.event.id])
    bars += [_bar_of_fold(fold, opens) for fold in journey.folds[:MOST_BARS] if fold.count > ALONE]
    for dead, why in journey.letters:
        if journey.started_at is not None:
            offset = int((dead.failed_at - journey.started_at).total_seconds() * 1_000_000)
            url = "" if letter is not None and dead.pk == letter.pk else reverse("dead-letter", args=[dead.pk])
            tie = f"{why.tie}, weak" if why else ""
            label = f"dead letter {dead.queue}"
            bars.append(Bar(label=label, offset_us=offset, duration_us=0, look="bad", tie=tie, url=url))
    # Without traces a replay's own send is the first event, long after the death: then the death is where time begins. A second
    # may be the rounding of a broker that keeps no finer times.
    first = min((bar.offset_us for bar in bars), default=0)
    begins = first if first < -1_000_000 else 0
    bars = [replace(bar, offset_us=max(0, bar.offset_us - begins)) for bar in bars]
    if journey.started_at is not None:
        bars = bars_of(journey.changes, journey.started_at + timedelta(microseconds=begins)) + bars
    bars.sort(key=lambda bar: bar.offset_us)
    return waterfall(bars)


def _bars_of_step(step: Step, opens: str) -> Iterator[Bar]:
    destination = step.event.destination or ""
    if step.queue_us is not None and step.attempt < 2:  # a retry did not wait since the first sending
        offset_us = step.offset_us - step.queue_us
        yield Bar(label=f"queue {destination}", offset_us=offset_us, duration_us=step.queue_us, look="queue")
    note = f"its clock said {step.event.clamped_from:%Y-%m-%d %H:%M:%S}" if step.clamped else moved_words(step)
    attempt = f"· attempt {step.attempt}" if step.attempt else ""
    label = step.label.removesuffix(attempt).strip()
    yield Bar(
        label=f"{label} {destination}".strip() if step.event.operation == 2 else label,
        end=attempt,
        offset_us=step.offset_us,
        duration_us=step.duration_us,
        look=LOOKS[step.outcome],
        tie=f"{step.tie}, weak" if step.evidence.strength == WEAK else step.tie,
        url=f"{opens}#event-{step.event.id}",
        note=note,
    )


def _bar_of_fold(fold: Fold, opens: str) -> Bar:
    failed = "failed " if fold.outcome == "error" else ""
    return Bar(
        label=f"{failed}{fold.label}",
        end=f"× {fold.count:,}",
        offset_us=fold.start_us,
        duration_us=fold.end_us - fold.start_us,
        look=LOOKS[fold.outcome],
        tie=", ".join(fold.ties[:2]),
        url=f"{opens}{fold.ref}#fold",
        note="from the first of them to the end of the last",
    )


def steps_shown(journey: Journey) -> list[Step]:
    """Return the steps that a page lists one by one: all, or of a folded journey those of its own messages and some that failed."""
    if not journey.folds:
        return journey.steps
    own = [step for step in journey.steps if step.event.message_uid in journey.own]
    failed = [step for step in journey.steps if step.outcome == "error" and step.event.message_uid not in journey.own]
    return own + failed[:FAILED_SHOWN]


def route_of(journey: Journey) -> list[Station]:
    """Return the stations with the time to the next one, as the route draws it, and those that were not reached.

    A journey keeps the time from the one before.
    """
    stations = journey.stations
    missed = [Station(system=name, state="unreached", note="not reached", hop_us=None) for name in journey.unreached]
    reached = [
        replace(one, hop_us=following.hop_us if following else None)
        for one, following in zip_longest(stations, stations[1:])
    ]
    return reached + missed


def errors_of(journey: Journey) -> list[tuple[Step, int]]:
    """Return the different errors among the steps, each as its last one and how often it came in all, in order of their last time."""
    last: dict[tuple[str, str, str], Step] = {}
    for step in journey.steps:
        if step.outcome == "error":
            key = (step.system, step.event.error_type or "", (step.event.error_message or "")[:ERROR_SHOWN])
            last.pop(key, None)
            last[key] = step
    return [(step, journey.times[step.event.id]) for step in last.values()]


def moved_words(step: Step) -> str:
    return words_of(step.correction) if step.correction else ""


def words_of(correction: Correction) -> str:
    """Return "moved back 2.4 s: its clock is ahead of ours"."""
    way = "back" if correction.shift < NONE else "on"
    return f"moved {way} {duration_words(abs(correction.shift) / MILLISECOND)}: {correction.why}"


HOW_FAR = {LIKELY: " (likely)", WEAK: " (weak)"}


def ties_of(journey: Journey) -> str:
    """Return the evidence in words: "tied by trace, then order_no=4711 (weak)"."""
    said = [f"{tie}{HOW_FAR.get(OF_KIND.get(tie, WEAK), '')}" for tie in journey.ties]
    return "tied by " + ", then ".join(said) if said else ""


def log_of(journey: Journey, history: Iterable[Any] = (), *, letter: DeadLetter | None = None) -> list[dict[str, Any]]:
    """Return what happened in order of time, as parts/log.html takes it.

    history  audit entries of the journey's dead letters; replays tell of themselves, so only what they do not tell is used.
    """
    entries = [_of_step(step) for step in steps_shown(journey)[:MOST_ENTRIES] if step.system != "waybill"]
    if journey.started_at is not None:
        entries += [
            _of_fold(fold, journey.started_at)
            for fold in journey.folds[:MOST_ENTRIES]
            if fold.system != "waybill" and fold.count > 1
        ]
    known = {step.event.id for step in journey.steps}
    for dead, why in journey.letters:
        entries.append(_of_letter(dead, letter, why))
    for replay in journey.replays:
        entries += _of_replay(replay, known, journey.dead_letters, letter)
    for entry in history:
        if entry.action in DONE_TO_LETTER:
            look = "good" if entry.action == "replay.marked_processed" else "move"
            entries.append(
                {
                    "at": entry.at,
                    "look": look,
                    "strong": entry.actor,
                    "text": DONE_TO_LETTER[entry.action],
                    "quote": entry.reason,
                }
            )
    return sorted(entries + entries_of(journey.changes), key=lambda entry: entry["at"])


def _of_step(step: Step) -> dict[str, Any]:
    event = step.event
    where = event.destination or event.name
    link = {"url": f"#event-{event.id}", "link": "details"}
    if step.outcome == "error":
        attempt = f" at attempt {step.attempt}" if step.attempt else ""
        error = event.error_type or event.error_message or "no error was reported"
        return {
            "at": step.at,
            "look": "bad",
            "strong": step.system,
            "text": f"failed{attempt}: {error}",
            **link,
        }
    look = "good" if event.operation in (4, 5) else ""
    return {"at": step.at, "look": look, "strong": step.system, "text": f"{DID[event.operation]} {where}"}


def _of_fold(fold: Fold, began: datetime) -> dict[str, Any]:
    failed = fold.outcome == "error"
    did = (FAILED_TO if failed else DID)[WORD_NUMBERS[fold.operation]]
    return {
        "at": began + timedelta(microseconds=fold.start_us),
        "look": "bad" if failed else "",
        "strong": fold.system,
        "text": f"{did} {fold.destination}, {fold.count:,} times from here on",
    }


def _of_letter(dead: DeadLetter, letter: DeadLetter | None, why: Evidence | None) -> dict[str, Any]:
    by = f" by {dead.agent.name}" if dead.agent_id and dead.agent else ""
    tie = f", tied by {why.tie} (weak)" if why else ""
    entry = {"at": dead.received_at, "look": "bad", "text": f"harvested from {dead.queue}{by}{tie}"}
    if letter is None or dead.pk != letter.pk:
        entry |= {"url": reverse("dead-letter", args=[dead.pk]), "link": "open the dead letter"}
    return entry


def _of_replay(
    replay: Replay, known: set[Any], letters: Sequence[DeadLetter], letter: DeadLetter | None
) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = [
        {
            "at": replay.created_at,
            "look": "move",
            "strong": replay.requested_by,
            "text": f"replayed it to {replay.destination}.",
            "quote": replay.reason,
        }
    ]
    if replay.confirmed_at:
        entries.append({"at": replay.confirmed_at, "look": "move", "text": "the broker confirmed that it has it"})
    if replay.state == Replay.State.PROCESSED and replay.proof_event_at:
        proof = {"url": proof_url(replay, known), "link": "see the event"}
        entries.append(
            {
                "at": max(replay.proof_event_at, replay.confirmed_at or replay.created_at),
                "look": "good",
                "strong": "processed:",
                "text": f"the receiver reported success, tied by {replay.proof_tie},",
                **proof,
            }
        )
    elif replay.state == Replay.State.FAILED_AGAIN:
        later = next(
            (
                one
                for one in letters
                if one.previous_id == replay.dead_letter_id and (letter is None or one.pk != letter.pk)
            ),
            None,
        )
        link = {"url": reverse("dead-letter", args=[later.pk]), "link": "open the later letter"} if later else {}
        entries.append(
            {"at": replay.finished_at or replay.created_at, "look": "bad", "strong": "failed again", "text": "", **link}
        )
    elif replay.state == Replay.State.REFUSED:
        entries.append(
            {"at": replay.finished_at or replay.created_at, "look": "bad", "strong": "refused:", "text": replay.detail}
        )
    elif replay.state == Replay.State.UNKNOWN and not replay.finished_at:
        entries.append(
            {"at": replay.sent_at or replay.created_at, "look": "warn", "strong": "unknown:", "text": replay.detail}
        )
    return entries


def proof_url(replay: Replay, known: set[Any]) -> str:
    """Return where the proving event is shown: on this page when the journey has it, else in the replay's own journey."""
    anchor = f"#event-{replay.proof_event_id}"
    return anchor if replay.proof_event_id in known else reverse("j", args=[replay.trace_id.hex]) + anchor


def in_flight(replay: Replay | None) -> bool:
    """Whether the page should look again by itself: the replay has no end yet and no person closed it."""
    return replay is not None and replay.state not in FINAL | {"unknown"} and replay.finished_at is None
