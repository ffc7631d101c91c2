"""The offline verifier against bundles that lie: each alteration of a good one is found, and named."""

import ast
import copy
import functools
import hashlib
import itertools
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.verifier import countersign_verify as verifier
from tests.bundles import AT, Book, book, canonical, fingerprint, head_hash, leaf_of, raw, root_of, sign

VERIFIER = Path(verifier.__file__)


@pytest.fixture(autouse=True, scope="module")
def _each_signature_is_checked_once():
    """Judge the same signature over the same bytes by the same key once: the tests of proofs ask how that is done."""
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
        return verifier.check_bundle(str(folder), verifier.Trust(key), saved_heads).findings

    return check


def again(made: Book) -> Book:
    """Return a copy that can be altered, with the same key."""
    rows = {name: copy.deepcopy(getattr(made, name)) for name in ("entries", "details", "seals", "manifest")}
    return replace(made, **rows)


# Entries are numbered from 1, places from 0; seals cover 1 to 5, 6 to 13, 14 to 16, and in one of them 17 waits.
SEALED, WAITING = book(5, 8, 3), book(5, 8, 3, unsealed=1)


def _long_story():
    made = book(5, 8, 1, 300)
    made.change_key()
    made.write(4)
    made.seal()
    made.write(3)
    made.restore()
    made.write(6)
    made.seal()
    made.write(2)
    return made


def test_what_was_not_altered_holds(findings_of):
    made = _long_story()
    key, last = made.seals[0]["key"], fingerprint(raw(made.key)).lower().replace("-", "")
    for trusted in (key, last):
        assert findings_of(made, key=[trusted], heads=made.seals) == []
    assert findings_of(book()) == []
    assert findings_of(book(unsealed=3)) == []


def _line(data, number, change):
    lines = data.splitlines(keepends=True)
    lines[number] = change(lines[number])
    return b"".join(lines)


def _with_connection(value):
    return lambda line: line.replace(b'"connection":null', b'"connection":' + value)


NOT_AN_ENTRY = "Entry 8 is not as an entry must be: "
# What is said of line 7 of the entries, which is entry 8 under seal 2, and how it is altered for that.
RAW_LINES = {
    "Entry 8 was changed": [lambda line: line.replace(b'"7"', b'"9"')],
    NOT_AN_ENTRY + "it is not in canon": [
        lambda line: line.replace(b":", b": ", 1),
        lambda line: json.dumps(dict(reversed(list(json.loads(line).items())))).encode() + b"\n",
        lambda line: line.replace(b"web", b"\\u0077eb"),
    ],
    NOT_AN_ENTRY + 'the key "action" appears twice': [
        lambda line: line.replace(b'{"action"', b'{"action":"message.approved","action"', 1)
    ],
    "Entry 8 names its details twice": [
        lambda line: line.replace(b'{"actor":', b'{"actor":"' + b"0" * 64 + b'","actor":', 1)
    ],
    "NaN is no number": [_with_connection(b"NaN")],
    "1.0 is no number": [_with_connection(b"1.0")],
    "is no number of a ledger": [lambda line: line.replace(b'"id":8', b'"id":' + b"8" * 5000)],
    "nested too deeply": [_with_connection(b"[" * 100_000 + b"]" * 100_000)],
    "it is no UTF-8": [lambda line: line.replace(b"web", b"\xff")],
    "it is no entry": [lambda line: line.replace(b',"trace":""', b"")],
    "Entry 8": [lambda line: line.replace(b"\n", b"\r\n")],
    "no JSON": [lambda line: b"\n"],
    "Entry 8 was removed": [lambda line: b""],
    "Entry 8 appears twice": [lambda line: line * 2],
}


def test_line_that_is_not_as_it_must_be_is_named(findings_of):
    data = SEALED.files()["entries.jsonl"]
    for wanted, changes in RAW_LINES.items():
        for change in changes:
            found = findings_of(SEALED, entries_jsonl=_line(data, 7, change))
            assert any(wanted in one for one in found[:2]), (wanted, found)


