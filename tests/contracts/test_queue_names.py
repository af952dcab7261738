"""Queues with names that nobody thinks of: harvested, checked and sent back to like any other, or refused in words."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from messages.connectors.base import BrokerUnavailable
from tests.contracts.test_harvester import FakeConsole, console
from tests.contracts.yards import FIXTURES, Yard, item, made_by, running
from tests.product import wait_until

__all__ = ["console"]  # a fixture
pytestmark = pytest.mark.engine
NAMES = ["a/b#c d", "größe € 日本", "a%2Fb&c=d", "a:b;c\\d'e\"f", "a?b=c"]
PREFIX = {"activemq": "t.", "artemis": "dead.", "artemis-amqp10": "dead."}  # what the login may use there
ONLY_PLAIN = ("kafka", "sqs")  # letters, digits, dot, hyphen, underscore: these have no other names
OPTIONS_FOLLOW = ("activemq", "artemis-amqp10")  # a question mark


@pytest.fixture(scope="module", params=FIXTURES)
def named(request: pytest.FixtureRequest) -> Iterator[tuple[str, Yard]]:
    for yard in made_by(request.param, request):
        yield request.param, yard


@pytest.mark.parametrize("name", NAMES)
def test_a_queue_of_any_name_is_harvested_and_sent_to_or_refused_in_words(
    named: tuple[str, Yard], console: FakeConsole, name: str
):
    family, yard = named
    queue = f"{PREFIX.get(family, '')}{name} {uuid.uuid4().hex[:6]}.dlq"
    if family == "rabbitmq":
        yard.make_again(queue)

    if family in ONLY_PLAIN or (family in OPTIONS_FOLLOW and "?" in name):
        check_it_is_refused(yard, queue)
        return
    yard.put(queue, ["one"])
    said = no_of(yard, queue)
    with running(yard.harvester(console, queue)):
        wait_until(lambda: console.letters, seconds=30, what="the letter", every=0.02)

    [letter] = console.letters.values()
    assert (letter["body"], letter["queue"], said) == ("one", queue, [])


def check_it_is_refused(yard: Yard, queue: str) -> None:
    with yard.connector() as connector:

        def refused() -> bool:
            [sent] = connector.publish([item(0, queue, "one")], timeout_s=30)
            assert sent.result in ("refused", "unavailable"), sent  # LocalStack's first answer takes long
            return sent.result == "refused"

        wait_until(refused, seconds=60, what="the refusal")
    assert any(queue in words for words in no_of(yard, queue))
    with yard.source(queue) as source, pytest.raises(BrokerUnavailable):
        source.receive(1, 0.1)


def no_of(yard: Yard, queue: str) -> list[str]:
    """Return the words of what `agents check` says no to."""
    with yard.source(queue) as source:
        return [one.detail for one in source.check() if one.answer is False]
