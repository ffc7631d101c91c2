"""The pages of the allowlists: finding, changing in two steps, being overtaken, history, and who may do what."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit.models import Entry
from policy.allowlists import Place
from policy.changes import Change, Wanted, apply_change
from policy.models import AllowEntry, Allowlist, GateList
from tests.factories import make_connection, make_message, make_person

pytestmark = pytest.mark.django_db

ALL = "/allowlists/all/restriction/"


def text_of(answer):
    """The page's words as somebody reads them."""
    main = answer.content.decode().partition("<main")[2].partition("</main>")[0]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", main)).split())


def changed(person, *patterns, place=None, kind="restriction", mode=None, version=None, remove=(), **wanted):
    place = place or Place()
    at = Allowlist.objects.at(connection=place.connection, mailbox=place.mailbox, kind=kind).first()
    number = (at.version if at else 0) if version is None else version
    put = tuple(Wanted(one, **wanted) for one in patterns)
    change = Change(mode=mode, put=put, remove=tuple(remove))
    return apply_change(
        place=place, kind=kind, change=change, version=number, actor=person.actor(surface="web"), now=timezone.now()
    )


def preview(client, page=ALL, **fields):
    return client.post(f"{page}preview/", fields)


def save(client, shown, page=ALL):
    packed = re.search(r'name="change" value="([^"]+)"', shown.content.decode())
    assert packed, text_of(shown)
    return client.post(f"{page}save/", {"change": unescape(packed[1])})


def patterns(**which):
    return sorted(AllowEntry.objects.in_place().filter(**which).values_list("pattern", flat=True))


def test_preview_says_what_changes_and_what_was_not_understood_and_saves_nothing(signed_in, admin, connection):
    changed(admin, "northwind.example", note="Customers")
    lines = "dana@x.example\n*.com\nnorthwind.example\nDANA@X.example.\nevil@@x"
    answer = preview(signed_in(admin), lines=lines, note="The  fair", owner=admin.email)
    assert answer.status_code == 200
    told = text_of(answer)
    for words in (
        "1 added", "1 changed", "dana@x.example", "note “ Customers ” becomes “ The fair ”",
        "Line 2 '*.com' is none of name@domain", "Line 4 dana@x.example stands here twice",
        "Line 5 'evil@@x' is none of",
    ):  # fmt: skip
        assert words in told, words
    assert patterns() == ["northwind.example"]


def test_saving_does_what_was_shown_and_tells_the_gates_and_the_ledger(signed_in, admin, connection):
    client = signed_in(admin)
    answer = save(client, preview(client, lines="dana@x.example\n*.y.example", note="The fair", owner=admin.email))
    assert (answer.status_code, answer["Location"]) == (302, ALL)
    assert patterns(note="The fair", owner=admin, added_by=admin) == ["*.y.example", "dana@x.example"]
    assert GateList.objects.filter(kind="restriction", pushed=0).count() == connection.mailboxes.count()
    assert Entry.objects.get(action="allowlist.changed").detail.fields["added"] == "dana@x.example, *.y.example"
    told = text_of(client.get(ALL))
    assert "Saved: version 1." in client.get(ALL).content.decode() or "version 1" in told
    assert "2 entries, 2 live" in told


def test_rehearsal_says_what_real_mail_the_change_would_have_turned(signed_in, admin, connection):
    now = timezone.now().isoformat()
    refused = make_message(connection, to_addresses=["dana@northwind.example"], subject="Refund", received_at=now)
    make_message(connection, to_addresses=["lee@contoso.example"], subject="Offer", received_at=now)
    changed(admin, "contoso.example")
    shown = preview(signed_in(admin), mode="enforce")
    told = text_of(shown)
    assert "In the last 30 days 1 more message would have been refused." in told
    assert "Looked at: 2 messages that you see" in told
    assert f'href="/queue/{refused.public_id}/"' in shown.content.decode()
    assert "Offer" not in told


def test_mode_is_set_the_same_way_and_an_empty_list_in_force_is_warned_of(signed_in, admin, connection):
    client = signed_in(admin)
    shown = preview(client, mode="enforce")
    assert "No entry would be live: everybody is refused" in text_of(shown)
    assert "Off → In force" in text_of(shown)
    save(client, shown)
    assert Allowlist.objects.get().mode == "enforce"
    assert Entry.objects.filter(action="allowlist.mode_set").count() == 1


def test_somebody_who_was_faster_is_shown_and_the_change_is_kept(signed_in, admin, connection):
    client = signed_in(admin)
    shown = preview(client, lines="dana@x.example")
    rival = make_person("eve@yourteam.example", "Eve Rival", "admin")
    changed(rival, "rival.example", mode="monitor")
    stale = save(client, shown)
    assert stale.status_code == 409
    told = text_of(stale)
    for words in (
        "you saw version 0, now it is version 1", "Eve Rival", "rival.example",
        "set the mode from “Off” to “Watch only”",
        "dana@x.example", "Save it over version 1",
    ):  # fmt: skip
        assert words in told, words
    assert patterns() == ["rival.example"]
    assert save(client, stale).status_code == 302
    assert patterns() == ["dana@x.example", "rival.example"]


