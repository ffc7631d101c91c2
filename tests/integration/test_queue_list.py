"""The queue as a list: its address, orders, pages and groups; the columns it goes by,
and the views saved of it.
"""

import re
from datetime import timedelta

import pytest
from django.db.models import F
from django.db.models.functions import Now
from django.http import QueryDict
from django.utils import timezone

from approvals import examination
from approvals.models import (
    Claim,
    Comment,
    Decision,
    Question,
    Review,
    SavedView,
    Snooze,
)
from approvals.queue import views as listing
from approvals.queue.filters import read_filters
from audit.models import Entry
from audit.search import saved as saved_rows
from mirror.models import Connection, Mailbox, Message
from tests.factories import (
    NOW,
    actor_of,
    change_row,
    make_message,
    make_person,
    rolled_back,
)
from tests.integration.deciding import decide
from tests.markup import HTMX

LIES = "[https://acme-corp.example/pay](https://acrne-corp.example/p)"
ORDERS = ("oldest", "riskiest", "soonest")


def make(connection, name, **fields):
    """A distinct held message, named by a word."""
    fields.setdefault("markdown", f"About {name} and nothing else")
    return make_message(connection, subject=f"Subject {name}", **fields)


def announce(connection, *names):
    """Held messages whose content nobody has read yet, by their names."""
    return {
        name: make_message(connection, subject=f"Subject {name}", hydrated=False)
        for name in names
    }


def filters_of(person, query):
    mailboxes = list(Mailbox.objects.visible_to(actor_of(person)))
    return read_filters(QueryDict(query), mailboxes=mailboxes)


def listed(person, query=""):
    """What a page of the queue is made of, for the address with this query."""
    filters = filters_of(person, query)
    return listing.queue_context(
        actor_of(person), filters=filters, now=timezone.now(), mailboxes=[]
    )


def names(person, query=""):
    """The words that name the messages of a page, in their order."""
    found = listing.page_of(actor_of(person), filters_of(person, query))
    return [message.subject.removeprefix("Subject ") for message in found]


def gathered(person, query=""):
    """The word of each row, and the number of its messages."""
    rows = listed(person, query)["rows"]
    return [
        (row.message.subject.split()[-1], row.gathered.number if row.gathered else 1)
        for row in rows
    ]


def page_of(client, query=""):
    """The list of the queue, which is also shown next to a message."""
    return client.get(f"/queue/?{query}", headers=HTMX).text


# For each expected result, the addresses that find it.
FOUND = {
    "plum": ("q=plum", "q=pl", 'q="about plum"', "q=risk:high", "rule=link_text_lies"),
    "kiwi": ("q=muller", "q=to:zoe", "q=to:zoe to:contoso", "thread=T1"),
    "fig": (
        "q=by:ben",
        "q=has:attachment",
        "risk=none&q=fig",
        "started=discord:ben%231",
        "run=run-9",
    ),
    "plum kiwi date": ("q=mailbox:support",),
    "plum kiwi fig date": ("",),
    "": ('q="plum about"', "q=from:zoe", "q=plum risk:notice"),
}


def test_filter_shows_what_it_asks_for_in_the_page_and_in_its_twin(
    desk, signed_in, connection, reviewer, stranger
):
    make(connection, "plum", markdown=f"About plum: {LIES}, nothing")
    make(
        connection,
        "kiwi",
        to_addresses=["Zoe <zoe@contoso.example>"],
        thread_id="T1",
        markdown="Müller",
    )
    make(
        connection, "fig", metadata={"discord_user": "ben#1", "discord_channel": "sales", "run_id": "run-9"},
        attachments=[{"name": "a.pdf", "size": 3}],
    )  # fmt: skip
    sales = connection.mailboxes.create(
        upstream_id="02", address="sales@yourteam.example"
    )
    Message.objects.filter(subject="Subject fig").update(mailbox=sales)
    # Unfetched content is in no search, and is not reported as empty.
    announce(connection, "date")
    assert "date" not in names(reviewer, "risk=none")
    for found, queries in FOUND.items():
        assert {
            query: " ".join(names(reviewer, query)) for query in queries
        } == dict.fromkeys(queries, found)
    twin = desk.get("/queue/?format=json&q=mailbox:sales").json()["messages"]
    assert [row["subject"] for row in twin] == ["Subject fig"]
    # Messages out of scope are not counted.
    page = page_of(signed_in(stranger), "q=plum")
    assert re.search(r"data-waiting>0<", page)
    assert "0 matches" in page


