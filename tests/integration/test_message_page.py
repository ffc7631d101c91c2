"""What the message page says of changes, doubt and second tries, and what can be done from it."""

import re
from datetime import timedelta

import pytest
from django.db.models import F
from django.db.models.functions import Now

from approvals.decide import give_verdict
from approvals.models import Connection, Decision, Message, Verdict
from approvals.settle import ANOTHER_OF_OURS, LEFT_AFTER_ALL
from audit.models import Entry
from policy import kill_switch
from tests.factories import MAILBOX, NOW, make_connection, make_message, make_person, show_row

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}


@pytest.fixture
def message(connection):
    return make_message(connection, markdown="Please pay EUR 12,400 by Friday.")


@pytest.fixture
def desk(signed_in, reviewer):
    return signed_in(reviewer)


def read(client, message, query="", **headers):
    return plain(client.get(f"/queue/{message.public_id}/{query}", headers=headers))


def plain(answer):
    return re.sub(r"\s+", " ", re.sub(r"</?(?:bdi|time|span)\b[^>]*>", "", answer.content.decode()))


def post(client, message, act="verdict", headers=None, **fields):
    if act == "verdict":
        fields = {"outcome": "approve", "reason": "", "fingerprint": message.revision.fingerprint, **fields}
    return client.post(f"/queue/{message.public_id}/{act}/", fields, headers=headers or {})


def decided(message, person, outcome="approve", reason="", **fields):
    """A decision in a state that only a network in trouble brings about."""
    given = give_verdict(
        message=message.public_id, actor=person.actor(surface="web"), outcome=outcome, reason=reason,
        fingerprint=Message.objects.get(pk=message.pk).revision.fingerprint, now=NOW,
    )  # fmt: skip
    Decision.objects.filter(pk=given.decision.pk).update(**fields)
    Verdict.objects.filter(pk=given.verdict.pk).update(live=fields.get("state") not in ("withdrawn", "refused"))
    return given.decision


def buttons(page):
    return [re.sub(r"<[^>]+>", "", one).strip() for one in re.findall(r"<button[^>]*>(.*?)</button>", page, re.DOTALL)]


# what changed after it was opened


@pytest.mark.proves("security 17", "promise 2")
@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "fragment"])
def test_verdict_on_changed_mail_is_refused_and_shows_the_words_that_changed(desk, message, headers):
    changed = show_row(message, markdown="Please pay EUR 21,400 by Friday.", bcc=["eve@evil.example"])
    answer = post(desk, message, outcome="reject", reason="A long and careful reason", headers=headers)
    page = plain(answer)
    assert answer.status_code == 409
    assert "removed: 12,400 </del>" in page
    assert "added: 21,400 </ins>" in page
    assert "<h4>Bcc</h4>" in page
    assert "added: eve@evil.example</ins>" in page
    assert "A long and careful reason</textarea>" in page
    # Not opened over what is to be read first.
    assert '<details class="why" id="reject" name="why">' in page
    assert "What you wrote is kept under “Reject”: </p>" in page.replace(":</p>", ": </p>")
    new = Message.objects.get(pk=message.pk).revision.fingerprint
    assert new == changed.revision.fingerprint
    assert page.count(f'name="fingerprint" value="{new}"') == 3
    assert Decision.objects.count() == 0


def test_approving_what_changed_asks_to_say_that_it_was_read(desk, message):
    assert "I have read what changed" not in read(desk, message)
    show_row(message, markdown="Please pay EUR 21,400 by Friday.")
    page = plain(post(desk, message))
    assert '<input type="checkbox" id="read-again" required>' in page
    assert "You had chosen to approve. Nothing was recorded" in page


def test_change_is_shown_to_whoever_asks_since_when(desk, message):
    shown = message.revision.fingerprint
    assert 'id="changed"' not in read(desk, message, f"?since={shown}")
    show_row(message, subject="Your refund for order 4472")
    page = read(desk, message, f"?since={shown}", **HTMX)
    assert "removed: 4471 </del>" in page
    assert f'data-url="/queue/{message.public_id}/?since={shown}"' in page
    assert 'id="changed"' not in read(desk, message)
    assert 'id="changed"' not in read(desk, message, "?since=nonsense")


def test_version_of_another_message_is_never_compared_with(desk, message, connection):
    secret = make_message(connection, markdown="For the board only")
    page = read(desk, message, f"?since={secret.revision.fingerprint}")
    assert "The version that you read is none of this message's." in page
    assert "board" not in page.partition('id="message"')[2]


