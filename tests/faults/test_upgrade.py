"""This code over a database that an earlier release left, and an earlier one over a
database that a newer one left.
"""

import gzip
import subprocess

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models.functions import Now

from approvals.decisions.execute import abandon
from approvals.desk_messages import desk_messages
from approvals.models import Decision
from audit.models import Entry
from audit.sealing.anchors import write_anchors
from audit.sealing.sealer import seal_all
from audit.sealing.status import sealing_state
from audit.verification.checks import check_database
from common.postgres import clock
from dashboard.backup.archive import MARKER
from dashboard.health.checks import examine, pending_migrations
from dashboard.management.commands.prepare import Command
from gateway.models import Email
from launcher.console import LaunchError
from launcher.postgres import OWNER, Postgres, postgres_programs
from mirror.models import Message
from tests.moved import moved_to
from tests.releases.make import FOLDER, KEYS

RELEASES = sorted(FOLDER.glob("*.sql.gz"))


@pytest.fixture(params=RELEASES, ids=lambda path: path.name.removesuffix(".sql.gz"))
def left_by_release(request, django_db_setup, settings, tmp_path):
    """The address of a database as a release left it."""
    here = connection.get_connection_params()
    target = {"host": here["host"], "user": OWNER, "dbname": "left_by_release"}
    with psycopg.connect(**{**target, "dbname": "postgres"}, autocommit=True) as owner:
        owner.execute(f"DROP DATABASE IF EXISTS {target['dbname']}")
        owner.execute(f"CREATE DATABASE {target['dbname']}")
    program = [
        postgres_programs() / "psql",
        "--no-psqlrc",
        "--quiet",
        "--set=ON_ERROR_STOP=1",
        "--output=/dev/null",
    ]
    options = [
        f"--host={here['host']}",
        f"--username={OWNER}",
        f"--dbname={target['dbname']}",
    ]
    # The schema itself is in every database.
    lines = gzip.decompress(request.param.read_bytes()).replace(
        b"CREATE SCHEMA public;\n", b""
    )
    subprocess.run([*program, *options], input=lines, check=True)
    settings.SEAL_KEYS = [KEYS["SEAL_KEY"]]
    settings.SEAL_FILE = tmp_path / "seals.jsonl"
    settings.ENCRYPTION_KEYS = [KEYS["ENCRYPTION_KEYS"]]
    settings.SECRET_KEY = KEYS["SECRET_KEY"]
    return target


@pytest.mark.django_db(transaction=True)
def test_database_of_the_last_release_is_migrated_with_its_unfinished_work(
    left_by_release,
):
    with moved_to(left_by_release):
        call_command("prepare", restoring=True)
        assert pending_migrations() == []
        subjects = (
            desk_messages()
            .awaiting_review()
            .order_by("pk")
            .values_list("subject", flat=True)
        )
        assert list(subjects)[:2] == ["Refund 0", "Refund 1"]
        decisions = dict(Decision.objects.values_list("message__subject", "state"))
        wanted = ("recorded", "calling", "unknown", "withdrawn")
        assert decisions == {
            f"Refund {number}": state for number, state in enumerate(wanted, start=2)
        }
        assert Decision.objects.due().count() == 1
        abandon(decision_id=Decision.objects.get(state="calling").pk)
        assert Decision.objects.filter(state="unknown").count() == 2
        # Secrets can be read, and mail is where it was.
        assert Message.objects.all()[0].connection.oversight_key == "mm_live_oversight"
        assert Email.objects.in_outbox().filter(due_at__lte=Now()).count() == 1
        assert dict(Email.objects.values_list("subject", "status")) == {
            "Order 0": "scheduled", "Order 1": "scheduled", "Order 2": "pending_send_approval",
        }  # fmt: skip
        assert seal_all() > 0
        write_anchors()
        result = check_database()
        assert result.findings == []
        assert result.entries == Entry.objects.count()
        assert not sealing_state(clock()).why


@pytest.mark.django_db
def test_database_that_a_newer_release_used_is_refused_with_a_sentence():
    Command()._refuse_unusable(restoring=True)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES ('approvals', '9999_what_comes', now())"
        )
    with pytest.raises(
        CommandError,
        match=r"newer Countersign.* this one, .+, does not know \(approvals\.9999_what_comes\).*Nothing was changed",
    ):
        Command()._refuse_unusable(restoring=True)
    assert (
        "The database was used by a newer Countersign (approvals.9999_what_comes)"
        in [one.what for one in examine()]
    )


@pytest.mark.django_db
def test_database_into_which_a_restore_was_cut_off_is_refused():
    Command()._refuse_unusable(restoring=False)
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {MARKER} ()")
    with pytest.raises(
        CommandError, match=r"restore into this database was interrupted"
    ):
        Command()._refuse_unusable(restoring=False)


@pytest.mark.parametrize("version", ["99", "9"])
def test_folder_of_another_postgresql_is_refused_and_left_as_it_is(tmp_path, version):
    data = tmp_path / "postgres"
    data.mkdir()
    (data / "PG_VERSION").write_text(f"{version}\n")
    (data / "postmaster.pid").write_text("1\n")
    with pytest.raises(
        LaunchError,
        match=f"made by PostgreSQL {version}.*Make a backup.*Nothing was changed",
    ):
        Postgres(tmp_path).start()
    assert sorted(file.name for file in data.iterdir()) == [
        "PG_VERSION",
        "postmaster.pid",
    ]
