"""What every test may ask for: people with roles, keys, the whole product, a real RabbitMQ; and the list of what was skipped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as properties

from tests.bootstrap import OURS
from tests.emptying import empty_tables
from tests.engines.kafka import JARS, Kafka
from tests.product import PREPARED, Product, enterable
from tests.schema import make_schema, restore_schema, wait_for_schema
from tests.together import Together, in_order, unit_of

CHROMIUM = Path("/usr/bin/chromium")
MEMORY = "messages.connectors.memory.FAMILY"  # the double, declared as an operator declares a family of their own

# A machine that does other things meanwhile is slow, and nothing is wrong with the property.
properties.register_profile("waybill", deadline=None, suppress_health_check=[HealthCheck.too_slow])
properties.load_profile("waybill")


def need(condition: bool, what: str) -> None:
    """Skip by name where the machine cannot have `what`; in CI everything installable is there, so its absence fails."""
    if not condition:
        if os.environ.get("CI"):
            pytest.fail(f"{what} is not installed, and CI installs it: see docker/install-engines")
        pytest.skip(f"{what} is not installed: `make engines` as root installs it")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Number bytes: gzip puts the second into them, and two workers that name a test apart run none."""
    return argname if isinstance(val, bytes) else None


def pytest_configure() -> None:
    """The in-memory connector is there. Tasks are told to the tests' Redis, as a web process does; no worker reads them. Pages of the
    test client name static files as they are in the tree; the hashed ones are tested with the whole product.
    """
    from django.conf import settings
    from django.test import TransactionTestCase

    from console.celery import app

    app.set_default()
    TransactionTestCase._fixture_teardown = lambda case: empty_tables()
    settings.CONSOLE_FAMILIES["memory"] = MEMORY
    settings.PASSWORD_HASHERS = ["tests.hashing.QuickArgon2"]
    settings.CONSOLE_NOTIFIERS["memory"] = "alerts.delivery.notifiers.memory.MEMORY"
    settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A worker of xdist collects in the order in which tests/together.py hands out; alone, files keep their own.

    Whoever commits leaves nothing behind: two tests that did not ask for it made 20 others of their worker find their rows.
    """
    for item in items:
        marker = item.get_closest_marker("django_db")
        if marker is not None and marker.kwargs.get("transaction") and "committed" not in item.fixturenames:  # type: ignore[attr-defined]
            item.fixturenames.insert(0, "committed")  # type: ignore[attr-defined]
    if hasattr(config, "workerinput"):
        places = {unit: place for place, unit in enumerate(in_order(item.nodeid for item in items))}
        items.sort(key=lambda item: places[unit_of(item.nodeid)])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return Together(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Close with a line that names whatever was skipped and why."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons: dict[str, int] = {}
    for report in skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[reason.removeprefix("Skipped: ")] = reasons.get(reason.removeprefix("Skipped: "), 0) + 1
    words = "; ".join(f"{count} × {reason}" for reason, count in sorted(reasons.items())) or "nothing"
    terminalreporter.write_line(f"skipped: {words}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Migrate once for all workers, while they collect."""
    if os.environ[OURS]:
        make_schema(Path(os.environ[PREPARED]))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Wait here, where no test's time runs out."""
    if hasattr(session.config, "workerinput"):
        wait_for_schema(Path(os.environ[PREPARED]))


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None) -> None:
    """Let the test database be a copy of the one beside it, when that can have the schema which was made for all workers."""
    from django.db import connection

    folder, data, url = Path(os.environ[PREPARED]), Path(os.environ["WAYBILL_DATA"]), os.environ["DATABASE_URL"]
    if os.environ[OURS] and restore_schema(folder, data, url):
        connection.settings_dict["TEST"]["TEMPLATE"] = connection.settings_dict["NAME"]


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """The test database with its partitions, as `manage.py prepare` leaves it."""
    from messages.ingest.partitions import create_partitions

    with django_db_blocker.unblock():
        create_partitions()


