"""The pages of the allowlists: changes with a preview, conflicts, CSV files, and
permissions.
"""

import codecs
import csv
import io
import re
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from audit.models import Entry
from people.models import Grant
from policy.allowlists.changes import WantedEntry
from policy.allowlists.files import read_file
from policy.models import Allowlist
from tests.factories import (
    change_list,
    listed_patterns,
    make_connection,
    make_list,
    make_person,
)
from tests.markup import says, text_of


def preview(client, at, **fields):
    return client.post(f"{at.url}preview/", fields)


def save(client, at, shown):
    form = shown.text.partition(f'action="{at.url}save/"')[2].partition("</form>")[0]
    fields = {"version": re.search(r'name="version"\s+value="(\d+)"', form)[1]}
    for name, value in re.findall(r'name="(\w+)" hidden>([^<]*)<', form):
        fields.setdefault(name, []).append(unescape(value))
    return client.post(f"{at.url}save/", fields)


def missing(answer, *words):
    """The expected words that are missing on the page."""
    return [one for one in words if one not in text_of(answer)]


def test_preview_shows_the_change_and_saving_applies_it(signed_in, admin, connection):
    at = make_list()
    change_list(admin, "northwind.example", note="Customers")
    client = signed_in(admin)
    lines = "dana@x.example\n*.com\nnorthwind.example\nDANA@X.example.\nevil@@x"
    shown = preview(client, at, lines=lines, note="The fair", owner=admin.email)
    assert shown.status_code == 200
    assert missing(shown, "1 added", "1 changed", "Line 2", "Line 5") == []
    assert listed_patterns() == ["northwind.example"]
    answer = save(client, at, shown)
    assert answer["Location"] == at.url
    assert listed_patterns(note="The fair", owner=admin) == [
        "dana@x.example",
        "northwind.example",
    ]
    found = text_of(client.get(f"{at.url}?q=Dana@NORTHWIND.example."))
    assert "1 found" in found
    assert missing(preview(client, at, remove="x.example"), "Nothing would") == []


def test_list_is_made_and_deleted_on_its_pages(signed_in, admin, connection):
    client = signed_in(admin)
    mailbox = connection.mailboxes.get()
    both = {"name": "Both", "connection": connection.pk, "mailbox": mailbox.pk}
    says(client.post("/allowlists/add/", both), 422, "a connection or a mailbox")
    made = client.post("/allowlists/add/", {"name": "Ours", "mailbox": mailbox.pk})
    at = Allowlist.objects.get(mailbox=mailbox)
    assert made["Location"] == at.url
    page = client.get("/allowlists/")
    assert missing(page, "Ours", str(mailbox), "0 live", "Nothing") == []
    assert client.post(f"{at.url}delete/")["Location"] == "/allowlists/"
    assert not Allowlist.objects.exists()


@pytest.mark.slow
def test_concurrent_change_is_shown_and_the_own_edit_is_preserved(signed_in, admin):
    at = make_list()
    client = signed_in(admin)
    shown = preview(client, at, lines="dana@x.example")
    rival = make_person("eve@yourteam.example", "Eve Rival", "admin")
    change_list(rival, "rival.example")
    stale = save(client, at, shown)
    assert stale.status_code == 409
    assert missing(stale, "Eve Rival changed", "dana@x.example") == []
    assert listed_patterns() == ["rival.example"]
    assert save(client, at, stale).status_code == 302
    assert listed_patterns() == ["dana@x.example", "rival.example"]


@pytest.mark.slow
def test_page_of_an_entry_has_its_history_also_from_before_it_was_removed(
    signed_in, admin, reviewer
):
    at = make_list()
    ends = timezone.now() + timedelta(days=9)
    change_list(admin, "x.example", note="Fair", owner=admin.pk)
    change_list(admin, "x.example", "y.example", note="Autumn", expires_at=ends)
    change_list(admin, remove=["x.example"])
    Grant.objects.create(person=reviewer, role="admin")
    change_list(reviewer, "x.example")
    page = signed_in(reviewer).get(at.url)
    (path,) = re.findall(r'href="(/allowlists/entries/\d+/)">x.example', page.text)
    told = text_of(signed_in(reviewer).get(path))
    wanted = (
        f"Added by {reviewer} Live No owner Never",
        f"Replaced or removed by {admin} Autumn No owner {ends:%-d %b %Y, %H:%M} UTC",
        f"Replaced or removed by {admin} Fair {admin} Never",
    )
    places = [told.find(one) for one in wanted]
    assert -1 not in places, told
    assert places == sorted(places)


def test_lists_of_others_are_not_shown_and_only_their_admins_change_them(
    signed_in, connection
):
    everywhere = make_list("x.example")
    here = make_list("y.example", connection=connection)
    mailbox = make_connection("other").mailboxes.get()
    client = signed_in(make_person("x@y.example", "X", "admin", mailbox=mailbox))
    hidden = f"/allowlists/entries/{here.entries.get().pk}/"
    for path in (here.url, hidden, "/allowlists/0/"):
        assert client.get(path).status_code == 404, path
    for act, fields in (
        ("preview", {"lines": "evil.example"}),
        ("save", {"lines": "evil.example", "version": "1"}),
        ("delete", {}),
    ):
        assert client.post(f"{here.url}{act}/", fields).status_code == 404
        assert client.post(f"{everywhere.url}{act}/", fields).status_code == 403
    assert listed_patterns() == ["x.example", "y.example"]


