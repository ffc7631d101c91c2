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
from policy.allowlists.pages import read_lines
from policy.models import Allowlist
from tests.factories import (
    change_list,
    listed_patterns,
    make_connection,
    make_list,
    make_person,
)
from tests.markup import says, text_of


def preview(client, at, lines="", **fields):
    return client.post(f"{at.url}change/", {"lines": lines, **fields})


def save(client, shown):
    """Press Save on the page of a preview."""
    action, form = re.search(
        r'action="([^"]+/change/)"(.*?)</form>', shown.text, re.S
    ).groups()
    fields = {"lines": unescape(re.search(r"hidden>\n(.*?)</textarea>", form, re.S)[1])}
    for name, value in re.findall(r'name="(\w+)"\s+value="([^"]*)"', form):
        fields.setdefault(name, []).append(unescape(value))
    return client.post(action, fields)


def missing(answer, *words):
    """The expected words that are missing on the page."""
    return [one for one in words if one not in text_of(answer)]


def test_preview_shows_the_change_and_saving_applies_it(signed_in, admin, connection):
    at = make_list()
    change_list(admin, "northwind.example", "old.example", note="Customers")
    client = signed_in(admin)
    lines = "dana@x.example, The fair\n*.com\nnorthwind.example, The fair\nevil@@x"
    shown = preview(client, at, lines, remove=["old.example"])
    assert shown.status_code == 200
    counted = ("1 added", "1 changed", "1 removed", "Line 2", "Line 4")
    assert missing(shown, *counted) == []
    assert listed_patterns() == ["northwind.example", "old.example"]
    answer = save(client, shown)
    assert answer["Location"] == at.url
    assert listed_patterns(note="The fair") == ["dana@x.example", "northwind.example"]
    assert listed_patterns() == listed_patterns(note="The fair")
    found = text_of(client.get(f"{at.url}?q=Dana@NORTHWIND.example."))
    assert "1 found" in found
    assert missing(preview(client, at, remove="x.example"), "Nothing would") == []


def test_list_is_made_and_deleted_on_its_pages(signed_in, admin, connection):
    client = signed_in(admin)
    mailbox = connection.mailboxes.get()
    ours = {"name": "Ours", "target": "mailbox-0"}
    says(client.post("/allowlists/add/", ours), 422, "valid choice")
    ours["target"] = f"mailbox-{mailbox.pk}"
    made = client.post("/allowlists/add/", ours)
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
    shown = preview(client, at, "dana@x.example")
    rival = make_person("eve@yourteam.example", "Eve Rival", "admin")
    change_list(rival, "rival.example")
    stale = save(client, shown)
    assert stale.status_code == 409
    assert missing(stale, "Eve Rival changed", "dana@x.example") == []
    assert listed_patterns() == ["rival.example"]
    assert save(client, stale).status_code == 302
    assert listed_patterns() == ["dana@x.example", "rival.example"]


@pytest.mark.slow
def test_past_of_an_entry_is_shown_with_removed_ones(signed_in, admin, reviewer):
    at = make_list()
    ends = timezone.now() + timedelta(days=9)
    change_list(admin, "x.example", note="Fair")
    change_list(admin, "x.example", "y.example", note="Autumn", expires_at=ends)
    change_list(admin, remove=["x.example"])
    Grant.objects.create(person=reviewer, role="admin")
    change_list(reviewer, "x.example")
    client = signed_in(reviewer)
    told = text_of(client.get(f"{at.url}?q=x.example&past=on"))
    wanted = (
        f"by {reviewer}",
        f"Autumn Ends {ends:%-d %b %Y, %H:%M} UTC",
        f"by {admin}",
        "Fair Never",
    )
    places = [told.find(one) for one in wanted]
    assert -1 not in places, told
    assert places == sorted(places)
    now = text_of(client.get(f"{at.url}?q=x.example"))
    assert "Autumn" not in now


def test_lists_of_others_are_not_shown_and_only_their_admins_change_them(
    signed_in, connection
):
    everywhere = make_list("x.example")
    here = make_list("y.example", connection=connection)
    mailbox = make_connection("other").mailboxes.get()
    client = signed_in(make_person("x@y.example", "X", "admin", mailbox=mailbox))
    for path in (here.url, "/allowlists/0/"):
        assert client.get(path).status_code == 404, path
    for act, fields in (
        ("change", {"lines": "evil.example"}),
        ("change", {"lines": "evil.example", "seen": "x"}),
        ("delete", {}),
    ):
        assert client.post(f"{here.url}{act}/", fields).status_code == 404
        assert client.post(f"{everywhere.url}{act}/", fields).status_code == 403
    assert listed_patterns() == ["x.example", "y.example"]


