"""What the page of a folded journey counts is all of it: messages and not spans, attempts and errors and not those that are shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from messages.journeys.queries import journey_of_message, journey_of_trace, steps_of_fold
from messages.models import Message
from tests.factories import ROOT, agent_key, environment, event, push
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
AT = datetime.now(UTC) - timedelta(minutes=20)
DOWN = {"outcome": "error", "error": {"type": "SqlError", "message": "db down"}}


def at(seconds: float, **fields: Any) -> dict[str, Any]:
    return event(occurred_at=(AT + timedelta(seconds=seconds)).isoformat(), **fields)


def told(*events: dict[str, Any]) -> None:
    assert push("/ingest/v1/events", list(events), key=agent_key()).json()["accepted"] == len(events)


def inner(seconds: float, system: str, **fields: Any) -> dict[str, Any]:
    """A span inside of a processing: about no message."""
    return at(seconds, system=system, operation="other", name="INSERT", destination="", message_id="", trace_id=TRACE, **fields)  # fmt: skip


def stations(of: Message | None = None) -> list[tuple[str, str, str]]:
    journey = journey_of_message(ROOT, of) if of else journey_of_trace(ROOT, [environment()], UUID(TRACE))
    return [(one.system, one.state, one.note) for one in journey.stations]


@pytest.mark.parametrize("count", [150, 230])
def test_spans_inside_of_a_processing_are_no_messages_however_many_they_are(count: int):
    order = {"message_id": "the order of 4711", "trace_id": TRACE}
    spans = [inner(1 + n / 100, "erp", **(DOWN if n == 5 else {})) for n in range(count)]
    told(at(0, **order), at(1, system="erp", operation="process", **order), *spans)

    assert stations() == [("shop", "passed", "sent"), ("erp", "passed", "processed")]


def test_messages_that_each_made_a_call_are_counted_once_and_as_the_hops_of_the_page_do():
    messages = [{"message_id": f"the stock of article {n}", "trace_id": TRACE} for n in range(120)]
    told(inner(0, "shop"), *(at(n / 1000, **one) for n, one in enumerate(messages)))
    told(*(at(2 + n / 1000, system="webshop", operation="process", **one) for n, one in enumerate(messages)))
    told(*(inner(2 + n / 1000, "webshop", **(DOWN if n % 10 == 5 else {})) for n in range(120)))

    assert stations() == [("shop", "passed", "sent 120"), ("webshop", "passed", "processed 120")]
    (hop,) = journey_of_trace(ROOT, [environment()], UUID(TRACE)).hops
    assert (hop.messages, hop.failed) == (120, 0)


def test_a_message_that_a_receiver_could_not_even_take_failed_there_among_hundreds_that_it_processed():
    messages = [{"message_id": f"the stock of article {n}", "trace_id": TRACE} for n in range(110)]
    told(*(at(n / 1000, **one) for n, one in enumerate(messages)))
    told(at(2, system="erp", operation="receive", **messages[0], **DOWN))
    told(*(at(2 + n / 1000, system="erp", operation="process", **one) for n, one in enumerate(messages[1:])))

    assert stations() == [("shop", "passed", "sent 110"), ("erp", "failed", "1 of 110 failed")]


def test_what_a_system_failed_to_send_failed_there_though_it_processed_what_it_was_sent():
    lines = [{"message_id": f"the line {n} of the order", "trace_id": TRACE} for n in range(220)]
    told(at(0, system="erp", operation="process", message_id="the order of many lines", trace_id=TRACE))
    told(*(at(1 + n / 1000, system="erp", **one, **(DOWN if n < 20 else {})) for n, one in enumerate(lines)))

    assert stations() == [("erp", "failed", "20 of 21 failed")]


def test_batches_count_the_messages_that_were_in_them():
    spans = [f"{n:016x}" for n in range(1, 221)]
    sent = [
        at(n / 1000, message_id=f"the stock of article {n}", trace_id=TRACE, span_id=span)
        for n, span in enumerate(spans)
    ]

    def batch(seconds: int, these: list[str], **fields: Any) -> dict[str, Any]:
        links = [{"trace_id": TRACE, "span_id": span} for span in these]
        return at(
            seconds, system="erp", operation="process", destination="", message_id="", trace_id=f"{seconds:032x}",
            span_id=f"{seconds:016x}", links=links, **fields,
        )  # fmt: skip

    told(*sent, batch(10, spans[:100], **DOWN), batch(20, spans[100:]), batch(30, spans[:90]))

    assert stations() == [("shop", "passed", "sent 220"), ("erp", "failed", "10 of 220 failed")]


@pytest.mark.parametrize("count", [150, 310])
def test_attempts_are_counted_however_many_they_are(count: int):
    order = {"message_id": "requeued all night"}
    tries = [at(1 + n, system=f"erp {n % 2}", operation="process", **order, **DOWN) for n in range(count)]
    told(at(0, **order), *tries)

    half = count // 2
    assert stations(Message.objects.get()) == [
        ("shop", "passed", "sent"), ("erp 0", "failed", f"failed, {half} attempts"), ("erp 1", "failed", f"failed, {half} attempts"),
    ]  # fmt: skip
    assert f"{half} attempts" in text_of(signed_in(superuser=True).get(f"/messages/{Message.objects.get().id}/"))


def requeued(count: int) -> Message:
    order = {"message_id": "requeued all night"}
    told(at(0, **order), *(at(1 + n, system="erp", operation="process", **order, **DOWN) for n in range(count)))
    return Message.objects.get()


def test_steps_that_are_shown_of_hundreds_of_attempts_have_the_numbers_that_they_had():
    journey = journey_of_message(ROOT, requeued(250))

    assert {(step.attempt, step.offset_us) for step in journey.steps if step.attempt} <= {
        (n, n * 1_000_000) for n in range(1, 251)
    }
    assert journey.steps[-1].label == "erp process · attempt 250"
    (fold,) = [one for one in journey.folds if one.outcome == "error"]
    first, after = steps_of_fold(ROOT, journey, fold.ref, after=None, limit=50)
    second, _ = steps_of_fold(ROOT, journey, fold.ref, after=after, limit=50)
    assert [step.label for step in (first[0], second[10])] == ["erp process · attempt 1", "erp process · attempt 61"]


def test_the_page_says_how_often_an_error_came_in_all_and_not_in_what_is_shown():
    page = text_of(signed_in(superuser=True).get(f"/messages/{requeued(250).id}/"))

    assert "250 times in all" in page
    assert "failed at attempt 100" in page


def test_errors_of_other_messages_are_counted_whole_and_the_different_ones_too():
    messages = [{"message_id": f"the price of article {n}", "trace_id": TRACE} for n in range(150)]
    odd = {"outcome": "error", "error": {"type": "PriceError"}}
    told(*(at(n / 1000, **one) for n, one in enumerate(messages)))
    told(*(at(4 + n / 1000, system="erp", operation="process", **one, **DOWN) for n, one in enumerate(messages[20:])))
    told(
        *(at(3, system="erp", operation="process", **one, **odd | {"error": odd["error"] | {"message": f"{n} is negative"}})
          for n, one in enumerate(messages[:20]))
    )  # fmt: skip

    page = text_of(signed_in(superuser=True).get(f"/j/{TRACE}"))

    assert "130 times in all" in page
    assert "18 other errors are in the folds below" in page