def send_file(client, at, text, **fields):
    raw = text if isinstance(text, bytes) else text.encode()
    return preview(client, at, file=SimpleUploadedFile("list.csv", raw), **fields)


def test_files_in_common_csv_dialects_are_read():
    for name, text in {
        "semicolons": "pattern;note\nx.example;The fair\n",
        "quotes and blanks": 'Pattern , NOTE\n"x.example","The fair"\n\n,\n',
        "other order": "note,pattern\nThe fair,*@X.example.\n",
    }.items():
        put, problems = read_file(text, people={})
        assert put == {"x.example": WantedEntry("x.example", "The fair")}, name
        assert problems == [], name


@pytest.mark.slow
def test_file_that_cannot_be_read_says_why(signed_in, admin, monkeypatch):
    monkeypatch.setattr("policy.allowlists.forms.MAX_LINES", 2)
    at = make_list()
    client = signed_in(admin)
    for text, words in (
        (b"pattern\nx\xff.example\n", "not text in UTF-8"),
        ("x.example\ny.example\n", "first line must name the columns"),
        ("pattern,colour\nx.example,red\n", "first line must name the columns"),
        ("pattern\na.example\nb.example\nc.example\n", "at most 2 at a time"),
        ('pattern\n"' + "x" * 200_000, "cannot be read as CSV"),
        ("pattern\n*.com\n", "at least one valid"),
    ):
        says(send_file(client, at, text), 422, words)
    replaced = send_file(client, at, "pattern\nnew.example\n*.com\n", whole="on")
    says(replaced, 422, "must have no errors")


def test_invalid_rows_are_reported_by_line_and_the_others_count():
    text = (
        "pattern,note,owner,expires_at\n"
        'a.example,"two\nlines",ana@x.example,2026-12-31\n'
        "*.com,,,\n"
        "A.example.,,,\n"
        "b.example,,nobody@x.example,\n"
        "d.example,,,,more\n"
        "e.example,,,2026-12-31T18:00:00+02:00\n"
    )
    put, problems = read_file(text, people={"ana@x.example": 7})
    ends = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert list(put.values()) == [
        WantedEntry("a.example", "two lines", 7, ends),
        WantedEntry("e.example", expires_at=datetime(2026, 12, 31, 16, tzinfo=UTC)),
    ]
    wanted = {4: "name@domain", 5: "earlier line", 6: "nobody@x", 7: "more columns"}
    assert [
        line for line, sentence in problems if wanted[line] not in sentence
    ] == [], problems
    assert len(problems) == len(wanted)


@pytest.mark.slow
def test_imported_file_adds_or_replaces_as_its_preview_showed(signed_in, admin):
    at = make_list("old.example")
    client = signed_in(admin)
    text = f"pattern,owner,note\n*@New.example,{admin.email},Fair\n"
    shown = send_file(client, at, text)
    assert missing(shown, "1 added", "new.example") == []
    assert listed_patterns() == ["old.example"]
    assert save(client, at, shown).status_code == 302
    assert listed_patterns() == ["new.example", "old.example"]
    shown = send_file(client, at, text, whole="on")
    assert missing(shown, "1 removed", "old.example") == []
    assert save(client, at, shown).status_code == 302
    assert listed_patterns(owner=admin, note="Fair") == ["new.example"]
    assert listed_patterns() == ["new.example"]


def test_export_holds_no_formula_is_noted_and_comes_back_as_it_was(signed_in, admin):
    ends = timezone.now() + timedelta(days=9)
    at = make_list()
    change_list(
        admin, "+ann@x.example", note='=HYPERLINK("http://evil")', expires_at=ends
    )
    change_list(admin, "b.example", note="@SUM(A1); Zoë 日本", owner=admin.pk)
    change_list(admin, "c.example", note="-1")
    client = signed_in(admin)
    raw = b"".join(client.post(f"{at.url}export/").streaming_content)
    # Excel reads UTF-8 by its byte order mark only.
    assert raw.startswith(codecs.BOM_UTF8)
    text = raw.decode("utf-8-sig")
    assert list(csv.reader(io.StringIO(text, newline=""))) == [
        ["pattern", "note", "owner", "expires_at"],
        [
            "'+ann@x.example",
            '\'=HYPERLINK("http://evil")',
            "",
            ends.astimezone(UTC).isoformat(),
        ],
        ["b.example", "'@SUM(A1); Zoë 日本", admin.email, ""],
        ["c.example", "'-1", "", ""],
    ]
    assert Entry.objects.get(action="allowlist.exported").actor_id == str(admin.pk)
    assert "Nothing would change." in text_of(send_file(client, at, raw, whole="on"))
    found = b"".join(client.post(f"{at.url}export/", {"q": "zoë"}).streaming_content)
    assert found.count(b"\n") == 2
