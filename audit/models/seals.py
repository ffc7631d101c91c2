"""Seals over the ledger: signed heads of one RFC 9162 tree, and where each entry stands in it. Rows are only added.

docs/ledger.md describes what is signed, byte by byte.
"""

from django.db import models
from django.db.models.functions import Now

from audit.fields import TransactionIdField

# Leaves under one kept hash: a power of two, so that a block is a whole subtree wherever the tree ends.
BLOCK = 256


class Seal(models.Model):
    """A signed statement: so many entries, in this order, and no others before this horizon."""

    class Kind(models.TextChoices):
        SEAL = "seal", "Seal"
        # The first after the database came from a backup: says where the ledger goes on.
        RESTORED = "restored", "Restored"
        # Signed with the key that leaves, and names the one that comes.
        KEY = "key", "Key"

    number = models.BigIntegerField(primary_key=True)
    kind = models.CharField(max_length=8, choices=Kind, default=Kind.SEAL)
    # Counts the restores. Transaction ids are only comparable within one.
    epoch = models.PositiveIntegerField(default=1)
    # How many leaves the tree has, and the hash over them.
    size = models.BigIntegerField()
    root = models.CharField(max_length=64)
    # SHA-256 over what the seal before signed and its signature; empty for the first.
    previous = models.CharField(max_length=64, blank=True)
    # Every entry of this epoch with a transaction id below this is in the tree.
    horizon = TransactionIdField()
    # Entries up to this number belong to earlier epochs.
    after_id = models.BigIntegerField(default=0)
    # The database cluster's own identifier; another one means that the ledger was restored elsewhere.
    cluster = models.CharField(max_length=32, blank=True)
    at = models.DateTimeField()
    # The raw public key, 32 bytes in hex, and the one that follows it where the kind says so.
    key = models.CharField(max_length=64)
    next_key = models.CharField(max_length=64, blank=True)
    note = models.TextField(blank=True)
    signature = models.CharField(max_length=128)

    def __str__(self) -> str:
        return f"{self.kind} {self.number} over {self.size}"


class Leaf(models.Model):
    """Where an entry stands in the tree, from 0, and its leaf hash as it was when it was sealed."""

    position = models.BigIntegerField(primary_key=True)
    entry = models.BigIntegerField(unique=True)
    seal = models.BigIntegerField()
    hash = models.BinaryField()

    def __str__(self) -> str:
        return f"leaf {self.position}"


class Block(models.Model):
    """The hash over one whole block of leaves, so that no proof has to read the ledger from its beginning."""

    number = models.BigIntegerField(primary_key=True)
    hash = models.BinaryField()

    def __str__(self) -> str:
        return f"block {self.number}"


class Anchor(models.Model):
    """Where a seal was written outside the database, by which a cut tail is found."""

    class Kind(models.TextChoices):
        FILE = "file", "File"
        DISCORD = "discord", "Discord"

    seal = models.BigIntegerField(db_index=True)
    kind = models.CharField(max_length=8, choices=Kind)
    # The file's name or the destination's, and what it is found by there.
    place = models.CharField(max_length=200)
    reference = models.CharField(max_length=64, blank=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        # The newest of each place, however many there are.
        indexes = [models.Index(fields=["kind", "place", "seal"], name="anchor_place")]

    def __str__(self) -> str:
        return f"{self.kind} of seal {self.seal}"
