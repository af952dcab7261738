"""Pages of silences: what they say, what their buttons do, who may see and press them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from alerts.breaches.services import observe
from alerts.breaches.silences import silence_breach
from alerts.models import Breach, Silence
from console.identity.models import Role
from tests.breaches.breaching import condition, fired, now, orders_breach
from tests.factories import ROOT
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db


def test_silences_are_made_ended_and_listed():
    client = signed_in()
    assert "Nothing is silent" in text_of(client.get("/breaches/silences/"))
    breach = orders_breach()
    said = {
        "flow": "orders of Order team",
        "hours": "4",
        "comment": "ERP moves house",
        "labels": "",
        "severity": "page",
    }

    assert client.post("/breaches/silences/", said).status_code == 303

    made = Silence.objects.get()
    breach.refresh_from_db()
    assert breach.silenced_by == made
    assert "pages about orders of Order team ERP moves house running" in text_of(client.get("/breaches/silences/"))
    assert client.post(f"/breaches/silences/{made.pk}/end/", {"reason": "done"}).status_code == 303
    assert "Nothing is silent" in text_of(client.get("/breaches/silences/"))
    assert "ERP moves house" in text_of(client.get("/breaches/silences/?show=over"))
    again = client.post(f"/breaches/silences/{made.pk}/end/")
    assert (again.status_code, "over already" in text_of(again)) == (422, True)


def test_a_silence_that_cannot_be_read_is_refused_with_its_words():
    client = signed_in()

    answer = client.post("/breaches/silences/", {"hours": "4", "comment": "x", "labels": "no sign"})

    assert answer.status_code == 422
    assert "a label is written name=value" in text_of(answer)


def test_only_administrators_silence_every_flow_and_operators_their_own():
    operator, viewer = signed_in("operator", Role.OPERATOR), signed_in("viewer", Role.VIEWER)
    orders_breach(), orders_breach("Invoice team", key="8")
    said = {"hours": "4", "comment": "x"}

    assert operator.post("/breaches/silences/", said).status_code == 422
    assert operator.post("/breaches/silences/", said | {"flow": "orders of Invoice team"}).status_code == 422
    assert viewer.post("/breaches/silences/", said | {"flow": "orders of Order team"}).status_code == 422
    assert not Silence.objects.exists()
    assert operator.post("/breaches/silences/", said | {"flow": "orders of Order team"}).status_code == 303


def test_a_silence_of_anothers_flow_or_breach_is_not_there():
    foreign = orders_breach("Invoice team")
    made = silence_breach(
        foreign, expires_at=now() + timedelta(hours=1), comment="secret", end_when_resolved=False, by=ROOT
    )
    client = signed_in()

    assert "secret" not in text_of(client.get("/breaches/silences/"))
    assert "secret" not in text_of(client.get("/audit/"))
    assert client.post(f"/breaches/silences/{made.pk}/end/").status_code == 404


def test_a_silence_of_a_breach_that_never_fired_is_seen_and_ended_by_those_of_its_flow():
    breach = orders_breach(key="77", pending=timedelta(hours=1))
    silence_breach(breach, expires_at=now() + timedelta(hours=4), comment="I know", end_when_resolved=False, by=ROOT)
    observe([condition("no", key="77")])
    assert not Breach.objects.filter(pk=breach.pk).exists()
    olga = signed_in("olga", Role.OPERATOR)

    assert "pages of ingests with the key 77 about orders of Order team" in text_of(olga.get("/breaches/silences/"))
    assert "I know" not in text_of(signed_in("vera", Role.OPERATOR, team="Others").get("/breaches/silences/?show=all"))
    assert olga.post(f"/breaches/silences/{Silence.objects.get().pk}/end/", {"reason": "x"}).status_code == 303
    assert Silence.objects.get().ended_by == "olga"


def test_a_silence_of_an_agent_that_came_back_in_time_is_seen_by_members_and_ended_by_operators():
    agent = {"source": "agent", "key": "77", "pending": timedelta(minutes=2)}
    breach = fired(now(), **agent)
    silence_breach(breach, expires_at=now() + timedelta(hours=4), comment="I know", end_when_resolved=False, by=ROOT)
    observe([condition("no", **agent)])
    olga, vera = signed_in("olga", Role.OPERATOR), signed_in("vera", Role.VIEWER)

    assert "pages of agents with the key 77 I know" in text_of(olga.get("/breaches/silences/"))
    assert "I know" in text_of(vera.get("/breaches/silences/"))
    address = f"/breaches/silences/{Silence.objects.get().pk}/end/"
    assert vera.post(address, {"reason": "x"}).status_code == 403
    assert olga.post(address, {"reason": "x"}).status_code == 303
