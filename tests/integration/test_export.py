"""Exports: who may, the content of the file, their ledger entries, and how they end."""

import csv
import hashlib
import io
import json
import re
import threading

import pytest
from django.contrib.sessions.models import Session
from django.db import transaction

from audit import exports
from audit.exports import COLUMNS, Format, begin_export, take_cut
from audit.models import Entry, SealedEntry
from audit.recording import record
from audit.search.filters import Filters
from audit.trail import lines
from common.actors import worker
from common.csv_rows import FORMULA, csv_row, harmless
from common.fingerprint import short_fingerprint
from people.models import Grant, Person
from tests.factories import make_message, make_person, rolled_back
from tests.integration.deciding import decide, in_thread
from tests.ledger import append, as_superuser

PATH = "/audit/export/"


def take(client, query="", **fields):
    """Press the button of the page."""
    return client.post(
        f"{PATH}?{query}", {"format": "jsonl", "details": "on", **fields}
    )


def begin(person, query="action=message.opened", kind="jsonl", details=True):
    """Begin an export by the command."""
    return begin_export(
        actor=person.actor(surface="web"),
        filters=Filters.from_query(query),
        wanted=Format(kind, details),
        stays=lambda: True,
    )


def whole(person, *asked):
    return b"".join(begin(person, *asked)).decode()


def ids(text):
    return [json.loads(line)["id"] for line in text.splitlines()]


def rows_of(text):
    """The rows of a CSV file, after its byte order mark."""
    return list(csv.DictReader(io.StringIO(text[1:], newline=""), strict=True))


def recorded(action):
    return [
        (line.actor_id, line.details)
        for line in lines(Entry.objects.of_action(action).oldest_first())
    ]


def test_file_holds_what_was_there_oldest_first_and_is_recorded(
    signed_in, auditor, connection
):
    make_message(connection)
    client = signed_in(auditor)
    before = list(Entry.objects.oldest_first().values_list("pk", flat=True))
    answer = take(client)
    assert answer["Content-Disposition"].startswith('attachment; filename="ledger-')
    text = answer.getvalue().decode()
    assert ids(text) == before
    ((who, begun),) = recorded("ledger.exported")
    assert (who, begun["filter"]) == (str(auditor.pk), "everything")
    ((_, ended),) = recorded("ledger.export_ended")
    assert ended["rows"] == str(len(before))
    assert ended["sha256"] == hashlib.sha256(text.encode()).hexdigest()


HOSTILE = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\n=1",
    "\u3000@x",
    "\u200b=1",
    "＝1+1",
    ' \t"=1',
]


def test_no_cell_of_an_export_is_a_formula(auditor):
    for text in HOSTILE:
        says = {"subject": text, "reason": f'{text}, "quoted"\nand more', "other": text}
        record("message.opened", actor=worker(text[:20]), details=says)
    found = whole(auditor, "action=message.opened", "csv")
    assert found[0] == "\ufeff"
    rows = rows_of(found)
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == len(HOSTILE)
    for cell in [cell for row in rows for cell in row.values()]:
        assert not cell.lstrip("\u3000\ufeff\u200b \t\n").startswith(FORMULA), cell
    # A spreadsheet reads the recorded value as text.
    assert rows[0]["subject"] == "'=1+1"
    assert json.loads(rows[0]["details"]) == {"other": "=1+1"}
    for text in ("a; b-c", "5 marks", "Order 77", "May I", "2 of 3 pm"):
        assert harmless(text) == text
    # Spreadsheets would show another number, or a date.
    for text in (
        "0012", "1-2", "3/4", "12E5", "1.10", "10:30", "'7", "4471 ", "MAR1", "Sept 2", "5 May 2026", "$5", "(500)",
        "50%", "€ 1.200,50", "10:30 am", "5 p",
    ):  # fmt: skip
        assert harmless(text) == f"'{text}"
    assert csv_row((7, "2 of 3", "2026-11-20T08:00")) == "7,2 of 3,2026-11-20T08:00\r\n"
    # Programs that split at semicolons, tabs or line ends begin other cells there.
    for text in (
        "a; -1", 'a;"+1"', "a\t \ufeff＝1", ";'=1", "'=1", " =1", "a\r\n=1", "a\n '@x", "a\r+1", "a\u2028-1",
    ):  # fmt: skip
        cells = re.split(r"[;\t\r\n\u2028]", harmless(text))
        assert not [
            one for one in cells if one.strip('\ufeff "').startswith(FORMULA)
        ], text


