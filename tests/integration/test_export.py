"""Taking history out: who may, what stands in the file, what the ledger tells of it, and how it ends."""

import csv
import hashlib
import io
import json
import uuid
from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models.functions import Now
from django.urls import reverse

from audit.exporting import handing_out
from audit.exporting.fixed import Cut, take_cut
from audit.exporting.formats import COLUMNS
from audit.models import Entry, Export, Leaf
from audit.recording import record
from audit.trail import lines
from common.csv_rows import FORMULA, harmless
from common.fingerprint import short_fingerprint
from people.actors import worker
from people.models import Grant, Person
from tests.factories import make_connection, make_message, make_person, rolled_back
from tests.ledger import append, as_superuser

pytestmark = pytest.mark.django_db

PATH = "/audit/export/"


def begin(client, query="", **fields):
    """Ask for an export; return its row."""
    answer = client.post(f"{PATH}?{query}", {"format": "jsonl", "details": "on", **fields})
    assert answer.status_code == 302, answer.content.decode()
    return Export.objects.get(pk=answer["Location"].split("/")[3])


def take(client, export):
    return client.get(reverse("export-file", args=[export.pk]))


def taken(client, query="", **fields):
    """Return a whole file, and its row."""
    export = begin(client, query, **fields)
    whole = take(client, export).getvalue().decode()
    export.refresh_from_db()
    return whole, export


def leave(answer):
    """What a server does whose reader is gone, but for ending the request: the test's own transaction goes on."""
    for close in answer._resource_closers:
        close()


def recorded(action):
    return [(line.entry.actor_id, line.details) for line in lines(Entry.objects.of_action(action).oldest_first())]


@pytest.fixture
def history(connection):
    return make_message(connection)


def test_file_holds_what_was_there_oldest_first_and_is_recorded_and_handed_out_once(signed_in, auditor, admin, history):
    client = signed_in(auditor)
    before = list(Entry.objects.oldest_first().values_list("pk", flat=True))
    whole, export = taken(client)
    assert [json.loads(line)["id"] for line in whole.splitlines()] == before
    assert (export.state, export.rows_done, export.rows_total) == ("done", len(before), len(before))
    assert export.sha256 == hashlib.sha256(whole.encode()).hexdigest()
    (who, begun), (_, ended) = recorded("ledger.exported")[0], recorded("ledger.export_ended")[0]
    assert (who, begun["filter"], begun["format"]) == (str(auditor.pk), "everything", "JSON Lines")
    assert (begun["rows"], ended["rows"], ended["sha256"]) == (str(len(before)), str(len(before)), export.sha256)
    page = client.get(reverse("export-one", args=[export.pk])).content.decode()
    assert (export.sha256 in page, "hx-trigger" in page) == (True, False)
    assert take(client, export)["Location"] == reverse("export-one", args=[export.pk])
    # For nobody but who asked for it.
    signed_in(admin)
    for method, name in ((client.get, "export-file"), (client.get, "export-one"), (client.post, "export-again")):
        assert method(reverse(name, args=[export.pk])).status_code == 404, name


def test_filter_and_reach_decide_what_is_taken(signed_in, history, connection):
    make_message(make_connection("other"), subject="Not for Ida")
    admin = make_person("ida@yourteam.example", "Ida", "admin", connection=connection)
    whole, export = taken(signed_in(admin), "action=message.held&before=1&format=json&since=today")
    rows = [json.loads(line) for line in whole.splitlines()]
    assert {(row["action"], row["message"]) for row in rows} == {("message.held", str(history.public_id))}
    # As moments: “today” would be another day tomorrow.
    assert "before" not in export.query
    assert "today" not in export.query


def test_what_cannot_be_exported_is_said(signed_in, auditor, reviewer):
    client = signed_in(auditor)
    answer = client.post(PATH, {"format": "xls"})
    assert (answer.status_code, b"Choose CSV or JSON Lines" in answer.content) == (422, True)
    page = client.get(f"{PATH}?message={uuid.uuid4()}").content.decode()
    assert ("No entry" in page, '<button class="btn go">' in page) == (True, False)
    signed_in(reviewer)
    for path in (PATH, f"{PATH}past/"):
        answer = client.get(path)
        assert (answer.status_code, b"Your role does not include it" in answer.content) == (403, True)


@pytest.mark.proves("security 41")
def test_export_asks_who_one_is_and_goes_on(signed_in, auditor, history):
    client = signed_in(auditor, minutes=11)
    answer = client.post(PATH, {"format": "csv", "details": "on"})
    assert answer["Location"].startswith("/accounts/reauthenticate/")
    assert Export.objects.count() == 0
    export = begin(signed_in(auditor))
    answer = take(signed_in(auditor, minutes=11), export)
    assert answer["Location"] == reverse("export-one", args=[export.pk])
    answer = client.post(reverse("export-again", args=[export.pk]))
    assert answer["Location"].startswith("/accounts/reauthenticate/")
    export.refresh_from_db()
    assert export.state == "asked"


