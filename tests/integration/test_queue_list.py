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
from approvals.models import Claim, Comment, Question, Review, SavedView, Snooze
from approvals.queue import views as listing
from approvals.queue.filters import read_filters
from audit.models import Entry
from mirror.models import Mailbox, Message
from tests.factories import NOW, actor_of, change_row, make_message
from tests.integration.deciding import decide
from tests.markup import HTMX, words_of

LIES = "[https://acme-corp.example/pay](https://acrne-corp.example/p)"


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


def page_of(client, query=""):
    """The list of the queue, which is also shown next to a message."""
    return client.get(f"/queue/?{query}", headers=HTMX).text


def test_letters_beyond_ascii_before_the_at_are_shown_and_found(
    connection, reviewer, signed_in
):
    make(connection, "one", direction="inbound", **{"from": "Jörg@x.example"})
    make(connection, "two", to_addresses=["用户@x.example"])
    for query in ("q=from:jörg@x.example", "q=JÖRG@x.example"):
        assert names(reviewer, query) == ["one"], query
    assert names(reviewer, "q=to:用户@x.example") == ["two"]
    assert "Jörg@x.example" in signed_in(reviewer).get("/queue/").text


def test_part_of_a_word_is_found_where_words_have_no_blanks(connection, reviewer):
    make(connection, "plum", markdown="请查收附件中的发票")
    make(connection, "kiwi", markdown="กรุณาชำระใบแจ้งหนี้ภายใน")
    for query, found in (
        ("发票", ["plum"]),
        ("票", ["plum"]),
        ("附件 发票", ["plum"]),
        ("发附", []),
        ("ใบแจ้งหนี้", ["kiwi"]),
    ):
        assert names(reviewer, f"q={query}") == found, query


# For each expected result, the addresses that find it.
FOUND = {
    "plum": ("q=plum", "q=pl", 'q="about plum"', "q=risk:high", "rule=link_text_lies"),
    "kiwi": ("q=muller", "q=to:zoe to:contoso", "thread=T1"),
    "fig": (
        "q=by:ben",
        "q=has:attachment",
        "risk=none&q=fig",
        "started=discord:ben%231",
        "run=run-9",
    ),
    "plum kiwi date": ("q=mailbox:support",),
    "plum kiwi fig date": ("",),
    "": ('q="plum about"', "q=from:zoe", "q=until:2020-01-01"),
}


@pytest.mark.slow
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


def test_every_message_is_on_one_page_in_every_order(connection, reviewer, monkeypatch):
    monkeypatch.setattr(listing, "PAGE", 2)
    announce(connection, "plum", "kiwi", "fig", "date", "pear")
    # All of one time and of two risks, two that never expire: only the key tells these
    # apart.
    Message.objects.update(held_at=NOW, expires_at=NOW + timedelta(days=9999))
    odd = Review.objects.annotate(odd=F("message") % 2).filter(odd=1)
    odd.update(risk_level="high")
    Message.objects.filter(subject__in=["Subject plum", "Subject pear"]).update(
        expires_at=None
    )
    for order in ("soonest", "oldest", "riskiest"):
        found = []
        query = f"order={order}"
        while query:
            page = listed(reviewer, query)
            found += [row.message.pk for row in page["rows"]]
            query = page["next_query"]
        assert sorted(found) == sorted(Message.objects.values_list("pk", flat=True))


def test_mine_has_claimed_and_snoozed_messages_and_questions(
    desk, reviewer, second_reviewer, connection
):
    made = announce(connection, "claimed", "idle", "put", "named", "other", "theirs")
    Claim.objects.create(message=made["claimed"], person=reviewer)
    idle = Claim.objects.create(message=made["idle"], person=reviewer)
    change_row(idle, seen_at=Now() - timedelta(minutes=11))
    Claim.objects.create(message=made["theirs"], person=second_reviewer)
    soon = Now() + timedelta(days=9)
    Snooze.objects.create(message=made["put"], person=reviewer, until=soon)
    named = made["named"]
    asked = Comment.objects.create(message=named, person=second_reviewer, text="?")
    Question.objects.create(message=named, person=reviewer, comment=asked)
    assert names(reviewer, "tab=mine") == ["claimed", "put", "named"]
    assert names(reviewer) == ["claimed", "idle", "named", "other", "theirs"]
    page = page_of(desk)
    assert "Claimed by Ben Okafor" in page
    assert re.search(r"data-waiting>5<", page)
    assert re.search(r'id="count-mine">3<', page)
    # A message that one person snoozes stays for others, and returns at its time.
    assert "put" in names(second_reviewer)
    Snooze.objects.update(until=Now())
    assert names(reviewer) == list(made)


def test_rows_are_drawn_again_also_of_what_the_list_has_no_longer(
    desk, reviewer, connection
):
    made = [make(connection, name) for name in ("fig", "kiwi", "plum")]
    decide(made[0], reviewer)
    later = Now() + timedelta(days=9)
    Snooze.objects.create(message=made[1], person=reviewer, until=later)
    ids = [str(one.public_id) for one in made]
    page = words_of(desk.get("/queue/rows/", {"id": [*ids, "none"]}).text)
    for shown in ("Subject fig Sending", "Subject kiwi Held Snoozed", "Subject plum"):
        assert shown in page
    assert page.count("Subject") == 3


def save(client, name="Risky first", query="order=riskiest&risk=high", **fields):
    return client.post("/queue/views/", {"name": name, "query": query, **fields})


def test_private_view_is_its_owners_alone_and_a_shared_one_deleted_by_its_owner_alone(
    signed_in, reviewer, second_reviewer
):
    client = signed_in(reviewer)
    save(client, name="Mine alone")
    save(client, name="For all", shared="1")
    delete = f"/queue/views/{SavedView.objects.get(name='For all').pk}/delete/"
    other = signed_in(second_reviewer)
    page = other.get("/queue/").text
    assert "Mine alone" not in page
    assert "For all" in page
    assert "Delete the view" not in page
    assert other.post(delete).status_code == 404
    assert signed_in(reviewer).post(delete).status_code == 302
    assert SavedView.objects.get().name == "Mine alone"
    assert Entry.objects.filter(action="view.deleted").count() == 1


def test_content_that_cannot_be_sorted_is_read_all_the_same(connection, monkeypatch):
    def fail(text):
        raise RecursionError

    monkeypatch.setattr(examination, "_searched", fail)
    message = make_message(connection, markdown="Dear Dana, your report is ready.")
    assert message.revision is not None
    # It is found by its names alone.
    assert message.upstream_id.lower() in message.search
    assert "'report'" not in message.search
    assert message.review.risk_level == "high"
    # Every rule of the policy applies to what is not known.
    assert message.review.policy_facts is None
