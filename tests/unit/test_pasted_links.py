"""What people paste behind /j/ and /m/."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.journeys.links import parse_trace, readings_of

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    "text",
    [
        TRACE, TRACE.upper(), str(UUID(TRACE)), str(UUID(TRACE)).upper(), f" {TRACE}\n", f'"{TRACE}"', f"0x{TRACE}", f"({TRACE}),",
        f"00-{TRACE}-00f067aa0ba902b7-01", f"00-{TRACE.upper()}-00F067AA0BA902B7-01", f"cc-{TRACE}-00f067aa0ba902b7-01-what the future adds",
        f"traceparent: 00-{TRACE}-00f067aa0ba902b7-01", f"trace_id={TRACE}", f'"traceId": "{TRACE}"', f"trace.id:{TRACE}",
        f"{TRACE}-00f067aa0ba902b7-1", f"b3: {TRACE}-00f067aa0ba902b7-1-00f067aa0ba902b7", f"X-B3-TraceId: {TRACE}",
        f"Root=1-{TRACE[:8]}-{TRACE[8:]};Parent=53995c3f42cd8ad8;Sampled=1", f"1-{TRACE[:8]}-{TRACE[8:]}",
        f"X-Amzn-Trace-Id: Root=1-{TRACE[:8]}-{TRACE[8:]};Parent=53995c3f42cd8ad8;Sampled=1",
        f"x-amzn-trace-id=Self=1-67891234-12456789abcdef012345678a;Root=1-{TRACE[:8]}-{TRACE[8:]}",
        f"GET /orders 502 Root=1-{TRACE[:8]}-{TRACE[8:]} 31ms", f"08:00 ERROR [1-{TRACE[:8]}-{TRACE[8:]}] erp did not answer",
        f"08:00 ERROR trace={UUID(TRACE)} erp did not answer", f"request 7d444840-9dc0-11d1-b245-5ffdce74fad2 trace_id={TRACE}",
        f"projects/mine/traces/{TRACE}", f"{TRACE}/1234567890;o=1", f"uber-trace-id: {TRACE}:00f067aa0ba902b7:0:1",
        f"uber-trace-id: {TRACE}%3A00f067aa0ba902b7%3A0%3A1",
        f"2026-11-27 08:00 ERROR [orders,{TRACE},00f067aa0ba902b7] erp did not answer", "x" * 900 + f" trace_id={TRACE}",
        f"dd.trace_id={TRACE} trace_id={TRACE}",
    ],
)  # fmt: skip
def test_a_trace_is_read_in_every_form_that_logs_and_headers_write(text: str):
    assert parse_trace(text) == UUID(TRACE)


def test_sixty_four_bits_have_zeros_before_them():
    assert parse_trace("a3ce929d0e0e4736") == UUID(TRACE[16:].zfill(32))
    assert parse_trace("uber-trace-id: a3ce929d0e0e4736:00f067aa0ba902b7:0:1") == UUID(TRACE[16:].zfill(32))
    assert parse_trace("3ce929d0e0e4736%3Af067aa0ba902b7%3A0%3A1") == UUID(
        "3ce929d0e0e4736".zfill(32)
    )  # Jaeger writes no zeros


@pytest.mark.parametrize(
    "text",
    [
        "",
        "none",
        "0" * 32,
        TRACE[:-1],
        TRACE + "0",
        f"{TRACE} or {TRACE[::-1]}",
        f"{UUID(TRACE)} or {UUID(TRACE[::-1])}",
        f"a {UUID(TRACE)}0",
        f"x{TRACE}",
        "4bf9-2f35",
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "\x00",
    ],
)
def test_what_is_no_trace_is_none(text: str):
    assert parse_trace(text) is None


@given(st.text(max_size=200))
def test_no_text_raises(text: str):
    parse_trace(text)
    assert all(0 < len(one) <= 512 for one in readings_of(text, text))


@pytest.mark.parametrize(
    ("text", "query", "first", "among"),
    [
        ("orders/2026/4711", "", "orders/2026/4711", "orders/2026/4711"),
        ("ID:host-1?x=1#2", "", "ID:host-1?x=1#2", "ID:host-1?x=1#2"),
        ("urn:uuid", "part=2", "urn:uuid?part=2", "urn:uuid"),
        ("a b", "c%23d", "a b?c%23d", "a b?c#d"),
        (" 4711 ", "", " 4711 ", "4711"),
        ("a%2Fb", "", "a%2Fb", "a/b"),
        ("<id@host>", "", "<id@host>", "id@host"),
    ],
)
def test_an_id_is_looked_for_as_it_came_then_as_it_may_have_been_meant(text: str, query: str, first: str, among: str):
    found = list(readings_of(text, query))

    assert found[0] == first
    assert among in found