def test_line_that_could_be_spelled_otherwise_is_named_though_its_hash_is_listed(findings_of):
    files = SEALED.files()
    line = files["entries.jsonl"].splitlines()[7]
    for odd in (b"w\x01b", b"w\\u0077", b"w\\/b", b"w\xffb", b"w\x1fb"):
        # Without an escape of its own, as most lines are.
        altered = line.replace(b"web", odd)
        listed = {**SEALED.details[7], "leaf": hashlib.sha256(b"\0" + altered).hexdigest()}
        details = _line(files["details.jsonl"], 7, lambda _, listed=listed: canonical(listed) + b"\n")
        found = findings_of(SEALED, entries_jsonl=files["entries.jsonl"].replace(line, altered), details_jsonl=details)
        assert any("Entry 8 is not as an entry must be" in one for one in found), (odd, found)


def test_details_that_could_be_spelled_otherwise_are_named(findings_of):
    made = again(SEALED)
    salt, fields = bytes([7] * 16), {"actor": b"Ana", "reason": b"plain"}
    hashes = {name: hashlib.sha256(salt + f"\0{name}\0".encode() + text).hexdigest() for name, text in fields.items()}
    for odd in (b"A\x01a", b"A\xffa"):
        hashes["actor"] = hashlib.sha256(salt + b"\0actor\0" + odd).hexdigest()
        _change(made, 7, detail_hashes=dict(hashes))
        made.details[7].update(salt=salt.hex(), fields={"actor": "Ana", "reason": "plain"})
        data = made.files()["details.jsonl"]
        line = data.splitlines()[7]
        found = findings_of(made, details_jsonl=data.replace(line, line.replace(b"Ana", odd)))
        assert any("Line 8 of details.jsonl is not what it must be" in one for one in found), found


def _change(made, index, **says):
    """Change an entry, and what lists it."""
    made.entries[index].update(says)
    made.details[index]["leaf"] = leaf_of(made.entries[index]).hex()


def _remove(made, *indexes):
    for index in indexes:
        del made.entries[index], made.details[index]


def _insert(made, index, number):
    entry = {**made.entries[index], "id": number}
    made.entries.insert(index + 1, entry)
    made.details.insert(index + 1, {**made.details[index], "id": number, "leaf": leaf_of(entry).hex()})


def _swap(made, index):
    for rows in (made.entries, made.details):
        rows[index], rows[index + 1] = rows[index + 1], rows[index]


def _sign_again(made, first=0, key=None):
    """Make the chain fit again; without the key only the hashes."""
    for index, seal in enumerate(made.seals[first:], start=first):
        seal["previous"] = head_hash(made.seals[index - 1]) if index else ""
        seal["root"] = root_of(made.leaves(seal["size"])).hex()
        if key:
            made.seals[index] = sign(seal, key)


def _edit_seal(made, number, **says):
    made.seals[number - 1].update(says)


def _edit_details(made, **says):
    made.details[7].update(says)


def _high(signature):
    """Return the same signature with a high S."""
    number = int.from_bytes(bytes.fromhex(signature)[32:], "little") + verifier.ORDER
    return signature[:64] + number.to_bytes(32, "little").hex()


