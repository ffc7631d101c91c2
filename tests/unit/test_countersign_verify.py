"""The offline verifier against bundles and proofs that lie: each alteration of a good one
is found, and named.
"""

import ast
import copy
import functools
import itertools
import json
import shutil
import sys
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.verifier import countersign_verify as verifier
from simple_form.data import rows
from tests.bundles import (
    AT,
    FILES,
    MESSAGE,
    book,
    canonical,
    entry_hash,
    fingerprint,
    raw,
    sign,
)
from tests.commands import run_command

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
    last = fingerprint(raw(made.key)).lower().replace("-", "")
    for trusted in (made.seals[0]["key"], last):
        assert findings_of(made, key=[trusted], heads=made.seals) == []


# What whoever has the signing key could sign, and the rules forbid all the same.
SIGNED_LIES = list(
    rows("""
{"epoch": 2}                           Seal 3 says epoch 2, and seal 2 before it epoch 1
{"size": 15}                           Seal 3 says that 15 entries are sealed, not 13 and 3 more
{"count": 2, "size": 15}               Seal 3 covers 2 entries, and 3 are here
{"count": 4611686018427387904}         Seal 3 covers 4611686018427387904 entries, more than any desk
{"end_xid": "3"}                       Seal 3 ends elsewhere than may follow seal 2
{"end_xid": "2000"}                    Seal 3 says that it ends at entry 16
{"after_id": 14}                       Seal 3 begins an epoch, and reports no restore
{"cluster": "5"}                       Seal 3 is from a different cluster than seal 2, and reports no restore
{"kind": "key"}                        does not fit its next key
{"next_key": "ZEROS"}                  does not fit its next key
{"kind": "key", "next_key": "ZEROS"}   Seal 3 covers 3 entries, more than any desk
{"previous": "ZEROS"}                  Seal 3 does not follow the seal 2 that is here
{"kind": "restored", "after_id": 16}   Seal 3 says epoch 1, and seal 2 before it epoch 1
""")
)


def test_what_no_honest_desk_signs_is_named(findings_of):
    before = book(5, 8)
    before.write(3)
    for says, wanted in SIGNED_LIES:
        made = again(before)
        made.seal(**json.loads(says.replace("ZEROS", "0" * 64)))
        found = findings_of(made)
        assert any(wanted in one for one in found), (says, found)


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
    # Anybody can add such an entry until a seal covers it.
    claimed, unproven = findings_of(made)
    assert claimed.startswith("Entry 10 says that details were removed")
    assert unproven.endswith("no sealed entry tells of their removal: 3-4 7.")
    made.seal()
    assert findings_of(made) == []
    unexplained.write(
        action="ledger.details_removed", fields={"actor": "Ana", "numbers": "3 7"}
    )
    unexplained.seal()
    assert findings_of(unexplained)[0].endswith(
        "no sealed entry tells of their removal: 4."
    )
    made.details[9].update(salt=None, fields={})
    assert any(
        "those of a removal are never removed" in one for one in findings_of(made)
    )


def test_stripped_details_are_not_verified_whatever_the_manifest_says(
    command, tmp_path
):
    made = again(SEALED)
    for one in made.details:
        one.update(salt=None, fields={})
    assert command(made.write_to(tmp_path / "stripped"))[0] == 1
    made.manifest["details"] = "left out"
    code, output, _ = command(made.write_to(tmp_path / "left out"))
    assert code == 5
    assert "Verified: " not in output
    assert "NOT checked: 16 entries are without their details" in output


def test_ranges_are_subtracted_in_order_however_they_overlap():
    gone = verifier.Ranges()
    for text in ("5-9 20", "1-6 8-12", "30-40"):
        gone.take(verifier.Ranges(text))
    assert str(verifier.Ranges("3-25 31-32 40-41").without(gone)) == "13-19 21-25 41"
    for text in ("5-9 8", "7-3", "0", "1 x", "١", "1" * 20):
        with pytest.raises(ValueError, match=r"\w"):
            pytest.fail(f"{text}: {verifier.Ranges(text)}")