def test_programs_neither_end_a_file_early_nor_part_a_line_or_a_cell(auditor):
    text = "one\x1atwo\u202e.exe\x85three\u2028four " + "\U0001f600" * 20_000
    record("message.opened", actor=worker("x"), details={"reason": text})
    (row,) = rows_of(whole(auditor, "action=message.opened", "csv"))
    assert row["reason"].startswith("one␚two\ufffd.exe\x85three\u2028four \U0001f600")
    assert row["reason"].endswith(f"… {exports.CUT}")
    assert len(row["reason"].encode("utf-16-le")) // 2 <= 32_767
    (line,) = whole(auditor).splitlines()
    assert json.loads(line)["details"]["reason"] == text


def test_csv_row_holds_subject_fingerprint_and_seal_and_no_names_without_details(
    auditor, connection
):
    message = make_message(connection)
    actor = auditor.actor(surface="web")
    about = {"message": message.public_id, "fingerprint": message.revision.fingerprint}
    opened = record(
        "message.opened", actor=actor, details={"reason": "Dana asked"}, **about
    )
    SealedEntry.objects.create(entry=opened.pk, seal=7, position=0, hash=b"x")
    (row,) = rows_of(whole(auditor, "action=message.opened", "csv"))
    # The entry itself does not repeat it.
    assert row["subject"] == "Your refund for order 4471"
    assert row["fingerprint"] == short_fingerprint(message.revision.fingerprint)
    assert (row["seal"], row["hash"]) == ("7", opened.hash)
    decide(message, make_person("ana@yourteam.example", "Ana", "reviewer"), "reject")
    (row,) = rows_of(whole(auditor, "action=verdict.given", "csv"))
    assert row["origin"].startswith("discord_user: ana#1; discord_guild: Acme; ")
    for kind in ("csv", "jsonl"):
        text = whole(auditor, "", kind, False)
        assert text.count("message.opened") == 1
        assert not re.search("Dana|Max|northwind|refund|ana#1", text)


def test_entries_from_before_a_restore_are_exported(auditor):
    # The transaction ids of another cluster are higher than this one's.
    old = append(2)
    as_superuser("UPDATE audit_entry SET xid = (900000000 + id)::text::xid8")
    cut = take_cut()
    assert cut.after_id == old[-1].pk
    assert ids(whole(auditor)) == [one.pk for one in old]


def test_export_stops_when_its_owner_loses_the_right(signed_in, auditor, monkeypatch):
    monkeypatch.setattr(exports, "AT_ONCE", 2)
    append(6)
    for end in (
        lambda: Person.objects.update(is_active=False),
        lambda: Grant.objects.all().delete(),
        lambda: Session.objects.all().delete(),
    ):
        with rolled_back():
            client = signed_in(auditor)
            parts = iter(take(client, "action=message.opened"))
            got = [next(parts), next(parts)]
            end()
            *rows, last = (b"".join([*got, *parts])).decode().splitlines()
            # The file cannot be mistaken for a complete one.
            assert len(rows) == 2
            assert set(json.loads(last)) == {"broken_off"}
            ((_, broken),) = recorded("ledger.export_broken_off")
            assert broken["handed_out"] == "2"
            assert broken["reason"] == exports.NO_LONGER


def test_slow_reader_cancels_the_export_and_the_file_says_so(auditor, monkeypatch):
    monkeypatch.setattr(exports, "AT_ONCE", 2)
    append(4)
    parts = iter(begin(auditor, "", "csv"))
    got = [next(parts), next(parts)]
    monkeypatch.setattr(exports, "READ_WITHIN", -1)
    *_, last = csv.reader(
        io.StringIO(b"".join([*got, *parts]).decode()[1:], newline="")
    )
    assert last[0].startswith("INTERRUPTED, this file is incomplete")


def test_page_and_file_are_for_who_confirmed_recently(signed_in, auditor):
    client = signed_in(auditor, minutes=11)
    for answer in (client.get(PATH), take(client)):
        assert answer["Location"].startswith("/accounts/reauthenticate/")
    assert recorded("ledger.exported") == []


@pytest.mark.django_db(transaction=True)
def test_action_that_commits_after_the_request_is_not_exported(auditor):
    """Its number is lower than others in the file, and its row exists before the file
    is read.
    """
    began = threading.Event()
    may_end = threading.Event()

    def act():
        with transaction.atomic():
            record("message.opened", actor=worker("test"))
            began.set()
            may_end.wait(600)

    thread, _ = in_thread(act)
    assert began.wait(600)
    with transaction.atomic():
        later = record("message.opened", actor=worker("test"))
    try:
        export = begin(auditor)
    finally:
        may_end.set()
        thread.join()
    assert Entry.objects.of_action("message.opened").count() == 2
    assert ids(b"".join(export).decode()) == [later.pk]
