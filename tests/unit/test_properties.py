"""Pure modules against anything: they answer or refuse in their own words, and never otherwise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.core.paging import InvalidCursor, decode_time_cursor, encode_cursor
from messages.connectors.base import Header
from messages.connectors.context import make_traceparent, parse_traceparent
from messages.connectors.headers import as_dicts, from_dicts, header_of, value_of
from messages.connectors.hygiene import stamp_headers, strip_headers
from messages.connectors.rabbitmq.decode import PROPERTIES, decode_delivery
from messages.connectors.redis_streams.decode import decode_entry
from messages.connectors.roots import root_type
from messages.ingest import clean
from messages.payloads.render import render_body, render_stack
from messages.replay.states import TRANSITIONS

NOW = datetime(2026, 11, 24, tzinfo=UTC)
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary()
    | st.datetimes(timezones=st.just(UTC)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(st.text(alphabet=st.characters()), st.integers(4, 300))
def test_cleaned_text_fits_and_has_no_nul(text: str, most: int):
    cleaned = clean.text(text, most)

    assert "\x00" not in cleaned
    assert len(cleaned.encode()) <= max(most, 4)
    assert clean.text(cleaned, most) == cleaned


@given(st.dictionaries(st.text(), anything))
def test_cleaned_attributes_are_json(attributes: dict[str, object]):
    msgspec.json.encode(clean.attributes(attributes))


@given(st.datetimes(timezones=st.timezones() | st.just(UTC)))
def test_a_moment_is_inside_its_range_and_the_original_is_kept_when_it_was_not(at: datetime):
    moved, original = clean.moment(at, now=NOW, retention=timedelta(days=30))

    assert NOW - timedelta(days=30) <= moved <= NOW + clean.FUTURE
    assert (original is None) == (moved == at)


@given(st.floats(allow_nan=False))
def test_a_duration_is_a_whole_number_of_microseconds_within_bounds(microseconds: float):
    assert 0 <= clean.duration(microseconds) <= clean.MOST_US


@given(st.text())
def test_a_cursor_is_read_or_refused(text: str):
    with pytest.raises(InvalidCursor):
        decode_time_cursor(text)


@given(st.datetimes(timezones=st.just(UTC)), st.uuids())
def test_a_cursor_leads_back(at: datetime, identity: object):
    assert decode_time_cursor(encode_cursor(at, identity)) == (at, identity)


@given(st.dictionaries(st.binary(max_size=20), st.binary(max_size=50)))
def test_any_stream_entry_decodes(fields: dict[bytes, bytes]):
    letter = decode_entry("1-1", fields, broker="b", queue="q.dlq")

    assert msgspec.json.encode(letter)
    assert letter["id"] == "b/q.dlq/1-1"


@given(
    st.dictionaries(
        st.text(max_size=20)
        | st.sampled_from(["x-death", "traceparent", "x-delivery-count", "x-exception-stacktrace", "replay-id"]),
        anything,
    ),
    st.binary(),
)
def test_any_rabbitmq_delivery_decodes_the_same_way_twice(headers: dict[str, object], body: bytes):
    properties = SimpleNamespace(**dict.fromkeys((*PROPERTIES, "headers")))
    properties.headers = headers

    first, second = (decode_delivery(properties, body, broker="b", queue="q.dlq") for _ in range(2))

    assert first == second
    assert msgspec.json.encode(first)


@given(st.text(), anything.filter(lambda value: not isinstance(value, float)))
def test_headers_come_back_as_they_were(name: str, value: object):
    [header] = from_dicts(msgspec.json.decode(msgspec.json.encode(as_dicts([header_of(name, value)]))))

    assert value_of(header) == value


@given(
    st.lists(
        st.sampled_from(
            [
                "x-death",
                "X-Death",
                "mine",
                "__connect.errors.topic",
                "kafka_dlt-original-offset",
                "replay-id",
                "traceparent",
                "content-type",
            ]
        )
    )
)
def test_what_is_stripped_and_stamped_carries_each_mark_once(names: list[str]):
    headers = [Header(name=name, type="string", value="v") for name in names]

    out = [
        h.name
        for h in stamp_headers(strip_headers(headers), replay_id="r", replay_of="o", attempt=1, by="a", traceparent="t")
    ]

    assert [name for name in out if name in ("mine", "content-type")] == [
        name for name in names if name in ("mine", "content-type")
    ]
    assert sorted(name for name in out if name not in ("mine", "content-type")) == [
        "replay-attempt",
        "replay-by",
        "replay-id",
        "replay-of",
        "traceparent",
    ]


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1))
def test_a_traceparent_leads_back(trace: int, span: int):
    assert parse_traceparent(make_traceparent(f"{trace:032x}", f"{span:016x}").upper()) == (
        f"{trace:032x}",
        f"{span:016x}",
    )


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "00",
        "00-" + "0" * 32 + "-" + "1" * 16 + "-01",
        "00-" + "1" * 32 + "-" + "0" * 16 + "-01",
        "ff-" + "1" * 32 + "-" + "1" * 16 + "-01",
        "00-" + "1" * 32 + "-" + "1" * 16 + "-01-x",
    ],
)
def test_an_invalid_traceparent_is_none(text: str | None):
    assert parse_traceparent(text) is None


@given(st.binary(max_size=2000), st.sampled_from(["application/json", "text/xml", "text/csv", "", "image/png"]))
def test_any_body_renders_without_markup_of_its_own(body: bytes, content_type: str):
    rendered = render_body(body, content_type)

    assert all("<script" not in line for line in rendered.lines)


@pytest.mark.parametrize(
    "evil", ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", '"><svg onload=alert(1)>']
)
@pytest.mark.parametrize("content_type", ["application/json", "text/xml", "text/csv", "text/plain"])
def test_markup_in_a_body_or_stack_is_text(evil: str, content_type: str):
    for body in (evil, f'{{"a": "{evil}"}}', f"<a>{evil}</a>", f"a,b\n{evil},2"):
        html = "\n".join([*render_body(body.encode(), content_type).lines, *render_stack(body)])
        for tag in ("<script", "<img", "<svg"):
            assert tag not in html


@pytest.mark.parametrize(
    ("stack", "root"),
    [
        (
            "x.Wrapper: a\n\tat b\nCaused by: y.Middle: c\nCaused by: java.net.SocketTimeoutException: d",
            "java.net.SocketTimeoutException",
        ),
        (
            "Traceback (most recent call last):\nTimeoutError: read\n\nThe above exception was the direct cause\nTraceback\nErpTimeout: no",
            "TimeoutError",
        ),
        ("no stack at all", ""),
        ("", ""),
    ],
)
def test_the_root_is_the_innermost_exception(stack: str, root: str):
    assert root_type(stack) == root


def test_no_state_leads_to_an_unknown_one():
    assert all(following <= set(TRANSITIONS) for following in TRANSITIONS.values())


def test_no_property_fails_because_the_machine_is_slow():
    assert settings().deadline is None
