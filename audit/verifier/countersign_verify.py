#!/usr/bin/env python3
"""Verifies an exported ledger, or a proof of one message, on a machine that never saw
the desk. A checkpoint is a seal that somebody saved elsewhere. Needs Python 3.9, nothing else.

    python3 -I countersign_verify.py BUNDLE
        a bundle (folder or .zip): every entry, and its seals
    python3 -I countersign_verify.py BUNDLE --head FILE
        ... against a saved checkpoint, or the lines of an anchor file
    python3 -I countersign_verify.py PROOF
        a proof of one message (JSON)
    --key FINGERPRINT
        the key to trust, as you have it from elsewhere

Exit codes: 0 it holds, 1 it does not hold, 2 it cannot be read, 3 nothing is sealed, so
that NOTHING was checked by a signature, 4 it holds, but a saved checkpoint is younger, so that
whether the end is there was NOT checked, 5 it holds, but details (names and texts) are
left out, so that who removed them was NOT checked. docs/ledger.md describes every byte.
From top to bottom: reports, strict reading, Ed25519, seals, entries, the ledger,
checkpoints, bundles, proofs, the command.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and not sys.flags.isolated:
    # Without -I, Python first looks for modules in the folder of this file, where
    # somebody may have put a json.py of their own.
    del sys.path[0]

import argparse
import collections
import contextlib
import datetime
import hashlib
import io
import json
import os
import re
import stat
import struct
import types
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple

MIB = 1024 * 1024
# In bytes. Longer lines and files are refused before they are parsed.
LONGEST_LINE = 4 * MIB
LARGEST_PROOF = 16 * MIB
# Only so many bytes at the end of a file of checkpoints are read: each checkpoint
# covers all entries before it.
END_OF_HEADS = 4 * MIB
# Limits of what is held in memory: values in a proof, ranges of entries whose details
# were removed, and findings.
MOST_VALUES = 1_000_000
MOST_RANGES = 400_000
MOST_FINDINGS = 200
# A .zip is no bundle if its list of files is larger than this.
LARGEST_ZIP_LIST = MIB
# Nor if a file in it unpacks to more than this many times the size of the .zip: bundles
# are full of hashes, which compress little.
MOST_RATIO = 25


class Unreadable(Exception):
    """The input cannot be checked: exit code 2."""


# --- Reports --------------------------------------------------------------------------


def shown(value: Any) -> str:
    """Return a foreign text in a form that cannot manipulate a terminal: without
    control and bidi characters and wide gaps, and at most about 500 characters long.
    """
    text = re.sub("  +", " ", str(value)[:2000])
    safe = ""
    for one in text[:500]:
        if not one.isprintable():
            one = one.encode("unicode_escape").decode("ascii")
        safe += one
    return safe + ("..." if len(text) > 500 or len(str(value)) > 2000 else "")


class Ranges:
    """A set of numbers, stored as ranges (`runs`, pairs of first and last number)."""

    def __init__(self, text: str = "") -> None:
        """Parse the numbers that an entry about a removal lists, such as `3-7 12`.
        Raises ValueError if the text is anything else.
        """
        self.runs: list[tuple[int, int]] = []
        if text.count(" ") >= MOST_RANGES:
            raise ValueError("it names too many ranges")
        end = 0
        for part in text.split(" ") if text else ():
            match = re.fullmatch("([1-9][0-9]{0,18})(?:-([1-9][0-9]{0,18}))?", part)
            first = int(match[1]) if match else 0
            last = int(match[2] or first) if match else 0
            if not end < first <= last:
                raise ValueError("its numbers are none, overlap, or are not in order")
            self.runs.append((first, last))
            end = last

    @classmethod
    def over(cls, numbers: Iterable[int]) -> Ranges:
        result = cls()
        for number in sorted(numbers):
            result.add(number, number)
        return result

    def __str__(self) -> str:
        return " ".join(
            f"{first}-{last}" if first < last else str(first)
            for first, last in self.runs
        )

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.runs)

    def add(self, first: int, last: int) -> None:
        """Add a range; it is joined with the last one if they touch."""
        if self.runs and self.runs[-1][0] <= first <= self.runs[-1][1] + 1:
            first, before = self.runs.pop()
            last = max(last, before)
        self.runs.append((first, last))

    def take(self, others: Ranges) -> None:
        """Add all numbers of the others. Raises ValueError if that makes more ranges
        than are held in memory.
        """
        self.runs += others.runs
        if len(self.runs) > MOST_RANGES:
            self.runs = self.merged()
            if len(self.runs) > MOST_RANGES // 2:
                raise ValueError("it and others name too many ranges")

    def merged(self) -> list[tuple[int, int]]:
        made = Ranges()
        for first, last in sorted(self.runs):
            made.add(first, last)
        return made.runs

    def without(self, others: Ranges) -> Ranges:
        """Return the numbers that are not in the others. It looks at each number, so it
        is slow for wide ranges.
        """
        left = Ranges()
        excluded = sorted(others.runs, reverse=True)
        end = 0
        for first, last in sorted(self.runs):
            for number in range(first, last + 1):
                while excluded and excluded[-1][0] <= number:
                    end = max(end, excluded.pop()[1])
                if number > end:
                    left.add(number, number)
        return left


class Report:
    """The result of a check: findings (what is wrong), notes, and counts."""

    def __init__(self, progress: Callable[[int], None] | None = None) -> None:
        self.findings: list[str] = []
        # How many further findings there are, which are not stored. From then on, no
        # more signatures are checked.
        self.more = 0
        self.notes: list[str] = []
        # Sentences about saved checkpoints that are younger than the bundle, which
        # therefore cannot have them.
        self.younger: list[str] = []
        self.entries = 0
        self.unsealed = 0
        self.with_details = 0
        # Entries whose details are missing; and entries of which a sealed entry says
        # that their details were removed.
        self.missing = Ranges()
        self.removed = Ranges()
        self.seals = 0
        self.last: Seal | None = None
        # Whether details may be left out, as the manifest says, or in a proof; and the
        # time of the manifest.
        self.left_out = False
        self.made_at = ""
        self._progress = progress

    def find(self, sentence: str) -> None:
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(sentence)
        else:
            self.more += 1

    def note(self, sentence: str) -> None:
        if len(self.notes) < MOST_FINDINGS and sentence not in self.notes:
            self.notes.append(sentence)

    def count(self) -> None:
        self.entries += 1
        if self._progress and self.entries % 10_000 == 0:
            self._progress(self.entries)


# --- Strict reading -------------------------------------------------------------------


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f'the key "{shown(name)}" appears twice')
        found[name] = value
    return found


def _number(text: str) -> int:
    if not re.fullmatch("-?[0-9]{1,19}", text):
        raise ValueError(f"{shown(text)[:40]} is no number of a ledger")
    return int(text)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_pairs,
    parse_int=_number,
    parse_float=_number,
    parse_constant=_number,
)
_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def canonical(value: Any) -> bytes:
    """Return the canonical JSON of RFC 8785 for a value of text, whole numbers, lists,
    objects and null.
    """
    return _ENCODER.encode(value).encode()


def read_json(data: bytes, *, is_canonical: bool = False) -> Any:
    """Parse JSON strictly. With `is_canonical`, which is used for everything that is
    hashed or signed, the bytes must be in canonical form.

    Raises ValueError for duplicate keys, floats, NaN, deep nesting, invalid UTF-8 and
    half characters (lone surrogates).
    """
    try:
        text = data.decode()
        value = _DECODER.decode(text)
        # `canonical` raises UnicodeError for half a character, which only an escape
        # such as \ud800 can bring in.
        if (
            (is_canonical or "\\u" in text)
            and canonical(value) != data
            and is_canonical
        ):
            raise ValueError("it is not in canonical form")
    except UnicodeError:
        raise ValueError("it is no UTF-8, or holds half a character") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error.msg}") from None
    return value


# A rule says what a field may be: a function that returns something true if the value
# is right. It may raise TypeError for a value of a wrong type.
Rule = Callable[[Any], object]
MOST = 2**63
# Any text, whose characters are not read.
TEXT = re.compile("").match
HASH = re.compile("[0-9a-f]{64}").fullmatch
HASH_OR_EMPTY = re.compile("([0-9a-f]{64})?").fullmatch
UUID = re.compile(
    "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
).fullmatch
XID = re.compile("0|[1-9][0-9]{0,19}").fullmatch
SALT = re.compile("[0-9a-f]{32}").fullmatch
LIKE_TIME = re.compile(
    "(19[7-9][0-9]|2[0-9]{3})-[0-9]{2}-[0-9]{2}T(?!24)[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{6}[+]00:00"
).fullmatch


def anything(_: Any) -> bool:
    return True


def number_from(least: int) -> Rule:
    return lambda value: type(value) is int and least <= value < MOST


def or_null(rule: Rule) -> Rule:
    return lambda value: value is None or rule(value)


def list_of(rule: Rule, least: int = 0) -> Rule:
    return lambda value: (
        type(value) is list and len(value) >= least and all(map(rule, value))
    )


def object_of(rule: Rule) -> Rule:
    return lambda value: type(value) is dict and all(map(rule, value.values()))


def is_time(value: Any) -> bool:
    """Whether this is a time in the only form that a ledger uses. Such texts sort in
    the order of time.
    """
    try:
        return bool(LIKE_TIME(value) and datetime.datetime.fromisoformat(value))
    except ValueError:
        return False


def fields_of(
    value: Any, what: str, rules: dict[str, Rule], may_be_absent: Iterable[str] = ()
) -> dict[str, Any]:
    """Return the object if it has the fields of `rules` and no others, with right
    values. Raises ValueError otherwise; `what` names the object.
    """
    if (
        not isinstance(value, dict)
        or not rules.keys() - may_be_absent <= value.keys() <= rules.keys()
    ):
        raise ValueError(f"it does not have the fields of {what}")
    if value.get("v", 2) != 2:
        raise ValueError("it is of a version that this verifier does not know")
    for name, field in value.items():
        try:
            is_right = rules[name](field)
        except TypeError:
            is_right = False
        if not is_right:
            raise ValueError(f'its field "{name}" is not what it must be')
    return value


# --- Ed25519 after RFC 8032, strictly -------------------------------------------------

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
# A point of the curve in extended coordinates.
Point = tuple[int, int, int, int]
NEUTRAL: Point = (0, 1, 1, 0)


def add(p: Point, q: Point) -> Point:
    """Return the sum of two points. The formula is right for all points of the curve."""
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * p[3] * q[3] * D % P
    d = 2 * p[2] * q[2] % P
    e = b - a
    f = d - c
    g = d + c
    h = b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(point: Point, number: int) -> Point:
    result = NEUTRAL
    while number:
        if number & 1:
            result = add(result, point)
        point = add(point, point)
        number >>= 1
    return result


def point_of(data: bytes) -> Point | None:
    """Decode 32 bytes into a point; None if they are not the canonical encoding of one."""
    number = int.from_bytes(data, "little")
    sign = number >> 255
    y = number & ((1 << 255) - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def bytes_of(point: Point) -> bytes:
    inverse = pow(point[2], P - 2, P)
    x = point[0] * inverse % P
    y = point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def is_small(point: Point) -> bool:
    """Whether eight times the point is the neutral point. With such a key, one
    signature could be valid for any data.
    """
    for _ in range(3):
        point = add(point, point)
    return point[0] % P == 0 and (point[1] - point[2]) % P == 0


BASE = (4 * pow(5, P - 2, P) % P).to_bytes(32, "little")


def is_signed(data: bytes, signature: bytes, key: bytes) -> bool:
    """Whether this is the Ed25519 signature of the public key over this data. Keys of
    small order are refused.
    """
    if len(signature) != 64 or len(key) != 32:
        return False
    number = int.from_bytes(signature[32:], "little")
    base = point_of(BASE)
    public = point_of(key)
    if number >= ORDER or base is None or public is None or is_small(public):
        return False
    digest = (
        int.from_bytes(hashlib.sha512(signature[:32] + key + data).digest(), "little")
        % ORDER
    )
    negative = (P - public[0], public[1], 1, P - public[3])
    point = add(times(base, number), times(negative, digest))
    return bytes_of(point) == signature[:32]


def fingerprint_of(key: str) -> str:
    """Return the short fingerprint of a key given in hex: three groups of four."""
    number = int(hashlib.sha256(bytes.fromhex(key)).hexdigest()[:15], 16)
    digits = "".join(
        "0123456789ABCDEFGHJKMNPQRSTVWXYZ"[number >> 5 * place & 31]
        for place in range(11, -1, -1)
    )
    return f"{digits[:4]}-{digits[4:8]}-{digits[8:]}"


class Trust:
    """The keys that the auditor trusts, each given as a short fingerprint, as a whole
    fingerprint in hex, or as the public key in hex. Empty if none were given.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._names = {key.replace("-", "").replace(" ", "").upper() for key in keys}
        if not all(
            re.fullmatch("[0-9A-F]{64}|[0-9A-HJKMNP-TV-Z]{12}", name)
            for name in self._names
        ):
            raise Unreadable(
                "--key takes a fingerprint of three groups of four, or 64 hex digits."
            )

    def __bool__(self) -> bool:
        return bool(self._names)

    def has(self, key: str) -> bool:
        whole = hashlib.sha256(bytes.fromhex(key)).hexdigest()
        short = fingerprint_of(key).replace("-", "")
        return not self._names.isdisjoint([key.upper(), whole.upper(), short])


