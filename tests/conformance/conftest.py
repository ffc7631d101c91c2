"""The folder's tests share the running product: one stack, so one test process."""

from typing import Any

import pytest


def pytest_collection_modifyitems(items: list[Any]) -> None:
    for item in items:
        if "tests/conformance" in str(item.path):
            item.add_marker(pytest.mark.xdist_group("stack"))
