"""The keys of payloads: changed without a payload being touched, destroyed with everything they sealed, useless for another row."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from console.audit.models import AuditEntry
from messages.catalog.connections import create_connection, open_secret
from messages.mappings.services import NewMapping, add_mapping
from messages.mappings.shipped import GENERIC
from messages.models import Connection, DataKey, DeadLetter, Payload
from messages.payloads import rotation
from messages.payloads.master import open_text
from messages.payloads.queries import stored_content
from messages.payloads.seal import PayloadUnreadable
from messages.payloads.services import _open_keys
from tests.factories import ROOT, environment, stored_letter

OLD, NEW = "11" * 32, "22" * 32
pytestmark = pytest.mark.django_db


def with_keys(settings, present: str | None, previous: str | None = None, **changes) -> None:
    """Start the console anew with these keys."""
    settings.CONFIG = replace(settings.CONFIG, given_master_key=present, given_previous_master_key=previous, **changes)
    _open_keys.clear()


def body_of(letter: DeadLetter) -> bytes:
    content = stored_content(letter.environment_id, letter.id, letter.payload_on)
    assert content is not None
    return content.body


def connection_with_secret() -> Connection:
    address = "redis://127.0.0.1:1/0"
    return create_connection(
        environment(), name="streams", kind="redis-streams", address=address, secret="hidden", by=ROOT
    )


def test_a_new_master_key_opens_everything_before_during_and_after_its_rotation(settings):
    with_keys(settings, OLD)
    letter, connection = stored_letter(), connection_with_secret()
    said = NewMapping(
        slug="hook", name="hook", definition=json.dumps(GENERIC.definition), signature_header="x", secret="s"
    )
    mapping = add_mapping(environment(), said, by=ROOT)
    before = body_of(letter)

    with_keys(settings, NEW, OLD)
    during = body_of(letter)
    call_command("rotate_master_key")
    with_keys(settings, NEW)

    connection.refresh_from_db()
    assert during == body_of(letter) == before
    assert open_secret(connection.secret) == "hidden"
    mapping.refresh_from_db()
    assert open_text(bytes(mapping.secret)) == "s"
    entry = AuditEntry.objects.get(action="master_key.rotated")
    assert entry.details == {
        "data_keys": 1,
        "connections": 1,
        "mappings": 1,
        "order_secrets": 0,
        "others": 0,
        "unreadable": 0,
    }


def test_without_the_key_before_it_a_new_master_key_opens_nothing_and_the_command_says_so(settings):
    with_keys(settings, OLD)
    letter = stored_letter()

    with_keys(settings, NEW)

    with pytest.raises(PayloadUnreadable):
        body_of(letter)
    with pytest.raises(CommandError, match="1 are opened by neither key"):
        call_command("rotate_master_key")


def test_a_key_kept_in_the_data_folder_is_replaced_there_and_a_rotation_that_died_is_finished_by_the_next(
    settings, tmp_path: Path, monkeypatch
):
    with_keys(settings, None, data=tmp_path)
    letter, connection = stored_letter(), connection_with_secret()
    first = (tmp_path / "master_key").read_text()
    before = body_of(letter)

    with monkeypatch.context() as dying:
        dying.setattr(rotation, "_reseal", lambda row: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            call_command("rotate_master_key", "--make")
    second = (tmp_path / "master_key").read_text()
    connection.refresh_from_db()
    half_way = open_secret(connection.secret)
    call_command("rotate_master_key", "--make")

    connection.refresh_from_db()
    assert half_way == "hidden"
    assert (tmp_path / "master_key.previous").read_text() == first != second
    assert (tmp_path / "master_key").read_text() == second
    (tmp_path / "master_key.previous").unlink()
    _open_keys.clear()
    assert body_of(letter) == before
    assert open_secret(connection.secret) == "hidden"


def test_a_finished_rotation_is_followed_by_another_one(settings, tmp_path: Path):
    with_keys(settings, None, data=tmp_path)
    letter = stored_letter()
    keys = []
    for _ in range(3):
        call_command("rotate_master_key", "--make")
        keys.append((tmp_path / "master_key").read_text())

    assert len(set(keys)) == 3
    assert body_of(letter)


def test_a_key_that_the_environment_gives_is_not_replaced_here(settings):
    with_keys(settings, OLD)

    with pytest.raises(CommandError, match="WAYBILL_MASTER_KEY_PREVIOUS"):
        call_command("rotate_master_key", "--make")


def test_the_payloads_of_a_destroyed_key_are_gone(settings):
    letter = stored_letter()

    DataKey.objects.all().delete()
    _open_keys.clear()

    with pytest.raises(PayloadUnreadable, match="destroyed"):
        body_of(letter)


def test_a_row_copied_over_another_one_is_refused():
    mine, other = stored_letter(body="mine"), stored_letter(body="other")

    Payload.objects.filter(id=mine.id).update(sealed=Payload.objects.get(id=other.id).sealed)

    with pytest.raises(PayloadUnreadable):
        body_of(mine)
