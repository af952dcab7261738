"""Pages and REST while Elasticsearch is dead, slow, behind or being built: PostgreSQL answers the same, and a banner says so."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as configured
from django.test import Client

from console.identity.models import Role
from messages.ingest import catalog
from messages.masking.services import NewRule, add_masking_rule
from messages.models import Flow, SearchChange, SearchGeneration
from messages.search.backends import get_backend
from messages.search.elastic.breaker import Breaker
from messages.search.elastic.client import client
from messages.search.elastic.indexing import index_changes
from messages.search.elastic.outbox import attach
from messages.search.elastic.upkeep import build_what_is_missing
from tests.engines.kafka import certificate_of
from tests.engines.stub_elastic import StubElastic, pointed_at
from tests.factories import ROOT, agent_key, api_key, environment, event, letter, person, push
from tests.pages.people import signed_in
from tests.services.search_corpus import fill

pytestmark = [pytest.mark.django_db, pytest.mark.engine]
ASKED = "/messages/?q=error%3Atimed"


@pytest.fixture
def built(elasticsearch: Any, db: None) -> Any:
    attach()
    fill()
    build_what_is_missing(budget_s=20)
    index_changes()
    client().indices.refresh(index=f"{configured.ELASTICSEARCH_PREFIX}-*")
    return elasticsearch


@pytest.fixture
def operator() -> Client:
    return signed_in("operator", Role.OPERATOR)


def rest(q: str, path: str = "messages") -> Any:
    from console.identity.models import User

    user = User.objects.filter(username="rest").first() or person("rest", Role.OPERATOR)
    return Client().get(f"/api/v1/{path}", {"q": q} if q else {}, HTTP_AUTHORIZATION=f"Bearer {api_key(user)}")


def found(response: Any) -> list[str]:
    return sorted(row["message_id"] for row in response.json()["results"])


def test_it_answers_when_all_is_well_and_nothing_is_said(built: Any, operator: Client):
    page, answer = operator.get(ASKED).content.decode(), rest("error:timed")

    assert "4712" in page
    assert "PostgreSQL answers" not in page
    assert (found(answer), answer["Waybill-Search"]) == (["m2"], "elasticsearch")
    assert rest("order_no:4711")["Waybill-Search"] == "postgresql"  # its own index is never behind
    assert rest("status:waiting", "dead-letters")["Waybill-Search"] == "postgresql"
    assert rest("reason:expired", "dead-letters")["Waybill-Search"] == "elasticsearch"


def test_dead_it_is_replaced_and_not_asked_again_at_once(built: Any, operator: Client):
    with StubElastic(status=503) as stub, pointed_at(stub.url, configured):
        pages = [operator.get(ASKED).content.decode() for _ in range(3)]
        letters = operator.get("/dead-letters/?q=reason%3Aexpired&state=all").content.decode()
        answer = rest("error:timed")

        assert all("4712" in page and "because it answered 503" in page for page in pages)
        assert "because it answered 503" in letters
        assert found(answer) == ["m2"]
        assert answer["Waybill-Search"].startswith('postgresql; degraded="Elasticsearch does not answer this search')
        assert len(stub.asked) == 1

    get_backend("elasticsearch").breaker = Breaker(pause_s=0)  # type: ignore[union-attr]
    get_backend("elasticsearch").breaker.failed("it answered 503", 0.0)  # type: ignore[union-attr]
    assert rest("error:timed")["Waybill-Search"] == "elasticsearch"
    assert "PostgreSQL answers" not in operator.get(ASKED).content.decode()


def test_silent_it_is_waited_for_once(built: Any, operator: Client):
    built.pause()
    try:
        first, second = operator.get(ASKED).content.decode(), rest("error:timed")
    finally:
        built.resume()

    assert "it did not answer in time" in first
    assert "4712" in first
    assert found(second) == ["m2"]


def test_unreachable_says_nothing_of_its_address(built: Any, operator: Client):
    with pointed_at("http://admin:sesame@127.0.0.1:9", configured):
        page, answer = operator.get(ASKED).content.decode(), rest("error:timed")

    assert "because it cannot be reached" in page
    assert not any("sesame" in text or "127.0.0.1:9" in text for text in (page, answer["Waybill-Search"]))


def test_the_line_is_over_tls_and_with_the_login_that_was_set(
    built: Any, operator: Client, settings: Any, tmp_path: Path
):
    authority = tmp_path / "authority.pem"
    with StubElastic(certificate=certificate_of(authority)) as stub:
        with pointed_at(stub.url, settings):
            assert "because its certificate is not trusted" in operator.get(ASKED).content.decode()
        get_backend("elasticsearch").breaker.worked()  # type: ignore[union-attr]
        settings.ELASTICSEARCH_CA = authority
        with pointed_at(stub.url.replace("//", "//console:pass%40word@"), settings):
            assert found(rest("error:timed")) == []
        settings.ELASTICSEARCH_API_KEY = "id-and-key"
        with pointed_at(stub.url, settings):
            assert found(rest("error:timed")) == []

    settings.ELASTICSEARCH_CA = settings.ELASTICSEARCH_API_KEY = None
    assert stub.logins == ["Basic " + base64.b64encode(b"console:pass@word").decode(), "ApiKey id-and-key"]


def test_behind_it_is_not_asked_until_it_has_caught_up(built: Any, operator: Client):
    error = {"type": "T", "message": "timed out", "stack": ""}
    push("/ingest/v1/events", [event(message_id="late", outcome="error", error=error)], key=agent_key())
    assert found(rest("error:timed")) == ["m2"]  # a second or two are as long as the index takes
    SearchChange.objects.update(changed_at=datetime.now(UTC) - timedelta(minutes=5))

    answer, page = rest("error:timed"), operator.get(ASKED).content.decode()
    assert found(answer) == ["late", "m2"]
    assert "its index is 5 minutes behind" in page

    index_changes()
    client().indices.refresh(index=f"{configured.ELASTICSEARCH_PREFIX}-*")
    answer = rest("error:timed")
    assert (found(answer), answer["Waybill-Search"]) == (["late", "m2"], "elasticsearch")


def test_before_it_is_built_postgresql_answers(elasticsearch: Any, db: None, operator: Client):
    fill()

    page, ingest = operator.get(ASKED).content.decode(), operator.get("/ingest/").content.decode()

    assert "its index is being built" in page
    assert "4712" in page
    assert "There is none yet" in ingest


def test_the_page_ingest_metrics_and_rest_say_how_it_stands(built: Any, operator: Client):
    page = operator.get("/ingest/").content.decode()
    told = Client(REMOTE_ADDR="127.0.0.1").get("/metrics").content.decode()
    [answer] = [one for one in rest("", "ingest").json() if one["environment"] == "production"]

    assert "Elasticsearch answers searches" in page
    assert "waybill_search_behind_seconds 0.0" in told
    assert 'waybill_search_ready{environment="production"} 1.0' in told
    assert answer["search"] | {"documents": 0} == {"state": "live", "documents": 0, "behind_s": 0.0, "refused": 0, "latest_refusal": ""}  # fmt: skip
    assert Client().get("/readyz").status_code == 200


def test_rows_that_postgresql_let_go_make_no_empty_page(built: Any):
    from django.db import connection

    events = [event(message_id=f"z{number:03d}", system="erp") for number in range(60)]
    push("/ingest/v1/events", events, key=agent_key())
    index_changes()
    client().indices.refresh(index=f"{configured.ELASTICSEARCH_PREFIX}-*")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM messaging_message WHERE message_id LIKE 'z%%'")

    answer = rest("system:erp")

    assert (found(answer), answer.json()["next"]) == (["m1", "m2", "m4"], None)


# payloads ----------------------------------------------------------------------------------------------------------------
def with_body(text: str, **more: Any) -> None:
    letters = [letter(body=text, content_type="text/plain", **more)]
    assert push("/ingest/v1/dead-letters", letters, key=agent_key("harvester")).json()["accepted"] == 1
    index_changes()
    client().indices.refresh(index=f"{configured.ELASTICSEARCH_PREFIX}-*")


def test_words_of_payloads_are_found_where_their_flow_allows_it_by_those_who_may_read_them(built: Any):
    with_body("the quick brown fox", message_id="p1", origin="animals")
    assert found(rest("payload:fox", "dead-letters")) == []

    Flow.objects.filter(name="animals").update(payload_search=True)
    with_body("the lazy dog and a quick brown fox", message_id="p2", origin="animals")
    finds = {
        "payload:FOX": ["p2"], 'payload:"lazy dog"': ["p2"], 'payload:"dog lazy"': [], "payload:la*": ["p2"],
        "-payload:fox": ["m5", "p1"], "payload:*": ["p2"],
    }  # fmt: skip
    assert {q: found(rest(q, "dead-letters")) for q in finds} == finds

    viewer = api_key(person("viewer", Role.VIEWER))
    seen = Client().get("/api/v1/dead-letters", {"q": "payload:fox"}, HTTP_AUTHORIZATION=f"Bearer {viewer}")
    assert (seen.status_code, found(seen)) == (200, [])

    Flow.objects.filter(name="animals").update(payload_search=False)
    assert found(rest("payload:fox", "dead-letters")) == []


def test_words_of_payloads_are_found_however_json_xml_or_latin_1_write_them_and_never_what_a_rule_masked(built: Any):
    Flow.objects.create(environment=environment(), name="names", payload_search=True)
    add_masking_rule(
        environment(), NewRule(kind="json_path", expression="$.vat", found_as="vat", drop_unreadable=False), by=ROOT
    )
    add_masking_rule(environment(), NewRule(kind="regex", expression="Gehei[m]nis", drop_unreadable=False), by=ROOT)
    catalog.forget()
    declared = '<?xml version="1.0" encoding="ISO-8859-1"?><n>Münchhausen</n>'
    bodies = {
        "json": (r'{"name": "M\u00fcnchhausen", "literal": "u00fc"}', "utf-8", "application/json"),
        "masked": (r'{"vat": "DE\u0031", "note": "Gehei\u006dnis"}', "utf-8", "application/json"),
        "utf8": ('{"name": "Münchhausen"}', "utf-8", "application/json"),
        "xml": ("<n>M&#252;nchhausen</n>", "utf-8", "application/xml"),
        "latin": ("<n>Münchhausen</n>", "latin-1", "text/xml; charset=ISO-8859-1"),
        "declared": (declared, "latin-1", "application/xml"),
        "text": (r"plain M\u00fcnchhausen", "utf-8", "text/plain"),
    }  # fmt: skip
    letters = [
        letter(
            message_id=name,
            origin="names",
            content_type=kind,
            body=None,
            body_base64=base64.b64encode(text.encode(charset)).decode(),
        )
        for name, (text, charset, kind) in bodies.items()
    ]
    assert push("/ingest/v1/dead-letters", letters, key=agent_key("harvester")).json()["accepted"] == len(bodies)
    index_changes()
    client().indices.refresh(index=f"{configured.ELASTICSEARCH_PREFIX}-*")

    finds = {
        "payload:münchhausen": ["declared", "json", "latin", "utf8", "xml"], "payload:MÜNCH*": ["declared", "json", "latin", "utf8", "xml"],
        'payload:"name münchhausen"': ["json", "utf8"], "payload:u00fcnchhausen": ["text"], "payload:u00fc": ["json"],
        "payload:DE1": [], "payload:geheimnis": [], "vat:DE1": ["masked"], "payload:vat": ["masked"],
    }  # fmt: skip
    assert {q: found(rest(q, "dead-letters")) for q in finds} == finds


def test_a_payload_is_searched_by_no_one_else(built: Any, operator: Client):
    with StubElastic(status=503) as stub, pointed_at(stub.url, configured):
        answer = rest("payload:fox -error:x")
    assert (answer.status_code, answer.json()["code"], answer.json()["column"]) == (503, "search_away", 1)
    assert (
        "payload text is searched by Elasticsearch alone, and it cannot answer now: it answered 503"
        in answer.json()["detail"]
    )

    answer = rest("payload:fox via:order")
    assert (answer.status_code, answer.json()["code"], answer.json()["column"]) == (400, "bad_query", 1)
    assert "via is not in the index" in answer.json()["detail"]

    configured.SEARCH_BACKEND = "postgresql"
    answer = rest("error:x payload:fox")
    assert (answer.status_code, answer.json()["column"]) == (400, 9)
    assert "set ELASTICSEARCH_URL" in answer.json()["detail"]


def test_a_generation_of_another_environment_is_waited_for(built: Any):
    agent_key("staging agent", "staging")
    assert SearchGeneration.objects.count() == 1
    user = person("both", Role.OPERATOR)
    from console.identity.models import Membership, Team

    Membership.objects.create(
        user=user, team=Team.objects.get(name="Order team"), environment_id=agent_environment("staging"), role=2
    )
    answer = Client().get("/api/v1/messages", {"q": "error:timed"}, HTTP_AUTHORIZATION=f"Bearer {api_key(user)}")

    assert "its index is being built" in answer["Waybill-Search"]
    assert found(answer) == ["m2"]


def agent_environment(slug: str) -> int:
    from tests.factories import environment

    return environment(slug).pk