# --- Seals ----------------------------------------------------------------------------

_SEAL: dict[str, Rule] = {
    **dict.fromkeys(("v", "number", "epoch"), number_from(1)),
    **dict.fromkeys(("count", "size", "end_id", "after_id"), number_from(0)),
    **dict.fromkeys(("entries", "key"), HASH),
    **dict.fromkeys(("previous", "next_key"), HASH_OR_EMPTY),
    "kind": re.compile("seal|restored|key").fullmatch,
    "end_xid": XID,
    "cluster": re.compile("[0-9]{0,32}").fullmatch,
    "at": is_time,
    "note": TEXT,
    "signature": re.compile("[0-9a-f]{128}").fullmatch,
}
# How many entries a seal of a kind covers at most: a change of the key adds none.
LONGEST_BATCHES = {"seal": 1000, "key": 0, "restored": MOST}


class Seal(types.SimpleNamespace):
    """One seal: its fields as attributes, and its hash, end and name. Raises ValueError
    if a field is malformed.
    """

    def __init__(self, value: Any) -> None:
        super().__init__(**fields_of(value, "a seal", _SEAL))
        signed = {name: field for name, field in value.items() if name != "signature"}
        self.signed_bytes = b"countersign seal v2\n" + canonical(signed)
        self.hash = hashlib.sha256(
            self.signed_bytes + bytes.fromhex(self.signature)
        ).hexdigest()
        # Transaction and number of the last entry under it.
        self.end = (int(self.end_xid), self.end_id)
        # Entries under later seals were made after this time. A seal that may have left
        # older entries unsealed keeps the time of the seal before it.
        self.since = self.at
        self.name = f"seal {self.number} of {self.at[:19]} UTC"

    def check_kind(self, report: Report) -> None:
        """Report fields that do not fit the kind of the seal."""
        if bool(self.next_key) != (self.kind == "key") or self.next_key == self.key:
            report.find(
                f"Seal {self.number} is of the kind {self.kind}, which does not fit its next key."
            )
        if self.count > LONGEST_BATCHES[self.kind]:
            report.find(
                f"Seal {self.number} covers {self.count} entries, more than any desk seals by such a seal."
            )

    def is_signed(self) -> bool:
        return is_signed(
            self.signed_bytes, bytes.fromhex(self.signature), bytes.fromhex(self.key)
        )