def send_file(client, at, text, **fields):
    raw = text if isinstance(text, bytes) else text.encode()
    return preview(client, at, file=SimpleUploadedFile("list.csv", raw), **fields)


@pytest.mark.parametrize(
    "text",
    [
        "x.example, The fair",
        "pattern;note\nx.example;The fair\n",
        'Pattern , NOTE, ends\n"x.example","The  fair",\n\n,,\n',
        "*@X.example.\tThe fair\n",
    ],
)
def test_lines_in_common_csv_dialects_are_read(text):
    expected = {"x.example": WantedEntry("x.example", "The fair")}
    assert read_lines(text) == (expected, [])


@pytest.mark.slow
def test_what_cannot_be_read_says_why(signed_in, admin, monkeypatch):
    monkeypatch.setattr("policy.allowlists.pages.MAX_LINES", 2)
    at = make_list()
    client = signed_in(admin)
    for text, words in (
        (b"x\xff.example\n", "not text in UTF-8"),
        ("a.example\nb.example\nc.example\n", "at most 2 at a time"),
        ("pattern\n*.com\n", "at least one valid"),
        (b"x" * 900_001, "larger than 900 KB"),
    ):
        says(send_file(client, at, text), 422, words)
    replaced = send_file(client, at, "new.example\n*.com\n", whole="on")
    says(replaced, 422, "must have no errors")
    says(send_file(client, at, "a.example", lines="b.example"), 422, "not both")
    says(preview(client, at, "a.example\0"), 422, "Null characters")


def test_faulty_lines_are_reported_and_the_others_count():
    text = (
        'a.example,"two, words",2026-12-31\n'
        "*.com,,\n"
        "A.example.,,\n"
        "b.example,,tomorrow\n"
        "d.example,,,more\n"
        'f.example,"never closed\n'
        f"g.example,{'x' * 301}\n"
        "e.example,,2026-12-31T18:00:00+02:00\n"
    )
    put, problems = read_lines(text)
    ends = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert list(put.values()) == [
        WantedEntry("a.example", "two, words", ends),
        WantedEntry("e.example", expires_at=datetime(2026, 12, 31, 16, tzinfo=UTC)),
    ]
    wanted = {
        2: "name@domain",
        3: "earlier line",
        4: "not a date",
        5: "more than",
        6: "as CSV",
        7: "longer than 300",
    }
    assert [
        line for line, sentence in problems if wanted[line] not in sentence
    ] == [], problems
    assert len(problems) == len(wanted)


@pytest.mark.slow
def test_imported_file_adds_or_replaces_as_its_preview_showed(signed_in, admin):
    at = make_list("old.example")
    client = signed_in(admin)
    text = "*@New.example,Fair\n"
    shown = send_file(client, at, text)
    assert missing(shown, "1 added", "new.example") == []
    assert listed_patterns() == ["old.example"]
    assert save(client, shown).status_code == 302
    assert listed_patterns() == ["new.example", "old.example"]
    shown = send_file(client, at, text, whole="on")
    assert missing(shown, "1 removed", "old.example") == []
    assert save(client, shown).status_code == 302
    assert listed_patterns(note="Fair") == ["new.example"]
    assert listed_patterns() == ["new.example"]


def test_export_holds_no_formula_is_noted_and_comes_back_as_it_was(signed_in, admin):
    ends = timezone.now() + timedelta(days=9)
    at = make_list()
    change_list(
        admin, "+ann@x.example", note='=HYPERLINK("http://evil")', expires_at=ends
    )
    change_list(admin, "b.example", note="@SUM(A1); Zoë 日本")
    change_list(admin, "c.example", note="-1")
    client = signed_in(admin)
    raw = b"".join(client.post(f"{at.url}export/").streaming_content)
    # Excel reads UTF-8 by its byte order mark only.
    assert raw.startswith(codecs.BOM_UTF8)
    text = raw.decode("utf-8-sig")
    assert list(csv.reader(io.StringIO(text, newline=""))) == [
        ["pattern", "note", "ends"],
        [
            "'+ann@x.example",
            '\'=HYPERLINK("http://evil")',
            ends.astimezone(UTC).isoformat(),
        ],
        ["b.example", "'@SUM(A1); Zoë 日本", ""],
        ["c.example", "'-1", ""],
    ]
    assert Entry.objects.get(action="allowlist.exported").actor_id == str(admin.pk)
    assert "Nothing would change." in text_of(send_file(client, at, raw, whole="on"))
    found = b"".join(client.post(f"{at.url}export/", {"q": "zoë"}).streaming_content)
    assert found.count(b"\n") == 2
