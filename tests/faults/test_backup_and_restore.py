"""A backup of a database in use, restored into another one by `./run restore`."""

import io
import json
import os
import re
import shutil
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models.functions import Now
from psycopg import sql

from approvals.models import Decision
from audit.models import Entry, Seal
from audit.sealing.anchors import write_anchors
from audit.sealing.sealer import seal_all
from dashboard.backup import whole
from dashboard.backup.archive import DUMP, MARKER, SEALS, Backup, BackupError, load
from dashboard.models import BACKUP, Tick
from launcher import environment
from launcher.paths import ROOT
from launcher.postgres import APPLICATION, OWNER, postgres_programs
from tests.commands import run_command
from tests.factories import make_connection, make_message, make_person
from tests.faults.small_disks import small_disk
from tests.filled_tables import TABLES, fill_empty_tables
from tests.integration.deciding import decide
from tests.ledger import append, as_superuser
from tests.stack import wait_for
from tests.variants import variants

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
    assert Tick.objects.filter(job=BACKUP).exists()
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
    return run_command(
        [ROOT / "run", "restore", str(path), *map(str, arguments)],
        env={**outer, **ports, **variables, **target},
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


# What a restore writes on purpose: it continues the ledger, and holds back what may have
# left since the backup.
ADDED_TO = """
alerts_unplannedact audit_anchor audit_entry audit_entrydetail audit_seal
audit_sealedentry gateway_auditlogentry
""".split()
CHANGED = {
    "approvals_decision": "state due_at changed_at may_have_left explanation",
    "approvals_review": "risk risk_level rules",
    "gateway_account": "hold_all_at",
    "gateway_notice": "due_at last_error",
    "mirror_connection": "paused_at paused_because paused_by_hand",
    "mirror_revision": "findings",
}


def content(url):
    """Return the rows of each table, as PostgreSQL writes them, without the columns that
    a restore changes.
    """
    columns = "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
    found = {}
    with psycopg.connect(url) as session:
        for (table,) in session.execute(TABLES).fetchall():
            names = [
                sql.Identifier(name)
                for (name,) in session.execute(columns, [table])
                if name not in CHANGED.get(table, "").split()
            ]
            query = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(
                sql.SQL(", ").join(names), sql.Identifier(table)
            )
            with session.cursor().copy(query) as copy:
                found[table] = Counter(b"".join(copy).splitlines())
    return found


def schema(url):
    """Return all definitions: tables, constraints, indexes, triggers, privileges."""
    dumped = run_command(
        [postgres_programs() / "pg_dump", "--schema-only", "--schema=public", url],
        check=True,
    ).stdout
    # A dump has a random name in it, and PostgreSQL writes the casts and parentheses of a
    # condition that it has read another way.
    return re.sub(
        r"(?m)^\\(un)?restrict .*$|::(character varying|text)(\[\])?|[()]", "", dumped
    )


def sequences(url):
    """Return the last number that each sequence has given."""
    query = "SELECT sequencename, coalesce(last_value, 0) FROM pg_sequences"
    with psycopg.connect(url) as session:
        return dict(session.execute(query).fetchall())


@pytest.mark.slow
def test_every_row_is_restored_the_ledger_is_proven_and_losses_are_reported(
    desk, target, tmp_path
):
    url = os.environ["DATABASE_OWNER_URL"]
    make_person("ida@yourteam.example", "Ida Lindqvist", "admin")
    with psycopg.connect(url) as session:
        fill_empty_tables(session)
    path = make_backup(tmp_path)
    before = content(url)
    numbers = sequences(url)
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
    after = content(target["DATABASE_OWNER_URL"])
    assert before.keys() == after.keys()
    assert [table for table, rows in before.items() if not rows] == []
    lost = {table: rows - after[table] for table, rows in before.items()}
    more = {table: after[table] - rows for table, rows in before.items()}
    # Everybody signs in again, and that the backup is complete was noted after it.
    assert {table for table, rows in lost.items() if rows} == {
        "django_session",
        "dashboard_tick",
    }
    assert {table for table, rows in more.items() if rows} == set(ADDED_TO)
    assert after["django_session"] == Counter()
    assert schema(target["DATABASE_OWNER_URL"]) == schema(url)
    numbers.pop("dashboard_tick_id_seq")
    assert numbers == numbers | {
        name: last
        for name, last in sequences(target["DATABASE_OWNER_URL"]).items()
        if last < numbers.get(name, 0)
    }
    # Existing data is never overwritten.
    assert_refused("is in use (log, seals.jsonl, secrets.env)", folder, target, path)
    assert "secrets.env" in left_in(folder)


@pytest.fixture
def owner(desk):
    """A session of the tables' owner, which has a table that it alone may read."""
    url = os.environ["DATABASE_OWNER_URL"]
    with psycopg.connect(url, autocommit=True) as session:
        session.execute("CREATE TABLE public.extra (content bytea)")
        yield session
        session.execute("DROP TABLE public.extra")


def assert_no_backup(words, folder, capsys):
    """Try to make a backup: one sentence, no file, and nothing that sounds complete."""
    with pytest.raises(CommandError, match=words) as refused:
        make_backup(folder)
    assert "\n" not in str(refused.value)
    assert "holds the desk" not in capsys.readouterr().out
    assert not Tick.objects.filter(job=BACKUP).exists()
    assert list(folder.iterdir()) == []


def as_application(monkeypatch):
    url = os.environ["DATABASE_OWNER_URL"]
    monkeypatch.setenv("DATABASE_OWNER_URL", url.replace(OWNER, APPLICATION))


def test_dump_that_may_not_read_everything_leaves_no_backup(
    owner, tmp_path, monkeypatch, capsys
):
    as_application(monkeypatch)
    assert_no_backup("permission denied for table extra", tmp_path, capsys)
    owner.execute("GRANT ALL ON public.extra TO PUBLIC")
    owner.execute("ALTER TABLE public.extra ENABLE ROW LEVEL SECURITY")
    assert_no_backup("affected by row-level security", tmp_path, capsys)


@pytest.mark.parametrize(
    ("words", "end"),
    variants(
        [
            ("could not be dumped", lambda owner, pid: os.kill(pid, signal.SIGKILL)),
            (
                "terminating connection",
                lambda owner, pid: owner.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pg_dump'"
                ),
            ),
            (
                "cannot be read: .*connection",
                lambda owner, pid: owner.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ~ 'backup'"
                ),
            ),
        ],
        1,
    ),
    ids=["killed", "server gone", "server gone for us"],
)
def test_dump_that_is_ended_leaves_no_backup(
    owner, tmp_path, capsys, monkeypatch, words, end
):
    waiting = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'pg_dump' AND wait_event_type = 'Lock'"
    # The dump waits for this table until something has happened to it.
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as other:
        monkeypatch.setattr(
            whole,
            "refuse_small_disk",
            lambda *_: other.execute("LOCK TABLE public.extra"),
        )

        def interfere():
            try:
                wait_for(lambda: owner.execute(waiting).fetchone(), 60, "pg_dump waits")
                children = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
                [pid] = [
                    int(child)
                    for child in children.split()
                    if Path(f"/proc/{child}/comm").read_text() == "pg_dump\n"
                ]
                end(owner, pid)
            finally:
                other.rollback()

        with ThreadPoolExecutor(1) as beside:
            done = beside.submit(interfere)
            assert_no_backup(words, tmp_path, capsys)
        done.result()


