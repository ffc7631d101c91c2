"""Products for the fault tests: one with proxies between its two halves, and one that
is killed and stopped.

The main faults, which the ordinary run injects, share the product of all other tests
and come last there.
"""

import pytest

from tests.faults.desk_rig import between_proxies, desk_rig
from tests.faults.invariants import check_invariants
from tests.faults.proxy import Proxy
from tests.stack import group_of, running_stack


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
    """The product of the group launcher, running: its tests kill and end it, in any
    order.
    """
    if not _launched.is_running():
        _launched.start()
    return _launched


@pytest.fixture(scope="session")
def desk_of_its_own(tmp_path_factory):
    with desk_rig(tmp_path_factory) as rig:
        yield rig


@pytest.fixture(scope="session")
def desk_of_all(stack):
    with between_proxies(stack, *map(Proxy, stack.proxy_ports)) as rig:
        # Each is read again after a fault.
        rig.product.make_room(but=20)
        yield rig


@pytest.fixture
def shared_desk(request):
    """The product of the test's group: a test that breaks it repairs it, or starts its
    own with `desk_rig`.
    """
    return request.getfixturevalue(
        "desk_of_all" if group_of(request.node) == "stack" else "desk_of_its_own"
    )


@pytest.fixture
def desk(shared_desk, tmp_path):
    """The product, a history file, and the test's own messages, which must satisfy all
    invariants at the end.
    """
    shared_desk.mine = []
    shared_desk.history = tmp_path / "history.jsonl"
    yield shared_desk
    check_invariants(shared_desk)