class Chain:
    """Reads the seals in order, checks each against the one before it, and collects the
    public keys that signed them.
    """

    def __init__(self, report: Report, trust: Trust, first: int = 1) -> None:
        self.report = report
        self.trust = trust
        # The number of the first seal.
        self.first = first
        self.keys: set[str] = set()
        self._verified: Seal | None = None

    def read(self, line: bytes) -> Seal | None:
        """Check the seal in a line against the seal before it, and return it. None if
        the line has no seal, which is reported.
        """
        last = self.report.last
        expected = last.number + 1 if last else self.first
        try:
            seal = Seal(read_json(line, is_canonical=True))
        except ValueError as error:
            self.report.find(f"Seal {expected} cannot be read: {error}.")
            return None
        find = self.report.find
        if seal.number < expected:
            find(
                f"Seal {seal.number} comes after seal {expected - 1}: it is there twice, or out of order."
            )
        elif seal.number > expected:
            find(
                f"Seal {expected} is missing: after seal {expected - 1} comes seal {seal.number}."
            )
        elif last is not None:
            self._check_next(last, seal)
        elif seal.number == 1 and (
            seal.previous
            or seal.epoch != 1
            or seal.after_id
            or seal.kind == "restored"
            or seal.size != seal.count
        ):
            find("Seal 1 says that there was one before it.")
        seal.check_kind(self.report)
        if seal.kind != "seal":
            # A signature covers all seals before it, so it suffices to check the last
            # one, and those around a restore or a change of the key: whoever has the
            # later key need not have had the earlier one.
            self._check_signature(last)
            self._check_signature(seal)
        self.keys.add(seal.key)
        if seal.kind != "restored" and seal.count in (0, LONGEST_BATCHES["seal"]):
            seal.since = last.since if last else ""
        self.report.last = seal
        self.report.seals += 1
        return seal

    def _check_signature(self, seal: Seal | None) -> None:
        if seal is None or seal is self._verified or self.report.more:
            return
        self._verified = seal
        if not seal.is_signed():
            self.report.find(
                f"Seal {seal.number} is not signed by its key: it, or a seal before it, was edited."
            )

    # Checks that a seal follows the seal before it: hash, key, epoch, numbers, cluster.
    def _check_next(self, last: Seal, seal: Seal) -> None:
        find = self.report.find
        number = seal.number
        is_restored = seal.kind == "restored"
        if seal.previous != last.hash:
            find(
                f"Seal {number} does not follow the seal {last.number} that is here: one of them was edited."
            )
            # The signatures show which of the two.
            self._check_signature(last)
            self._check_signature(seal)
        if seal.key != (last.next_key or last.key):
            named = f"Seal {number} is signed with the key {fingerprint_of(seal.key)}, which no seal before it names"
            if is_restored and self.trust.has(seal.key):
                self.report.note(
                    f"{named}: it was lost, as the seal says, and you trust this one."
                )
            else:
                advice = " If the desk lost its key, ask its operator, and trust this one with --key."
                find(f"{named}: the key was swapped.{advice if is_restored else ''}")
        if seal.epoch != last.epoch + is_restored:
            find(
                f"Seal {number} says epoch {seal.epoch}, and seal {last.number} before it epoch {last.epoch}."
            )
        if seal.size != last.size + seal.count:
            find(
                f"Seal {number} says that {seal.size} entries are sealed, not {last.size} and {seal.count} more."
            )
        if is_restored:
            if seal.after_id < last.after_id:
                find(f"Seal {number} begins its epoch before the last one began.")
            self.report.note(
                f"Seal {number} of {seal.at[:19]} reports a restore: {shown(seal.note) or 'without a reason'}. "
                f"Entries that were made after seal {last.number} and were not in the backup are not in this ledger."
            )
            return
        if seal.after_id != last.after_id:
            find(f"Seal {number} begins an epoch, and reports no restore.")
        if seal.end < last.end or (seal.count == 0 and seal.end != last.end):
            find(f"Seal {number} ends elsewhere than may follow seal {last.number}.")
        if seal.cluster and last.cluster and seal.cluster != last.cluster:
            find(
                f"Seal {number} is from a different cluster than seal {last.number}, and reports no restore."
            )

    def end(self) -> None:
        """Check the last signature, and that a trusted key signed one of the seals."""
        last = self.report.last
        self._check_signature(last)
        if last and self.trust and not any(map(self.trust.has, self.keys)):
            self.report.find(
                f"None of the seals is signed by the key that you trust; the last one is by {fingerprint_of(last.key)}."
            )