def test_hostile_change_is_text(desk, message):
    show_row(message, markdown="<script>alert(1)</script><img src=x>\u202e")
    page = plain(post(desk, message))
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;" in page
    assert "RIGHT-TO-LEFT OVERRIDE" in page


def test_opened_names_the_version_that_was_on_screen(desk, message):
    shown = message.revision.fingerprint
    show_row(message, subject="Another subject")
    desk.post(f"/queue/{message.public_id}/opened/", {"fingerprint": shown})
    desk.post(f"/queue/{message.public_id}/opened/", {"fingerprint": "0" * 64})
    opened = Entry.objects.of_message(message.public_id).filter(action="message.opened")
    assert list(opened.values_list("fingerprint", flat=True)) == [shown]


def test_page_without_a_stream_learns_of_the_change_from_the_pulse(desk, message):
    address = f"/queue/pulse/?open={message.public_id}"
    first = desk.get(address)
    assert first.json()["open"]["fingerprint"] == message.revision.fingerprint
    assert desk.get(address, headers={"If-None-Match": first["ETag"]}).status_code == 304
    show_row(message, subject="Another subject")
    later = desk.get(address, headers={"If-None-Match": first["ETag"]})
    assert later.status_code == 200
    assert later.json()["open"]["fingerprint"] != first.json()["open"]["fingerprint"]
    assert desk.get("/queue/pulse/?open=nonsense").json()["open"] is None


def test_pulse_tells_nothing_of_messages_out_of_reach(signed_in, message):
    stranger = make_person("x@yourteam.example", "X", "reviewer", connection=make_connection("other"))
    assert signed_in(stranger).get(f"/queue/pulse/?open={message.public_id}").json()["open"] is None


# nothing is decided by looking; one decision


@pytest.mark.proves("security 16", "promise 4")
@pytest.mark.parametrize("purpose", ["", "prefetch", "prefetch;prerender"])
@pytest.mark.parametrize("method", ["get", "head"])
def test_looking_decides_nothing(desk, message, method, purpose):
    headers = {"Sec-Purpose": purpose} if purpose else {}
    for act in ("verdict", "undo", "withdraw", "send-again", "settle", "look", "opened"):
        query = f"?outcome=approve&fingerprint={message.revision.fingerprint}&took_effect=yes"
        assert getattr(desk, method)(f"/queue/{message.public_id}/{act}/{query}", headers=headers).status_code == 405
    for path in (f"/queue/{message.public_id}/", f"/approvals/{message.upstream_id}/"):
        getattr(desk, method)(path, headers=headers)
    assert Decision.objects.count() == 0
    actions = set(Entry.objects.of_message(message.public_id).values_list("action", flat=True))
    opened = {"message.opened"} if method == "get" and not purpose else set()
    assert actions - {"message.held", "message.fetched", "message.served"} == opened


@pytest.mark.parametrize(
    ("name", "value"),
    [("Purpose", "prefetch"), ("X-Purpose", "preview"), ("X-Moz", "prefetch"), ("Sec-Purpose", "prerender")],
)  # fmt: skip
def test_page_fetched_ahead_was_not_opened(desk, message, name, value):
    desk.get(f"/queue/{message.public_id}/", headers={name: value})
    assert not Entry.objects.filter(action="message.opened").exists()


@pytest.mark.proves("security 18")
def test_second_reviewer_is_told_who_what_and_when(desk, message, second_reviewer):
    first = decided(message, second_reviewer)
    answer = post(desk, message, outcome="send_back", reason="Please say 14 days")
    page = plain(answer)
    assert answer.status_code == 409
    assert f"Ben Okafor approved this message first, at {first.recorded_at:%H:%M:%S} UTC" in page
    assert "What you wrote was kept, and was not sent:" in page
    assert "Please say 14 days" in page
    assert Decision.objects.count() == 1


def test_conflict_over_another_version_shows_who_when_and_both_versions(desk, message, second_reviewer):
    changed = show_row(message, markdown="Please pay EUR 21,400 by Friday.")
    first = decided(changed, second_reviewer, "reject", "Too much")
    answer = post(desk, message, outcome="send_back", reason="Please say 14 days")
    page = plain(answer)
    assert answer.status_code == 409
    assert f"Ben Okafor rejected this message first, at {first.recorded_at:%H:%M:%S} UTC" in page
    assert f"You read {message.revision.short_fingerprint}" in page
    assert f"This is {changed.revision.short_fingerprint}" in page
    assert "21,400" in page.partition('id="changed"')[2].partition("</section>")[0]
    assert "“Please say 14 days”" in page


