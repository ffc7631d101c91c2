"""What the offline verifier reckons with: Ed25519 and the tree against others, and the proofs that build on them."""

import base64
import copy
import email.message
import json
import zlib

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from audit.verifier import countersign_verify as verifier
from tests.bundles import book, canonical, fingerprint, path_of, proof_nodes, raw, root_of

# The roots over the first 0 to 8 of these leaves are those of the known vectors of RFC 6962 and RFC 9162 trees.
KNOWN_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
KNOWN_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
HASHES = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=70)


@given(st.binary(max_size=80), st.integers(0, 64 * 8 - 1), st.sampled_from(["none", "signature", "key", "data"]))
def test_signatures_are_judged_as_by_another_implementation(data, bit, damaged):
    private = Ed25519PrivateKey.from_private_bytes(b"countersign".ljust(32, b"."))
    key, signature = private.public_key().public_bytes_raw(), private.sign(data)

    def flip(text):
        position = bit % (len(text) * 8)
        return text[: position // 8] + bytes([text[position // 8] ^ (1 << position % 8)]) + text[position // 8 + 1 :]

    if damaged == "signature":
        signature = flip(signature)
    elif damaged == "key":
        key = flip(key)
    elif damaged == "data":
        data += b"x"
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, data)
        holds = True
    except (InvalidSignature, ValueError):
        holds = False
    assert holds == (damaged == "none")
    assert verifier.is_signed(data, signature, key) == holds


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
        assert not any(verifier.is_signed(bytes([number]), signature, key) for number in range(16)), (key, signature)


def test_points_have_one_spelling():
    base = verifier.BASE
    point = verifier.point_of(base)
    assert verifier.bytes_of(point) == base
    # Small enough that the field's size fits on top: the same y again.
    for y in range(2, 19):
        if verifier.point_of(y.to_bytes(32, "little")) is not None:
            assert verifier.point_of((y + verifier.P).to_bytes(32, "little")) is None


def test_known_trees():
    leaves = [verifier.leaf_of(bytes.fromhex(text)) for text in KNOWN_LEAVES]
    assert [verifier.Edge().grown(leaves[:size]).root() for size in range(9)] == KNOWN_ROOTS


@given(HASHES, st.lists(st.integers(0, 70), max_size=8))
def test_tree_that_grows_has_the_root_of_the_definition(leaves, steps):
    edge = verifier.Edge()
    for step in [*steps, len(leaves)]:
        edge = edge.grown(leaves[edge.size : edge.size + step])
        assert edge.root() == root_of(leaves[: edge.size]).hex()
    assert edge.size == len(leaves)


@given(HASHES, st.data())
def test_consistency_is_proved_by_its_own_path_only(leaves, data):
    first = data.draw(st.integers(1, len(leaves)))
    size, path = len(leaves), path_of(first, leaves)
    old, new = root_of(leaves[:first]).hex(), root_of(leaves).hex()
    assert verifier.is_consistent(first, size, old, new, path)
    other = "ab" * 32
    assert not verifier.is_consistent(first, size, other, new, path)
    assert not verifier.is_consistent(first, size, old, other, path)
    assert not verifier.is_consistent(first, size, old, new, [*path, b"x" * 32])
    if path:
        assert not verifier.is_consistent(first, size, old, new, path[:-1])
        position = data.draw(st.integers(0, len(path) - 1))
        assert not verifier.is_consistent(first, size, old, new, [*path[:position], b"x" * 32, *path[position + 1 :]])
    if first > 1:
        assert not verifier.is_consistent(first - 1, size, old, new, path)