def test_odd_words_and_nonsense_are_asked_for_without_an_error(connection, reviewer):
    announce(connection, "plum")
    for typed in (
        "'' \\' \":*",
        "a & b | !c <-> (",
        "%",
        "\0plum",
        "plum" * 2500,
        "🙂 \ufffd",
        "*",
    ):
        address = QueryDict(mutable=True)
        address.update({"q": typed, "to": typed, "by": "'"})
        assert names(reviewer, address.urlencode()) in ([], ["plum"])
    for order in ORDERS:
        assert names(
            reviewer, f"order={order}&tab=x&after=9-9-9-9-9&group=x&mailbox=x&risk=x"
        ) == ["plum"]


def test_orders_are_what_they_are_called(connection, reviewer):
    for minutes, name, fields in (
        (0, "plain", {}),
        (5, "risky", {"markdown": LIES}),
        (9, "ending", {}),
    ):
        message = make(connection, name, **fields)
        change_row(message, held_at=NOW + timedelta(minutes=minutes))
    Message.objects.filter(subject="Subject ending").update(
        expires_at=Now() + timedelta(hours=2)
    )
    assert names(reviewer) == ["plain", "risky", "ending"]
    assert names(reviewer, "order=riskiest") == ["risky", "plain", "ending"]
    assert names(reviewer, "order=soonest") == ["ending", "plain", "risky"]


@pytest.mark.parametrize(
    "order",
    [
        "soonest",
        *(
            pytest.param(order, marks=pytest.mark.slow)
            for order in ("oldest", "riskiest")
        ),
    ],
)
def test_every_message_is_on_one_page_in_every_order(
    connection, reviewer, monkeypatch, order
):
    monkeypatch.setattr(listing, "PAGE", 2)
    announce(connection, "plum", "kiwi", "fig", "date", "pear")
    # All of one time and of two risks, two that never expire: only the key tells these
    # apart.
    Message.objects.update(held_at=NOW, expires_at=NOW + timedelta(days=9999))
    Review.objects.update(risk=F("message") % 2)
    Message.objects.filter(subject__in=["Subject plum", "Subject pear"]).update(
        expires_at=None
    )
    found = []
    query = f"order={order}"
    while query:
        page = listed(reviewer, query)
        found += [row.message.pk for row in page["rows"]]
        query = page["next_query"]
    assert sorted(found) == sorted(Message.objects.values_list("pk", flat=True))


INVOICE = (
    "Hello {name},\n\nyour invoice {number} over EUR {amount} is due.\n\nKind regards"
)


def flood(connection, odd=2):
    """Six similar messages, the last ones with another amount."""
    people = ("Kim", "Lee", "Ola", "Per", "Ute", "Ian")
    for index, name in enumerate(people):
        amount = "9.000,00" if index >= len(people) - odd else "100,00"
        text = INVOICE.format(name=name, number=4400 + index, amount=amount)
        make_message(
            connection,
            subject="Your invoice",
            markdown=text,
            to_addresses=[f"{name}@contoso.example"],
        )
    return list(Message.objects.filter(subject="Your invoice").order_by("pk"))


