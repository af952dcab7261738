"""What the pages of docs/brokers/ say to write is read by the harvester, and holds at the real broker."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agents.harvest.check import check
from agents.harvest.config import HarvestConfig, Queue, load_config
from agents.harvest.loop import open_source
from console.core.config import ROOT
from messages.connectors import families
from tests.contracts.test_harvester import FakeConsole, console
from tests.contracts.yards import FIXTURES, Yard, made_by, running
from tests.product import wait_until

__all__ = ["console"]  # a fixture
PAGES = [*sorted((ROOT / "docs" / "brokers").glob("*.md")), ROOT / "docs" / "agents.md"]
SECRETS = {
    "WAYBILL_AGENT_KEY": "k", "RABBIT_PASSWORD": "s", "REDIS_PASSWORD": "s", "KAFKA_PASSWORD": "s", "AMQ_PASSWORD": "s", "AWS_SECRET": "s",
}  # fmt: skip
PAGE_OF = {"artemis": "activemq", "artemis-amqp10": "activemq", "redis-streams": "redis"}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.S)


def config_of(page: Path, block: str, folder: Path) -> HarvestConfig:
    """Read a block of harvest.toml, with the lines that other blocks of the page have."""
    lines = block
    if "[[broker]]" not in lines:
        lines = blocks(page, "toml")[0].partition("[[broker.queue]]")[0] + lines
    if not re.search(r"^console =", lines, re.M):
        lines = 'console = "http://127.0.0.1:8000"\nkey_env = "WAYBILL_AGENT_KEY"\n' + lines
    file = folder / "harvest.toml"
    file.write_text(lines)
    return load_config(file, SECRETS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_harvest_toml_of_a_page_is_one_and_its_sources_can_be_opened(page: Path, tmp_path: Path):
    configs = [config_of(page, block, tmp_path) for block in blocks(page, "toml")]

    for config in configs:
        for queue in config.queues:
            open_source(config, queue).close()
    harvested = {family.kind for family in families() if family.source}
    assert bool(configs) == (page.stem in {"agents", *(PAGE_OF.get(kind, kind) for kind in harvested)})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_xml_of_a_page_is_whole(page: Path):
    for block in blocks(page, "xml"):
        ET.fromstring(f"<lines>{block}</lines>")


@pytest.fixture(scope="module", params=FIXTURES)
def named(request: pytest.FixtureRequest) -> Iterator[tuple[str, Yard]]:
    for yard in made_by(request.param, request):
        yield request.param, yard


def here(yard: Yard, name: str, folder: Path) -> Queue:
    """Return the first queue of the family's page, as it is written there, at the broker of the tests."""
    page = ROOT / "docs" / "brokers" / f"{PAGE_OF.get(name, name)}.md"
    block = next(one for one in blocks(page, "toml") if ("amqp10://" in one) == (name == "artemis-amqp10"))
    written = config_of(page, block, folder).queues[0]
    assert written.kind == yard.kind
    return replace(written, address=yard.address, name=yard.queue())


@pytest.mark.engine
def test_the_lines_of_the_page_are_checked_and_harvested_at_a_real_broker(
    named: tuple[str, Yard], console: FakeConsole, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    name, yard = named
    queue = here(yard, name, tmp_path)
    yard.put(queue.name, ["one"])
    config = HarvestConfig(console=console.url, key="k", name="h", queues=(queue,), state=str(tmp_path / "state"))

    status = check(config)
    said = capsys.readouterr().out
    made = yard.harvester(console, queue.name, options=queue.options, mode=queue.mode)
    with running(made):
        wait_until(lambda: console.letters, seconds=30, what="the letter", every=0.02)

    [letter] = console.letters.values()
    assert (status, "everything can be harvested" in said) == (0, True), said
    assert (letter["body"], letter["system"]) == ("one", queue.options.get("system", ""))
