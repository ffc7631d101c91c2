"""The offline verifier against bundles that lie: each alteration of a good one is found, and named."""

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.proving import countersign_verify as verifier
from tests.bundles import book, canonical, fingerprint, head_hash, leaf_of, raw, root_of, sign

VERIFIER = Path(verifier.__file__)


@pytest.fixture
def told(tmp_path):
    """Write a ledger as a bundle, and return what the verifier finds."""

    def check(made, *, key=(), heads=(), signatures=True, **instead):
        folder = tmp_path / f"bundle-{len(list(tmp_path.iterdir()))}"
        made.write_to(folder, **instead)
        kept = verifier.Heads([verifier.Seal(head) for head in heads])
        report = verifier.check_bundle(str(folder), verifier.Trust(key), kept, signatures=signatures)
        return report.findings

    return check


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


def test_what_was_not_altered_holds(told):
    made = _long_story()
    keys = [
        fingerprint(made.seals[0]["key"]),
        made.seals[0]["key"],
        fingerprint(raw(made.key)).lower().replace("-", ""),
    ]
    for key in keys:
        assert told(made, key=[key], heads=made.seals) == []
    assert told(book()) == []
    assert told(book(unsealed=3)) == []


def _line(data, number, change):
    lines = data.splitlines(keepends=True)
    lines[number] = change(lines[number])
    return b"".join(lines)


# Line 7 of the entries is entry 8, under seal 2, which covers 6 to 13.
RAW_LINES = {
    "a changed value": (lambda line: line.replace(b'"7"', b'"9"'), "Entry 8 was changed"),
    "a space": (
        lambda line: line.replace(b":", b": ", 1),
        "Entry 8 is not as an entry must be: it is not in canon",
    ),
    "another order of keys": (
        lambda line: json.dumps(dict(reversed(list(json.loads(line).items())))).encode() + b"\n",
        "Entry 8 is not as an entry must be: it is not in canon",
    ),
    "a key twice": (
        lambda line: line.replace(b'{"action"', b'{"action":"message.approved","action"', 1),
        'Entry 8 is not as an entry must be: the key "action" stands there twice',
    ),
    "a detail twice": (
        lambda line: line.replace(b'{"actor":', b'{"actor":"' + b"0" * 64 + b'","actor":', 1),
        "Entry 8 names its details twice",
    ),
    "no number": (lambda line: line.replace(b'"connection":null', b'"connection":NaN'), "NaN is no number"),
    "a fraction": (lambda line: line.replace(b'"connection":null', b'"connection":1.0'), "1.0 is no number"),
    "a huge number": (lambda line: line.replace(b'"id":8', b'"id":' + b"8" * 5000), "is no number of a ledger"),
    "deep nesting": (
        lambda line: line.replace(b'"connection":null', b'"connection":' + b"[" * 100_000 + b"]" * 100_000),
        "nested too deeply",
    ),
    "half a character": (lambda line: line.replace(b"web", b"\xff"), "it is no UTF-8"),
    "an escape too much": (lambda line: line.replace(b"web", b"\\u0077eb"), "it is not in canonical form"),
    "a field less": (lambda line: line.replace(b',"trace":""', b""), "it is no entry"),
    "a line end of another kind": (lambda line: line.replace(b"\n", b"\r\n"), "Entry 8"),
    "nothing": (lambda line: b"\n", "no JSON"),
    "no line": (lambda line: b"", "Entry 8 was removed"),
    "the same twice": (lambda line: line * 2, "Entry 8 stands there twice"),
}


@pytest.mark.parametrize("name", RAW_LINES)
def test_line_that_is_not_as_it_must_be_is_named(told, name):
    change, wanted = RAW_LINES[name]
    made = book(5, 8, 3)
    found = told(made, entries_jsonl=_line(made.files()["entries.jsonl"], 7, change))
    assert any(wanted in one for one in found[:2]), found


