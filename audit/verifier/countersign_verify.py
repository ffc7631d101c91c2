#!/usr/bin/env python3
"""Checks what Countersign says of its history, on a machine that never saw the desk. Needs Python 3.9, nothing else.

    countersign_verify.py BUNDLE                   a bundle (folder or .zip): every entry, seal and signature
    countersign_verify.py BUNDLE --head FILE       ... against a head kept outside, or the lines of an anchor file
    countersign_verify.py PROOF                    a proof of one message or of consistency: JSON, text or e-mail
    countersign_verify.py --same OLD NEW           whether two bundles tell one history
    --key FINGERPRINT                              the key to trust, as you have it from elsewhere
    --no-signatures                                leave the signatures out: ends with exit code 3

Exit codes: 0 it holds, 1 it does not hold, 2 it could not be read, 3 it holds, and signatures were NOT checked, 4 it
holds, and a head kept outside is younger, so that whether the end is there was NOT checked.
docs/ledger.md describes every byte. From top to bottom: strict reading, Ed25519, the tree, seals, entries, heads,
bundles, proofs, the command.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import collections
import contextlib
import datetime
import email
import email.policy
import functools
import gc
import hashlib
import itertools
import json
import multiprocessing
import operator
import os
import re
import stat
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from typing import Any, BinaryIO, NamedTuple

LONGEST_LINE = 4 * 1024 * 1024
LARGEST_FILE = 64 * 1024 * 1024
A_READ = 256 * 1024
# Findings that are stored; the rest is counted. Entries of one seal that are held in memory, to name the wrong one.
MOST_FINDINGS, MOST_HELD, MOST_TRIED = 200, 50_000, 1500


class Unreadable(Exception):
    """The input cannot be checked: exit code 2."""


class Ranges:
    """A set of numbers, as ranges."""

    def __init__(self, text: str = "") -> None:
        """Parse what a removal names, such as `3-7 12`. Raises ValueError for anything else."""
        self.runs: list[tuple[int, int]] = []
        for part in text.split():
            found = re.fullmatch("([1-9][0-9]{0,18})(?:-([1-9][0-9]{0,18}))?", part)
            if found is None:
                raise ValueError("it names no numbers")
            self.runs.append((int(found[1]), int(found[2] or found[1])))

    @classmethod
    def over(cls, numbers: Iterable[int]) -> Ranges:
        """Return the ranges of these numbers."""
        made = cls()
        for number in sorted(numbers):
            made.add(number)
        return made

    def __str__(self) -> str:
        return " ".join("%d-%d" % run if run[0] < run[1] else str(run[0]) for run in self.runs)

    def add(self, number: int) -> None:
        """Add a number larger than all before."""
        if self.runs and self.runs[-1][1] + 1 == number:
            self.runs[-1] = (self.runs[-1][0], number)
        else:
            self.runs.append((number, number))

    def without(self, others: Ranges) -> Ranges:
        """Return the numbers that are not in the others."""
        left, gone = Ranges(), collections.deque(sorted(others.runs))
        for first, last in sorted(self.runs):
            while gone and gone[0][1] < first:
                gone.popleft()
            for begin, end in gone:
                if begin > last:
                    break
                if begin > first:
                    left.runs.append((first, begin - 1))
                first = max(first, end + 1)
            if first <= last:
                left.runs.append((first, last))
        return left


class Report:
    """Findings in order, notes, and counts."""

    def __init__(self, progress: Callable[[int], None] | None = None) -> None:
        self.findings: list[str] = []
        self.more = 0
        self.notes: list[str] = []
        self.entries = self.sealed = self.unsealed = self.seals = self.without_details = 0
        # Entries whose details are missing, and entries whose removal of details is recorded.
        self.missing, self.removed = Ranges(), Ranges()
        # The bundle says that it leaves all details out, and when it was made.
        self.left_out = False
        self.made_at = ""
        # Heads saved elsewhere that are younger than the bundle, so that it cannot have them.
        self.younger: list[str] = []
        self.last: Seal | None = None
        self._progress, self._reported = progress, 0

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

    def count(self, number: int) -> None:
        """Count entries, and report progress now and then."""
        self.entries += number
        while self._progress and self.entries - self._reported >= 10_000:
            self._reported += 10_000
            self._progress(self._reported)


def shown(value: Any) -> str:
    """Return foreign text with control characters escaped, so that it cannot manipulate a terminal."""
    text = str(value)
    text = "".join(sign if sign.isprintable() else "\\x%02x" % ord(sign) for sign in text[:500])
    return text + ("..." if len(str(value)) > 500 else "")


# --- Strict reading -------------------------------------------------------------------------------------------------


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError('the key "%s" appears twice' % shown(twice))
    return found


def _refuse(text: str) -> Any:
    raise ValueError("%s is no number of a ledger" % shown(text)[:40])


def _whole(text: str) -> int:
    return int(text) if len(text) <= 20 else _refuse(text)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_float=_refuse, parse_constant=_refuse, parse_int=_whole, strict=True
)


def read_json(data: bytes) -> Any:
    """Parse JSON strictly. Raises ValueError for duplicate keys, floats, NaN, deep nesting and invalid UTF-8."""
    try:
        return _DECODER.decode(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise ValueError("it is no UTF-8") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError("it is no JSON: %s" % error.msg) from None


def canonical(value: Any) -> bytes:
    """Return the canonical JSON of RFC 8785, for text, whole numbers, lists, objects and null."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("it holds half a character") from None


# --- Ed25519 after RFC 8032, strictly ---------------------------------------------------------------------------------

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
NEUTRAL = (0, 1, 1, 0)
# In extended coordinates.
Point = tuple[int, int, int, int]


def add(p: Point, q: Point) -> Point:
    """Return the sum of two points in extended coordinates; complete for all points of the curve."""
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def point_of(data: bytes) -> Point | None:
    """Decode 32 bytes into a point; None where they encode none, or not in the canonical way."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & ((1 << 255) - 1)
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
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


@functools.lru_cache(maxsize=4)
def _multiples(data: bytes, negative: bool) -> list[list[Point]] | None:
    """Return the multiples of a point for each byte of a scalar, so that multiplying is 32 additions. None: no key."""
    point = point_of(data)
    if point is None:
        return None
    if negative:
        point = (P - point[0]) % P, point[1], 1, (P - point[3]) % P
    table = []
    for _ in range(32):
        row = [NEUTRAL]
        for _ in range(255):
            row.append(add(row[-1], point))
        table.append(row)
        point = add(row[-1], point)
    eighth = table[0][8]
    return None if eighth[0] % P == 0 and (eighth[1] - eighth[2]) % P == 0 else table


BASE = (4 * pow(5, P - 2, P) % P).to_bytes(32, "little")


def is_signed(data: bytes, signature: bytes, key: bytes) -> bool:
    """Whether this is the Ed25519 signature of that key over exactly this data. Keys of small order are refused."""
    if len(signature) != 64 or len(key) != 32:
        return False
    number = int.from_bytes(signature[32:], "little")
    of_base, of_key = _multiples(BASE, False), _multiples(key, True)
    if number >= ORDER or of_base is None or of_key is None:
        return False
    asked = int.from_bytes(hashlib.sha512(signature[:32] + key + data).digest(), "little") % ORDER
    point: Point = NEUTRAL
    for scalar, table in ((number, of_base), (asked, of_key)):
        for row, digit in zip(table, scalar.to_bytes(32, "little")):
            if digit:
                point = add(point, row[digit])
    return bytes_of(point) == signature[:32]


def fingerprint_of(key: str) -> str:
    """Return the short fingerprint of a key given in hex: three groups of four."""
    number = int(hashlib.sha256(bytes.fromhex(key)).hexdigest()[:15], 16)
    digits = "".join("0123456789ABCDEFGHJKMNPQRSTVWXYZ"[number >> 5 * index & 31] for index in range(11, -1, -1))
    return "-".join((digits[:4], digits[4:8], digits[8:]))


class Trust:
    """The keys that the auditor trusts: fingerprints, short or whole, or the keys themselves."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._names = {self._plain(one) for one in keys}

    @staticmethod
    def _plain(text: str) -> str:
        text = text.replace("-", "").replace(" ", "").lower()
        if re.fullmatch("[0-9a-f]{64}", text):
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


# --- The tree of RFC 9162 -------------------------------------------------------------------------------------------

EMPTY = hashlib.sha256(b"").digest()


def leaf_of(line: bytes) -> bytes:
    """Return the leaf hash of an entry."""
    return hashlib.sha256(b"\0" + line).digest()


