"""Bundles of the ledger: their content, the result of the offline verifier, and cleanup
after a failure.
"""

import contextlib
import re
import resource
import shlex
import subprocess
import sys
import uuid

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from audit.models import Seal, SealedEntry
from audit.recording import record
from audit.retention import remove_listed
from audit.sealing import signing
from audit.sealing.sealer import seal_all
from audit.tasks import seal
from audit.trail.proof import prove
from audit.verification.bundle import BundleFailed, write_bundle
from audit.verification.checks import check_database
from audit.verifier import countersign_verify as verifier
from tests.ledger import ACTOR, append, latest_details, new_key

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
    ran = subprocess.run(command, capture_output=True, text=True, env={}, check=False)
    assert ran.returncode == 0, ran.stdout
    assert "Verified: 10 entries, 10 of them under 3 seals." in ran.stdout
    assert target.stat().st_mode & 0o077 == 0


@pytest.mark.slow
def test_bundle_may_be_one_file_and_without_details(ledger, tmp_path):
    made = write_bundle(tmp_path / "bundle.zip")
    assert (made.entries, made.size, made.seals, made.unsealed) == (9, 7, 2, 2)
    bundle = tmp_path / "bundle.zip"
    assert bundle.stat().st_mode & 0o077 == 0
    trust = verifier.Trust([made.fingerprint])
    report = verifier.check_bundle(str(bundle), trust)
    assert (report.findings, report.entries, report.unsealed) == ([], 9, 2)
    # Removed or omitted details are reported, and the bundle verifies.
    told = {"numbers": str(SealedEntry.objects.get(position=0).entry)}
    with transaction.atomic():
        record("ledger.details_removed", actor=ACTOR, details=told)
    assert check_database().findings == []
    seal()
    assert remove_listed() == 1
    for details, missing in ((True, 1), (False, 10)):
        folder = tmp_path / f"details-{details}"
        write_bundle(folder, details=details)
        report = verifier.check_bundle(str(folder))
        assert (report.findings, len(report.missing)) == ([], missing)
        assert (b"tested" in (folder / "details.jsonl").read_bytes()) == details


@pytest.mark.slow
def test_bundle_across_a_key_change_holds_for_both_keys_and_preserves_every_character(
    settings, tmp_path
):
    old, new = new_key(), new_key()
    odd = '"\\/\b\f\n\r\t\x01\x1f\x7f\u2028“ü\U0001f600' + "x" * 3000
    for keys in ([old], [new, old]):
        settings.SEAL_KEYS = keys
        with transaction.atomic():
            record("message.opened", actor=ACTOR, details={"reason": odd, "Ärger": odd})
        seal_all()
    write_bundle(tmp_path / "bundle")
    for one in Seal.objects.all():
        trust = verifier.Trust([one.key_fingerprint])
        assert verifier.check_bundle(str(tmp_path / "bundle"), trust).findings == []


@contextlib.contextmanager
def _limit_disk_space(size):
    """Limit the size of files that this process writes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.slow
def test_bundle_without_disk_space_leaves_nothing_and_none_is_overwritten(
    ledger, tmp_path
):
    folder = tmp_path / "place"
    folder.mkdir()
    for name in ("bundle", "bundle.zip"):
        with (
            _limit_disk_space(2000),
            pytest.raises(BundleFailed, match="could not be written and was removed"),
        ):
            write_bundle(folder / name)
        assert list(folder.iterdir()) == []
        write_bundle(tmp_path / name)
        with pytest.raises(CommandError, match="already exists and is not overwritten"):
            call_command("audit_export", to=str(tmp_path / name))


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
