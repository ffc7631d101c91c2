"""Exports: who may, the content of the file, their ledger entries, and how they end."""

import csv
import hashlib
import io
import json
import re
import threading
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models.functions import Now
from django.urls import reverse
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from audit.export import download
from audit.export.download import Download
from audit.export.exports import Cut, NotExported, begin_export, start_export, take_cut
from audit.export.formats import COLUMNS, FORMATS
from audit.models import Entry, Export, SealedEntry
from audit.recording import record
from audit.search.filters import Filters
from audit.trail import lines
from common.actors import Actor, worker
from common.csv_rows import FORMULA, harmless, without_escapes
from common.fingerprint import short_fingerprint
from people.models import Grant, Person
from tests.factories import make_connection, make_message, make_person, rolled_back
from tests.integration.deciding import decide, in_thread
from tests.ledger import append, as_superuser

pytestmark = pytest.mark.django_db

PATH = "/audit/export/"


def post_export(client, query="", **fields):
    """Request an export on its page; return its row."""
    answer = client.post(
        f"{PATH}?{query}", {"format": "jsonl", "details": "on", **fields}
    )
    assert answer.status_code == 302, answer.content.decode()
    return Export.objects.get(pk=answer["Location"].split("/")[3])


def take(client, export):
    return client.get(reverse("export-file", args=[export.pk]))


def begin(person, query="action=message.opened", name="jsonl"):
    """Request an export by the command."""
    actor = person.actor(surface="web")
    return begin_export(
        actor=actor, filters=Filters.from_query(query), wanted=FORMATS[name]
    )


def hand_out(person, export):
    """Return the chunks of an export as a server reads them."""
    return Download(
        start_export(export.pk), actor=person.actor(surface="web"), stays=lambda: True
    )


def whole(person, *asked):
    return b"".join(hand_out(person, begin(person, *asked))).decode()


def ids(text):
    return [json.loads(line)["id"] for line in text.splitlines()]


def rows_of(text):
    """The rows of a CSV file, after its byte order mark."""
    return list(csv.DictReader(io.StringIO(text[1:], newline=""), strict=True))


def recorded(action):
    return [
        (line.actor_id, line.details)
        for line in lines(Entry.objects.of_action(action).oldest_first())
    ]


def test_file_holds_what_was_there_oldest_first_and_is_recorded_and_handed_out_once(
    signed_in, auditor, admin, connection
):
    make_message(connection)
    client = signed_in(auditor)
    before = list(Entry.objects.oldest_first().values_list("pk", flat=True))
    export = post_export(client)
    text = take(client, export).getvalue().decode()
    export.refresh_from_db()
    assert ids(text) == before
    assert (export.state, export.rows_done, export.rows_total) == (
        "done",
        len(before),
        len(before),
    )
    assert export.sha256 == hashlib.sha256(text.encode()).hexdigest()
    (who, begun), (_, ended) = (
        recorded("ledger.exported")[0],
        recorded("ledger.export_ended")[0],
    )
    assert (who, begun["filter"], begun["format"]) == (
        str(auditor.pk),
        "everything",
        "JSON Lines",
    )
    assert (begun["rows"], ended["rows"], ended["sha256"]) == (
        str(len(before)),
        str(len(before)),
        export.sha256,
    )
    page = client.get(reverse("export-one", args=[export.pk])).content.decode()
    assert (export.sha256 in page, "hx-trigger" in page) == (True, False)
    assert take(client, export)["Location"] == reverse("export-one", args=[export.pk])
    # Only for its owner.
    signed_in(admin)
    for method, name in (
        (client.get, "export-file"),
        (client.get, "export-one"),
        (client.post, "export-again"),
    ):
        assert method(reverse(name, args=[export.pk])).status_code == 404, name


def test_filter_and_visible_scope_decide_what_is_exported(connection):
    held = make_message(connection)
    make_message(make_connection("other"), subject="Not for Ida")
    admin = make_person("ida@yourteam.example", "Ida", "admin", connection=connection)
    export = begin(admin, "action=message.held&before=1&since=today")
    rows = [json.loads(line) for line in b"".join(hand_out(admin, export)).splitlines()]
    assert {(row["action"], row["message"]) for row in rows} == {
        ("message.held", str(held.public_id))
    }
    # As absolute times: “today” would be another day tomorrow.
    assert ("before" in export.query, "today" in export.query) == (False, False)


