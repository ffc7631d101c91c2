"""`./run process` under another supervisor than ours: the processes work together, say
that they live, and a host that does not fit is refused.
"""

import signal
import subprocess

import pytest
import requests

from launcher.paths import ROOT
from tests.stack import wait_for
from tests.supervised import NAMES

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("launcher")]


def test_processes_work_under_a_supervisor_of_the_machine(supervised):
    # Two hosts that are upgraded at the same time: one waits for the other.
    both = [
        subprocess.Popen([ROOT / "run", "process", "prepare"], env=supervised.env)
        for _ in range(2)
    ]
    assert [one.wait(180) for one in both] == [0, 0]
    notify = {"NOTIFY_SOCKET": str(supervised.folder / "notify")}
    for name in NAMES:
        supervised.start(name, **notify)
        if name == "parser":
            # A command meanwhile takes no socket from it.
            assert supervised.run("manage", "check").returncode == 0
    for name in NAMES:
        wait_for(lambda name=name: supervised.is_healthy(name), 120, f"{name} works")
    assert b"READY=1" in supervised.notices.recv(100)
    # A command uses the parser that runs, and leaves it there.
    assert "needs attention" in supervised.run("manage", "doctor").stdout
    assert supervised.is_healthy("parser")
    ready = f"http://127.0.0.1:{supervised.env['PORT']}/readyz"
    wait_for(lambda: requests.get(ready, timeout=10).status_code == 200, 60, "ready")
    # The web process, which has no tables of the gateway, finds nothing wrong.
    metrics = f"http://127.0.0.1:{supervised.env['PORT']}/metrics"
    lines = requests.get(metrics, timeout=10).text.splitlines()
    needs = [one for one in lines if one.startswith("countersign_needs_attention{")]
    assert len(needs) > 40
    assert [one for one in needs if not one.endswith(" 0.0")] == []
    # One that hangs is not healthy, and the others are.
    supervised.started["live"].send_signal(signal.SIGSTOP)
    try:
        assert not supervised.is_healthy("live")
        assert supervised.is_healthy("web")
    finally:
        supervised.started["live"].send_signal(signal.SIGCONT)
    _refused(supervised)
    statuses = supervised.stop()
    assert statuses.pop("parser") == -signal.SIGTERM
    assert set(statuses.values()) <= {0, -signal.SIGTERM}, statuses


def _refused(supervised):
    """Each of these is one sentence, and changes nothing."""
    elsewhere = {"DATA_DIR": str(supervised.folder / "elsewhere")}
    for sentence, arguments, variables in (
        ("prepare` makes the keys", ["process", "web"], elsewhere),
        ("takes one of these names", ["process", "everything"], {}),
        (
            "needs the servers in DATABASE_URL and REDIS_URL",
            ["process", "web"],
            {"REDIS_URL": ""},
        ),
    ):
        refused = supervised.run(*arguments, **variables)
        assert refused.returncode != 0
        assert sentence in refused.stderr, refused.stderr
        assert "Traceback" not in refused.stderr
