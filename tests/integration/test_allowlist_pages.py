"""The pages of the allowlists: search, changes with a preview, conflicts, history, and
permissions.
"""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.db import connection as database
from django.http import Http404, QueryDict
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit.models import Entry
from mirror.models import Message
from policy.allowlists.changes import WantedEntry
from policy.allowlists.forms import ChangeForm
from policy.allowlists.gates import gate_status
from policy.allowlists.preview import Draft, InvalidDraft, pack, unpack
from policy.allowlists.views import get_visible_list_or_404
from policy.models import AllowEntry, Allowlist, GateList
from tests.factories import (
    actor_of,
    change_list,
    make_connection,
    make_message,
    make_person,
)
from tests.markup import text_of

ALL = "/allowlists/all/restriction/"


def preview(client, page=ALL, **fields):
    return client.post(f"{page}preview/", fields)


def save(client, shown, page=ALL):
    packed = re.search(r'name="change" value="([^"]+)"', shown.text)
    assert packed, text_of(shown)
    return client.post(f"{page}save/", {"change": unescape(packed[1])})


def patterns(**which):
    return sorted(
        AllowEntry.objects.not_removed()
        .filter(**which)
        .values_list("pattern", flat=True)
    )


def spaced(answer):
    """The page with single spaces, so that attributes follow each other."""
    return re.sub(r"\s+", " ", answer.text)


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
    assert missing(
        shown, "1 added", "1 changed", "dana@x.example", "note “ Customers ” becomes “ The fair ”",
        "Line 2 '*.com' is none of name@domain", "Line 4 dana@x.example is listed twice",
        "Line 5 'evil@@x' is none of",
    ) == []  # fmt: skip
    assert patterns() == ["northwind.example"]

    answer = save(client, shown)
    assert answer.status_code == 302
    assert answer["Location"] == ALL
    assert patterns(note="The fair", owner=admin, added_by=admin) == [
        "dana@x.example",
        "northwind.example",
    ]
    assert (
        GateList.objects.filter(kind="restriction", wanted=2, pushed=1).count()
        == connection.mailboxes.count()
    )
    assert (
        Entry.objects.filter(action="allowlist.changed")
        .latest("pk")
        .detail.fields["added"]
        == "dana@x.example"
    )
    page = client.get(ALL)
    assert "Saved as version 2." in page.text
    assert missing(page, "2 entries, 2 live") == []


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
    assert "The list has no live entry." in text_of(preview(client, mode="enforce"))
    change_list(admin, "z.example", mode="monitor")
    assert "Show what Enforce would block" in text_of(client.get(ALL))
    shown = preview(client, mode="enforce")
    assert (
        missing(
            shown,
            "Enforce, blocking 4",
            "4 more messages blocked, to 4 recipients",
            "No entry can name it",
        )
        == []
    )
    ticked = re.findall(r'name="allow" value="([^"]+)" checked', spaced(shown))
    assert ticked == ["dana@x.example", "lee@x.example", "eve@y.example"]

    def allow(*patterns, page=shown, **fields):
        packed = unescape(re.search(r'name="change" value="([^"]+)"', page.text)[1])
        return client.post(
            f"{ALL}preview/",
            {"do": "allow", "change": packed, "allow": patterns, **fields},
        )

    for patterns_, note, words in (
        ((), "Why not", "Select at least one"), (("nobody@",), "Why not", "is none of"),
        (("y.example",), "x" * 301, "300"),
    ):  # fmt: skip
        wrong = allow(*patterns_, note=note)
        assert wrong.status_code == 422, words
        assert missing(wrong, words, "Enforce, blocking 4") == [], words
        assert (f'value="{note}"' in wrong.text) is True
        kept = re.findall(r'name="allow" value="([^"]+)" checked', spaced(wrong))
        assert kept == [one for one in patterns_ if one == "y.example"]
    again = allow("x.example", "dana@x.example", "eve@y.example", note="The  fair")
    assert (
        missing(again, "Enforce, blocking 1", "2 added", "x.example", "eve@y.example")
        == []
    )
    assert Allowlist.objects.get().mode == "monitor"
    save(client, again)
    assert Allowlist.objects.get().mode == "enforce"
    assert patterns(note="The fair", owner=admin) == ["eve@y.example", "x.example"]
    detail = Entry.objects.filter(action="allowlist.changed").latest("pk").detail.fields
    assert detail["added"] == "x.example, eve@y.example"
    assert detail["mode"] == "enforce"


