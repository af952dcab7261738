"""The console that the tests from end to end share: one for each worker, in it an environment for each file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aiosmtpd.controller import Controller

from tests.loops import ENVIRONMENTS, Corner, make_environments
from tests.ports import free_port
from tests.product import Product
from tests.services.test_outbox import Mailbox


@pytest.fixture(scope="session")
def mailbox() -> Iterator[Mailbox]:
    """What the mail server of the shared console took."""
    box = Mailbox()
    controller = Controller(box, hostname="127.0.0.1", port=free_port())
    controller.start()
    box.port = controller.port
    yield box
    controller.stop()


@pytest.fixture(scope="session")
def shared(mailbox: Mailbox) -> Iterator[Product]:
    address = f"smtp://127.0.0.1:{mailbox.port}?from=waybill@example.com"
    product = Product.prepared("loops", EMAIL_URL=address).start()
    make_environments(product)
    yield product
    product.stop()


@pytest.fixture(scope="module")
def corner(request: pytest.FixtureRequest, shared: Product) -> Corner:
    """The environment of this file."""
    name = request.module.__name__.rpartition(".")[2].removeprefix("test_").replace("_", "-")
    assert name in ENVIRONMENTS
    return Corner(shared, name)
