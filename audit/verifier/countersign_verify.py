#!/usr/bin/env python3
"""Checks what Countersign says of its history, on a machine that never saw the desk. Needs Python 3.9, nothing else.

    python3 -I countersign_verify.py BUNDLE               a bundle (folder or .zip): every entry, and its seals
    python3 -I countersign_verify.py BUNDLE --head FILE   ... against a saved checkpoint, or the lines of an anchor file
    python3 -I countersign_verify.py PROOF                a proof of one message (JSON)
    python3 -I countersign_verify.py --same OLD NEW       whether the newer bundle continues the older one
    --key FINGERPRINT                                     the key to trust, as you have it from elsewhere
    --no-signatures                                       check no signature: ends with exit code 3

Exit codes: 0 it holds, 1 it does not hold, 2 it cannot be read, 3 it holds, but signatures were NOT checked, 4 it
holds, but a saved checkpoint is younger, so that whether the end is there was NOT checked.
docs/ledger.md describes every byte. From top to bottom: reports, strict reading, Ed25519, seals, entries, the ledger,
checkpoints, bundles, proofs, the command.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and not sys.flags.isolated:
    # Without -I, Python looks for modules beside this file first, where a foreign json.py may lie.
    del sys.path[0]

import argparse
import collections
import datetime
import hashlib
import io
import itertools
import json
import os
import re
import stat
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, Generic, NamedTuple, TypeVar

KIB = 1024
MIB = 1024 * KIB
A_READ = 256 * KIB
# Longer lines and files are refused before they are parsed.
LONGEST_LINE = 4 * MIB
LARGEST_PROOF = 16 * MIB
# Only the end of a file of checkpoints is read: each covers all before it.
END_OF_HEADS = 4 * MIB
# Values in a proof, and separate ranges of entries whose details were removed: both are held in memory.
MOST_VALUES = 1_000_000
MOST_RANGES = 400_000
# Findings that are stored; the rest is counted.
MOST_FINDINGS = 200
# After so many wrong signatures no more are checked.
MOST_UNSIGNED = 3
# A central directory of a .zip larger than that lists far more than the files of a bundle.
LARGEST_ZIP_READ = MIB
# Each entry has at least one hash, and hashes cannot be compressed: a member that shrinks more holds something else.
MOST_RATIO = 25


class Unreadable(Exception):
    """The input cannot be checked: exit code 2."""


# --- Reports --------------------------------------------------------------------------------------------------------


def shown(value: Any) -> str:
    """Return foreign text with control and bidi characters escaped, so that it cannot manipulate a terminal."""
    text = str(value)
    characters = (one if one.isprintable() else _escaped(one) for one in text[:500])
    return "".join(characters) + ("..." if len(text) > 500 else "")


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


class Ranges:
    """A set of numbers, as ranges."""

    def __init__(self, text: str = "") -> None:
        """Parse what a removal names, such as `3-7 12`. Raises ValueError for anything else."""
        self.runs: list[tuple[int, int]] = []
        end = 0
        for part in re.finditer("[^ ]+", text):
            found = re.fullmatch("([1-9][0-9]{0,18})(?:-([1-9][0-9]{0,18}))?", part[0])
            if found is None:
                raise ValueError("it names no numbers")
            first = int(found[1])
            last = int(found[2]) if found[2] else first
            if first <= end or last < first:
                raise ValueError("its ranges overlap, or are not in order")
            end = last
            self.runs.append((first, last))
            if len(self.runs) > MOST_RANGES:
                raise ValueError("it names too many ranges")

    @classmethod
    def over(cls, numbers: Iterable[int]) -> Ranges:
        """Return the ranges of these numbers."""
        made = cls()
        for number in sorted(set(numbers)):
            made.add(number)
        return made

    def __str__(self) -> str:
        return " ".join(f"{first}-{last}" if first < last else str(first) for first, last in self.runs)

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.runs)

    def add(self, number: int) -> None:
        """Add a number; it joins the last range where it follows it."""
        if self.runs and self.runs[-1][1] + 1 == number:
            self.runs[-1] = (self.runs[-1][0], number)
        else:
            self.runs.append((number, number))

    def take(self, others: Ranges) -> None:
        """Add all numbers of the others. Raises ValueError where they become too many ranges to hold."""
        self.runs += others.runs
        if len(self.runs) > MOST_RANGES:
            self.runs = self.merged()
            if len(self.runs) > MOST_RANGES // 2:
                raise ValueError("it and others name too many ranges")

    def merged(self) -> list[tuple[int, int]]:
        """Return the ranges in order, without overlaps."""
        merged: list[tuple[int, int]] = []
        for first, last in sorted(self.runs):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            else:
                merged.append((first, last))
        return merged

    def without(self, others: Ranges) -> Ranges:
        """Return the numbers that are not in the others."""
        left = Ranges()
        gone = others.merged()
        place = 0
        for first, last in self.merged():
            begin = first
            while place < len(gone) and gone[place][0] <= last:
                if begin < gone[place][0]:
                    left.runs.append((begin, gone[place][0] - 1))
                begin = max(begin, gone[place][1] + 1)
                if gone[place][1] > last:
                    break
                place += 1
            if begin <= last:
                left.runs.append((begin, last))
        return left


class Report:
    """Findings in order, notes, and counts."""

    def __init__(self, progress: Callable[[int], None] | None = None, *, is_strict: bool = False) -> None:
        self.findings: list[str] = []
        # Findings beyond those that are stored.
        self.more = 0
        self.notes: list[str] = []
        self.entries = 0
        self.sealed = 0
        self.unsealed = 0
        self.seals = 0
        self.with_details = 0
        # Entries whose details are missing, and entries whose removal of details is recorded.
        self.missing = Ranges()
        self.removed = Ranges()
        # The bundle says that it leaves all details out, and when it was made.
        self.left_out = False
        self.made_at = ""
        # Saved checkpoints that are younger than the bundle, so that it cannot have them.
        self.younger: list[str] = []
        self.last: Seal | None = None
        self._progress = progress
        self._is_strict = is_strict

    def find(self, sentence: str) -> None:
        """Add a finding: something that does not hold."""
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(sentence)
        else:
            self.more += 1

    def note(self, sentence: str) -> None:
        """Add a note: something to know that is no finding."""
        if len(self.notes) < MOST_FINDINGS and sentence not in self.notes:
            self.notes.append(sentence)

    def refuse(self, sentence: str) -> None:
        """Say that something does not have the form that it must have.

        Raises Unreadable for a file, which nobody has to check further; of the desk's own database it is a finding.
        """
        if self._is_strict:
            raise Unreadable(sentence)
        self.find(sentence)

    def count(self) -> None:
        """Count an entry, and report progress now and then."""
        self.entries += 1
        if self._progress and self.entries % 10_000 == 0:
            self._progress(self.entries)


# --- Strict reading -------------------------------------------------------------------------------------------------


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    names: set[str] = set()
    for name, _ in pairs:
        if name in names:
            raise ValueError(f'the key "{shown(name)}" appears twice')
        names.add(name)
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{shown(text)[:40]} is no number of a ledger")


def _whole(text: str) -> int:
    return int(text) if len(text) <= 20 else _no_number(text)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_float=_no_number, parse_constant=_no_number, parse_int=_whole, strict=True
)
_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def read_json(data: bytes) -> Any:
    """Parse JSON strictly.

    Raises ValueError for duplicate keys, floats, NaN, deep nesting, invalid UTF-8 and half characters.
    """
    try:
        text = data.decode("utf-8")
        value = _DECODER.decode(text)
        if "\\u" in text:
            # Only an escape can hide half a character.
            canonical(value)
    except UnicodeDecodeError:
        raise ValueError("it is no UTF-8") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error.msg}") from None
    return value


def canonical(value: Any) -> bytes:
    """Return the canonical JSON of RFC 8785, for text, whole numbers, lists, objects and null."""
    try:
        return _ENCODER.encode(value).encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("it holds half a character") from None


def read_canonical(line: bytes) -> Any:
    """Parse JSON that has to be canonical: the bytes of a value that is hashed or signed. Raises ValueError."""
    value = read_json(line)
    try:
        if canonical(value) != line:
            raise ValueError("it is not in canonical form")
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


_HEX = re.compile("[0-9a-f]{64}")
_UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_XID = re.compile("0|[1-9][0-9]{0,19}")
_TIME = re.compile(
    "(?:19[7-9][0-9]|2[0-9]{3})-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9][.][0-9]{6}[+]00:00"
)
MOST = 2**63


def is_text(value: Any, pattern: re.Pattern[str] | None = None) -> bool:
    """Whether this is a text, of this pattern as a whole."""
    return type(value) is str and (pattern is None or pattern.fullmatch(value) is not None)


def is_number(value: Any, least: int = 0) -> bool:
    """Whether this is a number that a ledger can have."""
    return type(value) is int and least <= value < MOST


def is_time(value: Any) -> bool:
    """Whether this is a time in the one form that a ledger has, which sorts as time does."""
    if not is_text(value, _TIME):
        return False
    try:
        datetime.datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def fields_of(value: Any, what: str, *names: str) -> list[Any]:
    """Return the fields of an object that has these and no others. Raises ValueError."""
    if not isinstance(value, dict) or value.keys() != set(names):
        raise ValueError(f"{what} does not have the fields {', '.join(names)}")
    return [value[name] for name in names]


# --- Ed25519 after RFC 8032, strictly ---------------------------------------------------------------------------------

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
# In extended coordinates.
Point = tuple[int, int, int, int]
NEUTRAL: Point = (0, 1, 1, 0)


def add(p: Point, q: Point) -> Point:
    """Return the sum of two points; complete for all points of the curve."""
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * p[3] * q[3] * D % P
    d = 2 * p[2] * q[2] % P
    e = b - a
    f = d - c
    g = d + c
    h = b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def point_of(data: bytes) -> Point | None:
    """Decode 32 bytes into a point; None where they encode none, or not in the canonical way."""
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
    """Encode a point as 32 bytes."""
    inverse = pow(point[2], P - 2, P)
    x = point[0] * inverse % P
    y = point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def is_small(point: Point) -> bool:
    """Whether eight times the point is the neutral one: such a key would sign everything."""
    for _ in range(3):
        point = add(point, point)
    return point[0] % P == 0 and (point[1] - point[2]) % P == 0


BASE = (4 * pow(5, P - 2, P) % P).to_bytes(32, "little")


def is_signed(data: bytes, signature: bytes, key: bytes) -> bool:
    """Whether this is the Ed25519 signature of that key over exactly this data. Keys of small order are refused."""
    if len(signature) != 64 or len(key) != 32:
        return False
    number = int.from_bytes(signature[32:], "little")
    base = point_of(BASE)
    public = point_of(key)
    if number >= ORDER or base is None or public is None or is_small(public):
        return False
    digest = int.from_bytes(hashlib.sha512(signature[:32] + key + data).digest(), "little") % ORDER
    negative = (P - public[0], public[1], 1, P - public[3])
    # number * base - digest * public, bit by bit for both.
    addends = {(1, 0): base, (0, 1): negative, (1, 1): add(base, negative)}
    point = NEUTRAL
    for bit in range(252, -1, -1):
        point = add(point, point)
        wanted = (number >> bit & 1, digest >> bit & 1)
        if wanted in addends:
            point = add(point, addends[wanted])
    return bytes_of(point) == signature[:32]


def fingerprint_of(key: str) -> str:
    """Return the short fingerprint of a key given in hex: three groups of four."""
    number = int(hashlib.sha256(bytes.fromhex(key)).hexdigest()[:15], 16)
    digits = "".join("0123456789ABCDEFGHJKMNPQRSTVWXYZ"[number >> 5 * place & 31] for place in range(11, -1, -1))
    return f"{digits[:4]}-{digits[4:8]}-{digits[8:]}"


class Trust:
    """The keys that the auditor trusts: fingerprints, short or whole, or the keys themselves."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._names = {self._plain(one) for one in keys}

    @staticmethod
    def _plain(text: str) -> str:
        text = text.replace("-", "").replace(" ", "").lower()
        if _HEX.fullmatch(text):
            return text
        text = text.upper().replace("O", "0").replace("I", "1").replace("L", "1")
        if not re.fullmatch("[0-9A-HJKMNP-TV-Z]{12}", text):
            raise Unreadable("--key takes a fingerprint of three groups of four, or 64 hex digits.")
        return text

    def __bool__(self) -> bool:
        return bool(self._names)

    def has(self, key: str) -> bool:
        """Whether this key is one of them."""
        names = {key, hashlib.sha256(bytes.fromhex(key)).hexdigest(), self._plain(fingerprint_of(key))}
        return bool(self._names & names)