HOSTILE = [
    *("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", "\u00a0=1", "\u3000@x", "\ufeff=1", "\u200b=1"),
    *("＝1+1", "＋1", "－1", "＠x", ' \t"=1', "=cmd|' /C calc'!A0", '=HYPERLINK("http://x.example";"y")'),
]


@pytest.mark.proves("security 56")
def test_no_cell_of_an_export_is_a_formula(signed_in, auditor, connection):
    for text in HOSTILE:
        with transaction.atomic():
            says = {"subject": text, "reason": f'{text}, "quoted"\nand more', "other": text}
            record("message.opened", actor=worker(text[:20]), details=says)
    whole, _ = taken(signed_in(auditor), format="csv")
    assert whole[0] == "\ufeff"
    assert whole.count("\r\n") >= len(HOSTILE)
    rows = list(csv.DictReader(io.StringIO(whole[1:], newline=""), strict=True))
    assert tuple(rows[0]) == COLUMNS
    for row in rows:
        for cell in row.values():
            assert not cell.lstrip("\u00a0\u3000\ufeff\u200b \t\r\n").startswith(FORMULA), cell
    # What a spreadsheet takes for text is what was recorded.
    opened = [row for row in rows if row["action"] == "message.opened"]
    assert len(opened) == len(HOSTILE)
    assert [row["subject"].removeprefix("'") for row in opened[:4]] == HOSTILE[:4]
    assert json.loads(opened[0]["details"]) == {"other": "=1+1"}
    assert {harmless(text) for text in ("Dana", "a=b", "")} == {"Dana", "a=b", ""}


def test_without_details_nobody_is_named(signed_in, auditor, history, connection):
    with transaction.atomic():
        record("message.opened", actor=auditor.actor(surface="web"), details={"reason": "Dana asked"})
    for kind in ("csv", "jsonl"):
        whole, _ = taken(signed_in(auditor), format=kind, details="")
        assert whole.count("message.opened") == 1
        assert kind == "csv" or "details" not in whole
        for personal in ("Dana", "Max", "northwind", "refund", "ana#1"):
            assert personal not in whole


def test_csv_row_tells_subject_fingerprint_and_seal(signed_in, auditor, history):
    whole = history.revision.fingerprint
    with transaction.atomic():
        opened = record(
            "message.opened", actor=auditor.actor(surface="web"), message=history.public_id, fingerprint=whole
        )
    Leaf.objects.create(position=0, entry=opened.pk, seal=7, hash=b"x")
    text, _ = taken(signed_in(auditor), "action=message.opened", format="csv")
    (row,) = csv.DictReader(io.StringIO(text[1:], newline=""))
    # The entry itself does not repeat it.
    assert row["subject"] == "Your refund for order 4471"
    assert (row["fingerprint"], row["fingerprint_sha256"]) == (short_fingerprint(whole), whole)
    assert (row["id"], row["seal"], row["leaf_hash"]) == (str(opened.pk), "7", opened.leaf_hash)
    assert (row["actor"], row["sentence"]) == ("Max Weber", "opened the message")


def test_entries_that_come_meanwhile_are_not_in_it(signed_in, auditor, monkeypatch):
    monkeypatch.setattr(handing_out, "AT_ONCE", 3)
    made = [entry.pk for entry in append(8)]
    export = begin(signed_in(auditor), "action=message.opened")
    # Written after it was asked for, and while it runs.
    as_superuser("UPDATE audit_export SET snapshot = %s", [f"{made[-1]} {made[-1] + 1_000} 3:3:"])
    append(2)
    parts = iter(take(signed_in(auditor), export))
    first = next(parts) + next(parts)
    append(2)
    whole = (first + b"".join(parts)).decode()
    assert [json.loads(line)["id"] for line in whole.splitlines()] == made


def test_progress_is_seen_while_it_runs(signed_in, auditor, monkeypatch):
    monkeypatch.setattr(handing_out, "AT_ONCE", 2)
    append(5)
    client = signed_in(auditor)
    export = begin(client, "action=message.opened")
    parts = iter(take(client, export))
    seen = []
    for _ in parts:
        answer = client.get(reverse("export-one", args=[export.pk]), headers={"HX-Request": "true"})
        seen.append(answer.content.decode())
    assert ["0 of 5 rows" in page for page in seen[:2]] == [True, True]
    assert "2 of 5 rows" in seen[2]
    assert "4 of 5 rows" in seen[3]
    assert all("<html" not in page and "every 1s" in page for page in seen)