@pytest.mark.parametrize("odd", [b"w\x01b", b"w\\u0077", b"w\\/b", b"w\xffb", b"w\x1fb"])
def test_line_that_could_be_spelled_otherwise_is_named_though_its_hash_is_listed(told, odd):
    made = book(5, 8, 3)
    files = made.files()
    line = files["entries.jsonl"].splitlines()[7]
    # Without an escape of its own, as most lines are.
    altered = line.replace(b"web", odd)
    listed = {**made.details[7], "leaf": hashlib.sha256(b"\0" + altered).hexdigest()}
    details = _line(files["details.jsonl"], 7, lambda _: canonical(listed) + b"\n")
    found = told(made, entries_jsonl=files["entries.jsonl"].replace(line, altered), details_jsonl=details)
    assert any("Entry 8 is not as an entry must be" in one for one in found), found


def test_details_that_could_be_spelled_otherwise_are_named(told):
    made = book(5, 8, 3)
    fields = {"actor": "Ana", "reason": "plain"}
    hashes = {name: _detail_hash("07" * 16, name, text) for name, text in fields.items()}
    for odd in (b"A\x01a", b"A\xffa"):
        hashes["actor"] = hashlib.sha256(bytes.fromhex("07" * 16) + b"\0actor\0" + odd).hexdigest()
        _change(made, 7, detail_hashes=dict(hashes))
        made.details[7].update(salt="07" * 16, fields=dict(fields))
        data = made.files()["details.jsonl"]
        line = data.splitlines()[7]
        found = told(made, details_jsonl=data.replace(line, line.replace(b"Ana", odd)))
        assert any("Line 8 of details.jsonl is not what it must be" in one for one in found), found


def _detail_hash(salt, name, text):
    return hashlib.sha256(bytes.fromhex(salt) + b"\0" + name.encode() + b"\0" + text.encode()).hexdigest()


def _change(made, place, **says):
    """Change an entry, and what lists it."""
    made.entries[place].update(says)
    made.details[place]["leaf"] = leaf_of(made.entries[place]).hex()


def _remove(made, place):
    del made.entries[place], made.details[place]


def _insert(made, place, number):
    entry = {**made.entries[place], "id": number}
    made.entries.insert(place + 1, entry)
    made.details.insert(place + 1, {**made.details[place], "id": number, "leaf": leaf_of(entry).hex()})


def _swap(made, place):
    for rows in (made.entries, made.details):
        rows[place], rows[place + 1] = rows[place + 1], rows[place]


def _sign_anew(made, first=0, key=None, root=True):
    """Make the chain fit again; without the key only the hashes."""
    for place, seal in enumerate(made.seals[first:], start=first):
        seal["previous"] = head_hash(made.seals[place - 1]) if place else ""
        seal["root"] = root_of(made.leaves(seal["size"])).hex() if root else seal["root"]
        if key:
            made.seals[place] = sign(seal, key)


def _edit_seal(made, number, **says):
    made.seals[number - 1].update(says)


def _insert_one_seal_too_many(made):
    made.seals.insert(2, dict(made.seals[1]))


def _other_key_midway(made):
    _sign_anew(made, 1, Ed25519PrivateKey.generate())