# --- Seals ----------------------------------------------------------------------------------------------------------

_HEX_OR_EMPTY = re.compile("(?:[0-9a-f]{64})?")
_SEAL_TEXTS = {
    "kind": re.compile("seal|restored|key"),
    "entries": _HEX,
    "previous": _HEX_OR_EMPTY,
    "end_xid": _XID,
    "cluster": re.compile("[0-9]{0,32}"),
    "key": _HEX,
    "next_key": _HEX_OR_EMPTY,
    "note": None,
    "signature": re.compile("[0-9a-f]{128}"),
}
_SEAL_NUMBERS = {"v": 2, "number": 1, "epoch": 1, "count": 0, "size": 0, "end_id": 0, "after_id": 0}
# Entries of a seal of the kind `seal`.
LONGEST_BATCH = 1000


class Seal:
    """One seal, with what it signs. Raises ValueError where a field is missing, unknown or malformed."""

    def __init__(self, value: Any) -> None:
        if not isinstance(value, dict) or value.keys() != {*_SEAL_TEXTS, *_SEAL_NUMBERS, "at"}:
            raise ValueError("it does not have the fields of a seal")
        wrong = [name for name, pattern in _SEAL_TEXTS.items() if not is_text(value[name], pattern)]
        wrong += [name for name, least in _SEAL_NUMBERS.items() if not is_number(value[name], least)]
        wrong += [] if is_time(value["at"]) else ["at"]
        if wrong:
            raise ValueError(f'its field "{wrong[0]}" is not what it must be')
        if value["v"] != 2:
            raise ValueError("it is of a version that this verifier does not know")
        self.number: int = value["number"]
        self.kind: str = value["kind"]
        self.epoch: int = value["epoch"]
        self.count: int = value["count"]
        self.size: int = value["size"]
        self.entries: str = value["entries"]
        self.previous: str = value["previous"]
        self.end_xid = int(value["end_xid"])
        self.end_id: int = value["end_id"]
        self.after_id: int = value["after_id"]
        self.cluster: str = value["cluster"]
        self.at: str = value["at"]
        self.key: str = value["key"]
        self.next_key: str = value["next_key"]
        self.note: str = value["note"]
        self.signature = bytes.fromhex(value["signature"])
        signed = {name: field for name, field in value.items() if name != "signature"}
        self.signed_bytes = b"countersign seal v2\n" + canonical(signed)
        self.hash = hashlib.sha256(self.signed_bytes + self.signature).hexdigest()

    def is_signed(self) -> bool:
        """Whether its signature is that of the key it names."""
        return is_signed(self.signed_bytes, self.signature, bytes.fromhex(self.key))

    @property
    def end(self) -> tuple[int, int]:
        """Transaction and number of the last entry under it."""
        return self.end_xid, self.end_id

    @property
    def expected_key(self) -> str:
        """The key that signs the next one."""
        return self.next_key or self.key

    @property
    def name(self) -> str:
        """What people call it."""
        return f"seal {self.number} of {self.at[:19]} UTC"


