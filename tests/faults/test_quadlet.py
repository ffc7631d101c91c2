"""The Quadlet files of deploy/quadlet, through the generator of Debian 13's podman: it
takes them without a warning, and what it makes of them says what compose.yaml says.

Podman itself does not run here.
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

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("launcher"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the root"),
]

FOLDER = "etc/containers/systemd/countersign"
UNITS = "run/systemd/generator"
# The unit of each service of compose.yaml.
SERVICES = {
    "caddy": "countersign-caddy",
    "desk": "countersign",
    "database": "countersign-database",
    "redis": "countersign-redis",
    "secrets": "countersign-secrets",
}
# Options of podman that have no value.
SWITCHES = {"-d", "--init", "--read-only", "--replace", "--rm"}


class Command:
    """A command line of `podman run`."""

    def __init__(self, line):
        words = shlex.split(line)
        assert words[:2] == ["/usr/bin/podman", "run"]
        words = words[2:]
        self.options = {}
        while words[0].startswith("-"):
            name, has_value, value = words.pop(0).partition("=")
            if not has_value and name not in SWITCHES:
                value = words.pop(0)
            self.options.setdefault(name, []).append(value)
        self.image, *self.arguments = words

    def option(self, name):
        return self.options.get(name, [])


def in_root(root, *command):
    done = subprocess.run(
        ["chroot", str(root), *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with podman, and with the files that the page says to copy."""
    assert shutil.which("mmdebstrap") or install_debian_packages(["mmdebstrap"])
    root = tmp_path_factory.mktemp("trixie") / "root"
    include = "--include=base-files,dash,podman,systemd"
    subprocess.run(
        ["mmdebstrap", "--variant=extract", include, "trixie", str(root)],
        check=True,
        capture_output=True,
    )
    page = (ROOT / "docs" / "operators" / "containers.md").read_text()
    steps = page.partition("## Podman")[2].partition("systemctl daemon-reload")[0]
    lines = [line[4:] for line in steps.splitlines() if line.startswith("    ")]
    commands = "\n".join(line for line in lines if not line.startswith("podman build"))
    subprocess.run(
        commands.replace("/etc/containers", str(root / "etc/containers")),
        shell=True,
        check=True,
        cwd=ROOT,
    )
    yield root
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="module")
def units(root):
    """The text of each unit that the generator makes, by name."""
    (root / UNITS).mkdir(parents=True)
    generator = ["/usr/libexec/podman/quadlet", "-no-kmsg-log"]
    made = in_root(root, *generator, *[f"/{UNITS}"] * 3)
    assert made.stderr == ""
    dry = in_root(root, *generator, "-dryrun")
    said = re.sub(
        r"quadlet-generator\[\d+\]: Loading source unit file .*", "", dry.stderr
    )
    assert said.strip() == ""
    return {file.stem: file.read_text() for file in (root / UNITS).glob("*.service")}


def commands_of(unit, name):
    return re.findall(f"^{name}=(.*)$", unit, re.MULTILINE)


def test_generator_makes_units_that_systemd_takes(root, units):
    files = {file.stem for file in (ROOT / "deploy/quadlet").glob("*.container")}
    assert units.keys() == files | {"countersign-network"}
    assert files == set(SERVICES.values())
    paths = [f"/{UNITS}/{name}.service" for name in units]
    verified = in_root(root, "systemd-analyze", "verify", "--man=no", *paths)
    assert verified.stdout + verified.stderr == ""
    # What the next start of the machine starts, with all that these need.
    wanted = {file.name for file in (root / UNITS / "default.target.wants").iterdir()}
    assert wanted == {"countersign.service", "countersign-caddy.service"}


def test_units_say_what_the_compose_file_says(units):
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    for service, name in SERVICES.items():
        [line] = commands_of(units[name], "ExecStart")
        assert said_by_command(Command(line)) == said_by_compose(
            service, compose[service]
        )


def test_without_a_domain_nothing_starts(units):
    [check] = commands_of(units["countersign-secrets"], "ExecStartPre")
    refused, taken = (
        subprocess.run(
            shlex.split(check),
            env={"DOMAIN": domain},
            capture_output=True,
            text=True,
            check=False,
        )
        for domain in ("", "desk.example.org")
    )
    assert refused.returncode == 1
    assert refused.stdout.count("DOMAIN is not set") == 1
    assert (taken.returncode, taken.stdout) == (0, "")
    for name in ("countersign", "countersign-caddy", "countersign-database"):
        needed = " ".join(commands_of(units[name], "Requires"))
        assert "countersign-secrets.service" in needed


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


def said_by_compose(name, service):
    """Return what compose.yaml says of a service, in the same form."""

    def one(key):
        return [str(service[key])] if key in service else []

    variables = {
        variable: re.sub(r"\$\{DOMAIN:.*\}", "${DOMAIN}", value)
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
    # Quadlet's secrets write to their volume only, and gain no rights.
    is_narrower = name == "secrets"
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
