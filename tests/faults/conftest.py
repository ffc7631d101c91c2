"""What the fault tests break: the product with proxies between its two halves, and one that is killed and ended."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.desk_rig import DeskRig, desk_rig
from tests.faults.invariants import check_invariants
from tests.stack import Stack, running_stack


@pytest.fixture(scope="session")
def _launched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory) as stack:
        yield stack


@pytest.fixture
def launched(_launched: Stack) -> Stack:
    """The product of the group launcher, running: its tests kill and end it, in any order."""
    if not _launched.is_running():
        _launched.start()
    return _launched


@pytest.fixture(scope="session")
def shared_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeskRig]:
    """The product of the group desk-faults: whoever breaks it mends it, or starts one of its own with `desk_rig`."""
    with desk_rig(tmp_path_factory) as rig:
        yield rig


@pytest.fixture
def desk(shared_desk: DeskRig, tmp_path: Path) -> Iterator[DeskRig]:
    """The product, a history file, and messages of the test's own, of which all invariants must hold in the end."""
    shared_desk.mine, shared_desk.history = [], tmp_path / "history.jsonl"
    yield shared_desk
    check_invariants(shared_desk)