def test_end_that_was_cut_off_whole_is_found_by_a_checkpoint_only(findings_of):
    made = again(SEALED)
    head = made.seals.pop()
    assert findings_of(made) == []
    assert len(findings_of(made, heads=[head])) == 1
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


# --- What cannot be read: exit code 2, and one sentence -------------------------------


def _zip(path, *extra, root="bundle/", **instead):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in SEALED.files().items():
            if data := instead.get(name.replace(".", "_"), data):
                packed.writestr(root + name, data)
        for name, data in extra:
            packed.writestr(name, data)
    return path


def test_zip_is_read_without_being_unpacked(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = _zip(tmp_path / "bundle.zip", ("../../outside.txt", "x"), root="")
    assert command(path)[0] == 0
    assert [one.name for one in tmp_path.iterdir()] == ["bundle.zip"]


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


def _limited(megabytes, *arguments):
    """Run the command with little memory and time; return its exit code, or the signal
    that ended it.
    """
    command = [
        sys.executable,
        "-I",
        "-c",
        _LIMITED,
        "10",
        str(megabytes),
        VERIFIER,
        *arguments,
    ]
    return run_command(command).returncode


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
        seals_jsonl=b" " * 900_000_000,
        manifest_json=b" " * 900_000_000,
    )
    assert _limited(200, bomb) == 2
    lines = b"".join(
        canonical({**SEALED.entries[0], "id": number}) + b"\n"
        for number in range(1, 300_000)
    )
    assert _limited(200, _zip(tmp_path / "lines.zip", entries_jsonl=lines)) in (1, 2)


# --- The command ----------------------------------------------------------------------


def test_modules_beside_the_verifier_are_not_imported(tmp_path):
    folder = WAITING.write_to(tmp_path / "bundle")
    program = shutil.copy(VERIFIER, folder)
    for name in ("json", "argparse", "collections"):
        (folder / f"{name}.py").write_text("raise SystemExit(0)\n")
    (folder / "entries.jsonl").write_bytes(b"")
    # As somebody in a hurry does.
    ran = run_command([sys.executable, "-S", program, "."], cwd=folder)
    assert ran.stdout.startswith("PROBLEM")


def test_command_says_what_it_did_not_check(command, tmp_path):
    made = book(5, 8, unsealed=2)
    folder = made.write_to(tmp_path / "bundle")
    key = fingerprint(raw(made.key))
    code, output, _ = command(folder)
    assert code == 0
    assert "Verified: 15 entries, 13 of them under 2 seals." in output
    assert key in output
    assert output.count("NOT checked") == 3
    head = tmp_path / "seals.jsonl"
    head.write_bytes(made.files()["seals.jsonl"] + b'{"half')
    code, output, _ = command(folder, "--head", head, "--key", key)
    assert code == 0
    assert output.count("NOT checked") == 1
    # A checkpoint that came after the bundle proves nothing against it, and nothing for
    # it.
    made.manifest["made_at"] = AT.format(0)
    younger = canonical(book(5, 8, 2).seals[2]).decode()
    older = made.write_to(tmp_path / "older")
    assert command(older, "--head", younger)[0] == 4
    # Without a seal, nothing is proved.
    assert command(book(unsealed=3).write_to(tmp_path / "unsealed"))[0] == 3


def test_command_names_what_does_not_hold_and_what_cannot_be_read(command, tmp_path):
    made = book(5)
    made.restore(note="\x1b[2J\u202eabc")
    folder = made.write_to(tmp_path / "bundle")
    code, output, _ = command(folder)
    assert code == 0
    assert "\\x1b[2J\\u202eabc" in output
    made.entries[1]["actor_id"] = "9"
    folder = made.write_to(tmp_path / "changed")
    code, output, _ = command(folder)
    assert code == 1
    assert output.startswith("PROBLEM: Entry 2 was changed")
    assert command(tmp_path / "nowhere")[0] == 2
    assert command(folder, "--key", "nonsense")[0] == 2
    assert command(folder, "--head", '{"v":1}')[0] == 2


