"""A backup of a database in use, restored into another one by `./run restore`."""

import io
import json
import os
import shutil
import subprocess
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.models.functions import Now

from approvals.models import Decision
from audit.models import Entry, Seal
from audit.sealing.anchors import write_anchors
from audit.sealing.sealer import seal_all
from dashboard.backup import whole
from dashboard.backup.archive import DUMP, SEALS, Backup, BackupError
from dashboard.backup.database import MARKER, load
from launcher import environment
from launcher.paths import ROOT
from launcher.postgres import APPLICATION, OWNER
from tests.factories import make_connection, make_message, make_person
from tests.integration.deciding import decide
from tests.ledger import append, as_superuser

pytestmark = pytest.mark.django_db(transaction=True)
PASSPHRASE = "correct horse battery"


def url_of(host, role, database):
    return f"postgresql://{role}@/{database}?host={host}"


@pytest.fixture
def target(django_db_setup):
    """An empty database of a PostgreSQL that is not the embedded one of the restored
    desk.
    """
    cluster = settings.DATABASES["default"]["HOST"]
    name = f"restored_{os.urandom(4).hex()}"
    with psycopg.connect(url_of(cluster, OWNER, "postgres"), autocommit=True) as owner:
        owner.execute(f"CREATE DATABASE {name}")
    yield {
        "DATABASE_URL": url_of(cluster, APPLICATION, name),
        "DATABASE_OWNER_URL": url_of(cluster, OWNER, name),
    }
    with psycopg.connect(url_of(cluster, OWNER, "postgres"), autocommit=True) as owner:
        owner.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def desk(monkeypatch):
    """A desk with a held message, an unfinished decision and a sealed ledger."""
    here = connection.get_connection_params()
    monkeypatch.setenv(
        "DATABASE_OWNER_URL", url_of(here["host"], OWNER, here["dbname"])
    )
    monkeypatch.setenv("BACKUP_PASSPHRASE", PASSPHRASE)
    ana = make_person("ana@yourteam.example", "Ana Ferreira", "reviewer")
    main = make_connection()
    make_message(main)
    decide(make_message(main, subject="On its way"), ana)
    Decision.objects.update(due_at=Now())
    seal_and_anchor(3)


def seal_and_anchor(number):
    append(number)
    seal_all()
    write_anchors()


def make_backup(folder):
    path = folder / "desk.backup"
    call_command("backup", str(path))
    return path


