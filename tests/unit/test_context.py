"""The context that a message carries: each carrier, each way to be wrong, and which wins."""

from __future__ import annotations

import pytest

from messages.connectors.context import context_of, parse_b3, parse_b3_several, parse_xray

TRACE, SPAN, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "05e3ac9a4f6e3b90"
SHORT = "a3ce929d0e0e4736"
XRAY = f"1-{TRACE[:8]}-{TRACE[8:]}"


@pytest.mark.parametrize(
    "text",
    [f"{TRACE}-{SPAN}", f"{TRACE}-{SPAN}-1", f"{TRACE}-{SPAN}-d-{PARENT}", f"{TRACE}-{SPAN}-0".upper(), f" {TRACE}-{SPAN}-1 "],
)  # fmt: skip
def test_a_single_b3_header_is_read(text: str):
    assert parse_b3(text) == (TRACE, SPAN)


@pytest.mark.parametrize(
    "text", [None, "", "0", "1", TRACE, f"{TRACE}-{'0' * 16}", f"{'0' * 32}-{SPAN}", f"{TRACE}-{SPAN}-2", f"{TRACE}-{SPAN}-1-x", "x" * 100_000]
)  # fmt: skip
def test_a_b3_header_without_a_context_is_none(text: str | None):
    assert parse_b3(text) is None


def test_a_short_trace_id_is_padded_on_the_left():
    assert parse_b3(f"{SHORT}-{SPAN}-1") == ("0" * 16 + SHORT, SPAN)
    assert parse_b3_several(SHORT.upper(), SPAN) == ("0" * 16 + SHORT, SPAN)
    assert parse_b3_several(TRACE, None) is None


@pytest.mark.parametrize(
    "text",
    [f"Root={XRAY};Parent={SPAN};Sampled=1", f"Sampled=0; Parent={SPAN} ;Root={XRAY}", f"Self=1-2-3;Root={XRAY};Parent={SPAN}"],
)  # fmt: skip
def test_an_x_ray_header_is_read_in_any_order(text: str):
    assert parse_xray(text) == (TRACE, SPAN)


@pytest.mark.parametrize(
    "text", [None, "", "Root", f"Root={XRAY}", f"Parent={SPAN}", f"Root={XRAY};Parent=x", f"Root=2-{XRAY};Parent={SPAN}", ";" * 100_000]
)  # fmt: skip
def test_an_x_ray_header_without_both_parts_is_none(text: str | None):
    assert parse_xray(text) is None


def test_w3c_wins_over_b3_and_b3_over_its_several_headers_and_x_ray():
    carriers = {
        "traceparent": f"00-{TRACE}-{'1' * 16}-01",
        "b3": f"{TRACE}-{'2' * 16}-1",
        "x-b3-traceid": TRACE,
        "x-b3-spanid": "3" * 16,
        "awstraceheader": f"Root={XRAY};Parent={'4' * 16}",
        "x-amzn-trace-id": f"Root={XRAY};Parent={'5' * 16}",
    }
    found = []
    for gone in [None, "traceparent", "b3", "x-b3-traceid", "awstraceheader", "x-amzn-trace-id"]:
        carriers.pop(gone or "", None)
        context = context_of(carriers.get)
        found.append(context[1][0] if context else None)

    assert found == ["1", "2", "3", "4", "5", None]


def test_a_carrier_that_is_broken_gives_way_to_the_next():
    assert context_of({"traceparent": "00-none", "b3": f"{TRACE}-{SPAN}"}.get) == (TRACE, SPAN)
