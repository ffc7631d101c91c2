"""Fault 44: the ledger is altered beneath the application, and both verifiers name what
was altered.

A superuser of the database does it by SQL, past every trigger. The desk's own check
looks at the rows; the offline verifier looks at a bundle that the altered desk writes,
in a virtual environment that holds nothing.
"""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from unittest.mock import Mock
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import DataError, connection, transaction

from audit.models import Entry, EntryDetail, Seal, SealedEntry
from audit.recording import entry_hash, mac_of
from audit.sealing import signing
from audit.tasks import seal
from audit.verification import checks
from audit.verification.bundle import write_bundle
from audit.verification.checks import check_database
from audit.verifier import countersign_verify as verifier
from tests.alterations import KEYS, alterations, as_it_was, not_found
from tests.ledger import append, as_superuser, batch_hash

pytestmark = pytest.mark.django_db(transaction=True)
TURNS = (3, 5, 4, 2)


@dataclass
class Desk:
    """A sealed ledger whose heads were written outside, and what an auditor has of it."""

    folder: Path
    file: Path
    key: str
    # An entry in the middle of the second seal.
    entry: int

    def findings(self):
        return check_database().findings

    def offline(self, *options):
        """Take a bundle, as it is now, and check it with what was kept outside."""
        target = self.folder / f"bundle-{len(list(self.folder.iterdir()))}"
        write_bundle(target)
        heads = (
            verifier.Heads.read(self.file.read_bytes()) if "--head" in options else None
        )
        trust = verifier.Trust([self.key]) if "--key" in options else None
        return verifier.check_bundle(str(target), trust, heads).findings


@pytest.fixture
def desk(settings, tmp_path, monkeypatch):
    # The verifier's own arithmetic is slow: each signature is judged once.
    monkeypatch.setattr(verifier, "is_signed", cache(verifier.is_signed))
    settings.SEAL_FILE = tmp_path / "outside" / "seals.jsonl"
    for turn in TURNS:
        append(turn)
        seal()
    append(2)
    (tmp_path / "bundles").mkdir()
    key = verifier.fingerprint_of(signing.public_key())
    entry = SealedEntry.objects.get(position=4).entry
    return Desk(tmp_path / "bundles", settings.SEAL_FILE, key, entry)


def _sign_again(first=1, key=None):
    """Make the chain valid again from one seal on; without the key, each keeps its
    signature.
    """
    for one in Seal.objects.filter(number__gte=first).order_by("number"):
        before = Seal.objects.filter(number=one.number - 1).first()
        one.previous = before.hash if before else ""
        under = SealedEntry.objects.under(one)
        one.entries = batch_hash([bytes(digest) for digest in under])
        if key:
            one.key = key.public_key().public_bytes_raw().hex()
            one.signature = key.sign(one.signed_bytes).hex()
        as_superuser(
            "UPDATE audit_seal SET previous = %s, entries = %s, key = %s, signature = %s WHERE number = %s",
            [one.previous, one.entries, one.key, one.signature, one.number],
        )


# What a superuser does by one or two statements; {entry} is the entry in the middle.
CHANGE = "UPDATE audit_entry SET actor_id = '99' WHERE id = {entry}"
DELETE_DETAILS = "DELETE FROM audit_entrydetail WHERE entry_id = {entry}"
DELETE = f"{DELETE_DETAILS}; DELETE FROM audit_entry WHERE id = {{entry}}"
CUT = """
    DELETE FROM audit_entrydetail WHERE entry_id NOT IN (SELECT entry FROM audit_sealedentry WHERE seal < 3);
    DELETE FROM audit_entry WHERE id NOT IN (SELECT entry FROM audit_sealedentry WHERE seal < 3);
    DELETE FROM audit_sealedentry WHERE seal > 2;
    DELETE FROM audit_seal WHERE number > 2;
"""
CUT_WITH_ANCHORS = f"{CUT} DELETE FROM audit_anchor WHERE seal > 2"


def _alter(desk, how):
    if isinstance(how, str):
        as_superuser(how.format(entry=desk.entry))
    else:
        how(desk)