class Chain:
    """Checks each seal against the one before it, and collects the keys in the order of their use."""

    def __init__(self, report: Report, trust: Trust, signatures: bool = True) -> None:
        self.report = report
        self.trust = trust
        self.signatures = signatures
        self.last: Seal | None = None
        # Each with the number of the first seal under it.
        self.keys: list[tuple[str, int]] = []
        self._verified: Seal | None = None
        self._unsigned = 0

    def read(self, line: bytes) -> Seal | None:
        """Parse and check the seal of a line; None, with a finding, where the line holds none."""
        try:
            seal = Seal(read_canonical(line))
        except ValueError as error:
            expected = self.last.number + 1 if self.last else 1
            self.report.refuse(f"Seal {expected} cannot be read: {error}.")
            return None
        self.check(seal)
        return seal

    def check(self, seal: Seal) -> None:
        """Check this seal by itself and against the one before."""
        find = self.report.find
        if self.last is None:
            self._check_first(seal)
        elif seal.number == self.last.number + 1:
            self._check_next(self.last, seal)
        elif seal.number <= self.last.number:
            find(f"Seal {seal.number} comes after seal {self.last.number}: it is there twice, or out of order.")
        else:
            find(f"Seal {self.last.number + 1} is missing: after seal {self.last.number} comes seal {seal.number}.")
        if bool(seal.next_key) != (seal.kind == "key") or seal.next_key == seal.key:
            find(f"Seal {seal.number} is of the kind {seal.kind}, which does not fit its next key.")
        if seal.kind == "key" and seal.count:
            find(f"Seal {seal.number} changes the key, and adds entries.")
        if seal.kind == "seal" and seal.count > LONGEST_BATCH:
            find(f"Seal {seal.number} covers {seal.count} entries, more than any desk seals at once.")
        if seal.kind != "seal":
            # Whoever has the next key, or found an old one, has not signed what is before.
            self._check_signature(self.last)
            self._check_signature(seal)
        if not self.keys or self.keys[-1][0] != seal.key:
            self.keys.append((seal.key, seal.number))
        self.last = seal
        self.report.last = seal
        self.report.seals += 1

    def _check_signature(self, seal: Seal | None) -> None:
        if not self.signatures or seal is None or seal is self._verified or self._unsigned >= MOST_UNSIGNED:
            return
        self._verified = seal
        if not seal.is_signed():
            self._unsigned += 1
            self.report.find(f"Seal {seal.number} is not signed by its key: it, or a seal before it, was edited.")

    def _check_first(self, seal: Seal) -> None:
        if seal.number != 1:
            self.report.find(f"Seal 1 is missing: the first one here is seal {seal.number}.")
        elif seal.previous or seal.epoch != 1 or seal.after_id or seal.kind == "restored" or seal.size != seal.count:
            self.report.find("Seal 1 says that there was one before it.")

    def _check_next(self, last: Seal, seal: Seal) -> None:
        find = self.report.find
        number = seal.number
        if seal.previous != last.hash:
            find(f"Seal {number} does not follow the seal {last.number} that is here: one of them was edited.")
            # Their signatures tell which.
            self._check_signature(last)
            self._check_signature(seal)
        if seal.key != last.expected_key:
            self._check_new_key(seal)
        if seal.epoch != last.epoch + (seal.kind == "restored"):
            find(f"Seal {number} says epoch {seal.epoch}, and seal {last.number} before it epoch {last.epoch}.")
        if seal.size != last.size + seal.count:
            find(f"Seal {number} says that {seal.size} entries are sealed, not {last.size} and {seal.count} more.")
        if seal.kind == "restored":
            self._check_restored(last, seal)
            return
        if seal.after_id != last.after_id:
            find(f"Seal {number} begins an epoch, and reports no restore.")
        if seal.end < last.end or (seal.count == 0 and seal.end != last.end):
            find(f"Seal {number} ends elsewhere than may follow seal {last.number}.")
        if seal.cluster and last.cluster and seal.cluster != last.cluster:
            find(f"Seal {number} is from a different cluster than seal {last.number}, and reports no restore.")

    def _check_restored(self, last: Seal, seal: Seal) -> None:
        if seal.after_id < last.after_id:
            self.report.find(f"Seal {seal.number} begins its epoch before the last one began.")
        self.report.note(
            f"Seal {seal.number} of {seal.at[:19]} reports a restore: {shown(seal.note) or 'without a reason'}. "
            f"Entries that were made after seal {last.number} and were not in the backup are not in this ledger."
        )

    def _check_new_key(self, seal: Seal) -> None:
        named = f"Seal {seal.number} is signed with the key {fingerprint_of(seal.key)}, which no seal before it names"
        if seal.kind == "restored" and self.trust.has(seal.key):
            self.report.note(f"{named}: it was lost, as the seal says, and you trust this one.")
            return
        advice = " If the desk lost its key, ask its operator, and trust this one with --key."
        self.report.find(f"{named}: the key was swapped.{advice if seal.kind == 'restored' else ''}")

    def end(self) -> None:
        """Check the last signature, which covers all, and that one of the trusted keys signed."""
        self._check_signature(self.last)
        if self.keys and self.trust and not any(self.trust.has(key) for key, _ in self.keys):
            self.report.find(
                "None of the seals is signed by the key that you trust; the last one is signed by "
                f"{fingerprint_of(self.keys[-1][0])}."
            )


# --- Entries --------------------------------------------------------------------------------------------------------

_ENTRY_TEXTS = {
    "action": None,
    "actor_id": None,
    "actor_kind": None,
    "fingerprint": None,
    "surface": None,
    "trace": None,
    "xid": _XID,
    "mac": _HEX,
    "outcome": re.compile("[a-z_]{1,16}"),
}
_ENTRY_FIELDS = {*_ENTRY_TEXTS, "at", "connection", "detail_hashes", "id", "message"}
_MAY_BE_ABSENT = {"mac", "outcome"}
# Entries that record a removal, and name the entries whose details were removed.
REMOVALS = ("ledger.details_removed", "ledger.details_erased")


def entry_hash(line: bytes) -> bytes:
    """Return the hash of an entry, given its canonical JSON."""
    return hashlib.sha256(line).digest()


def batch_hash(hashes: Iterable[bytes]) -> str:
    """Return what a seal calls `entries`: the hash over the hashes of its batch."""
    digest = hashlib.sha256()
    for one in hashes:
        digest.update(one)
    return digest.hexdigest()


