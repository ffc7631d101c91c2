"""`python -m tests.releases.make`: writes a database dump of a small desk, made by the
code of this release, for the upgrade tests of later releases.

Run it once for each release, from that release's code. The keys in it are used nowhere
else.
"""

import base64
import gzip
import os
import subprocess
import sys
import tempfile
import tomllib
from datetime import timedelta
from pathlib import Path

from launcher import environment
from launcher.paths import ROOT
from launcher.postgres import OWNER, Servers, postgres_programs

FOLDER = Path(__file__).parent
_KEY = base64.urlsafe_b64encode(bytes(range(32))).decode()
KEYS = {
    "SECRET_KEY": "of the tests alone, " * 3,
    "ENCRYPTION_KEYS": _KEY,
    "SEAL_KEY": _KEY,
}


def main():
    """Start separate servers, fill a desk, and dump its database."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    with tempfile.TemporaryDirectory(
        prefix="countersign-", ignore_cleanup_errors=True
    ) as folder:
        servers = Servers(Path(folder), durable=False)
        assert servers.postgres is not None
        try:
            servers.start()
            settings = environment.read({"DATA_DIR": folder, "DEMO": "0"})
            os.environ.update(
                {**settings.variables, **servers.variables(), **KEYS, "DEMO": "0"}
            )
            subprocess.run(
                [sys.executable, str(ROOT / "manage.py"), "prepare"],
                check=True,
                cwd=ROOT,
            )
            _fill()
            _dump(servers.postgres.url(OWNER), FOLDER / f"{version}.sql.gz")
        finally:
            servers.stop()


def _dump(url, target):
    options = ["--schema=public", "--no-owner", "--no-privileges"]
    dump = subprocess.run(
        [postgres_programs() / "pg_dump", *options, url],
        check=True,
        capture_output=True,
    )
    target.write_bytes(gzip.compress(dump.stdout, mtime=0))


def _fill():
    """Make held messages, decisions in each unfinished state, mail at the gateway, and
    a ledger with sealed and unsealed entries.
    """
    import django

    django.setup()
    from django.utils import timezone

    from audit.sealing.sealer import seal_all
    from gateway.messages.decisions import decide_email
    from gateway.models import ApiKey, Email
    from tests import factories
    from tests.integration.deciding import decide
    from tests.integration.gateway.world import make_world
    from tests.ledger import append

    ana = factories.make_person("ana@yourteam.example", "Ana Ferreira", "reviewer")
    factories.make_person("ida@yourteam.example", "Ida Lindqvist", "admin")
    connection = factories.make_connection()
    messages = [
        factories.make_message(connection, subject=f"Refund {number}")
        for number in range(6)
    ]
    seal_all()
    for message, state in zip(
        messages,
        ("held", "held", "recorded", "calling", "unknown", "withdrawn"),
        strict=True,
    ):
        if state == "held":
            continue
        is_called = state != "recorded"
        factories.change_row(
            decide(message, ana).decision,
            state=state,
            due_at=timezone.now(),
            attempt=int(is_called),
            may_have_left=is_called,
            lease_until=timezone.now() if state == "calling" else None,
        )
    seal_all()
    world = make_world()
    agent, desk = (
        ApiKey.objects.get(account=world.account, name=f"Key {name}")
        for name in ("agent", "desk")
    )
    for number, later in enumerate((None, timedelta(days=36_500), None)):
        email = Email.objects.create(
            account=world.account, mailbox=world.mailbox, direction="outbound",
            status="pending_send_approval", sandbox=False,
            sent_by_key=agent, created_at=timezone.now(), from_address=world.mailbox.address,
            to=["dana@northwind.example"], subject=f"Order {number}", markdown="Hello", gated=True,
            message_id_header=f"<{number}@acme.example>", thread_id=str(number), oversight_mode="gated_send",
            send_at=timezone.now() + later if later else None,
        )  # fmt: skip
        if number < 2:
            nothing = {"reason": "", "expected_fingerprint": ""}
            decide_email(desk, email.pk, outcome="approved", **nothing)
    append(3)
    seal_all()
    append(2)


if __name__ == "__main__":
    main()