def test_export_asks_who_one_is_and_goes_on(signed_in, auditor):
    client = signed_in(auditor, minutes=11)
    answer = client.post(PATH, {"format": "csv", "details": "on"})
    assert answer["Location"].startswith("/accounts/reauthenticate/")
    assert Export.objects.count() == 0
    export = begin(auditor)
    assert take(client, export)["Location"] == reverse("export-one", args=[export.pk])
    answer = client.post(reverse("export-again", args=[export.pk]))
    assert answer["Location"].startswith("/accounts/reauthenticate/")
    export.refresh_from_db()
    assert export.state == "asked"


HOSTILE = [
    *(
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "  =1",
        "\u00a0=1",
        "\u3000@x",
        "\ufeff=1",
        "\u200b=1",
    ),
    *(
        "＝1+1",
        "＋1",
        "－1",
        "＠x",
        ' \t"=1',
        "=cmd|' /C calc'!A0",
        '=HYPERLINK("http://x.example";"y")',
    ),
]


def test_no_cell_of_an_export_is_a_formula(auditor):
    for text in HOSTILE:
        says = {"subject": text, "reason": f'{text}, "quoted"\nand more', "other": text}
        record("message.opened", actor=worker(text[:20]), details=says)
    found = whole(auditor, "action=message.opened", "csv")
    assert (found[0], found.count("\r\n") >= len(HOSTILE)) == ("\ufeff", True)
    rows = rows_of(found)
    assert (tuple(rows[0]), len(rows)) == (COLUMNS, len(HOSTILE))
    for row in rows:
        for cell in row.values():
            assert not cell.lstrip("\u00a0\u3000\ufeff\u200b \t\r\n").startswith(
                FORMULA
            ), cell
    # A spreadsheet reads the recorded value as text.
    assert [row["subject"].removeprefix("'") for row in rows[:4]] == HOSTILE[:4]
    assert json.loads(rows[0]["details"]) == {"other": "=1+1"}
    plain = ("Dana", "a=b", "", "a; b-c", "=HYPERLINK(1;'x')"[1:])
    assert [harmless(text) for text in plain] == list(plain)
    # Programs that split at semicolons or tabs begin other cells there.
    for text in ("a;=1", "a; -1", "a\t@x", 'a;"+1"', "a;;=1", "a\t \ufeff＝1", ";'=1"):
        cells = re.split(r"[;\t]", harmless(text))
        assert not [
            one for one in cells if one.strip('\ufeff "').startswith(FORMULA)
        ], text
        assert without_escapes(harmless(text)) == text


def test_csv_row_holds_subject_fingerprint_and_seal_and_no_names_without_details(
    auditor, connection
):
    message, actor = make_message(connection), auditor.actor(surface="web")
    about = {"message": message.public_id, "fingerprint": message.revision.fingerprint}
    opened = record(
        "message.opened", actor=actor, details={"reason": "Dana asked"}, **about
    )
    SealedEntry.objects.create(entry=opened.pk, seal=7, position=0, hash=b"x")
    (row,) = rows_of(whole(auditor, "action=message.opened", "csv"))
    # The entry itself does not repeat it.
    assert row["subject"] == "Your refund for order 4471"
    fingerprint = message.revision.fingerprint
    assert (row["fingerprint"], row["fingerprint_sha256"]) == (
        short_fingerprint(fingerprint),
        fingerprint,
    )
    assert (row["id"], row["seal"], row["hash"]) == (str(opened.pk), "7", opened.hash)
    assert (row["actor"], row["sentence"]) == ("Max Weber", "opened the message")
    decide(message, make_person("ana@yourteam.example", "Ana", "reviewer"), "reject")
    (row,) = rows_of(whole(auditor, "action=verdict.given", "csv"))
    assert (
        row["origin"]
        == "discord_user: ana#1; discord_guild: Acme; discord_channel: outreach"
    )
    (line,) = whole(auditor, "action=verdict.given", "jsonl").splitlines()
    assert json.loads(line)["details"]["trigger.discord_user"] == "ana#1"
    for name in ("csv-bare", "jl-bare"):
        text = whole(auditor, "", name)
        assert text.count("message.opened") == 1
        assert name == "csv-bare" or "details" not in text
        assert [
            one
            for one in ("Dana", "Max", "northwind", "refund", "ana#1")
            if one in text
        ] == []


def test_entries_added_during_an_export_are_not_in_it(auditor, monkeypatch):
    monkeypatch.setattr(download, "AT_ONCE", 3)
    made = [entry.pk for entry in append(8)]
    export = begin(auditor)
    # Written after the request, and while it runs.
    as_superuser(
        "UPDATE audit_export SET snapshot = %s", [f"{made[-1]} {made[-1] + 1_000} 3:3:"]
    )
    append(2)
    parts = hand_out(auditor, export)
    first = next(parts) + next(parts)
    append(2)
    assert ids((first + b"".join(parts)).decode()) == made