def restore(folder, target, path, *arguments):
    """Call `./run restore` with a new data folder."""
    ours = {
        *environment.PRODUCT_VARIABLES,
        "DJANGO_SETTINGS_MODULE",
        "DJANGO_ALLOW_ASYNC_UNSAFE",
        "MALLOC_ARENA_MAX",
    }
    outer = {name: value for name, value in os.environ.items() if name not in ours}
    variables = {
        "DATA_DIR": str(folder),
        "DEMO": "0",
        "REDIS_URL": settings.REDIS_URL,
        "BACKUP_PASSPHRASE": PASSPHRASE,
    }
    ports = dict.fromkeys(environment.PORTS, "0")
    return subprocess.run(
        [ROOT / "run", "restore", str(path), *map(str, arguments)],
        env={**outer, **ports, **variables, **target},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def assert_refused(words, *how):
    done = restore(*how)
    assert done.returncode == 1, done.stderr
    assert words in done.stderr


def left_in(folder):
    return sorted(file.name for file in folder.iterdir() if file.name != "run.lock")


def tables(target):
    query = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    with psycopg.connect(target["DATABASE_OWNER_URL"]) as session:
        return session.execute(query).fetchone()[0]


def test_backup_is_restored_the_ledger_is_proven_and_losses_are_reported(
    desk, target, tmp_path
):
    path = make_backup(tmp_path)
    held = Entry.objects.count()
    seal_and_anchor(5)
    outside = shutil.copy(settings.SEAL_FILE, tmp_path / "kept.jsonl")
    lost = Seal.objects.latest("number").size - held
    folder = tmp_path / "new"
    done = restore(folder, target, path, "--seals", outside)
    assert done.returncode == 0, done.stdout + done.stderr
    for words in (
        "The ledger is intact",
        f"Lost are at least {lost} entries",
        "Decisions in progress: 1.",
        "Start it",
    ):
        assert words in done.stdout, done.stdout
    assert left_in(folder) == ["log", "seals.jsonl", "secrets.env", "sockets"]
    with psycopg.connect(target["DATABASE_URL"]) as session:
        last = session.execute(
            "SELECT kind, note FROM audit_seal ORDER BY number DESC LIMIT 1"
        ).fetchone()
        assert last[0] == "restored"
        assert f"Lost are at least {lost} entries" in last[1]
        assert session.execute("SELECT state FROM approvals_decision").fetchall() == [
            ("unknown",)
        ]
        assert session.execute(
            "SELECT paused_by_hand FROM mirror_connection"
        ).fetchall() == [(True,)]
        assert session.execute("SELECT to_regclass(%s)", [MARKER]).fetchone() == (None,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("DELETE FROM audit_entry")
    # Existing data is never overwritten.
    assert_refused("is in use (log, seals.jsonl, secrets.env)", folder, target, path)
    assert "secrets.env" in left_in(folder)


@pytest.mark.slow
def test_dump_that_breaks_off_while_it_is_loaded_leaves_the_database_empty(
    desk, target, tmp_path
):
    dump = Backup(make_backup(tmp_path)).open(DUMP).read()
    for part in (dump[: len(dump) // 2], dump[:-1000]):
        with pytest.raises(BackupError, match="could not be read"):
            load(target["DATABASE_OWNER_URL"], io.BytesIO(part))
    assert tables(target) == 0


@pytest.mark.slow
def test_database_that_holds_anything_is_left_as_it_is(desk, target, tmp_path):
    with psycopg.connect(target["DATABASE_OWNER_URL"]) as session:
        session.execute("CREATE TABLE public.of_somebody_else (x int)")
    folder = tmp_path / "new"
    words = "holds 1 tables (of_somebody_else"
    assert_refused(words, folder, target, make_backup(tmp_path))
    assert left_in(folder) == []
    assert tables(target) == 1


@pytest.mark.slow
def test_backup_whose_ledger_does_not_hold_or_that_cannot_be_loaded_leaves_nothing(
    desk, target, tmp_path
):
    as_superuser(
        "UPDATE audit_entry SET surface = 'web' WHERE id = (SELECT min(id) FROM audit_entry)"
    )
    path = make_backup(tmp_path)
    folder = tmp_path / "new"
    assert_refused("is not the one that was sealed", folder, target, path)
    assert left_in(folder) == []
    assert tables(target) == 0
    with psycopg.connect(target["DATABASE_OWNER_URL"]) as session:
        session.execute(
            "CREATE FUNCTION public.audit_append() RETURNS int LANGUAGE sql AS 'SELECT 1'"
        )
        session.execute("CREATE DOMAIN public.audit_seal AS int")
    assert_refused("could not be loaded", folder, target, path)
    assert left_in(folder) == []
    assert tables(target) == 0


@pytest.mark.slow
def test_seals_of_another_desk_are_refused(desk, target, tmp_path):
    path = make_backup(tmp_path)
    other = tmp_path / "other.jsonl"
    seal = json.loads(Path(settings.SEAL_FILE).read_text().splitlines()[-1])
    seal["signature"] = seal["signature"][::-1]
    other.write_text(json.dumps(seal, separators=(",", ":")) + "\n")
    folder = tmp_path / "new"
    assert_refused("knows another seal", folder, target, path, "--seals", other)
    assert left_in(folder) == []
    assert tables(target) == 0


@pytest.mark.slow
def test_every_seal_of_the_copy_is_in_the_dump_also_when_seals_are_made_meanwhile(
    desk, tmp_path, monkeypatch
):
    """The copy of the seals is never newer than the dump: otherwise an honest restore
    would look forged.
    """
    copied = whole._copy_seals

    def seal_before_and_after(target):
        seal_and_anchor(1)
        copied(target)
        seal_and_anchor(1)

    monkeypatch.setattr(whole, "_copy_seals", seal_before_and_after)
    backup = Backup(make_backup(tmp_path))
    numbers = [
        int(line.partition(b'"number":')[2].partition(b",")[0])
        for line in backup.open(SEALS)
    ]
    assert max(numbers) == backup.manifest["seal"]["number"] - 1
