"""What a person wrote at the desk counts as theirs for 30 days, whoever sends it: they
do not approve it where editors do not.
"""

import re
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from approvals.authorship import added_links, note_words
from approvals.collaboration import add_comment
from approvals.editing.commands import replace_message, suggest_changes
from approvals.models import Passage
from mirror import store
from mirror.store import stored_content
from tests.factories import (
    actor_of,
    change_row,
    make_connection,
    make_message,
    show_row,
)
from tests.integration.deciding import decide, ruling_of
from tests.variants import variants

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
    ruling = ruling_of(message, person)
    return "" if ruling.may_approve else ruling.rule


def resent(message, markdown=WORDS, **fields):
    """The message that the agent sends next."""
    return make_message(message.connection, markdown=markdown, **fields)


BOLD = WORDS.replace("refund of", "<b>refund</b>\n of").lower()
HALF = WORDS.replace("refund of 900 EUR to", "ref**u**nd of 900 EUR t&#111;")
AGAIN = [
    {"markdown": f"Dear Dana,\n\n> {WORDS[:44]}\n> {WORDS[44:]}\n\nBye"},
    {"markdown": WORDS.replace("900 EUR", "*900 EUR*").upper()},
    {"markdown": WORDS.replace("e", "\u0435").replace("the", "th\u200be")},
    {"markdown": re.sub(r"(\w)(\w)", r"\1\\-\2", WORDS)},
    {"markdown": None, "html_body": f"<p>Hello</p><p>{BOLD}</p>"},
    {"markdown": "Hello", "html_body": f"<p>{BOLD}</p>"},
    {"markdown": "Hello", "subject": WORDS},
    {"markdown": HALF.replace("Please send", "&#80;lease &#115;end")},
    {"markdown": HALF.replace("Please send", "**P**lease s**en**d")},
    {"markdown": HALF.replace("Please", "P[lease](https://x.example/)")},
    # What is too long to be read whole may be anybody's.
    {"markdown": f"{'word ' * 41_000}{WORDS}"},
]


@pytest.mark.parametrize(
    "write",
    variants([edit, suggest, comment, reason("send_back"), reason("reject")], 1),
)
def test_whoever_wrote_the_words_does_not_approve_them_when_the_agent_sends_them(
    message, reviewer, second_reviewer, write
):
    write(message, reviewer)
    new = resent(message)
    assert why_not(new, reviewer) == "editor"
    assert why_not(new, second_reviewer) == ""
    elsewhere = make_message(make_connection("other"), markdown=WORDS)
    assert why_not(elsewhere, reviewer) == "editor"
    # Others' words, and what the message said before, are not theirs.
    before = stored_content(message.revision).markdown
    for text in ("Please send it today.", before):
        assert why_not(resent(message, text), reviewer) == ""


@pytest.mark.parametrize("fields", variants(AGAIN, 1))
def test_words_are_theirs_however_they_are_written_again(message, reviewer, fields):
    note_words(actor_of(reviewer), WORDS)
    assert why_not(resent(message, **fields), reviewer) == "editor"


@pytest.mark.parametrize(
    "fields",
    variants(
        [
            {"to": ["eve@elsewhere.example"]},
            {"markdown": "Pay Eve."},
            {"subject": "Pay"},
        ],
        1,
    ),
)
def test_changed_recipients_and_short_texts_are_told_by_the_whole(
    message, reviewer, fields
):
    suggest(message, reviewer, **fields)
    said = edited(message, **fields)
    same = {"markdown": said["markdown"], "subject": said["subject"]}
    for to, why in ((said["to"], "editor"), (["bo@northwind.example"], "")):
        assert why_not(resent(message, to_addresses=to, **same), reviewer) == why


def test_a_held_message_that_gets_the_words_later_counts_too(message, reviewer):
    other = make_message(message.connection, subject="Another")
    suggest(message, reviewer)
    assert why_not(other, reviewer) == ""
    show_row(other, markdown=WORDS)
    assert why_not(other, reviewer) == "editor"


