"""The message page on changes, doubt and second tries, and the actions it offers."""

import re
from datetime import timedelta

import pytest
from django.template.loader import render_to_string
from django.utils import timezone

from approvals import examination
from approvals.desk_messages import shown_message
from approvals.message_page.content.differences import changes_since
from approvals.message_page.sheet import Way
from approvals.message_page.side_panel import actions_on
from approvals.message_page.views import message_context
from approvals.models import Decision, Verdict
from approvals.queue.filters import Filters
from audit.models import Entry
from mirror.models import Message, Thread
from mirror.sync.rows import mirror_row
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


FULL = {
    # Each address is looked up, and all of them in one statement.
    "to_addresses": [f"person{number}@northwind.example" for number in range(20)],
    "thread_id": "01THREAD",
    "in_reply_to": "<1@northwind.example>",
    "html_body": '<p>See <a href="https://northwind.example/offer">the offer</a>.</p>',
    "attachments": [
        {"name": "offer.pdf", "content_type": "application/pdf", "size": 10}
    ],
    "metadata": {"discord_user": "ana#1", "discord_interaction_id": "99"},
}


@pytest.mark.slow
def test_page_of_a_message_takes_few_statements(
    desk, connection, django_assert_max_num_queries
):
    make_message(connection, **FULL)
    message = make_message(connection, **FULL)
    for thread in Thread.objects.all():
        thread.messages.create(
            upstream_id="01OLD", direction="inbound", text="An offer, please.", at=NOW
        )
    path = f"/queue/{message.public_id}/"
    # The first look is noted in the ledger.
    desk.get(path)
    for headers, most in (({}, 53), (HTMX, 30)):
        with django_assert_max_num_queries(most):
            assert desk.get(path, headers=headers).status_code == 200


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


@pytest.mark.slow
def test_change_since_the_version_that_was_opened_is_shown_and_a_hostile_one_is_text(
    desk, message, connection
):
    shown = message.revision.fingerprint
    show_row(
        message,
        subject="Your refund for order 4472",
        markdown="<script>alert(1)</script>\u202e",
    )
    page = read(desk, message, f"?since={shown}")
    assert "removed: 4471 </del>" in page
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;" in page
    assert "RIGHT-TO-LEFT OVERRIDE" in page
    # The version on screen is recorded as opened.
    for fingerprint in (shown, "0" * 64):
        desk.post(f"/queue/{message.public_id}/opened/", {"fingerprint": fingerprint})
    opened = Entry.objects.get(action="message.opened")
    assert opened.fingerprint == shown
    # A version of another message is never compared with.
    secret = make_message(connection, markdown="For the board only")
    message.refresh_from_db()
    found = changes_since(message, secret.revision.fingerprint)
    assert (found.before, found.changes) == (None, ())


@pytest.mark.slow
def test_page_without_a_stream_learns_of_the_change_from_the_pulse(
    signed_in, reviewer, stranger, message, monkeypatch
):
    # It is announced again twice a minute.
    now = timezone.now()
    monkeypatch.setattr("django.utils.timezone.now", lambda: now)
    desk = signed_in(reviewer)
    address = f"/queue/pulse/?open={message.public_id}"
    first = desk.get(address)
    known = {"If-None-Match": first["ETag"]}
    assert desk.get(address, headers=known).status_code == 304
    assert first.json()["open"]["fingerprint"] == message.revision.fingerprint
    changed = show_row(message, subject="Another subject")
    later = desk.get(address, headers=known).json()["open"]
    assert later["fingerprint"] == changed.revision.fingerprint
    assert signed_in(stranger).get(address).json()["open"] is None


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


def next_one(connection, minutes=5, **fields):
    """The next message, held some minutes later."""
    later = make_message(
        connection,
        hydrated=False,
        subject=fields.get("subject", "Your refund for order 4471"),
    )
    change_row(later, held_at=NOW + timedelta(minutes=minutes))
    return show_row(Message.objects.get(pk=later.pk), **fields)


