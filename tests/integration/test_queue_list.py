"""The queue as a list: the query of its address, in every order, page by page, and grouped rows."""

import re
from datetime import timedelta

import pytest
from django.db.models import F
from django.db.models.functions import Now
from django.http import QueryDict
from django.utils import timezone

from approvals.models import Claim, Comment, Decision, Question, Review, Snooze
from approvals.queue import views as listing
from approvals.queue.filters import QueueAddress
from mirror.models import Connection, Mailbox, Message
from tests.factories import NOW, make_connection, make_message, make_person, rolled_back
from tests.integration.deciding import decide

pytestmark = pytest.mark.django_db

LIES = "[https://acme-corp.example/pay](https://acrne-corp.example/p)"
ORDERS = ("oldest", "riskiest", "soonest")


def make(connection, name, **fields):
    """A distinct held message, named by a word."""
    fields.setdefault("markdown", f"About {name} and nothing else")
    return make_message(connection, subject=f"Subject {name}", **fields)


def announce(connection, *names):
    """Held messages whose content nobody has read yet, by their names."""
    return {name: make_message(connection, subject=f"Subject {name}", hydrated=False) for name in names}


def filters_of(person, query):
    return QueueAddress(
        QueryDict(query), mailboxes=list(Mailbox.objects.visible_to(person.actor(surface="web")))
    ).filters()


def listed(person, query=""):
    """What a page of the queue is made of, for the address with this query."""
    filters = filters_of(person, query)
    return listing.queue_context(person.actor(surface="web"), filters=filters, now=timezone.now(), mailboxes=[])


def names(person, query=""):
    """The words that name the messages of a page, in their order."""
    found = listing.page_of(person.actor(surface="web"), filters_of(person, query))
    return [message.subject.removeprefix("Subject ") for message in found]


def gathered(person, query=""):
    """The word of each row, and the number of its messages."""
    rows = listed(person, query)["rows"]
    return [(row.message.subject.split()[-1], row.gathered.number if row.gathered else 1) for row in rows]


def page_of(client, query=""):
    """The list of the queue, which is also shown next to a message."""
    return client.get(f"/queue/?{query}", headers={"HX-Request": "true"}).content.decode()


# For each expected result, the addresses that find it.
FOUND = {
    "plum": ("q=plum", "q=pl", 'q="about plum"', "q=risk:high", "rule=link_text_lies"),
    "kiwi": ("q=muller", "q=to:zoe", "q=to:zoe to:contoso", "thread=T1"),
    "fig": ("q=by:ben", "q=has:attachment", "risk=none&q=fig", "started=discord:ben%231", "run=run-9"),
    "plum kiwi date": ("q=mailbox:support",),
    "plum kiwi fig date": ("",),
    "": ('q="plum about"', "q=from:zoe", "q=plum risk:notice"),
}


def test_filter_shows_what_it_asks_for_in_the_page_and_in_its_twin(desk, signed_in, connection, reviewer):
    make(connection, "plum", markdown=f"About plum: {LIES}, nothing")
    make(connection, "kiwi", to_addresses=["Zoe <zoe@contoso.example>"], thread_id="T1", markdown="Müller")
    make(
        connection, "fig", metadata={"discord_user": "ben#1", "discord_channel": "sales", "run_id": "run-9"},
        attachments=[{"name": "a.pdf", "size": 3}],
    )  # fmt: skip
    sales = connection.mailboxes.create(upstream_id="02", address="sales@yourteam.example")
    Message.objects.filter(subject="Subject fig").update(mailbox=sales)
    # Unfetched content is in no search, and is not reported as empty.
    announce(connection, "date")
    assert "date" not in names(reviewer, "risk=none")
    for found, queries in FOUND.items():
        assert {query: " ".join(names(reviewer, query)) for query in queries} == dict.fromkeys(queries, found)
    assert re.findall(r'class="subject clip"><bdi>Subject (\w+)', page_of(desk, "q=mailbox:sales")) == ["fig"]
    twin = desk.get("/queue/?format=json&q=mailbox:sales").json()["messages"]
    assert [row["subject"] for row in twin] == ["Subject fig"]
    # Messages out of scope are not counted.
    stranger = make_person("x@yourteam.example", "X", "reviewer", connection=make_connection("other"))
    page = page_of(signed_in(stranger), "q=plum")
    assert re.search(r"data-waiting>0<", page)
    assert "0 matches" in page


def test_odd_words_and_nonsense_are_asked_for_without_an_error(connection, reviewer):
    announce(connection, "plum")
    for typed in ("'' \\' \":*", "a & b | !c <-> (", "%", "\0plum", "plum" * 2500, "🙂 \ufffd", "*"):
        address = QueryDict(mutable=True)
        address.update({"q": typed, "to": typed, "by": "'"})
        assert names(reviewer, address.urlencode()) in ([], ["plum"])
    for order in ORDERS:
        assert names(reviewer, f"order={order}&tab=x&after=9-9-9-9-9&group=x&mailbox=x&risk=x") == ["plum"]


