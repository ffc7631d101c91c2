"""The message page on changes, doubt and second tries, and the actions it offers."""

import re
from datetime import timedelta

import pytest
from django.db.models import F
from django.template.loader import render_to_string

from approvals import examination
from approvals.decisions.settle import LEFT_AFTER_ALL
from approvals.desk_messages import desk_messages
from approvals.message_page.content.differences import changes_since
from approvals.message_page.sheet import Way
from approvals.message_page.side_panel import actions_on
from approvals.message_page.views import get_visible_message_or_404, message_context
from approvals.models import Decision, Verdict
from approvals.queue.filters import Filters
from audit.models import Entry
from common.actors import worker
from mirror import store
from mirror.models import Connection, Message, Thread
from tests.factories import (
    MAILBOX,
    NOW,
    actor_of,
    change_row,
    make_message,
    rolled_back,
    show_row,
)
from tests.integration.deciding import decide, post_verdict
from tests.markup import HTMX


@pytest.fixture
def message(connection):
    return make_message(connection, markdown="Please pay EUR 12,400 by Friday.")


def read(client, message, query=""):
    return plain(client.get(f"/queue/{message.public_id}/{query}", headers=HTMX).text)


def plain(page):
    return re.sub(r"\s+", " ", re.sub(r"</?(?:bdi|time|span)\b[^>]*>", "", page))


def post(client, message, act, headers=None, **fields):
    path = f"/queue/{message.public_id}/{act}/"
    return client.post(path, fields, headers=headers or {})


def decided(message, person, outcome="approve", reason="", **fields):
    """A decision in a state that otherwise requires network failures."""
    result = decide(message, person, outcome, reason)
    change_row(result.decision, **fields)
    change_row(result.verdict, live=fields.get("state") not in ("withdrawn", "refused"))
    return result.decision


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


@pytest.mark.parametrize(
    ("fields", "page", "fragment"),
    [({}, 47, 24), (FULL, 53, 30)],
    ids=["ordinary", "with thread, file and link"],
)
def test_page_of_a_message_takes_few_statements(
    desk, connection, fields, page, fragment, django_assert_max_num_queries
):
    make_message(connection, **fields)
    message = make_message(connection, **fields)
    for thread in Thread.objects.all():
        thread.messages.create(
            upstream_id="01OLD", direction="inbound", text="An offer, please.", at=NOW
        )
    # The first look is noted in the ledger.
    desk.get(f"/queue/{message.public_id}/")
    for headers, most in (({}, page), (HTMX, fragment)):
        with django_assert_max_num_queries(most):
            assert (
                desk.get(f"/queue/{message.public_id}/", headers=headers).status_code
                == 200
            )


def pane(message, person):
    """The bars and notes of the page: the decision, and the actions it offers."""
    actor = actor_of(person)
    found = get_visible_message_or_404(actor, message.public_id)
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
    assert "What you wrote is kept under “Reject”:" in page
    new = Message.objects.get(pk=message.pk).revision.fingerprint
    assert new == changed.revision.fingerprint
    assert page.count(f'name="fingerprint" value="{new}"') == 4
    answer = post_verdict(desk, message, headers=HTMX)
    page = plain(answer.text)
    assert answer.status_code == 409
    assert "<html" not in page
    assert (
        '<input type="checkbox" id="read-again" required> I have read what changed'
        in page
    )
    assert "You had chosen to approve. Nothing was recorded" in page
    assert Decision.objects.count() == 0


def test_change_since_the_version_that_was_opened_is_shown_and_a_hostile_one_is_text(
    desk, message, connection
):
    shown = message.revision.fingerprint
    assert changes_since(message, shown) is changes_since(message, "") is None
    show_row(
        message,
        subject="Your refund for order 4472",
        markdown="<script>alert(1)</script><img src=x>\u202e",
    )
    page = read(desk, message, f"?since={shown}")
    assert "removed: 4471 </del>" in page
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;" in page
    assert "RIGHT-TO-LEFT OVERRIDE" in page
    # The version on screen is recorded as opened.
    for fingerprint in (shown, "0" * 64):
        desk.post(f"/queue/{message.public_id}/opened/", {"fingerprint": fingerprint})
    opened = Entry.objects.of_message(message.public_id).filter(action="message.opened")
    assert list(opened.values_list("fingerprint", flat=True)) == [shown]
    # A version of another message is never compared with.
    secret = make_message(connection, markdown="For the board only")
    message.refresh_from_db()
    found = changes_since(message, secret.revision.fingerprint)
    assert found.before is None
    assert found.changes == ()


def test_page_without_a_stream_learns_of_the_change_from_the_pulse(
    signed_in, reviewer, stranger, message, monkeypatch
):
    # It is announced again twice a minute.
    monkeypatch.setattr("approvals.polling._half_minute", lambda: 1)
    desk = signed_in(reviewer)
    address = f"/queue/pulse/?open={message.public_id}"
    first = desk.get(address)
    assert (
        desk.get(address, headers={"If-None-Match": first["ETag"]}).status_code == 304
    )
    assert first.json()["open"]["fingerprint"] == message.revision.fingerprint
    show_row(message, subject="Another subject")
    later = desk.get(address, headers={"If-None-Match": first["ETag"]})
    assert later.status_code == 200
    assert later.json()["open"]["fingerprint"] != first.json()["open"]["fingerprint"]
    assert signed_in(stranger).get(address).json()["open"] is None