def test_flood_stands_in_one_row_that_says_what_differs(
    desk, reviewer, connection, django_assert_max_num_queries
):
    make(connection, "plum")
    alike = flood(connection)
    with django_assert_max_num_queries(28):
        page = page_of(desk)
    assert page.count('class="item') == 2
    assert "<strong>6 like this</strong>, 2 differ in the amount" in page
    opened = re.search(r'class="gathered" href="/queue/\?([^"]+)"', page)[1].replace(
        "&amp;", "&"
    )
    assert gathered(reviewer, opened) == [("invoice", 1)] * 6
    # A message whose group is out of scope is not hidden.
    with rolled_back():
        other = connection.mailboxes.create(
            upstream_id="02", address="sales@yourteam.example"
        )
        change_row(alike[-1], mailbox=other)
        person = make_person(
            "x@yourteam.example", "X", "reviewer", connection=connection, mailbox=other
        )
        assert [row.message for row in listed(person)["rows"]] == alike[-1:]
    # A riskier message has its own row.
    change_row(alike[-1].review, risk=70)
    assert gathered(reviewer) == [("plum", 1), ("invoice", 5), ("invoice", 1)]
    # After the first is decided, the next represents the group.
    decide(alike[0], reviewer)
    change_row(alike[-1].review, risk=alike[0].review.risk)
    assert [row.message for row in listed(reviewer)["rows"]][1] == alike[1]
    assert gathered(reviewer) == [("plum", 1), ("invoice", 5)]
    # Small groups are not folded unless requested.
    decide(alike[1], reviewer)
    assert gathered(reviewer) == [("plum", 1), *[("invoice", 1)] * 4]
    assert gathered(reviewer, "group=alike") == [("plum", 1), ("invoice", 4)]


@pytest.mark.slow
def test_messages_are_gathered_by_what_is_asked_for_in_the_order_that_was_asked_for(
    desk, reviewer, connection
):
    fields = {"thread_id": "T1", "metadata": {"discord_user": "ana#1", "run_id": "R1"}}
    make(connection, "old", **fields)
    make(connection, "fig")
    make(connection, "risky", markdown=LIES, **fields)
    for group, words, members, shown in (
        ("thread", "2 in this thread", "thread=T1", [("old", 2), ("fig", 1)]),
        ("run", "2 of this run", "run=R1", [("old", 2), ("fig", 1)]),
        ("trigger", "3 started by", "started=", [("old", 3)]),
    ):
        row, *_ = listed(reviewer, f"group={group}")["rows"]
        assert words in f"{row.gathered.shown} {row.gathered.words}"
        assert members in row.gathered.query
        assert gathered(reviewer, f"group={group}") == shown
    assert gathered(reviewer, "group=thread&order=riskiest") == [
        ("risky", 2),
        ("fig", 1),
    ]


def test_mine_has_claimed_and_snoozed_messages_and_questions(
    desk, reviewer, second_reviewer, connection
):
    made = announce(connection, "claimed", "idle", "put", "named", "other", "theirs")
    Claim.objects.create(message=made["claimed"], person=reviewer)
    idle = Claim.objects.create(message=made["idle"], person=reviewer)
    change_row(idle, seen_at=Now() - timedelta(minutes=11))
    Claim.objects.create(message=made["theirs"], person=second_reviewer)
    Snooze.objects.create(
        message=made["put"], person=reviewer, until=NOW + timedelta(days=9999)
    )
    asked = Comment.objects.create(
        message=made["named"], person=second_reviewer, text="?"
    )
    Question.objects.create(message=made["named"], person=reviewer, comment=asked)
    assert names(reviewer, "tab=mine") == ["claimed", "put", "named"]
    assert names(reviewer) == ["claimed", "idle", "named", "other", "theirs"]
    page = page_of(desk)
    assert page.count("Claimed by you") == 1
    assert page.count("Claimed by Ben Okafor") == 1
    assert re.search(r"data-waiting>5<", page)
    assert re.search(r'data-tab-of="mine".*?data-count>3<', page, re.DOTALL)
    # A message that one person snoozes stays for others, and returns at its time.
    assert "put" in names(second_reviewer)
    Snooze.objects.update(until=Now())
    assert names(reviewer) == list(made)


@pytest.mark.slow
def test_what_waits_is_counted_to_the_end_a_moment_later(
    desk, reviewer, connection, monkeypatch
):
    for module in (
        "common.counts",
        "approvals.queue.querysets",
        "approvals.queue.views",
        "approvals.polling",
    ):
        monkeypatch.setattr(f"{module}.COUNTED", 1)
    made = announce(connection, "kiwi", "fig", "date", "pear") | {
        name: make(connection, name) for name in ("plum", "lime")
    }
    Snooze.objects.create(
        message=made["pear"], person=reviewer, until=NOW + timedelta(days=9999)
    )
    for name, state in (("plum", "recorded"), ("lime", "applied")):
        decide(made[name], reviewer)
        Decision.objects.filter(message=made[name]).update(state=state)
    counts = desk.get("/queue/pulse/").json()
    assert counts["waiting"] == 3
    assert counts["tabs"]["waiting"] == "1+"
    assert re.search(r"data-waiting>1\+<", page_of(desk))
    place = listing.place_of(actor_of(reviewer), filters_of(reviewer, ""), made["date"])
    assert place.number == "1+"
    assert place.of == "1+"