def test_orders_are_what_they_are_called(connection, reviewer):
    for minutes, name, fields in ((0, "plain", {}), (5, "risky", {"markdown": LIES}), (9, "ending", {})):
        message = make(connection, name, **fields)
        Message.objects.filter(pk=message.pk).update(held_at=NOW + timedelta(minutes=minutes))
    Message.objects.filter(subject="Subject ending").update(expires_at=Now() + timedelta(hours=2))
    assert names(reviewer) == ["plain", "risky", "ending"]
    assert names(reviewer, "order=riskiest") == ["risky", "plain", "ending"]
    assert names(reviewer, "order=soonest") == ["ending", "plain", "risky"]


@pytest.mark.parametrize(
    "order", ["soonest", *(pytest.param(order, marks=pytest.mark.slow) for order in ("oldest", "riskiest"))]
)
def test_every_message_is_on_one_page_in_every_order(connection, reviewer, monkeypatch, order):
    monkeypatch.setattr(listing, "PAGE", 2)
    announce(connection, "plum", "kiwi", "fig", "date", "pear")
    # All of one time and of two risks, two that never expire: only the key tells these apart.
    Message.objects.update(held_at=NOW, expires_at=NOW + timedelta(days=9999))
    Review.objects.update(risk=F("message") % 2)
    Message.objects.filter(subject__in=["Subject plum", "Subject pear"]).update(expires_at=None)
    found, query = [], f"order={order}"
    while query:
        page = listed(reviewer, query)
        found += [row.message.pk for row in page["rows"]]
        query = page["next_query"]
    assert sorted(found) == sorted(Message.objects.values_list("pk", flat=True))


INVOICE = "Hello {name},\n\nyour invoice {number} over EUR {amount} is due.\n\nKind regards"


def flood(connection, odd=2):
    """Six similar messages, the last ones with another amount."""
    people = ("Kim", "Lee", "Ola", "Per", "Ute", "Ian")
    for index, name in enumerate(people):
        amount = "9.000,00" if index >= len(people) - odd else "100,00"
        text = INVOICE.format(name=name, number=4400 + index, amount=amount)
        make_message(connection, subject="Your invoice", markdown=text, to_addresses=[f"{name}@contoso.example"])
    return list(Message.objects.filter(subject="Your invoice").order_by("pk"))


def test_flood_stands_in_one_row_that_says_what_differs(desk, reviewer, connection, django_assert_max_num_queries):
    make(connection, "plum")
    alike = flood(connection)
    with django_assert_max_num_queries(28):
        page = page_of(desk)
    assert page.count('class="item') == 2
    assert "<strong>6 like this</strong>, 2 differ in the amount" in page
    opened = re.search(r'class="gathered" href="/queue/\?([^"]+)"', page)[1].replace("&amp;", "&")
    assert gathered(reviewer, opened) == [("invoice", 1)] * 6
    # A message whose group is out of scope is not hidden.
    with rolled_back():
        other = connection.mailboxes.create(upstream_id="02", address="sales@yourteam.example")
        Message.objects.filter(pk=alike[-1].pk).update(mailbox=other)
        person = make_person("x@yourteam.example", "X", "reviewer", connection=connection, mailbox=other)
        assert [row.message for row in listed(person)["rows"]] == alike[-1:]
    # A riskier message has its own row.
    Review.objects.filter(pk=alike[-1].pk).update(risk=70)
    assert gathered(reviewer) == [("plum", 1), ("invoice", 5), ("invoice", 1)]
    # After the first is decided, the next represents the group.
    decide(alike[0], reviewer)
    Review.objects.filter(pk=alike[-1].pk).update(risk=alike[0].review.risk)
    assert [row.message for row in listed(reviewer)["rows"]][1] == alike[1]
    assert gathered(reviewer) == [("plum", 1), ("invoice", 5)]
    # Small groups are not folded unless requested.
    decide(alike[1], reviewer)
    assert gathered(reviewer) == [("plum", 1), *[("invoice", 1)] * 4]
    assert gathered(reviewer, "group=alike") == [("plum", 1), ("invoice", 4)]


@pytest.mark.slow
def test_messages_are_gathered_by_what_is_asked_for_in_the_order_that_was_asked_for(desk, reviewer, connection):
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
    assert gathered(reviewer, "group=thread&order=riskiest") == [("risky", 2), ("fig", 1)]
    assert "2 in this thread" in page_of(desk, "group=thread")


