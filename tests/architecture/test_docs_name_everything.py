"""The docs are part of the product: what they say of settings and decisions is compared with the code."""

import re
from pathlib import Path

import pytest
import yaml
from django.test import Client

from console.core.config import SETTINGS

DOCS = Path(__file__).resolve().parents[2] / "docs"
ALERTS = DOCS.parent / "docker/prometheus/alerts.yml"


def test_settings_page_lists_every_setting_with_its_default_and_meaning():
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*) \|$", (DOCS / "settings.md").read_text(), re.M)

    assert rows == [(s.name, s.default, s.meaning) for s in SETTINGS]


def test_no_module_but_config_reads_the_environment():
    root = DOCS.parent
    allowed = {"console/core/config.py", "manage.py", "console/celery.py", "console/wsgi.py", "console/asgi.py"}
    readers = [
        str(path.relative_to(root))
        for folder in ("console", "messages", "alerts")
        for path in (root / folder).rglob("*.py")
        if re.search(r"os\.environ\b|os\.getenv\b", path.read_text())
    ]

    assert [
        reader
        for reader in readers
        if reader not in allowed and not reader.startswith(("console/runner/", "console/engines/"))
    ] == []


def test_every_decision_is_listed_and_every_listed_one_exists():
    listed = re.findall(r"\]\((\d{4}[\w-]+\.md)\)", (DOCS / "decisions" / "README.md").read_text())

    assert listed == sorted(path.name for path in (DOCS / "decisions").glob("0*.md"))


def test_links_between_pages_lead_somewhere():
    broken = [
        f"{page.name}: {target}"
        for page in [*DOCS.rglob("*.md"), DOCS.parent / "README.md"]
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text())
        if not (page.parent / target).exists()
    ]

    assert broken == []


@pytest.mark.django_db
def test_every_metric_that_an_alert_asks_for_is_one_that_metrics_tells():
    told = Client(REMOTE_ADDR="127.0.0.1").get("/metrics").content.decode()
    described = set(re.findall(r"^# TYPE (\w+)", told, re.M))
    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    asked = {name for rule in rules for name in re.findall(r"waybill_\w+", rule["expr"])}

    assert {name.removesuffix("_bucket") for name in asked} - described == set()
    assert all(rule["annotations"]["summary"] and rule["labels"]["severity"] in {"page", "ticket"} for rule in rules)