NOT_SIGNED = "Seal 2 is not signed by its key"
# What is said, and the lies of which it is said.
LIES = {
    "One of the entries 6 to 13 is not as it was sealed": [lambda made: _change(made, 7, actor_id="9")],
    NOT_SIGNED: [
        lambda made: (_change(made, 7, actor_id="9"), _sign_again(made, 1)),
        lambda made: _edit_seal(made, 2, at="2025-01-01T00:00:00.000000+00:00"),
        lambda made: _edit_seal(made, 2, signature=made.seals[0]["signature"]),
        lambda made: _edit_seal(made, 2, signature=_high(made.seals[1]["signature"])),
    ],
    # Removed, put in, swapped.
    "1 removed (entry 8 is missing)": [lambda made: _remove(made, 7)],
    "1 removed (entry 1 is missing)": [lambda made: _remove(made, 0)],
    "2 removed (entry 8, 9 is missing)": [lambda made: _remove(made, 8, 7)],
    "Entry 900 was put in later: seal 2 does not cover it": [lambda made: _insert(made, 7, 900)],
    "Entry 900 was put in later: no seal covers it": [
        lambda made: (_insert(made, len(made.entries) - 1, 900), _change(made, -1, xid="703"))
    ],
    "Entry 9 is before entry 8 under seal 2": [lambda made: _swap(made, 7)],
    "Seal 2 covers 8 entries, and 7": [lambda made: _swap(made, 12)],
    "Entry 8 under seal 2 is of a transaction that was": [lambda made: _change(made, 7, xid="701")],
    "Seal 3 covers 3 entries, and 1 are here: the end was cut off; the last one here is entry 14": [
        lambda made: _remove(made, -1, -1, -1)
    ],
    '"entries" is 17 there, and 16 here': [
        lambda made: (_remove(made, -1), made.manifest.update(unsealed=1, entries=17))
    ],
    # The details of an entry.
    'The details of entry 8 do not fit: "actor" was changed': [
        lambda made: _edit_details(made, fields=made.details[8]["fields"], salt=made.details[8]["salt"])
    ],
    'The details of entry 8 do not fit: they lack "reason"': [
        lambda made: _edit_details(made, fields={"actor": "Ana"})
    ],
    'The details of entry 8 do not fit: they have, and it never had, "verdict"': [
        lambda made: made.details[7]["fields"].update(verdict="yes")
    ],
    "Entry 8 has details without a salt": [lambda made: _edit_details(made, salt=None)],
    "Entry 8 is as it was sealed, but": [lambda made: _edit_details(made, leaf="0" * 64)],
    # Seals and the manifest.
    "Seal 3 is not signed by its key": [lambda made: _edit_seal(made, 3, size=12)],
    "Seal 2 cannot be read": [lambda made: _edit_seal(made, 2, extra=1)],
    'Seal 2 cannot be read: its field "size"': [lambda made: _edit_seal(made, 2, size="13")],
    'Seal 1 cannot be read: its field "epoch"': [lambda made: _edit_seal(made, 1, epoch=True)],
    "Seal 2 is missing": [lambda made: made.seals.pop(1)],
    "Seal 1 is missing": [lambda made: made.seals.pop(0)],
    "Seal 2 appears twice": [lambda made: made.seals.insert(2, dict(made.seals[1]))],
    "Seal 2 is missing: after seal 1 comes seal 3": [lambda made: made.seals.insert(1, made.seals.pop(2))],
    "which no seal before it names: the key was swapped": [
        lambda made: _sign_again(made, 1, Ed25519PrivateKey.generate())
    ],
    'manifest.json lies: "unsealed" is 0': [lambda made: made.manifest.update(unsealed=0)],
    'manifest.json lies: "unsealed" is True': [lambda made: made.manifest.update(unsealed=True)],
}


def test_lie_is_named(findings_of):
    for wanted, lies in LIES.items():
        for number, lie in enumerate(lies):
            made = again(WAITING)
            lie(made)
            found = findings_of(made)
            assert any(wanted in one for one in found), (wanted, number, found)


def test_lie_is_named_alike_where_no_line_is_checked_the_fast_way(findings_of, monkeypatch):
    for lie in itertools.chain.from_iterable(LIES.values()):
        made = again(WAITING)
        lie(made)
        found = findings_of(made)
        with monkeypatch.context() as slowly:
            slowly.setattr(verifier, "look", lambda lines, listed: [])
            assert findings_of(made) == found
    assert len(verifier.look(*(b"".join(SEALED.files()[name].splitlines(True)[:1]) for name in verifier.LISTS))) == 1


