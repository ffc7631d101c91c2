"""What the folder's tests share: the whole product for the tests of the line, `./run gateway` for the checklist."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conformance.running import Running, running_gateway
from tests.conformance.tenant import Tenant


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Each of the two is started by one test process only."""
    for item in items:
        if "tests/conformance" in str(item.path):
            group = "gateway-stack" if "gateway" in item.fixturenames else "stack"
            item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`./run gateway`, shared by all tests of the checklist."""
    with running_gateway(tmp_path_factory) as running:
        yield running


@pytest.fixture
def make_tenant(gateway: Running) -> Callable[..., Tenant]:
    """Returns a function that gives an account which nobody else uses, with a mailbox of the mode asked for."""
    return lambda mode="gated_send": Tenant(gateway, gateway.make_account(mode))


@pytest.fixture
def tenant(make_tenant: Callable[..., Tenant]) -> Tenant:
    """An account of the test's own, whose mailbox holds what is sent."""
    return make_tenant()


@pytest.fixture
def other(make_tenant: Callable[..., Tenant]) -> Tenant:
    """Somebody else."""
    return make_tenant()


@pytest.fixture(scope="session")
def shared(gateway: Running) -> Tenant:
    """An account for tests that leave nothing behind which another could stumble over."""
    return Tenant(gateway, gateway.make_account("gated_send"))