def _change_with_its_hash(desk):
    _alter(desk, CHANGE)
    digest = entry_hash(Entry.objects.get(pk=desk.entry))
    as_superuser("UPDATE audit_entry SET hash = %s WHERE id = %s", [digest, desk.entry])


def _change_with_its_sealed_hash(desk):
    _change_with_its_hash(desk)
    digest = bytes.fromhex(Entry.objects.get(pk=desk.entry).hash)
    as_superuser(
        "UPDATE audit_sealedentry SET hash = %s WHERE entry = %s", [digest, desk.entry]
    )


def _change_with_sealed_hash_and_seals(desk):
    _change_with_its_sealed_hash(desk)
    _sign_again(2)


def _swap(desk):
    position = SealedEntry.objects.get(entry=desk.entry).position
    for before, after in ((position, 99), (position + 1, position), (99, position + 1)):
        as_superuser(
            "UPDATE audit_sealedentry SET position = %s WHERE position = %s",
            [after, before],
        )


def _swap_key(desk):
    _change_with_its_sealed_hash(desk)
    _sign_again(1, Ed25519PrivateKey.generate())


# What is done, what the desk's check says; what the offline verifier says if it is
# something else, given what.
CHANGES = [
    (CHANGE, "Entry {entry} was changed"),
    (
        _change_with_its_hash,
        "Entry {entry} and the list of sealed entries",
        "Entry {entry} was changed",
    ),
    (_change_with_its_sealed_hash, "One of the entries "),
    (
        _change_with_sealed_hash_and_seals,
        "Seal 4 is not signed by its key: it, or a seal before it, was edited",
    ),
    (
        DELETE_DETAILS,
        "The details of 1 entries are missing, and no sealed entry tells of their removal: {entry}",
    ),
    (DELETE, "Entry {entry} was removed"),
    (_swap, "Entry {entry} does not belong where it is under seal 2"),
    (
        CUT,
        "Seal 4 was written to the seals' file, and is not here",
        "seal 3 of",
        "--head",
    ),
    (CUT_WITH_ANCHORS, "seal 3 of", "seal 3 of", "--head"),
    (
        _swap_key,
        "None of the seals is signed by the key that you trust",
        "None of the seals is signed by",
        "--key",
    ),
    (
        _swap_key,
        "is not the seal 1 that is here",
        "is not the seal 1 that is here",
        "--head",
    ),
]


def test_what_is_altered_beneath_the_application_is_named(desk):
    """One test for all, each on the same ledger: making a new one takes longer than
    checking it.
    """
    not_named = []
    with as_it_was() as restore:
        for how, by_desk, *others in CHANGES:
            offline, *options = others or [by_desk]
            _alter(desk, how)
            for text, found in (
                (by_desk, desk.findings()),
                (offline, desk.offline(*options)),
            ):
                wanted = text.format(entry=desk.entry)
                if not any(wanted in one for one in found):
                    not_named.append((how, wanted, found))
            restore()
            assert desk.findings() == []
    assert desk.offline("--head", "--key") == []
    assert not_named == [], "\n".join(map(str, not_named))


@pytest.mark.parametrize("every", [23, pytest.param(1, marks=pytest.mark.slow)])
def test_each_alteration_of_a_row_is_found(desk, every):
    # Nobody is about to write an anchor.
    os.utime(desk.file, (0, 0))
    assert desk.findings() == []
    statements = [one for table in KEYS for one in alterations(table)]
    missed, done = not_found(statements[::every], as_superuser)
    assert (missed, done * every > 200) == ([], True)


@pytest.mark.slow
def test_each_alteration_of_the_seals_file_is_found(desk):
    kept = desk.file.read_bytes().splitlines(keepends=True)
    altered = [[]]
    for place, line in enumerate(kept):
        before = kept[:place]
        after = kept[place + 1 :]
        altered += [
            [*before, line, line, *after],
            [*before, line.replace(b'"size":', b'"size":1'), *after],
            [*before, *after[:1], line, *after[1:]],
            [*before, line],
            [*kept[: place > 0], *after],
        ]
    # One may archive the beginning, as long as the last line stays.
    honest = [kept, kept[1:]]
    for lines in altered:
        desk.file.write_bytes(b"".join(lines))
        assert bool(desk.findings()) == (lines not in honest), lines
    desk.file.unlink()
    assert desk.findings() != []