def read_entry(line: bytes) -> dict[str, Any]:
    """Parse an entry. Raises ValueError where it is not canonical, or none."""
    entry = read_canonical(line)
    if not isinstance(entry, dict) or not _ENTRY_FIELDS - _MAY_BE_ABSENT <= entry.keys() <= _ENTRY_FIELDS:
        raise ValueError("it does not have the fields of an entry")
    wrong = [name for name, pattern in _ENTRY_TEXTS.items() if name in entry and not is_text(entry[name], pattern)]
    if not is_number(entry["id"], 1):
        wrong.append("id")
    if not is_time(entry["at"]):
        wrong.append("at")
    if entry["connection"] is not None and not is_number(entry["connection"], -MOST):
        wrong.append("connection")
    if entry["message"] is not None and not is_text(entry["message"], _UUID):
        wrong.append("message")
    hashes = entry["detail_hashes"]
    if not isinstance(hashes, dict) or not all(is_text(one, _HEX) for one in hashes.values()):
        wrong.append("detail_hashes")
    if wrong:
        raise ValueError(f'its field "{wrong[0]}" is not what it must be')
    return entry


class Item(NamedTuple):
    """One position of the ledger, as it is listed: `line` is None where only the list still has the entry."""

    line: bytes | None
    # Number and hash by the list: details.jsonl, or what a database stores beside the entry. None where it has none.
    number: int | None = None
    hash: bytes | None = None
    salt: bytes | None = None
    fields: dict[str, str] | None = None


def check_details(entry: dict[str, Any], item: Item, report: Report) -> None:
    """Compare the details of an entry, where they were not removed, with the hashes in the entry."""
    number = entry["id"]
    hashes = entry["detail_hashes"]
    if item.salt is None or item.fields is None:
        if item.fields:
            report.find(f"Entry {number} has details without a salt: they are not its own.")
        if hashes:
            report.missing.add(number)
        return
    report.with_details += 1
    if odd := sorted(hashes.keys() ^ item.fields.keys()):
        verb = "lack" if odd[0] in hashes else "have, and it never had,"
        report.find(f'The details of entry {number} do not fit: they {verb} "{shown(odd[0])}".')
        return
    for name, value in item.fields.items():
        digest = hashlib.sha256(item.salt + b"\0" + name.encode() + b"\0" + value.encode("utf-8", "surrogatepass"))
        if digest.hexdigest() != hashes[name]:
            report.find(f'The details of entry {number} do not fit: "{shown(name)}" was changed.')


class Numbers:
    """Which numbers were seen, a bit each."""

    def __init__(self) -> None:
        self._pages: dict[int, int] = {}

    def add_new(self, number: int) -> bool:
        """Add a number; return whether it is new."""
        page = self._pages.get(number >> 8, 0)
        bit = 1 << (number & 255)
        self._pages[number >> 8] = page | bit
        return not page & bit


# --- The ledger -----------------------------------------------------------------------------------------------------

# An entry is sealed seconds after it was written; this much later if its transaction was still open when a seal was
# made, or if the clock was corrected.
TOLERANCE = datetime.timedelta(minutes=10)


def window(before: str, after: str) -> tuple[str, str]:
    """Return the earliest and the latest time of an entry between two seals, given their times; empty for none."""
    times = [datetime.datetime.fromisoformat(at) for at in (before, after) if at]
    first = (min(times) - TOLERANCE).isoformat(timespec="microseconds") if before else ""
    last = (max(times) + TOLERANCE).isoformat(timespec="microseconds") if after else "~"
    return first, last


_T = TypeVar("_T")


class Ahead(Generic[_T]):
    """An iterator that can be looked into before an item is taken."""

    def __init__(self, items: Iterable[_T]) -> None:
        self._items = iter(items)
        self._read: collections.deque[_T] = collections.deque()

    def peek(self, place: int = 0) -> _T | None:
        """Return the next item, or one behind it; None beyond the end."""
        while len(self._read) <= place:
            try:
                self._read.append(next(self._items))
            except StopIteration:
                return None
        return self._read[place]

    def take(self) -> _T:
        """Return the item that `peek` returned, and go on."""
        return self._read.popleft()


class Record(NamedTuple):
    """What is known of an entry until its seal has been checked."""

    number: int
    # None, and an empty time, where the entry is gone or cannot be read.
    xid: int | None
    at: str
    hash: bytes | None
    listed: bytes | None

    @property
    def is_altered(self) -> bool:
        """Whether it is there, but not as it is listed."""
        return self.hash is not None and self.listed not in (None, self.hash)

    @property
    def order(self) -> tuple[int, int] | None:
        """What entries are in order by; None where the entry itself does not say it."""
        return None if self.xid is None or self.is_altered else (self.xid, self.number)


class Batch:
    """The entries that were found under one seal: their hashes, and what is needed to name the wrong one."""

    def __init__(self, seal: Seal, before: Seal | None) -> None:
        self.seal = seal
        self.end = before.end if before and seal.kind == "seal" else (0, 0)
        self.window = window(before.at if before else "", seal.at)
        self.taken = 0
        self.altered: list[int] = []
        self.lowest = MOST
        self.highest = 0
        self._found = hashlib.sha256()
        self._listed = hashlib.sha256()

    def add(self, record: Record) -> None:
        """Add an entry."""
        self.taken += 1
        self._found.update(record.hash or record.listed or b"")
        self._listed.update(record.listed or record.hash or b"")
        if record.is_altered and len(self.altered) < MOST_FINDINGS:
            self.altered.append(record.number)
        self.lowest = min(self.lowest, record.number)
        self.highest = max(self.highest, record.number)

    def fits(self, *, as_listed: bool = False) -> bool:
        """Whether the entries are those that were sealed, as they are or as they are listed."""
        digest = self._listed if as_listed else self._found
        return self.taken == self.seal.count and digest.hexdigest() == self.seal.entries


