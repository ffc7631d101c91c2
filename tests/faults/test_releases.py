"""Two made-up releases after this one, each with one more migration: a desk is upgraded
to the last in one step, older code refuses its data, and the backup that the upgrade
made is the way back.
"""

import re
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from common.credentials import read_credentials
from common.version import product_version
from launcher.paths import ROOT
from tests.faults.copies import copy_code
from tests.faults.small_disks import small_disk
from tests.supervised import supervised_in

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("launcher")]

_MIGRATION = """
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("dashboard", "{before}")]
    operations = [
        migrations.AddField("host", "made_up_{number}", models.TextField(default="")),
    ]
"""


# More than a small disk takes. Without a log, whose end would end PostgreSQL.
_FILLING = """
CREATE UNLOGGED TABLE filling AS SELECT repeat(md5(n::text), 30) FROM generate_series(1, 500000) AS n
"""

MADE_UP = "SELECT count(*) FROM django_migrations WHERE name LIKE '%made_up'"


def release(folder, version, migrations):
    """Make a copy of this code with another version and more migrations."""
    copy_code(folder)
    project = folder / "pyproject.toml"
    text = re.sub(
        r'(?m)^version = ".*"$', f'version = "{version}"', project.read_text()
    )
    project.write_text(text)
    before = sorted((folder / "dashboard/migrations").glob("0*.py"))[-1].stem
    for number in range(1, migrations + 1):
        name = f"9{number:03}_made_up"
        text = _MIGRATION.format(before=before, number=number)
        (folder / f"dashboard/migrations/{name}.py").write_text(text)
        before = name
    return folder


def test_upgrade_over_two_releases_and_back(supervised, tmp_path):
    def prepare(root=ROOT, **variables):
        return supervised.run("process", "prepare", root=root, **variables)

    data = tmp_path / "data"
    assert prepare().returncode == 0
    made = supervised.run("manage", "gateway_account", "--name", "Acme")
    assert made.returncode == 0, made.stderr
    # An ordinary start makes no backup.
    assert prepare().returncode == 0
    assert not (data / "backups").exists()
    newest = release(tmp_path / "newest", "77.2.0", migrations=2)
    # Twice at once: one of them makes the backup and migrates, the other waits for it.
    with ThreadPoolExecutor(2) as hosts:
        both = list(hosts.map(prepare, (newest, newest)))
    assert [one.returncode for one in both] == [0, 0], both
    assert supervised.ask("SELECT count(made_up_2) FROM dashboard_host") == 1
    [backup] = (data / "backups").iterdir()
    printed = "".join(one.stdout for one in both)
    assert printed.count(f"a backup was made: {backup}") == 1
    assert backup.stat().st_mode & 0o777 == 0o600
    # Both older ones refuse, and name both versions.
    between = release(tmp_path / "between", "77.1.0", migrations=1)
    for root, version in ((ROOT, product_version()), (between, "77.1.0")):
        refused = prepare(root)
        assert refused.returncode != 0
        assert "newer Countersign, 77.2.0:" in refused.stderr
        assert f"this one, {version}" in refused.stderr
        assert "Nothing was changed" in refused.stderr
    # The way back: this code, an empty database and folder.
    with psycopg.connect(
        supervised.env["DATABASE_OWNER_URL"], autocommit=True
    ) as session:
        session.execute("CREATE DATABASE back")
    keys = read_credentials(data / "secrets.env")
    back = {
        "DATA_DIR": str(tmp_path / "back"),
        "BACKUP_PASSPHRASE": keys["ENCRYPTION_KEYS"],
    } | {
        name: supervised.env[name].replace("/countersign?", "/back?")
        for name in ("DATABASE_URL", "DATABASE_OWNER_URL")
    }
    restored = supervised.run("restore", str(backup), **back)
    assert restored.returncode == 0, restored.stdout + restored.stderr
    assert prepare(**back).returncode == 0
    supervised.env |= back
    assert supervised.ask("SELECT count(*) FROM gateway_account") == 1


def test_nothing_is_upgraded_without_a_backup(supervised, tmp_path):
    assert supervised.run("process", "prepare").returncode == 0
    newest = release(tmp_path / "newest", "77.1.0", migrations=1)
    # In the place of the folder for backups.
    (tmp_path / "data" / "backups").write_text("")
    refused = supervised.run("process", "prepare", root=newest)
    assert refused.returncode != 0
    assert "No upgrade without a backup" in refused.stderr
    assert supervised.ask(MADE_UP) == 0


def test_upgrade_on_a_disk_that_fills_up_leaves_the_version_before(tmp_path):
    newest = release(tmp_path / "newest", "77.2.0", migrations=2)
    last = newest / "dashboard/migrations/9002_made_up.py"
    filling = f"        migrations.RunSQL({_FILLING!r}),\n"
    last.write_text(
        last.read_text().replace("operations = [\n", f"operations = [\n{filling}", 1)
    )
    with (
        small_disk(tmp_path / "small", "250m") as folder,
        supervised_in(folder) as supervised,
    ):

        def prepare(root):
            return supervised.run("process", "prepare", root=root)

        assert prepare(ROOT).returncode == 0
        refused = prepare(newest)
        assert refused.returncode != 0
        sentence = refused.stderr.strip().splitlines()[-1]
        assert "and nothing was changed: could not extend file" in sentence
        assert "Traceback" not in refused.stderr
        assert supervised.ask(MADE_UP) == 0
        columns = "SELECT count(*) FROM information_schema.columns WHERE column_name LIKE 'made_up%'"
        assert supervised.ask(columns) == 0
        again = prepare(ROOT)
        assert again.returncode == 0, again.stderr
