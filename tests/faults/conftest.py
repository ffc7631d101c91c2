"""Fixtures of the fault tests: a running product with proxies between desk and gateway,
and one whose launcher is killed and stopped.

Faults that the ordinary test run injects use the product of all other tests, after all
of those.
"""

import pytest

from tests.faults.desk_rig import between_proxies, desk_rig
from tests.faults.invariants import check_invariants
from tests.faults.proxy import Proxy
from tests.stack import group_of, running_stack
from tests.supervised import supervised_in


def pytest_collection_modifyitems(items):
    """Run the soak first, and tests that break the shared product after those that only
    use it.
    """

    def group_order(item):
        breaks = item.path.parent.name == "faults" and group_of(item) == "stack"
        return 1 if breaks else -1 if item.get_closest_marker("soak") else 0

    items.sort(key=group_order)


@pytest.fixture(scope="session")
def _launched(tmp_path_factory):
    with running_stack(tmp_path_factory) as stack:
        yield stack


@pytest.fixture
def launched(_launched):
    """The running product of the tests that kill and stop it; started again if an
    earlier test left it stopped.
    """
    if not _launched.is_running():
        _launched.start()
    return _launched


@pytest.fixture
def supervised(tmp_path):
    """Servers that are not ours, and processes beside them."""
    with supervised_in(tmp_path) as supervised:
        yield supervised


@pytest.fixture(scope="session")
def desk_of_its_own(tmp_path_factory):
    with desk_rig(tmp_path_factory) as rig:
        yield rig


@pytest.fixture(scope="session")
def desk_of_all(stack):
    with between_proxies(stack, *map(Proxy, stack.proxy_ports)) as rig:
        # After a fault all held messages are read again, so keep them few.
        rig.product.make_room(but=20)
        yield rig


@pytest.fixture
def shared_desk(request):
    """The product of the test's group. A test that breaks it must repair it, or start
    its own with `desk_rig`.
    """
    return request.getfixturevalue(
        "desk_of_all" if group_of(request.node) == "stack" else "desk_of_its_own"
    )


@pytest.fixture
def desk(shared_desk):
    """The product. At the end, the messages that the test made must satisfy all
    invariants.
    """
    shared_desk.mine = []
    yield shared_desk
    check_invariants(shared_desk)
