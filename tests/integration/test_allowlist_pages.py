"""The pages of the allowlists: search, changes with a preview, conflicts, CSV
files, and permissions.
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

from approvals.models import Decision
from audit.models import Entry
from mirror.models import Message
from people.models import Grant
from policy.allowlists.changes import WantedEntry
from policy.allowlists.files import read_file
from policy.models import AllowEntry, Allowlist, GateList
from tests.factories import (
    change_list,
    listed_patterns,
    make_connection,
    make_list,
    make_message,
    make_person,
)
from tests.markup import says, text_of

ALL = "/allowlists/all/restriction/"


def preview(client, page=ALL, **fields):
    return client.post(f"{page}preview/", fields)


def save(client, shown):
    form = shown.text.partition(f'action="{ALL}save/"')[2].partition("</form>")[0]
    fields = {"version": re.search(r'name="version"\s+value="(\d+)"', form)[1]}
    for name, value in re.findall(r'name="(\w+)" hidden>([^<]*)<', form):
        fields.setdefault(name, []).append(unescape(value))
    return client.post(f"{ALL}save/", fields)


def missing(answer, *words):
    """The expected words that are missing on the page."""
    return [one for one in words if one not in text_of(answer)]


def test_preview_shows_the_change_and_saving_applies_it_and_notifies_gates_and_ledger(
    signed_in, admin, connection
):
    change_list(admin, "northwind.example", note="Customers")
    GateList.objects.update(pushed=1)
    client = signed_in(admin)
    lines = "dana@x.example\n*.com\nnorthwind.example\nDANA@X.example.\nevil@@x"
    shown = preview(client, lines=lines, note="The  fair", owner=admin.email)
    assert shown.status_code == 200
    assert missing(shown, "1 added", "1 changed", "Line 2", "Line 5") == []
    assert listed_patterns() == ["northwind.example"]

    answer = save(client, shown)
    assert answer["Location"] == ALL
    assert listed_patterns(note="The fair", owner=admin, added_by=admin) == [
        "dana@x.example",
        "northwind.example",
    ]
    assert (
        GateList.objects.filter(kind="restriction", wanted=2, pushed=1).count()
        == connection.mailboxes.count()
    )


@pytest.mark.slow
def test_enforcing_names_what_it_would_block(signed_in, admin, connection):
    for to in (
        ["dana@x.example"],
        ["Dana@X.example", "lee@x.example"],
        ["eve@y.example"],
        ["ok@z.example"],
    ):
        make_message(connection, to_addresses=to)
    make_message(connection, to_addresses=["a@b@evil.io"])
    Message.objects.update(held_at=timezone.now(), changed_at=timezone.now())
    client = signed_in(admin)
    change_list(admin, "z.example", mode="monitor")
    shown = preview(client, mode="enforce")
    assert missing(shown, "Enforce, blocking 4", "a@b@evil.io 1 message") == []
    assert save(client, shown).status_code == 302
    assert Allowlist.objects.get().mode == "enforce"


@pytest.mark.slow
def test_concurrent_change_is_shown_and_the_own_edit_is_preserved(
    signed_in, admin, connection
):
    client = signed_in(admin)
    shown = preview(client, lines="dana@x.example")
    rival = make_person("eve@yourteam.example", "Eve Rival", "admin")
    change_list(rival, "rival.example", mode="monitor")
    stale = save(client, shown)
    assert stale.status_code == 409
    assert missing(stale, "Eve Rival changed", "dana@x.example") == []
    assert listed_patterns() == ["rival.example"]
    assert save(client, stale).status_code == 302
    assert listed_patterns() == ["dana@x.example", "rival.example"]


@pytest.mark.slow
def test_address_finds_every_entry_that_lets_it_through_in_all_lists(
    signed_in, admin, connection
):
    change_list(admin, "northwind.example", "evilnorthwind.example")
    change_list(admin, "dana@mail.northwind.example", connection=connection.pk)
    change_list(admin, "y.example", note="For the spring fair")
    found = text_of(
        signed_in(admin).get("/allowlists/?q=Dana@Mail.NORTHWIND.example.")
    ).partition("Lists")[0]
    assert "dana@mail.northwind.example" in found
    assert "evilnorthwind" not in found
    assert [
        one.pattern for one in AllowEntry.objects.not_removed().found_by("spring")
    ] == ["y.example"]


@pytest.mark.slow
def test_page_of_an_entry_has_its_history_also_from_before_it_was_removed(
    signed_in, admin, reviewer, connection
):
    ends = timezone.now() + timedelta(days=9)
    change_list(admin, "x.example", note="Fair", owner=admin.pk)
    change_list(admin, "x.example", "y.example", note="Autumn", expires_at=ends)
    change_list(admin, remove=["x.example"])
    Grant.objects.create(person=reviewer, role="admin")
    change_list(reviewer, "x.example")
    page = signed_in(reviewer).get(ALL)
    (path,) = re.findall(r'href="(/allowlists/entries/\d+/)">x.example', page.text)
    told = text_of(signed_in(reviewer).get(path)).partition("History")[2]
    wanted = (
        f"{reviewer} added it No note, no owner, never ends version 4",
        f"{admin} removed it version 3",
        f"{admin} changed it “ Autumn ”, no owner, ends {ends:%-d %b %Y, %H:%M} UTC version 2",
        f"{admin} added it “ Fair ”, owner {admin}, never ends version 1",
    )
    places = [told.find(one) for one in wanted]
    assert -1 not in places, told
    assert places == sorted(places)
    stranger = make_person(
        "s@y.example", "S", "reviewer", connection=make_connection("other")
    )
    # The list for all mail applies to every mailbox; those of others do not.
    assert signed_in(stranger).get(path).status_code == 200
    change_list(admin, "z.example", connection=connection.pk)
    other = AllowEntry.objects.get(pattern="z.example")
    hidden = signed_in(stranger).get(f"/allowlists/entries/{other.pk}/")
    assert hidden.status_code == 404


def test_only_admins_of_a_list_change_it(signed_in, connection):
    mailbox = connection.mailboxes.get()
    client = signed_in(make_person("x@y.example", "X", "admin", mailbox=mailbox))
    assert preview(client, lines="evil.example").status_code == 403
    answer = client.post(f"{ALL}save/", {"lines": "evil.example", "version": "0"})
    assert answer.status_code == 403


def test_url_of_an_invalid_or_invisible_list_is_404(signed_in, connection):
    mailbox = connection.mailboxes.get()
    client = signed_in(make_person("m@y.example", "M", "admin", mailbox=mailbox))
    other = f"connection-{make_connection('other').pk}"
    for scope in ("mailbox-0", "nobody", "connection-x", other):
        answer = client.get(f"/allowlists/{scope}/restriction/")
        assert answer.status_code == 404, scope
    assert client.get("/allowlists/all/sideways/").status_code == 404


def send_file(client, text, **fields):
    raw = text if isinstance(text, bytes) else text.encode()
    return preview(client, file=SimpleUploadedFile("list.csv", raw), **fields)


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
    client = signed_in(admin)
    for text, words in (
        (b"pattern\nx\xff.example\n", "not text in UTF-8"),
        ("x.example\ny.example\n", "first line must name the columns"),
        ("pattern,colour\nx.example,red\n", "first line must name the columns"),
        ("pattern\na.example\nb.example\nc.example\n", "at most 2 at a time"),
        ('pattern\n"' + "x" * 200_000, "cannot be read as CSV"),
        ("pattern\n*.com\n", "at least one valid"),
    ):
        says(send_file(client, text), 422, words)
    replaced = send_file(client, "pattern\nnew.example\n*.com\n", whole="on")
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
    change_list(admin, "old.example", mode="monitor")
    client = signed_in(admin)
    text = f"pattern,owner,note\n*@New.example,{admin.email},Fair\n"
    shown = send_file(client, text)
    assert missing(shown, "1 added", "new.example") == []
    assert listed_patterns() == ["old.example"]
    assert save(client, shown).status_code == 302
    assert listed_patterns() == ["new.example", "old.example"]
    shown = send_file(client, text, whole="on")
    assert missing(shown, "1 removed", "1 unchanged", "old.example") == []
    assert save(client, shown).status_code == 302
    assert listed_patterns(owner=admin, note="Fair") == ["new.example"]
    assert listed_patterns() == ["new.example"]


def test_export_holds_no_formula_is_noted_and_comes_back_as_it_was(signed_in, admin):
    ends = timezone.now() + timedelta(days=9)
    change_list(
        admin, "+ann@x.example", note='=HYPERLINK("http://evil")', expires_at=ends
    )
    change_list(admin, "b.example", note="@SUM(A1); Zoë 日本", owner=admin.pk)
    change_list(admin, "c.example", note="-1")
    client = signed_in(admin)
    raw = b"".join(client.post(f"{ALL}export/").streaming_content)
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
    assert "Nothing would change." in text_of(send_file(client, raw, whole="on"))
    found = b"".join(client.post(f"{ALL}export/", {"q": "zoë"}).streaming_content)
    assert found.count(b"\n") == 2


DANA = "dana@northwind.example"


@pytest.fixture
def keeper(reviewer):
    """A reviewer who is also an admin of everything."""
    Grant.objects.create(person=reviewer, role="admin")
    return reviewer


@pytest.mark.slow
def test_refused_approval_lets_an_admin_allow_the_address_and_decide(
    signed_in, keeper, second_reviewer, connection
):
    message = make_message(connection, cc=["bo@acme.com"])
    make_list("acme.com", connection=connection)
    path = f"/queue/{message.public_id}/allow/"
    answer = signed_in(second_reviewer).post(path, {"address": DANA})
    assert answer.status_code == 403
    client = signed_in(keeper)
    # Only a refused recipient can be allowed.
    for address in ("bo@acme.com", "eve@evil.io", "northwind.example"):
        answer = client.post(path, {"address": address})
        assert answer.status_code == 422, address
    sent = {"outcome": "approve", "fingerprint": message.revision.fingerprint}
    answer = client.post(f"/queue/{message.public_id}/verdict/", sent)
    assert answer.status_code == 403
    assert f"{DANA} is on no allowlist for support@yourteam.example" in answer.text
    assert answer.text.count("Allow this address for 7 days") == 1

    answer = client.post(path, {"address": DANA}, follow=True)
    assert "Nothing is decided yet." in answer.text
    assert f"allowed by {DANA} on the list for" in text_of(answer)
    assert not Decision.objects.exists()
    assert Entry.objects.get(action="allowlist.allowed").actor_id == str(keeper.pk)
