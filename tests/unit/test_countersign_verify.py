"""The offline verifier against bundles that lie: each alteration of a good one is
found, and named.
"""

import ast
import copy
import functools
import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.verifier import countersign_verify as verifier
from tests.bundles import (
    AT,
    FILES,
    batch_hash,
    book,
    canonical,
    entry_hash,
    fingerprint,
    raw,
    seal_hash,
    sign,
)

VERIFIER = Path(verifier.__file__)


@pytest.fixture(autouse=True, scope="module")
def _each_signature_is_checked_once():
    """Judge the same signature over the same bytes by the same key once: the tests of
    proofs ask how that is done.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verifier, "is_signed", functools.cache(verifier.is_signed))
        yield


@pytest.fixture
def findings_of(tmp_path):
    """Write a ledger as a bundle, and return what the verifier finds."""

    def check(made, *, key=(), heads=(), **instead):
        folder = tmp_path / f"bundle-{len(list(tmp_path.iterdir()))}"
        made.write_to(folder, **instead)
        saved_heads = verifier.Heads([verifier.Seal(head) for head in heads])
        return verifier.check_bundle(
            str(folder), verifier.Trust(key), saved_heads
        ).findings

    return check


@pytest.fixture
def command(capsys):
    """Run the command in this process; return its exit code and what it says."""

    def run(*arguments):
        code = verifier.main([*map(str, arguments)])
        return code, *capsys.readouterr()

    return run


def again(made):
    """Return a copy that can be altered, with the same key."""
    rows = {
        name: copy.deepcopy(getattr(made, name))
        for name in ("entries", "details", "seals", "manifest")
    }
    return replace(made, **rows)


OTHER_KEY = Ed25519PrivateKey.generate()
# Entries are numbered from 1, places from 0; seals cover 1 to 5, 6 to 13, 14 to 16, and
# in one of them 17 waits.
SEALED = book(5, 8, 3)
WAITING = book(5, 8, 3, unsealed=1)


def test_what_was_not_altered_holds(findings_of):
    made = book(5, 8, 1, 300)
    made.change_key()
    made.write(4)
    # One transaction with so many entries that two seals share it.
    made.write(2, xid="9000")
    made.seal()
    made.write(2, xid="9000")
    made.seal()
    # Left behind by a restore, in transactions of another cluster.
    made.next_xid = 200
    made.write(3)
    made.restore()
    made.write(6)
    made.seal()
    made.seal()
    made.write(2)
    first = made.seals[0]["key"]
    last = fingerprint(raw(made.key)).lower().replace("-", "")
    for trusted in (first, last):
        assert findings_of(made, key=[trusted], heads=made.seals) == []
    assert findings_of(book()) == []
    assert findings_of(book(unsealed=3)) == []


def _change(made, index, **says):
    """Change an entry, and what lists it."""
    made.entries[index].update(says)
    made.details[index]["hash"] = entry_hash(made.entries[index])


def _remove(made, *indexes):
    for index in indexes:
        del made.entries[index], made.details[index]


def _insert(made, index, number, *, is_listed=True):
    entry = {**made.entries[index], "id": number}
    made.entries.insert(index + 1, entry)
    if is_listed:
        made.details.insert(
            index + 1, {**made.details[index], "id": number, "hash": entry_hash(entry)}
        )


def _swap(rows, index):
    rows[index], rows[index + 1] = rows[index + 1], rows[index]


def _sign_again(made, first=0, key=None):
    """Make the chain fit again; without the key only the hashes."""
    begin = 0
    for index, seal in enumerate(made.seals):
        batch = made.entries[begin : seal["size"]]
        begin = seal["size"]
        if index >= first:
            seal.update(
                entries=batch_hash(batch),
                previous=seal_hash(made.seals[index - 1]) if index else "",
            )
            made.seals[index] = sign(seal, key) if key else seal


def _hour(hour):
    return f"2026-11-21T0{hour}:04:33.000000+00:00"


def _edit_details(made, **says):
    made.details[7].update(says)


def _high(signature):
    """Return the same signature with a high S."""
    number = int.from_bytes(bytes.fromhex(signature)[32:], "little") + verifier.ORDER
    return signature[:64] + number.to_bytes(32, "little").hex()


NOT_SIGNED = "Seal 3 is not signed by its key"
# What is said, and the lie of which it is said; tests/faults/test_ledger_tampering.py
# has what a database can tell.
LIES = [
    (NOT_SIGNED, lambda made: (_change(made, 7, actor_id="9"), _sign_again(made, 1))),
    (
        NOT_SIGNED,
        lambda made: made.seals[2].update(signature=_high(made.seals[2]["signature"])),
    ),
    # Removed, put in, swapped.
    (
        "Seal 2 covers 8 entries, and 7 are here (6 to 13): 1 removed",
        lambda made: _remove(made, 7),
    ),
    (
        "Entry 900 was put in later: details.jsonl",
        lambda made: _insert(made, 7, 900, is_listed=False),
    ),
    (
        "Seal 2 covers 8 entries, and 9 are here (6 to 900): 1 put in later",
        lambda made: _insert(made, 7, 900),
    ),
    (
        "Entry 900 was put in later: seal 3 ends after it",
        lambda made: (_insert(made, 16, 900), _change(made, 17, xid="703")),
    ),
    ("Entry 8 appears twice", lambda made: _insert(made, 8, 8)),
    (
        "Entry 9 is before entry 8 under seal 2 but",
        lambda made: (_swap(made.entries, 7), _swap(made.details, 7)),
    ),
    (
        "Entry 7 is before entry 8 under seal 2 but",
        lambda made: _change(made, 7, xid="701"),
    ),
    (
        "Seal 3 covers 3 entries, and 1 are here (14 to 14): the end was cut off",
        lambda made: _remove(made, -1, -1, -1),
    ),
    (
        '"entries" is 17 there, and 16 here',
        lambda made: (_remove(made, -1), made.manifest.update(entries=17)),
    ),
    (
        "Entry 8 says 2026-11-21T03:04:33, is under seal 2",
        lambda made: (_change(made, 7, at=_hour(3)), _sign_again(made, 1, made.key)),
    ),
    (
        "Entry 17 says 2026-11-21T01:04:33, and is not sealed",
        lambda made: _change(made, 16, at=_hour(1)),
    ),
    # The details of an entry.
    (
        'The details of entry 8 do not fit: "actor" was changed',
        lambda made: _edit_details(made, salt=made.details[8]["salt"]),
    ),
    ("Entry 8 has details without a salt", lambda made: _edit_details(made, salt=None)),
    (
        "Entry 8 is as it was sealed, but",
        lambda made: _edit_details(made, hash="0" * 64),
    ),
    # Seals and the manifest.
    (
        "Seal 2 comes after seal 2: it is there twice",
        lambda made: made.seals.insert(2, dict(made.seals[1])),
    ),
    (
        "which no seal before it names: the key was swapped",
        lambda made: _sign_again(made, 1, OTHER_KEY),
    ),
    (
        'manifest.json lies: "unsealed" is 0',
        lambda made: made.manifest.update(unsealed=0),
    ),
    (
        'manifest.json lies: "details" is left out',
        lambda made: made.manifest.update(details="left out"),
    ),
]


def test_lie_is_named(findings_of):
    for wanted, lie in LIES:
        made = again(WAITING)
        lie(made)
        found = findings_of(made)
        assert any(wanted in one for one in found), (wanted, found)


# What whoever has the signing key could sign, and the rules forbid all the same.
SIGNED_LIES = [
    ({"epoch": 2}, "Seal 3 says epoch 2, and seal 2 before it epoch 1"),
    ({"size": 15}, "Seal 3 says that 15 entries are sealed, not 13 and 3 more"),
    ({"count": 2, "size": 15}, "Seal 3 covers 2 entries, and 3 are here"),
    ({"count": 2**62}, "Seal 3 covers 4611686018427387904 entries, more than any desk"),
    ({"end_xid": "3"}, "Seal 3 ends elsewhere than may follow seal 2"),
    ({"end_xid": "2000"}, "Seal 3 says that it ends at entry 16"),
    ({"after_id": 14}, "Seal 3 begins an epoch, and reports no restore"),
    (
        {"cluster": "5"},
        "Seal 3 is from a different cluster than seal 2, and reports no restore",
    ),
    ({"kind": "key"}, "does not fit its next key"),
    ({"next_key": "0" * 64}, "does not fit its next key"),
    (
        {"kind": "key", "next_key": "0" * 64},
        "Seal 3 covers 3 entries, more than any desk",
    ),
    ({"previous": "0" * 64}, "Seal 3 does not follow the seal 2 that is here"),
    (
        {"kind": "restored", "after_id": 16},
        "Seal 3 says epoch 1, and seal 2 before it epoch 1",
    ),
]


def test_what_no_honest_desk_signs_is_named(findings_of):
    before = book(5, 8)
    before.write(3)
    for says, wanted in SIGNED_LIES:
        made = again(before)
        made.seal(**says)
        found = findings_of(made)
        assert any(wanted in one for one in found), (says, found)


def test_signatures_are_checked_at_a_restore_a_change_of_key_and_the_end(
    tmp_path, monkeypatch
):
    made = book(1, 1, 1)
    made.change_key()
    made.write()
    made.seal()
    made.write()
    made.restore()
    made.write()
    made.seal()
    made.write()
    made.seal()
    folder = str(made.write_to(tmp_path / "bundle"))
    checked = []
    monkeypatch.setattr(
        verifier.Seal, "is_signed", lambda seal: checked.append(seal.number) or True
    )
    assert verifier.check_bundle(folder).findings == []
    assert checked == [3, 4, 5, 6, 8]
    assert verifier.check_bundle(folder, signatures=False).findings == []
    assert checked == [3, 4, 5, 6, 8]


def test_removal_of_details_explains_what_is_missing_and_its_own_details_stay(
    findings_of,
):
    made = book(9)
    for index in (2, 3, 6):
        made.details[index].update(salt=None, fields={})
    unexplained = again(made)
    made.write(
        action="ledger.details_removed", fields={"actor": "Ana", "numbers": "3-4 7"}
    )
    made.seal()
    assert findings_of(made) == []
    unexplained.write(
        action="ledger.details_removed", fields={"actor": "Ana", "numbers": "3 7"}
    )
    unexplained.seal()
    assert findings_of(unexplained)[0].endswith("no entry tells of their removal: 4.")
    made.details[9].update(salt=None, fields={})
    assert (
        "The details of entry 10 are missing; those of a removal are never removed."
        in findings_of(made)
    )
    for details in made.details:
        details.update(salt=None, fields={})
    made.manifest["details"] = "left out"
    assert findings_of(made) == []


def test_ranges_are_subtracted_in_order_however_they_overlap():
    gone = verifier.Ranges()
    for text in ("5-9 20", "1-6 8-12", "30-40"):
        gone.take(verifier.Ranges(text))
    assert str(verifier.Ranges("3-25 31-32 40-41").without(gone)) == "13-19 21-25 41"
    for text in ("5-9 8", "3 3", "7-3", "2 1", "0", "1 x", "1-", "١", "1" * 20):
        with pytest.raises(ValueError, match=r"\w"):
            pytest.fail(f"{text}: {verifier.Ranges(text)}")


def test_end_that_was_cut_off_whole_is_found_by_a_checkpoint_only(findings_of):
    made = again(SEALED)
    head = made.seals.pop()
    assert findings_of(made) == []
    (found,) = findings_of(made, heads=[head])
    assert "seal 3 of" in found
    assert "the end was cut off, for the last seal here is seal 2" in found
    forged = {**made.seals[1], "entries": "0" * 64}
    assert (
        "is not signed by its key: it proves nothing"
        in findings_of(made, heads=[forged])[0]
    )


def test_restore_with_a_lost_key_holds_only_for_whoever_trusts_the_new_one(findings_of):
    made = book(5)
    made.write(2)
    made.restore(key=OTHER_KEY)
    assert (
        "which no seal before it names: the key was swapped. If the desk lost its key"
        in findings_of(made)[0]
    )
    assert findings_of(made, key=[fingerprint(raw(made.key))]) == []


def test_keys_that_did_not_sign_are_a_finding(findings_of):
    wrong = "keys.json does not hold the keys that signed, in the order of their use."
    assert findings_of(SEALED, keys_json=b'{"keys":[]}') == [wrong]
    assert findings_of(
        SEALED, keys_json=SEALED.files()["keys.json"].replace(b'seal":1', b'seal":true')
    ) == [wrong]


# --- What cannot be read: exit code 2, and one sentence -------------------------------


def _line(name, number, *change):
    """Return a change of one line of a file."""

    def changed():
        lines = SEALED.files()[name].splitlines(keepends=True)
        lines[number] = lines[number].replace(*change, 1)
        return {name.replace(".", "_"): b"".join(lines)}

    return changed


# Removed, doubled and other values of each field: the corpus of
# test_countersign_verify_mutations.py.
UNREADABLE = {
    'Entry 8 cannot be read: the key "action" appears twice': _line(
        "entries.jsonl", 7, b'{"action"', b'{"action":"message.approved","action"'
    ),
    "Entry 8 cannot be read: it is not in canonical form": _line(
        "entries.jsonl", 7, b":", b": "
    ),
    "is not in canonical form": _line("entries.jsonl", 7, b"web", b"\\u0077eb"),
    "entries.jsonl ends within a line": _line("entries.jsonl", 15, b"}\n", b""),
    "a line that is too long": _line("entries.jsonl", 7, b"web", b"w" * 5_000_000),
    'Line 8 of details.jsonl cannot be read: its field "salt"': _line(
        "details.jsonl", 7, b'"salt":"', b'"salt":"00'
    ),
    "of a version that this verifier does not know": lambda: {
        "manifest_json": SEALED.files()["manifest.json"].replace(b'"v":2', b'"v":1')
    },
    "keys.json cannot be read: it is nested": lambda: {"keys_json": b"[" * 100_000},
}


def test_what_can_be_read_in_two_ways_or_in_none_is_refused_in_one_sentence(
    command, tmp_path
):
    for place, (wanted, instead) in enumerate(UNREADABLE.items()):
        folder = SEALED.write_to(tmp_path / str(place), **instead())
        code, output, error = command(folder)
        assert (code, output, error.count("\n")) == (2, "", 1), (wanted, output)
        assert wanted in error


def test_dates_that_do_not_exist_are_refused(command, tmp_path):
    for place, (name, date) in enumerate(
        (
            ("entries.jsonl", b"9999-99-99T99:99:99"),
            ("entries.jsonl", b"2026-02-30T00:00:00"),
            ("entries.jsonl", b"2026-11-21T24:00:00"),
            ("seals.jsonl", b"0001-01-01T00:00:00"),
        )
    ):
        instead = _line(name, 1, AT.encode()[:19], date)
        code, _, error = command(SEALED.write_to(tmp_path / str(place), **instead()))
        assert code == 2, date
        assert 'its field "at" is not' in error, date


def test_too_many_ranges_of_a_removal_are_refused(command, tmp_path):
    made = book(9)
    numbers = " ".join(map(str, range(1, 900_000, 2)))
    made.write(action="ledger.details_removed", fields={"numbers": numbers})
    code, _, error = command(made.write_to(tmp_path / "bundle"))
    assert code == 2
    assert "Entry 10 reports a removal, but not whose" in error


def test_what_is_not_a_file_is_not_opened(command, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for arguments in (["pipe"], ["nowhere"], ["/dev/zero"]):
        assert command(tmp_path / arguments[0])[0] == 2
    folder = SEALED.write_to(tmp_path / "bundle")
    assert command(folder, "--head", tmp_path / "pipe")[0] == 2
    for place, name in enumerate(FILES):
        for number, replaced in enumerate(
            (None, os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero"))
        ):
            folder = SEALED.write_to(tmp_path / f"{place}-{number}")
            (folder / name).unlink()
            if replaced:
                replaced(folder / name)
            code, output, error = command(folder)
            assert code == 2
            assert output == ""
            assert name in error
            assert error.count("\n") == 1


def test_line_without_end_is_refused_before_it_fills_the_memory(command, tmp_path):
    folder = book(3).write_to(tmp_path / "bundle")
    with (folder / "entries.jsonl").open("ab") as file:
        file.truncate(10 * 1024**3)
    assert "a line that is too long" in command(folder)[2]


def _zip(
    path,
    *extra,
    made=SEALED,
    compression=zipfile.ZIP_DEFLATED,
    root="bundle/",
    **instead,
):
    with zipfile.ZipFile(path, "w", compression) as packed:
        for name, data in made.files().items():
            if data := instead.get(name.replace(".", "_"), data):
                packed.writestr(root + name, data)
        for name, data in extra:
            packed.writestr(name, data)
    return path


def test_zip_is_read_without_being_unpacked(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for root in ("", "bundle/"):
        path = _zip(
            tmp_path / "bundle.zip",
            ("../../outside.txt", "x"),
            ("/etc/outside", "x"),
            root=root,
        )
        assert command(path)[0] == 0
        assert [one.name for one in tmp_path.iterdir()] == ["bundle.zip"]


def _encrypted(path):
    data = bytearray(_zip(path).read_bytes())
    place = 0
    while (place := data.find(b"PK\1\2", place)) >= 0:
        data[place + 8] |= 1
        place += 4
    path.write_bytes(data)
    return path


def _with_link(path):
    link = zipfile.ZipInfo("bundle/keys.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as packed:
        for name, data in SEALED.files().items():
            packed.writestr(link if name == "keys.json" else f"bundle/{name}", data)
    return path


def _many_files(path):
    return _zip(path, *((f"{number:>500}", "") for number in range(3000)))


def _damaged(path):
    data = bytearray(_zip(path).read_bytes())
    data[data.index(b"details.jsonl") + 40] ^= 255
    path.write_bytes(data)
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_zip_that_is_no_bundle_is_refused_in_one_sentence(command, tmp_path):
    path = tmp_path / "bundle.zip"
    for wanted, made in {
        "holds a file twice": lambda: _zip(path, ("bundle/entries.jsonl", "")),
        "2 files manifest": lambda: _zip(path, ("other/manifest.json", "{}")),
        "0 files manifest": lambda: _zip(path, root="a/b/"),
        "keys.json is missing": lambda: _zip(path, keys_json=b""),
        "compressed in a way that no desk uses": lambda: _zip(
            path, compression=zipfile.ZIP_LZMA
        ),
        "is encrypted": lambda: _encrypted(path),
        "keys.json in the bundle is not a file": lambda: _with_link(path),
        "lists too many files": lambda: _many_files(path),
        "details.jsonl": lambda: _damaged(path),
        "cannot be read as a bundle": lambda: (
            path.write_bytes(b"PK\3\4" + bytes(100)) and path
        ),
        "Seal 1 cannot be read": lambda: _zip(path, seals_jsonl=b"\n" * 50_000_000),
    }.items():
        code, output, error = command(made())
        assert code == 2, wanted
        assert output == "", wanted
        assert error.count("\n") == 1, wanted
        assert wanted in error


# --- Processor time and memory --------------------------------------------------------


def _many_keys():
    """A small bundle in which each seal changes the key."""
    made = book(1)
    for _ in range(170):
        made.change_key()
    return made


def _many_removals():
    made = book(1)
    for number in range(200):
        numbers = " ".join(map(str, range(1 + number % 2, 20_000, 2)))
        made.write(
            id=10**9 + number,
            action="ledger.details_removed",
            fields={"numbers": numbers},
        )
    return made


_LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[1]), int(sys.argv[1])))
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]) << 20, int(sys.argv[2]) << 20))
sys.argv = sys.argv[3:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def _limited(megabytes, *arguments, seconds=10):
    """Run the command with little memory and time; return its exit code, or the signal
    that ended it.
    """
    command = [
        sys.executable,
        "-I",
        "-c",
        _LIMITED,
        str(seconds),
        str(megabytes),
        VERIFIER,
        *arguments,
    ]
    return subprocess.run(
        command, capture_output=True, timeout=120, check=False
    ).returncode


@pytest.mark.slow
def test_hostile_input_takes_little_memory_and_time(tmp_path):
    assert _limited(200, _many_keys().write_to(tmp_path / "keys")) == 0
    assert _limited(250, _many_removals().write_to(tmp_path / "removals")) == 0
    for name, data in {
        "lists": b"[" + b"[]," * 5_000_000 + b"[]]",
        "numbers": b"[" + b"1000," * 3_000_000 + b"1]",
        "deep": b'{"v":' + b"[" * 10_000_000,
        "wide": '["🙂'.encode() + b"x" * 16_000_000 + b'"]',
    }.items():
        (tmp_path / name).write_bytes(data)
        assert _limited(216, tmp_path / name) == 2, name
    bomb = _zip(
        tmp_path / "bomb.zip",
        keys_json=b" " * 900_000_000,
        manifest_json=b" " * 900_000_000,
    )
    assert _limited(200, bomb) == 2
    lines = b"".join(
        canonical({**SEALED.entries[0], "id": number}) + b"\n"
        for number in range(1, 300_000)
    )
    assert _limited(200, _zip(tmp_path / "lines.zip", entries_jsonl=lines)) in (1, 2)


# --- The command ----------------------------------------------------------------------


def test_command_reports_its_result_with_the_standard_library_alone(tmp_path):
    folder = WAITING.write_to(tmp_path / "bundle")
    bare = [sys.executable, "-I", "-S", VERIFIER]
    ran = subprocess.run(
        [*bare, folder],
        capture_output=True,
        text=True,
        timeout=120,
        env={},
        check=False,
    )
    assert ran.returncode == 0
    assert ran.stderr == ""
    assert "Verified: 17 entries, 16 of them under 3 seals." in ran.stdout


def test_modules_beside_the_verifier_are_not_imported(tmp_path):
    folder = WAITING.write_to(tmp_path / "bundle")
    program = shutil.copy(VERIFIER, folder)
    for name in ("json", "argparse", "collections"):
        (folder / f"{name}.py").write_text("raise SystemExit(0)\n")
    (folder / "entries.jsonl").write_bytes(b"")
    # As told, and as somebody in a hurry does.
    for options in (["-I"], []):
        ran = subprocess.run(
            [sys.executable, *options, program, "."],
            cwd=folder,
            capture_output=True,
            check=False,
        )
        assert ran.returncode == 1


def test_command_says_what_it_did_not_check(command, tmp_path):
    made = book(5, 8, unsealed=2)
    folder = made.write_to(tmp_path / "bundle")
    key = fingerprint(raw(made.key))
    code, output, _ = command(folder)
    assert code == 0
    assert "Verified: 15 entries, 13 of them under 2 seals." in output
    assert key in output
    for not_checked in ("whether that key is the desk's", "2 entries not sealed yet"):
        assert f"NOT checked: {not_checked}" in output
    assert "A cut-off end can only be found with a saved checkpoint" in output
    head = tmp_path / "seals.jsonl"
    head.write_bytes(
        canonical(made.seals[0]) + b"\n" + canonical(made.seals[1]) + b"\n" + b'{"half'
    )
    code, output, _ = command(folder, "--head", head, "--key", key)
    assert code == 0
    assert output.count("NOT checked") == 1
    assert command(folder, "--head", json.dumps(made.seals[1], indent=1))[0] == 0
    # A checkpoint that came after the bundle proves nothing against it, and nothing for
    # it.
    made.manifest["made_at"] = AT.format(0)
    code, output, _ = command(
        made.write_to(tmp_path / "older"),
        "--head",
        canonical(book(5, 8, 2).seals[2]).decode(),
    )
    assert code == 4
    assert "is younger than this bundle" in output
    # Without signatures, or without a seal, nothing is proved.
    for unproved in (
        (folder, "--no-signatures"),
        (book(unsealed=3).write_to(tmp_path / "unsealed"),),
    ):
        code, output, _ = command(*unproved)
        assert code == 3
        assert output.endswith("signatures NOT checked\n")


def test_large_file_of_checkpoints_is_read_from_its_end(command, tmp_path, monkeypatch):
    folder = SEALED.write_to(tmp_path / "bundle")
    head = tmp_path / "heads"
    head.write_bytes(b"no seal\n" + SEALED.files()["seals.jsonl"])
    assert command(folder, "--head", head)[0] == 2
    monkeypatch.setattr(verifier, "END_OF_HEADS", head.stat().st_size - 2)
    assert command(folder, "--head", head)[0] == 0


def test_command_names_what_does_not_hold_and_what_cannot_be_read(command, tmp_path):
    made = again(SEALED)
    made.seals[2] = sign(
        made.seals[2],
        made.key,
        note="\x1b[2J\u202eabc",
        kind="restored",
        epoch=2,
        after_id=16,
    )
    folder = made.write_to(tmp_path / "bundle")
    code, output, _ = command(folder)
    assert code == 0
    assert "\x1b" not in output
    assert "\u202e" not in output
    assert "\\x1b[2J\\u202eabc" in output
    made.entries[7]["actor_id"] = "9"
    folder = made.write_to(tmp_path / "changed")
    code, output, _ = command(folder)
    assert code == 1
    assert output.startswith("PROBLEM: Entry 8 was changed")
    assert command(folder, "--no-signatures")[0] == 1
    assert command(tmp_path / "nowhere")[0] == 2
    assert command(folder, "--key", "nonsense")[0] == 2
    for head in (
        '{"v":1}',
        "{",
        canonical(
            {**SEALED.seals[0], "at": "9999-99-99T99:99:99.000000+00:00"}
        ).decode(),
    ):
        assert command(folder, "--head", head)[0] == 2


def test_verifier_needs_nothing_that_came_after_python_3_9():
    tree = ast.parse(VERIFIER.read_text(), feature_version=(3, 9))
    imported = {
        node.names[0].name for node in ast.walk(tree) if isinstance(node, ast.Import)
    }
    imported |= {
        node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
    }
    assert {name.partition(".")[0] for name in imported} <= set(sys.stdlib_module_names)