class Ledger:
    """Compares seals and entries in order. Holds no batch in memory."""

    def __init__(self, report: Report, items: Iterable[Item]) -> None:
        self.report = report
        self._records = Ahead(self._record(item) for item in items)
        self._position = 0
        self._numbers = Numbers()
        self._before: Seal | None = None

    def _record(self, item: Item) -> Record:
        """Check an entry for everything that may be wrong with it alone."""
        self._position += 1
        who = f"Entry {item.number}" if item.number else f"The entry at position {self._position}"
        if item.line is None:
            self.report.find(f"{who} was removed{': its hash is still listed' if item.hash else ''}.")
            return Record(item.number or 0, None, "", None, item.hash)
        self.report.count()
        digest = entry_hash(item.line)
        try:
            entry = read_entry(item.line)
        except ValueError as error:
            self.report.refuse(f"{who} cannot be read: {error}.")
            return Record(item.number or 0, None, "", digest, item.hash)
        number = entry["id"]
        if not self._numbers.add_new(number):
            self.report.find(f"Entry {number} appears twice.")
        if item.number not in (None, number):
            self.report.find(f"Entry {number} is where entry {item.number} should be.")
        check_details(entry, item, self.report)
        if entry["action"] in REMOVALS:
            self._take_removal(number, item.fields)
        return Record(number, int(entry["xid"]), entry["at"], digest, item.hash)

    def _take_removal(self, number: int, fields: dict[str, str] | None) -> None:
        """Collect the entries whose removal of details this one records."""
        if not fields:
            if not self.report.left_out:
                self.report.find(f"The details of entry {number} are missing; those of a removal are never removed.")
            return
        try:
            named = Ranges(fields.get("numbers", ""))
            self.report.removed.take(named)
        except ValueError as error:
            self.report.refuse(f"Entry {number} reports a removal, but not whose: {error}.")
            return
        if not named.runs or named.runs[-1][1] >= number:
            self.report.find(f"Entry {number} reports a removal of no entries, or of later ones.")

    def take(self, seal: Seal, following: Seal | None) -> None:
        """Take the entries that this seal covers, and compare them with it."""
        batch = Batch(seal, self._before)
        # A restore takes what the seal before it left behind, wherever it stands in order.
        takes_more = following is None or following.kind != "restored"
        while (record := self._records.peek()) is not None:
            is_within = self._is_within(record, seal)
            if is_within is False or (batch.taken >= seal.count and not (takes_more and is_within)):
                break
            self._records.take()
            self._check_place(record, batch)
            batch.add(record)
        self.report.sealed += batch.taken
        if batch.fits():
            for number in batch.altered:
                self.report.find(f"Entry {number} is as it was sealed, but listed with another hash.")
            if seal.kind == "seal" and seal.count and not batch.altered and batch.end != seal.end:
                self.report.find(f"Seal {seal.number} says that it ends at entry {seal.end_id}: it was edited.")
        else:
            self._explain(batch)
        self._before = seal

    @staticmethod
    def _is_within(record: Record, seal: Seal) -> bool | None:
        """Whether the entry itself says that it belongs under this seal, or one before; None where it cannot be known.

        One that is gone, unreadable or altered goes with those who still miss some.
        """
        if record.order is None:
            return None
        return record.number <= seal.after_id if seal.kind == "restored" else record.order <= seal.end

    def _check_place(self, record: Record, batch: Batch) -> None:
        """Check an entry's order, and its time."""
        seal = batch.seal
        is_restored = seal.kind == "restored"
        if record.order is not None:
            if record.order <= batch.end or (record.number <= seal.after_id and not is_restored):
                self.report.find(
                    f"Entry {batch.end[1]} is before entry {record.number} under seal {seal.number} but was written "
                    "after it: their order was changed, or one was put in later."
                )
            batch.end = record.order
        # Entries under a `restored` seal may be much older.
        if not is_restored and record.at and not batch.window[0] <= record.at <= batch.window[1]:
            before = f", and seal {self._before.number} before it is of {self._before.at[:19]}" if self._before else ""
            self.report.find(
                f"Entry {record.number} says {record.at[:19]}, is under {seal.name}{before}: "
                "its time was changed, or it was put in."
            )

    def _explain(self, batch: Batch) -> None:
        """Find out which entry is the reason that a seal does not fit."""
        seal = batch.seal
        for number in batch.altered:
            self.report.find(f"Entry {number} was changed: its hash is not the one that was sealed.")
        if batch.fits(as_listed=True):
            # What was changed or removed is a finding already.
            return
        among = f"{batch.lowest} to {batch.highest}" if batch.taken else "none"
        covers = f"Seal {seal.number} covers {seal.count} entries, and {batch.taken} are here ({among})"
        if batch.taken > seal.count:
            self.report.find(f"{covers}: {batch.taken - seal.count} put in later.")
        elif batch.taken == seal.count:
            self.report.find(
                f"One of the entries {among} is not as it was sealed, or seal {seal.number} over it was edited."
            )
        elif self._records.peek() is None:
            self.report.find(f"{covers}: the end was cut off.")
        else:
            self.report.find(f"{covers}: {seal.count - batch.taken} removed.")

    def end(self) -> None:
        """Check and count what is not sealed yet."""
        last = self._before
        end = last.end if last else (0, 0)
        first, _ = window(last.at if last else "", "")
        find = self.report.find
        while (record := self._records.peek()) is not None:
            self._records.take()
            self.report.unsealed += 1
            if record.is_altered:
                find(f"Entry {record.number} was changed: its hash is not the one that is listed.")
            if record.xid is None:
                continue
            order = (record.xid, record.number)
            if last and (order <= last.end or record.number <= last.after_id):
                find(f"Entry {record.number} was put in later: seal {last.number} ends after it, without it.")
            elif order <= end:
                find(f"Entry {record.number}, not sealed yet, is out of order.")
            elif record.at < first:
                find(f"Entry {record.number} says {record.at[:19]}, and is not sealed yet: its time was changed.")
            end = order
        # In a bundle without details, nothing records what was removed.
        gone = Ranges() if self.report.left_out else self.report.missing.without(self.report.removed)
        if gone.runs:
            find(f"The details of {len(gone)} entries are missing, and no entry tells of their removal: {shown(gone)}.")


def check_ledger(
    report: Report,
    items: Iterable[Item],
    seals: Iterable[Seal],
    heads: Heads,
    *,
    excuse_restored: bool = False,
) -> None:
    """Compare entries with seals, in their order, and seals with the saved checkpoints."""
    ledger = Ledger(report, items)
    ahead = Ahead(seals)
    while (seal := ahead.peek()) is not None:
        heads.meet(seal)
        following = ahead.peek(1)
        ahead.take()
        ledger.take(seal, following)
    ledger.end()
    heads.end(report, excuse_restored=excuse_restored)


# --- Checkpoints ------------------------------------------------------------------------------------------------------


class Heads:
    """Checkpoints that somebody saved earlier: each must be among the seals."""

    def __init__(self, heads: Iterable[Seal] = ()) -> None:
        self._wanted = {(head.number, head.hash): head for head in heads}
        self.number = len(self._wanted)
        # The latest one.
        self._restored: Seal | None = None
        self._last: Seal | None = None

    @classmethod
    def read(cls, data: bytes) -> Heads:
        """Parse a file or a text: one JSON object, or one a line. An incomplete last line is ignored."""
        whole = data.strip()
        if not whole.endswith(b"}"):
            whole = whole[: whole.rfind(b"\n") + 1] or whole
        try:
            return cls([Seal(read_json(whole))])
        except ValueError as error:
            why = error
        lines = [line for line in whole.split(b"\n") if line.strip()]
        try:
            if len(lines) > 1:
                return cls([Seal(read_json(line)) for line in lines])
        except ValueError as error:
            why = error
        raise Unreadable(f"The saved checkpoint cannot be read: {why}.")

    def meet(self, seal: Seal) -> None:
        """Mark a checkpoint that is this seal as found."""
        self._last = seal
        if seal.kind == "restored" and (self._restored is None or seal.at > self._restored.at):
            self._restored = seal
        self._wanted.pop((seal.number, seal.hash), None)

    def end(self, report: Report, *, excuse_restored: bool = False) -> None:
        """Report the checkpoints that were not found, the first ones with the reason."""
        found = 0
        for head in sorted(self._wanted.values(), key=lambda one: one.number):
            named = f"The saved checkpoint, {head.name}"
            restored = self._restored if self._restored and self._restored.at > head.at else None
            is_beyond = self._last is None or head.number > self._last.number
            if excuse_restored and restored is not None:
                report.note(f"{named}, is from before the restore that seal {restored.number} reports.")
            elif is_beyond and "" < report.made_at < head.at and head.is_signed():
                report.younger.append(
                    f"{named}, is younger than this bundle, which says that it was made at {report.made_at[:19]}: "
                    "take a newer bundle."
                )
            elif found < 20:
                found += 1
                report.find(f"{named}, {self._reason(head, restored)}")
            else:
                report.more += 1

    def _reason(self, head: Seal, restored: Seal | None) -> str:
        if not head.is_signed():
            return "is not signed by its key: it proves nothing."
        if self._last is None or head.number > self._last.number:
            here = f"seal {self._last.number}" if self._last else "none"
            return f"is not here: the end was cut off, for the last seal here is {here}."
        why = f" Seal {restored.number} reports a restore: older entries are missing." if restored else ""
        return f"is not the seal {head.number} that is here: what it covers was altered.{why}"


# --- Bundles --------------------------------------------------------------------------------------------------------


