"""Permission is decided in the modules named access.py, and nowhere else."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DECIDES = re.compile(r"\b(actor|by)\.(is_superuser|grants|has_role|role_for)\b")
TELLS = {"messages/api/account.py"}  # shows people what they are, decides nothing


def test_no_module_but_access_asks_what_an_actor_may_do():
    asking = [
        str(path.relative_to(ROOT))
        for folder in ("console", "messages", "alerts")
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "access.py" and DECIDES.search(path.read_text())
    ]

    assert sorted(set(asking) - TELLS) == []
