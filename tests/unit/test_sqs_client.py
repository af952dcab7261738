"""Where an SQS address leads, what its errors mean, and what they must not show."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from messages.connectors.base import Address
from messages.connectors.sqs.client import Kind, endpoint_of, kind_of, region_of, says

ADDRESSES = [
    ("sqs://eu-central-1", {}, "eu-central-1", None),
    ("sqs+https://sqs.eu-west-3.amazonaws.com", {}, "eu-west-3", "https://sqs.eu-west-3.amazonaws.com"),
    ("sqs+https://vpce-0a1-b2.sqs.us-gov-west-1.vpce.amazonaws.com", {}, "us-gov-west-1", "https://vpce-0a1-b2.sqs.us-gov-west-1.vpce.amazonaws.com"),
    ("sqs+http://127.0.0.1:4566?region=eu-north-1", {}, "eu-north-1", "http://127.0.0.1:4566"),
    ("sqs+http://localhost:4566", {"region": "eu-south-2"}, "eu-south-2", "http://localhost:4566"),
    ("sqs+http://localhost:4566", {}, "us-east-1", "http://localhost:4566"),
    ("sqs+http://key:secret@localhost:4566", {}, "us-east-1", "http://localhost:4566"),
]  # fmt: skip


@pytest.mark.parametrize(("url", "options", "region", "endpoint"), ADDRESSES)
def test_an_address_leads_to_one_region_and_one_endpoint(
    url: str, options: dict[str, object], region: str, endpoint: str | None
):
    address = Address(url=url, options=options)

    assert (region_of(address), endpoint_of(address)) == (region, endpoint)


def answered(code: str, status: int, words: str = "no") -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": words}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Ask"
    )  # type: ignore[typeddict-item]


CODES: list[tuple[str, int, Kind]] = [
    ("AWS.SimpleQueueService.NonExistentQueue", 400, "missing"),
    ("ExpiredToken", 403, "login"),
    ("AccessDenied", 403, "denied"),
    ("KmsDisabled", 400, "denied"),
    ("KmsThrottled", 400, "busy"),
    ("SomethingNew", 403, "denied"),
    ("SomethingNew", 400, "content"),
    ("SomethingNew", 502, "busy"),
    ("SomethingNew", 504, "lost"),
]


@pytest.mark.parametrize(("code", "status", "kind"), CODES)
def test_a_code_has_one_meaning(code: str, status: int, kind: Kind):
    assert kind_of(answered(code, status)) == kind


def test_a_session_token_is_not_among_the_words():
    words = "The signature does not match.\n\nThe Canonical String for this request should have been\n'x-amz-security-token:FwoGZXIv'"

    assert says(answered("SignatureDoesNotMatch", 403, words)) == "SignatureDoesNotMatch: The signature does not match."