# Entries are numbered from 1, places from 0; seals cover 1 to 5, 6 to 13, 14 to 16, and 17 waits.
LIES = {
    "entry and its listed leaf changed": (
        lambda made: _change(made, 7, actor_id="9"),
        "One of the entries 6 to 13 is not as it was sealed",
    ),
    "entry, leaf and seals changed": (
        lambda made: (_change(made, 7, actor_id="9"), _sign_anew(made, 1)),
        "Seal 2 is not signed by its key",
    ),
    "entry removed with its details": (lambda made: _remove(made, 7), "1 removed (entry 8 is missing)"),
    "first entry removed": (lambda made: _remove(made, 0), "1 removed (entry 1 is missing)"),
    "two entries removed": (lambda made: (_remove(made, 8), _remove(made, 7)), "2 removed (entry 8, 9 is missing)"),
    "entry put in": (lambda made: _insert(made, 7, 900), "Entry 900 was put in later: seal 2 does not cover it"),
    "entry put in behind the seals": (
        lambda made: _insert(made, len(made.entries) - 1, 900) or _change(made, -1, xid="703"),
        "Entry 900 was put in later: no seal covers it",
    ),
    "two swapped under one seal": (lambda made: _swap(made, 7), "Entry 9 stands before entry 8 under seal 2"),
    "two swapped over a seal's end": (lambda made: _swap(made, 12), "Seal 2 covers 8 entries, and 7"),
    "transaction moved back": (
        lambda made: _change(made, 7, xid="701"),
        "Entry 8 under seal 2 is of a transaction that was",
    ),
    "end cut off": (
        lambda made: [_remove(made, -1) for _ in range(3)],
        "Seal 3 covers 3 entries, and 1 are here: the end was cut off; the last one here is entry 14",
    ),
    "entries of the end called not sealed": (
        lambda made: (_remove(made, -1), made.manifest.update(unsealed=1, entries=17)),
        '"entries" is 17 there, and 16 here',
    ),
    "details of another entry": (
        lambda made: made.details[7].update(fields=made.details[8]["fields"], salt=made.details[8]["salt"]),
        'The details of entry 8 do not fit: "actor" was changed',
    ),
    "a detail less": (
        lambda made: made.details[7].update(fields={"actor": "Ana"}),
        'The details of entry 8 do not fit: they lack "reason"',
    ),
    "a detail more": (
        lambda made: made.details[7]["fields"].update(verdict="yes"),
        'The details of entry 8 do not fit: they have, and it never had, "verdict"',
    ),
    "details without their salt": (
        lambda made: made.details[7].update(salt=None),
        "Entry 8 has details without a salt",
    ),
    "another listed leaf": (
        lambda made: made.details[7].update(leaf="0" * 64),
        "Entry 8 is as it was sealed, but",
    ),
    "seal edited": (
        lambda made: _edit_seal(made, 2, at="2025-01-01T00:00:00.000000+00:00"),
        "Seal 2 is not signed by its key",
    ),
    "seal that claims less": (lambda made: _edit_seal(made, 3, size=12), "Seal 3 is not signed by its key"),
    "signature of another seal": (
        lambda made: _edit_seal(made, 2, signature=made.seals[0]["signature"]),
        "Seal 2 is not signed by its key",
    ),
    "signature with a high S": (
        lambda made: _edit_seal(made, 2, signature=_high(made.seals[1]["signature"])),
        "Seal 2 is not signed by its key",
    ),
    "seal with a field more": (lambda made: _edit_seal(made, 2, extra=1), "Seal 2 cannot be read"),
    "seal with a number as text": (
        lambda made: _edit_seal(made, 2, size="13"),
        'Seal 2 cannot be read: its field "size"',
    ),
    "seal with true as a number": (
        lambda made: _edit_seal(made, 1, epoch=True),
        'Seal 1 cannot be read: its field "epoch"',
    ),
    "seal removed": (lambda made: made.seals.pop(1), "Seal 2 is missing"),
    "first seal removed": (lambda made: made.seals.pop(0), "Seal 1 is missing"),
    "seal twice": (_insert_one_seal_too_many, "Seal 2 stands there twice"),
    "seals swapped": (
        lambda made: made.seals.insert(1, made.seals.pop(2)),
        "Seal 2 is missing: behind seal 1 stands seal 3",
    ),
    "another key from one seal on": (_other_key_midway, "which no seal before it names: the key was swapped"),
    "manifest that lies": (lambda made: made.manifest.update(unsealed=0), 'manifest.json lies: "unsealed" is 0'),
    "manifest of true": (lambda made: made.manifest.update(unsealed=True), 'manifest.json lies: "unsealed" is True'),
}


def _high(signature):
    number = int.from_bytes(bytes.fromhex(signature)[32:], "little") + verifier.ORDER
    return signature[:64] + number.to_bytes(32, "little").hex()


@pytest.mark.parametrize("name", LIES)
def test_lie_is_named(told, name):
    lie, wanted = LIES[name]
    made = book(5, 8, 3, unsealed=1)
    lie(made)
    found = told(made)
    assert any(wanted in one for one in found), found