def test_concurrent_change_is_shown_and_the_own_edit_is_preserved(
    signed_in, admin, connection
):
    client = signed_in(admin)
    shown = preview(client, lines="dana@x.example")
    rival = make_person("eve@yourteam.example", "Eve Rival", "admin")
    change_list(rival, "rival.example", mode="monitor")
    stale = save(client, shown)
    assert stale.status_code == 409
    assert missing(
        stale, "you saw version 0, now it is version 1", "Eve Rival", "rival.example",
        "set the mode from “Off” to “Monitor”", "no note, no owner, never ends", "dana@x.example",
        "Save over version 1",
    ) == []  # fmt: skip
    assert patterns() == ["rival.example"]
    assert save(client, stale).status_code == 302
    assert patterns() == ["dana@x.example", "rival.example"]


def test_signed_preview_is_valid_only_for_its_list_and_its_person(
    signed_in, admin, connection
):
    other = make_person("eve@yourteam.example", "Eve", "admin")
    at = list_for(admin)
    actor = actor_of(admin)
    packet = pack(Draft(put=(WantedEntry("dana@x.example"),)), at, actor)
    assert unpack(packet, at, actor)[0] == 0
    for there, who in (
        (list_for(admin, kind="bypass"), actor),
        (at, actor_of(other)),
    ):
        with pytest.raises(InvalidDraft):
            unpack(packet, there, who)
    client = signed_in(other)
    assert client.post(f"{ALL}save/", {"change": packet}).status_code == 422
    assert (
        client.post(
            f"{ALL}preview/", {"do": "allow", "change": packet, "allow": "a.example"}
        ).status_code
        == 422
    )
    assert patterns() == []


def test_errors_are_shown_at_their_fields_and_the_input_is_preserved(signed_in, admin):
    at = list_for(admin)
    for fields, field, words in (
        ({"lines": ""}, "lines", "Enter at least one"),
        ({"lines": "x"}, "lines", "No line is an address"),
        (
            {"lines": "x.example", "owner": "nobody@x.example"},
            "owner",
            "Nobody here has this address",
        ),
        (
            {"lines": "x.example", "expires_at": "2020-01-01T00:00"},
            "expires_at",
            "has passed",
        ),
        ({"mode": "sideways"}, "mode", "Choose one of the modes"),
    ):
        query = QueryDict(mutable=True)
        query.update(fields)
        found, sentence = ChangeForm(query, at=at).first_field_error()
        assert found == field, fields
        assert words in sentence, fields
    answer = preview(signed_in(admin), lines="x.example", expires_at="soon")
    page = answer.text
    assert answer.status_code == 422
    assert "Enter a date and time" in page
    assert 'aria-invalid="true"' in page.partition('id="add-ends"')[2].partition(">")[0]
    assert ">x.example</textarea>" in page


def test_address_finds_every_entry_that_lets_it_through_in_all_lists(
    signed_in, admin, connection
):
    change_list(admin, "northwind.example", "evilnorthwind.example")
    change_list(
        admin,
        "*.northwind.example",
        "dana@mail.northwind.example",
        connection=connection.pk,
    )
    change_list(admin, "y.example", note="For the spring fair")
    found = text_of(
        signed_in(admin).get("/allowlists/?q=Dana@Mail.NORTHWIND.example.")
    ).partition("Lists")[0]
    assert "*.northwind.example" in found
    assert "dana@mail.northwind.example" in found
    assert "evilnorthwind" not in found
    assert [
        one.pattern for one in AllowEntry.objects.not_removed().found_by("spring")
    ] == ["y.example"]


