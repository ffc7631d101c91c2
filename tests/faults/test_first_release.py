"""The code of release 1.0.0 runs with messages, decisions and alerts; then this code runs
on the same database and folder.
"""

import io
import subprocess
import tarfile

import psycopg
import pytest

from launcher.paths import ROOT
from tests.commands import run_command
from tests.desk import Product
from tests.supervised import NAMES, mail_server

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("launcher")]

# The commit of release 1.0.0, see docs/releases.md.
FIRST = "63ffddfc9"
TABLES = """
SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename
"""
# These hold what is going on, and rows of theirs end by themselves.
PASSING = {"dashboard_tick", "dashboard_host", "django_session"}


def first_release(folder):
    """Make a checkout of release 1.0.0. It uses the packages that are installed here,
    if it asks for the same ones, and servers that run already.
    """
    for question in (
        ["git", "cat-file", "-e", f"{FIRST}^{{commit}}"],
        ["git", "diff", "--quiet", FIRST, "--", "requirements.txt"],
    ):
        if run_command(question, cwd=ROOT).returncode:
            pytest.skip("the commit of 1.0.0 is not here, or needs other packages")
    archive = subprocess.run(
        ["git", "archive", FIRST], cwd=ROOT, check=True, stdout=subprocess.PIPE
    )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    for installed in (".venv", ".servers"):
        (folder / installed).symlink_to(ROOT / installed)
    return folder


def start(supervised, root):
    for name in NAMES:
        supervised.start(name, root=root)
    for name in NAMES:
        supervised.wait_for(
            lambda name=name: supervised.is_healthy(name, root), 120, name
        )


def rows_by_table(supervised):
    with psycopg.connect(supervised.env["DATABASE_OWNER_URL"]) as session:
        names = [row[0] for row in session.execute(TABLES)]
        return {
            name: session.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
            for name in names
        }


def test_desk_of_the_first_release_goes_on_under_this_code(supervised, tmp_path):
    old = first_release(tmp_path / "old")
    port = supervised.env["SMTP_PORT"]
    with mail_server(port) as mails:
        supervised.env |= {"EMAIL_URL": f"smtp://127.0.0.1:{port}", "DEMO": "quiet"}
        prepared = supervised.run("process", "prepare", root=old)
        assert prepared.returncode == 0, prepared.stderr
        start(supervised, old)
        product = Product(supervised)
        product.set_undo_window("0 seconds")
        ana = product.reviewer()
        ids, subjects, rows = [], [], []
        for _ in range(3):
            upstream_id, subject = product.send()
            ids.append(upstream_id)
            subjects.append(subject)
            rows.append(product.held(ana, upstream_id))
        ana.approve(rows[0])
        supervised.wait_for(lambda: mails, 60, "the mail of the first release")
        planned = "SELECT count(*) FROM alerts_delivery"
        supervised.wait_for(lambda: supervised.ask(planned), 60, "an alert")
        supervised.stop_processes()
        before = rows_by_table(supervised)
        for table in ("approvals_decision", "alerts_delivery", "audit_entry"):
            assert before[table], table
        prepared = supervised.run("process", "prepare")
        assert prepared.returncode == 0, prepared.stderr
        [backup] = (tmp_path / "data" / "backups").iterdir()
        assert f"a backup was made: {backup}" in prepared.stdout
        after = rows_by_table(supervised)
        lost = {
            name: (number, after.get(name))
            for name, number in before.items()
            if name not in PASSING and after.get(name, -1) < number
        }
        assert lost == {}
        start(supervised, ROOT)
        ana = product.reviewer()
        ana.approve(product.held(ana, ids[1]))
        supervised.wait_for(lambda: len(mails) == 2, 60, "the mail of this code")
        # Pressed again, it is not sent again.
        again = ana.decide(rows[1]["id"], "approve", rows[1]["fingerprint"])
        assert again.status_code < 500
        verified = supervised.run("manage", "audit_verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        doctor = supervised.run("manage", "doctor")
        assert "Nothing needs attention." in doctor.stdout, doctor.stdout
    assert mails == subjects[:2]
