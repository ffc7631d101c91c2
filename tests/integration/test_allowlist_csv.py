"""Allowlists as CSV: common dialects are read, errors are reported by line, and exports
hold no formulas.
"""

import csv
import io
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from audit.models import Entry
from policy.allowlists.forms import ImportForm, read_file, written
from policy.models import AllowEntry, Allowlist
from tests.factories import change_list
from tests.integration.test_allowlist_pages import ALL, patterns, save
from tests.markup import says, text_of


def read(text, people=None):
    raw = text if isinstance(text, bytes) else text.encode()
    return read_file(raw, people=people or {})


def post_import(client, text, how="add"):
    raw = text if isinstance(text, bytes) else text.encode()
    upload = SimpleUploadedFile("list.csv", raw, content_type="text/csv")
    return client.post(f"{ALL}import/check/", {"file": upload, "how": how})


def test_files_in_common_csv_dialects_are_read():
    for name, text in {
        "crlf": "pattern,note\r\nx.example,The fair\r\n",
        "semicolons": "pattern;note\nx.example;The fair\n",
        "tabs": "pattern\tnote\nx.example\tThe fair",
        "byte order mark": "\ufeffpattern,note\nx.example,The fair\n",
        "quotes and blanks": 'Pattern , NOTE\n"x.example","The fair"\n\n,\n',
        "other order": "note,pattern\nThe fair,*@X.example.\n",
    }.items():
        found = read(text)
        assert [(one.pattern, one.note) for one in found.put] == [
            ("x.example", "The fair")
        ], name
        assert found.problems == (), name


def test_file_that_cannot_be_read_says_why(monkeypatch):
    monkeypatch.setattr("policy.allowlists.forms.MAX_ROWS", 20)
    for text, words in (
        (b"pattern\nx\xff.example\n", "Line 2 is not in UTF-8"),
        ("pattern\nx.example\n".encode("utf-16"), "zero bytes"),
        ("x.example\ny.example\n", "first line must name the columns"),
        ("pattern,colour\nx.example,red\n", "'colour'"),
        ("pattern,pattern\nx.example,y.example\n", "unknown or repeated column"),
        ("", "first line must name"),
        ("pattern\n" + "x.example\n" * 21, "more than 20 rows"),
        ("pattern\n" + "x" * 1024 * 1024, "larger than 1 MB"),
        ('pattern\n"' + "x" * 200_000, "cannot be read as CSV"),
    ):
        with pytest.raises(ValidationError, match=re.escape(words)):
            read(text)


def test_invalid_rows_are_reported_by_line_and_the_others_count():
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
    assert [
        (one.pattern, one.note, one.owner, one.expires_at) for one in found.put
    ] == [
        ("a.example", "two lines", 7, datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("e.example", "", None, datetime(2026, 12, 31, 16, tzinfo=UTC)),
    ]
    sentences = {error.line: error.sentence for error in found.problems}
    wanted = {
        4: "none of name@domain", 5: "already on line 2", 6: "nobody@x.example", 7: "'soon'", 8: "5 columns",
        10: "longer than 300",
    }  # fmt: skip
    assert (
        {line for line, words in wanted.items() if words in sentences[line]}
        == set(sentences)
        == set(wanted)
    )


@pytest.mark.slow
def test_replacing_import_removes_unnamed_entries_including_those_added_meanwhile(
    signed_in, admin, connection
):
    change_list(admin, "old.example", "kept.example")
    client = signed_in(admin)
    shown = post_import(client, "pattern\nkept.example\nnew.example\n", how="replace")
    assert "1 removed" in text_of(shown)
    change_list(admin, "meanwhile.example")
    stale = save(client, shown)
    says(stale, 409, "2 removed")
    save(client, stale)
    assert patterns() == ["kept.example", "new.example"]


def test_missing_file_or_replacement_with_invalid_rows_is_refused(signed_in, admin):
    assert ImportForm({}, {}).first_field_error() == ("file", "Choose a CSV file.")
    answer = post_import(
        signed_in(admin), "pattern\nnew.example\n*.com\n", how="replace"
    )
    says(answer, 422, "must have no errors (1 to correct)")
    assert 'value="replace" checked' in answer.text


@pytest.mark.slow
def test_twenty_thousand_rows_are_previewed_and_saved(signed_in, admin, connection):
    client = signed_in(admin)
    rows = "".join(
        f"someone{number}@customer{number % 977}.example,Note number {number}\n"
        for number in range(20_000)
    )
    shown = post_import(client, f"pattern,note\n{rows}")
    says(shown, 200, "20000 added")
    assert save(client, shown).status_code == 302
    assert AllowEntry.objects.not_removed().count() == 20_000
    monitored = client.post(f"{ALL}preview/", {"mode": "monitor"})
    assert "20000 live entries are more than the gateway takes in one list." in text_of(
        monitored
    )
    assert "more than the gateway takes" not in text_of(shown)


def export(client, **fields):
    answer = client.post(f"{ALL}export/", fields)
    assert answer.status_code == 200
    return answer, b"".join(answer.streaming_content)


def cells(raw):
    return list(csv.reader(io.StringIO(raw.decode(), newline="")))


def test_export_holds_no_formula_is_noted_and_comes_back_as_it_was(signed_in, admin):
    ends = timezone.now() + timedelta(days=9)
    change_list(
        admin, "+ann@x.example", note='=HYPERLINK("http://evil")', expires_at=ends
    )
    change_list(admin, "b.example", note="@SUM(A1); Zoë 日本", owner=admin.pk)
    change_list(admin, "c.example", note="-1")
    client = signed_in(admin)
    answer, raw = export(client)
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert 'filename="allowlist-all-restriction.csv"' in answer["Content-Disposition"]
    assert cells(raw) == [
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
    noted = Entry.objects.get(action="allowlist.exported")
    assert noted.actor_id == str(admin.pk)
    assert noted.detail.fields["entries"] == "3"
    assert "Nothing would change." in text_of(post_import(client, raw, how="replace"))


@pytest.mark.slow
@given(st.lists(st.tuples(st.text(max_size=40), st.booleans()), max_size=5))
def test_any_note_comes_back_as_one_line_and_no_cell_begins_a_formula(notes):
    expected = [" ".join(note.replace("\0", "").split()) for note, _ in notes]
    rows = [
        (f"d{number}.example", note, "", None) for number, note in enumerate(expected)
    ]
    text = "".join(written(rows))
    found = [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]
    assert not [
        cell for cell in found if cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    ]
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        return
    assert [one.note for one in read(raw).put] == expected


def test_reading_is_limited_to_the_maximum_size_of_a_form(
    signed_in, admin, monkeypatch
):
    monkeypatch.setattr("policy.allowlists.preview.MAX_PACKED", 100)
    answer = post_import(
        signed_in(admin),
        "pattern\n" + "".join(f"d{number}.example\n" for number in range(500)),
    )
    says(answer, 422, "Split them")
    assert not Allowlist.objects.filter(version__gt=0).exists()
