"""Allowlists as files: what people's programs write is read or told line by line, and what is exported is harmless."""

import csv
import io
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from approvals.allowing import csv_files
from approvals.allowing.csv_files import UnreadableFile, read_file, written
from audit.models import Entry
from policy.models import AllowEntry, Allowlist
from tests.factories import make_person
from tests.integration.test_allowlist_pages import ALL, changed, patterns, save, text_of

pytestmark = pytest.mark.django_db


def read(text, people=None):
    raw = text if isinstance(text, bytes) else text.encode()
    return read_file(raw, people=people or {})


def bring(client, text, how="add", page=ALL):
    raw = text if isinstance(text, bytes) else text.encode()
    upload = SimpleUploadedFile("list.csv", raw, content_type="text/csv")
    return client.post(f"{page}import/check/", {"file": upload, "how": how})


@pytest.mark.parametrize(
    "text",
    [
        "pattern,note\r\nx.example,The fair\r\n",
        "pattern;note\nx.example;The fair\n",
        "pattern\tnote\nx.example\tThe fair",
        "\ufeffpattern,note\nx.example,The fair\n",
        'Pattern , NOTE\n"x.example","The fair"\n\n,\n',
        "note,pattern\nThe fair,*@X.example.\n",
    ],
    ids=["crlf", "semicolons", "tabs", "bom", "quotes and blanks", "other order"],
)
def test_file_as_a_program_writes_it_is_read(text):
    found = read(text)
    assert [(one.pattern, one.note) for one in found.put] == [("x.example", "The fair")]
    assert found.problems == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"pattern\nx\xff.example\n", "Line 2 is not in UTF-8"),
        ("pattern\nx.example\n".encode("utf-16"), "zero bytes"),
        ("x.example\ny.example\n", "first line must name the columns"),
        ("pattern,colour\nx.example,red\n", "'colour'"),
        ("pattern,pattern\nx.example,y.example\n", "stands there twice"),
        ("", "first line must name"),
        ("pattern\n" + "x.example\n" * 20_001, "more than 20,000 rows"),
        ("pattern\n" + "x" * 1024 * 1024, "larger than 1 MB"),
        ('pattern\n"' + "x" * 200_000, "cannot be read as CSV"),
    ],
    ids=["utf-8", "utf-16", "no header", "unknown column", "twice", "empty", "rows", "size", "field"],
)
def test_file_that_cannot_be_read_says_why(text, words):
    with pytest.raises(UnreadableFile, match=re.escape(words)):
        read(text)