@pytest.mark.proves("security 24")
def test_undo_comes_before_the_call_and_nothing_recalls_a_sent_mail(desk, message, reviewer):
    decision = decided(message, reviewer)
    page = read(desk, message)
    assert re.search(r"Leaves in \d s", page)
    assert "Undo" in page
    assert not Decision.objects.due().exists()
    Decision.objects.filter(pk=decision.pk).update(state="calling", may_have_left=True, lease_until=Now())
    page = read(desk, message)
    assert "too late to undo" in page
    assert not re.search(r">\s*Undo|[Rr]ecall", page.partition('id="decide"')[2].partition('id="beside-acts"')[0])
    answer = post(desk, message, "undo")
    assert answer.status_code == 409
    assert Decision.objects.get().state == "calling"


# what was sent back


def send_back(message, person, reason="Please name the order, and say 14 days."):
    decided(message, person, "send_back", reason, state="applied", recorded_at=NOW + timedelta(minutes=1))
    Message.objects.filter(pk=message.pk).update(state="rejected")


def next_one(connection, minutes=5, **fields):
    """The next message, held some minutes later."""
    later = make_message(connection, hydrated=False, subject=fields.get("subject", "Your refund for order 4471"))
    Message.objects.filter(pk=later.pk).update(held_at=NOW + timedelta(minutes=minutes))
    return show_row(Message.objects.get(pk=later.pk), **fields)


THREAD = {"thread_id": "01THREAD", "metadata": {}}
RUN = {"metadata": {"run_id": "r1"}}
PERSON = {"metadata": {"discord_user_id": "7", "discord_channel": "outreach"}}
KEY = {"metadata": {}, "sent_by_key": "mm_live_abc"}


@pytest.mark.parametrize(
    ("first", "second", "follows"),
    [
        (THREAD, {**THREAD, "to_addresses": ["lee@fabrikam.example"], "subject": "Other"}, True),
        (THREAD, {"thread_id": "02THREAD", "metadata": {}}, False),
        (RUN, {"metadata": {"runId": "r1"}}, True),
        (RUN, {**RUN, "to_addresses": ["lee@fabrikam.example"], "subject": "Re: your refund for order 4471"}, True),
        (RUN, {**RUN, "to_addresses": ["lee@fabrikam.example"], "subject": "Something else"}, False),
        (RUN, {"metadata": {"run_id": "r2"}}, False),
        (PERSON, PERSON, True),
        (PERSON, {**PERSON, "to_addresses": ["lee@fabrikam.example"]}, False),
        (PERSON, {"metadata": {"discord_user_id": "7", "discord_channel": "sales"}}, False),
        (PERSON, {"metadata": {"discord_user_id": "8", "discord_channel": "outreach"}}, False),
        (KEY, KEY, True),
        (KEY, {**KEY, "subject": "Your bill"}, False),
        (KEY, {**KEY, "sent_by_key": "mm_live_def"}, False),
        (PERSON, {**PERSON, "direction": "inbound"}, False),
        (PERSON, {**PERSON, "mailbox_id": "02", "mailbox": "sales@yourteam.example"}, False),
    ],
    ids=[
        "thread", "other_thread", "run", "run_other_people", "run_other_letter", "other_run", "person",
        "person_other_people", "other_channel", "other_person", "key", "key_other_letter", "other_key", "inbound",
        "other_mailbox",
    ],
)  # fmt: skip
def test_next_version_is_known_by_its_thread_or_its_trigger(connection, reviewer, first, second, follows):
    send_back(show_row(make_message(connection, hydrated=False), **first), reviewer)
    later = next_one(connection, **second)
    assert (later.answers is not None, later.try_number) == (follows, 2 if follows else 1)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"sent_by_key": "01M7QW3NABM7XY", "sent_by_key_name": "Invoices <b>"},
            "the key “<bdi>Invoices &lt;b&gt;</bdi>”",
        ),
        ({"sent_by_key": "01M7QW3NABM7XY"}, 'does not name, ending in <span class="mono"><bdi>M7XY</bdi></span>'),
    ],
    ids=["named", "not named"],
)
def test_key_is_told_by_its_name_or_by_its_end(connection, signed_in, reviewer, fields, words):
    message = make_message(connection, **fields)
    page = signed_in(reviewer).get(f"/queue/{message.public_id}/").content.decode()
    assert words in page
    assert "01M7QW3NABM7XY" not in page


