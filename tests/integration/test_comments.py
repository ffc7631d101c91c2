"""Comments: what colleagues say at a message, whom it asks, and that it stays on the desk."""

import json
import re

import pytest

from approvals.desk.comments import add_comment
from approvals.models import Claim, Comment, Mailbox, Question, Snooze
from approvals.tasks import sweep
from audit.models import Entry
from tests.factories import NOW, make_connection, make_message, make_person
from tests.integration.deciding import decide

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}


@pytest.fixture
def message(connection):
    return make_message(connection)


def comment(client, message, text, headers=None, **fields):
    return client.post(f"/queue/{message.public_id}/comments/", {"text": text, **fields}, headers=headers or {})


def say(message, person, text):
    return add_comment(message=message.public_id, actor=person.actor(surface="web"), text=text, now=NOW)


def mine(client):
    return [row["id"] for row in client.get("/queue/?format=json&tab=mine").json()["messages"]]


def page(client, message):
    return client.get(f"/queue/{message.public_id}/").content.decode()


def test_comment_stands_in_the_history_of_the_message_with_its_invisible_characters_named(
    signed_in, reviewer, second_reviewer, message
):
    answer = comment(signed_in(reviewer), message, "Right-to-left: \u202e here\r\nand <b>this</b>")
    assert answer["Location"] == f"/queue/{message.public_id}/#comments"
    seen = page(signed_in(second_reviewer), message)
    assert '<span class="ghost">RIGHT-TO-LEFT OVERRIDE</span> here\nand &lt;b&gt;this&lt;/b&gt;' in seen
    assert "never leave this desk" in seen


def test_comment_is_in_the_ledger_and_its_text_only_where_it_can_be_removed(signed_in, reviewer, message):
    comment(signed_in(reviewer), message, "Between us")
    entry = Entry.objects.of_action("comment.added").get()
    assert entry.detail.fields["comment"] == "Between us"
    columns = {field.name: getattr(entry, field.name) for field in Entry._meta.concrete_fields}
    assert "Between us" not in json.dumps(columns, default=str)


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "fragment"])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Write something first."),
        ("x" * 2001, "Keep a comment under 2,000 characters."),
        ("a\0b", "Null characters"),
    ],
    ids=["empty", "long", "nul"],
)
def test_comment_that_cannot_be_kept_is_said_with_what_was_typed(signed_in, reviewer, message, text, words, headers):
    answer = comment(signed_in(reviewer), message, text, headers=headers, tell="Ben")
    shown = answer.content.decode()
    assert answer.status_code == 422
    assert words in shown
    assert f">{text}</textarea>" in shown
    assert 'value="Ben"' in shown
    assert Comment.objects.count() == 0


def test_comment_of_exactly_two_thousand_characters_with_line_ends_is_kept(signed_in, reviewer, message):
    assert comment(signed_in(reviewer), message, "x\r\n" * 999 + "yz").status_code == 302
    assert len(Comment.objects.get().text) == 2000


@pytest.mark.parametrize("text", ["@Ben Okafor, is it?", "ask @ben@yourteam.example", "@ben"])
def test_mention_stands_in_mine_and_counts_in_tab_and_rail(signed_in, reviewer, second_reviewer, message, text):
    comment(signed_in(reviewer), message, text)
    client = signed_in(second_reviewer)
    assert mine(client) == [str(message.public_id)]
    listed = client.get("/queue/?tab=mine").content.decode()
    assert "Ana Ferreira asks you" in listed
    assert re.search(r'data-tab-of="mine".*?data-count>1<', listed, re.DOTALL)
    assert "data-asked-count>1<" in listed
    assert "Ana Ferreira asks you." in page(client, message)
    assert client.get("/queue/pulse/").json()["asked"] == 1
    assert mine(signed_in(reviewer)) == []


def test_field_beside_the_text_asks_somebody_without_scripts(signed_in, reviewer, second_reviewer, message):
    client = signed_in(reviewer)
    assert '<option value="Ben Okafor">ben@yourteam.example</option>' in page(client, message)
    comment(client, message, "Is it?", tell="Ben Okafor")
    assert Comment.objects.get().text == "@Ben Okafor Is it?"
    assert mine(signed_in(second_reviewer)) == [str(message.public_id)]


