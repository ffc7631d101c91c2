"""Appends entries to the ledger, seals them and verifies all seals, for tests.

It verifies with the product's verifier, which is itself tested with tests/bundles.py.
"""

import base64
import hashlib
import os
from contextlib import contextmanager

import psycopg
from django.db import connection, transaction
from django.test import override_settings

from audit.models import Entry, EntryDetail, Seal, SealedEntry
from audit.recording import record
from audit.retention import list_details_of, remove_listed
from audit.sealing.sealer import Batch
from audit.sealing.signing import check_end, latest_seal
from audit.trail import lines
from audit.verification.checks import check_database
from common.actors import worker
from common.postgres import clock, cluster_id

ACTOR = worker("test")


def new_key():
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


def append(number=1, **says):
    """Append this many entries, each in its own transaction, and return them."""
    made = []
    for _ in range(number):
        with transaction.atomic():
            made.append(
                record(
                    "message.opened", actor=ACTOR, details={"reason": "tested"}, **says
                )
            )
    return made


def latest_details(action):
    """Return the details of the latest entry of an action."""
    return EntryDetail.objects.filter(entry__action=action).latest("entry").fields


def all_details():
    """Return the details of all entries, as one text."""
    return " ".join(
        str(fields) for fields in EntryDetail.objects.values_list("fields", flat=True)
    )


def lines_of(action):
    """Return the lines of the trail about an action, the oldest first."""
    return lines(Entry.objects.of_action(action).oldest_first())


def seal_here(**of):
    """Seal the unsealed entries that match these fields, in the test's transaction. The
    sealer itself would wait for the end of that transaction.
    """
    with override_settings(
        SEAL_KEYS=[base64.urlsafe_b64encode(bytes(range(32))).decode()]
    ):
        last = latest_seal()
        check_end(last)
        batch = Batch(last)
        known = SealedEntry.objects.values("entry")
        batch.take(
            list(Entry.objects.filter(**of).exclude(pk__in=known).order_by("xid", "id"))
        )
        return batch.seal(at=clock(), cluster=cluster_id())


def erase_here(message):
    """Remove the details of one message in the test's transaction."""
    list_details_of(message, because="asked for", actor=ACTOR)
    seal_here(action="ledger.details_erased")
    remove_listed()


@contextmanager
def another_session(**options):
    """Open a second database session in the application's role."""
    settings = connection.get_connection_params()
    keep = {
        name: settings[name]
        for name in ("dbname", "user", "password", "host", "port")
        if settings.get(name)
    }
    with psycopg.connect(**keep, **options) as session:
        yield session


def as_superuser(sql, parameters=()):
    """Run SQL with all triggers switched off, to alter what the application cannot, and
    return how many rows it altered. Tests are superusers of the database.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = 'replica'")
        cursor.execute(sql, parameters)
        return cursor.rowcount


def batch_hash(hashes):
    return hashlib.sha256(b"".join(hashes)).hexdigest()


def check_chain():
    """Check all seals and entries with the auditors' verifier; return the seals."""
    if findings := check_database().findings:
        raise AssertionError(findings)
    return list(Seal.objects.order_by("number"))
