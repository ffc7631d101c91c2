"""The services of deploy/systemd under a real systemd, on a Debian made from its
packages, installed by the commands of docs/operators/systemd.md.
"""

import contextlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from launcher.bootstrap import install_debian_packages
from launcher.paths import ROOT
from tests.stack import wait_for
from tests.supervised import NAMES, OF_THE_MACHINE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("launcher"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a system"),
]

PACKAGES = "systemd systemd-sysv dbus python3 python3-venv ca-certificates postgresql redis-server"
NSPAWN = ("systemd-nspawn", "--quiet", "--register=no", "--keep-unit")
SERVICES = [
    "countersign-parser" if name == "parser" else f"countersign-process@{name}"
    for name in NAMES
]


def commands():
    """Return the commands of the page that install and start everything."""
    page = (ROOT / "docs" / "operators" / "systemd.md").read_text()
    steps = page.partition("## What runs")[0]
    lines = [line[4:] for line in steps.splitlines() if line.startswith("    ")]
    # The packages are there already.
    return "\n".join(line for line in lines if not line.startswith("apt install"))


class System:
    """A booted system in a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.nspawn = subprocess.Popen(
            [*NSPAWN, "--boot", "--private-network", f"--directory={folder}"],
            stdin=subprocess.DEVNULL,
            stdout=(folder.parent / "console").open("wb"),
            stderr=subprocess.STDOUT,
        )
        wait_for(self._is_up, 90, "the system to boot", report=self.console)

    def console(self):
        return (self.folder.parent / "console").read_text(errors="replace")

    def _is_up(self):
        state = self.run("systemctl", "is-system-running", check=False).stdout
        return state.strip() in ("running", "degraded")

    def _first(self):
        for entry in Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):
                if f"\nPPid:\t{self.nspawn.pid}\n" in entry.read_text():
                    return entry.parent.name
        raise OSError("it has not begun")

    def run(self, *command, check=True, text=None):
        """Run a command in the system, as root; return the completed process."""
        path = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        done = subprocess.run(
            [
                "nsenter",
                f"--target={self._first()}",
                "--all",
                "env",
                "-i",
                f"PATH={path}",
                "LC_ALL=C.UTF-8",
                *command,
            ],
            input=text,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        if check:
            assert done.returncode == 0, done.stdout + done.stderr + self.journal()
        return done

    def journal(self):
        query = ["journalctl", "--no-pager", "--lines=60", "--unit=countersign*"]
        return self.run(*query, check=False).stdout

    def shows(self, unit, name):
        return self.run(
            "systemctl", "show", unit, "--property", name, "--value"
        ).stdout.strip()

    def stop(self):
        self.nspawn.terminate()
        try:
            self.nspawn.wait(60)
        except subprocess.TimeoutExpired:
            self.nspawn.kill()


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    there = all(map(shutil.which, ("systemd-nspawn", "mmdebstrap")))
    assert there or install_debian_packages(["systemd-container", "mmdebstrap"])
    folder = tmp_path_factory.mktemp("system") / "root"
    include = f"--include={PACKAGES.replace(' ', ',')}"
    subprocess.run(
        ["mmdebstrap", "--variant=minbase", include, "bookworm", str(folder)],
        check=True,
        capture_output=True,
    )
    for file in filter(os.path.exists, OF_THE_MACHINE):
        shutil.copy(file, folder / file[1:])
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    for name in files:
        if name and not name.startswith("tests/") and (ROOT / name).is_file():
            target = folder / "opt/countersign" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
    # Packages are fetched before it boots, because it has no network then.
    subprocess.run(
        [
            *(*NSPAWN, "--pipe", f"--directory={folder}"),
            f"--setenv=SSL_CERT_FILE={OF_THE_MACHINE[0]}",
            *("/opt/countersign/run", "install"),
        ],
        check=True,
        capture_output=True,
    )
    system = System(folder)
    try:
        yield system
    finally:
        system.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_services_start_by_the_commands_of_the_page_and_are_watched(system):
    done = system.run("sh", "-e", text=commands())
    assert re.search(r"https://desk\.example\.com/join/\S+", done.stdout)
    for service in SERVICES:
        assert system.shows(service, "ActiveState") == "active", service
        assert system.shows(service, "User") == "countersign"
    assert "PostgreSQL 15" in done.stdout
    # HTML is simplified by the parser, within what its service may do.
    account = system.run("countersign", "manage", "gateway_account", "--name", "Acme")
    [key] = re.findall(r"(?m)^agent +(\S+)$", account.stdout)
    sent = system.run(
        "/opt/countersign/.venv/bin/python",
        text=f"""
import requests
answer = requests.post(
    "http://127.0.0.1:8001/v1/send_email",
    headers={{"Authorization": "Bearer {key}"}},
    json={{"from": "agent@acme.example", "to": "dana@northwind.example", "subject": "Hello",
          "html": "<p>Hello <b>Dana</b></p>", "text": "Hello Dana"}},
)
print(answer.status_code, answer.text)
""",
    )
    assert sent.stdout.startswith("202"), sent.stdout
    for service in SERVICES:
        figure = system.run(
            "systemd-analyze", "security", "--no-pager", f"{service}.service"
        )
        exposure = re.search(r"exposure level for \S+: ([\d.]+)", figure.stdout)[1]
        assert float(exposure) < 2, service
    # One whose work stands still is started again.
    stuck = "countersign-process@live"
    folder = system.folder / "etc/systemd/system" / f"{stuck}.service.d"
    folder.mkdir()
    (folder / "test.conf").write_text("[Service]\nWatchdogSec=12\n")
    system.run("systemctl", "daemon-reload")
    system.run("systemctl", "restart", stuck)
    system.run("systemctl", "kill", "--signal=STOP", stuck)
    wait_for(lambda: system.shows(stuck, "NRestarts") != "0", 90, "it starts again")
    # Keys that were lost beside data stop everything, with the sentence in the journal.
    system.run("systemctl", "stop", "countersign*")
    keys = system.folder / "var/lib/countersign/secrets.env"
    kept = keys.read_bytes()
    keys.unlink()
    system.run("systemctl", "start", "countersign.target", check=False)
    assert "is not the key with which this database was filled" in system.journal()
    assert system.shows(SERVICES[1], "ActiveState") != "active"
    keys.write_bytes(kept)
    system.run("systemctl", "reset-failed")
    system.run("systemctl", "start", "countersign.target")
    wait_for(
        lambda: system.shows(SERVICES[1], "ActiveState") == "active",
        60,
        "it works again",
    )