# nothing is decided by looking; one decision


def test_looking_decides_nothing(desk, message):
    query = (
        f"?outcome=approve&fingerprint={message.revision.fingerprint}&took_effect=yes"
    )
    for act in (
        "verdict",
        "undo",
        "withdraw",
        "send-again",
        "settle",
        "look",
        "opened",
    ):
        for look in (desk.get, desk.head):
            assert (
                look(f"/queue/{message.public_id}/{act}/{query}").status_code == 405
            ), act
    path = f"/queue/{message.public_id}/"
    opened = Entry.objects.filter(action="message.opened")
    desk.head(path, headers=HTMX)
    for name, value in (
        ("Sec-Purpose", "prefetch;prerender"),
        ("Purpose", "prefetch"),
        ("X-Moz", "Prefetch"),
    ):
        desk.get(path, headers={name: value})
    assert desk.get(f"/approvals/{message.upstream_id}/")["Location"] == path
    assert not opened.exists()
    desk.get(path)
    assert opened.count() == 1
    assert Decision.objects.count() == 0
    actions = set(
        Entry.objects.of_message(message.public_id).values_list("action", flat=True)
    )
    assert actions == {
        "message.held",
        "message.fetched",
        "message.served",
        "message.opened",
    }


def test_second_reviewer_is_told_who_what_and_when_and_of_which_version(
    desk, message, second_reviewer
):
    changed = show_row(message, markdown="Please pay EUR 21,400 by Friday.")
    first = decided(changed, second_reviewer, "reject", "Too much")
    answer = post_verdict(
        desk,
        message,
        outcome="send_back",
        preset="shorter",
        reason="Please say 14 days",
        headers=HTMX,
    )
    page = plain(answer.text)
    assert answer.status_code == 409
    assert (
        f"Ben Okafor rejected this message first, at {first.recorded_at:%H:%M:%S} UTC"
        in page
    )
    assert f"You read {message.revision.short_fingerprint}" in page
    assert f"This is {changed.revision.short_fingerprint}" in page
    assert "21,400" in page.partition('id="changed"')[2].partition("</section>")[0]
    assert "What you wrote was kept, and was not sent:" in page
    assert "“Make it half as long. Please say 14 days”" in page
    assert Decision.objects.count() == 1


# requested changes


def send_back(message, person, reason="Please name the order, and say 14 days."):
    decided(
        message,
        person,
        "send_back",
        reason,
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
        [{**THREAD, **LEE, "subject": "Other"}, {**THREAD, "minutes": WEEK}],
        [
            {"thread_id": "02", "metadata": {}},
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
        [{**RUN, **LEE, "subject": "Something else"}, {"metadata": {"run_id": "r2"}}],
    ),
    "person": (
        PERSON,
        [PERSON],
        [
            {**PERSON, **LEE},
            {"metadata": {"discord_user_id": "7", "discord_channel": "sales"}},
            {"metadata": {"discord_user_id": "8", "discord_channel": "outreach"}},
            {**PERSON, "direction": "inbound"},
            {**PERSON, "mailbox_id": "02", "mailbox": "sales@yourteam.example"},
        ],
    ),
    "key": (
        KEY,
        [KEY],
        [{**KEY, "subject": "Your bill"}, {**KEY, "sent_by_key": "mm_live_def"}],
    ),
}


@pytest.mark.parametrize("kind", NEXT)
def test_next_version_is_known_by_its_thread_or_its_trigger(connection, reviewer, kind):
    first, followers, others = NEXT[kind]
    send_back(show_row(make_message(connection, hydrated=False), **first), reviewer)
    for fields in (*followers, *others):
        with rolled_back():
            later = next_one(connection, **fields)
            expected = (True, 2) if fields in followers else (False, 1)
            assert (later.answers is not None, later.try_number) == expected, fields


def test_second_try_opens_with_its_differences_above_the_message(
    desk, connection, second_reviewer
):
    first = show_row(
        make_message(connection, hydrated=False),
        **THREAD,
        markdown="The refund takes 10 days.",
    )
    send_back(first, second_reviewer)
    later = next_one(connection, **THREAD, markdown="The refund takes 14 days.")
    page = read(desk, later)
    expected_words = (
        "Second try",
        "Changes requested by Ben Okafor at 10:01:00 UTC",
        "removed: 10 </del>",
        'id="sheet"',
    )
    at = [page.index(words) for words in expected_words]
    assert at == sorted(at)
    assert "“Please name the order, and say 14 days.”" in page
    assert "added: 14 </ins>" in page
    # A message after an approved one is not a second try.
    Message.objects.exclude(answers=None).update(state="delivered")
    assert next_one(connection, 9, **THREAD).answers is None


# each state of doubt


