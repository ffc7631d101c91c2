"""The running product, shared by the whole folder: one stack, so one worker."""

from typing import Any

import pytest

from tests.desk import Browser, Product


def pytest_collection_modifyitems(items: list[Any]) -> None:
    for item in items:
        if "conformance" in str(item.path):
            item.add_marker(pytest.mark.xdist_group("stack"))


@pytest.fixture(scope="session")
def product(stack: Any) -> Product:
    shared = Product(stack)
    # The second mailbox keeps its five seconds, for the tests that undo.
    shared.set_undo_window("300 milliseconds")
    return shared


@pytest.fixture(scope="session")
def ana(product: Product) -> Browser:
    return product.reviewer("REVIEWER")


@pytest.fixture(scope="session")
def ben(product: Product) -> Browser:
    return product.reviewer("REVIEWER2")