def put_in(like, *, ago="0 s", mac=None, **says):
    """Put in an entry as whoever knows the format would: with the next number, a
    transaction of now, and its hash.
    """
    made = Entry.objects.get(pk=like)
    for name, text in says.items():
        setattr(made, name, text)
    made.mac = mac_of(made, settings.SECRET_KEY) if mac is None else mac
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT nextval('audit_entry_id_seq'), pg_current_xact_id()::text, clock_timestamp() - %s::interval",
            [ago],
        )
        made.pk, xid, made.at = cursor.fetchone()
        made.xid = int(xid)
        made.hash = entry_hash(made)
        made.save(force_insert=True)
        detail = EntryDetail.objects.get(pk=like)
        EntryDetail.objects.create(
            entry_id=made.pk, salt=detail.salt, fields=detail.fields, words=detail.words
        )
    return made.pk


def test_entry_that_the_desk_did_not_write_is_not_sealed(desk):
    """Issue 18, point 1: whoever has the database alone cannot make the code, and one
    is good once.
    """
    seal()
    mine = Entry.objects.get(pk=desk.entry).mac
    for fields, why in (
        ({"ago": "35 min", "mac": ""}, "it has no code that fits"),
        ({"mac": "é"}, "it has no code that fits"),
        ({"actor_id": "99", "mac": "0" * 64}, "it has no code that fits"),
        ({"mac": mine}, f"repeats entry {desk.entry}"),
    ):
        number = put_in(desk.entry, **fields)
        assert any(f"Entry {number} " in one for one in desk.findings())
        sealed = Seal.objects.count()
        seal()
        reported = (
            Entry.objects.of_action("ledger.broken")
            .select_related("detail")
            .latest("pk")
        )
        assert Seal.objects.count() == sealed
        assert f"Entry {number} " in reported.detail.fields["reason"]
        assert why in reported.detail.fields["reason"]
        as_superuser("DELETE FROM audit_entrydetail WHERE entry_id = %s", [number])
        as_superuser("DELETE FROM audit_entry WHERE id = %s", [number])
        seal()
    assert desk.findings() == []


def test_decision_without_its_verdict_is_named(desk):
    """A trigger keeps the verdict's entry from being written: no seal has a gap."""

    def put(message, *actions):
        person = {"actor_kind": "person", "actor_id": "7", "message": message}
        return [put_in(desk.entry, action=one, **person) for one in actions]

    put(uuid4(), "verdict.given", "decision.recorded", "decision.applied")
    assert desk.findings() == []
    recorded, _ = put(uuid4(), "decision.recorded", "decision.applied")
    (applied,) = put(uuid4(), "decision.applied")
    first, second = desk.findings()
    assert first.startswith(f"Entry {recorded} records a person's decision")
    assert second.startswith(f"Entry {applied} says that a decision took effect")


def test_time_out_of_order_is_reported_by_the_sealer_and_both_verifiers(desk):
    number = put_in(desk.entry, ago="35 min", trace="of its own")
    seal()
    reported = Entry.objects.of_action("ledger.misdated").select_related("detail").get()
    assert reported.detail.fields["numbers"] == str(number)
    seal()
    for findings in (desk.findings(), desk.offline("--head", "--key")):
        assert (
            [one for one in findings if one.startswith(f"Entry {number} says ")]
            == findings
            != []
        )


def test_first_bad_entry_ends_the_command(desk):
    call_command("audit_verify")
    _alter(desk, CHANGE)
    with pytest.raises(
        CommandError, match=rf"FAILED verification.* Entry {desk.entry} was changed"
    ) as ended:
        call_command("audit_verify")
    assert ended.value.returncode == 1


def test_row_that_cannot_be_read_is_a_finding(desk, monkeypatch):
    monkeypatch.setattr(checks, "_items", Mock(side_effect=DataError("year is 0")))
    assert desk.findings() == ["The ledger has a row that cannot be read: year is 0."]


def test_ledger_without_seals_is_not_reported_as_intact(settings):
    settings.SEAL_KEYS = []
    append()
    with pytest.raises(CommandError, match="signatures NOT checked") as ended:
        call_command("audit_verify")
    assert ended.value.returncode == 3