# What whoever has the signing key could sign, and the rules forbid all the same.
SIGNED_LIES = [
    ({"epoch": 2}, "Seal 3 says epoch 2, and seal 2 before it epoch 1"),
    ({"size": 12}, "Seal 3 claims less than the seal before: 12 entries, not 13"),
    ({"horizon": "3"}, "Seal 3 says another horizon"),
    ({"cluster": "5"}, "Seal 3 is from a different cluster than seal 2, and reports no restore"),
    ({"kind": "key"}, "does not fit its next key"),
    ({"next_key": "0" * 64}, "does not fit its next key"),
    ({"previous": "0" * 64}, "Seal 3 does not follow the seal 2 that is here"),
    ({"kind": "restored", "after_id": 16}, "Seal 3 says epoch 1, and seal 2 before it epoch 1"),
]


def test_what_no_honest_desk_signs_is_named(findings_of):
    before = book(5, 8)
    before.write(3)
    for says, wanted in SIGNED_LIES:
        made = again(before)
        made.seal(**says)
        found = findings_of(made)
        assert any(wanted in one for one in found), (says, found)


@pytest.mark.slow
def test_several_processes_find_what_one_finds(tmp_path, monkeypatch):
    monkeypatch.setattr(verifier, "A_BLOCK", 4)
    monkeypatch.setattr(verifier, "FEW_BLOCKS", 2)
    made = book(30, 20, 7)
    whole = str(made.write_to(tmp_path / "whole"))
    assert verifier.check_bundle(whole, workers=2).findings == []
    made.entries[15]["actor_id"] = "9"
    made.details[20]["fields"]["actor"] = "Bob"
    del made.entries[33]
    altered = str(made.write_to(tmp_path / "altered"))
    report = verifier.check_bundle(altered, workers=2)
    assert report.findings == verifier.check_bundle(altered).findings
    assert report.entries == 56
    # Helpers that are ended at once are done without.
    with monkeypatch.context() as alone:
        alone.setattr(verifier, "_help", lambda *connections: None)
        assert verifier.check_bundle(altered, workers=2).findings == report.findings
    found = "\n".join(report.findings)
    named = ["Entry 16 was changed", 'The details of entry 21 do not fit: "actor" was changed', "Entry 34 was removed"]
    assert [one for one in named if one not in found] == []


@pytest.mark.slow
def test_seal_over_more_entries_than_are_held_is_checked_all_the_same(findings_of, monkeypatch):
    monkeypatch.setattr(verifier, "MOST_HELD", 4)
    made = book(3, 30, 5)
    assert findings_of(made) == []
    made.entries[20]["actor_id"] = "9"
    assert findings_of(made) == ["Entry 21 was changed: its hash is not the one that was sealed."]
    _remove(made, 20)
    assert "Seal 2 does not fit the entries under it: 1 entries missing." in findings_of(made)[0]


def test_whole_ledger_that_was_signed_again_is_found_by_the_key_and_by_a_head(findings_of):
    made = again(SEALED)
    key, head = made.seals[0]["key"], dict(made.seals[1])
    _change(made, 7, actor_id="9")
    _sign_again(made, 0, Ed25519PrivateKey.generate())
    assert findings_of(made) == []
    assert "None of the seals is signed by the key that you trust" in findings_of(made, key=[fingerprint(key)])[0]
    assert "is not the seal 2 that is here: what it covers was altered" in findings_of(made, heads=[head])[0]


def test_end_that_was_cut_off_whole_is_found_by_a_head_only(findings_of):
    made = again(SEALED)
    head = made.seals.pop()
    # The seal alone, and then with its entries.
    assert findings_of(made) == []
    assert "the end was cut off" in findings_of(made, heads=[head])[0]
    _remove(made, -1, -1, -1)
    assert findings_of(made) == []
    (found,) = findings_of(made, heads=[head])
    assert "seal 3 of" in found
    assert "the end was cut off, for the last seal here is seal 2" in found
    forged = {**made.seals[1], "root": "0" * 64}
    assert "is not signed by its key: it proves nothing" in findings_of(made, heads=[forged])[0]