def test_packet_is_good_for_its_list_and_its_person_alone(signed_in, admin, connection):
    shown = preview(signed_in(admin), lines="dana@x.example")
    elsewhere = save(signed_in(admin), shown, page="/allowlists/all/bypass/")
    other = save(signed_in(make_person("eve@yourteam.example", "Eve", "admin")), shown)
    forged = signed_in(admin).post(f"{ALL}save/", {"change": "x:y:z"})
    assert {one.status_code for one in (elsewhere, other, forged)} == {422}
    assert patterns() == []


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"lines": ""}, "add-lines", "Name at least one"),
        ({"lines": "x"}, "add-lines", "Nothing of it can be taken"),
        ({"lines": "x.example", "owner": "nobody@x.example"}, "add-owner", "Nobody here has this address"),
        ({"lines": "x.example", "expires_at": "2020-01-01T00:00"}, "add-ends", "over already"),
        ({"lines": "x.example", "expires_at": "soon"}, "add-ends", "Give a day and a time"),
        ({"mode": "sideways"}, "", "Choose one of the modes"),
    ],
    ids=["empty", "no domain", "owner", "past", "no time", "mode"],
)
def test_what_is_wrong_stands_at_its_field_and_what_was_typed_is_kept(
    signed_in, admin, connection, fields, field, words
):
    answer = preview(signed_in(admin), **fields)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert words in page
    if field:
        assert 'aria-invalid="true"' in page.partition(f'id="{field}"')[2].partition(">")[0]
    if fields.get("lines"):
        assert f">{fields['lines']}</textarea>" in page


def test_taking_out_is_shown_first_and_kept_with_its_hits(signed_in, admin, connection):
    changed(admin, "a.example", "b.example")
    AllowEntry.objects.filter(pattern="a.example").update(hits=3, last_hit_at=timezone.now())
    client = signed_in(admin)
    shown = client.post(f"{ALL}preview/", {"remove": ["a.example", "gone.example"]})
    assert "1 taken out" in text_of(shown)
    assert "let 3 messages through" in text_of(shown)
    save(client, shown)
    gone = AllowEntry.objects.get(pattern="a.example")
    assert (gone.removed_at is None, gone.hits) == (False, 3)
    told = text_of(client.get(f"/allowlists/entries/{gone.pk}/"))
    assert "Taken out" in told
    assert "Ida Lindqvist took out a.example" in told


def test_address_finds_every_entry_that_lets_it_through_in_all_lists(signed_in, admin, connection):
    changed(admin, "northwind.example", "evilnorthwind.example")
    changed(admin, "*.northwind.example", "dana@mail.northwind.example", place=Place(connection=connection.pk))
    told = text_of(signed_in(admin).get("/allowlists/?q=Dana@Mail.NORTHWIND.example."))
    found = told.partition("Lists")[0]
    assert "*.northwind.example" in found
    assert "dana@mail.northwind.example" in found
    assert "evilnorthwind" not in found
    by_note = changed(admin, "y.example", note="For the spring fair")
    assert by_note.version == 2
    assert "y.example" in text_of(signed_in(admin).get("/allowlists/?q=spring")).partition("Lists")[0]


def test_filters_show_expired_ending_and_unused_entries(signed_in, admin, connection):
    now = timezone.now()
    changed(admin, "a.example", expires_at=now + timedelta(days=3))
    changed(admin, "b.example", expires_at=now + timedelta(days=300))
    changed(admin, "c.example")
    AllowEntry.objects.filter(pattern="b.example").update(hits=1, last_hit_at=now)
    AllowEntry.objects.filter(pattern="c.example").update(expires_at=now - timedelta(seconds=1))
    shown = {}
    for which in ("", "ending", "expired", "unused"):
        page = signed_in(admin).get(f"{ALL}?show={which}").content.decode()
        shown[which] = re.findall(r'name="remove" value="(\w)', page)
    assert shown == {"": ["a", "b", "c"], "ending": ["a"], "expired": ["c"], "unused": ["a", "c"]}


def test_pages_walk_through_all_entries_once(signed_in, admin, connection):
    changed(admin, *(f"d{number:03}.example" for number in range(250)))
    client, seen, url = signed_in(admin), [], ALL
    while url:
        page = client.get(url).content.decode()
        seen += re.findall(r'name="remove" value="(\S+)"', page)
        following = re.search(r'href="(\?after=[^"#]+)', page)
        url = f"{ALL}{unescape(following[1])}" if following else ""
    assert seen == [f"d{number:03}.example" for number in range(250)]