def open_file(path: str, flags: int = 0) -> BinaryIO:
    """Open a file, and nothing that only looks like one: a pipe or a device might never end."""

    def opener(name: str, given: int) -> int:
        return os.open(name, given | getattr(os, "O_NONBLOCK", 0) | flags)

    try:
        file = open(path, "rb", opener=opener)  # noqa: SIM115
    except OSError as error:
        raise Unreadable(f"{shown(path)} cannot be read: {shown(error.strerror)}.") from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise Unreadable(f"{shown(path)} is not a file.")
    return file


class _Archive(io.BufferedReader):
    """A .zip of which no large part is read at once, such as a huge central directory."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            size = LARGEST_ZIP_READ
        if size > LARGEST_ZIP_READ:
            raise zipfile.BadZipFile("it lists too many files")
        return super().read(size)


_ZIP_ERRORS = (OSError, EOFError, ValueError, RuntimeError, OverflowError, struct.error, zlib.error, zipfile.BadZipFile)


class Bundle:
    """The files of a bundle, read as streams: a folder, or a .zip that is never unpacked."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        if os.path.isdir(path):
            return
        self._size = os.path.getsize(path) if os.path.exists(path) else 0
        try:
            self._zip = zipfile.ZipFile(_Archive(open_file(path).detach()))  # type: ignore[attr-defined]
        except _ZIP_ERRORS as error:
            raise Unreadable(f"{shown(path)} cannot be read as a bundle: {shown(error)}.") from None
        names = self._zip.namelist()
        if len(set(names)) != len(names):
            raise Unreadable(f"{shown(path)} holds a file twice.")
        manifests = [name for name in names if re.fullmatch("(?:[^/]*/)?manifest[.]json", name)]
        if len(manifests) != 1:
            raise Unreadable(f"{shown(path)} is no bundle: it holds {len(manifests)} files manifest.json.")
        self._root = manifests[0][: -len("manifest.json")]

    def _open(self, name: str) -> tuple[BinaryIO, int]:
        """Open one of the files; return how many bytes it may have, too. Other files in the bundle are never read."""
        if self._zip is None:
            return open_file(os.path.join(self.path, name), getattr(os, "O_NOFOLLOW", 0)), sys.maxsize
        try:
            member = self._zip.getinfo(self._root + name)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 1:
                raise Unreadable(f"{name} in the bundle is encrypted, or compressed in a way that no desk uses.")
            if kind not in (0, stat.S_IFREG):
                raise Unreadable(f"{name} in the bundle is not a file.")
            packed = min(member.compress_size, self._size)
            file = io.BufferedReader(self._zip.open(member), A_READ)  # type: ignore[type-var]
        except KeyError:
            raise Unreadable(f"{name} is missing in the bundle.") from None
        except _ZIP_ERRORS as error:
            raise Unreadable(f"{name} in the bundle cannot be read: {shown(error)}.") from None
        return file, packed * MOST_RATIO + MIB

    def lines(self, name: str) -> Iterator[bytes]:
        """Yield the lines of a file, without their ends."""
        file, most = self._open(name)
        with file:
            while line := self._read(name, lambda: file.readline(LONGEST_LINE + 1)):
                most -= len(line)
                if most < 0:
                    raise Unreadable(f"{name} unpacks to more than {MOST_RATIO} times its size: that is no ledger.")
                if len(line) > LONGEST_LINE:
                    raise Unreadable(f"{name} has a line that is too long to be one of a ledger.")
                if not line.endswith(b"\n"):
                    raise Unreadable(f"{name} ends within a line: its end was cut off.")
                yield line[:-1]

    def json(self, name: str, *fields: str) -> dict[str, Any]:
        """Parse a small file that holds one object with these fields."""
        file, _ = self._open(name)
        with file:
            data = self._read(name, lambda: file.read(LONGEST_LINE + 1))
        try:
            if len(data) > LONGEST_LINE:
                raise ValueError("it is too large")
            value = read_json(data)
            fields_of(value, "it", *fields)
        except ValueError as error:
            raise Unreadable(f"{name} cannot be read: {error}.") from None
        return dict(value)

    @staticmethod
    def _read(name: str, read: Callable[[], bytes]) -> bytes:
        try:
            return read()
        except _ZIP_ERRORS as error:
            raise Unreadable(f"{name} breaks off: {shown(error)}.") from None


def _listed(lines: Iterable[bytes]) -> Iterator[Item]:
    """Parse the lines of details.jsonl."""
    for place, line in enumerate(lines, start=1):
        try:
            fields, digest, number, salt = fields_of(read_canonical(line), "it", "fields", "hash", "id", "salt")
            if not is_number(number, 1) or not is_text(digest, _HEX):
                raise ValueError("it does not say which entry")
            item = Item(None, number, bytes.fromhex(digest))
            if (salt, fields) != (None, {}):
                item = with_details(item, salt, fields)
            yield item
        except ValueError as error:
            raise Unreadable(f"Line {place} of details.jsonl cannot be read: {error}.") from None


_SALT = re.compile("[0-9a-f]{32}")


def with_details(item: Item, salt: Any, fields: Any) -> Item:
    """Return the item with its details. Raises ValueError where they are none."""
    if not is_text(salt, _SALT):
        raise ValueError("its salt is none")
    if not isinstance(fields, dict) or not all(type(text) is str for text in fields.values()):
        raise ValueError("its details are no texts")
    return item._replace(salt=bytes.fromhex(salt), fields=fields)


# In canonical JSON only a field is like this: quotation marks in texts are escaped, and details have hashes.
_NUMBER_IN = re.compile(rb'"id":([1-9][0-9]{0,18}),"(?:mac|message)":')


def _number_in(line: bytes | None) -> int | None:
    """Return the number of an entry, read without parsing all of the line."""
    found = _NUMBER_IN.search(line) if line is not None else None
    return int(found[1]) if found else None


def items_of(bundle: Bundle, report: Report) -> Iterator[Item]:
    """Yield entries with their details; where the two files do not match, find whose line is missing."""
    lines = Ahead(bundle.lines("entries.jsonl"))
    listed = Ahead(_listed(bundle.lines("details.jsonl")))
    while True:
        line = lines.peek()
        item = listed.peek()
        if line is None and item is None:
            return
        number = _number_in(line)
        if item is None or (line is not None and number != item.number and not _is_gone(item, number, lines, listed)):
            report.find(f"Entry {number} was put in later: details.jsonl does not list it.")
            yield Item(lines.take())
        elif line is None or number != item.number:
            yield listed.take()
        else:
            yield listed.take()._replace(line=lines.take())


def _is_gone(item: Item, number: int | None, lines: Ahead[bytes], listed: Ahead[Item]) -> bool:
    """Whether the line of this listed entry is gone, given the number of the line that is there instead."""
    following = listed.peek(1)
    if following is not None and following.number == number:
        return True
    if _number_in(lines.peek(1)) == item.number:
        return False
    # Numbers are nearly in order.
    return number is not None and item.number is not None and item.number < number


_MANIFEST = ("v", "product", "version", "made_at", "entries", "seals", "size", "last", "unsealed", "details")


