"""How a Kafka is reached: an address, a login and the library's properties that an operator may set."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.harvest.config import load_config
from messages.connectors import get_source
from messages.connectors.base import Address
from messages.connectors.kafka.client import BadAddress, properties_of
from tests.product import ROOT


def test_an_address_is_hosts_a_way_and_a_login():
    plain = properties_of(Address(url="kafka://a,[::1],b:9093"))
    safe = properties_of(
        Address(
            url="kafka+ssl://a:1?sasl.mechanism=SCRAM-SHA-512&client.id=x",
            username="u",
            secret="s",
            options={"enable.ssl.certificate.verification": True, "client.id": "y"},
        )
    )

    assert (plain["bootstrap.servers"], plain["security.protocol"]) == ("a:9092,[::1]:9092,b:9093", "plaintext")
    assert (safe["security.protocol"], safe["sasl.mechanism"], safe["client.id"]) == ("sasl_ssl", "SCRAM-SHA-512", "y")
    assert (safe["sasl.username"], safe["sasl.password"], safe["enable.ssl.certificate.verification"]) == ("u", "s", "true")  # fmt: skip
    assert properties_of(Address(url="kafka://a", username="u", secret="s"))["sasl.mechanism"] == "PLAIN"


@pytest.mark.parametrize(
    "url",
    ["amqp://a", "kafka://", "kafka://a?plugin.library.paths=x", "kafka://a?sasl.kerberos.kinit.cmd=reboot", "kafka://a?sasl.password=x"],
)  # fmt: skip
def test_an_address_with_what_runs_programs_or_shows_secrets_is_refused(url: str):
    with pytest.raises(BadAddress):
        properties_of(Address(url=url))


def test_the_page_about_kafka_shows_a_configuration_that_can_be_used(tmp_path: Path):
    page = (ROOT / "docs" / "brokers" / "kafka.md").read_text()
    file = tmp_path / "harvest.toml"
    file.write_text(page.split("```toml\n")[1].split("```")[0])

    config = load_config(file, {"WAYBILL_AGENT_KEY": "k", "KAFKA_PASSWORD": "sesame"})

    assert [queue.name for queue in config.queues] == ["orders.DLQ", "invoices-dlt"]
    assert properties_of(config.queues[0].address)["sasl.mechanism"] == "SCRAM-SHA-512"
    source = get_source("kafka", config.queues[0].address, broker="b", queue="q", options=config.queues[0].options)
    assert (source.origin, source.system, source.group) == ("orders", "erp", "waybill.q")  # type: ignore[attr-defined]