# What whoever has the signing key could sign, and the rules forbid all the same.
SIGNED_LIES = {
    "epoch that jumps": ({"epoch": 2}, "Seal 3 says epoch 2, and seal 2 before it epoch 1"),
    "claims less": ({"size": 12}, "Seal 3 claims less than the seal before: 12 entries, not 13"),
    "horizon that goes back": ({"horizon": "3"}, "Seal 3 says another horizon"),
    "another cluster": ({"cluster": "5"}, "Seal 3 was made in another cluster than seal 2, and tells of no restore"),
    "key change without a key": ({"kind": "key"}, "does not fit its next key"),
    "next key without a change": ({"next_key": "0" * 64}, "does not fit its next key"),
    "another chain": ({"previous": "0" * 64}, "Seal 3 does not follow the seal 2 that is here"),
    "restore in the same epoch": (
        {"kind": "restored", "after_id": 16},
        "Seal 3 says epoch 1, and seal 2 before it epoch 1",
    ),
}


@pytest.mark.parametrize("name", SIGNED_LIES)
def test_what_no_honest_desk_signs_is_named(told, name):
    says, wanted = SIGNED_LIES[name]
    made = book(5, 8)
    made.write(3)
    made.seal(**says)
    found = told(made)
    assert any(wanted in one for one in found), found


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
    found = "\n".join(report.findings)
    assert "Entry 16 was changed" in found
    assert 'The details of entry 21 do not fit: "actor" was changed' in found
    assert "Entry 34 was removed" in found


def test_seal_over_more_entries_than_are_held_is_checked_all_the_same(told, monkeypatch):
    monkeypatch.setattr(verifier, "MOST_HELD", 4)
    made = book(3, 30, 5)
    assert told(made) == []
    made.entries[20]["actor_id"] = "9"
    assert told(made) == ["Entry 21 was changed: its hash is not the one that was sealed."]
    _remove(made, 20)
    assert "Seal 2 does not fit the entries under it: 1 entries missing." in told(made)[0]


def test_whole_ledger_signed_anew_is_found_by_the_key_and_by_a_head(told):
    made = book(5, 8, 3)
    key, head = made.seals[0]["key"], dict(made.seals[1])
    _change(made, 7, actor_id="9")
    _sign_anew(made, 0, Ed25519PrivateKey.generate())
    assert told(made) == []
    assert "None of the seals is signed by the key that you trust" in told(made, key=[fingerprint(key)])[0]
    assert "is not the seal 2 that is here: what it covers was altered" in told(made, heads=[head])[0]


def test_end_that_was_cut_off_whole_is_found_by_a_head_only(told):
    made = book(5, 8, 3)
    head = made.seals.pop()
    for _ in range(3):
        _remove(made, -1)
    assert told(made) == []
    (found,) = told(made, heads=[head])
    assert "seal 3 of" in found
    assert "the end was cut off, for the last seal here is seal 2" in found


def test_seals_that_were_taken_from_entries_leave_these_not_sealed(told):
    made = book(5, 8, 3)
    head = made.seals.pop()
    assert told(made) == []
    assert "the end was cut off" in told(made, heads=[head])[0]


def test_head_that_nobody_signed_is_not_believed(told):
    made = book(5, 8)
    forged = {**made.seals[1], "root": "0" * 64}
    assert "is not signed by its key: it proves nothing" in told(made, heads=[forged])[0]


def test_restore_with_a_lost_key_holds_only_for_whoever_trusts_the_new_one(told):
    made = book(5)
    made.write(2)
    made.restore(key=Ed25519PrivateKey.generate())
    assert "which no seal before it names: the key was swapped. If the desk lost its key" in told(made)[0]
    assert told(made, key=[fingerprint(raw(made.key))]) == []


def test_key_that_a_key_seal_names_needs_no_trust(told):
    made = book(5)
    made.change_key()
    made.write(2)
    made.seal()
    assert told(made, key=[made.seals[0]["key"]]) == []
    assert told(made, key=["0" * 64]) != []