def test_words_count_for_30_days(message, reviewer):
    suggest(message, reviewer)
    new = resent(message)
    ago = Now() - timedelta(days=30, seconds=1)
    Passage.objects.update(written_at=ago)
    assert why_not(resent(message), reviewer) == ""
    comment(new, reviewer)
    assert not Passage.objects.filter(written_at__lte=ago).exists()


def test_html_that_was_not_read_may_be_anybodys(message, reviewer, monkeypatch):
    note_words(actor_of(reviewer), WORDS)
    monkeypatch.setattr(store, "examine_content", store.unexamined)
    assert why_not(resent(message, "Hello"), reviewer) == ""
    assert why_not(resent(message, html_body="<p>x</p>"), reviewer) == "editor"


# --- recipients and links -------------------------------------------------------------

EVE = "eve@evil.example"


def suggest_eve(message, person):
    suggest(message, person, to=[EVE])


def ask_for(text):
    return lambda message, person: decide(message, person, "send_back", text)


@pytest.mark.parametrize(
    "write",
    variants(
        [
            suggest_eve,
            ask_for("[Write](mailto:?cc=eve%40evil.example) to her."),
            ask_for("Please write to <eve+2@evil.example>."),
        ],
        2,
    ),
)
def test_recipient_whom_somebody_suggested_is_theirs_whatever_else_changes(
    message, reviewer, write
):
    write(message, reviewer)
    for to, fields in (
        ("eve+1@evil.example", {}),
        ("EVE@evil.example", {}),
        (EVE, {"markdown": "Hello there."}),
        (EVE, {"cc": ["x@evil.example"]}),
    ):
        new = make_message(message.connection, to_addresses=[to], **fields)
        assert why_not(new, reviewer) == "editor", (to, fields)


@pytest.mark.slow
def test_recipient_whom_somebody_suggested_is_nobodys_once_they_were_written_to(
    connection, message, reviewer
):
    def sent_to(*people):
        text = "Hello there."
        return make_message(connection, to_addresses=list(people), markdown=text)

    dana, ben, eve = (f"{one}@customer.example" for one in ("dana", "ben", "eve"))
    change_row(sent_to(eve), state="delivered")
    suggest(message, reviewer, to=["dana@northwind.example", eve])
    assert why_not(sent_to(eve), reviewer) == ""
    # Whom the message went to before, and others who are new, are not theirs.
    suggest(sent_to(ben), reviewer, cc=["ida@other.example"])
    assert why_not(sent_to(dana, ben, "new@other.example", eve), reviewer) == ""
    assert why_not(sent_to(dana, ben, "ida@other.example"), reviewer) == "editor"


PORTAL = "Please open [our portal]({}) today, it is nice and easy to use."
PAGE = "<p>Welcome to <a href='{}'>our <b>Portal</b></a> of Acme.</p>"


@pytest.mark.parametrize("edits", variants([edit, suggest], 1))
def test_link_that_somebody_added_is_theirs_however_it_is_written(
    connection, reviewer, edits
):
    message = make_message(connection, markdown=PORTAL.format("https://x.example/"))
    kept = "And [our portal](https://x.example/)."
    text = f"{PORTAL.format('https://evil.example/a')} {kept}"
    edits(message, reviewer, markdown=text)
    for fields, why in (
        ({"markdown": None, "html_body": PAGE.format("https://evil.example/a")}, "editor"),
        ({"markdown": "[Our portal][1]\n\n[1]: http://EVIL.example/a/#top"}, "editor"),
        ({"markdown": "[our portal](https://evil.example/a)", "html_body": "<p>Hi</p>"}, "editor"),
        ({"markdown": "[our portal](https://evil%2eexample:443/%61)"}, "editor"),
        # What stood there before, other pages, and other words.
        ({"markdown": "[our portal](https://x.example/)"}, ""),
        ({"markdown": "[our portal](https://evil.example/b)"}, ""),
        ({"markdown": "[the bill](https://evil.example/a)"}, ""),
    ):  # fmt: skip
        assert why_not(make_message(connection, **fields), reviewer) == why, fields
