"""Appending: the database gives the position, and three statements write the entry with
its details.
"""

from django.db import transaction
from hypothesis import given
from hypothesis import strategies as st

from audit.models import Entry, EntryDetail
from audit.recording import detail_hash, entry_hash, record
from common.actors import Actor
from common.logs import trace_id
from tests.ledger import ACTOR

TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20
)


def _check(entry):
    stored = Entry.objects.get(pk=entry.pk)
    assert stored.hash == entry.hash == entry_hash(stored)
    assert stored.xid == entry.xid
    assert stored.at == entry.at
    detail = EntryDetail.objects.get(pk=entry.pk)
    hashes = {
        name: detail_hash(bytes(detail.salt), name, text)
        for name, text in detail.fields.items()
    }
    assert stored.detail_hashes == entry.detail_hashes == hashes
    return stored


@given(
    st.one_of(TEXTS, st.sampled_from(["\\", "%s", "'", "}{", "\\x00", "::text"])),
    st.dictionaries(TEXTS, TEXTS, max_size=3),
    st.booleans(),
    st.uuids(),
)
def test_hash_is_that_of_the_stored_columns(text, details, has_message, message):
    actor = Actor(kind="person", id=text, label=text, surface="web", address=text)
    token = trace_id.set(text)
    try:
        entry = record(
            "message.opened",
            actor=actor,
            connection=7 if has_message else None,
            message=message if has_message else None,
            fingerprint="f" * 64,
            details=details,
        )
    finally:
        trace_id.reset(token)
    assert _check(entry).actor_id == text


def test_entries_of_one_transaction_have_its_id_rising_numbers_and_a_salt_each():
    details = {"text": "the same words", "to": "", "cc": "a\0b"}
    with transaction.atomic():
        first, second = (
            record("message.opened", actor=ACTOR, details=details) for _ in range(2)
        )
    assert first.xid == second.xid
    assert first.pk < second.pk
    # Empty values are left out, and PostgreSQL stores no NUL characters.
    assert first.details == {
        "actor": ACTOR.label,
        "text": "the same words",
        "cc": "a\ufffdb",
    }
    assert first.detail_hashes["text"] != second.detail_hashes["text"], (
        "the same words look alike"
    )
    assert [len(bytes(one.salt)) for one in EntryDetail.objects.all()] == [16, 16]
