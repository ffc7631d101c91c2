"""Comments: what colleagues write about a message, whom they ask, and that it stays on
the desk.
"""

import json
import re
from html import unescape

import pytest

from approvals.collaboration import add_comment
from approvals.models import Claim, Comment, Question, Snooze
from approvals.tasks import sweep
from audit.models import Entry
from mirror.models import Mailbox
from tests.factories import (
    actor_of,
    change_row,
    make_connection,
    make_message,
    make_person,
)
from tests.integration.deciding import decide
from tests.markup import HTMX


def comment(client, message, text, headers=None):
    return client.post(
        f"/queue/{message.public_id}/comments/", {"text": text}, headers=headers or {}
    )


def say(message, person, text):
    return add_comment(message=message.public_id, actor=actor_of(person), text=text)


def names(client, message, typed=""):
    """The names that are offered after @."""
    page = client.get(
        f"/queue/{message.public_id}/people/", {"q": typed}, headers=HTMX
    ).text
    return [unescape(name) for name in re.findall(r'data-name="([^"]*)"', page)]


def asked():
    return [one.person for one in Question.objects.order_by("pk")]


def mine(client):
    return [
        row["id"]
        for row in client.get("/queue/?format=json&tab=mine").json()["messages"]
    ]


def page(client, message):
    return client.get(f"/queue/{message.public_id}/").text


def test_comment_is_shown_with_invisible_characters_named_and_is_in_the_ledger(
    signed_in, reviewer, auditor, message
):
    answer = comment(
        signed_in(reviewer), message, "Right-to-left: \u202e here\r\nand <b>this</b>"
    )
    assert answer["Location"] == f"/queue/{message.public_id}/#comments"
    # An auditor can read it but not comment.
    seen = page(signed_in(auditor), message)
    assert (
        '<span class="ghost">RIGHT-TO-LEFT OVERRIDE</span> here\nand &lt;b&gt;this&lt;/b&gt;'
        in seen
    )
    assert "comment-text" not in seen
    assert "claim-button" not in seen
    # Its text is stored only where it can be erased.
    entry = Entry.objects.of_action("comment.added").get()
    assert entry.detail.fields["comment"] == Comment.objects.get().text
    columns = {
        field.name: getattr(entry, field.name) for field in Entry._meta.concrete_fields
    }
    assert "Right-to-left" not in json.dumps(columns, default=str)


def test_invalid_comment_shows_an_error_and_preserves_the_text(
    signed_in, reviewer, message
):
    client = signed_in(reviewer)
    for text, words in (
        ("", "Write something first."),
        ("x" * 2001, "Keep a comment under 2,000 characters."),
    ):
        answer = comment(client, message, text, headers=HTMX)
        shown = answer.text
        assert answer.status_code == 422, words
        assert words in shown, words
        assert f">{text}</textarea>" in shown
    assert Comment.objects.count() == 0
    # Exactly two thousand characters with line ends are accepted.
    assert comment(client, message, "x\r\n" * 999 + "yz").status_code == 302
    assert len(Comment.objects.get().text) == 2000


def test_mention_is_listed_under_mine_and_counted_in_tab_and_rail(
    signed_in, reviewer, second_reviewer, message
):
    client = signed_in(reviewer)
    shown = comment(client, message, "@Ben Okafor Is it?", headers=HTMX).text
    assert "Ben Okafor will see it under Mine." in shown
    client = signed_in(second_reviewer)
    assert mine(client) == [str(message.public_id)]
    listed = client.get("/queue/?tab=mine").text
    assert "Question from Ana Ferreira" in listed
    assert re.search(r'data-tab-of="mine".*?data-count>1<', listed, re.DOTALL)
    assert "data-asked-count>1<" in listed
    assert client.get("/queue/pulse/").json()["asked"] == 1


def test_people_are_asked_by_name_or_address_until_they_comment_or_decide(
    reviewer, second_reviewer, admin, message
):
    for text in ("@Ben Okafor, is it?", "ask @ben@yourteam.example", "@ben"):
        say(message, reviewer, text)
        assert asked() == [second_reviewer], text
        Question.objects.all().delete()
    say(message, reviewer, "@Ana Ferreira: remember")
    assert asked() == [], "nobody asks themselves"
    say(message, reviewer, "@Ben Okafor @Ida Lindqvist")
    say(message, admin, "It is.")
    assert asked() == [second_reviewer]
    decide(message, second_reviewer)
    assert asked() == []