def forget_everything() -> None:
    """Drop what a process remembers of committed rows."""
    from messages.ingest import catalog, clocks, error_texts, http, writer
    from messages.payloads import services as payloads
    from messages.plans import sent_edits
    from messages.replay import lines
    from messages.retention import policies, sizes

    catalog.forget()
    clocks.forget()
    error_texts.forget()
    http._agents.clear()
    payloads._open_keys.clear()
    lines.close_lines()
    sent_edits.sending_runner().close()
    policies.forget()
    sizes.forget()
    writer._days_known = (0.0, set())


@pytest.fixture(autouse=True)
def fresh_caches() -> Iterator[None]:
    """What a process remembers of committed rows is wrong after a test has rolled them back."""
    forget_everything()
    yield
    forget_everything()


@pytest.fixture
def committed(transactional_db: None) -> None:
    """Real commits."""
    from messages.ingest.partitions import create_partitions

    create_partitions()
    empty_tables()


@pytest.fixture
def no_dead_rows(db: None) -> None:
    """What other tests rolled back makes partitions large, and of large ones retention looks at some pages only."""
    from django.db import connection

    from messages.ingest.partitions import TABLES

    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {', '.join(TABLES)}")


@pytest.fixture(scope="session")
def demo() -> Iterator[Product]:
    """The whole product with the demo estate, started once."""
    product = Product(enterable("demo") / "data", demo=True).start()
    yield product
    product.stop()


@pytest.fixture
def chromium() -> str:
    need(CHROMIUM.exists(), "Chromium")
    return str(CHROMIUM)


@pytest.fixture(scope="session")
def rabbitmq_broker() -> Iterator[Any]:
    """A private RabbitMQ."""
    from tests.engines.rabbitmq import INSTALLED, RabbitMQ

    need(INSTALLED.exists(), "RabbitMQ")
    with RabbitMQ() as broker:
        yield broker


@pytest.fixture(scope="session")
def rabbitmq(rabbitmq_broker: Any) -> str:
    """The address of a private RabbitMQ."""
    return str(rabbitmq_broker.url)


@pytest.fixture(scope="session")
def kafka() -> Iterator[Kafka]:
    """A private Apache Kafka of one node."""
    need(JARS.exists() and shutil.which("java") is not None, "Kafka")
    with Kafka() as broker:
        yield broker


@pytest.fixture(scope="session")
def elasticsearch_engine() -> Iterator[Any]:
    """A private Elasticsearch of one node."""
    from tests.engines.elasticsearch import INSTALLED, Elasticsearch

    need(INSTALLED.exists() and shutil.which("java") is not None, "Elasticsearch")
    with Elasticsearch() as engine:
        yield engine


@pytest.fixture(scope="session")
def secured_elasticsearch() -> Iterator[Any]:
    """A private Elasticsearch with its own security: TLS, logins, API keys."""
    from tests.engines.secured_elastic import INSTALLED, SecuredElasticsearch

    need(INSTALLED.exists() and shutil.which("java") is not None, "the security of Elasticsearch")
    with SecuredElasticsearch() as engine:
        yield engine


@pytest.fixture
def elasticsearch(elasticsearch_engine: Any, settings: Any) -> Iterator[Any]:
    """The console configured with it, under names of this test alone."""
    from tests.engines.elasticsearch import configured

    with configured(elasticsearch_engine, settings):
        yield elasticsearch_engine


@pytest.fixture(scope="session")
def localstack() -> Iterator[str]:
    """The address of a private SQS and SNS; it takes any credentials."""
    from tests.engines.localstack import PYTHON, LocalStack

    need(PYTHON.exists(), "LocalStack")
    with LocalStack() as cloud:
        yield cloud.url


@pytest.fixture(scope="session")
def activemq() -> Iterator[Any]:
    """A private ActiveMQ Classic."""
    from tests.engines.activemq import INSTALLED, ActiveMQ

    need((INSTALLED / "activemq-stomp.jar").exists() and shutil.which("java") is not None, "ActiveMQ")
    with ActiveMQ() as broker:
        yield broker


@pytest.fixture(scope="session")
def artemis() -> Iterator[Any]:
    """A private ActiveMQ Artemis."""
    from tests.engines.artemis import INSTALLED, Artemis

    need(INSTALLED.exists() and shutil.which("java") is not None, "Artemis")
    with Artemis() as broker:
        yield broker
