"""What a person wrote at the desk counts as theirs for 30 days, whoever sends it: they
do not approve it where editors do not.
"""

import re
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from alerts.channels.discord.commands import Command, _send_message
from approvals.authorship import added_links, note_words
from approvals.collaboration import add_comment
from approvals.decisions.ruling import rulings
from approvals.editing.commands import replace_message, suggest_changes
from approvals.models import Passage
from mirror import store
from mirror.store import stored_content
from tests.factories import actor_of, make_connection, make_message, show_row
from tests.integration.deciding import decide

WORDS = "Please send the whole refund of 900 EUR to the new account today."


@pytest.fixture
def connection(db, upstream):
    return make_connection(api_url=upstream.url, agent_key="mm_live_agent")


@pytest.fixture
def message(connection):
    return make_message(connection)


def edited(message, **fields):
    """What the form for editing sends, with these fields changed."""
    first = stored_content(message.revision)
    kept = {"to": list(first.to), "cc": [], "bcc": [], "subject": first.subject}
    return {**kept, "markdown": first.markdown, **fields}


def given(message, person, fields):
    """What both commands for edits get."""
    first = stored_content(message.revision)
    content = edited(message, **fields or {"markdown": WORDS})
    return {
        "message": message.public_id,
        "actor": actor_of(person),
        "fingerprint": message.fingerprint,
        "content": content,
        "links": added_links(message.public_id, first, content["markdown"]),
    }


def suggest(message, person, **fields):
    first = stored_content(message.revision)
    suggest_changes(**given(message, person, fields), first=first, note="Write this.")


def edit(message, person, **fields):
    asked = given(message, person, fields)
    return replace_message(**asked, reference="0123456789", note="")


def comment(message, person):
    add_comment(message=message.public_id, actor=actor_of(person), text=WORDS)


def reason(outcome):
    return lambda message, person: decide(message, person, outcome, WORDS)


def why_not(message, person):
    """Return the word for why this person may not approve a message; empty if they
    may.
    """
    ruling = rulings([message], actor_of(person))[message.pk]
    return "" if ruling.may_approve else ruling.rule


def resent(message, markdown=WORDS, **fields):
    """The message that the agent sends next."""
    return make_message(message.connection, markdown=markdown, **fields)


@pytest.mark.parametrize(
    "write", [suggest, edit, comment, reason("send_back"), reason("reject")]
)
def test_whoever_wrote_the_words_does_not_approve_them_when_the_agent_sends_them(
    message, reviewer, second_reviewer, write
):
    write(message, reviewer)
    new = resent(message)
    assert why_not(new, reviewer) == "editor"
    assert why_not(new, second_reviewer) == ""
    # Also in the middle of others, wrapped, set in bold, and in HTML.
    markup = WORDS.replace("refund of", "<b>refund</b>\n of").lower()
    for fields in (
        {"markdown": f"Dear Dana,\n\n> {WORDS[:44]}\n> {WORDS[44:]}\n\nBye"},
        {"markdown": WORDS.replace("900 EUR", "*900 EUR*").upper()},
        {"markdown": WORDS.replace("e", "\u0435").replace("the", "th\u200be")},
        {"markdown": re.sub(r"(\w)(\w)", r"\1\\-\2", WORDS)},
        {"markdown": None, "html_body": f"<p>Hello</p><p>{markup}</p>"},
        {"markdown": "Hello", "subject": WORDS},
    ):
        assert why_not(resent(message, **fields), reviewer) == "editor", fields
    elsewhere = make_message(make_connection("other"), markdown=WORDS)
    assert why_not(elsewhere, reviewer) == "editor"
    # Others' words, and what the message said before, are not theirs.
    before = stored_content(message.revision).markdown
    for text in ("Please send it today.", before):
        assert why_not(resent(message, text), reviewer) == ""


def test_words_of_a_command_count_too(message, reviewer, connection):
    class Interaction:
        discord_id = "77"

    command = Command(Interaction(), reviewer, actor_of(reviewer), {"body": WORDS})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Command, "trigger", {})
        _send_message(
            command,
            message.mailbox,
            lambda **_: {"id": "01COMMANDED"},
            "Your message",
        )
    assert why_not(resent(message), reviewer) == "editor"


@pytest.mark.parametrize("write", [suggest, edit])
@pytest.mark.parametrize(
    "fields",
    [{"to": ["eve@elsewhere.example"]}, {"markdown": "Pay Eve."}, {"subject": "Pay"}],
)
def test_changed_recipients_and_short_texts_are_told_by_the_whole(
    message, reviewer, write, fields
):
    write(message, reviewer, **fields)
    said = edited(message, **fields)
    names = {"to_addresses": said["to"], "subject": said["subject"]}
    assert why_not(resent(message, said["markdown"], **names), reviewer) == "editor"
    names = {"to_addresses": ["bo@northwind.example"]}
    assert why_not(resent(message, said["markdown"], **names), reviewer) == ""


def test_a_held_message_that_gets_the_words_later_counts_too(message, reviewer):
    other = make_message(message.connection, subject="Another")
    suggest(message, reviewer)
    assert why_not(other, reviewer) == ""
    show_row(other, markdown=WORDS)
    other.refresh_from_db()
    assert why_not(other, reviewer) == "editor"


def test_words_count_for_30_days(message, reviewer):
    suggest(message, reviewer)
    new = resent(message)
    assert why_not(new, reviewer) == "editor"
    Passage.objects.update(written_at=Now() - timedelta(days=30, seconds=1))
    assert why_not(resent(message), reviewer) == ""
    comment(new, reviewer)
    assert not Passage.objects.filter(
        written_at__lt=Now() - timedelta(days=30)
    ).exists()


def test_html_that_was_not_read_may_be_anybodys(message, reviewer, monkeypatch):
    note_words(actor_of(reviewer), WORDS)
    monkeypatch.setattr(store, "examine_content", store.unexamined)
    assert why_not(resent(message, "Hello"), reviewer) == ""
    assert why_not(resent(message, html_body="<p>x</p>"), reviewer) == "editor"


@pytest.mark.parametrize(
    "words",
    [
        "&#80;lease &#115;end",
        "**P**lease s**en**d",
        "P[lease](https://x.example/) send",
    ],
)
def test_markup_within_words_hides_nobodys_words(message, reviewer, words):
    note_words(actor_of(reviewer), WORDS)
    text = WORDS.replace("Please send", words)
    text = text.replace("refund of 900 EUR to", "ref**u**nd of 900 EUR t&#111;")
    assert why_not(resent(message, text), reviewer) == "editor"