def test_keys_file_that_lies_is_named(told):
    made = book(2)
    assert told(made, keys_json=b'{"keys":[]}') == [
        "keys.json does not hold the keys that signed, in the order of their use."
    ]


def test_file_that_ends_within_a_line_is_named(told):
    made = book(5)
    found = told(made, entries_jsonl=made.files()["entries.jsonl"][:-20])
    assert any("ends within a line" in one for one in found)


@pytest.mark.parametrize("name", ["entries.jsonl", "details.jsonl", "seals.jsonl", "manifest.json", "keys.json"])
def test_missing_file_cannot_be_read_and_a_link_is_none(tmp_path, name):
    folder = book(3).write_to(tmp_path / "bundle")
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
    assert [one[:36] for one in report.findings] == [
        "Entry 14, not sealed yet in the olde",
        "Entry 15, not sealed yet in the olde",
    ]
    _, report = verifier.check_same(str(new), old)
    assert any("Seal 3 of the older bundle is not in the newer one" in one for one in report.findings)
    _, report = verifier.check_same(old, str(book(5, 8).write_to(tmp_path / "other")))
    assert any("Seal 1 is not the same in both bundles" in one for one in report.findings)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A virtual environment in which there is nothing but Python."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    copied = folder / "countersign_verify.py"
    copied.write_bytes(VERIFIER.read_bytes())

    def run(*arguments):
        command = [folder / "venv/bin/python", "-I", "-S", copied, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env={}, check=False)

    return run


def test_command_tells_how_it_ends_and_what_it_did_not_check(bare, tmp_path):
    made = book(5, 8, unsealed=2)
    folder = made.write_to(tmp_path / "bundle")
    ran = bare(folder)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "It holds: 15 entries, 13 of them under 2 seals." in ran.stdout
    assert fingerprint(raw(made.key)) in ran.stdout
    assert "NOT checked: whether that key is the desk's" in ran.stdout
    assert "NOT checked: 2 entries that no seal covers yet" in ran.stdout
    assert "A cut-off end can only be found with a head kept outside" in ran.stdout
    head = tmp_path / "seals.jsonl"
    head.write_bytes(canonical(made.seals[0]) + b"\n" + canonical(made.seals[1]) + b"\n" + b'{"half')
    ran = bare(folder, "--head", head, "--key", fingerprint(raw(made.key)))
    assert ran.returncode == 0
    assert ran.stdout.count("NOT checked") == 1
    assert bare(folder, "--head", canonical(made.seals[1]).decode()).returncode == 0
    ran = bare(folder, "--no-signatures")
    assert ran.returncode == 3
    assert ran.stdout.endswith("signatures NOT checked\n")


def test_command_names_what_does_not_hold_and_what_cannot_be_read(bare, tmp_path):
    made = book(5, 8)
    made.entries[7]["actor_id"] = "\x1b[2J9"
    ran = bare(made.write_to(tmp_path / "bundle"))
    assert ran.returncode == 1
    assert ran.stdout.startswith("NOT AS IT WAS: Entry 8 was changed")
    assert "\x1b" not in ran.stdout
    assert bare(made.write_to(tmp_path / "again"), "--no-signatures").returncode == 1
    ran = bare(tmp_path / "nowhere")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "Cannot be read" in ran.stderr
    assert bare(tmp_path / "bundle", "--key", "nonsense").returncode == 2
    assert bare(tmp_path / "bundle", "--head", '{"v":1}').returncode == 2


def test_bundle_without_seals_proves_nothing(bare, tmp_path):
    ran = bare(book(unsealed=3).write_to(tmp_path / "bundle"))
    assert ran.returncode == 3
    assert ran.stdout.endswith("signatures NOT checked\n")


def test_verifier_needs_nothing_that_came_after_python_3_9():
    compile(VERIFIER.read_text(), VERIFIER.name, "exec", flags=0, dont_inherit=True)
    import ast

    tree = ast.parse(VERIFIER.read_text(), feature_version=(3, 9))
    imported = {node.names[0].name for node in ast.walk(tree) if isinstance(node, ast.Import)}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= set(sys.stdlib_module_names)
