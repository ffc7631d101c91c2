"""PgBouncer in transaction mode between the processes and PostgreSQL, with fewer
sessions than there are threads.
"""

import contextlib
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from launcher.bootstrap import install_debian_packages
from launcher.environment import pick_free_ports
from tests.desk import Product
from tests.supervised import NAMES, mail_server

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("launcher")]

MESSAGES = 12


def settings(supervised, port):
    """The file of PgBouncer."""
    users = supervised.folder / "users"
    # The owner cannot come this way at all.
    users.write_text('"countersign" ""\n')
    return f"""
[databases]
countersign = host={supervised.postgres.sockets}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = transaction
default_pool_size = 4
"""


@contextlib.contextmanager
def pgbouncer(supervised):
    """Run PgBouncer in front of the PostgreSQL; yield the application's URL."""
    if not shutil.which("pgbouncer") and (
        os.geteuid() != 0 or not install_debian_packages(["pgbouncer"])
    ):
        pytest.skip("pgbouncer is missing: apt install pgbouncer")
    [port] = pick_free_ports(1)
    file = supervised.folder / "pgbouncer.ini"
    file.write_text(settings(supervised, port))
    # It refuses to run as root, as PostgreSQL does.
    process = subprocess.Popen(
        [*supervised.postgres._wrapper, "pgbouncer", "--quiet", str(file)],
        **supervised.postgres._account,
    )
    try:
        yield f"postgresql://countersign@127.0.0.1:{port}/countersign"
    finally:
        process.terminate()
        process.wait(30)


def is_refused(done):
    assert "must lead to PostgreSQL itself" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    return done.returncode != 0


def test_desk_works_through_pgbouncer_and_its_owner_is_refused(supervised, tmp_path):
    port = supervised.env["SMTP_PORT"]
    file = str(tmp_path / "file.backup")
    with pgbouncer(supervised) as url, mail_server(port) as mails:
        pooled = {"DATABASE_OWNER_URL": url}
        supervised.env |= {
            "DATABASE_URL": url,
            "EMAIL_URL": f"smtp://127.0.0.1:{port}",
            "BACKUP_PASSPHRASE": "a passphrase of this test",
        }
        assert is_refused(supervised.run("process", "prepare", **pooled))
        # Without an owner's address, the application's is taken for it.
        assert is_refused(supervised.run("process", "prepare", DATABASE_OWNER_URL=""))
        prepared = supervised.run("process", "prepare", DEMO="quiet")
        assert prepared.returncode == 0, prepared.stderr
        for name in NAMES:
            supervised.start(name)
        for name in NAMES:
            supervised.wait_for(
                lambda name=name: supervised.is_healthy(name), 120, name
            )
        product = Product(supervised)
        product.set_undo_window("0 seconds")
        product.hold_alerts()
        ana = product.reviewer()

        def send_and_approve(_):
            upstream_id, subject = product.send()
            ana.approve(product.held(ana, upstream_id))
            return subject

        with ThreadPoolExecutor(4) as threads:
            approved = list(threads.map(send_and_approve, range(MESSAGES)))
        assert is_refused(supervised.run("backup", file, **pooled))
        made = supervised.run("backup", file)
        assert made.returncode == 0, made.stderr
        elsewhere = {"DATA_DIR": str(tmp_path / "restored")}
        assert is_refused(supervised.run("restore", file, **pooled, **elsewhere))
        supervised.wait_for(lambda: len(mails) >= MESSAGES, 120, "all mails")
        assert sorted(mails) == sorted(approved)
        verified = supervised.run("manage", "audit_verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert "Traceback" not in supervised.run("manage", "doctor").stderr
    logs = "".join(file.read_text() for file in tmp_path.glob("*.out"))
    for error in ("prepared statement", "does not exist", "ProgrammingError"):
        assert error not in logs