@pytest.mark.parametrize(
    ("minutes", "follows"), [(-1, False), (5, True), (7 * 24 * 60, True), (7 * 24 * 60 + 2, False)]
)
def test_next_version_comes_after_it_was_asked_for_and_within_days(connection, reviewer, minutes, follows):
    send_back(show_row(make_message(connection, hydrated=False), **THREAD), reviewer)
    assert bool(next_one(connection, minutes, **THREAD).answers) == follows


def test_letter_after_one_that_was_approved_is_no_second_try(connection, reviewer):
    send_back(show_row(make_message(connection, hydrated=False), **THREAD), reviewer)
    answer = next_one(connection, **THREAD)
    Message.objects.filter(pk=answer.pk).update(state="delivered")
    assert next_one(connection, 30, **THREAD).answers is None


def test_second_try_opens_with_its_differences_above_the_letter(desk, connection, reviewer, second_reviewer):
    first = show_row(make_message(connection, hydrated=False), **THREAD, markdown="The refund takes 10 days.")
    send_back(first, second_reviewer)
    later = next_one(connection, **THREAD, markdown="The refund takes 14 days.")
    page = read(desk, later)
    at = [
        page.index(words) for words in ("Sent back by Ben Okafor at 10:01:00 UTC", "removed: 10 </del>", 'id="sheet"')
    ]
    assert at == sorted(at)
    assert "“Please name the order, and say 14 days.”" in page
    assert "added: 14 </ins>" in page
    assert "Second try" in read(desk, later)
    assert "Second try" in plain(desk.get("/queue/"))
    send_back(later, reviewer)
    Decision.objects.filter(message=later).update(recorded_at=NOW + timedelta(minutes=6))
    third = next_one(connection, 9, **THREAD, markdown="The refund takes 14 days.")
    assert third.try_number == 3
    assert "Nothing changed." in read(desk, third)


# each state of doubt


STATES = {
    "leaving": ({}, ["Leaving", "Approved by Ana Ferreira"], ["Undo Z"]),
    "postponed": (
        {"attempt": 1, "explanation": "MultiMail answered 429.", "due_at": Now() + timedelta(minutes=1)},
        ["It is tried again at ", "UTC. MultiMail answered 429."],
        ["Undo Z"],
    ),
    "tried_again": (
        {"attempt": 1, "may_have_left": True, "explanation": "MultiMail answered 429.", "due_at": NOW},
        ["It is tried again. MultiMail answered 429."],
        ["Withdraw"],
    ),
    "calling": ({"state": "calling", "attempt": 1}, ["Being carried out"], ["Undo Z"]),
    "unknown": (
        {"state": "unknown", "may_have_left": True, "explanation": "MultiMail did not answer in time."},
        ["The outcome is not known yet.", "did not answer in time", "The call may have arrived; the desk is reading."],
        ["Withdraw", "Look again"],
    ),
    "confirm": (
        {"state": "unknown", "may_have_left": True, "seen_held": 2},
        ["Seen held twice: send it again?", "never sends a second time by itself"],
        ["Send again", "Withdraw", "Look again"],
    ),
    "unattributed": (
        {"state": "unattributed", "may_have_left": True},
        ["It was decided, and nothing says how.", "What became of it?"],
        ["It was carried out", "It was not", "Look again"],
    ),
    "withdrawn": (
        {"state": "withdrawn", "may_have_left": True, "explanation": "Withdrawn by Ana Ferreira."},
        ["This message may still leave.", "Reject at MultiMail", "this must not be sent.</textarea>"],
        ["Reject with this reason", "Send back with this note", "Look again"],
    ),
    "refused": (
        {"state": "refused", "explanation": "The content changed after the decision."},
        ["Held again.", "The content changed after the decision."],
        ["Approve and send to 1 person outside A", "Reject with this reason", "Send back with this note"],
    ),
    "superseded": (
        {"state": "superseded", "explanation": "The message was rejected by lee outside this desk first."},
        ["Somebody else was first.", "rejected by lee outside this desk first"],
        [],
    ),
}


