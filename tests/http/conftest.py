"""The console that the tests from end to end share: one for each worker, in it an environment for each file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.loops import ENVIRONMENTS, Corner, make_environments
from tests.product import Product


@pytest.fixture(scope="session")
def shared() -> Iterator[Product]:
    product = Product.prepared("loops").start()
    make_environments(product)
    yield product
    product.stop()


@pytest.fixture(scope="module")
def corner(request: pytest.FixtureRequest, shared: Product) -> Corner:
    """The environment of this file."""
    name = request.module.__name__.rpartition(".")[2].removeprefix("test_").replace("_", "-")
    assert name in ENVIRONMENTS
    return Corner(shared, name)