def test_restore_with_a_lost_key_holds_only_for_whoever_trusts_the_new_one(findings_of):
    made = book(5)
    made.write(2)
    made.restore(key=Ed25519PrivateKey.generate())
    assert "which no seal before it names: the key was swapped. If the desk lost its key" in findings_of(made)[0]
    assert findings_of(made, key=[fingerprint(raw(made.key))]) == []


def test_file_that_lies_or_ends_within_a_line_is_named(findings_of):
    wrong = "keys.json does not hold the keys that signed, in the order of their use."
    assert findings_of(SEALED, keys_json=b'{"keys":[]}') == [wrong]
    found = findings_of(SEALED, entries_jsonl=SEALED.files()["entries.jsonl"][:-20])
    assert any("ends within a line" in one for one in found)


def test_missing_file_cannot_be_read_and_a_link_is_none(tmp_path):
    for name in ("entries.jsonl", "details.jsonl", "seals.jsonl", "manifest.json", "keys.json"):
        folder = SEALED.write_to(tmp_path / f"without-{name}")
        (folder / name).unlink()
        with pytest.raises(verifier.Unreadable, match=name):
            verifier.check_bundle(str(folder))
        (folder / name).symlink_to("/dev/zero")
        with pytest.raises(verifier.Unreadable, match="is no file of its own"):
            verifier.check_bundle(str(folder))


def test_line_without_end_is_refused_before_it_fills_the_memory(tmp_path):
    folder = book(3).write_to(tmp_path / "bundle")
    with (folder / "entries.jsonl").open("ab") as file:
        file.truncate(10 * 1024**3)
    with pytest.raises(verifier.Unreadable, match="a line that is too long"):
        verifier.check_bundle(str(folder))


def _zip(folder, path, *extra):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for one in sorted(folder.iterdir()):
            packed.write(one, f"bundle/{one.name}")
        for name, data in extra:
            packed.writestr(name, data)
    return str(path)


def test_zip_is_read_without_being_unpacked(tmp_path, monkeypatch):
    folder = book(5, 8).write_to(tmp_path / "bundle")
    monkeypatch.chdir(tmp_path)
    path = _zip(folder, tmp_path / "bundle.zip", ("../../outside.txt", "x"), ("/etc/outside", "x"))
    assert verifier.check_bundle(path).findings == []
    assert sorted(one.name for one in tmp_path.iterdir()) == ["bundle", "bundle.zip"]


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_zip_with_two_truths_is_refused(tmp_path):
    folder = book(5).write_to(tmp_path / "bundle")
    with pytest.raises(verifier.Unreadable, match="holds a file twice"):
        verifier.check_bundle(_zip(folder, tmp_path / "twice.zip", ("bundle/entries.jsonl", "")))
    with pytest.raises(verifier.Unreadable, match="2 files manifest"):
        verifier.check_bundle(_zip(folder, tmp_path / "two.zip", ("other/manifest.json", "{}")))
    damaged = Path(_zip(folder, tmp_path / "damaged.zip"))
    data = bytearray(damaged.read_bytes())
    data[data.index(b"details.jsonl") + 40] ^= 255
    damaged.write_bytes(bytes(data))
    with pytest.raises(verifier.Unreadable):
        verifier.check_bundle(str(damaged))


def test_two_exports_of_one_ledger_are_the_same_and_others_are_not(tmp_path):
    made = book(5, 8, unsealed=2)
    old = str(made.write_to(tmp_path / "old"))
    made.write(3)
    made.seal()
    new = made.write_to(tmp_path / "new")
    assert [report.findings for report in verifier.check_same(old, str(new))] == [[], []]
    # An entry that was not sealed when the first was made is gone, and the seals know nothing of it.
    forked = book(5, 8)
    forked.key, forked.entries, forked.details = made.key, made.entries[:13], made.details[:13]
    forked.seals, forked.next_number, forked.next_xid = made.seals[:2], 15, 715
    forked.write(2)
    forked.seal()
    _, report = verifier.check_same(old, str(forked.write_to(tmp_path / "forked")))
    assert [one.partition(" in the older")[0] for one in report.findings] == [
        "Entry 14, not sealed yet", "Entry 15, not sealed yet",
    ]  # fmt: skip
    _, report = verifier.check_same(str(new), old)
    assert any("Seal 3 of the older bundle is not in the newer one" in one for one in report.findings)
    _, report = verifier.check_same(old, str(book(5, 8).write_to(tmp_path / "other")))
    assert any("Seal 1 is not the same in both bundles" in one for one in report.findings)