# --- Entries --------------------------------------------------------------------------

_ENTRY: dict[str, Rule] = {
    **dict.fromkeys(
        ("actor_kind", "actor_id", "surface", "action", "fingerprint", "trace"), TEXT
    ),
    "id": number_from(1),
    "xid": XID,
    "at": is_time,
    "connection": or_null(number_from(-MOST)),
    "message": or_null(UUID),
    "detail_hashes": object_of(HASH),
    "outcome": re.compile("[a-z_]{1,16}").fullmatch,
    "mac": HASH,
}
# The actions of entries about a removal, which list the entries whose details were
# removed.
REMOVALS = ("ledger.details_removed", "ledger.details_erased")


class Item(NamedTuple):
    """One position of the ledger: the entry as canonical JSON (`line`), and what a list
    says about it: details.jsonl in a bundle, the table of sealed entries in a database.

    `line` is None if the entry was deleted, and only the list still has it.
    """

    line: bytes | None
    # From the list, if it has them.
    number: int = 0
    hash: bytes = b""
    salt: bytes = b""
    fields: dict[str, str] = {}


class Record(NamedTuple):
    """What is kept of an entry until its seal has been checked."""

    number: int
    hash: bytes
    # Whether the hash is another one than the list says.
    is_altered: bool = False
    # Empty if the entry was deleted or is unreadable.
    entry: dict[str, Any] = {}
    # The entries of which it says that their details were removed.
    removed: Ranges = Ranges()

    @property
    def order(self) -> tuple[int, int] | None:
        """Transaction and number, by which entries are ordered."""
        if self.is_altered or not self.entry:
            return None
        return int(self.entry["xid"]), self.number


def check_entry(item: Item, name: str, report: Report) -> Record:
    """Check an entry by itself, and return what is needed to check its seal."""
    if item.line is None:
        listed = ": its hash is still listed" if item.hash else ""
        report.find(f"{name} was removed{listed}.")
        return Record(item.number, item.hash)
    report.count()
    digest = hashlib.sha256(item.line).digest()
    is_altered = item.hash not in (b"", digest)
    try:
        entry = fields_of(
            read_json(item.line, is_canonical=True),
            "an entry",
            _ENTRY,
            {"outcome", "mac"},
        )
    except ValueError as error:
        report.find(f"{name} cannot be read: {error}.")
        return Record(item.number, digest, is_altered)
    number = entry["id"]
    if "mac" not in entry:
        report.find(f"Entry {number} has no code of the desk: it was put in.")
    _check_details(entry, item, report)
    removed = Ranges()
    if entry["action"] in REMOVALS:
        removed = _removal(number, item.fields, report)
    return Record(number, digest, is_altered, entry, removed)


def _check_details(entry: dict[str, Any], item: Item, report: Report) -> None:
    """Compare the details of an entry with the hashes in the entry. If they are not
    there, note the entry in `report.missing`.
    """
    number = entry["id"]
    hashes = entry["detail_hashes"]
    if not item.salt:
        if item.fields:
            report.find(
                f"Entry {number} has details without a salt: they are not its own."
            )
        if hashes:
            report.missing.add(number, number)
        return
    report.with_details += 1
    for name in sorted(hashes.keys() | item.fields.keys()):
        value = item.fields.get(name, "")
        digest = hashlib.sha256(
            b"\0".join([item.salt, name.encode(), value.encode()])
        ).hexdigest()
        if name not in item.fields or hashes.get(name) != digest:
            report.find(
                f'The details of entry {number} do not fit: "{shown(name)}" was changed, added or removed.'
            )


def _removal(number: int, fields: dict[str, str], report: Report) -> Ranges:
    """Return the entries whose details were removed, by the entry about the removal."""
    named = Ranges()
    try:
        named = Ranges(fields.get("numbers", ""))
    except ValueError as error:
        report.find(f"Entry {number} reports a removal, but not whose: {error}.")
    if fields and (not named.runs or named.runs[-1][1] >= number):
        report.find(
            f"Entry {number} reports a removal of no entries, or of later ones."
        )
    if not fields and not report.left_out:
        report.find(
            f"The details of entry {number} are missing; those of a removal are never removed."
        )
    return named


# --- The ledger -----------------------------------------------------------------------

# How far the time of an entry may be outside the times of its seal and the seal before.
# Normally an entry is sealed seconds after it was written. It takes longer if its
# transaction was still open when a seal was made, or if the clock was corrected.
TOLERANCE = datetime.timedelta(minutes=10)


def window(before: str, after: str) -> tuple[str, str]:
    """Return the earliest and the latest time that an entry between two seals may have.
    `before` and `after` are the times of the seals, empty if there is no such seal.
    """
    times = [datetime.datetime.fromisoformat(at) for at in (before, after) if at]
    first = ""
    last = "~"
    if before:
        first = (min(times) - TOLERANCE).isoformat(timespec="microseconds")
    if after:
        last = (max(times) + TOLERANCE).isoformat(timespec="microseconds")
    return first, last


def _records(items: Iterable[Item], report: Report) -> Iterator[Record]:
    """Check each entry by itself, and that each is there once."""
    # Which numbers have appeared, as bits, 256 per value, to save memory.
    appeared: dict[int, int] = collections.defaultdict(int)
    for position, item in enumerate(items, start=1):
        name = f"The entry at position {position}"
        if item.number:
            name = f"Entry {item.number}"
        record = check_entry(item, name, report)
        bit = 1 << (record.number & 255)
        if record.entry and appeared[record.number >> 8] & bit:
            report.find(f"Entry {record.number} appears twice.")
        appeared[record.number >> 8] |= bit
        yield record


