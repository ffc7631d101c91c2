"""compose.yaml and the Quadlet files of deploy/quadlet: what their containers may do,
and that both say the same.
"""

import re
from collections import defaultdict

import pytest
import yaml

from launcher.environment import PRODUCT_VARIABLES
from launcher.paths import ROOT
from tests.commands import run_command

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
UNITS = {name: f"countersign-{name}" for name in SERVICES} | {"desk": "countersign"}


def unit(service):
    """The lists of values of the keys in the unit of a service."""
    values = defaultdict(list)
    file = ROOT / "deploy" / "quadlet" / f"{UNITS[service]}.container"
    for line in file.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            values[key].append(value)
    return values


def test_settings_exist():
    desk = SERVICES["desk"]["environment"]
    settings = {name.removesuffix("_FILE") for name in desk}
    assert settings - PRODUCT_VARIABLES == {"DOMAIN", "ADMIN_EMAIL"}
    assert desk["DEMO"] == "0"


def test_only_postgresql_is_given_its_superusers_password():
    mounted = {
        name
        for name, service in SERVICES.items()
        for volume in service["volumes"]
        if volume.startswith("superuser:") and name != "secrets"
    }
    assert mounted == {"database"}


def test_secrets_of_postgresql_leave_the_volume_that_the_desk_reads(tmp_path):
    folders = {name: tmp_path / name for name in ("secrets", "superuser", "database")}
    script = (ROOT / "deploy" / "secrets").read_text()
    for name, folder in folders.items():
        folder.mkdir()
        script = re.sub(rf"(?<![\w@])/{name}\b", str(folder), script)
    own = {"superuser_password", "passwords.sql"}
    urls = {"database_url", "database_owner_url"}
    for _ in range(2):
        run_command(["sh", "-c", script], check=True)
        assert {file.name for file in folders["secrets"].iterdir()} == urls
        made = {file.name: file.read_text() for file in folders["superuser"].iterdir()}
        assert made.keys() == own
        for url in urls:
            text = (folders["secrets"] / url).read_text()
            assert made["superuser_password"] not in text
        # Where 1.0.0 wrote them.
        for name in own:
            (folders["superuser"] / name).rename(folders["secrets"] / name)


@pytest.mark.parametrize("name", SERVICES)
def test_each_container_is_bounded_and_has_no_capability_unasked(name):
    service, quadlet = SERVICES[name], unit(name)
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert quadlet["DropCapability"] == ["all"]
    assert quadlet["NoNewPrivileges"] == ["true"]
    assert quadlet["MemoryMax"] == [service["mem_limit"].upper()]
    assert quadlet["TasksMax"] == [str(service["pids_limit"])]
    added = " ".join(quadlet["AddCapability"]).split()
    assert added == service.get("cap_add", [])
    others = {"DAC_OVERRIDE", "NET_BIND_SERVICE"}
    root = {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"}
    assert set(added) <= (root if name == "database" else others)


@pytest.mark.parametrize("name", ["caddy", "database", "redis"])
def test_image_of_others_is_named_by_its_digest(name):
    image = SERVICES[name]["image"]
    assert re.fullmatch(r"docker\.io/[\w/]+:[\d.]+@sha256:[0-9a-f]{64}", image)
    assert unit(name)["Image"] == [image]


def test_compose_and_quadlet_publish_and_mount_the_same():
    used = set()
    for name, service in SERVICES.items():
        quadlet = unit(name)
        assert quadlet["PublishPort"] == service.get("ports", [])
        named = {volume for volume in service["volumes"] if not volume.startswith("./")}
        assert named == {
            volume.removeprefix("countersign_")
            for volume in quadlet["Volume"]
            if not volume.startswith("./")
        }
        used |= {volume.split(":")[0] for volume in named}
        for volume in set(service["volumes"]) - named:
            assert (ROOT / volume.split(":")[0]).is_file()
    assert used == set(COMPOSE["volumes"])
    assert "443:443/udp" in SERVICES["caddy"]["ports"]