def test_entries_from_before_a_restore_are_exported(auditor):
    # The transaction ids of another cluster are higher than this one's.
    old = append(2)
    as_superuser("UPDATE audit_entry SET xid = (900000000 + id)::text::xid8")
    cut = take_cut()
    assert cut.after_id == old[-1].pk
    # It is exported as it was written.
    assert Cut.read(str(cut)) == cut
    assert ids(whole(auditor)) == [one.pk for one in old]


def test_export_stops_when_its_owner_loses_the_right(signed_in, auditor, monkeypatch):
    monkeypatch.setattr(download, "AT_ONCE", 2)
    append(6)
    for end in (
        lambda: Person.objects.update(is_active=False),
        lambda: Grant.objects.all().delete(),
        lambda: Session.objects.all().delete(),
    ):
        with rolled_back():
            client, export = signed_in(auditor), begin(auditor)
            parts = iter(take(client, export))
            got = [next(parts), next(parts)]
            end()
            *rows, last = (b"".join([*got, *parts])).decode().splitlines()
            # The file cannot be mistaken for a complete one.
            assert (len(rows), set(json.loads(last))) == (2, {"broken_off"})
            ((_, broken),) = recorded("ledger.export_broken_off")
            assert (broken["handed_out"], broken["reason"]) == ("2", download.NO_LONGER)
            export.refresh_from_db()
            assert (export.state, export.sha256) == ("broken_off", "")


@pytest.mark.parametrize("parts_read", [2, pytest.param(0, marks=pytest.mark.slow)])
def test_closed_download_cancels_the_export_and_can_be_restarted(
    signed_in, auditor, monkeypatch, parts_read
):
    monkeypatch.setattr(download, "AT_ONCE", 2)
    made = [entry.pk for entry in append(6)]
    client, export = signed_in(auditor), begin(auditor)
    answer = take(client, export)
    for _ in range(parts_read):
        next(iter(answer))
    # As a server does when its client is gone, except for ending the request.
    for close in answer._resource_closers:
        close()
    export.refresh_from_db()
    assert export.state == "broken_off"
    assert recorded("ledger.export_broken_off")[0][1]["reason"] == download.GONE
    assert (
        "The file is incomplete" in client.get(f"{PATH}{export.pk}/").content.decode()
    )
    assert client.post(reverse("export-again", args=[export.pk])).status_code == 302
    assert ids(b"".join(hand_out(auditor, export)).decode()) == made
    assert [details.get("again", "") for _, details in recorded("ledger.exported")] == [
        "",
        "yes",
    ]


def test_error_or_slow_reader_cancels_the_export_and_the_file_says_so(
    auditor, monkeypatch
):
    monkeypatch.setattr(download, "AT_ONCE", 2)
    append(4)
    with monkeypatch.context() as patched:
        patched.setattr(download, "SLOWEST", -1.0)
        assert len(whole(auditor).splitlines()) == 3
        assert Export.objects.get().state == "broken_off"
    parts = hand_out(auditor, begin(auditor, "", "csv"))
    got = [next(parts), next(parts)]
    monkeypatch.setattr(download, "READ_WITHIN", -1)
    *_, last = csv.reader(
        io.StringIO(b"".join([*got, *parts]).decode()[1:], newline="")
    )
    assert last[0].startswith("INTERRUPTED, this file is incomplete")


def test_one_export_per_person_and_two_in_total_run_at_once(signed_in, auditor, admin):
    client, mine = signed_in(auditor), begin(auditor)
    running = {
        "format": "csv",
        "snapshot": "0 0 1:1:",
        "rows_total": 0,
        "state": "running",
        "rows_done": 0,
    }
    own = Export.objects.create(person=auditor.pk, **running)
    answer = take(client, mine)
    assert answer["Location"] == reverse("export-one", args=[mine.pk])
    assert (
        "Another of your exports is still running"
        in client.get(answer["Location"]).content.decode()
    )
    Export.objects.filter(pk=own.pk).update(person=admin.pk)
    other = Export.objects.create(person=9_999, **running)
    with pytest.raises(NotExported, match="which is the limit"):
        start_export(mine.pk)
    # An export whose process died does not count.
    Export.objects.filter(pk=other.pk).update(changed_at=Now() - timedelta(minutes=6))
    assert start_export(mine.pk) == mine
    ((who, lost),) = recorded("ledger.export_broken_off")
    assert (who, lost["export"]) == ("exporter", str(other.pk))


