"""Derived identities: what is stored under them today must be met by the copy that comes tomorrow, whatever made them faster."""

from __future__ import annotations

import uuid
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from console.core.ids import derived_uuid, uuid_of
from messages.ingest import clean
from messages.ingest.identity import span_event_id

TRACE, SPAN = uuid.UUID("4bf92f3577b34da6a3ce929d0e0e4736"), "00f067aa0ba902b7"


def test_the_identities_of_the_first_release_stay():
    assert derived_uuid("event", 1, "shop", "order-4711") == uuid.UUID("468dd764-3887-898d-a26d-84e7d385a8d9")
    assert span_event_id(1, TRACE.bytes, bytes.fromhex(SPAN)).hex() == "5e0a8ebac0748c1100f067aa0ba902b7"


@given(st.integers(1, 2**40), st.uuids(), st.binary(min_size=8, max_size=8), st.binary(min_size=8, max_size=8))
def test_spans_have_one_identity_each_and_those_of_a_trace_lie_together(environment, trace, span, other):
    mine, next_to_it = (span_event_id(environment, trace.bytes, one) for one in (span, other))

    assert len(mine) == 16
    assert (mine == next_to_it) == (span == other)
    assert mine[:8] == next_to_it[:8] != span_event_id(environment + 1, trace.bytes, span)[:8]


@given(st.binary(min_size=16, max_size=16))
def test_an_identity_made_quickly_is_an_identity(sixteen: bytes):
    assert uuid_of(sixteen) == uuid.UUID(bytes=sixteen)
    assert derived_uuid(sixteen).version == 8
    assert derived_uuid(sixteen).variant == uuid.RFC_4122


@given(st.integers(0, 8_500_000_000_000_000_000))
def test_a_moment_keeps_its_microsecond(nanoseconds: int):
    assert (clean.moment_of_ns(nanoseconds) - clean.EPOCH) // timedelta(microseconds=1) == nanoseconds // 1000