class Batch:
    """Compares a seal with the entries that it covers, without storing these."""

    def __init__(self, seal: Seal, before: Seal | None) -> None:
        self.seal = seal
        # A restored seal covers entries that were never sealed, from any part of the
        # ledger and of any age.
        self.is_restored = seal.kind == "restored"
        self.end: tuple[int, int] | None = (
            before.end if before and not self.is_restored else (0, 0)
        )
        self.window = ("", "~")
        if not self.is_restored:
            self.window = window(before.since if before else "", seal.at)
        self.digest = hashlib.sha256()
        self.taken = 0
        self.altered: list[int] = []
        self.lowest = MOST
        self.highest = 0

    def fits(self) -> bool:
        taken = (self.taken, self.digest.hexdigest())
        return taken == (self.seal.count, self.seal.entries)

    def wants(self, record: Record) -> bool:
        """Whether the next entry belongs to this batch, by its transaction and number.
        An entry without them belongs to it if the batch is not complete yet.
        """
        if self.taken == self.seal.count and (self.altered or self.fits()):
            # The batch is complete. A further entry was inserted, or belongs to a later
            # restored seal.
            return False
        if record.order is None:
            return bool(self.taken < self.seal.count)
        return self._reaches(record.order)

    def _reaches(self, order: tuple[int, int]) -> bool:
        if self.is_restored:
            return bool(order[1] <= self.seal.after_id)
        return bool(order <= self.seal.end)

    def add(self, record: Record, report: Report) -> None:
        """Add an entry to the batch, and check its order and its time."""
        seal = self.seal
        is_early = record.number <= seal.after_id and not self.is_restored
        before = self.end or (0, 0)
        order = record.order
        if order and (is_early or order <= before or not self._reaches(order)):
            report.find(
                f"Entry {record.number} does not belong where it is under seal {seal.number}: the order was changed, "
                "or it was put in later."
            )
        at = record.entry.get("at", self.window[0])
        if not self.window[0] <= at <= self.window[1]:
            report.find(
                f"Entry {record.number} says {at[:19]}, which does not fit between {seal.name} and the one before: its "
                "time was changed, or it was put in."
            )
        if record.is_altered and len(self.altered) < MOST_FINDINGS:
            self.altered.append(record.number)
        self.digest.update(record.hash)
        self.taken += 1
        self.end = record.order
        self.lowest = min(self.lowest, record.number)
        self.highest = max(self.highest, record.number)

    def close(self, report: Report, *, is_end: bool) -> None:
        """Compare the entries of the batch with the seal, and report what does not fit.
        `is_end`: there are no more entries.
        """
        seal = self.seal
        fits = self.fits()
        wrong = "is as it was sealed, but listed with another hash"
        if not fits:
            wrong = "was changed: its hash is not the one that was sealed"
        for number in self.altered:
            report.find(f"Entry {number} {wrong}.")
        if fits:
            if seal.kind == "seal" and self.end and self.end != seal.end:
                report.find(
                    f"Seal {seal.number} says that it ends at entry {seal.end_id}: it was edited."
                )
            return
        among = f"{self.lowest} to {self.highest}" if self.taken else "none"
        covers = f"Seal {seal.number} covers {seal.count} entries, and {self.taken} are here ({among})"
        if self.taken > seal.count:
            report.find(f"{covers}: {self.taken - seal.count} put in later.")
        elif self.taken < seal.count:
            gone = f"{seal.count - self.taken} removed"
            report.find(f"{covers}: {'the end was cut off' if is_end else gone}.")
        elif not self.altered:
            report.find(
                f"One of the entries {among} is not as it was sealed, or seal {seal.number} over it was edited."
            )


def check_ledger(
    report: Report,
    items: Iterable[Item],
    seals: Iterable[Seal],
    heads: Heads,
    *,
    excuse_restored: bool = False,
) -> None:
    """Check the whole ledger: entries and seals, both in order, and saved checkpoints.

    With `excuse_restored`, a missing checkpoint is only noted if it is older than a
    restore.
    """
    batches = _batches(seals, heads)
    batch = next(batches, None)
    for record in _records(items, report):
        while batch and not batch.wants(record):
            batch.close(report, is_end=False)
            batch = next(batches, None)
        who = f"Entry {record.number}"
        if batch:
            try:
                report.removed.take(record.removed)
            except ValueError as error:
                report.find(f"{who} reports a removal: {error}.")
            batch.add(record, report)
            continue
        # An entry after the last seal. Anybody who can write to the database can add
        # one, so it explains nothing.
        report.unsealed += 1
        last = report.last
        left = report.missing
        if record.removed.runs:
            left = report.missing.without(record.removed)
        if len(left) < len(report.missing):
            report.find(
                f"{who} says that details were removed, which are missing, and is not sealed: details are only removed "
                "after the entry about it was sealed."
            )
        if record.is_altered:
            report.find(f"{who} was changed: its hash is not the one that is listed.")
        if last is None or record.order is None:
            continue
        if record.order <= last.end or record.number <= last.after_id:
            report.find(
                f"{who} was put in later: seal {last.number} ends after it, without it."
            )
        elif record.entry["at"] < window(last.since, "")[0]:
            report.find(
                f"{who} says {record.entry['at'][:19]}, and is not sealed yet: its time was changed."
            )
    while batch:
        batch.close(report, is_end=True)
        batch = next(batches, None)
    heads.end(report, excuse_restored=excuse_restored)
    # A bundle without details does not list what was removed either.
    unexplained = report.missing.without(report.removed)
    if unexplained.runs and not report.left_out:
        missing = f"The details of {len(unexplained)} entries are missing"
        report.find(
            f"{missing}, and no sealed entry tells of their removal: {shown(unexplained)}."
        )


def _batches(seals: Iterable[Seal], heads: Heads) -> Iterator[Batch]:
    before = None
    for seal in seals:
        heads.meet(seal)
        yield Batch(seal, before)
        before = seal


# --- Checkpoints ----------------------------------------------------------------------


