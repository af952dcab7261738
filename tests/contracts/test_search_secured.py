"""A real Elasticsearch with its security on: TLS by an authority of one's own, an API key that may no more than the page says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from messages.models import Flow
from messages.search.backends import get_backend
from messages.search.elastic.client import client
from messages.search.elastic.indexing import index_changes
from messages.search.elastic.outbox import attach
from messages.search.elastic.upkeep import build_what_is_missing, keep_up
from tests.contracts.test_search_away import found, rest
from tests.engines.elasticsearch import configured
from tests.engines.secured_elastic import PASSWORD, USER, SecuredElasticsearch
from tests.engines.stub_elastic import pointed_at
from tests.factories import agent_key, event, push
from tests.services.search_corpus import fill
from tests.services.test_search_examples import examples

pytestmark = [pytest.mark.django_db, pytest.mark.engine]
DOCS = Path("docs/search.md")


@pytest.fixture
def secured(secured_elasticsearch: SecuredElasticsearch, settings: Any, db: None) -> Iterator[SecuredElasticsearch]:
    """The console with the key that docs/search.md asks for, and an index that was built with it."""
    settings.ELASTICSEARCH_CA = secured_elasticsearch.authority
    with configured(secured_elasticsearch, settings):
        prefix = f"{settings.ELASTICSEARCH_PREFIX}-*"
        settings.ELASTICSEARCH_API_KEY = secured_elasticsearch.key(
            privileges("cluster"), [{"names": [prefix], "privileges": privileges("indices")}]
        )
        client.cache_clear()
        attach()
        Flow.objects.all().delete()
        fill()
        build()
        yield secured_elasticsearch


def privileges(of: str) -> list[str]:
    """Return what the page says that a key needs."""
    named = re.search(rf'"{of}": \[(?:{{[^}}]*"privileges": \[)?([^]{{}}]*)\]', DOCS.read_text())
    assert named is not None
    return re.findall(r'"([a-z_]+)"', named[1])


def build() -> None:
    build_what_is_missing(budget_s=20)
    index_changes()
    keep_up()
    client().indices.refresh(index=f"{client_prefix()}-*")


def client_prefix() -> str:
    from django.conf import settings

    return str(settings.ELASTICSEARCH_PREFIX)


def test_every_example_of_the_page_is_answered_over_tls_with_a_key_that_may_no_more_than_it_must(secured: Any):
    asked = {
        q: names for q, names in examples("Query").items() if q.startswith(("error:", "timed", "class:", "NOT error"))
    }
    answers = {q: rest(q) for q in asked}

    assert {q: found(answer) for q, answer in answers.items()} == asked
    assert {answer["Waybill-Search"] for answer in answers.values()} == {"elasticsearch"}


def test_words_of_payloads_are_found_there(secured: Any):
    Flow.objects.filter(name="orders").update(payload_search=True)
    body = {"content_type": "text/plain", "body": "a quick brown fox"}
    push("/ingest/v1/events", [event(message_id="p1", destination="orders", payload=body)], key=agent_key())
    build()

    answers = {q: found(rest(q)) for q in ("payload:fox", 'payload:"brown fox"', "payload:qui*", "payload:wolf")}

    assert answers == {"payload:fox": ["p1"], 'payload:"brown fox"': ["p1"], "payload:qui*": ["p1"], "payload:wolf": []}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("a key that is none", "it answered 401"),
        ("a key for other indices", "it answered 403"),
        ("no authority", "its certificate is not trusted"),
        ("a wrong password", "it answered 401"),
        ("user and password", ""),
    ],
)
def test_what_it_refuses_is_said_and_answered_by_postgresql(secured: Any, settings: Any, change: str, words: str):
    url = secured.url
    if change == "a key that is none":
        settings.ELASTICSEARCH_API_KEY = "bm9uZTpub25l"
    elif change == "a key for other indices":
        settings.ELASTICSEARCH_API_KEY = secured.key([], [{"names": ["other-*"], "privileges": ["all"]}])
    elif change == "no authority":
        settings.ELASTICSEARCH_CA = None
    else:
        settings.ELASTICSEARCH_API_KEY = None
        password = PASSWORD if change == "user and password" else "wrong"
        url = url.replace("//", f"//{USER}:{password.replace('@', '%40').replace(' ', '%20')}@")

    with pointed_at(url, settings):
        answer = rest("error:timed")
    get_backend("elasticsearch").breaker.worked()  # type: ignore[union-attr]

    assert found(answer) == ["m2"]
    assert words in answer["Waybill-Search"]
    assert answer["Waybill-Search"].startswith("postgresql" if words else "elasticsearch")
    assert "wrong" not in answer["Waybill-Search"]