@given(HASHES, st.data())
def test_leaves_and_nodes_lead_to_the_root(leaves, data):
    wanted = data.draw(st.sets(st.integers(0, len(leaves) - 1), min_size=1, max_size=6))
    nodes = {(level, index): bytes.fromhex(text) for level, index, text in proof_nodes(wanted, leaves)}
    known_leaves = {index: leaves[index] for index in wanted}
    root, used = verifier.root_from(known_leaves, nodes, len(leaves))
    assert (root, used) == (root_of(leaves).hex(), len(nodes))
    if nodes:
        gone = data.draw(st.sampled_from(sorted(nodes)))
        with pytest.raises(ValueError, match="is missing"):
            verifier.root_from(known_leaves, {key: value for key, value in nodes.items() if key != gone}, len(leaves))


def test_json_that_could_be_read_in_two_ways_is_refused():
    texts = ['{"a":1,"a":2}', "NaN", "[Infinity]", "1.5", "1e400", "9" * 5000, "[" * 200_000, '{"a":', ""]
    for text in (*map(str.encode, texts), b"\xff", b'"\xed\xa0\x80"'):
        with pytest.raises(ValueError, match=r"\w"):
            pytest.fail(f"{text[:20]!r}: {verifier.read_json(text)}")


MESSAGE = "0193b0c0-0000-7000-8000-000000000001"
# Of its entries in the ledger that `made` gives.
INDEXES = (5, 10, 15)


def _proof(made):
    """Return the proof of the message, as the desk hands it out."""
    leaves = made.leaves(made.seals[-1]["size"])
    details = [{name: made.details[index][name] for name in ("salt", "fields")} for index in INDEXES]
    entries = [{"position": index, "entry": canonical(made.entries[index]).decode()} for index in INDEXES]
    proof = {
        "v": 1,
        "kind": "message",
        "message": MESSAGE,
        "made_at": "2026-11-21T02:04:33.000000+00:00",
        "product": "Countersign",
        "entries": [entry | detail for entry, detail in zip(entries, details, strict=True)],
        "nodes": [list(one) for one in proof_nodes(set(INDEXES), leaves)],
        "seal": made.seals[-1],
    }
    return copy.deepcopy(proof)


@pytest.fixture(scope="module")
def made():
    """A ledger with three entries about one message."""
    made = book(5)
    for _ in range(3):
        made.write(message=MESSAGE)
        made.write(4)
    made.seal()
    return made


def _check(proof, **options):
    return verifier.check_proof(json.dumps(proof).encode(), **options)


def test_proof_of_a_message_holds_and_says_what_happened(made):
    kind, report, lines = _check(_proof(made), trust=verifier.Trust([fingerprint(raw(made.key))]))
    assert (kind, report.findings, report.entries) == ("message", [], 3)
    assert lines[0] == "Entry 6, 2026-11-21T02:04:33 UTC: message.opened by person 7 through web."
    assert lines[1:3] == ["    actor: Ana", "    reason: “ 6\\x0a"]
    removed = _proof(made)
    removed["entries"][1].update(salt=None, fields=None)
    assert _check(removed).report.findings == []


def _altered(made, change):
    proof = _proof(made)
    change(proof)
    return proof


def _edit(proof, index, before, after):
    one = proof["entries"][index]
    one["entry"] = one["entry"].replace(before, after)


def _change(number, **says):
    return lambda proof: proof["entries"][number].update(says)


NOT_LED = "does not lead to seal 2: the node over"
# What is said of a proof, and how it was altered.
ALTERED = [
    ("are not those that seal 2", lambda proof: _edit(proof, 1, "opened", "closed")),
    ("are not those that seal 2", lambda proof: proof["nodes"][0].__setitem__(2, "0" * 64)),
    ("are not those that seal 2", lambda proof: proof["nodes"].append([9, 9, "0" * 64])),
    ('details of entry 11 do not fit: "actor"', lambda proof: proof["entries"][1]["fields"].update(actor="Bob")),
    ("Entry 6 is about another message", lambda proof: proof.update(message=MESSAGE[:-1] + "2")),
    (NOT_LED, lambda proof: proof["nodes"].pop()),
    (NOT_LED, lambda proof: proof["entries"].pop()),
    ("Seal 2 is not signed by its key", lambda proof: proof["seal"].update(note="x")),
    ("not in canonical form", lambda proof: _edit(proof, 1, ":", ": ")),
    ("names no entry", lambda proof: proof.update(entries=[])),
]
UNREADABLE = [
    _change(1, position=5),
    _change(1, position=True),
    _change(2, position=10**12),
    lambda proof: proof["nodes"].append(proof["nodes"][0]),
    lambda proof: proof["nodes"].append([0, 1]),
    lambda proof: proof.update(entries=[1]),
    lambda proof: proof.update(seal=None),
    lambda proof: proof.update(v=2),
    lambda proof: proof.update(kind="other"),
    lambda proof: proof.pop("nodes"),
]