def check_bundle(
    path: str,
    trust: Trust | None = None,
    heads: Heads | None = None,
    *,
    signatures: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Check one bundle. Raises Unreadable where it is none."""
    bundle = Bundle(path)
    report = Report(progress, is_strict=True)
    manifest = bundle.json("manifest.json", *_MANIFEST)
    if manifest["v"] != 2 or manifest["product"] != "Countersign":
        raise Unreadable("This bundle is of a version that this verifier does not know.")
    if not is_time(manifest["made_at"]) or not is_text(manifest["version"]):
        raise Unreadable("manifest.json does not say when or by which version the bundle was made.")
    report.left_out = manifest["details"] == "left out"
    report.made_at = manifest["made_at"]
    chain = Chain(report, trust or Trust(), signatures)
    seals = filter(None, map(chain.read, bundle.lines("seals.jsonl")))
    check_ledger(report, items_of(bundle, report), seals, heads or Heads())
    chain.end()
    _check_manifest(manifest, report)
    keys = [{"key": key, "fingerprint": fingerprint_of(key), "first_seal": number} for key, number in chain.keys]
    if canonical(bundle.json("keys.json", "keys")) != canonical({"keys": keys}):
        report.find("keys.json does not hold the keys that signed, in the order of their use.")
    return report


def _check_manifest(manifest: dict[str, Any], report: Report) -> None:
    size = report.last.size if report.last else 0
    found = {
        "entries": report.entries,
        "seals": report.seals,
        "size": size,
        "last": report.last.hash if report.last else "",
        "unsealed": max(0, report.entries - size),
        "details": "left out" if report.left_out and not report.with_details else "included",
    }
    for name, value in found.items():
        if canonical(manifest[name]) != canonical(value):
            report.find(f'manifest.json lies: "{name}" is {shown(manifest[name])} there, and {value} here.')


def check_same(
    old: str,
    new: str,
    trust: Trust | None = None,
    heads: Heads | None = None,
    *,
    signatures: bool = True,
    progress: Callable[[int], None] | None = None,
) -> tuple[Report, Report]:
    """Check two bundles, and that the newer one begins as the older one ends."""
    first = check_bundle(old, trust, signatures=signatures, progress=progress)
    second = check_bundle(new, trust, heads, signatures=signatures, progress=progress)
    find = second.find
    pairs = itertools.zip_longest(Bundle(old).lines("seals.jsonl"), Bundle(new).lines("seals.jsonl"))
    for number, (before, after) in enumerate(pairs, start=1):
        if before is None:
            break
        if after is None:
            find(f"Seal {number} of the older bundle is not in the newer one: the end was cut off.")
            break
        if before != after:
            find(f"Seal {number} is not the same in both bundles: they tell two histories.")
            break
    size = first.last.size if first.last else 0
    rest = {
        entry_hash(line): _number_in(line) for line in itertools.islice(Bundle(old).lines("entries.jsonl"), size, None)
    }
    for line in Bundle(new).lines("entries.jsonl") if rest else ():
        rest.pop(entry_hash(line), None)
    for number_of_entry in rest.values():
        find(f"Entry {number_of_entry}, not sealed yet in the older bundle, is not in the newer one as it was.")
    return first, second


# --- Proofs ---------------------------------------------------------------------------------------------------------

_PROOF = ("v", "kind", "product", "made_at", "message", "about", "batches", "not_sealed")
EXISTS = "these entries exist and were sealed; whether others exist, only a whole bundle shows"


class Proof(NamedTuple):
    """A checked proof: the report, and what it proves in lines; none where it does not hold."""

    report: Report
    lines: list[str]


class Proven(NamedTuple):
    """An entry of a proof."""

    entry: dict[str, Any]
    fields: dict[str, str] | None
    seal: Seal


def check_proof(data: bytes, trust: Trust | None = None, *, signatures: bool = True) -> Proof:
    """Check a proof of one message. Raises Unreadable where it is none."""
    report = Report(is_strict=True)
    if len(data) > LARGEST_PROOF or data.count(b",") + data.count(b"[") + data.count(b"{") > MOST_VALUES:
        raise Unreadable("The proof is too large. A bundle has no limit.")
    try:
        claims = read_json(data)
        _, kind, product, made_at, message, about, batches, not_sealed = fields_of(claims, "it", *_PROOF)
        if claims["v"] != 2 or kind != "message" or product != "Countersign":
            raise ValueError("it is of a kind or version that this verifier does not know")
        if not is_time(made_at) or not is_text(message, _UUID):
            raise ValueError("it does not say when it was made, or of which message it is")
        if not isinstance(not_sealed, list) or not all(is_number(one, 1) for one in not_sealed):
            raise ValueError("its list of entries not sealed holds something else")
        if not isinstance(batches, list) or not batches:
            raise ValueError("it holds no batch of entries")
        entries = [one for batch in batches for one in _check_batch(batch, report, trust or Trust(), signatures)]
        heading = _check_heading(about, entries, report)
    except ValueError as error:
        raise Unreadable(f"The proof cannot be read: {error}.") from None
    except RecursionError:
        raise Unreadable("The proof is nested too deeply.") from None
    if len({one.entry["id"] for one in entries}) < len(entries):
        report.find("The proof holds an entry twice.")
    if not {one.entry["id"] for one in entries}.isdisjoint(not_sealed):
        report.find("The proof holds an entry of which it says that it is not sealed yet.")
    for one in entries:
        if one.entry["message"] != message:
            report.find(f"Entry {one.entry['id']} is about another message.")
    if report.findings or heading is None:
        return Proof(report, [])
    return Proof(report, [*_heading_lines(heading), *itertools.chain.from_iterable(map(_entry_lines, entries))])


def _check_batch(value: Any, report: Report, trust: Trust, signatures: bool) -> list[Proven]:
    """Check one batch of a proof: its seal, that the hashes are what was sealed, and that the entries have them."""
    claimed, texts, entries = fields_of(value, "a batch", "seal", "hashes", "entries")
    seal = Seal(claimed)
    _check_proof_seal(seal, report, trust, signatures)
    if not isinstance(texts, list) or not all(is_text(one, _HEX) for one in texts):
        raise ValueError(f"the hashes of seal {seal.number} are none")
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"there is no entry of seal {seal.number}")
    hashes = [bytes.fromhex(one) for one in texts]
    if len(hashes) != seal.count or batch_hash(hashes) != seal.entries:
        report.find(f"The hashes are not those that seal {seal.number} covers.")
    proven = []
    last = -1
    for one in entries:
        index, text, salt, fields = fields_of(one, "an entry", "index", "entry", "salt", "fields")
        if not is_number(index) or not last < index < len(hashes) or not is_text(text):
            raise ValueError(f"an entry of seal {seal.number} has no place in its batch")
        last = index
        line = text.encode("utf-8")
        entry = read_entry(line)
        if entry_hash(line) != hashes[index]:
            report.find(f"Entry {entry['id']} is not what seal {seal.number} covers: it was changed.")
        item = Item(line)
        if (salt, fields) != (None, None):
            item = with_details(item, salt, fields)
        check_details(entry, item, report)
        _check_proof_place(entry, index, seal, report)
        report.count()
        report.sealed += 1
        proven.append(Proven(entry, item.fields, seal))
    return proven


def _check_proof_seal(seal: Seal, report: Report, trust: Trust, signatures: bool) -> None:
    last = report.last
    if last is not None:
        if seal.number <= last.number or seal.size < last.size + seal.count or seal.epoch < last.epoch:
            report.find(f"Seal {seal.number} does not come after seal {last.number}.")
        if seal.key != last.key:
            report.note(
                f"Seal {last.number} is signed with the key {fingerprint_of(last.key)}, and seal {seal.number} with "
                f"{fingerprint_of(seal.key)}: only a bundle shows how one follows the other."
            )
    if signatures and len(report.findings) < MOST_UNSIGNED and not seal.is_signed():
        report.find(f"Seal {seal.number} is not signed by its key: it was edited.")
    if trust and not trust.has(seal.key):
        report.find(f"Seal {seal.number} is signed by {fingerprint_of(seal.key)}, which is not a key that you trust.")
    report.last = seal
    report.seals += 1


def _check_proof_place(entry: dict[str, Any], index: int, seal: Seal, report: Report) -> None:
    """Check what the seal over an entry says of its place and time."""
    order = (int(entry["xid"]), entry["id"])
    if seal.kind == "restored":
        is_wrong = entry["id"] > seal.after_id
    else:
        is_last = index == seal.count - 1
        is_wrong = entry["id"] <= seal.after_id or order > seal.end or (order == seal.end) != is_last
        is_wrong = is_wrong or entry["at"] > window("", seal.at)[1]
    if is_wrong:
        report.find(f"Entry {entry['id']} does not belong where it is under seal {seal.number}.")


def _check_heading(about: Any, entries: list[Proven], report: Report) -> Proven | None:
    """Compare what the proof says that it is about with the entry that it names, and return that one."""
    action, actor, at, number = fields_of(about, "its heading", "action", "actor", "at", "entry")
    one = next((one for one in entries if is_number(number) and one.entry["id"] == number), None)
    if one is None:
        report.find("The heading names an entry that is not in the proof.")
        return None
    for name, claimed, value in (
        ("action", action, one.entry["action"]),
        ("actor", actor, _actor_of(one.entry)),
        ("at", at, one.entry["at"]),
    ):
        if claimed != value:
            report.find(f'The heading lies: "{name}" is {shown(claimed)} there, and {shown(value)} in entry {number}.')
    return one


def _actor_of(entry: dict[str, Any]) -> str:
    return f"{entry['actor_kind']} {entry['actor_id']}"


def _action_of(entry: dict[str, Any]) -> str:
    return shown(entry["action"]) + (f" ({entry['outcome']})" if "outcome" in entry else "")


def _heading_lines(one: Proven) -> list[str]:
    """Say what a proof is about, from what was sealed."""
    return [
        f"Message: {one.entry['message']}",
        f"Action: {_action_of(one.entry)}",
        f"Actor: {shown(_actor_of(one.entry))}",
        f"Time: {one.entry['at'][:19]} UTC",
        f"By entry {one.entry['id']} under {one.seal.name}. All entries of the proof:",
    ]


def _entry_lines(one: Proven) -> list[str]:
    """Say what an entry says, with its details."""
    entry = one.entry
    what = f"{_action_of(entry)} by {shown(_actor_of(entry))} through {shown(entry['surface'])}"
    lines = [f"Entry {entry['id']}, {entry['at'][:19]} UTC: {what}."]
    if one.fields is None and entry["detail_hashes"]:
        names = ", ".join(shown(name) for name in sorted(entry["detail_hashes"]))
        lines.append(f"    MISSING details, removed or left out: {names}")
    return lines + [f"    {shown(name)}: {shown(value)}" for name, value in sorted((one.fields or {}).items())]


# --- The command ----------------------------------------------------------------------------------------------------


def _result_lines(report: Report, trust: Trust, what: str) -> list[str]:
    """Return the lines of the result: findings, notes, and what was not checked."""
    lines = ["PROBLEM: " + shown(sentence) for sentence in report.findings]
    if report.more:
        lines.append(f"... and {report.more} more.")
    lines += ["Note: " + shown(sentence) for sentence in report.notes]
    lines.append(("Verification FAILED: " if report.findings else "Verified: ") + what)
    if report.last:
        key = fingerprint_of(report.last.key)
        lines.append(
            f"The last seal is number {report.last.number} of {report.last.at[:19]} UTC, signed with the key {key}."
        )
        if not trust:
            lines.append(
                "NOT checked: whether that key is the desk's. Compare it with what the desk shows, or give --key."
            )
    return lines + ["NOT checked: " + shown(sentence) for sentence in report.younger]


def _bundle_lines(report: Report, has_head: bool) -> list[str]:
    lines = []
    if report.unsealed:
        lines.append(f"NOT checked: {report.unsealed} entries not sealed yet, protected only by permissions.")
    if report.missing.runs:
        explained = report.missing.without(report.missing.without(report.removed))
        why = "this bundle leaves them out" if report.left_out else f"entries record the removal of {shown(explained)}"
        lines.append(f"{len(report.missing)} entries are without their details: {why}.")
    if not has_head:
        lines.append(
            "NOT checked: whether the end is there. A cut-off end can only be found with a saved checkpoint (--head)."
        )
    return lines


def _progress(began: float) -> Callable[[int], None]:
    def report_progress(entries: int) -> None:
        if sys.stderr.isatty() or entries % 100_000 == 0:
            sys.stderr.write(f"{entries} entries, {time.monotonic() - began:.0f} s\n")

    return report_progress


def _read_heads(values: list[str]) -> Heads | None:
    """Return the checkpoints of files, or given as they are; None where none are given."""
    parts = []
    for value in values:
        if value.lstrip()[:1] == "{":
            parts.append(os.fsencode(value))
            continue
        with open_file(value) as file:
            begin = max(0, file.seek(0, os.SEEK_END) - END_OF_HEADS)
            file.seek(begin)
            data = file.read(END_OF_HEADS)
        parts.append(data.partition(b"\n")[2] if begin else data)
    return Heads.read(b"\n".join(part.strip() for part in parts)) if parts else None


def _run(options: argparse.Namespace) -> int:
    trust = Trust(options.key)
    signatures = not options.no_signatures
    heads = _read_heads(options.head)
    progress = _progress(time.monotonic())
    if options.same:
        old, new = options.same
        first, report = check_same(old, new, trust, heads, signatures=signatures, progress=progress)
        report.findings = ["(older bundle) " + sentence for sentence in first.findings] + report.findings
        what = "the newer bundle holds all that the older one held." if not report.findings else "see above."
        lines = _result_lines(report, trust, what) + _bundle_lines(report, heads is not None)
    elif os.path.isdir(options.path) or _is_zip(options.path):
        report = check_bundle(options.path, trust, heads, signatures=signatures, progress=progress)
        what = f"{report.entries} entries, {report.sealed} of them under {report.seals} seals."
        lines = _result_lines(report, trust, what) + _bundle_lines(report, heads is not None)
    elif heads is not None:
        raise Unreadable("--head is for a bundle: a proof of one message cannot show what a checkpoint covers.")
    else:
        with open_file(options.path) as file:
            proof = check_proof(file.read(LARGEST_PROOF + 1), trust, signatures=signatures)
        report = proof.report
        lines = proof.lines + _result_lines(report, trust, "see above." if report.findings else EXISTS + ".")
    is_unsigned = not signatures or report.last is None
    if is_unsigned:
        lines.append("signatures NOT checked")
    sys.stdout.write("".join(line + "\n" for line in lines))
    if report.findings:
        return 1
    if is_unsigned:
        return 3
    return 4 if report.younger else 0


def _is_zip(path: str) -> bool:
    with open_file(path) as file:
        return file.read(2) == b"PK"


def main(arguments: list[str] | None = None) -> int:
    """Run the command, and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?", help="a bundle or a proof")
    parser.add_argument("--same", nargs=2, metavar=("OLD", "NEW"), help="two bundles")
    parser.add_argument("--head", action="append", default=[], help="a file of saved checkpoints, or the JSON of one")
    parser.add_argument("--key", action="append", default=[], help="fingerprint or hex of the key to trust")
    parser.add_argument("--no-signatures", action="store_true", help="check no signature")
    options = parser.parse_args(arguments)
    if bool(options.path) == bool(options.same):
        parser.error("name one bundle, one proof, or two bundles with --same")
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
