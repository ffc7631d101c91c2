"""Bundles of the ledger: their content, the result of the offline verifier, and cleanup
after a failure.
"""

import re
import shlex
import sys
import uuid

import pytest
from django.core.management import call_command

from audit.sealing import signing
from audit.tasks import seal
from audit.trail.proof import prove
from audit.verification.bundle import write_bundle
from audit.verifier import countersign_verify as verifier
from tests.commands import run_command
from tests.ledger import ACTOR, append, latest_details

pytestmark = pytest.mark.django_db(transaction=True)
FILES = {
    "README.txt", "countersign_verify.py", "details.jsonl", "entries.jsonl", "manifest.json", "seals.jsonl"
}  # fmt: skip


@pytest.fixture
def ledger(settings, tmp_path):
    """A ledger with two seals and some unsealed entries."""
    settings.SEAL_FILE = tmp_path / "seals.jsonl"
    append(3)
    seal()
    append(3)
    append(message=uuid.UUID(int=7))
    seal()
    return append(2)


def test_bundle_holds_everything_and_verifies_itself(ledger, settings, tmp_path):
    target = tmp_path / "bundle"
    call_command("audit_export", to=str(target), because="the auditor asked")
    assert latest_details("ledger.bundled")["reason"] == "the auditor asked"
    assert {one.name for one in target.iterdir()} == FILES
    program = [sys.executable, "-I", "-S", target / "countersign_verify.py"]
    command = [*program, target, "--head", settings.SEAL_FILE]
    ran = run_command(command, env={})
    assert ran.returncode == 0, ran.stdout
    assert "Verified: 10 entries, 10 of them under 3 seals." in ran.stdout
    assert target.stat().st_mode & 0o077 == 0


@pytest.mark.slow
def test_commands_on_the_auditors_page_work(ledger, settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_bundle(tmp_path / "ledger-october.zip")
    page = (settings.BASE_DIR / "docs" / "auditors.md").read_text()
    commands = re.findall(
        r"^(?:\./run manage|python3 -I countersign_verify\.py) .*$", page, re.M
    )
    assert len(commands) >= 6
    proof = prove(uuid.UUID(int=7), actor=ACTOR, form="json").text
    (tmp_path / "proof.json").write_text(proof)
    for command in commands:
        program, *words = shlex.split(command)
        if program == "./run":
            if words[1] in ("audit_export", "audit_verify"):
                call_command(*words[1:])
            continue
        key = verifier.fingerprint_of(signing.public_key())
        arguments = [key if word == "KEY-FINGER-PRNT" else word for word in words[2:]]
        assert verifier.main(arguments) == 0, command
