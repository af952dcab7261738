"""What tests commit is taken away after each of them."""

from __future__ import annotations

from django.db import connection, transaction

KEPT = ["django_migrations", "django_content_type", "auth_permission"]  # migrations write them, no test
WITH_PAGES = """
    SELECT oid::regclass::text, relispartition FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> ALL(%s) AND pg_relation_size(oid) > 0
    ORDER BY oid
"""


def empty_tables() -> None:
    """Take away every row that is committed, and wait for whoever still writes one.

    Django's flush truncates every table there is, leaves out those that migrations made in SQL, and makes the permissions anew: more than
    half a second of a core for each test that commits. As on a replica no trigger fires, that of the audit list neither.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(WITH_PAGES, [KEPT])
        tables = dict(cursor.fetchall())
        if not tables:
            return
        cursor.execute(f"LOCK TABLE {', '.join(tables)} IN EXCLUSIVE MODE")
        cursor.execute("SET LOCAL session_replication_role = replica")
        for table, is_partition in tables.items():
            cursor.execute(f"TRUNCATE {table}" if is_partition else f"DELETE FROM {table}")
