"""Migrates the database, collects static files, and creates the demo's data if
requested.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.core.management import (
    BaseCommand,
    CommandError,
    CommandParser,
    call_command,
)
from django.db import DatabaseError, OperationalError, connection, transaction
from psycopg import sql
from redis import Redis
from redis.exceptions import RedisError

from audit.guards import APPEND_ONLY, READ_ONLY
from common.postgres import clock
from common.version import product_build, product_version
from dashboard import hosts
from dashboard.backup.archive import MARKER, BackupError, owner_url, refuse_pooler
from dashboard.backup.whole import write_backup
from dashboard.env import connection_settings
from dashboard.health.checks import (
    applied_migrations,
    first_few,
    pending_migrations,
    unknown_migrations,
)
from dashboard.models import Host
from launcher.welcome import FIRST_RUN
from people.models import Person

# For how long a session of the application may be idle in a transaction.
LONGEST_IDLE = "60s"
# In seconds. With a clock that is more wrong, one-time codes and signatures are refused.
LARGEST_CLOCK_ERROR = 300

# Only triggers call the functions that write the history of roles, with the owner's
# privileges. Migrations say so too, but a restore leaves privileges out, because roles
# may have other names there.
_REVOKE = """
DO $$ DECLARE one regprocedure; BEGIN
  FOR one IN SELECT oid FROM pg_proc WHERE prosecdef AND proname ^@ 'people_'
  LOOP EXECUTE 'REVOKE EXECUTE ON FUNCTION ' || one || ' FROM PUBLIC'; END LOOP;