def test_answer_by_comment_or_by_verdict_ends_the_question_for_that_person_alone(
    signed_in, reviewer, second_reviewer, admin, message
):
    say(message, reviewer, "@Ben Okafor @Ida Lindqvist")
    say(message, admin, "It is.")
    assert [one.person for one in Question.objects.all()] == [second_reviewer]
    decide(message, second_reviewer)
    assert Question.objects.count() == 0


def test_question_hides_while_somebody_elses_decision_leaves_and_ends_with_it(
    signed_in, reviewer, second_reviewer, message, client, connection
):
    say(message, reviewer, "@Ben Okafor")
    given = decide(message, reviewer)
    assert mine(signed_in(second_reviewer)) == []
    assert given.decision.state == "recorded"
    type(message).objects.update(state="sent")
    sweep()
    assert Question.objects.count() == 0


def test_mention_of_oneself_asks_nobody(reviewer, message):
    say(message, reviewer, "@Ana Ferreira: remember")
    assert Question.objects.count() == 0


def test_whoever_may_not_see_the_message_is_neither_offered_nor_asked(signed_in, reviewer, connection, message):
    other = make_connection("other")
    box = Mailbox.objects.create(connection=connection, upstream_id="M2", address="b@yourteam.example")
    make_person("zoe@yourteam.example", "Zoe", "reviewer", connection=other)
    make_person("yan@yourteam.example", "Yan", "reviewer", connection=connection, mailbox=box)
    make_person("una@yourteam.example", "Una")
    left = make_person("lee@yourteam.example", "Lee", "reviewer")
    type(left).objects.filter(pk=left.pk).update(is_active=False)
    here = make_person("ivo@yourteam.example", "Ivo", "auditor", mailbox=message.mailbox)
    client = signed_in(reviewer)
    shown = page(client, message)
    assert re.findall(r'<option value="([A-Z]\w+)">\w+@yourteam', shown) == ["Ivo"]
    answer = comment(client, message, "@Zoe @Yan @Una @Lee @Ivo", headers=HTMX).content.decode()
    assert [one.person for one in Question.objects.all()] == [here]
    assert answer.count("names nobody who sees this message") == 4


@pytest.mark.parametrize("role", ["auditor"])
def test_who_only_looks_things_up_says_nothing(signed_in, reviewer, message, role):
    say(message, reviewer, "Just so you know")
    client = signed_in(make_person("x@yourteam.example", "X", role))
    seen = page(client, message)
    assert "Just so you know" in seen
    assert "comment-text" not in seen
    assert comment(client, message, "Me too").status_code == 403
    assert Comment.objects.count() == 1


def test_comment_can_be_made_after_the_decision(signed_in, reviewer, message):
    decide(message, reviewer)
    client = signed_in(reviewer)
    assert "comment-text" in page(client, message)
    assert comment(client, message, "For the record").status_code == 302


def test_mine_costs_the_same_queries_however_much_is_in_it(
    signed_in, reviewer, second_reviewer, connection, django_assert_num_queries, django_assert_max_num_queries
):
    client = signed_in(reviewer)

    def fill(number):
        for _ in range(number):
            message = make_message(connection)
            say(message, second_reviewer, "@Ana Ferreira?")
            Claim.objects.create(message=message, person=reviewer)
            Snooze.objects.create(message=message, person=reviewer, until="2999-01-01T00:00Z")

    fill(1)
    client.get("/queue/?tab=mine")
    with django_assert_max_num_queries(14) as few:
        client.get("/queue/?tab=mine")
    fill(6)
    with django_assert_num_queries(len(few)):
        client.get("/queue/?tab=mine")


def test_message_page_costs_the_same_queries_however_much_was_said(
    signed_in, reviewer, second_reviewer, message, django_assert_num_queries, django_assert_max_num_queries
):
    client = signed_in(reviewer)
    say(message, second_reviewer, "One")
    client.get(f"/queue/{message.public_id}/", headers=HTMX)
    with django_assert_max_num_queries(60) as few:
        client.get(f"/queue/{message.public_id}/", headers=HTMX)
    for number in range(60):
        say(message, second_reviewer, f"@ana {number}")
    with django_assert_num_queries(len(few)):
        shown = client.get(f"/queue/{message.public_id}/", headers=HTMX).content.decode()
    assert shown.count('class="comment-line"') == 50