class Heads:
    """Checkpoints that somebody saved earlier. Each must be among the seals."""

    def __init__(self, heads: Iterable[Seal] = ()) -> None:
        self._missing = {(head.number, head.hash): head for head in heads}
        self._restored: list[Seal] = []

    @classmethod
    def read(cls, data: bytes) -> Heads:
        """Parse checkpoints: one JSON object, or one in each line. An incomplete last
        line is ignored. Raises Unreadable.
        """
        whole = data.strip()
        if not whole.endswith(b"}"):
            whole = whole.rpartition(b"\n")[0].strip()
        parts = re.split(rb"(?<=})\s*\n\s*", whole)
        try:
            return cls([Seal(read_json(one)) for one in parts])
        except ValueError as error:
            raise Unreadable(f"The saved checkpoint cannot be read: {error}.") from None

    def meet(self, seal: Seal) -> None:
        if seal.kind == "restored":
            self._restored.append(seal)
        self._missing.pop((seal.number, seal.hash), None)

    def end(self, report: Report, *, excuse_restored: bool = False) -> None:
        last = report.last.number if report.last else 0
        for head in sorted(self._missing.values(), key=lambda one: one.number):
            named = f"The saved checkpoint, {head.name}"
            # A restore loses the seals between the backup's last one and itself.
            lost_by = [
                seal.number
                for seal in self._restored
                if seal.number <= head.number and seal.at > head.at
            ]
            if excuse_restored and lost_by:
                report.note(
                    f"{named}, is from before the restore that seal {lost_by[0]} reports."
                )
            elif report.more:
                report.more += 1
            elif not head.is_signed():
                report.find(f"{named}, is not signed by its key: it proves nothing.")
            elif head.number <= last:
                report.find(
                    f"{named}, is not the seal {head.number} that is here: what it covers was altered."
                )
            elif report.made_at and head.at > report.made_at:
                report.younger.append(
                    f"{named}, is younger than this bundle of {report.made_at[:19]}: take a newer one."
                )
            else:
                here = f"seal {last}" if last else "none"
                report.find(
                    f"{named}, is not here: the end was cut off, for the last seal here is {here}."
                )


# --- Bundles --------------------------------------------------------------------------


