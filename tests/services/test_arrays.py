"""A process may speak to the database before it is asked to store: its connection writes arrays all the same."""

from __future__ import annotations

import os
import subprocess
import sys

EARLY = """
import django
django.setup()
from django.db import connection
connection.ensure_connection()
from messages.ingest.messages_sql import run_set_based
print(run_set_based("SELECT * FROM unnest(%b::int8[]) -- RETURNING", [(4711,)]))
"""


def test_a_connection_that_was_opened_first_knows_arrays():
    done = subprocess.run([sys.executable, "-c", EARLY], env=os.environ, capture_output=True, text=True, timeout=60)

    assert done.stdout == "[(4711,)]\n", done.stderr