END $$
"""


def _version() -> str:
    # By SQL: a newer version may have other columns.
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT version FROM dashboard_host ORDER BY joined_at DESC LIMIT 1"
            )
            row = cursor.fetchone()
    except DatabaseError:
        return ""
    return f", {row[0]}" if row else ""


@contextlib.contextmanager
def _only_one(url: str) -> Iterator[None]:
    """Let one host at a time prepare the database. The lock belongs to a transaction,
    which poolers support, and ends with it.
    """
    with psycopg.connect(url) as session:
        session.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        session.execute("SELECT pg_advisory_xact_lock(hashtext('countersign prepare'))")
        yield


class Command(BaseCommand):
    # Runs as the role in DATABASE_OWNER_URL, if that is set: the application's own
    # role may not alter tables.

    # The docstring of the module.
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--restoring",
            action="store_true",
            help="the database alone, in the midst of ./run restore",
        )

    def handle(self, *args: Any, restoring: bool, **options: Any) -> None:
        application_role = str(settings.DATABASES["default"]["USER"])
        name = connection.settings_dict["NAME"]
        # Fail now with a clear error, instead of starting processes that never become
        # ready.
        try:
            connection.ensure_connection()
            connection.close()
            # The whole address: the application's may be that of a connection pooler.
            connection.settings_dict.update(connection_settings(owner_url()), NAME=name)
            connection.ensure_connection()
            refuse_pooler(owner_url())
        except OperationalError as error:
            raise CommandError(
                f"DATABASE_URL and DATABASE_OWNER_URL must lead to PostgreSQL: {error}",
                returncode=os.EX_TEMPFAIL,
            ) from None
        except BackupError as error:
            raise CommandError(str(error)) from None
        try:
            Redis.from_url(
                settings.REDIS_URL, socket_connect_timeout=5, socket_timeout=5
            ).ping()
        except (RedisError, ValueError) as error:
            raise CommandError(
                f"REDIS_URL must lead to Redis: {error}", returncode=os.EX_TEMPFAIL
            ) from None
        with _only_one(owner_url()):
            self._refuse_unusable(restoring)
            if not restoring:
                self._back_up()
            self._migrate()
            self._grant(application_role)
            self._set_role_defaults()
            if not restoring:
                hosts.join()
                self._make_files()

    def _migrate(self) -> None:
        """Run all migrations in one transaction. If one fails, for instance on a full
        disk, none has run, and the version before can go on with the database.
        """
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                # Otherwise a migration could not alter a table whose rows one before it
                # has changed.
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
                call_command("migrate", interactive=False, verbosity=0)
                call_command("createcachetable", verbosity=0)
                cursor.execute(_REVOKE)
        except DatabaseError as error:
            raise CommandError(
                f"The migrations failed, and nothing was changed: {str(error).splitlines()[0]}"
            ) from None

    def _back_up(self) -> None:
        """Make a backup before an upgrade changes the database. It is the way back, so
        without it nothing is changed.
        """
        if not applied_migrations() or not pending_migrations():
            return
        folder = Path(settings.DATA_DIR) / "backups"
        made = f"{datetime.now(UTC):%Y-%m-%d-%H%M%S}"
        path = folder / f"before-{product_version()}-{made}.backup"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            write_backup(path, settings.ENCRYPTION_KEYS[0])
        except (BackupError, OSError) as error:
            raise CommandError(
                f"No upgrade without a backup: {error} Nothing was changed."
            ) from None
        self.stdout.write(f"Before the upgrade, a backup was made: {path}")

    def _make_files(self) -> None:
        """Collect static files, and make the demo's data if requested."""
        # If an earlier run was interrupted, for instance by a full disk, collect all
        # static files again: a truncated file would look complete.
        folder = Path(settings.STATIC_ROOT)
        unfinished = folder.with_name(f"{folder.name}.unfinished")
        if unfinished.exists():
            shutil.rmtree(folder, ignore_errors=True)
        unfinished.touch()
        call_command("collectstatic", interactive=False, verbosity=0)
        unfinished.unlink()
        # This file exists while there is no admin. It is for the launcher, which does
        # not use the database.
        marker = Path(settings.DATA_DIR) / FIRST_RUN
        if Person.objects.admins_of_all().exists():
            marker.unlink(missing_ok=True)
        else:
            marker.touch(mode=0o600)
        if settings.DEMO != "0":
            credentials = Path(settings.DATA_DIR) / "credentials.env"
            call_command("demo_desk", "begin", credentials=credentials)
            call_command("demo_gateway", credentials=credentials)
            call_command("demo_desk", "finish", credentials=credentials)

    def _refuse_unusable(self, restoring: bool) -> None:
        if (off := abs(time.time() - clock().timestamp())) > LARGEST_CLOCK_ERROR:
            raise CommandError(
                f"The clock of this host is {off:,.0f} s away from the database's. "
                "Set both by NTP. Nothing was changed."
            )
        if unknown := unknown_migrations(applied_migrations()):
            raise CommandError(
                f"The database was used by a newer Countersign{_version()}: it has migrations that this one, "
                f"{product_build()}, does not know ({first_few(unknown)}). Start that version or a newer one, or "
                "restore the backup that was made before the upgrade: docs/operators/upgrade.md. Nothing was changed."
            )
        if restoring:
            return
        tables = connection.introspection.table_names()
        if MARKER in tables:
            raise CommandError(
                "A restore into this database was interrupted, so its data is incomplete and not safe to send from. "
                "Empty it (./run reset, or drop the database) and restore again: docs/operators/backup.md."
            )
        if Host._meta.db_table in tables:
            hosts.refuse_difference()
            hosts.refuse_breaking_upgrade()

    def _grant(self, role: str) -> None:
        """Grant the application's role its privileges. It may only add to the ledger;
        triggers enforce that too.

        This is SQL, because the ORM cannot grant privileges.
        """
        if role == connection.settings_dict["USER"]:
            return
        name = sql.Identifier(role)
        with connection.cursor() as cursor:
            for statement in (
                "GRANT USAGE ON SCHEMA public TO {}",
                "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {}",
                "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {}",
            ):
                cursor.execute(sql.SQL(statement).format(name))
            for table in (*APPEND_ONLY, *READ_ONLY):
                rights = "UPDATE, DELETE, TRUNCATE"
                if table in READ_ONLY:
                    rights += ", INSERT"
                revoke = sql.SQL(f"REVOKE {rights} ON {{}} FROM {{}}")
                cursor.execute(revoke.format(sql.Identifier(table), name))

    def _set_role_defaults(self) -> None:
        """Have the server end idle transactions in every session of the application's
        role, because no ledger entry after an open transaction can be sealed.

        The setting is stored with the role, because poolers accept no settings with a
        connection. If somebody has chosen another value, that stays; if the role may
        not change it, the server's value stays.
        """
        setting = sql.Identifier("idle_in_transaction_session_timeout")
        with (
            contextlib.suppress(psycopg.Error),
            psycopg.connect(settings.OWN_DATABASE_URL) as session,
        ):
            if session.execute(sql.SQL("SHOW {}").format(setting)).fetchone() == ("0",):
                statement = sql.SQL(
                    "ALTER ROLE CURRENT_USER IN DATABASE {} SET {} = {}"
                )
                database = sql.Identifier(session.info.dbname)
                session.execute(
                    statement.format(database, setting, sql.Literal(LONGEST_IDLE))
                )