def test_verifier_needs_nothing_that_came_after_python_3_9():
    assert ast.parse(VERIFIER.read_text(), feature_version=(3, 9))


def _flipped(data, bit):
    made = bytearray(data)
    made[bit // 8] ^= 1 << bit % 8
    return bytes(made)


def test_signature_of_another_implementation_holds_and_no_altered_one():
    private = Ed25519PrivateKey.from_private_bytes(b"countersign".ljust(32, b"."))
    key = private.public_key().public_bytes_raw()
    signature = private.sign(b"data")
    assert verifier.is_signed(b"data", signature, key)
    assert not verifier.is_signed(b"date", signature, key)
    for bit in range(0, 512, 17):
        assert not verifier.is_signed(b"data", _flipped(signature, bit), key), bit
        assert not verifier.is_signed(b"data", signature, _flipped(key, bit % 256)), bit


def _number(number):
    return number.to_bytes(32, "little")


ODD_POINTS = [
    # The neutral point signs everything where nobody looks: R and S of nothing.
    (_number(1), _number(1) + bytes(32)),
    (bytes(32), bytes(64)),
    (bytes(32), _number(1) + bytes(32)),
    # The same point in another spelling, beyond the field.
    (_number(verifier.P + 1), _number(1) + bytes(32)),
    # Minus nothing.
    (_number(1 | 1 << 255), _number(1) + bytes(32)),
    (b"", bytes(64)),
    (b"\xff" * 32, b"\xff" * 64),
]


def test_keys_and_signatures_of_odd_points_sign_nothing():
    for key, signature in ODD_POINTS:
        assert not any(
            verifier.is_signed(bytes([number]), signature, key) for number in range(16)
        ), (key, signature)


@pytest.fixture(scope="module")
def proven():
    """A ledger with three entries about one message, two of them under one seal."""
    made = book(5)
    made.write(2, message=MESSAGE)
    made.write(4)
    made.seal()
    made.write(message=MESSAGE, action="message.approved", outcome="approve")
    made.seal()
    made.write(message=MESSAGE)
    return made


def _check(proof, **options):
    return verifier.check_proof(json.dumps(proof).encode(), **options)


def test_proof_of_a_message_holds_and_says_what_happened(proven, tmp_path, capsys):
    report, lines = _check(
        proven.proof(), trust=verifier.Trust([fingerprint(raw(proven.key))])
    )
    assert report.findings == []
    assert report.entries == 3
    assert lines[:3] == [
        f"Message: {MESSAGE}",
        "Action: message.approved (approve)",
        "Actor: person 7",
    ]
    assert "    reason: “ 6\\n" in lines
    (tmp_path / "proof.json").write_text(json.dumps(proven.proof()))
    assert verifier.main([str(tmp_path / "proof.json")]) == 0
    assert "whether others exist, only a whole bundle shows" in capsys.readouterr().out
    proof = proven.proof()
    proof["batches"][1]["entries"][0].update(salt=None, fields=None)
    (tmp_path / "proof.json").write_text(json.dumps(proof))
    assert verifier.main([str(tmp_path / "proof.json")]) == 5


def test_forged_entry_is_not_printed(proven):
    proof = proven.proof()
    one = proof["batches"][1]["entries"][0]
    forged = json.loads(one["entry"]) | {"actor_id": "1"}
    one.update(entry=canonical(forged).decode(), salt=None, fields=None)
    proof["about"]["actor"] = "person 1"
    report, lines = _check(proof)
    assert report.findings == [
        "Entry 12 was changed: its hash is not the one that was sealed."
    ]
    assert lines == []
    # With a hash of its own.
    proof["batches"][1]["hashes"] = [entry_hash(forged)]
    assert _check(proof).report.findings == [
        "One of the entries 12 to 12 is not as it was sealed, or seal 3 over it was edited."
    ]


def test_entry_outside_of_what_its_seal_says_does_not_hold(proven):
    for says in (
        {"after_id": 12},
        {"end_id": 11},
        {"end_id": 13},
        {"at": "2026-11-21T01:04:33.000000+00:00"},
    ):
        proof = proven.proof()
        proof["batches"][1]["seal"] = sign(
            proof["batches"][1]["seal"], proven.key, **says
        )
        report, lines = _check(proof)
        assert report.findings, says
        assert lines == []


def test_proof_trusts_only_the_keys_of_the_caller(proven):
    report, _ = _check(proven.proof(), trust=verifier.Trust(["0" * 64]))
    assert len(report.findings) == 2
    proof = proven.proof()
    other = Ed25519PrivateKey.generate()
    proof["batches"][1]["seal"] = sign(proof["batches"][1]["seal"], other)
    keys = [raw(proven.key)]
    assert len(_check(proof, trust=verifier.Trust(keys)).report.findings) == 1
    assert (
        _check(proof, trust=verifier.Trust([*keys, raw(other)])).report.findings == []
    )


# --- A corpus of altered proofs and bundles ------------------------------------------
# Every field of every object is removed, set to null, to other types and values, and to
# what the same field says elsewhere. Nothing is signed again. Each alteration fails, or
# changes nothing that the verifier prints.

OTHER = MESSAGE[:-1] + "2"
# What is not the same as the value that it replaces, though some of it is equal to it
# in Python.
VALUES = (
    None,
    True,
    False,
    0,
    1,
    1.0,
    2**63,
    "",
    "0",
    "0" * 64,
    [],
    ["x"],
    {},
    {"x": "y"},
)


def _ledger():
    """A ledger with all that there is: keys, a restore, removed details, an outcome,
    and two messages.
    """
    made = book(3)
    made.write(message=MESSAGE, action="message.held")
    made.write(message=OTHER, action="message.held")
    made.seal()
    made.change_key()
    made.write(
        message=MESSAGE, action="message.approved", outcome="approve", connection=3
    )
    made.write(message=OTHER, action="message.rejected", outcome="reject", actor_id="8")
    made.details[1].update(salt=None, fields={})
    made.write(action="ledger.details_removed", fields={"numbers": "2"})
    made.restore()
    made.write(2, message=MESSAGE)
    made.seal()
    made.write(message=MESSAGE)
    return made


LEDGER = _ledger()


def _paths(value, path=()):
    """Yield where each field and each place of a list is."""
    if isinstance(value, dict | list):
        for name in value if isinstance(value, dict) else range(len(value)):
            yield (*path, name)
            yield from _paths(value[name], (*path, name))


def _at(value, path):
    return functools.reduce(lambda one, name: one[name], path, value)


def _with(value, path, change):
    """Return the JSON of a copy of which a change was given the container and the name
    of a field.
    """
    made = copy.deepcopy(value)
    change(_at(made, path[:-1]), path[-1])
    return canonical(made).decode()


def mutations(value, others):
    """Yield each alteration of an object, as a name and what makes its JSON. `others`
    are the same kind of object.
    """
    for path in _paths(value):
        before = _at(value, path)
        where = "/".join(map(str, path))
        yield (
            f"{where} removed",
            partial(_with, value, path, lambda one, name: one.pop(name)),
        )
        instead = [*VALUES, *(_try(path, other) for other in others)]
        if isinstance(before, str) and before:
            instead += [
                before + "x",
                before[:-1],
                before.upper(),
                before[:-1] + ("1" if before[-1] == "0" else "0"),
            ]
        if type(before) is int:
            instead += [before + 1, before - 1, float(before), str(before)]
        for new in instead:
            if (type(new), new) != (type(before), before):
                change = partial(_set, new)
                yield f"{where} = {new!r}"[:200], partial(_with, value, path, change)


def _set(new, container, name):
    container[name] = new


def _try(path, value):
    try:
        return _at(value, path)
    except (KeyError, IndexError, TypeError):
        return None


def mutated_proofs():
    proof = LEDGER.proof()
    other = LEDGER.proof(OTHER)
    yield from mutations(proof, [other])
    # Fields within the text of an entry.
    others = [
        json.loads(one["entry"])
        for batch in other["batches"]
        for one in batch["entries"]
    ]
    for number, batch in enumerate(proof["batches"]):
        for place, one in enumerate(batch["entries"]):
            path = ("batches", number, "entries", place, "entry")
            for name, make in mutations(json.loads(one["entry"]), others):
                yield f"{name} in {path}", partial(_with_text, proof, path, make)


def _with_text(proof, path, make):
    return _with(proof, path, partial(_set, make()))


def mutated_file(file):
    """Yield each alteration of a file of the bundle, and what makes its content."""
    lines = LEDGER.files()[file].decode().splitlines()
    end = "\n" if file.endswith(".jsonl") else ""
    for number, line in enumerate(lines):
        before = lines[:number]
        after = lines[number + 1 :]
        neighbours = [json.loads(one) for one in [*before[-1:], *after[:1]]]
        for name, make in mutations(json.loads(line), neighbours):
            changed = partial(_joined, before, make, after, end)
            yield f"{file} {number}: {name}", changed
        if after:
            yield f"{file} {number}: removed", partial(_joined, before, "", after, end)
            doubled = partial(_joined, [*before, line], line, after, end)
            yield f"{file} {number}: doubled", doubled
            swapped = partial(_joined, [*before, after[0]], line, after[1:], end)
            yield f"{file} {number}: swapped", swapped


def _joined(before, line, after, end):
    lines = [*before, line if isinstance(line, str) else line(), *after]
    return "".join(one + end for one in lines if one)


def _is_smaller_proof(name):
    """Whether an alteration only leaves entries of a proof out: it says itself that
    there may be others.
    """
    where, _, how = name.partition(" ")
    return how == "removed" and where.split("/")[-2:-1] in (["batches"], ["entries"])


@pytest.fixture
def result_of(capsys, monkeypatch):
    """Run the command; return its exit code, and all that it prints of what it read."""
    monkeypatch.setattr(verifier, "is_signed", functools.cache(verifier.is_signed))

    def run(path):
        code = verifier.main([str(path)])
        return code, capsys.readouterr().out

    return run


def _believed(result_of, checked, file, alterations, every):
    """Return those that hold though they change what is printed."""
    whole = file.read_text()
    expected = result_of(checked)
    assert expected[0] == 0
    believed = []
    for name, make in itertools.islice(alterations, every - 1, None, every):
        if not _is_smaller_proof(name):
            file.write_text(make())
            code, output = result_of(checked)
            if code not in (1, 2) and (code, output) != expected:
                believed.append(name)
    file.write_text(whole)
    return believed


# Primes, so that each kind of alteration is among them.
@pytest.mark.parametrize("every", [41, pytest.param(7, marks=pytest.mark.slow)])
def test_no_alteration_is_believed(result_of, tmp_path, every):
    folder = LEDGER.write_to(tmp_path / "bundle")
    proof = tmp_path / "proof.json"
    proof.write_text(json.dumps(LEDGER.proof()))
    believed = _believed(result_of, proof, proof, mutated_proofs(), every)
    for name in FILES:
        altered = mutated_file(name)
        believed += _believed(result_of, folder, folder / name, altered, every)
    assert believed == []


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


def test_line_without_end_is_refused_before_it_fills_the_memory(command, tmp_path):
    folder = book(3).write_to(tmp_path / "bundle")
    with (folder / "entries.jsonl").open("ab") as file:
        file.truncate(10 * 1024**3)
    assert "a line that is too long" in command(folder)[2]


def test_json_that_could_be_read_in_two_ways_is_refused():
    texts = (
        '{"a":1,"a":2}',
        "NaN",
        "1.5",
        "9" * 20,
        "[" * 200_000,
        '{"a":',
        '"\\ud800"',
    )
    for text in (*map(str.encode, texts), b"\xff"):
        with pytest.raises(ValueError, match=r"\w"):
            pytest.fail(f"{text[:20]!r}: {verifier.read_json(text)}")


def test_what_is_no_proof_cannot_be_read():
    for data in (b"", b"{}", b"[" + b"1," * 10**6 + b"1]"):
        with pytest.raises(verifier.Unreadable):
            pytest.fail(f"{data[:20]!r}: {verifier.check_proof(data)}")