def open_file(path: str) -> BinaryIO:
    """Open a regular file. Raises Unreadable for anything else: a pipe or a device
    might never end.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise Unreadable(f"{shown(path)} is not a file.")
        return open(path, "rb")
    except OSError as error:
        raise Unreadable(f"{shown(path)} cannot be read: {error.strerror}.") from None


class _Archive(io.BufferedReader):
    """The file of a .zip. It refuses to read a large part at once, such as a huge list
    of files.
    """

    def read(self, size: int | None = -1) -> bytes:
        if size and size > LARGEST_ZIP_LIST:
            raise zipfile.BadZipFile("it lists too many files")
        return super().read(size)


_ZIP_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    OverflowError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)


class Bundle:
    """The files of a bundle, which is a folder or a .zip. They are read as streams; a
    .zip is not unpacked.
    """

    def __init__(self, path: str) -> None:
        self._root = path
        self._zip: zipfile.ZipFile | None = None
        self._most = sys.maxsize
        if os.path.isdir(path):
            return
        file = open_file(path)
        self._most = os.fstat(file.fileno()).st_size * MOST_RATIO + MIB
        try:
            self._zip = zipfile.ZipFile(_Archive(file.detach()))  # type: ignore[attr-defined]
        except _ZIP_ERRORS as error:
            raise Unreadable(
                f"{shown(path)} cannot be read as a bundle: {shown(error)}."
            ) from None
        names = self._zip.namelist()
        manifests = [
            name for name in names if re.fullmatch("([^/]*/)?manifest[.]json", name)
        ]
        if len(set(names)) != len(names):
            raise Unreadable(f"{shown(path)} holds a file twice.")
        if len(manifests) != 1:
            raise Unreadable(
                f"{shown(path)} is no bundle: it holds {len(manifests)} files manifest.json."
            )
        self._root = manifests[0][: -len("manifest.json")]

    # Opens a file of the bundle. Raises Unreadable for a member of a .zip that is no
    # ordinary file.
    @contextlib.contextmanager
    def _open(self, name: str) -> Iterator[BinaryIO]:
        try:
            if self._zip:
                member = self._zip.getinfo(self._root + name)
                kind = stat.S_IFMT(member.external_attr >> 16)
                packings = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
                if (
                    kind not in (0, stat.S_IFREG)
                    or member.compress_type not in packings
                ):
                    raise Unreadable(
                        f"{name} in the bundle is not a file, or compressed in a way that no desk uses."
                    )
                file: BinaryIO = io.BufferedReader(self._zip.open(member), MIB)  # type: ignore[type-var]
            else:
                file = open_file(os.path.join(self._root, name))
            with file:
                yield file
        except KeyError:
            raise Unreadable(f"{name} is missing in the bundle.") from None
        except _ZIP_ERRORS as error:
            raise Unreadable(
                f"{name} in the bundle cannot be read: {shown(error)}."
            ) from None

    def lines(self, name: str) -> Iterator[bytes]:
        left = self._most
        with self._open(name) as file:
            while line := file.readline(LONGEST_LINE + 1):
                left -= len(line)
                if left < 0:
                    raise Unreadable(
                        f"{name} unpacks to more than {MOST_RATIO} times the .zip: that is no ledger."
                    )
                if len(line) > LONGEST_LINE:
                    raise Unreadable(
                        f"{name} has a line that is too long to be one of a ledger."
                    )
                if not line.endswith(b"\n"):
                    raise Unreadable(f"{name} ends within a line: its end was cut off.")
                yield line[:-1]

    def json(self, name: str, rules: dict[str, Rule]) -> dict[str, Any]:
        """Parse a small file that has one JSON object with these fields."""
        with self._open(name) as file:
            data = file.read(LONGEST_LINE)
        try:
            return fields_of(read_json(data), f"a {name}", rules)
        except ValueError as error:
            raise Unreadable(f"{name} cannot be read: {error}.") from None


_LISTED: dict[str, Rule] = {
    "id": number_from(1),
    "hash": HASH,
    "salt": or_null(SALT),
    "fields": object_of(TEXT),
}


def listed(value: Any) -> Item:
    """Return what a line of details.jsonl says of an entry. Raises ValueError."""
    fields_of(value, "details", _LISTED)
    digest = bytes.fromhex(value["hash"])
    salt = bytes.fromhex(value["salt"] or "")
    return Item(None, value["id"], digest, salt, value["fields"])


def _listed(lines: Iterable[bytes]) -> Iterator[Item]:
    for place, line in enumerate(lines, start=1):
        try:
            yield listed(read_json(line, is_canonical=True))
        except ValueError as error:
            raise Unreadable(
                f"Line {place} of details.jsonl cannot be read: {error}."
            ) from None


# Finds the number of an entry in its canonical JSON without parsing it. Only the field
# `id` can match: quotation marks within texts are escaped, and `detail_hashes` has only
# hashes as values.
_NUMBER = re.compile(rb'"id":([1-9][0-9]{0,18}),"(?:mac|message)":')


def _number_in(line: bytes | None) -> int | None:
    found = _NUMBER.search(line) if line is not None else None
    return int(found[1]) if found else None


def items_of(bundle: Bundle, report: Report) -> Iterator[Item]:
    """Yield the entries of a bundle with their details. If entries.jsonl and
    details.jsonl do not match, report which of the two lacks a line.
    """
    listed = _listed(bundle.lines("details.jsonl"))
    lines = bundle.lines("entries.jsonl")
    item = next(listed, None)
    line = next(lines, None)
    next_line = next(lines, None)
    while line is not None or item is not None:
        number = _number_in(line)
        if item and number != item.number != _number_in(next_line):
            # entries.jsonl lacks the line of this entry.
            yield item
            item = next(listed, None)
            continue
        if item and number == item.number:
            yield item._replace(line=line)
            item = next(listed, None)
        else:
            report.find(
                f"Entry {number} was put in later: details.jsonl does not list it."
            )
            yield Item(line)
        line = next_line
        next_line = next(lines, None)


_MANIFEST: dict[str, Rule] = {
    **dict.fromkeys(("v", "entries", "seals", "size", "unsealed"), number_from(0)),
    "product": re.compile("Countersign").fullmatch,
    "version": TEXT,
    "made_at": is_time,
    "last": HASH_OR_EMPTY,
    "details": re.compile("included|left out").fullmatch,
}


def check_bundle(
    path: str, trust: Trust | None = None, heads: Heads | None = None
) -> Report:
    """Check one bundle. Raises Unreadable if it is none."""
    bundle = Bundle(path)
    report = Report()
    manifest = bundle.json("manifest.json", _MANIFEST)
    report.left_out = manifest["details"] == "left out"
    report.made_at = manifest["made_at"]
    chain = Chain(report, trust or Trust())
    seals = filter(None, map(chain.read, bundle.lines("seals.jsonl")))
    check_ledger(report, items_of(bundle, report), seals, heads or Heads())
    chain.end()
    last = report.last
    size = last.size if last else 0
    is_bare = report.left_out and not report.with_details
    actual = {
        "entries": report.entries,
        "seals": report.seals,
        "size": size,
        "last": last.hash if last else "",
        "unsealed": max(0, report.entries - size),
        "details": "left out" if is_bare else "included",
    }
    for name, value in actual.items():
        if manifest[name] != value:
            report.find(
                f'manifest.json lies: "{name}" is {manifest[name]} there, and {value} here.'
            )
    return report


# --- Proofs ---------------------------------------------------------------------------

_PROOF: dict[str, Rule] = {
    "v": number_from(1),
    "kind": re.compile("message").fullmatch,
    "product": re.compile("Countersign").fullmatch,
    "made_at": is_time,
    "message": UUID,
    "about": anything,
    "batches": list_of(anything, 1),
    "not_sealed": list_of(number_from(1)),
}
_ABOUT: dict[str, Rule] = {
    "action": TEXT,
    "actor": TEXT,
    "at": TEXT,
    "entry": number_from(1),
}
_BATCH: dict[str, Rule] = {
    "seal": anything,
    "hashes": list_of(HASH),
    "entries": list_of(anything, 1),
}
_PLACED: dict[str, Rule] = {
    "index": number_from(0),
    "entry": TEXT,
    "salt": or_null(SALT),
    "fields": or_null(object_of(TEXT)),
}
EXISTS = "these entries exist and were sealed; whether others exist, only a whole bundle shows"


class Proof(NamedTuple):
    """A checked proof: the report, and lines that say what it proves; no lines if it
    does not hold.
    """

    report: Report
    lines: list[str]


class Proven(NamedTuple):
    entry: dict[str, Any]
    fields: dict[str, str]
    seal: Seal

    @property
    def actor(self) -> str:
        return f"{self.entry['actor_kind']} {self.entry['actor_id']}"

    @property
    def action(self) -> str:
        outcome = f" ({self.entry['outcome']})" if "outcome" in self.entry else ""
        return shown(self.entry["action"]) + outcome


def check_proof(data: bytes, trust: Trust | None = None) -> Proof:
    """Check a proof of one message. Raises Unreadable if it is none."""
    report = Report()
    report.left_out = True
    if (
        len(data) > LARGEST_PROOF
        or data.count(b",") + data.count(b"[") + data.count(b"{") > MOST_VALUES
    ):
        raise Unreadable("The proof is too large. A bundle has no limit.")
    proven: list[Proven] = []
    try:
        proof = fields_of(read_json(data), "a proof", _PROOF)
        about = fields_of(proof["about"], "a heading", _ABOUT)
        for batch in proof["batches"]:
            proven += _check_batch(batch, report, trust or Trust())
    except ValueError as error:
        raise Unreadable(f"The proof cannot be read: {error}.") from None
    find = report.find
    by_number = {one.entry["id"]: one for one in proven}
    if len(by_number) < len(proven):
        find("The proof holds an entry twice.")
    if not by_number.keys().isdisjoint(proof["not_sealed"]):
        find("The proof holds an entry of which it says that it is not sealed yet.")
    for one in proven:
        if one.entry["message"] != proof["message"]:
            find(f"Entry {one.entry['id']} is about another message.")
    if about["entry"] not in by_number:
        find("The heading names an entry that is not in the proof.")
        return Proof(report, [])
    heading = by_number[about["entry"]]
    actual = {**heading.entry, "actor": heading.actor}
    for name in ("action", "actor", "at"):
        if about[name] != actual[name]:
            sealed = f"{shown(actual[name])} in entry {about['entry']}"
            find(
                f'The heading lies: "{name}" is {shown(about[name])} there, and {sealed}.'
            )
    if report.findings:
        return Proof(report, [])
    if report.missing.runs:
        report.note(
            "Details are missing, and a proof cannot show whether the desk removed them."
        )
    lines = [
        f"Message: {proof['message']}",
        f"Action: {heading.action}",
        f"Actor: {shown(heading.actor)}",
        f"Time: {heading.entry['at'][:19]} UTC",
        f"By entry {about['entry']} under {heading.seal.name}. All entries of the proof:",
    ]
    for one in proven:
        entry = one.entry
        what = f"{one.action} by {shown(one.actor)} through {shown(entry['surface'])}"
        lines.append(f"Entry {entry['id']}, {entry['at'][:19]} UTC: {what}.")
        if entry["detail_hashes"] and not one.fields:
            names = ", ".join(shown(name) for name in sorted(entry["detail_hashes"]))
            lines.append(f"    MISSING details, removed or left out: {names}")
        lines += [
            f"    {shown(name)}: {shown(value)}"
            for name, value in sorted(one.fields.items())
        ]
    return Proof(report, lines)


def _check_batch(value: Any, report: Report, trust: Trust) -> list[Proven]:
    """Check one batch of a proof: that its seal is signed, that the hashes are those
    that were sealed, and that the entries have these hashes. Return the entries.
    """
    batch = fields_of(value, "a batch", _BATCH)
    seal = Seal(batch["seal"])
    before = report.last
    find = report.find
    if before and (
        seal.number <= before.number
        or seal.size < before.size + seal.count
        or seal.epoch < before.epoch
    ):
        find(f"Seal {seal.number} does not come after seal {before.number}.")
    if before and seal.key != before.key:
        keys = f"the key {fingerprint_of(before.key)}, and seal {seal.number} with {fingerprint_of(seal.key)}"
        report.note(
            f"Seal {before.number} is signed with {keys}: only a bundle shows how one follows the other."
        )
    if not report.more and not seal.is_signed():
        find(f"Seal {seal.number} is not signed by its key: it was edited.")
    if trust and not trust.has(seal.key):
        find(
            f"Seal {seal.number} is signed by {fingerprint_of(seal.key)}, which is not a key that you trust."
        )
    seal.check_kind(report)
    report.last = seal
    report.seals += 1
    placed = {}
    for one in batch["entries"]:
        placed[fields_of(one, "an entry in its place", _PLACED)["index"]] = one
    proven = []
    covered = Batch(seal, None)
    for index, digest in enumerate(map(bytes.fromhex, batch["hashes"])):
        record = Record(0, digest)
        if index in placed:
            one = placed[index]
            salt = bytes.fromhex(one["salt"] or "")
            fields = one["fields"] or {}
            item = Item(one["entry"].encode(), 0, digest, salt, fields)
            record = check_entry(item, "An entry", report)
            if not record.entry:
                raise ValueError(f"an entry of seal {seal.number} is none")
            proven.append(Proven(record.entry, fields, seal))
        covered.add(record, report)
    if len(proven) < len(batch["entries"]):
        raise ValueError(f"an entry of seal {seal.number} has no place in its batch")
    covered.close(report, is_end=False)
    return proven


# --- The command ----------------------------------------------------------------------


def _result_lines(report: Report, trust: Trust, what: str) -> list[str]:
    """Return the lines to print: findings, notes, and what was not checked."""
    lines = ["PROBLEM: " + shown(sentence) for sentence in report.findings]
    if report.more:
        lines.append(f"... and {report.more} more.")
    lines += ["Note: " + shown(sentence) for sentence in report.notes]
    result = "Verification FAILED: " if report.findings else "Verified: "
    if report.left_out and report.missing.runs and not report.findings:
        result = "Verified without details: "
    lines.append(result + what)
    last = report.last
    if last:
        key = fingerprint_of(last.key)
        lines.append(
            f"The last seal is number {last.number} of {last.at[:19]} UTC, signed with the key {key}."
        )
    if last and not trust:
        lines.append(
            "NOT checked: whether that key is the desk's. Compare it with what the desk shows, or give --key."
        )
    lines += ["NOT checked: " + shown(sentence) for sentence in report.younger]
    if report.unsealed:
        lines.append(
            f"NOT checked: {report.unsealed} entries not sealed yet, protected only by permissions."
        )
    if report.missing.runs:
        without = f"{len(report.missing)} entries are without their details"
        if report.left_out:
            without = f"NOT checked: {without}, and nothing here tells who removed them"
        lines.append(f"{without}: {shown(report.missing.without(Ranges()))}.")
    return lines


def _read_heads(values: list[str]) -> Heads | None:
    """Return the checkpoints of `--head`, each a file or JSON; None if none are given."""
    parts = []
    for value in values:
        if value.lstrip().startswith("{"):
            parts.append(os.fsencode(value))
            continue
        with open_file(value) as file:
            begin = max(0, file.seek(0, os.SEEK_END) - END_OF_HEADS)
            file.seek(begin)
            data = file.read(END_OF_HEADS)
        parts.append(data.partition(b"\n")[2] if begin else data)
    if not parts:
        return None
    return Heads.read(b"\n".join(part.strip() for part in parts))


def _run(options: argparse.Namespace) -> int:
    trust = Trust(options.key)
    heads = _read_heads(options.head)
    is_bundle = os.path.isdir(options.path)
    if not is_bundle:
        with open_file(options.path) as file:
            is_bundle = file.read(2) == b"PK"
            file.seek(0)
            data = b"" if is_bundle else file.read(LARGEST_PROOF + 1)
    if is_bundle:
        report = check_bundle(options.path, trust, heads)
        sealed = report.entries - report.unsealed
        what = f"{report.entries} entries, {sealed} of them under {report.seals} seals."
        lines = _result_lines(report, trust, what)
        if heads is None:
            only = "A cut-off end can only be found with a saved checkpoint (--head)."
            lines.append(f"NOT checked: whether the end is there. {only}")
    elif heads is not None:
        raise Unreadable(
            "--head is for a bundle: a proof of one message cannot show what a checkpoint covers."
        )
    else:
        report, lines = check_proof(data, trust)
        what = "see above." if report.findings else EXISTS + "."
        lines += _result_lines(report, trust, what)
    if report.last is None:
        lines.append("signatures NOT checked: nothing is sealed")
    sys.stdout.write("".join(line + "\n" for line in lines))
    if report.findings:
        return 1
    if report.last is None:
        return 3
    if report.younger:
        return 4
    return 5 if report.left_out and report.missing.runs else 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", help="a bundle or a proof")
    parser.add_argument(
        "--head",
        action="append",
        default=[],
        help="a file of saved checkpoints, or the JSON of one",
    )
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        help="fingerprint or hex of the key to trust",
    )
    options = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        return _run(options)
    except Unreadable as error:
        sys.stderr.write(f"Cannot be read: {error}\n")
    except RecursionError:
        sys.stderr.write("Cannot be read: it is nested too deeply.\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