def test_list_of_a_hundred_thousand_entries_asks_as_few_questions_as_one_of_ten(signed_in, admin, connection):
    changed(admin, *(f"d{number}.example" for number in range(10)), owner=admin.pk)
    client = signed_in(admin)

    def asked(url):
        with CaptureQueriesContext(
            database,
        ) as queries:
            assert client.get(url).status_code == 200
        return len(queries)

    few = asked(ALL), asked("/allowlists/")
    row = Allowlist.objects.get()
    AllowEntry.objects.bulk_create(
        [AllowEntry(allowlist=row, pattern=f"e{number}.example", owner=admin) for number in range(3000)]
    )
    for number in range(5):
        other = make_connection(f"more{number}")
        changed(admin, "x.example", place=Place(connection=other.pk))
    assert (asked(ALL), asked("/allowlists/")) == few
    assert max(few) <= 30


@pytest.mark.parametrize("role", ["reviewer", "auditor"])
def test_who_is_no_admin_reads_and_changes_nothing(signed_in, admin, connection, role):
    changed(admin, "a.example")
    client = signed_in(make_person("x@yourteam.example", "X", role))
    page = client.get(ALL).content.decode()
    assert "a.example" in page
    assert "preview/" not in page
    assert preview(client, lines="evil.example").status_code == 403
    assert client.post(f"{ALL}save/", {"change": "x"}).status_code == 403
    assert patterns() == ["a.example"]


def test_admin_of_one_mailbox_changes_its_list_and_no_wider_one(signed_in, admin, connection):
    mailbox = connection.mailboxes.get()
    client = signed_in(make_person("m@yourteam.example", "M", "admin", connection=connection, mailbox=mailbox))
    mine = f"/allowlists/mailbox-{mailbox.pk}/restriction/"
    assert save(client, preview(client, page=mine, lines="a.example"), page=mine).status_code == 302
    assert preview(client, lines="b.example").status_code == 403
    assert client.get(f"/allowlists/connection-{make_connection('other').pk}/restriction/").status_code == 404
    assert patterns() == ["a.example"]


def test_saving_asks_who_one_is_after_a_while(signed_in, admin, connection):
    client = signed_in(admin, minutes=11)
    answer = save(client, preview(client, lines="a.example"))
    assert (answer.status_code, "reauthenticate" in answer["Location"]) == (302, True)
    assert patterns() == []


def test_bypass_says_what_leaves_unread_and_knows_no_contacts(signed_in, admin, connection):
    client = signed_in(admin)
    page = "/allowlists/all/bypass/"
    assert "Mail that this list names leaves unread." in text_of(client.get(page))
    assert preview(client, page=page, mode="contacts").status_code == 422
    assert "no rehearsal of it here" in text_of(preview(client, page=page, lines="a.example"))


def test_how_it_stands_at_the_gate_is_told_in_words(signed_in, admin, connection):
    changed(admin, "a.example")
    client, gates = signed_in(admin), GateList.objects
    assert "Only here This connection has no admin key" not in text_of(client.get("/allowlists/"))
    assert "no admin key" in text_of(client.get("/allowlists/"))
    connection.admin_key = "mm_live_admin"
    connection.save(update_fields=["admin_key"])
    assert "On its way" in text_of(client.get("/allowlists/"))
    gates.update(last_error="MultiMail answered 500.", next_attempt_at=timezone.now() + timedelta(minutes=5))
    told = text_of(client.get(ALL))
    assert "Not yet" in told
    assert "MultiMail answered 500. Next try" in told
    gates.update(pushed=1, gate_version=7, pushed_at=timezone.now(), last_error="")
    assert re.search(r"At the gate since \d\d:\d\d:\d\d UTC ?, version 7", text_of(client.get(ALL)))
    gates.update(pushed_at=timezone.now() - timedelta(days=3))
    assert re.search(r"At the gate since \d+ \w+, \d\d:\d\d:\d\d UTC ?, version 7", text_of(client.get(ALL)))


def test_history_tells_who_changed_what_from_what(signed_in, admin, connection):
    changed(admin, "a.example", note="First")
    changed(admin, "a.example", note="Second", mode="enforce")
    told = text_of(signed_in(admin).get(f"{ALL}history/"))
    for words in (
        "set the mode from “Off” to “In force”",
        "Before: “First”, no owner, never ends",
        "After: “Second”",
        "added a.example",
        "version 2",
    ):
        assert words in told, words


@pytest.mark.parametrize("path", ["all/sideways", "mailbox-0/restriction", "nobody/bypass", "connection-x/restriction"])
def test_list_that_cannot_be_is_not_found(signed_in, admin, connection, path):
    assert signed_in(admin).get(f"/allowlists/{path}/").status_code == 404