@pytest.mark.slow
def test_message_that_multimail_accepted_is_sending_until_a_whole_read_would_show_it(
    reviewer, connection
):
    decide(make(connection, "plum"), reviewer)
    Decision.objects.update(
        state="applied", changed_at=Now() - timedelta(hours=2, minutes=30)
    )
    Message.objects.update(changed_at=Now() - timedelta(hours=3))
    hours = {None: ["plum"], 4: ["plum"], 2: ["plum"], 0: []}
    for read, found in hours.items():
        Connection.objects.update(
            complete_as_of=None if read is None else Now() - timedelta(hours=read)
        )
        assert names(reviewer, "tab=leaving") == found, f"read {read} hours ago"
    assert names(reviewer) == []


def test_queue_asks_the_database_as_often_whatever_is_asked_for(
    signed_in, admin, connection, django_assert_max_num_queries
):
    make(connection, "plum", markdown=LIES)
    client = signed_in(admin)
    with django_assert_max_num_queries(24):
        assert "plum" in page_of(client)
    with django_assert_max_num_queries(34):
        assert "plum" in page_of(
            client, "order=riskiest&q=subject&group=thread&risk=high"
        )


def rows_of(page):
    """The visible text of each row, with whitespace folded."""
    rows = page.partition('id="rows"')[2].partition("</section>")[0]
    return [
        " ".join(re.sub(r"<[^>]*>", " ", row).split())
        for row in re.findall(r"<li id.*?</li>", rows, re.DOTALL)
    ]


def test_row_says_what_it_is_sorted_by_and_who_gets_it(desk, connection):
    hidden = '<p style="color:#ffffff">x y z</p>'
    card = "card 4111 1111 1111 1111"
    risky = {"markdown": f"{LIES} {hidden} {card}", "reply_to": "a@elsewhere.example"}
    message = make(connection, "plum", sandbox=True, **risky)
    Message.objects.update(
        expires_at=Now() + timedelta(days=9, minutes=1),
        held_at=Now() - timedelta(hours=3),
    )
    make(connection, "kiwi")
    make(
        connection,
        "fig",
        to_addresses=["a@x.example", "b@yourteam.example"],
        cc=["c@y.example"],
    )
    page = page_of(desk)
    first, second, third = rows_of(page)
    # The label of the state is in the markup also for held messages, but not visible.
    assert first == (
        "dana@northwind.example 3 h Subject plum Held High: misleading link, may look different, replies elsewhere "
        "support Test ana#1 in #outreach 9 d left"
    )
    assert (
        second
        == "dana@northwind.example just now Subject kiwi Held support ana#1 in #outreach"
    )
    assert "+2" in third
    assert "2 outside" in third
    assert f'value="{message.public_id}" aria-label="Select: Subject plum"' in page


def save(client, name="Risky first", query="order=riskiest&risk=high", **fields):
    return client.post("/queue/views/", {"name": name, "query": query, **fields})


def queue(client):
    return client.get("/queue/").text


def saved():
    return list(SavedView.objects.order_by("pk").values_list("name", "query"))


def test_view_is_saved_shown_and_leads_back_to_what_it_shows(signed_in, auditor):
    client = signed_in(auditor)
    answer = save(client)
    assert answer["Location"] == "/queue/?risk=high&order=riskiest"
    page = client.get(answer["Location"]).text
    assert "Saved as “Risky first”." in page
    assert re.search(
        r'href="/queue/\?risk=high&amp;order=riskiest" aria-current="true"><span class="clip">Risky',
        page,
    )
    assert Entry.objects.filter(action="view.saved").count() == 1
    # A view of the same name is replaced; page and unknown parameters are dropped.
    save(
        client,
        name="RISKY first",
        query="after=1700000000000000-9&q=refund&next=https://evil.example/&tab=nonsense",
    )
    assert saved() == [("RISKY first", "q=refund")]


