"""The Quadlet files of deploy/quadlet under a real systemd, through the generator of
Debian 13's podman, and installed by the commands of docs/operators/containers.md: they
are taken without a warning, and podman is asked for what compose.yaml says.

Podman itself only notes what it is asked, because no container can run here.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

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
# Options of podman that have no value.
SWITCHES = {"-d", "--init", "--read-only", "--replace", "--rm"}
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


class Command:
    """A command of `podman run`."""

    def __init__(self, words):
        words = list(words)
        self.options = {}
        while words[0].startswith("-"):
            name, has_value, value = words.pop(0).partition("=")
            if not has_value and name not in SWITCHES:
                value = words.pop(0)
            self.options.setdefault(name, []).append(value)
        self.image, *self.arguments = words

    def option(self, name):
        return self.options.get(name, [])


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
    """Start everything anew; return the commands of podman, by the name of the service,
    in the order in which they were run.
    """
    system.run("systemctl", "stop", "countersign*")
    system.run("systemctl", "reset-failed")
    (system.folder / FOLDER / "countersign.env").write_text(f"DOMAIN={domain}\n")
    (system.folder / "asked").write_text("")
    system.run("systemctl", "start", "countersign-caddy", check=False)
    wait_for(
        lambda: "No jobs" in system.run("systemctl", "list-jobs").stdout, 60, "no job"
    )
    asked = (system.folder / "asked").read_text().splitlines()
    runs = [line.split("\0")[1:-1] for line in asked if line.startswith("run\0")]
    names = {unit: service for service, unit in SERVICES.items()}
    commands = map(Command, runs)
    return {
        names[command.option("--name")[0].removeprefix("systemd-")]: command
        for command in commands
    }


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


def test_podman_is_asked_for_what_the_compose_file_says(system):
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    # systemd takes quotes off, and podman does not.
    commands = start(system, '"desk.example.org"')
    assert commands.keys() == compose.keys()
    for service, command in commands.items():
        assert said_by_command(command) == said_by_compose(service, compose)
        assert system.shows(SERVICES[service], "Result") == "success"
    order = list(commands)
    assert order.index("secrets") < order.index("database") < order.index("desk")
    assert order.index("redis") < order.index("desk") < order.index("caddy")


def test_without_a_domain_nothing_starts(system):
    assert start(system, "") == {}
    assert "DOMAIN is not set in countersign.env." in system.journal()
    assert system.shows("countersign", "ActiveState") == "inactive"


def said_by_command(command):
    """Return what a command line says, in the words of a compose file."""
    variables = dict(one.split("=", 1) for one in command.option("--env"))
    for file in command.option("--env-file"):
        assert file == f"/{FOLDER}/countersign.env"
        variables |= {"EMAIL_URL": None, "ADMIN_EMAIL": None}
    return {
        "image": command.image.removeprefix("localhost/"),
        "command": command.arguments,
        "volumes": volumes(command.option("-v")),
        "ports": command.option("--publish"),
        "environment": variables,
        "health": [shlex.split(one) for one in command.option("--health-cmd")],
        "waits for its health": command.option("--sdnotify") == ["healthy"],
        "hostname": command.option("--hostname"),
        "shm_size": command.option("--shm-size"),
        "read_only": "--read-only" in command.options,
        "init": "--init" in command.options,
        "cap_drop": command.option("--cap-drop"),
        "tmpfs": command.option("--tmpfs"),
        "user": command.option("--user"),
        "security_opt": command.option("--security-opt"),
        "stop_grace_period": command.option("--stop-timeout"),
        "network": command.option("--network-alias") or command.option("--network"),
    }


def said_by_compose(name, compose):
    """Return what compose.yaml says of a service, in the same form."""
    service = compose[name]

    def one(key):
        return [str(service[key])] if key in service else []

    variables = {
        variable: re.sub(r"\$\{DOMAIN\b.*?\}", "desk.example.org", value)
        for variable, value in service.get("environment", {}).items()
    }
    variables |= {
        name: None for name in ("EMAIL_URL", "ADMIN_EMAIL") if name in variables
    }
    health = [service["healthcheck"]["test"][1:]] if "healthcheck" in service else []
    if name == "desk":
        # Its check is the image's.
        file = (ROOT / "deploy" / "Containerfile").read_text()
        [words] = re.findall(r"^HEALTHCHECK .* CMD (\[.*\])", file, re.MULTILINE)
        health = [json.loads(words)]
    networks = {"secrets": ["none"], "caddy": ["countersign"]}
    # Quadlet's secrets write to their volume only, gain no rights, and are told what they
    # can check.
    is_narrower = name == "secrets"
    if is_narrower:
        _, _, major = compose["database"]["image"].partition(":")
        variables |= {"DOMAIN": "desk.example.org", "POSTGRES_MAJOR": major}
    narrow = ["no-new-privileges:true"] if is_narrower else []
    return {
        "image": re.sub(r"\$\{\w+:-(.*)\}", r"\1", service["image"]),
        "command": service.get("command", []),
        "volumes": volumes(service["volumes"]),
        "ports": service.get("ports", []),
        "environment": variables,
        "health": [shlex.split(" ".join(words)) for words in health],
        "waits for its health": bool(health),
        "hostname": one("hostname"),
        "shm_size": one("shm_size"),
        "read_only": service.get("read_only", is_narrower),
        "init": service.get("init", False),
        "cap_drop": [capability.lower() for capability in service.get("cap_drop", [])],
        "tmpfs": service.get("tmpfs", []),
        "user": one("user"),
        "security_opt": [
            option.removesuffix(":true")
            for option in service.get("security_opt", narrow)
        ],
        "stop_grace_period": [
            time.removesuffix("s") for time in one("stop_grace_period")
        ],
        # The name by which the others reach it.
        "network": networks.get(name, [name]),
    }


def volumes(mounts):
    """Return what is mounted where, and whether only to be read."""
    mounted = set()
    for mount in mounts:
        source, target, *how = mount.split(":")
        name = Path(source).name.removeprefix("countersign_")
        mounted.add((name, target, "ro" in ",".join(how).split(",")))
    return mounted
