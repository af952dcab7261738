"""What people look for most is found by an index, not by a walk over every row: asked of PostgreSQL with 20,000 rows."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from messages.models import DeadLetter
from messages.search.parse import parse_query
from messages.search.queries import find_dead_letters
from tests.factories import ROOT, environment, stored_letter

pytestmark = pytest.mark.django_db
COPIES = """
INSERT INTO messaging_deadletter (id, identity, environment_id, flow_id, state, received_at, failed_at, broker, family, queue, origin, route, reason,
    reason_code, error_type, error_root_type, error_message, error_stack, message_id, correlation_id, span_id, keys, content_type)
SELECT gen_random_uuid(), gen_random_uuid(), environment_id, flow_id, 'open', received_at, failed_at, broker, family, queue, origin, route, reason,
    reason_code, error_type, error_root_type, error_message, error_stack, 'm-' || n, 'c-' || n, '', jsonb_build_object('order_no', n::text), ''
FROM messaging_deadletter, generate_series(1, 20000) n
"""


@pytest.mark.parametrize(
    ("q", "index"),
    [
        ("order_no:777", "dead_letter_by_key"),
        ("message_id:m-777", "dead_letter_by_message_id"),
        ("correlation:c-777", "dead_letter_by_correlation"),
        ("trace:4bf92f3577b34da6a3ce929d0e0e4736", "dead_letter_by_trace"),
    ],
)
def test_a_dead_letter_is_found_by_its_numbers_through_an_index(q: str, index: str):
    stored_letter()
    with connection.cursor() as cursor:
        cursor.execute(COPIES)
        cursor.execute("ANALYZE")

    with CaptureQueriesContext(connection) as asked:
        found = find_dead_letters(ROOT, environments=[environment()], query=parse_query(q))

    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN " + asked[-1]["sql"])
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert index in plan
    assert len(found.rows) == (0 if q.startswith("trace") else 1)
    assert DeadLetter.objects.count() == 20_001