@pytest.mark.slow
def test_filters_show_expired_ending_and_unused_entries(admin):
    now = timezone.now()
    change_list(admin, "a.example", expires_at=now + timedelta(days=3))
    change_list(admin, "b.example", expires_at=now + timedelta(days=300))
    change_list(admin, "c.example")
    AllowEntry.objects.filter(pattern="b.example").update(hits=1, last_hit_at=now)
    AllowEntry.objects.filter(pattern="c.example").update(
        expires_at=now - timedelta(seconds=1)
    )
    rows = AllowEntry.objects.not_removed().order_by("pattern")
    shown = {
        show: [one.pattern[0] for one in rows.showing(show, now)]
        for show in ("", "ending", "expired", "unused")
    }
    assert shown == {
        "": ["a", "b", "c"],
        "ending": ["a"],
        "expired": ["c"],
        "unused": ["a", "c"],
    }


@pytest.mark.slow
def test_pages_walk_through_all_entries_once(signed_in, admin, monkeypatch):
    monkeypatch.setattr("policy.allowlists.views.PAGE", 2)
    change_list(admin, *(f"d{number}.example" for number in range(5)))
    client = signed_in(admin)
    seen = []
    url = ALL
    while url:
        page = client.get(url).text
        seen += re.findall(r'name="remove" value="(\S+)"', page)
        following = re.search(r'href="(\?after=[^"#]+)', page)
        url = f"{ALL}{unescape(following[1])}" if following else ""
    assert seen == [f"d{number}.example" for number in range(5)]


@pytest.mark.slow
def test_more_lists_and_entries_use_the_same_number_of_queries(
    signed_in, admin, connection
):
    change_list(admin, *(f"d{number}.example" for number in range(10)), owner=admin.pk)
    client = signed_in(admin)

    def asked(url):
        with CaptureQueriesContext(database) as queries:
            assert client.get(url).status_code == 200
        return len(queries)

    few = asked(ALL), asked("/allowlists/")
    change_list(admin, *(f"e{number}.example" for number in range(300)), owner=admin.pk)
    for number in range(5):
        change_list(
            admin,
            "x.example",
            connection=make_connection(f"more{number}").pk,
        )
    many = asked(ALL), asked("/allowlists/")
    # The first request of a process may fill caches.
    assert many[0] <= few[0]
    assert many[1] <= few[1]
    assert max(few) <= 30


def test_only_admins_of_a_list_change_it_and_others_read_it(
    signed_in, admin, connection
):
    change_list(admin, "a.example")
    client = signed_in(
        make_person(
            "x@yourteam.example", "X", "admin", mailbox=connection.mailboxes.get()
        )
    )
    page = client.get(ALL).text
    assert "a.example" in page
    assert "preview/" not in page
    assert preview(client, lines="evil.example").status_code == 403
    assert client.post(f"{ALL}save/", {"change": "x"}).status_code == 403
    assert patterns() == ["a.example"]


def test_url_of_an_invalid_or_invisible_list_is_404(signed_in, connection):
    mailbox = connection.mailboxes.get()
    person = make_person(
        "m@yourteam.example", "M", "admin", connection=connection, mailbox=mailbox
    )
    assert list_for(person, f"mailbox-{mailbox.pk}").is_administered_by(
        actor_of(person)
    )
    other = f"connection-{make_connection('other').pk}"
    named = [
        (scope, "restriction")
        for scope in ("mailbox-0", "nobody", "connection-x", other)
    ]
    for scope, kind in (*named, ("all", "sideways")):
        with pytest.raises(Http404):
            list_for(person, scope, kind)
    assert signed_in(person).get(f"/allowlists/{other}/restriction/").status_code == 404


@pytest.mark.slow
def test_status_at_the_gate_is_described_in_words(signed_in, admin, connection):
    change_list(admin, "a.example")

    def status(**fields):
        GateList.objects.update(**fields)
        found = gate_status(
            GateList.objects.select_related("mailbox__connection").get()
        )
        return found.word, found.sentence

    assert status()[0] == "Only here"
    connection.admin_key = "mm_live_admin"
    connection.save(update_fields=["admin_key"])
    assert status() == ("On its way", "It is being copied there.")
    later = timezone.now() + timedelta(minutes=5)
    assert status(last_error="MultiMail answered 500.", next_attempt_at=later) == (
        "Not yet",
        "MultiMail answered 500.",
    )
    assert "MultiMail answered 500. Next try" in text_of(signed_in(admin).get(ALL))
    assert status(
        pushed=1, gate_version=7, pushed_at=timezone.now(), last_error=""
    ) == (
        "At the gate",
        "version 7",
    )
