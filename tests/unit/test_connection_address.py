"""Which addresses a connection takes: several hosts where the family can, and never a password in what is shown."""

from __future__ import annotations

import pytest

from messages.catalog.connections import ConnectionInvalid, check_address

GOOD = [
    ("kafka", "kafka://a"),
    ("kafka", "kafka://a:9092,[::1]:9092,b"),
    ("kafka", "kafka+ssl://a:9093,b:9093?sasl.mechanism=SCRAM-SHA-512"),
    ("rabbitmq", "amqp://a:5672/vhost"),
    ("redis-streams", "rediss://a/0"),
]
BAD = [
    ("kafka", "amqp://a", r"starts with kafka:// or kafka\+ssl://"),
    ("kafka", "kafka://", "names no host"),
    ("kafka", "kafka://a,,b", "names no host"),
    ("kafka", "kafka://a:port", "not a URL"),
    ("kafka", "kafka://u:p@a,b", "put user and password"),
    ("kafka", "kafka://a,u:p@b", "put user and password"),
    ("kafka", "kafka://u:se,cret@b", "not a URL|put user and password"),
    ("kafka", "kafka://a?sasl.password=s", "put user and password"),
    ("redis-streams", "redis://a/0?password=s", "put user and password"),
    ("rabbitmq", "amqp://a:5672,b:5672", "not a URL"),
    ("rabbitmq", "a:5672", "starts with amqp"),
    ("redis-streams", "redis://a..b/0", "not a URL"),
    ("http", f"http://{'a' * 64}.example/", "not a URL"),
]


@pytest.mark.parametrize(("kind", "address"), GOOD)
def test_an_address_with_hosts_is_taken(kind: str, address: str):
    check_address(kind, address)


@pytest.mark.parametrize(("kind", "address", "words"), BAD)
def test_an_address_that_cannot_be_used_or_shown_is_refused_in_words(kind: str, address: str, words: str):
    with pytest.raises(ConnectionInvalid, match=words):
        check_address(kind, address)
