"""The offline verifier's Ed25519 and JSON, and the proofs of one message that build on
them.
"""

import json

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from hypothesis import given
from hypothesis import strategies as st

from audit.verifier import countersign_verify as verifier
from tests.bundles import MESSAGE, book, canonical, fingerprint, raw, sign


@given(
    st.binary(max_size=80),
    st.integers(0, 64 * 8 - 1),
    st.sampled_from(["none", "signature", "key", "data"]),
)
def test_signatures_are_judged_as_by_another_implementation(data, bit, damaged):
    private = Ed25519PrivateKey.from_private_bytes(b"countersign".ljust(32, b"."))
    key = private.public_key().public_bytes_raw()
    signature = private.sign(data)

    def flip(text):
        position = bit % (len(text) * 8)
        return (
            text[: position // 8]
            + bytes([text[position // 8] ^ (1 << position % 8)])
            + text[position // 8 + 1 :]
        )

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
        assert not any(
            verifier.is_signed(bytes([number]), signature, key) for number in range(16)
        ), (key, signature)


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


@pytest.fixture(scope="module")
def made():
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


def test_proof_of_a_message_holds_and_says_what_happened(made, tmp_path, capsys):
    report, lines = _check(
        made.proof(), trust=verifier.Trust([fingerprint(raw(made.key))])
    )
    assert report.findings == []
    assert report.entries == 3
    assert lines[:3] == [
        f"Message: {MESSAGE}",
        "Action: message.approved (approve)",
        "Actor: person 7",
    ]
    assert "    reason: “ 6\\n" in lines
    (tmp_path / "proof.json").write_text(json.dumps(made.proof()))
    assert verifier.main([str(tmp_path / "proof.json")]) == 0
    assert "whether others exist, only a whole bundle shows" in capsys.readouterr().out


def test_forged_entry_is_not_printed(made):
    proof = made.proof()
    one = proof["batches"][1]["entries"][0]
    forged = canonical(json.loads(one["entry"]) | {"actor_id": "1"}).decode()
    one.update(entry=forged, salt=None, fields=None)
    proof["about"]["actor"] = "person 1"
    report, lines = _check(proof)
    assert report.findings == ["Entry 12 is not what seal 3 covers: it was changed."]
    assert lines == []


def _in_seal(**says):
    return lambda proof: proof["batches"][1]["seal"].update(says)


# What is said of a proof, and how it was altered.
ALTERED = [
    (
        'details of entry 7 do not fit: "actor"',
        lambda proof: proof["batches"][0]["entries"][1]["fields"].update(actor=""),
    ),
    (
        "Entry 6 is about another message",
        lambda proof: proof.update(message=MESSAGE[:-1] + "2"),
    ),
    (
        "The hashes are not those that seal 2",
        lambda proof: proof["batches"][0]["hashes"].reverse(),
    ),
    ("Seal 3 is not signed by its key", _in_seal(note="x")),
    ("Seal 2 does not come after seal 3", lambda proof: proof["batches"].reverse()),
    (
        "The proof holds an entry twice",
        lambda proof: proof["batches"].append(proof["batches"][1]),
    ),
    (
        "of which it says that it is not sealed yet",
        lambda proof: proof["not_sealed"].append(6),
    ),
    (
        "The heading names an entry that is not in",
        lambda proof: proof["about"].update(entry=13),
    ),
    (
        'The heading lies: "action" is message.rejected',
        lambda proof: proof["about"].update(action="message.rejected"),
    ),
]


def test_altered_proof_does_not_hold(made):
    for wanted, change in ALTERED:
        proof = json.loads(json.dumps(made.proof()))
        change(proof)
        report, lines = _check(proof)
        assert any(wanted in one for one in report.findings), (wanted, report.findings)
        assert lines == []


def test_what_is_no_proof_cannot_be_read():
    for data in (b"", b"{}", b"[" + b"1," * 10**6 + b"1]"):
        with pytest.raises(verifier.Unreadable):
            pytest.fail(f"{data[:20]!r}: {verifier.check_proof(data)}")


def test_entry_outside_of_what_its_seal_says_does_not_hold(made):
    for says in (
        {"after_id": 12},
        {"end_id": 11},
        {"end_id": 13},
        {"at": "2026-11-21T01:04:33.000000+00:00"},
    ):
        proof = made.proof()
        proof["batches"][1]["seal"] = sign(
            proof["batches"][1]["seal"], made.key, **says
        )
        assert _check(proof).report.findings == [
            "Entry 12 does not belong where it is under seal 3."
        ]


def test_proof_trusts_only_the_keys_of_the_caller(made):
    report, _ = _check(made.proof(), trust=verifier.Trust(["0" * 64]))
    assert len(report.findings) == 2
    proof = made.proof()
    other = Ed25519PrivateKey.generate()
    proof["batches"][1]["seal"] = sign(proof["batches"][1]["seal"], other)
    keys = [raw(made.key)]
    assert len(_check(proof, trust=verifier.Trust(keys)).report.findings) == 1
    assert (
        _check(proof, trust=verifier.Trust([*keys, raw(other)])).report.findings == []
    )
