"""SQS dead letters: every way into a dead-letter queue, types kept, nothing that a stranger writes can break it."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.connectors.sqs.decode import decode_message
from messages.dead_letters.items import DeadLetterItem

SOURCE = "arn:aws:sqs:eu-central-1:111122223333:orders"
TOPIC = "arn:aws:sns:eu-central-1:111122223333:order-events"
SUBSCRIPTION = f"{TOPIC}:c50802cb-45dd-41d2-94b2-36cd77defe04"
SENT, FIRST = "1795646525885", "1795646525897"
FACTS = {
    "SenderId": "AIDAEXAMPLE", "SentTimestamp": SENT, "ApproximateReceiveCount": "4", "ApproximateFirstReceiveTimestamp": FIRST,
}  # fmt: skip


def text(value: str, kind: str = "String") -> dict[str, str]:
    return {"DataType": kind, "StringValue": value}


def message(body: str = '{"order_no": "4711"}', own: dict[str, Any] | None = None, **facts: str) -> dict[str, Any]:
    return {
        "MessageId": "9390972d-6458-4349-a1b1-b1043cb5e73d", "ReceiptHandle": "r", "Body": body, "Attributes": FACTS | facts,
        "MessageAttributes": own or {},
    }  # fmt: skip


def decoded(received: dict[str, Any], **where: str) -> dict[str, Any]:
    """Return the letter as the console takes it: whatever it says must fit the schema."""
    letter: dict[str, Any] = decode_message(
        received, **({"broker": "aws", "queue": "orders-dlq", "system": "erp"} | where)
    )
    msgspec.json.decode(json.dumps(letter, ensure_ascii=False).encode(), type=DeadLetterItem)
    return letter


def seen(letter: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(letter.get(name) for name in names)


def test_a_redriven_message_names_its_queue_and_how_often_it_was_tried_before_we_looked():
    letter = decoded(message(DeadLetterQueueSourceArn=SOURCE))

    assert seen(letter, "origin", "route", "reason", "reason_code", "attempts") == (
        "orders", {"queue": SOURCE}, "maxReceiveCount", "delivery_limit", 3,
    )  # fmt: skip
    assert seen(letter, "message_id", "system", "body") == (
        "9390972d-6458-4349-a1b1-b1043cb5e73d", "erp", '{"order_no": "4711"}',
    )  # fmt: skip
    assert letter["first_failed_at"] == "2026-11-25T22:42:05.897000+00:00"
    assert "failed_at" not in letter  # SQS does not tell; SentTimestamp is when it was sent first
    assert letter["properties"]["SenderId"] == "AIDAEXAMPLE"


def test_attributes_are_kept_with_their_types():
    own = {
        "text": text("x"), "count": text("3", "Number"), "price": text("1.50", "Number"), "long": text("9" * 38, "Number"),
        "zip": text("007", "Number.zip"), "tags": text('["a"]', "String.Array"),
        "blob": {"DataType": "Binary", "BinaryValue": b"\x00\xff"}, "image": {"DataType": "Binary.png", "BinaryValue": b"\x89"},
    }  # fmt: skip

    letter = decoded(message(own=own))

    assert [(h["name"], h["type"], h["value"]) for h in letter["headers"]] == [
        ("text", "string", "x"), ("count", "int", 3), ("price", "string", "1.50"), ("long", "string", "9" * 38), ("zip", "string", "007"),
        ("tags", "string", '["a"]'), ("blob", "bytes", "AP8="), ("image", "bytes", "iQ=="),
    ]  # fmt: skip
    assert letter["properties"]["attribute_types"] == {
        "price": "Number", "long": "Number", "zip": "Number.zip", "tags": "String.Array", "image": "Binary.png",
    }  # fmt: skip


def test_fifo_facts_are_kept_and_its_sequence_number_tells_one_death_from_the_next():
    fifo = {"MessageGroupId": "customer-7", "MessageDeduplicationId": "d-1", "SequenceNumber": "18870"}
    received = message(**fifo, DeadLetterQueueSourceArn=SOURCE + ".fifo")

    letter, next_death = decoded(received), decoded(message(**fifo | {"SequenceNumber": "18871"}))

    assert letter["properties"].items() >= fifo.items()
    assert letter["origin"] == "orders.fifo"
    assert letter["id"] != next_death["id"]


def test_a_second_delivery_of_a_death_has_the_same_id_and_a_second_death_another():
    first = decoded(message(DeadLetterQueueSourceArn=SOURCE))["id"]

    again = decoded(message(DeadLetterQueueSourceArn=SOURCE, ApproximateReceiveCount="9"))["id"]
    redriven_by_aws = decoded(message(DeadLetterQueueSourceArn=SOURCE, SentTimestamp="1795646525999"))["id"]
    redriven_with_its_id = decoded(
        message(DeadLetterQueueSourceArn=SOURCE, ApproximateFirstReceiveTimestamp="1795646525999")
    )["id"]

    assert again == first
    assert len({first, redriven_by_aws, redriven_with_its_id}) == 3


CONTEXTS = {
    "X-Ray's header of SQS": (
        {"AWSTraceHeader": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"},
        {},
    ),
    "a traceparent attribute": ({}, {"traceparent": text("00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01")}),
}


@pytest.mark.parametrize(("facts", "own"), CONTEXTS.values(), ids=CONTEXTS)
def test_trace_context_is_found(facts: dict[str, str], own: dict[str, Any]):
    letter = decoded(message(own=own, **facts))

    assert seen(letter, "trace_id", "span_id") == ("5759e988bd862e3fe1be46a994272793", "53995c3f42cd8ad8")


def notification(**changes: Any) -> str:
    return json.dumps(
        {
            "Type": "Notification", "MessageId": "sns-1", "TopicArn": TOPIC, "Subject": "order", "Message": '{"order_no": "4711"}',
            "Timestamp": "2026-11-25T22:42:13.732Z", "SignatureVersion": "1", "Signature": "c2ln",
            "UnsubscribeURL": f"https://sns.eu-central-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn={SUBSCRIPTION}",
            "MessageAttributes": {"k": {"Type": "String", "Value": "v"}, "b": {"Type": "Binary", "Value": "AAE="}},
        }
        | changes
    )  # fmt: skip


def test_a_notification_of_a_subscriptions_queue_shows_the_real_message_and_the_subscription_that_failed():
    letter = decoded(message(notification()))

    assert seen(letter, "origin", "body", "message_id") == ("order-events", '{"order_no": "4711"}', "sns-1")
    assert letter["route"] == {"topic": TOPIC, "subscription": SUBSCRIPTION}
    assert [(h["name"], h["value"]) for h in letter["headers"]] == [("k", "v"), ("b", "AAE=")]
    assert (letter["properties"]["sns"]["Subject"], "Message" in letter["properties"]["sns"]) == ("order", False)
    assert letter["failed_at"] == "2026-11-25T22:42:05.885000+00:00"


def test_a_notification_that_died_in_a_queue_stays_as_its_consumers_know_it():
    body = notification(
        MessageAttributes={"traceparent": {"Type": "String", "Value": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"}}
    )

    letter = decoded(message(body, DeadLetterQueueSourceArn=SOURCE))

    assert seen(letter, "origin", "body", "trace_id") == ("orders", body, "a" * 32)


def test_a_notification_that_names_no_subscription_says_so_in_its_route():
    assert decoded(message(notification(UnsubscribeURL=7)))["route"] == {"topic": TOPIC, "subscription": ""}


LAMBDA = {
    "RequestID": text("req-1"), "ErrorCode": text("200", "Number"), "ErrorMessage": text("java.lang.IllegalStateException: no stock"),
}  # fmt: skip


def test_a_failed_invocation_tells_its_error_and_has_no_way_back_by_itself():
    letter = decoded(message(own=LAMBDA | {"mine": text("yes")}))

    assert seen(letter, "reason", "reason_code", "message_id", "origin") == ("200", "target_error", "req-1", "")
    assert letter["error"]["root_type"] == "java.lang.IllegalStateException"
    assert [h["name"] for h in letter["headers"]] == ["mine"]  # Lambda's own do not go back
    assert letter["properties"]["lambda"]["ErrorCode"] == "200"


def test_where_a_queue_does_not_tell_the_operator_does():
    plain, topic = decoded(message(own=LAMBDA), origin="orders"), decoded(message(), origin=TOPIC)

    assert seen(plain, "origin", "route") == ("orders", {"queue": "orders"})
    assert seen(topic, "origin", "route") == ("order-events", {"topic": TOPIC})


def eventbridge(code: str, target: str = SOURCE, **more: str) -> dict[str, Any]:
    told = {
        "RULE_ARN": "arn:aws:events:eu-central-1:111122223333:rule/bus/large", "TARGET_ARN": target, "ERROR_CODE": code,
        "ERROR_MESSAGE": "it said no", "RETRY_ATTEMPTS": "185",
    }  # fmt: skip
    return {name: text(value) for name, value in (told | more).items()}


EVENTBRIDGE = [
    ("NO_PERMISSIONS", {}, "auth"),
    ("THROTTLING", {"EXHAUSTED_RETRY_CONDITION": "MaximumRetryAttempts"}, "throttled"),
    ("ERROR_FROM_TARGET", {}, "target_error"),
    ("INVALID_JSON", {}, "deserialization"),
    ("THIRD_ACCOUNT_HOP_DETECTED", {}, "hop_limit"),
    ("INVALID_PARAMETER", {}, "rejected"),
    ("UNKNOWN", {"EXHAUSTED_RETRY_CONDITION": "MaximumRetryAttempts"}, "delivery_limit"),
    ("UNKNOWN", {"EXHAUSTED_RETRY_CONDITION": "MaximumEventAgeInSeconds"}, "expired"),
    ("SOMETHING_NEW", {}, "unknown"),
]


@pytest.mark.parametrize(("code", "more", "reason_code"), EVENTBRIDGE)
def test_eventbridges_codes_become_reasons(code: str, more: dict[str, str], reason_code: str):
    letter = decoded(message(own=eventbridge(code, **more)))

    assert seen(letter, "origin", "route", "reason", "reason_code", "attempts", "headers") == (
        "orders", {"queue": SOURCE}, code, reason_code, 186, [],
    )  # fmt: skip
    assert (letter["error"]["type"], letter["error"]["message"]) == (code, "it said no")


def test_eventbridge_targets_that_are_no_queue_are_named_and_cut_payloads_are_held_back():
    function = "arn:aws:lambda:eu-central-1:111122223333:function:bill"

    assert seen(decoded(message(own=eventbridge("TIMEOUT", function))), "origin", "route") == (
        "bill",
        {"target": function},
    )
    assert "cut off" in decoded(message(own=eventbridge("TIMEOUT", IS_PAYLOAD_TRUNCATED="true")))["route"]["holds"]


def test_a_subscribers_record_is_no_event_and_says_so():
    record = {
        "version": "1.0", "busArn": "arn:aws:events:eu-central-1:111122223333:event-busv2/orders/x",
        "subscriberArn": "arn:aws:events:eu-central-1:111122223333:subscriber/large/x", "targetArn": SOURCE, "errorCode": "ACCESS_DENIED",
        "errorMessage": "not authorized", "exhaustedRetryCondition": "MaximumEventAgeInSeconds", "retryAttempts": 4,
        "failedMessages": [{"eventId": "e-1"}, {"eventId": "e-2"}],
    }  # fmt: skip

    letter = decoded(message(json.dumps(record)))

    assert seen(letter, "origin", "reason", "reason_code", "attempts", "message_id") == (
        "orders",
        "ACCESS_DENIED",
        "auth",
        5,
        "e-1",
    )
    assert "not the event" in letter["route"]["holds"]


@pytest.mark.parametrize(
    ("queue", "origin"),
    [
        ("orders-dlq", "orders"), ("orders_DLQ", "orders"), ("orders-dlq.fifo", "orders.fifo"), ("orders-dead-letter-queue", "orders"),
        ("orders", ""), ("dlq", ""), ("DLQ", ""),
    ],
)  # fmt: skip
def test_a_name_that_tells_nothing_leads_nowhere(queue: str, origin: str):
    assert decoded(message(), queue=queue)["origin"] == origin


def test_what_a_consumer_wrote_of_its_error_is_read():
    own = {
        "error-stack": text("a.B: x\nCaused by: java.net.SocketTimeoutException: y"),
        "error-message": text("no answer"),
    }

    error = decoded(message(own=own, DeadLetterQueueSourceArn=SOURCE))["error"]

    assert (error["root_type"], error["message"]) == ("java.net.SocketTimeoutException", "no answer")


HOSTILE: dict[str, dict[str, Any]] = {
    "nothing at all": {},
    "nulls": {"MessageId": None, "Body": None, "Attributes": None, "MessageAttributes": None},
    "wrong types": {"MessageId": 7, "Body": 5, "Attributes": [1], "MessageAttributes": "x"},
    "attributes of wrong types": message(own={"a": 5, "b": {}, "c": {"DataType": 7, "StringValue": 8}, "d": {"BinaryValue": "x"}}),
    "numbers that are none": message(ApproximateReceiveCount="-1", SentTimestamp="9" * 40, ApproximateFirstReceiveTimestamp="x"),
    "a year 9999 and more": message(SentTimestamp="999999999999999"),
    "an arn that is none": message(DeadLetterQueueSourceArn="arn:aws"),
    "a source that is this queue": message(DeadLetterQueueSourceArn="arn:aws:sqs:eu-central-1:1:orders-dlq"),
    "long names": message(own={"n" * 5000: text("v" * 5000, "String." + "t" * 5000)}),
    "half a surrogate pair": message("\ud800", own={"k": text("\ud800")}, SenderId="\ud800"),
    "one in a notification": message(notification(Message="\ud800")),
    "a notification of odd parts": message(notification(MessageAttributes={"a": 1, "b": {"Type": 1}, "c": {"Type": "Binary", "Value": "é"}})),
    "a notification with an odd link": message(notification(UnsubscribeURL="http://[::1")),
    "a deep one": message('{"TopicArn":' * 50_000),
    "a deep record": message('{"failedMessages":' + "[" * 100_000),
    "a number of many digits": message('{"TopicArn": ' + "9" * 10_000 + "}"),
    "a record of nothing": message('{"failedMessages": [7], "errorCode": "X", "subscriberArn": "y", "retryAttempts": {}}'),
    "huge numbers of retries": message(own=eventbridge("TIMEOUT", RETRY_ATTEMPTS="9" * 99)),
    "nul": message("a\x00b", own={"k": text("a\x00b")}),
}  # fmt: skip


@pytest.mark.parametrize("received", HOSTILE.values(), ids=HOSTILE)
def test_odd_input_is_a_letter_too(received: dict[str, Any]):
    assert decoded(received)["id"]


def test_a_body_that_is_no_text_is_kept_byte_for_byte():
    letter = decoded(message("\ud800"))

    assert base64.b64decode(letter["body_base64"]) == b"\xed\xa0\x80"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["MessageId", "Body", "Attributes", "MessageAttributes", "TopicArn", "ErrorCode"])


@given(st.dictionaries(NAMES, ANYTHING, max_size=6))
def test_no_message_breaks_the_decoder(received: dict[str, Any]):
    assert decoded(received)["family"] == "sqs"
