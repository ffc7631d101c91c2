"""Allowlists: their changes with a preview, conflicts, CSV files and permissions, and
which changes wait for a second admin.
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
from policy.allowlists.changes import WantedEntry
from policy.allowlists.pages import read_lines

from audit.models import Entry
from people.second_admin.registry import SecondAdminNeeded
from policy.models import AllowEntry, Allowlist, PolicyVersion
from tests.factories import (
    change_list,
    listed_patterns,
    make_connection,
    make_list,
    make_person,
    put_in_force,
    rolled_back,
)
from tests.integration.deciding import at_once
from tests.integration.test_second_admin import switch_on
from tests.ledger import latest_details
from tests.markup import text_of


def preview(client, at, lines="", **fields):
    return client.post(f"{at.url}change/", {"lines": lines, **fields})


def send_file(client, at, text, **fields):
    raw = text if isinstance(text, bytes) else text.encode()
    return preview(client, at, file=SimpleUploadedFile("list.csv", raw), **fields)


def steps(shown):
    """What the page of a preview says is done, by pattern."""
    return {one.pattern: one.did for one in shown.context["steps"]}


def save(client, shown):
    """Press Save on the page of a preview."""
    action, form = re.search(
        r'action="([^"]+/change/)"(.*?)</form>', shown.text, re.S
    ).groups()
    fields = {"lines": unescape(re.search(r"hidden>\n(.*?)</textarea>", form, re.S)[1])}
    for name, value in re.findall(r'name="(\w+)"\s+value="([^"]*)"', form):
        fields.setdefault(name, []).append(unescape(value))
    return client.post(action, fields)


@pytest.fixture
def client(signed_in, admin):
    """A signed-in client of an admin."""
    return signed_in(admin)


def test_preview_shows_the_change_and_saving_applies_it_as_one_version(client, admin):
    at = make_list("northwind.example", "old.example")
    # Stored under older rules for entries: it can still be removed.
    AllowEntry.objects.create(allowlist=at, pattern="eve%evil.example@x.example")
    lines = "dana@x.example, Fair\n*.com\nNORTHWIND.example, Fair\nevil@@x"
    gone = ["old.example", "eve%evil.example@x.example"]
    shown = preview(client, at, lines, remove=gone)
    added, changed = "dana@x.example", "northwind.example"
    done = {added: "added", changed: "changed", **dict.fromkeys(gone, "removed")}
    assert steps(shown) == done
    assert [line for line, _ in shown.context["problems"]] == [2, 4]
    # Somebody else changes the list: what was typed is kept.
    rival = make_person("eve@yourteam.example", "Eve Rival", "admin")
    change_list(rival, "rival.example")
    stale = save(client, shown)
    assert stale.status_code == 409
    assert "Eve Rival" in text_of(stale)
    assert steps(stale) == done
    assert save(client, stale)["Location"] == at.url
    assert listed_patterns() == [added, changed, "rival.example"]
    assert listed_patterns(note="Fair") == [added, changed]
    said = latest_details("allowlist.changed")
    assert (said["added"], said["changed"]) == (added, changed)
    # A change without effect makes no version.
    assert change_list(admin, added, note="Fair", remove=["x.example"]).version == 3


def test_list_is_made_and_deleted_unless_a_rule_or_draft_names_it(client, mailbox):
    typed = {"name": "Ours", "target": f"mailbox-{mailbox.pk}"}
    client.post("/allowlists/add/", typed)
    at = Allowlist.objects.get(mailbox=mailbox)
    for wrong in (typed, {**typed, "name": " 0URS "}, {**typed, "target": "mailbox-0"}):
        assert client.post("/allowlists/add/", wrong).status_code == 422
    for how in ("lists", "lists_except"):
        with rolled_back():
            put_in_force({"when": {how: [at.pk]}, "then": {"reject": "No."}})
            assert client.post(f"{at.url}delete/").status_code == 422
    rule = {"id": "a", "name": "A", "when": {"lists": [at.pk]}, "then": {"care": True}}
    draft = PolicyVersion.objects.create(number=1, rules=[rule])
    assert client.post(f"{at.url}delete/").status_code == 422
    draft.delete()
    client.post(f"{at.url}delete/")
    assert not Allowlist.objects.exists()


def test_lists_of_others_are_not_shown_and_only_their_admins_change_them(
    client, signed_in, connection
):
    everywhere = make_list("x.example")
    here = make_list("y.example", connection=connection)
    mailbox = make_connection("other").mailboxes.get()
    signed_in(make_person("x@y.example", "X", "admin", mailbox=mailbox))
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


# --- second admin ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "waiting"),
    [
        (None, {"added", "longer"}),
        ("lists_except", {"added", "longer"}),
        # Such a rule may apply to fewer messages then.
        ("lists", {"added", "longer", "shorter", "removed"}),
    ],
)
def test_change_waits_for_a_second_admin_where_it_may_let_out_more(
    admin, second, when, waiting
):
    soon, later = (timezone.now() + timedelta(days=one) for one in (1, 9))
    at = make_list("acme.com")
    at.entries.update(expires_at=later)
    put_in_force({"when": {when: [at.pk]} if when else {}, "then": {"care": True}})
    switch_on()
    waits = set()
    for name, patterns, more in (
        ("added", ["b.example"], {}),
        ("longer", ["acme.com"], {}),
        ("shorter", ["acme.com"], {"expires_at": soon}),
        ("removed", [], {"remove": ["acme.com"]}),
    ):
        with rolled_back():
            try:
                change_list(admin, *patterns, **more)
            except SecondAdminNeeded:
                waits.add(name)
    assert waits == waiting


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_of_many_concurrent_changes_to_one_version_one_succeeds(client):
    at = make_list()
    shown = [preview(client, at, f"c{one}.example") for one in range(2)]
    found = at_once(*(lambda one=one: save(client, one) for one in shown))
    assert sorted(one.status_code for one in found) == [302, 409]
    assert Allowlist.objects.get().version == 2


# --- files ----------------------------------------------------------------------------


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
    assert [line for line, _ in problems] == [2, 3, 4, 5, 6, 7]


def test_what_cannot_be_read_is_refused(client, monkeypatch):
    monkeypatch.setattr("policy.allowlists.pages.MAX_LINES", 2)
    at = make_list()
    for text, fields in (
        (b"x\xff.example\n", {}),
        ("a.example\nb.example\nc.example\n", {}),
        ("pattern\n*.com\n", {}),
        (b"x" * 900_001, {}),
        ("new.example\n*.com\n", {"whole": "on"}),
        ("a.example", {"lines": "b.example"}),
        ("a.example\0", {}),
    ):
        assert send_file(client, at, text, **fields).status_code == 422, text[:20]
    assert preview(client, at, "a.example\0").status_code == 422


def test_export_holds_no_formula_and_comes_back_as_it_was(client, admin):
    ends = timezone.now() + timedelta(days=9)
    at = make_list("b.example", "c.example")
    link = '=HYPERLINK("http://evil")'
    change_list(admin, "+ann@x.example", note=link, expires_at=ends)
    change_list(admin, "b.example", note="@SUM(A1); Zoë 日本")
    raw = b"".join(client.post(f"{at.url}export/").streaming_content)
    # Excel reads UTF-8 by its byte order mark only.
    assert raw.startswith(codecs.BOM_UTF8)
    text = raw.decode("utf-8-sig")
    assert list(csv.reader(io.StringIO(text, newline=""))) == [
        ["pattern", "note", "ends"],
        ["'+ann@x.example", f"'{link}", ends.astimezone(UTC).isoformat()],
        ["b.example", "'@SUM(A1); Zoë 日本", ""],
        ["c.example", "", ""],
    ]
    assert Entry.objects.get(action="allowlist.exported").actor_id == str(admin.pk)
    assert steps(send_file(client, at, raw, whole="on")) == {}
    less = send_file(client, at, text.replace("c.example", "d.example"), whole="on")
    assert steps(less) == {"d.example": "added", "c.example": "removed"}
    found = b"".join(client.post(f"{at.url}export/", {"q": "zoë"}).streaming_content)
    assert found.count(b"\n") == 2