def test_mine_has_claimed_and_snoozed_messages_and_questions(desk, reviewer, second_reviewer, connection):
    made = announce(connection, "claimed", "idle", "put", "named", "other", "theirs")
    Claim.objects.create(message=made["claimed"], person=reviewer)
    idle = Claim.objects.create(message=made["idle"], person=reviewer)
    Claim.objects.filter(pk=idle.pk).update(seen_at=Now() - timedelta(minutes=11))
    Claim.objects.create(message=made["theirs"], person=second_reviewer)
    Snooze.objects.create(message=made["put"], person=reviewer, until=NOW + timedelta(days=9999))
    asked = Comment.objects.create(message=made["named"], person=second_reviewer, text="?")
    Question.objects.create(message=made["named"], person=reviewer, comment=asked)
    assert names(reviewer, "tab=mine") == ["claimed", "put", "named"]
    assert names(reviewer) == ["claimed", "idle", "named", "other", "theirs"]
    page = page_of(desk)
    assert page.count("Claimed by you") == 1
    assert "Claimed by Ben Okafor" in page
    assert re.search(r"data-waiting>5<", page)
    assert re.search(r'data-tab-of="mine".*?data-count>3<', page, re.DOTALL)
    # A message that one person snoozes stays for others, and returns at its time.
    assert "put" in names(second_reviewer)
    Snooze.objects.update(until=Now())
    assert names(reviewer) == list(made)


@pytest.mark.slow
def test_what_waits_is_counted_to_the_end_a_moment_later(desk, reviewer, connection, monkeypatch):
    for module in ("common.counts", "approvals.queue.querysets", "approvals.queue.views", "approvals.polling"):
        monkeypatch.setattr(f"{module}.COUNTED", 1)
    made = announce(connection, "kiwi", "fig", "date", "pear") | {
        name: make(connection, name) for name in ("plum", "lime")
    }
    Snooze.objects.create(message=made["pear"], person=reviewer, until=NOW + timedelta(days=9999))
    for name, state in (("plum", "recorded"), ("lime", "applied")):
        decide(made[name], reviewer)
        Decision.objects.filter(message=made[name]).update(state=state)
    counts = desk.get("/queue/pulse/").json()
    assert (counts["waiting"], counts["tabs"]["waiting"]) == (3, "1+")
    assert re.search(r"data-waiting>1\+<", page_of(desk))
    place = listing.place_of(reviewer.actor(surface="web"), filters_of(reviewer, ""), made["date"])
    assert (place.number, place.of) == ("1+", "1+")


@pytest.mark.slow
def test_message_that_multimail_accepted_is_sending_until_a_whole_read_would_show_it(reviewer, connection):
    decide(make(connection, "plum"), reviewer)
    Decision.objects.update(state="applied", changed_at=Now() - timedelta(hours=2, minutes=30))
    Message.objects.update(changed_at=Now() - timedelta(hours=3))
    hours = {None: ["plum"], 4: ["plum"], 2: ["plum"], 0: []}
    for read, found in hours.items():
        Connection.objects.update(complete_as_of=None if read is None else Now() - timedelta(hours=read))
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
        assert "plum" in page_of(client, "order=riskiest&q=subject&group=thread&risk=high")


def rows_of(page):
    """The visible text of each row, with whitespace folded."""
    rows = page.partition('id="rows"')[2].partition("</section>")[0]
    return [" ".join(re.sub(r"<[^>]*>", " ", row).split()) for row in re.findall(r"<li id.*?</li>", rows, re.DOTALL)]


def test_row_says_what_it_is_sorted_by_and_who_gets_it(desk, connection):
    hidden = '<p style="color:#ffffff">x y z</p>'
    card = "card 4111 1111 1111 1111"
    risky = {"markdown": f"{LIES} {hidden} {card}", "reply_to": "a@elsewhere.example"}
    message = make(connection, "plum", sandbox=True, **risky)
    Message.objects.update(expires_at=Now() + timedelta(days=9, minutes=1), held_at=Now() - timedelta(hours=3))
    make(connection, "kiwi")
    make(connection, "fig", to_addresses=["a@x.example", "b@yourteam.example"], cc=["c@y.example"])
    page = page_of(desk)
    first, second, third = rows_of(page)
    # The label of the state is in the markup also for held messages, but not visible.
    assert first == (
        "dana@northwind.example 3 h Subject plum Held High: misleading link, may look different, replies elsewhere "
        "support Test ana#1 in #outreach 9 d left"
    )
    assert second == "dana@northwind.example just now Subject kiwi Held support ana#1 in #outreach"
    assert "+2" in third
    assert "2 outside" in third
    assert f'value="{message.public_id}" aria-label="Select: Subject plum"' in page
