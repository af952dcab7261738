"""What a test commits is gone after it, wherever it lies, and what migrations wrote is not."""

from __future__ import annotations

import psycopg
import pytest
from django.contrib.auth.models import Permission
from django.db import OperationalError, connection

from console.audit.models import AuditEntry
from console.audit.services import record_audit
from console.identity.models import Role
from messages.models import Event
from tests.emptying import KEPT, empty_tables
from tests.factories import ROOT, agent_key, event, person, push, stored_letter

pytestmark = pytest.mark.django_db(transaction=True)


def tables_with_rows() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
        names = [row[0] for row in cursor.fetchall()]
        cursor.execute(" UNION ALL ".join(f"(SELECT '{name}' FROM {name} LIMIT 1)" for name in names))
        return {row[0] for row in cursor.fetchall()}


def test_people_the_audit_list_partitions_and_tables_made_in_sql_are_emptied_and_permissions_stay():
    record_audit(ROOT, "person.added", person("carol", Role.OPERATOR))
    push("/ingest/v1/events", {"events": [event()]}, key=agent_key())
    stored_letter()
    permissions = Permission.objects.count()
    assert AuditEntry.objects.exists()
    assert Event.objects.exists()

    empty_tables()

    assert tables_with_rows() == set(KEPT)
    assert Permission.objects.count() == permissions > 0


def test_nobody_who_still_writes_is_passed_over():
    with psycopg.connect(**connection.get_connection_params() | {"cursor_factory": None}) as other:
        other.execute("INSERT INTO identity_team (name, created_at) VALUES ('late', now())")

        with pytest.raises(OperationalError, match="lock"):
            empty_tables()

        other.rollback()