def test_who_may_no_longer_gets_no_further(signed_in, auditor, monkeypatch):
    monkeypatch.setattr(handing_out, "AT_ONCE", 2)
    append(6)
    for end in (
        lambda: Person.objects.update(is_active=False),
        lambda: Grant.objects.all().delete(),
        lambda: Session.objects.all().delete(),
    ):
        with rolled_back():
            client = signed_in(auditor)
            export = begin(client, "action=message.opened")
            parts = iter(take(client, export))
            got = [next(parts), next(parts)]
            end()
            *rows, last = (b"".join([*got, *parts])).decode().splitlines()
            # Nobody takes the file for a whole one.
            assert (len(rows), set(json.loads(last))) == (2, {"broken_off"})
            ((_, broken),) = recorded("ledger.export_broken_off")
            assert (broken["handed_out"], broken["reason"]) == ("2", handing_out.NO_LONGER)
            export.refresh_from_db()
            assert (export.state, export.sha256) == ("broken_off", "")


def test_reader_who_leaves_breaks_it_off_and_can_begin_again(signed_in, auditor, monkeypatch):
    monkeypatch.setattr(handing_out, "AT_ONCE", 2)
    made = [entry.pk for entry in append(6)]
    client = signed_in(auditor)
    for parts_read in (0, 2):
        with rolled_back():
            export = begin(client, "action=message.opened")
            answer = take(client, export)
            for _ in range(parts_read):
                next(iter(answer))
            leave(answer)
            export.refresh_from_db()
            assert (export.state, recorded("ledger.export_broken_off")[0][1]["reason"]) == (
                "broken_off", handing_out.GONE,
            )  # fmt: skip
            page = client.get(reverse("export-one", args=[export.pk])).content.decode()
            assert "The file is not whole" in page
            assert client.post(reverse("export-again", args=[export.pk])).status_code == 302
            whole = take(client, export).getvalue().decode()
            assert [json.loads(line)["id"] for line in whole.splitlines()] == made
            assert [details.get("again", "") for _, details in recorded("ledger.exported")] == ["", "yes"]


def test_error_or_a_slow_reader_breaks_it_off_in_the_file_too(signed_in, auditor, monkeypatch):
    monkeypatch.setattr(handing_out, "AT_ONCE", 2)
    append(4)
    client = signed_in(auditor)
    with monkeypatch.context() as patched:
        patched.setattr(handing_out, "SLOWEST", -1.0)
        whole, export = taken(client, "action=message.opened")
        assert (len(whole.splitlines()), export.state) == (3, "broken_off")
    parts = iter(take(client, begin(client, format="csv")))
    got = [next(parts), next(parts)]
    monkeypatch.setattr(handing_out, "READ_WITHIN", -1)
    whole = b"".join([*got, *parts]).decode()
    *_, last = csv.reader(io.StringIO(whole[1:], newline=""))
    assert last[0].startswith("BROKEN OFF, this file is not whole")


def test_one_of_a_person_and_two_in_all_run_at_once(signed_in, auditor, admin, history):
    def running(person, number):
        return Export.objects.create(
            person=person, format="csv", snapshot="0 0 1:1:", rows_total=0, state="running", rows_done=number
        )

    own = running(auditor.pk, 0)
    mine = begin(signed_in(auditor))
    answer = take(signed_in(auditor), mine)
    assert answer["Location"] == reverse("export-one", args=[mine.pk])
    assert "Another export of yours is still running" in signed_in(auditor).get(answer["Location"]).content.decode()
    Export.objects.filter(pk=own.pk).update(person=admin.pk)
    other = running(9_999, 0)
    take(signed_in(auditor), mine)
    assert "no more at once" in signed_in(auditor).get(PATH).content.decode()
    # One that has lost its process holds no place.
    Export.objects.filter(pk=other.pk).update(changed_at=Now() - timedelta(minutes=6))
    assert take(signed_in(auditor), mine).status_code == 200
    ((who, lost),) = recorded("ledger.export_broken_off")
    assert (who, lost["export"]) == ("exporter", str(other.pk))


def test_list_shows_ones_own_and_an_auditor_of_everything_those_of_all(signed_in, auditor, admin, connection):
    append(1)
    begin(signed_in(admin))
    begin(signed_in(auditor))
    rows = {person: signed_in(person).get(f"{PATH}past/").content.decode() for person in (admin, auditor)}
    assert [page.count('id="export-') for page in rows.values()] == [1, 2]
    part = make_person("part@yourteam.example", "Paula", "auditor", connection=connection)
    assert 'id="export-' not in signed_in(part).get(f"{PATH}past/?before=nonsense").content.decode()


def test_entries_of_before_a_restore_are_in_it(signed_in, auditor):
    """Another cluster counted its transactions further than this one has come."""
    old = append(2)
    as_superuser("UPDATE audit_entry SET xid = (900000000 + id)::text::xid8")
    cut = take_cut()
    assert cut.after_id == old[-1].pk
    # It is read as it was written.
    assert Cut.read(str(cut)) == cut
    whole, _ = taken(signed_in(auditor), "action=message.opened")
    assert [json.loads(line)["id"] for line in whole.splitlines()] == [one.pk for one in old]
