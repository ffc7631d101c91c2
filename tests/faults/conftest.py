"""What the fault tests break.

For the gateway: `./run gateway`, a mail server and endpoints that misbehave when they are told to. For decisions: the
whole product with proxies between its two halves.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dashboard.launch.ports import pick_free_ports
from tests.conformance.receiver import receiver
from tests.conformance.running import Running
from tests.conformance.tenant import Tenant
from tests.faults.desk_rig import DeskRig, desk_rig
from tests.faults.invariants import check_invariants
from tests.integration.gateway.servers import HookServer, MailServer, hook_server, mail_server
from tests.stack import Stack, running_stack


@dataclass(frozen=True)
class Rig:
    """The gateway and what stands around it: `awkward` is an endpoint with moods, `closed_port` one of nobody."""

    gateway: Running
    mail: MailServer
    awkward: HookServer
    closed_port: int


@pytest.fixture(scope="session")
def shared_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with mail_server() as mail, receiver() as hooks, hook_server() as awkward:
        closed_port = pick_free_ports(1)[0]
        allow = ",".join((hooks.origin, awkward.url.removesuffix("/hook"), f"http://127.0.0.1:{closed_port}"))
        variables = {"DEMO": "0", "EMAIL_URL": mail.url, "OUTGOING_ALLOW": allow}
        with running_stack(tmp_path_factory, "gateway", **variables) as stack:
            gateway = Running(stack, mail, hooks)
            try:
                yield Rig(gateway, mail, awkward, closed_port)
            finally:
                gateway.close()


@pytest.fixture
def rig(shared_rig: Rig) -> Iterator[Rig]:
    """The rig, in which everything behaves until the test says otherwise."""
    yield shared_rig
    shared_rig.mail.mood = "ok"
    shared_rig.mail.refuse = {}
    shared_rig.awkward.status, shared_rig.awkward.location, shared_rig.awkward.delay = 200, "", 0
    shared_rig.awkward.got.clear()


@pytest.fixture
def make_tenant(rig: Rig) -> Callable[..., Tenant]:
    """Returns a function that gives an account which nobody else uses."""
    return lambda mode="gated_send": Tenant(rig.gateway, rig.gateway.make_account(mode))


@pytest.fixture
def tenant(make_tenant: Callable[..., Tenant]) -> Tenant:
    """An account of the test's own, whose mailbox holds what is sent."""
    return make_tenant()


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