def test_list_shows_own_exports_and_to_global_auditors_all(
    signed_in, auditor, admin, connection
):
    part = make_person(
        "part@yourteam.example", "Paula", "auditor", connection=connection
    )
    for person in (admin, auditor):
        begin(person)
    pages = [
        signed_in(one).get(f"{PATH}past/?before=nonsense").content.decode()
        for one in (admin, auditor, part)
    ]
    assert [page.count('id="export-') for page in pages] == [1, 2, 0]


WORDS = ("refund", "Dana", "invoice", "Łódź", "=1", "dana@northwind.example")
ACTIONS = (
    "message.opened",
    "message.served",
    "verdict.given",
    "person.signed_in",
    "rule.weighed",
)
SURFACES = ("web", "discord", "worker")

acts = st.tuples(
    st.sampled_from(ACTIONS),
    st.sampled_from(SURFACES),
    st.sampled_from(("1", "2")),
    st.sampled_from((*WORDS, "")),
    st.sampled_from((None, 0, 1)),
)
filters = st.fixed_dictionaries(
    {},
    optional={
        "q": st.sampled_from((*WORDS, "refund Dana", "by:ben", "nothing-of-this")),
        "action": st.sampled_from(
            (*ACTIONS, "message", "reading", "decisions", "nonsense")
        ),
        "surface": st.sampled_from(SURFACES),
        "actor": st.sampled_from(("person/1", "person/2", "worker/x")),
        "to": st.sampled_from(("dana", "northwind.example")),
        "since": st.sampled_from(("today", "yesterday", "2020", "2099-01-01")),
        "until": st.sampled_from(("today", "2020-01-01")),
        "message": st.sampled_from((0, 1)),
        "before": st.integers(1, 50),
    },
)


def shown(client, query):
    """Read all JSON pages of the ledger from the newest, without the entries of these
    requests.
    """
    rows, address = [], f"/audit/?{urlencode(query)}&format=json"
    while address:
        page = client.get(address).json()
        rows += page["entries"]
        address = page["next"]
    return rows


@pytest.mark.slow
def test_file_equals_the_pages_for_random_filters(signed_in, auditor, monkeypatch):
    # Small pages and small batches.
    monkeypatch.setattr("audit.search.results.PAGE", 15)
    monkeypatch.setattr(download, "AT_ONCE", 5)
    connections = [make_connection("one"), make_connection("two")]
    messages = [
        make_message(one, subject=f"About a refund, {one}") for one in connections
    ]
    of_one = make_person(
        "paula@yourteam.example", "Paula", "auditor", connection=connections[0]
    )
    names, counts = {"1": "Ana Ferreira", "2": "Ben Okafor"}, []

    # No shrinking, because each example adds to the ledger of those before.
    @settings(max_examples=settings.default.max_examples // 5, phases=[Phase.generate])
    @given(st.lists(acts, min_size=6, max_size=12), filters)
    def compare(made, asked):
        for action, surface, actor, word, about in made:
            message = messages[about] if about is not None else None
            about_it = (
                {"message": message.public_id, "connection": message.connection_id}
                if message
                else {}
            )
            by = Actor(kind="person", id=actor, label=names[actor], surface=surface)
            record(
                action,
                actor=by,
                details={"reason": word, "recipients": word},
                about=message,
                **about_it,
            )
        query = dict(asked)
        if "message" in query:
            query["message"] = str(messages[query["message"]].public_id)
        # The file holds all pages, whichever was on screen.
        pages = {name: value for name, value in query.items() if name != "before"}
        for person in (auditor, of_one):
            client = signed_in(person)
            rows = shown(client, pages)
            file = b"".join(
                hand_out(person, begin(person, urlencode(query)))
            ).splitlines()
            assert [json.loads(line) for line in file] == rows[::-1]
            counts.append(len(rows))

    compare()
    assert (max(counts) > 10, len(set(counts)) > 4) == (True, True), (
        "the filters were too strict to tell anything"
    )


@pytest.mark.django_db(transaction=True)
def test_action_that_commits_after_the_request_is_not_exported(auditor):
    """Its number is lower than others in the file, and its row exists before the file
    is read.
    """
    began, may_end = threading.Event(), threading.Event()

    def act():
        with transaction.atomic():
            record(
                "message.opened",
                actor=Actor(kind="person", id="7", label="Ana", surface="web"),
            )
            began.set()
            may_end.wait(600)

    thread, _ = in_thread(act)
    assert began.wait(600)
    with transaction.atomic():
        later = record(
            "message.opened",
            actor=Actor(kind="person", id="8", label="Ben", surface="web"),
        )
    try:
        export = begin(auditor)
    finally:
        may_end.set()
        thread.join()
    assert Entry.objects.of_action("message.opened").count() == 2
    assert ids(b"".join(hand_out(auditor, export)).decode()) == [later.pk]
    assert export.rows_total == 1
