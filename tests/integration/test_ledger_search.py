"""Ledger search: by every field, by words, in the person's time zone, and within the
visible scope.
"""

import json
import re
import uuid
from datetime import UTC
from unittest import mock

import pytest
from django.db import connection as database

from audit import recording
from audit.models import Entry, EntryDetail
from audit.recording import are_found_by, found_by, record
from audit.search import results
from audit.search.filters import Filters
from common.actors import Actor, Role, Scope
from common.fingerprint import short_fingerprint
from common.logs import trace_id
from common.words import CONTENT
from tests.factories import make_connection, make_message, make_person

ANA = Actor(
    kind="person", id="71", label="Ana Ferreira", surface="web", address="10.0.0.7"
)
AUDITOR = Actor("person", "73", "", "web", scopes=(Scope(Role.AUDITOR),))
BEN = Actor(kind="person", id="72", label="Ben Okafor", surface="discord")


@pytest.fixture
def desk(signed_in, auditor):
    return signed_in(auditor)


def write(action="comment.added", *, by=ANA, at=None, **fields):
    """Write an entry, at this time if there is one."""
    if not at:
        return record(action, actor=by, **fields)
    number, xid, _ = recording.next_position()
    position = (number, xid, at)
    with mock.patch.object(recording, "next_position", return_value=position):
        return record(action, actor=by, **fields)


def found(query, actor=AUDITOR):
    """The numbers of the entries that a search finds, newest first."""
    matching = results.readable(actor, Filters.from_query(query, UTC))
    return list(matching.newest_first().values_list("pk", flat=True))


@pytest.fixture(params=[0, 20_000])
def either_way(request, monkeypatch):
    """Words are looked up first where they are rare, and last where they are not."""
    monkeypatch.setattr(results, "RARE", request.param)


@pytest.mark.usefixtures("either_way")
def test_every_field_finds_its_entries_and_no_others():
    message = uuid.uuid4()
    fingerprint = "3bc6a0a582982ed" + "0" * 49
    short = short_fingerprint(fingerprint)
    token = trace_id.set("0af7651916cd43dd")
    one = write(
        "verdict.given",
        by=BEN,
        connection=4,
        message=message,
        fingerprint=fingerprint,
        details={"text": "Amount wrong"},
        words=[(CONTENT, fingerprint), (CONTENT, short), (CONTENT, "7F3A19C2K0QD")],
    ).pk
    trace_id.reset(token)
    write(
        "policy.activated",
        by=ANA,
        connection=5,
        message=uuid.uuid4(),
        fingerprint="9" * 64,
        details={"text": "Amount right"},
    )
    queries = (
        "action=verdict.given", "action=decisions", "actor=person/72", "by=okafor", "surface=discord", "connection=4",
        f"message={message}", "fingerprint=7F3A-19C2-K0QD", "fingerprint=7f3a19c2", f"fingerprint={fingerprint}",
        "trace=0af7651916cd43dd", "q=amount wro&action=decisions&actor=person/72&connection=4&surface=discord",
    )  # fmt: skip
    assert {query: found(query) for query in queries} == {
        query: [one] for query in queries
    }


@pytest.mark.usefixtures("either_way")
def test_part_of_a_word_finds_an_entry_where_words_have_no_blanks():
    details = {"text": "请查收附件中的发票"}
    one = write(details=details)
    assert found("q=发票") == found("q=附件 发票") == [one.pk]
    assert found("q=发附") == []
    stored = EntryDetail.objects.get(pk=one.pk).words
    assert are_found_by(stored, details)
    # As before such parts were stored.
    assert are_found_by("'请查收附件中的发票':1", details)


# Signs that PostgreSQL quotes, more positions of a word than it stores, and more words
# than it counts.
ODD_DETAILS = [
    {"reason": r"o'hara \ d'été", "to": r"o'hara\x@n.io", "trigger.run": "r7"},
    {"reason": "x " * 300, "to": "x"},
    {"a": "a " * 1000}
    | {f"b{number}": f"{number}b " * 1000 for number in range(20)}
    | {"to": "b"},
]


@pytest.mark.parametrize("details", ODD_DETAILS, ids=["signs", "positions", "words"])
def test_stored_words_have_every_word_of_the_details(details):
    entry = write(details=details, words=[(CONTENT, "Refund")])
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT fields, words FROM audit_entrydetail WHERE entry_id = %s",
            [entry.pk],
        )
        fields, stored = cursor.fetchone()
        assert are_found_by(stored, json.loads(fields))
        cursor.execute("SELECT ts_delete(%s::tsvector, 'ana')", [stored])
        assert not are_found_by(cursor.fetchone()[0], json.loads(fields))
    assert not are_found_by("'x':1", {"to": "x"}), "it is no recipient"
    # Of so many words, some are left out.
    many = "x@" + ".".join(chr(0x4E00 + number) for number in range(4995))
    parts = {str(start): many[start : start + 2000] for start in range(0, 9990, 2000)}
    assert are_found_by(found_by(parts), parts)


def test_reviewer_of_one_mailbox_finds_nothing_of_others(signed_in, connection):
    elsewhere = make_connection("other")
    make_message(elsewhere, subject="Secret refund", to=["lee@fabrikam.example"])
    mine = make_message(connection, subject="My refund")
    write(details={"text": "a refund of nobody's mailbox"})
    person = make_person(
        "one@yourteam.example", "One", "reviewer", mailbox=connection.mailboxes.get()
    )
    actor = person.actor(surface="web")
    assert {
        Entry.objects.get(pk=pk).message for pk in found("q=refund", actor=actor)
    } == {mine.public_id}
    for query in ("q=secret", f"connection={elsewhere.pk}", "q=nobody"):
        assert found(query, actor=actor) == [], query
    page = signed_in(person).get("/audit/?q=secret").text
    # Not even a count reveals them.
    assert re.search(r"No entries\s+that you may see", page)


@pytest.mark.slow
def test_paging_is_complete_and_without_duplicates_both_ways_while_entries_are_appended(
    desk, monkeypatch
):
    monkeypatch.setattr(results, "PAGE", 3)
    written = [write().pk for _ in range(10)]
    seen = []
    query = "action=comment"
    while query:
        page = desk.get(f"/audit/?{query}").context
        seen += [line.pk for line in page["lines"]]
        write()
        query = page["older_query"]
    assert seen == written[::-1]
    back = set()
    while page["newer_query"]:
        page = desk.get(f"/audit/?{page['newer_query']}").context
        back |= {line.pk for line in page["lines"]}
        # The newest page is always full.
        assert len(page["lines"]) == 3
    assert set(written[3:]) <= back
