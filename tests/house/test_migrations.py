"""Migrations make what the models say. Those that a release recorded are kept as they
were: databases exist in which they have run.

`.ci/release` records them.
"""

import hashlib
from pathlib import Path

import pytest
from django.core.management import call_command

from launcher.paths import ROOT

RECORD = Path("tests/releases/migrations.sha256")


def changes(root):
    """Return a sentence for each recorded migration that was edited or deleted."""
    record = root / RECORD
    found = []
    for line in record.read_text().splitlines() if record.exists() else ():
        digest, name = line.split("  ")
        path = root / name
        if not path.exists():
            found.append(f"{name} was deleted after its release")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            found.append(f"{name} was edited after its release")
    return found


@pytest.mark.django_db
def test_no_model_differs_from_its_migrations():
    call_command("makemigrations", check_changes=True, dry_run=True)


def test_released_migrations_are_as_they_were():
    assert changes(ROOT) == [], "restore them, and write a new migration instead"


def test_migrations_can_be_one_transaction():
    """`prepare` runs all of them in one, so that an upgrade is done or not begun."""
    migrations = ROOT.glob("*/migrations/0*.py")
    assert [path for path in migrations if "atomic = False" in path.read_text()] == []


def test_edited_and_deleted_migrations_are_noticed_and_new_ones_are_not(tmp_path):
    folder = tmp_path / "people/migrations"
    folder.mkdir(parents=True)
    first, second = folder / "0001_initial.py", folder / "0002_more.py"
    first.write_text("operations = []\n")
    second.write_text("operations = []\n")
    assert changes(tmp_path) == []

    digest = hashlib.sha256(first.read_bytes()).hexdigest()
    (tmp_path / RECORD).parent.mkdir(parents=True)
    (tmp_path / RECORD).write_text(
        "".join(
            f"{digest}  {path.relative_to(tmp_path).as_posix()}\n"
            for path in (first, second)
        )
    )
    assert changes(tmp_path) == []
    (folder / "0003_new.py").write_text("operations = []\n")
    assert changes(tmp_path) == []
    first.write_text("operations = [1]\n")
    second.unlink()
    assert changes(tmp_path) == [
        "people/migrations/0001_initial.py was edited after its release",
        "people/migrations/0002_more.py was deleted after its release",
    ]
