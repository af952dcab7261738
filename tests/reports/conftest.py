"""A real mail server for the reports, and a picture and a PDF that are really drawn, once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from alerts.reports import drawing
from tests.engines.mailbox import SlowMailbox, mail_server


@pytest.fixture
def mailbox(settings: Any) -> Iterator[SlowMailbox]:
    with mail_server(settings) as box:
        yield box


DRAWN: dict[str, Any] = {}


@pytest.fixture
def drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process that draws run for the first report alone: it takes a second, and tests of drawing have it for themselves."""
    real = drawing._told

    def told(asked: dict[str, Any]) -> dict[str, Any]:
        return DRAWN.setdefault("answer", None) or DRAWN.update(answer=real(asked)) or DRAWN["answer"]

    monkeypatch.setattr(drawing, "_told", told)
