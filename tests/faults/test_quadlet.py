"""The Quadlet files of deploy/quadlet under a real systemd, through the generator of
Debian 13's podman, and installed by the commands of docs/operators/containers.md: they
are taken without a warning, and start in their order.

Podman itself only notes what it is asked, because no container can run here.
"""

import os
import re
import shutil
import subprocess

import pytest

from launcher.bootstrap import install_debian_packages
from launcher.paths import ROOT
from tests.booted import System
from tests.commands import run_command
from tests.stack import wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("launcher"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a system"),
]

FOLDER = "etc/containers/systemd/countersign"
# The unit of each service of compose.yaml, in the order in which they start.
SERVICES = {
    "secrets": "countersign-secrets",
    "database": "countersign-database",
    "redis": "countersign-redis",
    "desk": "countersign",
    "caddy": "countersign-caddy",
}
# It says that it is ready, as podman does when the container is. Several run at the same
# time, so each writes its line at once.
PODMAN = """#!/bin/sh
line=$(mktemp)
{ for word; do printf '%s\\0' "$word"; done; echo; } >"$line"
cat "$line" >>/asked
case " $* " in *" -d "*)
    sleep infinity &
    systemd-notify --ready --pid=$!
esac
"""


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    there = all(map(shutil.which, ("systemd-nspawn", "mmdebstrap")))
    assert there or install_debian_packages(["systemd-container", "mmdebstrap"])
    root = tmp_path_factory.mktemp("trixie") / "root"
    include = "--include=systemd,systemd-sysv,dbus,podman"
    run_command(
        ["mmdebstrap", "--variant=minbase", include, "trixie", str(root)], check=True
    )
    (root / "usr/bin/podman").write_text(PODMAN)
    page = (ROOT / "docs" / "operators" / "containers.md").read_text()
    steps = page.partition("## Podman")[2].partition("systemctl daemon-reload")[0]
    lines = [line[4:] for line in steps.splitlines() if line.startswith("    ")]
    # The test of the image builds it.
    apart = ("apt install", "buildah build")
    commands = "\n".join(line for line in lines if not line.startswith(apart))
    subprocess.run(
        commands.replace("/etc/containers", str(root / "etc/containers")),
        shell=True,
        check=True,
        cwd=ROOT,
    )
    system = System(root)
    try:
        yield system
    finally:
        system.stop()
        shutil.rmtree(root, ignore_errors=True)


def start(system, domain):
    """Start everything anew; return the services that podman is asked for, in the order
    in which it is.
    """
    system.run("systemctl", "stop", "countersign*")
    system.run("systemctl", "reset-failed")
    (system.folder / FOLDER / "countersign.env").write_text(f"DOMAIN={domain}\n")
    (system.folder / "asked").write_text("")
    system.run("systemctl", "start", "countersign-caddy", check=False)
    wait_for(
        lambda: "No jobs" in system.run("systemctl", "list-jobs").stdout, 60, "no job"
    )
    asked = (system.folder / "asked").read_text()
    names = {unit: service for service, unit in SERVICES.items()}
    started = re.findall(r"^run\0.*?--name[=\0](?:systemd-)?([\w-]+)", asked, re.M)
    return [names[one] for one in started]


def test_generator_and_systemd_take_the_files_without_a_warning(system):
    generator = ["/usr/libexec/podman/quadlet", "-no-kmsg-log", "-dryrun"]
    done = system.run(*generator)
    loaded = re.compile(r"quadlet-generator\[\d+\]: Loading source unit file .*\n")
    assert loaded.sub("", done.stderr) == ""
    files = {file.stem for file in (ROOT / "deploy/quadlet").glob("*.container")}
    assert files == set(SERVICES.values())
    made = "/run/systemd/generator"
    units = [f"{made}/{unit}.service" for unit in (*files, "countersign-network")]
    verified = system.run("systemd-analyze", "verify", "--man=no", *units)
    assert verified.stdout + verified.stderr == ""
    # What the next start of the machine starts, with all that these need.
    wanted = system.shows("default.target", "Wants").split()
    assert {"countersign.service", "countersign-caddy.service"} <= set(wanted)


def test_all_services_start_in_their_order(system):
    # systemd takes quotes off, and podman does not.
    order = start(system, '"desk.example.org"')
    assert sorted(order) == sorted(SERVICES)
    assert order.index("secrets") < order.index("database") < order.index("desk")
    assert order.index("redis") < order.index("desk") < order.index("caddy")
    for unit in SERVICES.values():
        assert system.shows(unit, "Result") == "success"


def test_without_a_domain_nothing_starts(system):
    assert start(system, "") == []
    assert "DOMAIN is not set in countersign.env." in system.journal()
    assert system.shows("countersign", "ActiveState") == "inactive"