@pytest.mark.slow
def test_question_is_hidden_while_another_decision_is_sending_and_ends_with_it(
    signed_in, reviewer, second_reviewer, message
):
    say(message, reviewer, "@Ben Okafor")
    decide(message, reviewer)
    assert mine(signed_in(second_reviewer)) == []
    assert asked() == [second_reviewer]
    type(message).objects.update(state="sent")
    sweep()
    assert asked() == []


def test_whoever_may_not_see_the_message_is_neither_offered_nor_asked(
    signed_in, reviewer, connection, message
):
    other = make_connection("other")
    box = Mailbox.objects.create(
        connection=connection, upstream_id="M2", address="b@yourteam.example"
    )
    make_person("zoe@yourteam.example", "Zoe", "reviewer", connection=other)
    make_person(
        "yan@yourteam.example", "Yan", "reviewer", connection=connection, mailbox=box
    )
    make_person("una@yourteam.example", "Una")
    left = make_person("lee@yourteam.example", "Lee", "reviewer")
    change_row(left, is_active=False)
    here = make_person(
        "ivo@yourteam.example", "Ivo", "auditor", mailbox=message.mailbox
    )
    client = signed_in(reviewer)
    assert names(client, message) == ["Ivo"]
    answer = comment(client, message, "@Zoe @Yan @Una @Lee @Ivo", headers=HTMX).text
    assert asked() == [here]
    assert answer.count("names nobody who sees this message") == 4


def test_names_are_completed_from_the_words_of_a_name_or_its_address_and_what_is_offered_asks_that_person(
    signed_in, reviewer, second_reviewer, auditor, stranger, message
):
    make_person("ana.b@yourteam.example", "Ana Be<rg>", "reviewer")
    twins = [
        make_person(f"{name}@yourteam.example", "Kim Roe", "reviewer")
        for name in ("kim", "roe")
    ]
    client = signed_in(reviewer)
    wanted = {
        "be": ["Ana Be<rg>", "Ben Okafor"],
        "BEN O": ["Ben Okafor"],
        "okaf": ["Ben Okafor"],
        "ana.": ["Ana Be<rg>"],
        # Two have this name.
        "kim": [one.email for one in twins],
        # Oneself, and what was finished already.
        "Ana F": [],
        "Ben Okafor ": [],
    }
    for typed, expected in wanted.items():
        assert names(client, message, typed) == expected, typed
        for name in expected:
            say(message, reviewer, f"@{name} Look.")
            assert [name in (one.name, one.email) for one in asked()] == [True], name
            Question.objects.all().delete()
    assert (
        "<rg>"
        not in client.get(f"/queue/{message.public_id}/people/", headers=HTMX).text
    )
    # Only who may comment here is told who sees it.
    path = f"/queue/{message.public_id}/people/"
    statuses = [
        signed_in(one).get(path, headers=HTMX).status_code
        for one in (auditor, stranger)
    ]
    assert statuses == [403, 404]


@pytest.mark.slow
def test_mine_and_the_message_cost_the_same_queries_however_much_is_in_them(
    signed_in, reviewer, second_reviewer, message, django_assert_max_num_queries
):
    client = signed_in(reviewer)

    def fill(number):
        for _ in range(number):
            one = make_message(message.connection)
            say(one, second_reviewer, "@Ana Ferreira?")
            say(message, second_reviewer, "@ana look")
            Claim.objects.create(message=one, person=reviewer)
            Snooze.objects.create(
                message=one, person=reviewer, until="2999-01-01T00:00Z"
            )

    def cost(path, most):
        with django_assert_max_num_queries(most) as queries:
            client.get(path, headers=HTMX)
        return len(queries)

    paths = (("/queue/?tab=mine", 34), (f"/queue/{message.public_id}/", 60))
    fill(1)
    few = [cost(*path) for path in paths]
    fill(5)
    # The first request of a process may fill caches.
    assert [
        more <= less
        for more, less in zip([cost(*path) for path in paths], few, strict=True)
    ] == [True, True]