STATES = {
    "leaving": ({}, ["Sending", "Approved by Ana Ferreira"], ["Undo Z"]),
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
        {
            "state": "unknown",
            "may_have_left": True,
            "explanation": "MultiMail did not answer in time.",
        },
        [
            "The outcome is not known yet.",
            "did not answer in time",
            "MultiMail may have received it",
        ],
        ["Withdraw", "Check again"],
    ),
    "confirm": (
        {"state": "unknown", "may_have_left": True, "seen_held": 2},
        ["Still held after two checks: send it again?", "never sends again by itself"],
        ["Send again", "Withdraw", "Check again"],
    ),
    "unattributed": (
        {"state": "unattributed", "may_have_left": True},
        ["It was decided, but how is not known.", "What happened to it?"],
        ["It was carried out", "It was not", "Check again"],
    ),
    "withdrawn": (
        {
            "state": "withdrawn",
            "may_have_left": True,
            "explanation": "Withdrawn by Ana Ferreira.",
        },
        [
            "This message may still be sent.",
            "Reject at MultiMail",
            "this must not be sent.</textarea>",
        ],
        ["Reject with this reason", "Request changes with this note", "Check again"],
    ),
    "refused": (
        {"state": "refused", "explanation": "The content changed after the decision."},
        ["Held again.", "The content changed after the decision."],
        [
            "Approve and send to 1 person outside A",
            "Approve for later",
            "Reject with this reason",
            "Request changes with this note",
        ],
    ),
    "superseded": (
        {
            "state": "superseded",
            "explanation": "The message was rejected by lee outside this desk first.",
        },
        ["Somebody else was first.", "rejected by lee outside this desk first"],
        [],
    ),
    "expired": (
        {
            "outcome": "reject",
            "state": "applied",
            "given_by": None,
            "rule": "expiry",
            "reason": "Expired: it was not approved before noon.",
        },
        ["Rejected by the expiry rule", "Expired: it was not approved before noon."],
        [],
    ),
}


def test_each_state_says_what_is_true_and_offers_what_is_safe(
    message, reviewer, auditor
):
    wrong = {}
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
            missing = [one for one in words if one not in page]
            if missing or buttons(page) != wanted:
                wrong[name] = missing, buttons(page)
            if name in ("confirm", "unattributed"):
                assert buttons(pane(message, auditor)) == [], name
    assert wrong == {}


def test_person_says_what_became_of_it(desk, message, reviewer):
    decided(message, reviewer, state="unattributed", may_have_left=True)
    Message.objects.update(state="gone")
    assert (
        post(desk, message, "settle", took_effect="perhaps", headers=HTMX).status_code
        == 422
    )
    for answer, state in (("yes", "applied"), ("no", "superseded")):
        with rolled_back():
            assert post(desk, message, "settle", took_effect=answer).status_code == 302
            assert Decision.objects.get().state == state


@pytest.mark.slow
def test_page_warns_of_a_message_that_left_after_all_even_after_a_reject(
    desk, message, reviewer
):
    decided(message, reviewer, state="withdrawn", may_have_left=True)
    assert (
        post_verdict(desk, message, outcome="reject", reason="Stop").status_code == 302
    )
    page = pane(message, reviewer)
    assert "Rejecting" in page
    assert "It may still be sent." in page
    Decision.objects.filter(outcome="approve").update(
        state="applied", explanation=LEFT_AFTER_ALL
    )
    Decision.objects.filter(outcome="reject").update(
        state="superseded", explanation="The message was approved first."
    )
    Message.objects.update(state="sent")
    page = pane(message, reviewer)
    assert re.search(
        r'<div class="notice rose loud" role="alert">.*?It was sent after all\.', page
    )
    assert "It cannot be recalled" in page


def test_tab_of_the_unknown_holds_all_that_is_in_doubt(message, reviewer):
    decided(message, reviewer, may_have_left=True, seen_held=2)
    for state, is_in_doubt in (
        ("unknown", True),
        ("unattributed", True),
        ("withdrawn", True),
        ("applied", False),
    ):
        Decision.objects.update(state=state)
        assert desk_messages().in_doubt().exists() == is_in_doubt, state


def test_content_that_no_worker_could_fetch_says_so_and_can_be_tried_again(
    desk, reviewer, connection
):
    message = make_message(connection, hydrated=False)
    assert "being fetched" in read(desk, message)
    Message.objects.update(fetch_tries=F("fetch_tries") + 3)
    page = pane(message, reviewer)
    assert "The content could not be read." in page
    assert buttons(page) == ["Try again"]
    assert post(desk, message, "look").status_code == 302
    assert Message.objects.get().fetch_tries == 0


# what the key does not show


def test_field_that_the_key_does_not_show_is_never_shown_as_empty(desk, connection):
    message = make_message(connection, hydrated=False)
    row = {
        "id": message.upstream_id,
        "status": "pending_send_approval",
        "mailbox_id": MAILBOX["upstream_id"],
    }
    store.store_revision(
        store.lock_message(Connection.objects.get(), upstream_id=message.upstream_id),
        row={**row, "to": ["dana@northwind.example"]}, actor=worker("sync"), now=NOW,
        examiner=examination,
    )  # fmt: skip
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
