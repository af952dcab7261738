"""A connection that lives with an agent: where it lives, who says so, and the secret that its orders are signed with."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError

from console.audit.models import AuditEntry
from console.core.errors import Forbidden, NotFound
from console.identity.models import Role
from messages.catalog.connections import (
    ConnectionInvalid,
    LivesWithAgent,
    approve_connection,
    check_connection,
    create_connection,
    discover_queues,
    move_connection,
    rotate_secret,
)
from messages.catalog.redrive import offers_redrive
from messages.models import Connection, OrderSecret
from messages.orders.rights import OrdersNotAllowed, check_signed, end_order_secret, make_order_secret
from messages.orders.services import settle_report
from messages.orders.wire import sign
from messages.payloads.rotation import rotate_master_key
from messages.replay.hints import hints_of
from tests.factories import ROOT, actor, agent, environment, memory_connection, person
from tests.orders.test_services import agents_connection, asked, ordered, report, states

pytestmark = pytest.mark.django_db


def test_a_connection_with_an_agent_has_neither_address_nor_secret_and_nobody_here_asks_its_broker():
    found = agents_connection()
    replays = asked(1)

    assert (found.address, found.username, bytes(found.secret), found.options) == ("", "", b"", {})
    for refused in (
        lambda: check_connection(found, by=ROOT),
        lambda: discover_queues(found, by=ROOT),
        lambda: rotate_secret(found, username="u", secret="s", by=ROOT),
    ):
        with pytest.raises(LivesWithAgent, match="lives with the agent harvester"):
            refused()
    assert not offers_redrive(found)
    assert "lives with an agent" in hints_of(replays[0].dead_letter, by=ROOT)[0]
    with pytest.raises(IntegrityError, match="connection_has_an_address_or_an_agent"):
        Connection.objects.filter(pk=found.pk).update(secret=b"x")


def test_a_connection_moves_to_an_agent_and_back_without_its_credentials_and_unapproved():
    found = memory_connection("redis")
    rotate_secret(found, username="u", secret="s", by=ROOT)

    move_connection(found, agent=agent("harvester"), by=ROOT)
    away = (found.agent, found.address, found.username, bytes(found.secret), found.approved_at)
    move_connection(found, agent=None, address="memory://back", by=ROOT)

    assert away == (agent("harvester"), "", "", b"", None)
    assert (found.agent, found.address, found.approved_at) == (None, "memory://back", None)
    assert AuditEntry.objects.filter(action="connection.moved").count() == 2


def test_what_an_agent_had_when_its_connection_moved_ends_with_its_lease_and_its_report_counts_no_more():
    found = agents_connection()
    [replay] = asked(1)
    order = ordered()
    move_connection(found, agent=agent("another"), by=ROOT)
    approve_connection(found, by=ROOT)

    settled = settle_report(agent("harvester"), report(order))

    assert (settled.not_yours, states([replay])) == (1, ["sending"])


@pytest.mark.parametrize("act", [lambda by: move_connection(Connection.objects.get(), agent=agent(), by=by),
                                 lambda by: make_order_secret(agent(), by=by), lambda by: end_order_secret(agent(), by=by)])  # fmt: skip
def test_only_administrators_say_where_a_connection_lives_and_which_agent_sends(act: Any):
    memory_connection()

    with pytest.raises(Forbidden):
        act(actor(person("olga", Role.OPERATOR)))


def test_an_agent_of_another_environment_is_none_for_this_connection():
    environment("staging")

    with pytest.raises(ConnectionInvalid, match="another environment"):
        create_connection(environment(), name="x", kind="memory", agent=agent("far", "staging"), by=ROOT)
    with pytest.raises(ConnectionInvalid, match="no connection kind"):
        create_connection(environment(), name="x", kind="fax", agent=agent(), by=ROOT)


def test_a_request_counts_only_with_the_order_secret_of_its_agent():
    mine = make_order_secret(agent("harvester"), by=ROOT)
    others = make_order_secret(agent("another"), by=ROOT)

    assert check_signed(agent("harvester"), "ask", b"x", sign(mine, "ask", b"x")) == mine
    for signature in (sign(others, "ask", b"x"), sign(mine, "results", b"x"), sign(mine, "ask", b"y"), "", "ü"):
        with pytest.raises(OrdersNotAllowed):
            check_signed(agent("harvester"), "ask", b"x", signature)
    with pytest.raises(OrdersNotAllowed, match="has no order secret"):
        check_signed(agent("third"), "ask", b"x", sign("", "ask", b"x"))


def test_a_new_order_secret_ends_the_old_one_and_a_new_master_key_keeps_it():
    old = make_order_secret(agent("harvester"), by=ROOT)
    new = make_order_secret(agent("harvester"), by=ROOT)
    rotated = rotate_master_key(by=ROOT, make=True)

    assert rotated.order_secrets == 1
    assert check_signed(agent("harvester"), "ask", b"", sign(new, "ask", b"")) == new
    with pytest.raises(OrdersNotAllowed):
        check_signed(agent("harvester"), "ask", b"", sign(old, "ask", b""))
    end_order_secret(agent("harvester"), by=ROOT)
    assert not OrderSecret.objects.exists()
    with pytest.raises(NotFound):
        end_order_secret(agent("harvester"), by=ROOT)