THREAD = {"thread_id": "01THREAD", "metadata": {}}
RUN = {"metadata": {"run_id": "r1"}}
PERSON = {"metadata": {"discord_user_id": "7", "discord_channel": "outreach"}}
KEY = {"metadata": {}, "sent_by_key": "mm_live_abc"}
LEE = {"to_addresses": ["lee@fabrikam.example"]}
WEEK = 7 * 24 * 60
# By the origin of the first one: what becomes its next version, and what does not.
NEXT = {
    "thread": (
        THREAD,
        [{**THREAD, **LEE, "subject": "Other", "minutes": WEEK}],
        [
            {"thread_id": "02", "metadata": {}, **LEE},
            {**THREAD, "minutes": -1},
            {**THREAD, "minutes": WEEK + 2},
        ],
    ),
    "run": (
        RUN,
        [
            {"metadata": {"runId": "r1"}},
            {**RUN, **LEE, "subject": "Re: your refund for order 4471"},
        ],
        [
            {**RUN, **LEE, "subject": "Something else"},
            {"metadata": {"run_id": "r2"}, **LEE},
        ],
    ),
    "person": (
        PERSON,
        [
            PERSON,
            {**PERSON, "mailbox_id": "02", "mailbox": "sales@yourteam.example"},
        ],
        [
            {**PERSON, **LEE},
            {"metadata": {"discord_user_id": "7", "discord_channel": "sales"}, **LEE},
            {**PERSON, "direction": "inbound"},
        ],
    ),
    "key": (KEY, [KEY, {**KEY, "subject": "Your bill"}], [{**KEY, **LEE}]),
}


@pytest.mark.parametrize(
    "kind",
    [
        "thread",
        *(pytest.param(one, marks=pytest.mark.slow) for one in NEXT if one != "thread"),
    ],
)
def test_next_version_is_known_by_its_thread_or_its_trigger(connection, reviewer, kind):
    first, followers, others = NEXT[kind]
    send_back(show_row(make_message(connection, hydrated=False), **first), reviewer)
    for fields in (*followers, *others):
        with rolled_back():
            later = next_one(connection, **fields)
            expected = (True, 2) if fields in followers else (False, 1)
            assert (later.answers is not None, later.try_number) == expected, fields


# each state of doubt


STATES = {
    "leaving": ({}, ["Approved by Ana Ferreira"], ["Undo Z"]),
    "tried again": (
        {
            "attempt": 1,
            "may_have_left": True,
            "explanation": "MultiMail answered 429.",
            "due_at": NOW,
        },
        ["The desk tries again. MultiMail answered 429."],
        ["Withdraw"],
    ),
    "calling": ({"state": "calling", "attempt": 1}, ["In progress"], ["Undo Z"]),
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
    "superseded": ({"state": "superseded"}, ["Somebody else was first."], []),
    "expired": (
        {"outcome": "reject", "state": "applied", "given_by": None, "rule": "expiry"},
        ["Rejected by the expiry rule"],
        [],
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
            if fields.get("state") in ("superseded", "applied"):
                Message.objects.update(state="rejected")
            page = pane(message, reviewer)
            assert [one for one in words if one not in page] == [], name
            assert buttons(page) == wanted, name
            if name in ("confirm", "unattributed"):
                assert buttons(pane(message, auditor)) == [], name


@pytest.mark.slow
def test_page_warns_of_a_message_that_left_after_all_even_after_a_reject(
    desk, message, reviewer
):
    decided(message, reviewer, state="withdrawn", may_have_left=True)
    post_verdict(desk, message, outcome="reject", reason="Stop")
    page = pane(message, reviewer)
    assert "Rejecting" in page
    assert "It may still be sent." in page
    Decision.objects.filter(outcome="approve").update(
        state="applied", ending="left_after_all"
    )
    Decision.objects.filter(outcome="reject").update(state="superseded")
    Message.objects.update(state="sent")
    page = pane(message, reviewer)
    assert re.search(
        r'<div class="notice rose loud" role="alert">.*?It was sent after all\.', page
    )


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
    assert mirror_row(connection, row, NOW, examination)
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