def test_private_view_is_its_owners_alone_and_a_shared_one_deleted_by_its_owner_alone(
    signed_in, reviewer, second_reviewer
):
    client = signed_in(reviewer)
    save(client, name="Mine alone")
    save(client, name="For all", shared="1")
    view = SavedView.objects.get(name="For all")
    other = signed_in(second_reviewer)
    page = queue(other)
    assert "Mine alone" not in page
    assert "For all" in page
    assert "by Ana Ferreira" in page
    assert "Delete the view" not in page
    assert other.post(f"/queue/views/{view.pk}/delete/").status_code == 404
    assert (
        signed_in(reviewer).post(f"/queue/views/{view.pk}/delete/").status_code == 302
    )
    assert [name for name, _ in saved()] == ["Mine alone"]
    assert Entry.objects.filter(action="view.deleted").count() == 1


@pytest.mark.slow
def test_view_with_an_invalid_name_or_over_the_limit_is_refused_with_an_error(
    signed_in, reviewer, monkeypatch
):
    client = signed_in(reviewer)
    for name in ("", "x" * 61, "a\0b"):
        save(client, name=name)
    assert saved() == []
    monkeypatch.setattr(saved_rows, "MOST", 1)
    save(client)
    save(client, name="One more")
    assert [name for name, _ in saved()] == ["Risky first"]
    page = queue(client)
    for words in (
        "Give the view a name.", "under 60 characters", "Null characters", "You have 1 saved already",
    ):  # fmt: skip
        assert words in page


def columns(message):
    """The columns as they are stored."""
    names = (
        "shape",
        "amounts",
        "addresses",
        "outside",
        "started_by",
        "run_id",
        "bands",
        "search",
    )
    of_review = (
        Review.objects.filter(pk=message.pk).values("risk", "risk_level", "rules").get()
    )
    return Message.objects.filter(pk=message.pk).values(*names).get() | of_review


def test_facets_show_recipients_and_originators(connection):
    message = make_message(
        connection, to_addresses=["Dana <Dana@Northwind.example>"], cc=["amy@yourteam.example"],
        additions={"auto_bcc": "archive@keep.example"}, markdown=LIES, metadata={"discord_user": "ana#1", "runId": 7},
    )  # fmt: skip
    found = columns(message)
    assert sorted(found["addresses"]) == [
        "amy@yourteam.example",
        "archive@keep.example",
        "dana@northwind.example",
    ]
    assert (found["outside"], found["started_by"], found["run_id"]) == (
        2,
        "discord:ana#1",
        "7",
    )
    assert found["risk_level"] == "high"
    assert "link_text_lies" in found["rules"]
    # Columns that only the database uses are not loaded.
    assert Message.objects.get().get_deferred_fields() == {"search", "bands"}
    # The originator is the key where there was no person, and nobody for received mail.
    sent = make_message(
        connection, metadata={}, sent_by_key="k1", sent_by_key_name="Invoices"
    )
    assert columns(sent)["started_by"] == "key:Invoices"
    came = columns(
        make_message(
            connection, direction="inbound", **{"from": "dana@northwind.example"}
        )
    )
    assert came["started_by"] == ""
    assert came["outside"] == 0
    assert "dana@northwind.example" in came["addresses"]


def test_content_that_cannot_be_sorted_is_read_all_the_same(connection, monkeypatch):
    def fail(content):
        raise RecursionError

    monkeypatch.setattr(examination, "amounts", fail)
    message = make_message(connection, markdown="Dear Dana, your report is ready.")
    assert message.revision is not None
    found = columns(message)
    assert found["search"] == ""
    assert found["risk_level"] == "high"
    # Every rule of the policy applies to what is not known.
    assert Review.objects.get().policy_facts is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("word " * 100_000, id="many words"),
        pytest.param("".join(map(chr, range(0x4E00, 0x9000))) * 10, id="one word"),
        pytest.param("\u202e" * 40_000, id="no word"),
    ],
)
def test_huge_content_has_facets_too(connection, text):
    assert columns(make_message(connection, markdown=text))["search"] is not None
