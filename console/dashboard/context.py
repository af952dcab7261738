"""What every page's frame needs: environments, the current one, the rail."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from console.dashboard.nav import rail
from messages.ingest.gate import disk_words


def frame(request: HttpRequest) -> dict[str, Any]:
    """Return `environment`, `environments`, `nav` and `alarm` for a signed-in reader; nothing for a stranger."""
    actor = getattr(request, "actor", None)
    if not actor:
        return {}
    environments = request.environments  # type: ignore[attr-defined]
    return {
        "environment": request.environment or None,  # type: ignore[attr-defined]
        "environments": environments,
        "nav": lambda: rail(request, environments),
        "alarm": disk_words(),
    }