@pytest.mark.slow
def test_small_disk_is_refused_before_and_in_the_midst_of_a_backup(
    owner, tmp_path, capsys
):
    # What tests before left of their rows would count as needed.
    owner.execute("VACUUM FULL")
    random = "SELECT string_agg(uuid_send(gen_random_uuid()), '') FROM generate_series(1, 64 + 0 * n)"
    # Of a kind that is dumped as large as it is, unlike most.
    owner.execute(
        f"INSERT INTO public.extra SELECT ({random}) FROM generate_series(1, 20000) AS n"
    )
    with small_disk(tmp_path / "small", "2m") as small:
        assert_no_backup("2 MB free, and about .* are needed", small, capsys)
    with small_disk(tmp_path / "larger", "14m") as larger:
        assert_no_backup("cannot be written: No space left", larger, capsys)
    # On a disk with less room than the tables take, as text shrinks.
    owner.execute("TRUNCATE public.extra")
    owner.execute(
        "INSERT INTO public.extra SELECT repeat('text ', 300)::bytea FROM generate_series(1, 20000)"
    )
    with small_disk(tmp_path / "fitting", "15m") as fitting:
        made = make_backup(fitting)
        assert made.stat().st_size < 15 * 2**20


@pytest.mark.slow
def test_dump_that_breaks_off_while_it_is_loaded_leaves_the_database_empty(
    desk, target, tmp_path
):
    dump = Backup(make_backup(tmp_path)).open(DUMP).read()
    for part in (dump[: len(dump) // 2], dump[:-1000]):
        with pytest.raises(BackupError, match="could not be read"):
            load(target["DATABASE_OWNER_URL"], io.BytesIO(part), made_with=0)
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
