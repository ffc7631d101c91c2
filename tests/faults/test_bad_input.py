"""What an operator gets wrong is refused with one sentence, before anything changes."""

import os
import re
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from dashboard.backup import archive
from dashboard.backup.archive import BackupError
from dashboard.backup.unpack import unpack
from launcher import environment, keys, postgres
from launcher.console import LaunchError
from launcher.environment import PORTS
from launcher.paths import ROOT
from launcher.processes import refuse_used_ports, table
from tests.commands import run_command
from tests.faults.clock import clock


@pytest.mark.parametrize(
    "name",
    [
        "https://desk.example.org",
        "desk.example.org/",
        "desk.example.org:8443",
        '"desk.example.org"',
        " desk.example.org",
        "desk.example.org\nmore",
        "desk..example.org",
        "desk.example.org.",
        "-desk.example.org",
        "my_desk.example.org",
        "münchen.example.org",
        "10.0.0.5",
        "desk",
    ],
)
def test_domain_that_is_no_name_is_refused(name):
    refused = _container("secrets", DOMAIN=name)
    assert refused.returncode == 1
    assert "which is no host name" in refused.stderr
    assert refused.stderr.endswith("Nothing was changed.\n")


@pytest.mark.parametrize(
    "name", ["", "localhost", "desk.example.org", "DESK.xn--mnchen-3ya.de", "3.a.de"]
)
def test_domain_that_is_a_name_is_taken(name):
    assert "./run backup FILE" in _container("help", DOMAIN=name).stdout


def _container(*arguments, **variables):
    return run_command(
        [ROOT / "deploy" / "container", *arguments], env=os.environ | variables
    )


def test_volume_of_another_postgresql_is_refused(tmp_path):
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    major = services["secrets"]["environment"]["POSTGRES_MAJOR"]
    assert f"/postgres:{major}." in services["database"]["image"]
    folders = {name: tmp_path / name for name in ("secrets", "database")}
    script = (ROOT / "deploy" / "secrets").read_text()
    for name, folder in folders.items():
        folder.mkdir()
        script = re.sub(rf"(?<=[ \"])/{name}\b", str(folder), script)
    (folders["database"] / "PG_VERSION").write_text("16\n")
    refused = run_command(
        ["sh", "-c", script], env=os.environ | {"POSTGRES_MAJOR": major}
    )
    assert refused.returncode == 1
    assert "'database' was made by PostgreSQL 16" in refused.stderr
    assert list(folders["secrets"].iterdir()) == []


def test_programs_of_postgresql_are_found_or_named(tmp_path, monkeypatch):
    monkeypatch.setattr(postgres, "postgres_programs", lambda: tmp_path / "missing")
    monkeypatch.setattr(postgres, "Path", lambda path: tmp_path)
    with pytest.raises(LaunchError, match=r"\./run install"):
        postgres.postgres_clients(server=15)
    with pytest.raises(LaunchError, match="postgresql-client-19"):
        postgres.postgres_clients(server=19)
    for version in ("14", "17"):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin" / "pg_dump").touch()
    assert postgres.postgres_clients(server=15) == tmp_path / "17" / "bin"


def test_backup_of_a_newer_postgresql_is_refused_by_both_numbers(monkeypatch):
    def programs(*, server):
        if server > 17:
            raise LaunchError("There is no pg_dump of that version.")
        return Path("bin")

    monkeypatch.setattr(archive, "postgres_clients", programs)
    session = SimpleNamespace(info=SimpleNamespace(server_version=170_004))
    assert archive._programs(session, 15) == Path("bin")
    with pytest.raises(BackupError, match="PostgreSQL 18, and this server is 17"):
        archive._programs(session, 18)


def test_disk_that_is_too_small_for_a_restore_is_told_before(tmp_path, monkeypatch):
    class Large:
        manifest = {"database_size": 10**18}

        def __init__(self, path):
            pass

        check = staticmethod(lambda: None)

    monkeypatch.setattr("dashboard.backup.unpack.Backup", Large)
    with pytest.raises(BackupError, match="MB free, and about 1,000,000,000,000 MB"):
        unpack(tmp_path / "a", tmp_path, passphrase="", environment={})
    assert list(tmp_path.iterdir()) == []


def test_secrets_that_every_account_can_read_are_refused(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    own = data / keys.FILE
    mounted = tmp_path / "seal_key"
    mounted.write_text("k" * 43)
    mounted.chmod(0o640)
    settings = {"DATA_DIR": str(data), "SEAL_KEY_FILE": str(mounted)}
    # A group may read them: containers share secrets with it.
    made = keys.load_or_make(environment.read(settings))
    for file in (own, mounted):
        before = file.stat().st_mode
        file.chmod(0o604)
        with pytest.raises(LaunchError, match=f"chmod o= {file}$"):
            keys.load_or_make(environment.read(settings))
        file.chmod(before)
    assert keys.load_or_make(environment.read(settings)) == made


@pytest.mark.parametrize("variable", PORTS)
def test_each_port_that_is_taken_is_named(variable):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ports = dict.fromkeys(PORTS, "0") | {variable: str(port)}
        settings = environment.read({"DEMO": "1", **ports})
        with pytest.raises(LaunchError, match=f"Port {port} is used.*{variable}=0"):
            refuse_used_ports(settings, table(settings))


@pytest.mark.slow
@pytest.mark.xdist_group("launcher")
def test_start_with_bad_input_changes_nothing(supervised, tmp_path):
    data = tmp_path / "data"
    url = tmp_path / "url"
    url.write_text(supervised.env["DATABASE_URL"])
    url.chmod(0o644)
    for sentence, arguments, variables in (
        ("chmod o= ", ["process", "prepare"], {"DATABASE_URL_FILE": str(url)}),
        ("mean TRUSTED_PROXIES", ["process", "prepare"], {"TRUSTED_PROXY": "::1"}),
        ("mean TRUSTED_PROXIES", [], {"TRUSTED_PROXY": "::1"}),
    ):
        assert_refused(supervised, sentence, *arguments, **variables)
    with socket.create_server(("127.0.0.1", int(supervised.env["PORT"]))):
        assert_refused(supervised, "PORT=0 ./run")
        assert not (data / keys.FILE).exists()
        assert_refused(supervised, "PORT=0 ./run", "process", "web", **keys.new_keys())
    with clock(tmp_path) as wrong:
        for hours in (-1, 1):
            wrong.step(hours * 3600)
            sentence = "clock of this host is 3,600 s away from the database's"
            assert_refused(
                supervised, sentence, "process", "prepare", **wrong.variables
            )
    tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    assert supervised.ask(tables) == 0


def assert_refused(supervised, sentence, *arguments, **variables):
    refused = supervised.run(*arguments, **variables)
    assert refused.returncode != 0, arguments
    assert sentence in refused.stderr.strip().splitlines()[-1], refused.stderr
    assert "Traceback" not in refused.stderr
