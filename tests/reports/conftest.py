"""A real mail server for the reports, and a picture and a PDF that are really drawn, once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from alerts.reports import drawing
from tests.product import free_port
from tests.services.test_outbox import Mailbox


class SlowMailbox(Mailbox):
    """A server that takes its time with the answer to a whole mail."""

    wait_s = 0.0

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        import asyncio

        await asyncio.sleep(self.wait_s)
        return await super().handle_DATA(server, session, envelope)


@pytest.fixture
def mailbox(settings: Any) -> Iterator[SlowMailbox]:
    box = SlowMailbox()
    controller = Controller(box, hostname="127.0.0.1", port=free_port())
    controller.start()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", controller.port
    settings.EMAIL_HOST_USER, settings.EMAIL_USE_TLS, settings.EMAIL_USE_SSL = "", False, False
    settings.DEFAULT_FROM_EMAIL = "waybill@example.com"
    yield box
    controller.stop()


DRAWN: dict[str, Any] = {}


@pytest.fixture
def drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process that draws run for the first report alone: it takes a second, and tests of drawing have it for themselves."""
    real = drawing._told

    def told(asked: dict[str, Any]) -> dict[str, Any]:
        return DRAWN.setdefault("answer", None) or DRAWN.update(answer=real(asked)) or DRAWN["answer"]

    monkeypatch.setattr(drawing, "_told", told)
