"""The message page on changes, doubt and second tries, and the actions it offers."""

import re
from datetime import timedelta

import pytest
from django.template.loader import render_to_string

from approvals.desk_messages import shown_message
from approvals.held_rows import mirror_row
from approvals.message_page.sheet import Way
from approvals.message_page.side_panel import actions_on
from approvals.message_page.views import message_context
from approvals.models import Decision, Verdict
from approvals.queue.filters import Filters
from audit.models import Entry
from tests.factories import (
    MAILBOX,
    NOW,
    actor_of,
    change_row,
    make_message,
    rolled_back,
    show_row,
)
from tests.integration.deciding import decided, post_verdict
from tests.markup import HTMX


@pytest.fixture
def message(connection):
    return make_message(connection, markdown="Please pay EUR 12,400 by Friday.")


def read(client, message, query=""):
    return plain(client.get(f"/queue/{message.public_id}/{query}", headers=HTMX).text)


def plain(page):
    return re.sub(r"\s+", " ", re.sub(r"</?(?:bdi|time|span)\b[^>]*>", "", page))


def pane(message, person):
    """The bars and notes of the page: the decision, and the actions it offers."""
    actor = actor_of(person)
    found = shown_message(actor, message.public_id)
    context = message_context(
        found, actor, filters=Filters(), happened=actions_on(found), way=Way("rendered")
    )
    parts = ("message_bar", "message_notes", "decide")
    return plain(
        "".join(
            render_to_string(f"approvals/message_page/_{name}.html", context)
            for name in parts
        )
    )


def buttons(page):
    bar = page.partition('id="decide"')[2].partition('id="beside-acts"')[0]
    return [
        re.sub(r"<[^>]+>", "", one).strip()
        for one in re.findall(r"<button[^>]*>(.*?)</button>", bar)
    ]


# what changed after it was opened


def test_verdict_on_changed_mail_is_refused_and_shows_the_words_that_changed(
    desk, message
):
    changed = show_row(
        message, markdown="Please pay EUR 21,400 by Friday.", bcc=["eve@evil.example"]
    )
    answer = post_verdict(
        desk, message, outcome="reject", reason="A long and careful reason"
    )
    page = plain(answer.text)
    assert answer.status_code == 409
    assert "removed: 12,400 </del>" in page
    assert "added: 21,400 </ins>" in page
    assert "added: eve@evil.example</ins>" in page
    assert "A long and careful reason</textarea>" in page
    # Not opened over content that must be read first.
    assert re.search(
        r'<details class="why" id="reject" name="why"(?! open)[^>]*>', page
    )
    new = changed.revision.fingerprint
    assert page.count(f'name="fingerprint" value="{new}"') == 4
    page = post_verdict(desk, message, headers=HTMX).text
    assert "<html" not in page
    assert 'id="read-again" required' in page
    assert "Nothing was recorded" in page
    assert Decision.objects.count() == 0


# nothing is decided by looking; one decision


def test_looking_decides_nothing(desk, message):
    query = (
        f"?outcome=approve&fingerprint={message.revision.fingerprint}&took_effect=yes"
    )
    path = f"/queue/{message.public_id}/"
    for act in "verdict undo withdraw send-again settle look opened".split():
        for look in (desk.get, desk.head):
            assert look(f"{path}{act}/{query}").status_code == 405, act
    desk.head(path, headers=HTMX)
    for name, value in (
        ("Sec-Purpose", "prefetch;prerender"),
        ("Purpose", "prefetch"),
        ("X-Moz", "Prefetch"),
    ):
        desk.get(path, headers={name: value})
    assert desk.get(f"/approvals/{message.upstream_id}/")["Location"] == path
    about = Entry.objects.of_message(message.public_id)
    assert not about.filter(action="message.opened").exists()
    desk.get(path)
    assert Decision.objects.count() == 0
    assert set(about.values_list("action", flat=True)) == {
        "message.held",
        "message.fetched",
        "message.served",
        "message.opened",
    }


# requested changes


def send_back(message, person):
    decided(
        message,
        person,
        "send_back",
        "Please name the order, and say 14 days.",
        state="applied",
        recorded_at=NOW + timedelta(minutes=1),
    )
    change_row(message, state="rejected")


# each state of doubt


STATES = {
    "unknown": (
        {"state": "unknown", "may_have_left": True},
        ["The outcome is not known yet.", "MultiMail may have received it"],
        ["Withdraw", "Check again"],
    ),
    "confirm": (
        {"state": "unknown", "may_have_left": True, "seen_held": 2},
        ["Still held after two checks: send it again?"],
        ["Send again", "Withdraw", "Check again"],
    ),
    "unattributed": (
        {"state": "unattributed", "may_have_left": True},
        ["It was decided, but how is not known."],
        ["It was carried out", "It was not", "Check again"],
    ),
    "withdrawn": (
        {"state": "withdrawn", "may_have_left": True},
        ["This message may still be sent."],
        ["Reject with this reason", "Request changes with this note", "Check again"],
    ),
    "refused": (
        {"state": "refused", "explanation": "The content changed."},
        ["Held again.", "The content changed."],
        [
            "Approve and send to 1 person outside A",
            "Approve for later",
            "Reject with this reason",
            "Request changes with this note",
        ],
    ),
}


@pytest.mark.slow
def test_each_state_says_what_is_true_and_offers_what_is_safe(
    message, reviewer, auditor
):
    decided(message, reviewer)
    for name, (fields, words, wanted) in STATES.items():
        with rolled_back():
            Decision.objects.update(**fields)
            Verdict.objects.update(
                live=fields.get("state") not in ("withdrawn", "refused")
            )
            page = pane(message, reviewer)
            assert [one for one in words if one not in page] == [], name
            assert buttons(page) == wanted, name
            if name in ("confirm", "unattributed"):
                assert buttons(pane(message, auditor)) == [], name


# what the key does not show


@pytest.mark.slow
def test_field_that_the_key_does_not_show_is_never_shown_as_empty(desk, connection):
    message = make_message(connection, hydrated=False)
    row = {
        "id": message.upstream_id,
        "status": "pending_send_approval",
        "mailbox_id": MAILBOX["upstream_id"],
        "to": ["dana@northwind.example"],
    }
    assert mirror_row(connection, row, NOW)
    shown = read(desk, message)
    for label in ("From", "Reply-To", "Cc", "Bcc", "Send at", "In reply to"):
        assert re.search(
            rf"<dt>{label}</dt><dd>[^/]*Not visible with this key", shown
        ), label
    assert "(no subject)" not in shown
    assert "<iframe" not in shown
    assert re.search(
        r"<h2[^>]*>Attachments</h2>.{0,250}Not visible with this key", shown
    )
