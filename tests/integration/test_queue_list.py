"""The queue as a list: what its address asks for, in every order, page by page, and what stands in one row."""

import re
from datetime import timedelta
from html import unescape
from urllib.parse import quote

import pytest
from django.db.models import F
from django.db.models.functions import Now

from approvals.decide import give_verdict
from approvals.models import Claim, Comment, Connection, Decision, Message, Question, RuleWeight, Snooze
from tests.factories import NOW, make_connection, make_message, make_person, show_row
from tests.integration.deciding import decide

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}
LIES = "[https://acme-corp.example/pay](https://acrne-corp.example/p)"
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def desk(signed_in, reviewer):
    return signed_in(reviewer)


def make(connection, name, **fields):
    """A held message that is like no other, named by a word."""
    fields.setdefault("markdown", f"About {name} and nothing else")
    return make_message(connection, subject=f"Subject {name}", **fields)


def body_of(client, part, query=""):
    """What a page of the queue has from this part on."""
    return client.get(f"/queue/{query}").content.decode().partition(f'id="{part[1:]}"')[2].partition("</section>")[0]


def words_of(page):
    """What people read of it, with its blanks folded."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", f"<{page}")).split())


def names(client, query=""):
    """The words by which the rows of a page are named, in their order."""
    page = client.get(f"/queue/?{query}").content.decode()
    return re.findall(r'class="subject clip"><bdi>Subject (\w+)', page)


def pages(client, query):
    """The names on every page, following links alone."""
    found, address = [], f"/queue/?{query}"
    while address:
        page = client.get(address).content.decode()
        found += re.findall(r'class="subject clip"><bdi>Subject (\w+)', page)
        following = re.search(r'rel="next" href="([^"]+)"', page)
        address = following[1].replace("&amp;", "&") if following else ""
    return found


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=plum", ["plum"]),
        ("q=PLUM nothing", ["plum"]),
        ("q=pl", ["plum"]),
        ("q=\"about plum\"", ["plum"]),
        ("q=\"plum about\"", []),
        ("q=muller", ["kiwi"]),
        ("q=to:zoe", ["kiwi"]),
        ("q=to:contoso.example", ["kiwi"]),
        ("q=to:zoe@con", ["kiwi"]),
        ("q=zoe@contoso.example", ["kiwi"]),
        ("q=to:zoe to:contoso", ["kiwi"]),
        ("q=from:zoe", []),
        ("q=from:support", ["plum", "kiwi", "fig"]),
        ("q=by:ben", ["fig"]),
        ("q=by:sales", ["fig"]),
        ("q=has:attachment", ["fig"]),
        ("q=risk:high", ["plum"]),
        ("risk=none&q=fig", ["fig"]),
        ("rule=link_text_lies", ["plum"]),
        ("q=rule:\"link lies\"", ["plum"]),
        ("q=plum risk:notice", []),
        ("q=mailbox:support", ["plum", "kiwi"]),
        ("q=mailbox:sales", ["fig"]),
        ("started=discord:ben%231", ["fig"]),
        ("run=run-9", ["fig"]),
        ("thread=T1", ["kiwi"]),
    ],
)  # fmt: skip
def test_filter_shows_what_it_asks_for_in_the_page_and_in_its_twin(desk, connection, query, found):
    make(connection, "plum", markdown=f"About plum: {LIES}, nothing")
    make(connection, "kiwi", to_addresses=["Zoe <zoe@contoso.example>"], thread_id="T1", markdown="Müller")
    make(
        connection, "fig", metadata={"discord_user": "ben#1", "discord_channel": "sales", "run_id": "run-9"},
        attachments=[{"name": "a.pdf", "size": 3}],
    )  # fmt: skip
    sales = connection.mailboxes.create(upstream_id="02", address="sales@yourteam.example")
    Message.objects.filter(subject="Subject fig").update(mailbox=sales)
    query = quote(query, safe="=&%")
    assert names(desk, query) == found
    twin = desk.get(f"/queue/?format=json&{query}").json()["messages"]
    assert [row["subject"] for row in twin] == [f"Subject {name}" for name in found]


@pytest.mark.parametrize(
    "typed",
    [
        "'",
        "\\",
        "'' \\' \":*",
        "a & b | !c <-> (",
        "%",
        "\u0000plum",
        "(" * 300,
        "plum" * 2500,
        "\ud83d\ude00 🙂",
        ":*",
        "*",
    ],
    ids=range(11),
)
def test_odd_words_are_searched_without_an_error(desk, connection, typed):
    make(connection, "plum")
    answer = desk.get("/queue/", {"q": typed.encode("utf-8", "replace").decode()})
    assert answer.status_code == 200
    assert desk.get("/queue/", {"to": typed.encode("utf-8", "replace").decode(), "by": "'"}).status_code == 200


@pytest.mark.parametrize("query", ["tab=x", "order=x", "after=x", "group=x", "mailbox=x", "risk=x", "after=9-9-9-9-9"])
@pytest.mark.parametrize("order", ["oldest", "riskiest", "soonest"])
def test_nonsense_is_the_first_page_in_every_order(desk, connection, query, order):
    make(connection, "plum")
    assert names(desk, f"order={order}&{query}") == ["plum"]


def test_orders_are_what_they_are_called(desk, connection):
    plain = make(connection, "plain")
    risky = make(connection, "risky", markdown=LIES)
    for message, minutes in ((plain, 0), (risky, 5), (make(connection, "ending"), 9)):
        Message.objects.filter(pk=message.pk).update(held_at=NOW + timedelta(minutes=minutes))
    Message.objects.filter(subject="Subject ending").update(expires_at=Now() + timedelta(hours=2))
    assert names(desk) == ["plain", "risky", "ending"]
    assert names(desk, "order=riskiest") == ["risky", "plain", "ending"]
    assert names(desk, "order=soonest") == ["ending", "plain", "risky"]


@pytest.mark.parametrize("order", ["oldest", "riskiest", "soonest"])
def test_every_message_is_on_one_page_in_every_order(desk, connection, order):
    for number in range(53):
        make(connection, f"{LETTERS[number // 26]}{LETTERS[number % 26]}")
    # Many of one time and of one risk, some that never expire: only the key tells these apart.
    Message.objects.update(held_at=NOW, risk=F("id") % 2, expires_at=Now() + timedelta(days=1))
    Message.objects.filter(pk__in=Message.objects.filter(subject__lt="Subject b").values("pk")).update(expires_at=None)
    found = pages(desk, f"order={order}&group=none")
    assert len(found) == len(set(found)) == 53


def test_row_that_moved_in_front_while_paging_is_told(desk, connection):
    for number in range(52):
        make(connection, f"{LETTERS[number // 26]}{LETTERS[number % 26]}")
    first = desk.get("/queue/?order=riskiest").content.decode()
    following = re.search(r'rel="next" href="([^"]+)"', first)[1].replace("&amp;", "&")
    assert "moved to an earlier page" not in desk.get(following).content.decode()
    Message.objects.filter(subject="Subject bz").update(risk=90)
    page = desk.get(following).content.decode()
    assert "1 message moved to an earlier page since you began" in page
    assert names(desk, "order=riskiest")[0] == "bz"


def test_riskiest_order_tells_the_sum_by_the_weights_of_now(desk, connection):
    make(connection, "plum", markdown=LIES)
    assert re.search(r"Why here\?.*?60</span> points", desk.get("/queue/?order=riskiest").content.decode())
    RuleWeight.objects.create(rule="link_text_lies", points=33)
    assert 'link lies <span class="nums">33</span>' in desk.get("/queue/?order=riskiest").content.decode()


INVOICE = "Hello {name},\n\nyour invoice {number} over EUR {amount} is due.\n\nKind regards"


def flood(connection, number=6, odd=2):
    for place, name in enumerate(("Kim", "Lee", "Ola", "Per", "Ute", "Ian", "Zoe")[:number]):
        amount = "9.000,00" if place >= number - odd else "100,00"
        text = INVOICE.format(name=name, number=4400 + place, amount=amount)
        make_message(connection, subject="Your invoice", markdown=text, to_addresses=[f"{name}@contoso.example"])


def test_flood_stands_in_one_row_that_says_what_differs(desk, connection):
    make(connection, "plum")
    flood(connection)
    page = desk.get("/queue/").content.decode()
    assert page.count('class="item') == 2
    assert "<strong>6 like this</strong>, 2 differ in the amount" in page
    opened = re.search(r'class="gathered" href="([^"]+)"', page)[1].replace("&amp;", "&")
    assert desk.get(opened).content.decode().count('class="item') == 6
    assert len(desk.get("/queue/?format=json").json()["messages"]) == 7


def test_few_that_are_alike_stand_by_themselves_unless_asked_for(desk, connection):
    flood(connection, number=4)
    assert desk.get("/queue/").content.decode().count('class="item') == 4
    assert desk.get("/queue/?group=alike").content.decode().count('class="item') == 1


def test_riskier_one_of_a_flood_has_a_row_of_its_own(desk, connection):
    flood(connection)
    odd = Message.objects.order_by("pk").last()
    Message.objects.filter(pk=odd.pk).update(risk=70)
    page = desk.get("/queue/").content.decode()
    assert f'data-message="{odd.public_id}"' in page
    assert "5 like this" in page


def test_first_of_a_flood_that_was_decided_gives_its_place_to_the_next(desk, reviewer, connection):
    flood(connection)
    first, second = Message.objects.order_by("held_at", "pk")[:2]
    give_verdict(
        message=first.public_id, actor=reviewer.actor(surface="web"), outcome="approve",
        fingerprint=first.revision.fingerprint, reason="", now=NOW,
    )  # fmt: skip
    page = desk.get("/queue/").content.decode()
    assert f'data-message="{second.public_id}"' in page
    assert "5 like this" in page


def test_flood_in_a_mailbox_out_of_sight_hides_nothing(signed_in, connection):
    flood(connection)
    other = connection.mailboxes.create(upstream_id="02", address="sales@yourteam.example")
    last = Message.objects.order_by("pk").last()
    Message.objects.filter(pk=last.pk).update(mailbox=other)
    client = signed_in(make_person("x@yourteam.example", "X", "reviewer", connection=connection, mailbox=other))
    assert f'data-message="{last.public_id}"' in client.get("/queue/").content.decode()


@pytest.mark.parametrize(
    ("group", "words", "members"),
    [
        ("thread", "2 in this thread", "thread=T1"),
        ("run", "2 of this run", "run=R1"),
        ("trigger", "3 started by", "started="),
    ],
)
def test_messages_are_gathered_by_what_is_asked_for(desk, connection, group, words, members):
    for name in ("plum", "kiwi"):
        make(connection, name, thread_id="T1", metadata={"discord_user": "ana#1", "run_id": "R1"})
    make(connection, "fig")
    page = desk.get(f"/queue/?group={group}").content.decode()
    assert words in page
    assert members in re.search(r'class="gathered" href="([^"]+)"', page)[1]
    assert page.count('class="item') == (1 if group == "trigger" else 2)


def test_gathering_keeps_the_order_that_was_asked_for(desk, connection):
    make(connection, "old", thread_id="T1")
    make(connection, "plum")
    make(connection, "risky", thread_id="T1", markdown=LIES)
    assert names(desk, "group=thread") == ["old", "plum"]
    assert names(desk, "group=thread&order=riskiest") == ["risky", "plum"]


def test_mine_has_what_is_claimed_put_off_or_asked(desk, reviewer, second_reviewer, connection):
    made = {name: make(connection, name) for name in ("claimed", "idle", "put", "named", "other", "theirs")}
    Claim.objects.create(message=made["claimed"], person=reviewer)
    idle = Claim.objects.create(message=made["idle"], person=reviewer)
    Claim.objects.filter(pk=idle.pk).update(seen_at=Now() - timedelta(minutes=11))
    Claim.objects.create(message=made["theirs"], person=second_reviewer)
    Snooze.objects.create(message=made["put"], person=reviewer, until=NOW + timedelta(days=9999))
    asked = Comment.objects.create(message=made["named"], person=second_reviewer, text="?")
    Question.objects.create(message=made["named"], person=reviewer, comment=asked)
    assert names(desk, "tab=mine") == ["claimed", "put", "named"]
    page = desk.get("/queue/").content.decode()
    assert names(desk) == ["claimed", "idle", "named", "other", "theirs"]
    assert page.count("You have it") == 1
    assert "Ben Okafor has it" in page
    assert re.search(r"data-waiting>5<", page)
    assert re.search(r'data-tab-of="mine".*?data-count>3<', page, re.DOTALL)


def test_put_off_message_is_back_at_its_time_and_never_gone_for_others(
    signed_in, reviewer, second_reviewer, connection
):
    message = make(connection, "plum")
    snooze = Snooze.objects.create(message=message, person=reviewer, until=NOW + timedelta(days=9999))
    client = signed_in(reviewer)
    assert names(client) == []
    assert "1 that you put off comes back" in client.get("/queue/").content.decode()
    assert names(signed_in(second_reviewer)) == ["plum"]
    Snooze.objects.filter(pk=snooze.pk).update(until=Now())
    assert names(signed_in(reviewer)) == ["plum"]


def test_row_says_how_many_get_it_and_how_many_are_outside(desk, connection):
    make(connection, "plum", to_addresses=["a@x.example", "b@yourteam.example"], cc=["c@y.example"])
    page = desk.get("/queue/").content.decode()
    assert "+2" in page
    assert "2 outside" in page


def test_row_says_what_it_is_sorted_by(desk, connection):
    hidden = '<p style="color:#ffffff">x y z</p>'
    card = "card 4111 1111 1111 1111"
    risky = {"markdown": f"{LIES} {hidden} {card}", "reply_to": "a@elsewhere.example"}
    message = make(connection, "plum", sandbox=True, **risky)
    Message.objects.update(expires_at=Now() + timedelta(days=9, minutes=1), held_at=Now() - timedelta(hours=3))
    make(connection, "kiwi")
    first, second = (words_of(one) for one in re.findall(r"<li id.*?</li>", body_of(desk, "#rows"), re.DOTALL))
    # The word of what is held stands there for other states, and is not shown.
    assert first == (
        "dana@northwind.example 3 h Subject plum Held High: link lies, hidden text, reply elsewhere support Test "
        "ana#1 in #outreach 9 d left"
    )
    assert second == "dana@northwind.example just now Subject kiwi Held support ana#1 in #outreach"
    assert f'value="{message.public_id}" aria-label="Select: Subject plum"' in body_of(desk, "#rows")


def test_row_past_the_desk_says_by_whom_and_when(desk, reviewer, connection):
    decide(make(connection, "plum"), reviewer, "reject", "No")
    Decision.objects.update(state="applied", recorded_at=Now() - timedelta(minutes=20))
    Message.objects.update(state="rejected")
    assert "Rejected Rejected by Ana Ferreira 20 min ago" in words_of(body_of(desk, "#rows", "?tab=done"))
    assert "The last one was rejected 20 min ago by Ana Ferreira: Subject plum" in words_of(body_of(desk, "#rows"))


def test_what_waits_is_counted_to_the_end_a_moment_later(desk, reviewer, connection, monkeypatch):
    for module in ("querysets.queue", "views.listing", "views.pulse"):
        monkeypatch.setattr(f"approvals.{module}.COUNTED", 1)
    made = {name: make(connection, name) for name in ("plum", "kiwi", "fig", "date", "pear", "lime")}
    Snooze.objects.create(message=made["pear"], person=reviewer, until=NOW + timedelta(days=9999))
    for name, state in (("plum", "recorded"), ("lime", "applied")):
        decide(made[name], reviewer)
        Decision.objects.filter(message=made[name]).update(state=state)
    told = desk.get("/queue/pulse/").json()
    assert (told["waiting"], told["tabs"]["waiting"]) == (3, "1+")


@pytest.mark.parametrize(
    ("read", "listed"),
    [(None, True), (timedelta(hours=4), True), (timedelta(hours=2), True), (timedelta(0), False)],
    ids=["never", "before", "just after", "long after"],
)
def test_what_multimail_took_is_leaving_until_a_whole_read_must_have_told_of_it(
    desk, reviewer, connection, read, listed
):
    decide(make(connection, "plum"), reviewer)
    Decision.objects.update(state="applied", changed_at=Now() - timedelta(hours=2, minutes=30))
    Message.objects.update(changed_at=Now() - timedelta(hours=3))
    Connection.objects.update(complete_as_of=None if read is None else Now() - read)
    assert names(desk, "tab=leaving") == (["plum"] if listed else [])
    assert names(desk) == []


def test_address_of_a_row_keeps_the_list_and_its_next_one(desk, connection):
    for name in ("plum", "kiwi", "fig"):
        make(connection, name, markdown=f"{LIES if name != 'kiwi' else ''} {name}")
    page = desk.get("/queue/?risk=high").content.decode()
    address = re.search(r'class="item" href="([^"]+)"', page)[1]
    assert address.endswith("/?risk=high")
    opened = desk.get(address, headers=HTMX)
    assert opened.context["place"] == ("1", "2")
    assert opened.context["next_waiting"].subject == "Subject fig"
    assert names(desk, "risk=high") == ["plum", "fig"]
    whole = desk.get(address).content.decode()
    assert "kiwi" not in whole


def test_place_stops_counting_where_counts_do(desk, connection, monkeypatch):
    monkeypatch.setattr("approvals.querysets.queue.COUNTED", 2)
    monkeypatch.setattr("approvals.views.listing.COUNTED", 2)
    for name in ("plum", "kiwi", "fig", "pear"):
        last = make(connection, name)
    assert desk.get(f"/queue/{last.public_id}/", headers=HTMX).context["place"] == ("2+", "2+")
    assert re.search(r"data-waiting>2\+<", desk.get("/queue/").content.decode())


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("q=zebra", "1 message waits that your filters leave out"),
        ("q=zebra", "Look in Done"),
        ("tab=mine", "Nothing is yours"),
        ("tab=leaving", "Nothing is leaving"),
        ("q=colour:red", "is not a filter"),
        ("q=zebra&tab=done", "Look in Waiting"),
    ],
)
def test_empty_list_says_what_to_do_next(desk, connection, query, words):
    make(connection, "plum")
    assert words in desk.get(f"/queue/?{query}").content.decode()


def test_message_whose_content_is_not_here_is_not_searched_and_that_is_told(desk, connection):
    make_message(connection, hydrated=False)
    assert "1 message could not be searched" in desk.get("/queue/?q=refund").content.decode()


def test_what_nobody_has_read_is_not_said_to_have_nothing_in_it(desk, connection):
    make(connection, "plum")
    make_message(connection, hydrated=False)
    assert desk.get("/queue/?risk=none").content.decode().count('class="item') == 1


def test_filters_that_are_on_are_chips_and_each_can_be_taken_off(desk, connection):
    make(connection, "plum", markdown=LIES)
    page = desk.get("/queue/?q=subject risk:high to:dana").content.decode()
    assert 'href="/queue/?q=subject&amp;to=dana" aria-label="Remove the filter Risk High"' in page
    assert 'href="/queue/?q=subject&amp;risk=high" aria-label="Remove the filter To dana"' in page
    assert 'name="q" type="search" value="subject"' in page
    assert "1 match" in page


def test_facets_follow_the_version_that_is_shown(desk, connection):
    message = make(connection, "plum", markdown=LIES)
    assert names(desk, "risk=high") == ["plum"]
    show_row(message, subject="Subject plum", markdown="About pears now")
    assert names(desk, "risk=high") == []
    assert names(desk, "q=pears") == ["plum"]


def test_pulse_tells_every_tab(desk, reviewer, connection):
    Claim.objects.create(message=make(connection, "plum"), person=reviewer)
    told = desk.get("/queue/pulse/").json()
    assert told["tabs"] == {"waiting": "1", "mine": "1", "leaving": "0", "unknown": "0", "failed": "0"}


@pytest.mark.parametrize("person", ["reviewer", "admin", "auditor"])
@pytest.mark.parametrize("query", ["", "order=riskiest&q=subject&group=thread&risk=high"], ids=["plain", "asked"])
def test_queue_asks_the_database_twelve_times_at_most(
    request, signed_in, connection, person, query, django_assert_max_num_queries
):
    for name in ("plum", "kiwi"):
        make(connection, name, markdown=f"{LIES} {name}")
    flood(connection)
    client = signed_in(request.getfixturevalue(person))
    with django_assert_max_num_queries(12):
        assert client.get(f"/queue/?{query}").status_code == 200


def test_what_is_out_of_sight_is_in_no_number(signed_in, connection):
    make(connection, "plum", markdown=LIES)
    stranger = make_person("x@yourteam.example", "X", "reviewer", connection=make_connection("other"))
    page = signed_in(stranger).get("/queue/?q=plum").content.decode()
    assert re.search(r"data-waiting>0<", page)
    assert "0 matches" in page