def node(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return hashlib.sha256(b"\1" + left + right).digest()


class Edge:
    """A tree that grows at its right edge: of all leaves so far it stores one hash for each power of two."""

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self.size, self._hashes = size, list(hashes)

    def grown(self, leaves: Iterable[bytes]) -> Edge:
        """Return the tree with these added, level by level."""
        nodes, size, hashes, low = list(leaves), self.size, list(self._hashes), []
        grown, sha256 = size + len(nodes), hashlib.sha256
        while nodes:
            if size & 1:
                nodes.insert(0, hashes.pop())
            if len(nodes) & 1:
                low.append(nodes.pop())
            pairs = iter(nodes)
            nodes = [sha256(b"\1" + left + right).digest() for left, right in zip(pairs, pairs)]
            size >>= 1
        return Edge(grown, hashes + low[::-1])

    def root(self) -> str:
        """Return the root over all leaves."""
        if not self._hashes:
            return EMPTY.hex()
        return functools.reduce(lambda right, left: node(left, right), reversed(self._hashes)).hex()


def is_consistent(first: int, second: int, first_root: str, second_root: str, path: list[bytes]) -> bool:
    """Whether the path proves that the first tree begins the second: RFC 9162, section 2.1.4.2."""
    if first == second:
        return not path and first_root == second_root
    if first == 0:
        return not path and first_root == EMPTY.hex()
    if not first < second:
        return False
    path = [bytes.fromhex(first_root), *path] if first & (first - 1) == 0 else list(path)
    at, last = first - 1, second - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    if not path:
        return False
    old = new = path[0]
    for step in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            old, new = node(step, old), node(step, new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new = node(new, step)
        at, last = at >> 1, last >> 1
    return last == 0 and old.hex() == first_root and new.hex() == second_root


def root_from(leaves: dict[int, bytes], nodes: dict[tuple[int, int], bytes], size: int) -> tuple[str, int]:
    """Return the root computed from leaves by position and nodes by level and index, and how many nodes were used.

    Raises ValueError where a node is missing.
    """
    used = 0

    def over(start: int, end: int, wanted: list[int]) -> bytes:
        nonlocal used
        level = (end - start - 1).bit_length()
        if not wanted:
            used += 1
            try:
                return nodes[level, start >> level]
            except KeyError:
                raise ValueError("the node over the leaves %d to %d is missing" % (start, end - 1)) from None
        if end - start == 1:
            return leaves[start]
        middle = start + (1 << (level - 1))
        left = [index for index in wanted if index < middle]
        return node(over(start, middle, left), over(middle, end, wanted[len(left) :]))

    return over(0, size, sorted(leaves)).hex(), used


# --- Seals ----------------------------------------------------------------------------------------------------------

_HEX, _HEX_OR_EMPTY, _NUMBER = "[0-9a-f]{64}", "(?:[0-9a-f]{64})?", "(?:0|[1-9][0-9]{0,19})"
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}\+00:00"
_SEAL_TEXTS = {
    "kind": "seal|restored|key",
    "root": _HEX,
    "previous": _HEX_OR_EMPTY,
    "horizon": _NUMBER,
    "cluster": "[0-9]{0,32}",
    "at": _TIME,
    "key": _HEX,
    "next_key": _HEX_OR_EMPTY,
    "note": "(?s:.*)",
    "signature": "[0-9a-f]{128}",
}
_SEAL_NUMBERS = {"v": 1, "number": 1, "epoch": 1, "size": 0, "after_id": 0}


class Seal:
    """One seal, with what it signs. Raises ValueError where a field is missing, unknown or malformed."""

    def __init__(self, fields: Any) -> None:
        if not isinstance(fields, dict) or fields.keys() != _SEAL_TEXTS.keys() | _SEAL_NUMBERS.keys():
            raise ValueError("it does not have the fields of a seal")
        for name, pattern in _SEAL_TEXTS.items():
            if not isinstance(fields[name], str) or not re.fullmatch(pattern, fields[name]):
                raise ValueError('its field "%s" is not what it must be' % name)
        for name, least in _SEAL_NUMBERS.items():
            if type(fields[name]) is not int or not least <= fields[name] < 2**63:
                raise ValueError('its field "%s" is not what it must be' % name)
        if fields["v"] != 1:
            raise ValueError("it is of a version that this verifier does not know")
        self.number: int = fields["number"]
        self.size: int = fields["size"]
        self.epoch: int = fields["epoch"]
        self.after_id: int = fields["after_id"]
        self.horizon = int(fields["horizon"])
        texts = ("kind", "root", "previous", "cluster", "at", "key", "next_key", "note")
        self.kind, self.root, self.previous, self.cluster, self.at, self.key, self.next_key, self.note = (
            str(fields[name]) for name in texts
        )
        self.signature = bytes.fromhex(fields["signature"])
        signed = {name: value for name, value in fields.items() if name != "signature"}
        self.signed = b"countersign seal v1\n" + canonical(signed)
        self.hash = hashlib.sha256(self.signed + self.signature).hexdigest()

    def is_signed(self) -> bool:
        """Whether its signature is that of the key it names."""
        return is_signed(self.signed, self.signature, bytes.fromhex(self.key))

    def expected_key(self) -> str:
        """Return the key that signs the next one."""
        return self.next_key or self.key


class Chain:
    """Checks each seal against the one before it, and collects the keys in the order of their use."""

    def __init__(self, report: Report, trust: Trust, signatures: bool = True) -> None:
        self.report, self.trust, self.signatures = report, trust, signatures
        self.last: Seal | None = None
        # (key, number of the first seal under it)
        self.keys: list[tuple[str, int]] = []
        self._is_last_sound = True

    def read(self, line: bytes) -> Seal | None:
        """Parse and check the seal of a line; None, with a finding, where the line holds none."""
        expected = self.last.number + 1 if self.last else 1
        try:
            fields = read_json(line)
            seal = Seal(fields)
            if canonical(fields) != line:
                raise ValueError("it is not in canonical form")
        except ValueError as error:
            self.report.find("Seal %d cannot be read: %s." % (expected, error))
            self._is_last_sound = False
            return None
        self.check(seal)
        return seal

    def check(self, seal: Seal) -> None:
        """Check this seal by itself and against the one before."""
        before = len(self.report.findings)
        is_signed = not self.signatures or seal.is_signed()
        if not is_signed:
            self.report.find("Seal %d is not signed by its key: what it says was edited." % seal.number)
        if self.last is None:
            self._check_first(seal)
        else:
            self._check_next(self.last, seal, is_signed)
        if not self.keys or self.keys[-1][0] != seal.key:
            self.keys.append((seal.key, seal.number))
        if bool(seal.next_key) != (seal.kind == "key"):
            self.report.find("Seal %d is of the kind %s, which does not fit its next key." % (seal.number, seal.kind))
        self._is_last_sound = len(self.report.findings) == before
        self.last = self.report.last = seal
        self.report.seals += 1

    def _check_first(self, seal: Seal) -> None:
        if seal.number != 1:
            self.report.find("Seal 1 is missing: the first one here is seal %d." % seal.number)
        elif seal.previous or seal.epoch != 1 or seal.kind == "restored":
            self.report.find("Seal 1 says that there was one before it.")

    def _check_next(self, last: Seal, seal: Seal, is_signed: bool) -> None:
        find, number = self.report.find, seal.number
        if number == last.number:
            find("Seal %d appears twice." % number)
        elif number < last.number:
            find("Seal %d comes after seal %d: their order was changed." % (number, last.number))
        elif number > last.number + 1:
            missing = "Seal %d is" % (last.number + 1)
            if number > last.number + 2:
                missing = "Seals %d to %d are" % (last.number + 1, number - 1)
            find("%s missing: after seal %d comes seal %d." % (missing, last.number, number))
        elif seal.previous != last.hash and is_signed and self._is_last_sound:
            find("Seal %d does not follow the seal %d that is here: one of them was edited." % (number, last.number))
        if number != last.number + 1:
            return
        if seal.key != last.expected_key():
            self._check_new_key(seal)
        if seal.epoch != last.epoch + (seal.kind == "restored"):
            find(
                "Seal %d says epoch %d, and seal %d before it epoch %d." % (number, seal.epoch, last.number, last.epoch)
            )
        if seal.size < last.size:
            find("Seal %d claims less than the seal before: %d entries, not %d." % (number, seal.size, last.size))
        if seal.kind == "key" and (seal.size, seal.root) != (last.size, last.root):
            find("Seal %d changes the key, and the entries with it." % number)
        if seal.kind == "restored":
            if seal.after_id < last.after_id:
                find("Seal %d begins its epoch before the last one began." % number)
            self.report.note(
                "Seal %d of %s reports a restore: %s. Entries that were made after seal %d and were not in the backup "
                "are not in this ledger." % (number, seal.at[:19], shown(seal.note) or "without a reason", last.number)
            )
            return
        if seal.horizon < last.horizon or seal.after_id != last.after_id:
            find("Seal %d says another horizon than may follow seal %d." % (number, last.number))
        if seal.cluster and last.cluster and seal.cluster != last.cluster:
            find("Seal %d is from a different cluster than seal %d, and reports no restore." % (number, last.number))

    def _check_new_key(self, seal: Seal) -> None:
        named = "Seal %d is signed with the key %s, which no seal before it names" % (
            seal.number,
            fingerprint_of(seal.key),
        )
        if seal.kind == "restored" and self.trust.has(seal.key):
            self.report.note(named + ": it was lost, as the seal says, and you trust this one.")
        else:
            advice = " If the desk lost its key, ask its operator, and trust this one with --key."
            self.report.find(named + ": the key was swapped." + (advice if seal.kind == "restored" else ""))

    def end(self) -> None:
        """Check that one of the trusted keys signed."""
        if self.trust and not any(self.trust.has(key) for key, _ in self.keys):
            last = "by %s" % fingerprint_of(self.keys[-1][0]) if self.keys else "by nobody"
            self.report.find("None of the seals is signed by the key that you trust; they are signed %s." % last)


# --- Entries --------------------------------------------------------------------------------------------------------

_T = rb'"[^"\\\x00-\x1f]*(?:\\(?:["\\bfnrt]|u00(?:0[0-7be]|0f|1[0-9a-f]))[^"\\\x00-\x1f]*)*"'
_UUID = rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


def _entry_form(text: bytes, hashes: bytes) -> re.Pattern[bytes]:
    """Return the canonical form of an entry, which is hashed: each name once, in this order, without spaces."""
    return re.compile(
        rb'\{"action":%(text)b,"actor_id":%(text)b,"actor_kind":%(text)b,"at":"(%(time)b)"'
        rb',"connection":(?:null|0|-?[1-9][0-9]{0,18}),"detail_hashes":\{(%(hashes)b)\},"fingerprint":%(text)b'
        rb',"id":([1-9][0-9]{0,18})(?:,"mac":"[0-9a-f]{64}")?,"message":(?:null|"%(uuid)b")'
        rb'(?:,"outcome":"[a-z_]{1,16}")?,"surface":%(text)b,"trace":%(text)b,"xid":"(0|[1-9][0-9]{0,19})"\}'
        % {b"text": text, b"hashes": hashes, b"time": _TIME.encode(), b"uuid": _UUID}
    )


_ENTRY = _entry_form(_T, rb"(?:" + _T + rb':"[0-9a-f]{64}"(?:,(?=")|(?=\})))*')
# Entries that record a removal, and name the entries whose details were removed.
_REMOVAL = (b'{"action":"ledger.details_removed"', b'{"action":"ledger.details_erased"')
_HASHED = re.compile(rb"(" + _T + rb'):"([0-9a-f]{64})"')


class Item(NamedTuple):
    """One position of the ledger, as it is listed: `line` is None where only the list still has the entry."""

    line: bytes | None
    # Number and leaf hash by the list (details.jsonl, or the leaves of a database); None where it has none.
    number: int | None = None
    leaf: bytes | None = None
    salt: bytes | None = None
    fields: dict[str, str] | None = None


# The same form for texts without escapes, which nearly all entries have, between zero bytes: with the one before it, it
# is what is hashed. The list says what must be in the braces. An entry that records a removal is none of these.
_PLAIN_ENTRY = re.compile(
    rb'(?!\0\{"action":"ledger\.details_)\0%b(?=\0)' % _entry_form(rb'"[ !#-[\]-\xff]*"', rb"[^}]*").pattern
)
_ESCAPED = bytes(set(range(32)) - {10}) + b"\\"


class Record(NamedTuple):
    """What is held in memory of an entry until its seal has been checked."""

    number: int
    xid: int
    hash: bytes | None
    leaf: bytes | None
    # Its time in canonical form, which sorts as time does; empty where it cannot be read.
    at: bytes = b""

    @property
    def best(self) -> bytes:
        """Its leaf hash as listed, or else as computed."""
        return self.leaf or self.hash or EMPTY

    @property
    def is_whole(self) -> bool:
        """Whether it is there and matches the list."""
        return self.hash is not None and self.leaf in (None, self.hash)


def details_of(line: bytes, where: str, report: Report) -> re.Match[bytes] | None:
    """Match an entry's line; None, with a finding, where it is not in canonical form."""
    found = _ENTRY.fullmatch(line)
    if found is not None and (line.isascii() or _is_utf8(line)):
        return found
    try:
        value = read_json(line)
        why = (
            "it is not in canonical form" if isinstance(value, dict) and canonical(value) != line else "it is no entry"
        )
    except (ValueError, RecursionError) as error:
        why = str(error)
    report.find("%s is not as an entry must be: %s." % (where, why))
    return None


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def check_details(number: int, hashes: bytes, item: Item, report: Report) -> None:
    """Compare the details of an entry, where they were not removed, with the hashes in the entry."""
    committed = _HASHED.findall(hashes)
    if len(committed) > 1 and any(one[0] >= other[0] for one, other in zip(committed, committed[1:])):
        report.find("Entry %d names its details twice or in another order than it must." % number)
    if item.salt is None or item.fields is None:
        if item.fields:
            report.find("Entry %d has details without a salt: they are not its own." % number)
        report.without_details += 1
        if committed:
            report.missing.add(number)
        return
    names = {json.loads(name): digest for name, digest in committed}
    if names.keys() != item.fields.keys():
        odd = sorted(names.keys() ^ item.fields.keys())[0]
        word = "lack" if odd in names else "have, and it never had,"
        report.find('The details of entry %d do not fit: they %s "%s".' % (number, word, shown(odd)))
        return
    salt = item.salt + b"\0"
    for name, value in item.fields.items():
        digest = hashlib.sha256(salt + name.encode() + b"\0" + value.encode("utf-8", "surrogatepass")).hexdigest()
        if digest.encode() != names[name]:
            report.find('The details of entry %d do not fit: "%s" was changed.' % (number, shown(name)))


@functools.lru_cache(maxsize=1024)
def _form_of(names: tuple[bytes, ...]) -> tuple[list[tuple[int, bytes]], list[bytes], str] | None:
    """Return what stands between the quotation marks of details with these names, and where; how a name is hashed; and
    a format string of the hashes. None where the names are not sorted, each once.
    """
    if any(map(operator.ge, names, names[1:])):
        return None
    parts = [(0, b"{"), (1, b"fields"), (2, b":{")]
    for place in range(4, 4 * len(names) + 1, 4):
        parts += [(place, b":"), (place + 2, b",")]
    if names:
        parts[-1] = (4 * len(names) + 2, b"")
    hashes = ",".join('"%s":"%%s"' % name.decode("utf-8").replace("%", "%%") for name in names)
    return parts, [b"\0" + name + b"\0" for name in names], hashes


# Places of entries in a block, their numbers, transactions, leaf hashes and times.
Columns = tuple[list[int], list[int], list[int], list[bytes], list[bytes]]


def _fitting(names: tuple[bytes, ...], rows: list[Any]) -> Columns | None:
    """Return entries with details of these names; None where not all are in order."""
    if (form := _form_of(names)) is None:
        return None
    (parts, hashed, form_of_hashes), sha256 = form, hashlib.sha256
    places, leaves, ats, hashes, numbers, xids, details, ends = zip(*rows)
    columns = list(zip(*details))
    if set(map(len, details)) != {parts[-1][0] + 1} or any(columns[at].count(part) < len(rows) for at, part in parts):
        return None
    try:
        salts = [bytes.fromhex(end[-34:-2].decode()) for end in ends]
    except ValueError:
        return None
    for number, leaf, salt, end in zip(numbers, leaves, salts, ends):
        if b'%b,"leaf":"%b","salt":"%b"}' % (number, leaf.hex().encode(), salt.hex().encode()) != end:
            return None
    digests = [
        [sha256(salt + name + text).hexdigest() for salt, text in zip(salts, texts)]
        for name, texts in zip(hashed, columns[5::4])
    ]
    committed = map(form_of_hashes.__mod__, zip(*digests)) if names else itertools.repeat("", len(rows))
    if list(committed) != list(map(bytes.decode, hashes)):
        return None
    return list(places), list(map(int, numbers)), list(map(int, xids)), list(leaves), list(ats)


def is_unescaped(lines: bytes) -> bool:
    """Whether no character but line ends would have to be escaped in a text."""
    return len(lines.translate(None, _ESCAPED)) == len(lines)


# Lines that are looked at together: what is made of them fits into the cache of a processor.
A_LOOK = 250


def look(lines: bytes, listed: bytes) -> list[Columns]:
    """The fast path: return the entries that are in order, given lines of entries.jsonl and of details.jsonl.

    All others are checked again in a slower way that names what is wrong, if anything is.
    """
    if b"\0" in lines:
        return []
    is_plain = is_unescaped(listed) and lines.isascii() and listed.isascii()
    text, every, end = b"\0" + lines.replace(b"\n", b"\0"), listed.split(b"\n")[:-1], 0
    looked: list[Columns] = []
    for first in range(0, len(every), A_LOOK):
        groups: collections.defaultdict[Any, list[Any]] = collections.defaultdict(list)
        for place, details in enumerate(every[first : first + A_LOOK], first):
            start = end
            entry = _PLAIN_ENTRY.match(text, start)
            end = entry.end() if entry else text.find(b"\0", start + 1)
            if end < 0:
                return []
            if entry is None:
                continue
            if not is_plain and not (_is_utf8(text[start:end]) and _is_utf8(details) and is_unescaped(details)):
                continue
            fields, _, rest = details.partition(b'},"id":')
            parts = fields.split(b'"')
            leaf = hashlib.sha256(entry.group()).digest()
            groups[tuple(parts[3::4])].append((place, leaf, *entry.groups(), parts, rest))
        looked += filter(None, itertools.starmap(_fitting, groups.items()))
    return looked if end + 1 == len(text) else []


# Number, transaction and time of a record, and what it stands in order by.
_number_of, _xid_of, _at_of = map(operator.itemgetter, (0, 1, 4))
_order_of = operator.itemgetter(1, 0)


class Numbers:
    """Which numbers were seen, a bit each."""

    def __init__(self) -> None:
        self._pages: collections.defaultdict[int, int] = collections.defaultdict(int)

    def add_new(self, numbers: list[int]) -> bool:
        """Add numbers if none was there already, nor appears twice; return whether they were added."""
        made: dict[int, int] = {}
        for number in numbers:
            page = number >> 8
            made[page] = made.get(page, 0) | 1 << (number & 255)
        if len(set(numbers)) < len(numbers) or any(self._pages[page] & bits for page, bits in made.items()):
            return False
        for page, bits in made.items():
            self._pages[page] |= bits
        return True


# An entry is sealed seconds after it was written; this much later if its transaction was still open when a seal was
# made, or if the clock was corrected.
TOLERANCE = datetime.timedelta(minutes=10)


def window(before: str, after: str) -> tuple[bytes, bytes]:
    """Return the earliest and the latest time of an entry between two seals, given their times; empty for none."""
    times = [datetime.datetime.fromisoformat(at) for at in (before, after) if at]
    first = min(times) - TOLERANCE if before else None
    last = max(times) + TOLERANCE if after else None
    return (
        first.isoformat(timespec="microseconds").encode() if first else b"",
        last.isoformat(timespec="microseconds").encode() if last else b"~",
    )


class Ledger:
    """Compares seals and entries in the order of the tree. Holds the entries of one seal in memory."""

    def __init__(self, report: Report, items: Iterable[Item | list[Record]]) -> None:
        self.report = report
        self._items = iter(items)
        # The next entry, and entries behind it that are in order: none at the end only.
        self._ahead: list[Record] = []
        self._edge = Edge()
        self._position = 0
        self._numbers = Numbers()
        # The seal from which on roots cannot be compared, because of an unexplained difference before it; 0: none.
        self._lost_since = 0
        self._highest = 0
        self._before: Seal | None = None
        self._advance()

    def _advance(self, number: int = 1) -> None:
        """Go on by so many entries of those ahead, and read the next."""
        del self._ahead[:number]
        if self._ahead:
            return
        item = next(self._items, None)
        if isinstance(item, list) and not self._numbers.add_new(list(map(_number_of, item))):
            if len(item) > 1:
                self._items = itertools.chain(([record] for record in item), self._items)
                self._advance()
                return
            self.report.find("Entry %d appears twice." % item[0].number)
        if isinstance(item, Item):
            self._position += 1
            self._ahead.append(self._record(item))
        elif item is not None:
            self._position += len(item)
            self.report.count(len(item))
            self._ahead = item

    @property
    def _next(self) -> Record | None:
        return self._ahead[0] if self._ahead else None

    def _record(self, item: Item) -> Record:
        """Check an entry for everything that may be wrong with it."""
        number, xid, digest, at = item.number or 0, -1, None, b""
        if item.line is None:
            who = "Entry %d" % number if number else "The entry at position %d" % (self._position - 1)
            self.report.find(who + " was removed" + (": its leaf hash is still listed." if item.leaf else "."))
        else:
            self.report.count(1)
            digest = leaf_of(item.line)
            found = details_of(item.line, "Entry %d" % number if number else "Line %d" % self._position, self.report)
            if found is not None:
                at, number, xid = found[1], int(found[3]), int(found[4])
                if not self._numbers.add_new([number]):
                    self.report.find("Entry %d appears twice." % number)
                if item.number not in (None, number):
                    self.report.find("Entry %d is where entry %d should be." % (number, item.number))
                check_details(number, found[2], item, self.report)
                if item.line.startswith(_REMOVAL) and item.fields:
                    self._take_removal(number, item.fields.get("numbers", ""))
        return Record(number, xid, digest, item.leaf, at)

    def _take_removal(self, number: int, text: str) -> None:
        """Collect the entries whose removal of details this one records."""
        try:
            named = Ranges(text)
        except ValueError:
            self.report.find("Entry %d reports a removal without saying whose details." % number)
            return
        if named.runs and max(end for _, end in named.runs) >= number:
            self.report.find("Entry %d reports a removal of later entries." % number)
        self.report.removed.runs += named.runs

    def seal(self, seal: Seal, following: Seal | None) -> None:
        """Take the entries that this seal covers, and compare them with its root."""
        size = self._before.size if self._before else 0
        wanted = max(0, seal.size - size)
        edge, held, released = self._edge, 0, 0
        group: list[Record] = []
        is_restored = seal.kind == "restored"
        # What no seal follows is not sealed yet, and a restore takes what others left behind.
        takes_more = is_restored or (following is not None and following.kind != "restored")
        # What of an entry says that it is certainly under this seal, where it is less than this.
        key, bound = (_number_of, seal.after_id + 1) if is_restored else (_xid_of, seal.horizon)
        while self._next is not None:
            most = self._ahead[: min(wanted - held, MOST_HELD - len(group))] if held < wanted else []
            taken = len(list(itertools.takewhile(bound.__gt__, map(key, most))))
            if not taken:
                is_under = self._is_under(self._next, seal)
                if is_under is False or not (held < wanted or (is_under and takes_more)):
                    break
                taken = 1
            held += taken
            group += self._ahead[:taken]
            if len(group) >= MOST_HELD:
                self._check_order(group, seal)
                edge, group, released = self._release(edge, group[released:]), group[-1:], 1
            self._advance(taken)
        self.report.sealed += held
        self._check_order(group, seal)
        if released:
            self._end_large(seal, self._release(edge, group[released:]), held - wanted)
        else:
            self._end(seal, group, held - wanted)
        self._before = seal

    def _release(self, edge: Edge, group: list[Record]) -> Edge:
        """Release entries of a seal that covers more than fit in memory; return the tree with them."""
        self._report_altered(group)
        return edge.grown(record.best for record in group)

    def _is_under(self, record: Record, seal: Seal) -> bool | None:
        """Whether the entry says by itself that it belongs under this seal, or one before.

        None where it cannot be read or was altered: it goes with those who still miss some.
        """
        if record.xid < 0 or not record.is_whole:
            return None
        return record.number <= seal.after_id if seal.kind == "restored" else record.xid < seal.horizon

    def _check_times(self, group: list[Record], last: Seal | None, seal: Seal | None) -> None:
        """Find entries whose time is not between the seal before and the one over them, if there is one yet."""
        if not group or (seal is not None and seal.kind == "restored"):
            # Entries under a `restored` seal may be much older.
            return
        first, end = window(last.at if last else "", seal.at if seal else "")
        ats = list(map(_at_of, group))
        if first <= min(ats) and max(ats) <= end:
            return
        for record in group:
            if record.at and not first <= record.at <= end:
                over = "under seal %d of %s" % (seal.number, seal.at[:19]) if seal else "not sealed yet"
                after = ", and seal %d before it is of %s" % (last.number, last.at[:19]) if last else ""
                self.report.find(
                    "Entry %d says %s, is %s%s: its time was changed, or it was put in."
                    % (record.number, record.at[:19].decode(), over, after)
                )

    def _check_order(self, group: list[Record], seal: Seal) -> None:
        self._check_times(group, self._before, seal)
        begin = self._before.horizon if self._before and seal.kind == "seal" else 0
        order = list(map(_order_of, group))
        if not order or (order[0][0] >= begin and sorted(order) == order):
            return
        known = [record for record in group if record.xid >= 0]
        for one, other in zip(known, known[1:]):
            if (one.xid, one.number) > (other.xid, other.number):
                self.report.find(
                    "Entry %d is before entry %d under seal %d but was written after it: their order was changed."
                    % (one.number, other.number, seal.number)
                )
        for record in known:
            if record.xid < begin:
                self.report.find(
                    "Entry %d under seal %d is of a transaction that was sealed before: it was put in later."
                    % (record.number, seal.number)
                )

    def _end(self, seal: Seal, group: list[Record], over: int) -> None:
        """Compare the root of a seal; where it differs, find out which entry is the reason."""
        before = self._edge
        if not self._is_explained(seal, group, over):
            self._report_altered(group)
            if over:
                self._report_number(seal, group, over)
            elif not self._lost_since and all(record.is_whole for record in group):
                self.report.find(self._range(seal, group))
            self._edge = before.grown(record.best for record in group)
            self._lost_since = self._lost_since or seal.number
        numbers = [record.number for record in group]
        self._highest = max([self._highest, *numbers])

    def _is_explained(self, seal: Seal, group: list[Record], over: int) -> bool:
        """Compare the root, or look for the one change that makes it fit; go on from the tree as it was sealed."""
        fits = self._fits(seal)
        if fits([record.hash or record.best for record in group]):
            for record in group:
                if record.leaf is not None and record.hash not in (None, record.leaf):
                    self.report.find("Entry %d is as it was sealed, but listed with another leaf hash." % record.number)
            return True
        if self._lost_since:
            return False
        in_order = sorted(group, key=lambda record: (record.xid, record.number))
        # The wrong order is a finding already.
        if fits([record.best for record in group]) or fits([record.best for record in in_order]):
            self._report_altered(group)
            return True
        if over == 1 and len(group) <= MOST_TRIED:
            for index, record in enumerate(group):
                if fits([one.best for one in group[:index] + group[index + 1 :]]):
                    self.report.find(
                        "Entry %d was put in later: seal %d does not cover it." % (record.number, seal.number)
                    )
                    self.report.sealed -= 1
                    return True
        return False

    def _fits(self, seal: Seal) -> Callable[[list[bytes]], bool]:
        before = self._edge

        def fits(leaves: list[bytes]) -> bool:
            grown = before.grown(leaves)
            if grown.size == seal.size and grown.root() == seal.root:
                self._edge, self._lost_since = grown, 0
                return True
            return False

        return fits

    def _end_large(self, seal: Seal, grown: Edge, over: int) -> None:
        self._edge = grown
        if grown.root() == seal.root and grown.size == seal.size:
            self._lost_since = 0
        elif not self._lost_since:
            how = (
                "%d entries too many" % over if over > 0 else "%d entries missing" % -over if over else "other entries"
            )
            self.report.find("Seal %d does not fit the entries under it: %s." % (seal.number, how))
            self._lost_since = seal.number

    def _report_altered(self, group: list[Record]) -> None:
        for record in group:
            if record.hash is not None and not record.is_whole:
                self.report.find("Entry %d was changed: its hash is not the one that was sealed." % record.number)

    def _range(self, seal: Seal, group: list[Record]) -> str:
        numbers = [record.number for record in group if record.number]
        if not numbers:
            return "Seal %d says another root than the tree has: seal %d was edited." % (seal.number, seal.number)
        first, last = min(numbers), max(numbers)
        which = "Entry %d" % first if len(numbers) == 1 else "One of the entries %d to %d" % (first, last)
        return which + " is not as it was sealed, or seal %d over it was edited: the root does not fit." % seal.number

    def _report_number(self, seal: Seal, group: list[Record], over: int) -> None:
        numbers = sorted(record.number for record in group if record.number)
        covers = "Seal %d covers %d entries, and %d are here" % (seal.number, len(group) - over, len(group))
        among = ", among the entries %d to %d" % (numbers[0], numbers[-1]) if numbers else ""
        if over > 0:
            self.report.find("%s: %d put in later%s." % (covers, over, among))
            return
        if self._next is None:
            last = "the last one here is entry %d" % numbers[-1] if numbers else "none of them is here"
            self.report.find("%s: the end was cut off; %s." % (covers, last))
            return
        gone = self._gaps(numbers, -over)
        if not gone:
            among = ", before entry %d" % self._next.number if not numbers else among
        named = " (entry %s is missing)" % ", ".join(map(str, gone)) if gone else among
        self.report.find("%s: %d removed%s." % (covers, -over, named))

    def _gaps(self, numbers: list[int], missing: int) -> list[int]:
        """Return the numbers that are missing in between, if exactly so many are."""
        around = [*numbers, self._next.number] if self._next else numbers
        first = self._highest + 1
        if not around or max(around) - first > len(around) + missing + 100:
            return []
        there = set(around)
        gone = [number for number in range(first, max(around)) if number not in there]
        return gone if len(gone) == missing else []

    def end(self) -> None:
        """Check and count what is not sealed yet."""
        last, before = self._before, (-1, -1)
        while self._next is not None:
            record = self._next
            if last is not None and record.xid >= 0 and (record.xid < last.horizon or record.number <= last.after_id):
                self.report.find(
                    "Entry %d was put in later: no seal covers it, and all of its transaction was under seal %d."
                    % (record.number, last.number)
                )
            if record.xid >= 0 and (record.xid, record.number) < before:
                self.report.find("Entry %d, not sealed yet, is out of order." % record.number)
            self._report_altered([record])
            self._check_times([record], last, None)
            before = (record.xid, record.number)
            self.report.unsealed += 1
            self._advance()
        self._report_missing()
        if self._lost_since:
            self.report.note(
                "From seal %d on entries could not be compared with the roots of their seals, because of what is wrong."
                % self._lost_since
            )

    def _report_missing(self) -> None:
        """Find entries whose details are missing although no removal is recorded."""
        report = self.report
        if report.left_out:
            return
        gone = report.missing.without(report.removed)
        if gone.runs:
            number = sum(last - first + 1 for first, last in gone.runs)
            report.find(
                "The details of %d entries are missing, and no entry tells of their removal: %s."
                % (number, shown(gone))
            )


def check_ledger(
    report: Report,
    items: Iterable[Item | list[Record]],
    seals: Iterable[Seal],
    heads: Heads,
    *,
    excuse_restored: bool = False,
) -> None:
    """Compare entries with seals, in the order of the tree, and seals with the heads saved elsewhere."""
    ledger = Ledger(report, items)
    pending = None
    for seal in seals:
        heads.meet(seal)
        if pending is not None:
            ledger.seal(pending, seal)
        pending = seal
    if pending is not None:
        ledger.seal(pending, None)
    ledger.end()
    heads.end(report, excuse_restored=excuse_restored)


# --- Heads kept outside -----------------------------------------------------------------------------------------------


class Heads:
    """Heads that somebody saved earlier: each must be among the seals."""

    def __init__(self, heads: Iterable[Seal] = ()) -> None:
        self._wanted: dict[int, dict[str, Seal]] = {}
        for head in heads:
            self._wanted.setdefault(head.number, {})[head.hash] = head
        self.number = sum(map(len, self._wanted.values()))
        self._restores: list[Seal] = []
        self._last: Seal | None = None

    @classmethod
    def read(cls, data: bytes) -> Heads:
        """Parse a file or a text: one JSON object, or one a line. An incomplete last line is ignored."""
        if b"\n" not in data.strip():
            return cls([cls._one(data.strip())])
        whole = data if data.endswith(b"}") else data[: data.rfind(b"\n") + 1]
        try:
            return cls([Seal(read_json(whole))])
        except ValueError:
            return cls([cls._one(line) for line in whole.splitlines() if line.strip()])

    @staticmethod
    def _one(line: bytes) -> Seal:
        try:
            return Seal(read_json(line))
        except ValueError as error:
            raise Unreadable("The head kept outside cannot be read: %s." % error) from None

    def meet(self, seal: Seal) -> None:
        """Mark a head that is this seal as found."""
        self._last = seal
        if seal.kind == "restored":
            self._restores.append(seal)
        if seal.number in self._wanted:
            self._wanted[seal.number].pop(seal.hash, None)

    def end(self, report: Report, *, excuse_restored: bool = False) -> None:
        """Report the heads that were not found."""
        for head in [head for number in sorted(self._wanted) for head in self._wanted[number].values()]:
            named = "The head kept outside, seal %d of %s" % (head.number, head.at[:19])
            restored = next((seal for seal in self._restores if seal.at > head.at), None)
            if not head.is_signed():
                report.find(named + ", is not signed by its key: it proves nothing.")
            elif excuse_restored and restored is not None:
                report.note("%s, is from before the restore that seal %d reports." % (named, restored.number))
            elif (self._last is None or head.number > self._last.number) and "" < report.made_at < head.at:
                report.younger.append(
                    "%s, is younger than this bundle, which says that it was made at %s: take a newer bundle."
                    % (named, report.made_at[:19])
                )
            elif self._last is None or head.number > self._last.number:
                here = "seal %d" % self._last.number if self._last else "none"
                report.find("%s, is not here: the end was cut off, for the last seal here is %s." % (named, here))
            else:
                why = " Seal %d reports a restore: older entries are missing." % restored.number if restored else ""
                report.find(
                    "%s, is not the seal %d that is here: what it covers was altered.%s" % (named, head.number, why)
                )


# --- Bundles --------------------------------------------------------------------------------------------------------


# Lines with their ends, and how many these are.
Block = tuple[bytes, int]


class Bundle:
    """The files of a bundle, read as streams: a folder, or a .zip that is never unpacked."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        self._root = ""
        if os.path.isdir(path):
            return
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile, ValueError) as error:
            raise Unreadable("%s cannot be read as a bundle: %s." % (shown(path), error)) from None
        names = self._zip.namelist()
        if len(set(names)) != len(names):
            raise Unreadable("%s holds a file twice." % shown(path))
        roots = {name[: -len("manifest.json")] for name in names if name.rpartition("/")[2] == "manifest.json"}
        if len(roots) != 1:
            raise Unreadable("%s is no bundle: it holds %d files manifest.json." % (shown(path), len(roots)))
        self._root = roots.pop()

    def open(self, name: str) -> BinaryIO:
        """Open one of the files. Other files in the bundle are never read."""
        try:
            if self._zip is not None:
                return self._zip.open(self._root + name)  # type: ignore[return-value]
            path = os.path.join(self.path, name)
            if not stat.S_ISREG(os.lstat(path).st_mode):
                raise Unreadable("%s in the bundle is no file of its own." % name)
            return open(path, "rb")
        except (OSError, KeyError, RuntimeError, NotImplementedError, zipfile.BadZipFile):
            raise Unreadable("%s is missing in the bundle, or cannot be read." % name) from None

    def lines(self, name: str, report: Report) -> Iterator[bytes]:
        """Yield the lines of a file, without their ends."""
        return (line[:-1] for line, _ in self.blocks(name, report, 1))

    def blocks(self, name: str, report: Report, most: int) -> Iterator[Block]:
        """Yield the lines of a file, so many at a time."""
        parts: list[bytes] = []
        number = unfinished = 0
        with self.open(name) as file:
            while data := self._read(name, file):
                begin = end = 0
                while (found := data.find(b"\n", end) + 1) > 0:
                    number, end = number + 1, found
                    if number == most:
                        yield b"".join([*parts, data[begin:end]]), number
                        begin, number, parts = end, 0, []
                parts.append(data[begin:])
                unfinished = len(data) - end if end else unfinished + len(data)
                if unfinished > LONGEST_LINE:
                    raise Unreadable("%s has a line that is too long to be one of a ledger." % name)
        if unfinished:
            report.find("%s ends within a line: its end was cut off." % name)
            parts, number = [*parts, b"\n"], number + 1
        if number:
            yield b"".join(parts), number

    @staticmethod
    def _read(name: str, file: BinaryIO) -> bytes:
        try:
            return file.read(A_READ)
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise Unreadable("%s breaks off: %s." % (name, error)) from None

    def json(self, name: str, report: Report) -> dict[str, Any]:
        """Parse a small file; return nothing, with a finding, where it is no JSON object."""
        with self.open(name) as file:
            data = file.read(LONGEST_LINE)
        try:
            value = read_json(data)
            if not isinstance(value, dict):
                raise ValueError("it is no object")
        except ValueError as error:
            report.find("%s is not what it must be: %s." % (name, error))
            return {}
        return value


_DETAILS = re.compile(
    rb'\{"fields":(\{.*\}),"id":([1-9][0-9]{0,18}),"leaf":"([0-9a-f]{64})","salt":(?:null|"((?:[0-9a-f]{2})*)")\}'
)


def _listed(line: bytes, line_number: int, report: Report) -> Item:
    """Parse a line of details.jsonl."""
    found = _DETAILS.fullmatch(line)
    try:
        if found is None:
            raise ValueError("it does not have the fields that it must")
        fields = read_json(found[1]) if found[1] != b"{}" else {}
        if not all(type(value) is str for value in fields.values()):
            raise ValueError("its details are no texts")
        salt = None if found[4] is None else found[4].decode()
        number, leaf = int(found[2]), found[3].decode()
        if canonical({"fields": fields, "id": number, "leaf": leaf, "salt": salt}) != line:
            raise ValueError("it is not in canonical form")
    except (ValueError, AttributeError) as error:
        report.find("Line %d of details.jsonl is not what it must be: %s." % (line_number, error))
        return Item(None)
    return Item(None, number, bytes.fromhex(leaf), None if salt is None else bytes.fromhex(salt), fields)


_NUMBER_IN = re.compile(rb'"id":([1-9][0-9]{0,18}),"(?:mac|message)":')


def _number_in(line: bytes) -> int | None:
    """Return the number of an entry, read without parsing all of the line."""
    found = _NUMBER_IN.search(line)
    return int(found[1]) if found else None


def _name_of(line: bytes, report: Report) -> str:
    """Name an entry by its number, or where a line has none, by the number of the line."""
    number = _number_in(line)
    return "Entry %d" % number if number else "Line %d of entries.jsonl" % (report.entries + 1)


# Lines in a block, and blocks after which other processes help.
A_BLOCK, FEW_BLOCKS = 4000, 2
LISTS = ("entries.jsonl", "details.jsonl")


def _help(ours: Connection, theirs: Connection) -> None:
    """Look at blocks for another process. `theirs` is that process's end, which must not stay open here."""
    theirs.close()
    gc.disable()
    try:
        while True:
            ours.send(look(ours.recv_bytes(), ours.recv_bytes()))
    except (OSError, EOFError):
        return


def _looked(bundle: Bundle, report: Report, workers: int) -> Iterator[tuple[Block, Block, list[Columns]]]:
    """Yield the lines of entries and details in blocks, each with what the fast path found."""
    files, nothing = [bundle.blocks(name, report, A_BLOCK) for name in LISTS], (b"", 0)
    waiting: collections.deque[Any] = collections.deque()
    helpers: list[Connection] = []
    try:
        for number in itertools.count():
            blocks = [next(file, nothing) for file in files]
            if blocks == [nothing, nothing]:
                break
            if number == FEW_BLOCKS and workers > 1:
                # One more than run at once, because each waits for its next block.
                helpers = [_helper() for _ in range(workers + 1)]
            if not helpers:
                yield _answered(blocks[0], blocks[1], None)
                continue
            # A helper has one block at a time: with more, both sides could wait for the other to receive.
            answered = _answered(*waiting.popleft()) if len(waiting) == len(helpers) else None
            asked = helpers[number % len(helpers)]
            with contextlib.suppress(OSError):
                for data, _ in blocks:
                    asked.send_bytes(data)
            waiting.append((*blocks, asked))
            if answered:
                yield answered
        yield from itertools.starmap(_answered, waiting)
    finally:
        for asked in helpers:
            asked.close()


def _answered(one: Block, other: Block, asked: Connection | None) -> tuple[Block, Block, list[Columns]]:
    if asked:
        # A helper that was ended is done without.
        with contextlib.suppress(EOFError, OSError):
            return one, other, asked.recv()
    return one, other, look(one[0], other[0])


def _helper() -> Connection:
    """Start a process that helps."""
    ours, theirs = multiprocessing.Pipe()
    multiprocessing.Process(target=_help, args=(theirs, ours), daemon=True).start()
    theirs.close()
    return ours


def _records(number: int, found: Iterable[Columns]) -> list[Record | None]:
    """Return the entries of a block by their places, None for those that are not in order."""
    records: list[Record | None] = [None] * number
    made = functools.partial(tuple.__new__, Record)
    for places, numbers, xids, leaves, ats in found:
        for place, record in zip(places, map(made, zip(numbers, xids, leaves, itertools.repeat(None), ats))):
            records[place] = record
    return records


def items_of(bundle: Bundle, report: Report, workers: int = 1) -> Iterator[Item | list[Record]]:
    """Yield entries with their details; where the two files do not match, find whose line is missing."""
    lines: collections.deque[bytes] = collections.deque()
    listed: collections.deque[bytes] = collections.deque()
    records: collections.deque[Record | None] = collections.deque()
    for (one, number), (other, of_list), found in _looked(bundle, report, workers):
        looked = _records(number, found)
        if not lines and not listed and number == of_list and None not in looked:
            yield looked  # type: ignore[misc]
            continue
        if len(records) == len(lines) == len(listed) and number == of_list:
            records.extend(looked)
        lines.extend(one.split(b"\n")[:-1])
        listed.extend(other.split(b"\n")[:-1])
        yield from _unbatched(lines, listed, records, report, ahead=2)
    yield from _unbatched(lines, listed, records, report, ahead=0)


def _unbatched(
    lines: collections.deque[bytes],
    listed: collections.deque[bytes],
    records: collections.deque[Record | None],
    report: Report,
    *,
    ahead: int,
) -> Iterator[Item | list[Record]]:
    """Yield entries with their details line by line, as long as `ahead` more lines are there."""
    seen: dict[bytes, Item] = {}

    def item_of(details: bytes) -> Item:
        """Parse a line of the list once, though it may be read ahead."""
        if details not in seen:
            if len(seen) > 3:
                seen.clear()
            seen[details] = _listed(details, report.entries + 1, report)
        return seen[details]

    while len(lines) > ahead and len(listed) > ahead:
        line, details = lines.popleft(), listed.popleft()
        record = records.popleft() if records else _records(1, look(line + b"\n", details + b"\n"))[0]
        if record is not None:
            yield [record]
            continue
        item, number = item_of(details), _number_in(line)
        if item.number in (None, number):
            yield item._replace(line=line)
            continue
        # What was looked at together may no longer stand side by side.
        records.clear()
        swapped = bool(lines) and _number_in(lines[0]) == item.number
        if listed and item_of(listed[0]).number == number:
            if swapped:
                yield item_of(listed.popleft())._replace(line=line)
                yield item._replace(line=lines.popleft())
            else:
                yield item
                lines.appendleft(line)
        elif swapped:
            report.find(_name_of(line, report) + " was put in later: details.jsonl does not list it.")
            yield Item(line)
            listed.appendleft(details)
        else:
            yield item._replace(line=line)
    while ahead == 0 and lines:
        report.find(_name_of(lines[0], report) + " has no line in details.jsonl.")
        yield Item(lines.popleft())
    while ahead == 0 and listed:
        yield item_of(listed.popleft())


def _seals_of(lines: Iterable[bytes], chain: Chain) -> Iterator[Seal]:
    for line in lines:
        seal = chain.read(line)
        if seal is not None:
            yield seal


def check_bundle(
    path: str,
    trust: Trust | None = None,
    heads: Heads | None = None,
    *,
    signatures: bool = True,
    progress: Callable[[int], None] | None = None,
    workers: int = 1,
) -> Report:
    """Check one bundle. Raises Unreadable where it is none."""
    bundle, report = Bundle(path), Report(progress)
    manifest = bundle.json("manifest.json", report)
    report.left_out = manifest.get("details") == "left out"
    made_at = str(manifest.get("made_at"))
    report.made_at = made_at if re.fullmatch(_TIME, made_at) else ""
    chain = Chain(report, trust or Trust(), signatures)
    seals = _seals_of(bundle.lines("seals.jsonl", report), chain)
    check_ledger(report, items_of(bundle, report, workers), seals, heads or Heads())
    chain.end()
    _check_manifest(manifest, report)
    _check_keys(bundle.json("keys.json", report), chain, report)
    return report


def _check_manifest(manifest: dict[str, Any], report: Report) -> None:
    size, root = (report.last.size, report.last.root) if report.last else (0, EMPTY.hex())
    found = {
        "entries": report.entries,
        "seals": report.seals,
        "size": size,
        "root": root,
        "unsealed": max(0, report.entries - size),
    }
    others = sorted(set(manifest) - set(found) - {"details"})
    if others:
        report.note("No seal covers what manifest.json says of %s." % ", ".join(map(shown, others)))
    for name, value in found.items():
        claimed = manifest.get(name)
        if type(claimed) is not type(value) or claimed != value:
            report.find('manifest.json lies: "%s" is %s there, and %s here.' % (name, shown(claimed), value))


def _check_keys(keys: dict[str, Any], chain: Chain, report: Report) -> None:
    found = [{"key": key, "fingerprint": fingerprint_of(key), "first_seal": number} for key, number in chain.keys]
    if keys.get("keys") != found:
        report.find("keys.json does not hold the keys that signed, in the order of their use.")


def check_same(old: str, new: str, trust: Trust | None = None, **options: Any) -> tuple[Report, Report]:
    """Check two bundles, and that the newer one begins as the older one ends."""
    first, second = check_bundle(old, trust, **options), check_bundle(new, trust, **options)
    silent, find = Report(), second.find
    pairs = itertools.zip_longest(
        Bundle(old).lines("seals.jsonl", silent), Bundle(new).lines("seals.jsonl", silent), fillvalue=b""
    )
    for number, (before, after) in enumerate(pairs, start=1):
        if not before:
            break
        if not after:
            find("Seal %d of the older bundle is not in the newer one: the end was cut off." % number)
            break
        if before != after:
            find("Seal %d is not the same in both bundles: they tell two histories." % number)
            break
    size = first.last.size if first.last else 0
    rest = {leaf_of(line): line for line in itertools.islice(Bundle(old).lines("entries.jsonl", silent), size, None)}
    for line in Bundle(new).lines("entries.jsonl", silent) if rest else ():
        rest.pop(leaf_of(line), None)
    for line in rest.values():
        find(_name_of(line, first) + ", not sealed yet in the older bundle, is not in the newer one as it was.")
    return first, second


# --- Proofs ---------------------------------------------------------------------------------------------------------

_PACKED = re.compile(rb"-----BEGIN COUNTERSIGN PROOF-----([A-Za-z0-9+/=\s>]*)-----END COUNTERSIGN PROOF-----")


_IN_PAGE = re.compile(rb'<script type="application/json" id="countersign-proof">([^<]*)</script>')


def unpack(data: bytes) -> bytes:
    """Return the JSON of a proof: of a JSON file, a page that checks itself, or the block in a text or an e-mail."""
    if data.lstrip()[:1] == b"{":
        return data
    in_page = _IN_PAGE.search(data)
    if in_page is not None:
        return in_page[1]
    # In the file as it is, or else in the decoded parts of an e-mail.
    parts = (part for part in email.message_from_bytes(data, policy=email.policy.default).walk())
    texts = (part.get_payload(decode=True) or b"" for part in parts if not part.is_multipart())
    is_damaged = False
    for text in itertools.chain([data], texts):
        found = _PACKED.search(text)  # type: ignore[arg-type]
        if found is None:
            continue
        unpacking = zlib.decompressobj()
        try:
            packed = base64.b64decode(re.sub(rb"[\s>]", b"", found[1]), validate=True)
            unpacked = unpacking.decompress(packed, LARGEST_FILE)
        except (zlib.error, binascii.Error, ValueError):
            is_damaged = True
            continue
        if unpacking.unconsumed_tail or not unpacking.eof:
            raise Unreadable("The proof is damaged: it is too large, or breaks off.")
        return unpacked
    raise Unreadable(
        "The proof is damaged: it cannot be unpacked." if is_damaged else "There is no proof in this file."
    )


def _head_of(value: Any, report: Report, trust: Trust, signatures: bool) -> Seal:
    try:
        seal = Seal(value)
    except ValueError as error:
        raise Unreadable("The seal in the proof cannot be read: %s." % error) from None
    report.last = seal
    report.seals += 1
    if signatures and not seal.is_signed():
        report.find("Seal %d is not signed by its key: what it says was edited." % seal.number)
    if trust and not trust.has(seal.key):
        report.find(
            "Seal %d is signed by %s, which is not the key that you trust." % (seal.number, fingerprint_of(seal.key))
        )
    return seal


class Proof(NamedTuple):
    """A checked proof: its kind, the report, and lines that describe it."""

    kind: str
    report: Report
    lines: list[str]


def check_proof(data: bytes, trust: Trust | None = None, *, signatures: bool = True) -> Proof:
    """Check a proof of one message or of consistency. Raises Unreadable where it is none."""
    try:
        claims = read_json(unpack(data))
    except ValueError as error:
        raise Unreadable("The proof cannot be read: %s." % error) from None
    report, trust = Report(), trust or Trust()
    kind = claims.get("kind") if isinstance(claims, dict) and claims.get("v") == 1 else None
    try:
        if kind == "message":
            return Proof(kind, report, _check_message(claims, report, trust, signatures))
        if kind == "consistency":
            return Proof(kind, report, _check_consistency(claims, report, trust, signatures))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        raise Unreadable("The proof does not have the form that it must have.") from None
    raise Unreadable("This is no proof that this verifier knows.")


def _check_consistency(claims: dict[str, Any], report: Report, trust: Trust, signatures: bool) -> list[str]:
    first = _head_of(claims["first"], report, trust, signatures)
    second = _head_of(claims["second"], report, trust, signatures)
    path = [_hash(text) for text in claims["path"]]
    if first.number > second.number or (first.number == second.number and first.hash != second.hash):
        report.find("Seal %d does not come before seal %d." % (first.number, second.number))
    if not is_consistent(first.size, second.size, first.root, second.root, path):
        report.find("Seal %d does not begin as seal %d says: these are two histories." % (second.number, first.number))
    if first.key != second.key:
        report.note("The two seals are signed with two keys; only a bundle shows how one follows the other.")
    named = "seal %d of %s over %d entries"
    return [
        "The first is " + named % (first.number, first.at[:19], first.size) + ".",
        "The second is " + named % (second.number, second.at[:19], second.size) + ".",
    ]


def _hash(text: Any) -> bytes:
    if not isinstance(text, str) or not re.fullmatch(_HEX, text):
        raise ValueError("no hash")
    return bytes.fromhex(text)


def _check_message(claims: dict[str, Any], report: Report, trust: Trust, signatures: bool) -> list[str]:
    seal = _head_of(claims["seal"], report, trust, signatures)
    leaves: dict[int, bytes] = {}
    lines, last = [], -1
    for one in claims["entries"]:
        position, line = one["position"], one["entry"].encode("utf-8")
        if type(position) is not int or not last < position < seal.size:
            raise ValueError("no position")
        leaves[position], last = leaf_of(line), position
        report.count(1)
        found = details_of(line, "The entry at position %d" % position, report)
        if found is None:
            continue
        entry, number = read_json(line), int(found[3])
        if entry["message"] != claims["message"]:
            report.find("Entry %d is about another message." % number)
        salt = None if one["salt"] is None else bytes.fromhex(one["salt"])
        check_details(number, found[2], Item(line, number, None, salt, one["fields"]), report)
        what = (number, entry["at"][:19], entry["action"], entry["actor_kind"], entry["actor_id"], entry["surface"])
        lines.append("Entry %d, %s UTC: %s by %s %s through %s." % (*what[:2], *map(shown, what[2:])))
        lines += ["    %s: %s" % (shown(name), shown(value)) for name, value in sorted((one["fields"] or {}).items())]
    nodes = {}
    for level, index, text in claims["nodes"]:
        if type(level) is not int or type(index) is not int or (level, index) in nodes:
            raise ValueError("no node")
        nodes[level, index] = _hash(text)
    if not leaves:
        report.find("The proof names no entry.")
        return lines
    try:
        root, used = root_from(leaves, nodes, seal.size)
    except (ValueError, RecursionError) as error:
        report.find("The proof does not lead to seal %d: %s." % (seal.number, error))
        return lines
    if root != seal.root or used != len(nodes):
        report.find(
            "The entries are not those that seal %d covers: their hashes do not lead to its root." % seal.number
        )
    report.sealed = len(leaves)
    return lines


# --- The command ----------------------------------------------------------------------------------------------------


def _result_lines(report: Report, trust: Trust, *, has_head: bool, what: str) -> list[str]:
    """Return the lines of the result: findings, notes, and what was not checked."""
    lines = ["PROBLEM: " + shown(sentence) for sentence in report.findings]
    if report.more:
        lines.append("... and %d more." % report.more)
    lines += ["Note: " + shown(sentence) for sentence in report.notes]
    lines.append(("Verified: " if not report.findings else "Verification FAILED: ") + what)
    if report.last:
        lines.append(
            "The last seal is number %d of %s UTC, signed with the key %s."
            % (report.last.number, report.last.at[:19], fingerprint_of(report.last.key))
        )
        if not trust:
            lines.append(
                "NOT checked: whether that key is the desk's. Compare it with what the desk shows, or give --key."
            )
    if report.unsealed:
        lines.append("NOT checked: %d entries not sealed yet, protected only by permissions." % report.unsealed)
    if report.without_details:
        explained = report.missing.without(report.missing.without(report.removed))
        why = "this bundle leaves them out" if report.left_out else "entries record the removal of %s" % explained
        lines.append("%d entries are without their details: %s." % (report.without_details, why))
    lines += ["NOT checked: " + shown(sentence) for sentence in report.younger]
    if not has_head:
        lines.append(
            "NOT checked: whether the end is there. A cut-off end can only be found with a head kept outside (--head)."
        )
    return lines


def _progress(began: float) -> Callable[[int], None]:
    def report_progress(entries: int) -> None:
        if sys.stderr.isatty() or entries % 100_000 == 0:
            sys.stderr.write("%d entries, %.0f s\n" % (entries, time.monotonic() - began))

    return report_progress


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise Unreadable("%s cannot be read: %s." % (shown(path), error.strerror)) from None
    if len(data) > LARGEST_FILE:
        raise Unreadable("%s is too large." % shown(path))
    return data


def _heads(values: list[str]) -> Heads:
    return Heads.read(b"\n".join((one.encode() if one.lstrip()[:1] == "{" else _read(one)).strip() for one in values))


def _run(options: argparse.Namespace) -> int:
    trust = Trust(options.key)
    signatures = not options.no_signatures
    has_head = bool(options.head)
    progress = _progress(time.monotonic())
    # More would only wait for the process that puts the results together.
    workers = min(os.cpu_count() or 1, 4)
    if options.same:
        first, report = check_same(
            options.same[0], options.same[1], trust, signatures=signatures, progress=progress, workers=workers
        )
        report.findings = ["(older bundle) " + sentence for sentence in first.findings] + report.findings
        what = "the newer bundle holds all that the older one held." if not report.findings else "see above."
    elif os.path.isdir(options.path) or zipfile.is_zipfile(options.path):
        heads = _heads(options.head) if options.head else None
        report = check_bundle(options.path, trust, heads, signatures=signatures, progress=progress, workers=workers)
        what = "%d entries, %d of them under %d seals." % (report.entries, report.sealed, report.seals)
    else:
        proof = check_proof(_read(options.path), trust, signatures=signatures)
        report, has_head = proof.report, True
        sys.stdout.write("".join(line + "\n" for line in proof.lines))
        what = (
            "the second seal continues the first."
            if proof.kind == "consistency"
            else ("%d entries are in the ledger unchanged." % report.entries)
        )
        what += "" if proof.kind == "consistency" else " NOT checked: whether these are all about this message."
    lines = _result_lines(report, trust, has_head=has_head, what=what)
    unsigned = not signatures or report.last is None
    if unsigned:
        lines.append("signatures NOT checked")
    sys.stdout.write("".join(line + "\n" for line in lines))
    return 1 if report.findings else 3 if unsigned else 4 if report.younger else 0


def main(arguments: list[str] | None = None) -> int:
    """Run the command, and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?", help="a bundle or a proof")
    parser.add_argument("--same", nargs=2, metavar=("OLD", "NEW"), help="two bundles")
    parser.add_argument("--head", action="append", default=[], help="a file of heads kept outside, or the JSON of one")
    parser.add_argument("--key", action="append", default=[], help="fingerprint or hex of the key to trust")
    parser.add_argument("--no-signatures", action="store_true", help="leave the signatures out")
    options = parser.parse_args(arguments)
    if bool(options.path) == bool(options.same):
        parser.error("name one bundle, one proof, or two bundles with --same")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    # Nothing here refers to itself, and looking for it would take as long as the rest.
    gc.disable()
    try:
        return _run(options)
    except Unreadable as error:
        sys.stderr.write("Cannot be read: %s\n" % error)
        return 2


if __name__ == "__main__":
    sys.exit(main())