def test_rows_that_are_wrong_are_told_by_their_line_and_the_others_count():
    text = (
        "pattern,note,owner,expires_at\n"
        'a.example,"two\nlines",ana@x.example,2026-12-31\n'
        "*.com,,,\n"
        "A.example.,,,\n"
        "b.example,,nobody@x.example,\n"
        "c.example,,,soon\n"
        "d.example,,,,more\n"
        "e.example,,,2026-12-31T18:00:00+02:00\n"
        f"f.example,{'x' * 301},,\n"
    )
    found = read(text, {"ana@x.example": 7})
    assert [(one.pattern, one.note, one.owner, one.expires_at) for one in found.put] == [
        ("a.example", "two lines", 7, datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("e.example", "", None, datetime(2026, 12, 31, 16, tzinfo=UTC)),
    ]
    told = {problem.line: problem.sentence for problem in found.problems}
    assert sorted(told) == [4, 5, 6, 7, 8, 10]
    for line, words in ((4, "none of name@domain"), (5, "on line 2 already"), (6, "nobody@x.example"), (7, "'soon'"),
                        (8, "5 columns"), (10, "longer than 300")):  # fmt: skip
        assert words in told[line]


def test_import_is_previewed_then_saved_and_tells_what_was_left_out(signed_in, admin, connection):
    changed(admin, "old.example", "kept.example", note="Before")
    client = signed_in(admin)
    shown = bring(client, "pattern,note\nnew.example,The fair\nkept.example,After\n*.com,\n")
    told = text_of(shown)
    for words in ("1 added", "1 changed", "Line 4", "none of name@domain", "new.example"):
        assert words in told, words
    assert patterns() == ["kept.example", "old.example"]
    assert save(client, shown).status_code == 302
    assert patterns() == ["kept.example", "new.example", "old.example"]
    assert AllowEntry.objects.get(pattern="kept.example").note == "After"
    assert Entry.objects.filter(action="allowlist.imported").count() == 1


def test_import_that_replaces_takes_out_what_it_does_not_name(signed_in, admin, connection):
    changed(admin, "old.example", "kept.example")
    client = signed_in(admin)
    shown = bring(client, "pattern\nkept.example\nnew.example\n", how="replace")
    assert "1 taken out" in text_of(shown)
    save(client, shown)
    assert patterns() == ["kept.example", "new.example"]


def test_import_that_replaces_also_takes_out_what_came_meanwhile_once_that_was_shown(signed_in, admin, connection):
    client = signed_in(admin)
    shown = bring(client, "pattern\nnew.example\n", how="replace")
    changed(admin, "meanwhile.example")
    stale = save(client, shown)
    assert stale.status_code == 409
    assert "1 taken out" in text_of(stale)
    save(client, stale)
    assert patterns() == ["new.example"]


def test_file_that_replaces_must_be_understood_whole(signed_in, admin, connection):
    answer = bring(signed_in(admin), "pattern\nnew.example\n*.com\n", how="replace")
    assert answer.status_code == 422
    told = text_of(answer)
    assert "must be understood whole (1 to mend)" in told
    assert 'value="replace" checked' in answer.content.decode()


@pytest.mark.parametrize("fields", [{}, {"how": "add"}], ids=["nothing", "no file"])
def test_import_without_a_file_says_so(signed_in, admin, connection, fields):
    answer = signed_in(admin).post(f"{ALL}import/check/", fields)
    assert answer.status_code == 422
    assert b"Choose a CSV file" in answer.content


@pytest.mark.slow
def test_twenty_thousand_rows_are_previewed_and_saved(signed_in, admin, connection):
    client = signed_in(admin)
    rows = "".join(f"someone{number}@customer{number % 977}.example,Note number {number}\n" for number in range(20_000))
    shown = bring(client, f"pattern,note\n{rows}")
    assert shown.status_code == 200
    assert "20000 added" in text_of(shown)
    assert save(client, shown).status_code == 302
    assert AllowEntry.objects.in_place().count() == 20_000
    watching = client.post(f"{ALL}preview/", {"mode": "monitor"})
    assert "20000 live entries are more than our gateway takes in one list." in text_of(watching)
    assert "more than our gateway takes" not in text_of(shown)


def test_nobody_but_an_admin_imports(signed_in, reviewer, connection):
    client = signed_in(reviewer)
    assert bring(client, "pattern\nevil.example\n").status_code == 403
    assert b'type="file"' not in client.get(f"{ALL}import/").content


def export(client, **fields):
    answer = client.post(f"{ALL}export/", fields)
    assert answer.status_code == 200
    return answer, list(csv.reader(io.StringIO(b"".join(answer.streaming_content).decode(), newline="")))


@pytest.mark.proves("security 56")
def test_export_holds_no_formula_and_is_noted(signed_in, admin, connection):
    ends = timezone.now() + timedelta(days=9)
    changed(admin, "+ann@x.example", note='=HYPERLINK("http://evil")', expires_at=ends)
    changed(admin, "b.example", note="@SUM(A1)", owner=admin.pk)
    changed(admin, "c.example", note="-1")
    answer, rows = export(signed_in(admin))
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert 'filename="allowlist-all-restriction.csv"' in answer["Content-Disposition"]
    assert rows[0] == ["pattern", "note", "owner", "expires_at"]
    assert rows[1:] == [
        ["'+ann@x.example", '\'=HYPERLINK("http://evil")', "", ends.astimezone(UTC).isoformat()],
        ["b.example", "'@SUM(A1)", admin.email, ""],
        ["c.example", "'-1", "", ""],
    ]
    noted = Entry.objects.get(action="allowlist.exported")
    assert (noted.actor_id, noted.detail.fields["entries"]) == (str(admin.pk), "3")


def test_export_holds_what_the_filter_shows(signed_in, admin, connection):
    changed(admin, "a.example", note="fair")
    changed(admin, "b.example", note="other")
    AllowEntry.objects.filter(pattern="b.example").update(hits=1)
    _, rows = export(signed_in(admin), q="fair")
    assert [row[0] for row in rows[1:]] == ["a.example"]
    _, rows = export(signed_in(admin), show="unused")
    assert [row[0] for row in rows[1:]] == ["a.example"]


def test_export_comes_back_as_it_was(signed_in, admin, connection):
    ends = timezone.now() + timedelta(days=9)
    changed(admin, "+ann@x.example", note='=1+1, "quoted"', expires_at=ends, owner=admin.pk)
    changed(admin, "*.b.example", note="Zoë; 日本")
    client = signed_in(admin)
    answer = client.post(f"{ALL}export/")
    raw = b"".join(answer.streaming_content)
    assert "Nothing would change." in text_of(bring(client, raw, how="replace"))


def test_export_asks_who_one_is_and_is_noted_for_each_who_sees_the_list(signed_in, admin, connection):
    changed(admin, "a.example")
    late = signed_in(make_person("y@yourteam.example", "Y", "auditor"), minutes=11).post(f"{ALL}export/")
    assert "reauthenticate" in late["Location"]
    assert Entry.objects.filter(action="allowlist.exported").count() == 0


@given(st.lists(st.tuples(st.text(max_size=40), st.booleans()), max_size=5))
def test_any_note_comes_back_as_one_line_and_no_cell_begins_a_formula(notes):
    kept = [" ".join(note.replace("\0", "").split()) for note, _ in notes]
    rows = [(f"d{place}.example", note, "", None) for place, note in enumerate(kept)]
    text = "".join(written(rows))
    cells = [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        return
    assert [one.note for one in read(raw).put] == kept


def test_reading_is_bounded_by_what_a_form_may_be(signed_in, admin, connection, monkeypatch):
    monkeypatch.setattr("approvals.allowing.drafts.MAX_PACKED", 100)
    answer = bring(signed_in(admin), "pattern\n" + "".join(f"d{number}.example\n" for number in range(500)))
    assert answer.status_code == 422
    assert "several parts" in text_of(answer)
    assert Allowlist.objects.filter(version__gt=0).count() == 0
    assert csv_files.MAX_ROWS == 20_000