@pytest.fixture
def command(capsys):
    """Run the command in this process; return its exit code and what it says."""

    def run(*arguments):
        code = verifier.main([*map(str, arguments)])
        return code, *capsys.readouterr()

    return run


def test_command_reports_its_result_with_the_standard_library_alone(tmp_path):
    folder = WAITING.write_to(tmp_path / "bundle")
    bare = [sys.executable, "-I", "-S", VERIFIER]
    ran = subprocess.run([*bare, folder], capture_output=True, text=True, timeout=120, env={}, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "Verified: 17 entries, 16 of them under 3 seals." in ran.stdout
    (folder / "entries.jsonl").unlink()
    ran = subprocess.run([*bare, folder], capture_output=True, text=True, timeout=120, env={}, check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "Cannot be read" in ran.stderr


def test_command_says_what_it_did_not_check(command, tmp_path):
    made = book(5, 8, unsealed=2)
    folder, key = made.write_to(tmp_path / "bundle"), fingerprint(raw(made.key))
    code, output, _ = command(folder)
    assert code == 0
    assert "Verified: 15 entries, 13 of them under 2 seals." in output
    assert key in output
    for not_checked in ("whether that key is the desk's", "2 entries not sealed yet"):
        assert f"NOT checked: {not_checked}" in output
    assert "A cut-off end can only be found with a head kept outside" in output
    head = tmp_path / "seals.jsonl"
    head.write_bytes(canonical(made.seals[0]) + b"\n" + canonical(made.seals[1]) + b"\n" + b'{"half')
    code, output, _ = command(folder, "--head", head, "--key", key)
    assert (code, output.count("NOT checked")) == (0, 1)
    assert command(folder, "--head", canonical(made.seals[1]).decode())[0] == 0
    # A head that came after the bundle proves nothing against it, and nothing for it.
    made.manifest["made_at"] = AT.format(0)
    code, output, _ = command(made.write_to(tmp_path / "older"), "--head", canonical(book(5, 8, 2).seals[2]).decode())
    assert (code, "is younger than this bundle" in output) == (4, True)
    # Without signatures, or without a seal, nothing is proved.
    for unproved in ((folder, "--no-signatures"), (book(unsealed=3).write_to(tmp_path / "unsealed"),)):
        code, output, _ = command(*unproved)
        assert (code, output.endswith("signatures NOT checked\n")) == (3, True)


def test_command_names_what_does_not_hold_and_what_cannot_be_read(command, tmp_path):
    made = again(SEALED)
    made.entries[7]["actor_id"] = "\x1b[2J9"
    folder = made.write_to(tmp_path / "bundle")
    code, output, _ = command(folder)
    assert (code, "\x1b" in output) == (1, False)
    assert output.startswith("PROBLEM: Entry 8 was changed")
    assert command(folder, "--no-signatures")[0] == 1
    assert command(tmp_path / "nowhere")[0] == 2
    assert command(folder, "--key", "nonsense")[0] == 2
    assert command(folder, "--head", '{"v":1}')[0] == 2


def test_verifier_needs_nothing_that_came_after_python_3_9():
    compile(VERIFIER.read_text(), VERIFIER.name, "exec", flags=0, dont_inherit=True)
    tree = ast.parse(VERIFIER.read_text(), feature_version=(3, 9))
    imported = {node.names[0].name for node in ast.walk(tree) if isinstance(node, ast.Import)}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= set(sys.stdlib_module_names)
