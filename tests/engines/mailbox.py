"""A mail server that takes its time, for channels and reports."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiosmtpd.controller import Controller

from tests.ports import free_port
from tests.services.test_outbox import Mailbox


class SlowMailbox(Mailbox):
    """A server that takes its time with the answer to a whole mail. to: what it answers of a receiver; asked: whom it was asked to take."""

    wait_s = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.to: dict[str, str] = {}
        self.asked: list[str] = []

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        self.asked.append(address)
        return self.to.get(address) or await super().handle_RCPT(server, session, envelope, address, options)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        await asyncio.sleep(self.wait_s)
        return await super().handle_DATA(server, session, envelope)


@contextmanager
def mail_server(settings: Any) -> Iterator[SlowMailbox]:
    """Run one, and have the console's mails go there."""
    box = SlowMailbox()
    controller = Controller(box, hostname="127.0.0.1", port=free_port())
    controller.start()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", controller.port
    settings.EMAIL_HOST_USER, settings.EMAIL_USE_TLS, settings.EMAIL_USE_SSL = "", False, False
    settings.DEFAULT_FROM_EMAIL = "waybill@example.com"
    try:
        yield box
    finally:
        controller.stop()