@pytest.mark.parametrize("case", STATES)
def test_each_state_says_what_is_true_and_offers_what_is_safe(desk, message, reviewer, case):
    fields, words, wanted = STATES[case]
    decided(message, reviewer, **fields)
    if case == "superseded":
        Message.objects.update(state="rejected")
    page = read(desk, message)
    for one in words:
        assert one in page
    pane = page.partition('id="decide"')[2].partition('id="beside-acts"')[0]
    assert buttons(pane) == wanted


def test_auditor_reads_of_the_doubt_and_is_offered_nothing(signed_in, message, reviewer, auditor):
    for fields in ({"state": "unknown", "may_have_left": True, "seen_held": 2}, {"state": "unattributed"}):
        Decision.objects.all().delete()
        Message.objects.get(pk=message.pk).verdicts.all().delete()
        decided(message, reviewer, **fields)
        pane = read(signed_in(auditor), message).partition('id="decide"')[2].partition('id="beside-acts"')[0]
        assert buttons(pane) == []
        for act in ("withdraw", "send-again", "settle", "look"):
            assert post(signed_in(auditor), message, act, took_effect="yes").status_code == 403, act


@pytest.mark.parametrize(
    ("act", "fields", "state"),
    [
        ("withdraw", {"state": "unknown", "may_have_left": True}, "withdrawn"),
        ("send-again", {"state": "unknown", "may_have_left": True, "seen_held": 2}, "recorded"),
    ],
)
def test_act_leads_back_to_the_message_which_has_moved(desk, message, reviewer, act, fields, state):
    decided(message, reviewer, **fields)
    answer = post(desk, message, act)
    assert (answer.status_code, answer["Location"]) == (302, f"/queue/{message.public_id}/")
    assert Decision.objects.get().state == state
    again = post(desk, message, act, headers=HTMX)
    assert again.status_code == 409
    assert 'role="alert"' in plain(again)


@pytest.mark.parametrize(
    ("answer", "state", "word"), [("yes", "applied", "Approved"), ("no", "superseded", "Not carried out")]
)
def test_person_says_what_became_of_it(desk, message, reviewer, answer, state, word):
    decided(message, reviewer, state="unattributed", may_have_left=True)
    Message.objects.update(state="gone")
    assert post(desk, message, "settle", took_effect="perhaps").status_code == 422
    assert post(desk, message, "settle", took_effect=answer).status_code == 302
    assert Decision.objects.get().state == state
    for page in (read(desk, message), plain(desk.get("/history/"))):
        assert word in page
        assert "ecided elsewhere" not in page.replace("rejected, or decided elsewhere", "")
        assert "omebody else" not in page


def test_looking_again_says_so_and_keeps_the_page(desk, message, reviewer):
    decided(message, reviewer, state="unknown", may_have_left=True)
    answer = post(desk, message, "look", headers=HTMX)
    assert "MultiMail is being asked." in plain(answer)
    assert 'id="message"' in plain(answer)
    assert post(desk, message, "look")["Location"] == f"/queue/{message.public_id}/"


def test_rejecting_a_withdrawn_approval_keeps_saying_that_it_may_leave(desk, message, reviewer):
    decided(message, reviewer, state="withdrawn", may_have_left=True)
    assert post(desk, message, outcome="reject", reason="The approval was withdrawn.").status_code == 302
    page = read(desk, message)
    assert "Rejecting" in page
    assert "It may still leave." in page


def test_mail_that_left_after_all_is_said_loudly_even_after_a_reject(desk, message, reviewer):
    decided(message, reviewer, state="withdrawn", may_have_left=True)
    post(desk, message, outcome="reject", reason="Stop")
    Decision.objects.filter(outcome="approve").update(state="applied", explanation=LEFT_AFTER_ALL)
    Decision.objects.filter(outcome="reject").update(state="superseded", explanation="The message was approved first.")
    Message.objects.update(state="sent")
    page = read(desk, message)
    assert re.search(r'<div class="notice rose loud" role="alert">.*?It left after all\.', page)
    assert "Nobody can call it back" in page
    assert "Left after all, although it was withdrawn" in plain(desk.get("/history/"))


def test_decision_that_lost_to_another_of_this_desk_does_not_name_somebody_else(desk, message, reviewer):
    decided(message, reviewer, state="superseded", explanation=ANOTHER_OF_OURS)
    Message.objects.update(state="sent")
    page = read(desk, message)
    assert "Another decision of this desk was first." in page
    assert "omebody else" not in page