def test_altered_proof_does_not_hold(made):
    for wanted, change in ALTERED:
        found = _check(_altered(made, change)).report.findings
        assert any(wanted in one for one in found), (wanted, found)


def test_proof_of_another_form_and_what_is_no_proof_cannot_be_read(made):
    for number, change in enumerate(UNREADABLE):
        with pytest.raises(verifier.Unreadable):
            pytest.fail(f"{number}: {_check(_altered(made, change))}")
    begin, end = b"-----BEGIN COUNTERSIGN PROOF-----", b"-----END COUNTERSIGN PROOF-----"
    for data in (b"", b"hello", b"{}", begin + b"\nAAAA\n" + end):
        with pytest.raises(verifier.Unreadable):
            pytest.fail(f"{data}: {verifier.check_proof(data)}")


def test_proof_trusts_only_the_key_of_the_caller(made):
    found = _check(_proof(made), trust=verifier.Trust(["0" * 64])).report.findings
    assert found == [f"Seal 2 is signed by {fingerprint(raw(made.key))}, which is not the key that you trust."]


def _packed(proof):
    data = base64.encodebytes(zlib.compress(json.dumps(proof).encode())).decode()
    return f"-----BEGIN COUNTERSIGN PROOF-----\n{data}-----END COUNTERSIGN PROOF-----\n"


def test_proof_is_found_in_a_text_a_quoted_answer_and_an_email(made):
    block = _packed(_proof(made))
    quoted = "".join(f"> {line}\r\n" for line in block.splitlines())
    mail = email.message.EmailMessage()
    mail["Subject"] = "The proof"
    mail.set_content("Here it is.\n\n" + block, cte="base64")
    crossed = email.message.EmailMessage()
    crossed.set_content("Grüße\n" + block, cte="quoted-printable")
    for data in (f"Hello\n\n{block}\nBye".encode(), quoted.encode(), mail.as_bytes(), crossed.as_bytes()):
        assert verifier.check_proof(data).report.findings == []


def test_packed_proof_that_would_fill_the_memory_is_refused(monkeypatch):
    monkeypatch.setattr(verifier, "LARGEST_FILE", 1000)
    bomb = base64.encodebytes(zlib.compress(b" " * 100_000))
    with pytest.raises(verifier.Unreadable, match="too large"):
        verifier.check_proof(b"-----BEGIN COUNTERSIGN PROOF-----\n" + bomb + b"-----END COUNTERSIGN PROOF-----")


def test_proof_of_consistency_holds_for_two_heads_of_one_ledger_only():
    made = book(5, 8, 30)
    proof = {"v": 1, "kind": "consistency", "first": made.seals[0], "second": made.seals[2]}
    path = [one.hex() for one in path_of(5, made.leaves())]
    assert _check({**proof, "path": path}).report.findings == []
    assert "two histories" in _check({**proof, "path": path[:-1]}).report.findings[0]
    swapped = {**proof, "first": made.seals[2], "second": made.seals[0], "path": path}
    assert "does not come before" in _check(swapped).report.findings[0]
    other = book()
    other.write(5, actor_id="9")
    other.seal()
    assert "two histories" in _check({**proof, "first": other.seals[0], "path": path}).report.findings[0]
    assert _check({**proof, "second": made.seals[0], "path": []}).report.findings == []
