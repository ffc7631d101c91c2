"""What the database was last used by: a newer Countersign has made migrations that this one does not know."""

from collections.abc import Iterable

from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

_NAMED = 3


def applied_migrations() -> list[tuple[str, str]]:
    """Return app and name of every migration that was made in the database; none in an empty one."""
    recorder = MigrationRecorder(connection)
    return sorted(recorder.applied_migrations()) if recorder.has_table() else []


def unknown_migrations(applied: Iterable[tuple[str, str]]) -> list[str]:
    """Return those that this code does not have. Whoever takes an app out of the code takes its rows out too."""
    known = MigrationLoader(None, ignore_no_migrations=True).disk_migrations
    replaced = {name for migration in known.values() for name in migration.replaces}
    return [f"{app}.{name}" for app, name in applied if (app, name) not in known.keys() | replaced]


def named(migrations: list[str]) -> str:
    """Return the first few for a sentence."""
    more = len(migrations) - _NAMED
    return ", ".join(migrations[:_NAMED]) + (f" and {more} more" if more > 0 else "")