def test_decision_under_the_kill_switch_waits_and_can_be_undone(desk, message, reviewer, admin):
    decided(message, reviewer, due_at=Now() - timedelta(minutes=1))
    kill_switch.pull(actor=admin.actor(surface="web"), reason="A wrong campaign")
    pane = read(desk, message).partition('id="decide"')[2]
    assert "It waits until the stop is released, which Ida Lindqvist pulled at" in pane
    assert "It can be undone." in pane
    assert "data-seconds" not in pane
    assert post(desk, message, "undo").status_code == 302
    assert Decision.objects.get().state == "undone"


def test_tab_of_the_unknown_holds_all_that_is_in_doubt(desk, connection, reviewer):
    for state in ("unknown", "unattributed", "withdrawn", "applied"):
        decided(make_message(connection, subject=f"It is {state}"), reviewer, state=state, may_have_left=True)
    Decision.objects.filter(state="unknown").update(seen_held=2)
    page = plain(desk.get("/queue/?tab=unknown"))
    assert "Seen held twice: it can be sent again" in page
    assert [f"It is {state}" in page for state in ("unknown", "unattributed", "withdrawn", "applied")] == [
        True, True, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("left", "tone", "words"),
    [(timedelta(hours=3, minutes=30), "amber", "Expires in 3 h"), (timedelta(minutes=5), "rose", "Expires in 4 min")],
)
def test_time_left_is_told_and_red_near_its_end(desk, message, left, tone, words):
    Message.objects.update(expires_at=Now() + left, held_at=Now() - timedelta(hours=1))
    pages = [f"/queue/{message.public_id}/"] + (["/queue/"] if tone == "rose" else [])
    assert ("Expires in" in read(desk, message).partition('id="message"')[0]) == (tone == "rose")
    for page in [desk.get(path).content.decode() for path in pages]:
        chip = re.search(r'<span class="chip (\w+)[^"]*"><svg.{0,200}?Expires in.*?</time>', page, re.DOTALL)
        assert chip
        assert chip[1] == tone
        assert words in re.sub(r"<[^>]+>", "", chip[0])


def test_expired_message_says_who_rejected_it(desk, message):
    Decision.objects.create(
        message=message, revision=message.revision, outcome="reject", rule="expiry", reference="R1", state="applied",
        reason="Expired: it was not approved before noon.", due_at=NOW,
    )  # fmt: skip
    Message.objects.update(state="rejected")
    page = read(desk, message)
    assert "Rejected by the expiry rule" in page
    assert "Expired: it was not approved before noon." in page


def test_letter_that_no_worker_could_fetch_says_so_and_can_be_tried_again(desk, connection):
    message = make_message(connection, hydrated=False)
    page = read(desk, message)
    assert "being fetched" in page
    assert "data-moving" in page
    Message.objects.update(fetch_tries=F("fetch_tries") + 3)
    page = read(desk, message)
    assert "The content could not be read." in page
    assert "data-moving" not in page
    assert buttons(page.partition('id="decide"')[2].partition('id="beside-acts"')[0]) == ["Try again"]
    assert post(desk, message, "look").status_code == 302
    assert Message.objects.get().fetch_tries == 0


# what the key does not show


def test_field_that_the_key_does_not_show_is_never_shown_as_empty(desk, connection):
    message = make_message(connection, hydrated=False)
    row = {"id": message.upstream_id, "status": "pending_send_approval", "mailbox_id": MAILBOX["upstream_id"]}
    from approvals import mirror
    from people.actors import worker

    mirror.store_revision(
        mirror.lock_message(Connection.objects.get(), upstream_id=message.upstream_id),
        row={**row, "to": ["dana@northwind.example"]}, actor=worker("sync"), now=NOW,
    )  # fmt: skip
    page = read(desk, message)
    shown = page.partition('id="message"')[2]
    for label in ("From", "Reply-To", "Cc", "Bcc", "Leaves", "Answers"):
        assert re.search(rf"<dt>{label}</dt><dd>[^/]*Not visible with this key", shown), label
    for words in (
        "Subject not visible with this key", "Name not visible with this key",
        "The letter is not visible with this key", "Copies, a signature or a footer may be added.",
    ):  # fmt: skip
        assert words in shown
    assert "(no subject)" not in shown
    assert "<iframe" not in shown
    assert re.search(r"<h3[^>]*>Attachments</h3>.{0,250}Not visible with this key", shown)
