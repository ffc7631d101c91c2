"""The machine burnt down: a desk comes back from a backup and its passphrase alone, by the
commands of docs/operators/backup.md.
"""

import re
import shutil

import pytest

from common.credentials import read_credentials
from launcher.environment import PORTS
from launcher.paths import ROOT
from tests.commands import run_command
from tests.desk import Product
from tests.faults.copies import copy_code
from tests.signing import code_now
from tests.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("launcher")]

# The files of DATA_DIR that a backup has.
KEPT = {"secrets.env", "seals.jsonl", "credentials.env", "discord.env"}
# Those that it does not need.
NOT_KEPT = {
    *"postgres".split(),  # Dumped.
    *"static renderings first_run".split(),  # Made again.
    *"log sockets redis run.json run.lock".split(),  # Of one run.
    *"backups".split(),  # Backups themselves.
    # What the demo's programs have received.
    *"outbox agent.json discord.jsonl discord-commands.json".split(),
}


def commands(**places):
    """Return the commands of the documentation, with other places."""
    text = (ROOT / "docs" / "operators" / "backup.md").read_text()
    section = text.partition("## The machine is lost")[2].partition("\n## ")[0]
    lines = "\n".join(re.findall(r"(?m)^    (.+)$", section))
    for before, place in places.items():
        lines = lines.replace(before, str(place))
    return lines


def test_desk_comes_back_from_the_backup_alone(tmp_path, monkeypatch):
    old = Stack(tmp_path / "old")
    (tmp_path / "old").mkdir()
    try:
        old.start()
        product = Product(old)
        ana = product.reviewer()
        row = product.hold_with_files(ana, [("a.txt", b"\0\xff\n" * 999, "text/plain")])
        email = product.known["REVIEWER_EMAIL"]
        given = old.run(
            "manage",
            "shell",
            "-c",
            "from tests.signing import give_app; from people.models import Person;"
            f"give_app(Person.objects.get(email={email!r}))",
        )
        assert given.returncode == 0, given.stderr
        old.wait_for((old.data / "seals.jsonl").exists, 120, "the first seal")
        ports = {name: old.env[name] for name in PORTS}
    finally:
        if old.is_running():
            old.stop()
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse battery\n")
    passphrase.chmod(0o600)
    backup = tmp_path / "desk.backup"
    old._outer["BACKUP_PASSPHRASE_FILE"] = str(passphrase)
    made = old.run("backup", str(backup))
    assert made.returncode == 0, made.stderr
    names = {entry.name for entry in old.data.iterdir()}
    assert names >= KEPT
    assert names - KEPT - NOT_KEPT == set()
    kept = {name: (old.data / name).read_bytes() for name in KEPT}
    keys = read_credentials(old.data / "secrets.env")
    shutil.rmtree(old.data)

    new = Stack(tmp_path / "new", **ports)
    clone = copy_code(tmp_path / "clone")
    monkeypatch.setattr("tests.stack.ROOT", clone)
    restore, start = commands(
        **{
            "/srv/countersign": new.data,
            "/mnt/passphrase": passphrase,
            "/mnt/backups/desk-2026-11-22.backup": backup,
        }
    ).split("./run --detach\n")
    done = run_in(clone, restore, new)
    assert "The ledger is intact" in done
    assert read_credentials(new.data / "secrets.env") == keys
    for name in KEPT - {"secrets.env"}:
        restored = (new.data / name).read_bytes()
        # The ledger goes on with one more seal.
        is_seals = name == "seals.jsonl"
        assert restored.startswith(kept[name]), name
        assert restored.count(b"\n") - kept[name].count(b"\n") == is_seals
    try:
        exports = restore.splitlines()[0]
        # Its status says that something needs a person.
        start = start.replace("manage doctor", "manage doctor || test $? = 2")
        done = run_in(clone, f"{exports}\n./run --detach\n{start}", new)
        assert "The ledger is intact" in done
        product = Product(new)
        ana = product.reviewer()
        page = ana.get("/accounts/login/second/")
        signed_in = ana.post("/accounts/login/second/", page, code=code_now())
        assert signed_in.status_code == 302
        admin = product.reviewer("ADMIN")
        for address in set(
            re.findall(r'href="(/connections/\d+/)"', admin.get("/connections/").text)
        ):
            resumed = admin.post(f"{address}resume/", admin.get(address))
            assert resumed.status_code == 302
        approve(ana, row["id"])
        subject = product.sql(
            "SELECT subject FROM mirror_message WHERE public_id = %s", row["id"]
        )[0][0]
        [mail] = new.wait_for(lambda: product.mails(subject), 120, "the mail")
        [file] = mail.iter_attachments()
        assert file.get_payload(decode=True) == b"\0\xff\n" * 999
    finally:
        new.run("stop")


def run_in(clone, script, stack):
    """Run shell commands in the clone, with the variables of a stack; each must succeed."""
    done = run_command(["sh", "-ec", script], cwd=clone, env=stack._outer)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def approve(browser, message):
    """Approve a message on the page for high risk: it may have left since the backup."""
    address = f"/queue/{message}/approve/"
    page = browser.get(address)
    fingerprint = re.search(r'name="fingerprint" value="([^"]+)"', page.text)[1]
    answer = browser.post(
        address,
        page,
        fingerprint=fingerprint,
        risk_read=re.findall(r'name="risk_read"[^>]* value="([^"]+)"', page.text),
        typed="northwind.example",
    )
    assert answer.status_code == 302, answer.text
