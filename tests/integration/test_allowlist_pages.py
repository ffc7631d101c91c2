"""The pages of the allowlists: search, changes with a preview, conflicts, history, and
permissions.
"""

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from approvals.models import Decision
from audit.models import Entry
from mirror.models import Message
from people.models import Grant
from policy.allowlists.changes import WantedEntry
from policy.allowlists.forms import read_file
from policy.allowlists.preview import Draft, InvalidDraft, pack, unpack
from policy.allowlists.views import get_visible_list_or_404
from policy.models import AllowEntry, Allowlist, GateList
from tests.factories import (
    actor_of,
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


def save(client, shown, page=ALL):
    packed = re.search(r'name="change" value="([^"]+)"', shown.text)
    assert packed, text_of(shown)
    return client.post(f"{page}save/", {"change": unescape(packed[1])})


def missing(answer, *words):
    """The expected words that are missing on the page."""
    return [one for one in words if one not in text_of(answer)]


def list_for(person, scope="all", kind="restriction"):
    return get_visible_list_or_404(scope, kind, actor_of(person))


def test_preview_shows_the_change_and_saving_applies_it_and_notifies_gates_and_ledger(
    signed_in, admin, connection
):
    change_list(admin, "northwind.example", note="Customers")
    GateList.objects.update(pushed=1)
    client = signed_in(admin)
    lines = "dana@x.example\n*.com\nnorthwind.example\nDANA@X.example.\nevil@@x"
    shown = preview(client, lines=lines, note="The  fair", owner=admin.email)
    assert shown.status_code == 200
    assert missing(shown, "1 added", "1 changed", "Line 2", "Line 4", "Line 5") == []
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


def test_enforcing_names_what_it_would_block_and_allows_it_with_the_same_change(
    signed_in, admin, connection
):
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
    assert missing(shown, "Enforce, blocking 4", "No entry can name it") == []
    ticked = re.findall(r'name="allow" value="([^"]+)"\s+checked', shown.text)
    assert ticked == ["dana@x.example", "lee@x.example", "eve@y.example"]

    def allow(*patterns, page=shown, **fields):
        packed = unescape(re.search(r'name="change" value="([^"]+)"', page.text)[1])
        return client.post(
            f"{ALL}preview/",
            {"do": "allow", "change": packed, "allow": patterns, **fields},
        )

    assert allow("nobody@").status_code == 422
    again = allow("x.example", "dana@x.example", "eve@y.example", note="The  fair")
    assert missing(again, "Enforce, blocking 1", "2 added") == []
    save(client, again)
    assert Allowlist.objects.get().mode == "enforce"
    assert listed_patterns(note="The fair", owner=admin) == [
        "eve@y.example",
        "x.example",
    ]


def test_concurrent_change_is_shown_and_the_own_edit_is_preserved(
    signed_in, admin, connection
):
    client = signed_in(admin)
    shown = preview(client, lines="dana@x.example")
    rival = make_person("eve@yourteam.example", "Eve Rival", "admin")
    change_list(rival, "rival.example", mode="monitor")
    stale = save(client, shown)
    assert stale.status_code == 409
    assert missing(stale, "Eve Rival", "rival.example", "dana@x.example") == []
    assert listed_patterns() == ["rival.example"]
    assert save(client, stale).status_code == 302
    assert listed_patterns() == ["dana@x.example", "rival.example"]


def test_signed_preview_is_valid_only_for_its_list_and_its_person(
    signed_in, admin, connection
):
    other = make_person("eve@yourteam.example", "Eve", "admin")
    at = list_for(admin)
    actor = actor_of(admin)
    packet = pack(Draft(put=(WantedEntry("dana@x.example"),)), at, actor)
    for there, who in (
        (list_for(admin, kind="bypass"), actor),
        (at, actor_of(other)),
    ):
        with pytest.raises(InvalidDraft):
            unpack(packet, there, who)
    client = signed_in(other)
    allowed = {"do": "allow", "change": packet, "allow": "a.example"}
    assert client.post(f"{ALL}save/", {"change": packet}).status_code == 422
    assert client.post(f"{ALL}preview/", allowed).status_code == 422


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


def test_only_admins_of_a_list_change_it(signed_in, connection):
    mailbox = connection.mailboxes.get()
    client = signed_in(make_person("x@y.example", "X", "admin", mailbox=mailbox))
    assert preview(client, lines="evil.example").status_code == 403
    assert client.post(f"{ALL}save/", {"change": "x"}).status_code == 403


def test_url_of_an_invalid_or_invisible_list_is_404(signed_in, connection):
    mailbox = connection.mailboxes.get()
    client = signed_in(make_person("m@y.example", "M", "admin", mailbox=mailbox))
    other = f"connection-{make_connection('other').pk}"
    for scope in ("mailbox-0", "nobody", "connection-x", other):
        answer = client.get(f"/allowlists/{scope}/restriction/")
        assert answer.status_code == 404, scope
    assert client.get("/allowlists/all/sideways/").status_code == 404


def read(text, people=None):
    raw = text if isinstance(text, bytes) else text.encode()
    return read_file(raw, people=people or {})


def post_import(client, text, how="add"):
    raw = text if isinstance(text, bytes) else text.encode()
    upload = SimpleUploadedFile("list.csv", raw, content_type="text/csv")
    return client.post(f"{ALL}import/check/", {"file": upload, "how": how})


def test_files_in_common_csv_dialects_are_read():
    for name, text in {
        "semicolons": "pattern;note\nx.example;The fair\n",
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
        ("x.example\ny.example\n", "first line must name the columns"),
        ("pattern,colour\nx.example,red\n", "'colour'"),
        ("pattern\n" + "x.example\n" * 21, "more than 20 rows"),
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
        "d.example,,,,more\n"
        "e.example,,,2026-12-31T18:00:00+02:00\n"
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
        4: "none of name@domain", 5: "already on line 2", 6: "nobody@x.example", 7: "5 columns",
    }  # fmt: skip
    assert (
        {line for line, words in wanted.items() if words in sentences[line]}
        == set(sentences)
        == set(wanted)
    )


def test_replacement_with_invalid_rows_is_refused(signed_in, admin):
    answer = post_import(
        signed_in(admin), "pattern\nnew.example\n*.com\n", how="replace"
    )
    says(answer, 422, "must have no errors")


def test_export_holds_no_formula_is_noted_and_comes_back_as_it_was(signed_in, admin):
    ends = timezone.now() + timedelta(days=9)
    change_list(
        admin, "+ann@x.example", note='=HYPERLINK("http://evil")', expires_at=ends
    )
    change_list(admin, "b.example", note="@SUM(A1); Zoë 日本", owner=admin.pk)
    change_list(admin, "c.example", note="-1")
    client = signed_in(admin)
    raw = b"".join(client.post(f"{ALL}export/").streaming_content)
    assert list(csv.reader(io.StringIO(raw.decode(), newline=""))) == [
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
    assert "Nothing would change." in text_of(post_import(client, raw, how="replace"))


DANA = "dana@northwind.example"


@pytest.fixture
def keeper(reviewer):
    """A reviewer who is also an admin of everything."""
    Grant.objects.create(person=reviewer, role="admin")
    return reviewer


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
