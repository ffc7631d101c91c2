"""Decisions on Discord: signed, once, by a linked person, on the version that the card
showed.
"""

import json
import re
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from itertools import count

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection as database
from django.db import transaction
from django.db.models.functions import Now
from django.test import Client

from alerts.cards.buttons import custom_id
from alerts.cards.message import desk_link
from alerts.channels import answers
from alerts.channels.answers import LAST_REFUSAL
from alerts.channels.discord import interactions
from alerts.channels.interactions import answer_interaction, old_answers
from alerts.channels.presses import NOT_YOURS, error_sentence
from alerts.deliveries.drain import sweep
from alerts.models import Card, Destination, Interaction
from approvals.models import Claim, Decision, Verdict
from audit.models import Entry, EntryDetail
from common.logs import trace_id
from mirror.errors import ThreadMovedOn
from mirror.models import Message, Revision
from people.models import ChatAccount, RoleRule
from tests.discord_limits import Form, find_errors
from tests.factories import (
    change_row,
    make_connection,
    make_message,
    make_person,
    put_in_force,
    rolled_back,
    show_row,
)
from tests.integration.deciding import at_once, decide, in_thread
from tests.markup import words_of

pytestmark = pytest.mark.usefixtures("plans_at_once")

KEY = Ed25519PrivateKey.generate()
ADDRESS = "/discord/interactions/"
ANA = "118000000000000042"
MALLORY = "118000000000000666"
CARD = "122000000000000001"
CHANNEL = "120000000000000001"
SLOW = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(%s); RETURN NEW; END $$"
_numbers = count(1_200_000_000_000_000_000)


@pytest.fixture(autouse=True)
def application(settings, monkeypatch):
    """The desk's Discord application, with time limits that hold on a slow machine."""
    settings.DISCORD_PUBLIC_KEY = KEY.public_key().public_bytes_raw().hex()
    settings.DISCORD_APP_ID = "119000000000000001"
    monkeypatch.setattr(interactions, "ANSWER_WITHIN", 60.0)
    monkeypatch.setattr(interactions, "LOCK_MS", 60_000)
    monkeypatch.setattr(interactions, "STATEMENT_MS", 60_000)


@pytest.fixture
def message():
    held = make_message(make_connection())
    post_card(held)
    return held


@pytest.fixture
def ana(reviewer):
    ChatAccount.objects.create(
        person=reviewer, service="discord", account_id=ANA, name="ana.dev"
    )
    return reviewer


def sent(body, *, key=KEY, at=None, client=None, **headers):
    """Post a body as Discord does, signed."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    stamp = str(int(time.time()) if at is None else at)
    signature = key.sign(stamp.encode() + raw).hex()
    headers = {
        "HTTP_X_SIGNATURE_ED25519": signature,
        "HTTP_X_SIGNATURE_TIMESTAMP": stamp,
        **headers,
    }
    client = client or Client(enforce_csrf_checks=True)
    return client.post(ADDRESS, raw, content_type="application/json", **headers)


def post_card(message, **destination):
    """Post the message's card in the channel from which `press` comes."""
    more = {
        "name": "Approvals",
        "kind": "discord_bot",
        "channel": CHANNEL,
        "privacy": "full",
        **destination,
    }
    where, _ = Destination.objects.get_or_create(**more)
    return Card.objects.get_or_create(destination=where, message=message, post_id=CARD)[
        0
    ]


def press(message, act="approve", *, by=ANA, revision=None, reason=None, number=None):
    """Return what Discord sends for a button, or for the form with the reason."""
    data = {
        "component_type": 2,
        "custom_id": custom_id(act, message.public_id, revision or message.revision_id),
    }
    if reason is not None:
        field = {"type": 4, "custom_id": "reason", "value": reason}
        data = {
            "custom_id": data["custom_id"],
            "components": [{"type": 18, "component": field}],
        }
    return {
        "id": number or str(next(_numbers)),
        "application_id": "119000000000000001",
        "type": 3 if reason is None else 5,
        "token": "a-token-of-discord",
        "data": data,
        "member": {
            "user": {"id": by, "username": "ana.dev" if by == ANA else "mallory"},
            "roles": [],
        },
        "channel_id": CHANNEL,
        "channel": {"id": CHANNEL, "name": "approvals"},
        "guild_id": "121000000000000001",
        "message": {"id": CARD},
    }


def answer_text(answer):
    """Return the text of the response, which only the presser sees and which mentions
    nobody.
    """
    assert answer.status_code == 200
    body = answer.json()
    assert body["type"] == 4
    assert body["data"]["flags"] == 64
    assert body["data"]["allowed_mentions"] == {"parse": []}
    return body["data"]["content"]


def recorded(action):
    return EntryDetail.objects.filter(entry__action=action).latest("entry")


def nothing_happened():
    return not any(model.objects.exists() for model in (Interaction, Verdict, Decision))


def before_insert(table, sql):
    """Let a trigger run before each insert into a table."""
    name = re.search(r"FUNCTION (\w+)", sql)[1]
    with database.cursor() as cursor:
        cursor.execute(sql)
        cursor.execute(
            f"CREATE TRIGGER {name} BEFORE INSERT ON {table} EXECUTE FUNCTION {name}()"
        )


def test_ping_of_another_application_is_answered_but_its_press_does_nothing(
    ana, message, settings, caplog
):
    settings.DISCORD_APP_ID = "118"
    assert sent({"id": "1", "type": 1, "token": "t"}).json() == {"type": 1}
    # The presser and the operator see the error.
    assert "DISCORD_APP_ID" in answer_text(sent(press(message)))
    assert "DISCORD_APP_ID" in caplog.text
    assert nothing_happened()
    # The same for a button of another program.
    settings.DISCORD_APP_ID = "119000000000000001"
    body = press(message)
    body["data"]["custom_id"] = "other:button"
    assert "does not belong to this desk" in answer_text(sent(body))
    assert not Verdict.objects.exists()


def test_forged_malformed_unsigned_and_stale_interactions_do_nothing(ana, message):
    body = press(message)
    now = int(time.time())
    changes = [
        {"key": Ed25519PrivateKey.generate()}, {"at": now - 301}, {"at": now + 120},
        {"HTTP_X_SIGNATURE_TIMESTAMP": str(now - 1)},
        *({"HTTP_X_SIGNATURE_ED25519": wrong} for wrong in ("", "é" * 128)),
        *({"HTTP_X_SIGNATURE_TIMESTAMP": wrong} for wrong in ("1e9", "9" * 40)),
    ]  # fmt: skip
    for change in changes:
        assert sent(body, **change).status_code == 401
    # The signature is checked first, so invalid JSON is refused in the same way.
    answer = Client().post(ADDRESS, b"{", content_type="application/json")
    assert answer.status_code == 401
    assert nothing_happened()
    assert not Entry.objects.filter(surface="discord").exists()


def test_signed_nonsense_is_400_and_never_500(ana, message):
    good = press(message)
    bad = [b"[" * 100_000, b"[]", b'{"type": NaN}', b"\xff"]
    changes = [
        {"type": 6}, {"id": "9" * 40}, {"id": "١"}, {"token": "nul\0"}, {"data": None}, {"member": {}},
        {"type": 5, "data": {"custom_id": "x", "components": [{"components": [{"custom_id": "other"}]}]}},
        {"data": {"custom_id": "\ud800"}},
    ]  # fmt: skip
    bad.append(json.dumps(command(message, "x" * 41)).encode())
    bad += [json.dumps({**good, **change}).encode() for change in changes]
    bad.append(json.dumps(good).encode().replace(b"{", b'{"token": "other", ', 1))
    for body in bad:
        assert sent(body).status_code == 400, body[:200]
    assert sent(b" " * (256 * 1024 + 1)).status_code == 413
    assert nothing_happened()


def command(message, name="pending", **more):
    """Return what Discord sends for a command."""
    return {**press(message, **more), "type": 2, "data": {"name": name}}


@pytest.mark.slow
def test_interaction_that_discord_reported_as_failed_does_nothing_later(
    ana, message, monkeypatch
):
    monkeypatch.setattr(interactions, "ANSWER_WITHIN", 0.1)
    before_insert("alerts_interaction", SLOW % 0.2)
    before = Entry.objects.count()
    for body in (press(message), command(message)):
        assert "nothing was done" in answer_text(sent(body))
    assert nothing_happened()
    assert Entry.objects.count() == before


def test_approve_decides_for_the_linked_person_and_says_until_when_it_can_be_undone(
    signed_in, ana, auditor, message
):
    body = press(message)
    text = answer_text(sent(body))
    verdict = Verdict.objects.get()
    decision = Decision.objects.get()
    assert verdict.person == ana
    assert verdict.outcome == "approve"
    assert verdict.surface == "discord"
    assert (decision.due_at - decision.changed_at).total_seconds() == 5
    assert "You have 5 s to [undo it on the desk](<" in text
    assert f"/queue/{message.public_id}/" in text
    for action in ("verdict.given", "decision.recorded"):
        line = recorded(action)
        assert line.entry.surface == "discord"
        assert line.entry.actor_id == str(ana.pk)
        assert line.fields["discord"] == "ana.dev"
        assert line.fields["discord_id"] == ANA
        assert line.fields["interaction"] == body["id"]
    row = Interaction.objects.get()
    assert row.outcome == "approve"
    assert row.token == row.options == ""

    # The response links to the message for undo; opening it after the verdict does not
    # count as reading before.
    assert signed_in(ana).get(f"/queue/{message.public_id}/").status_code == 200
    trace = words_of(signed_in(auditor).get(f"/audit/trace/{message.public_id}/"))
    assert f"interaction {body['id']}" in trace
    assert "never opened that version on the desk" in trace
    assert "before deciding" not in trace


def test_reject_opens_a_form_for_the_reason_that_decides_in_either_layout(ana, message):
    asked = sent(press(message, "reject")).json()
    form = custom_id("reject", message.public_id, message.revision_id)
    assert asked["type"] == 9
    assert find_errors(asked["data"], Form) == {}
    assert asked["data"]["custom_id"] == form
    answer_text(sent(press(message, "reject", reason="   ")))
    assert not Verdict.objects.exists()
    older = press(message, "reject", reason="  The price is wrong.  ")
    older["data"]["components"] = [
        {"type": 1, "components": [older["data"]["components"][0]["component"]]}
    ]
    answer_text(sent(older))
    assert Decision.objects.get().outcome == "reject"
    assert Decision.objects.get().reason == "The price is wrong."


def test_replayed_interaction_gets_the_same_answer_and_decides_nothing_twice(
    ana, message
):
    # In a direct message the user counts like a server member.
    body = press(message)
    body["user"] = body.pop("member")["user"]
    del body["guild_id"], body["channel"]
    first = sent(body).json()
    assert Verdict.objects.get().person == ana
    entries = Entry.objects.count()
    assert sent(body).json() == first
    # Nor does another press with the same id.
    assert sent(press(message, "claim", number=body["id"])).json() == first
    assert Verdict.objects.count() == Interaction.objects.count() == 1
    assert Entry.objects.count() == entries
    assert not Claim.objects.exists()
    # Its response is deleted once Discord cannot repeat the request.
    assert not old_answers().exists()
    Interaction.objects.update(created_at=Now() - timedelta(minutes=21))
    assert old_answers().exists()
    sweep()
    assert Interaction.objects.get().answer == ""


def test_press_by_somebody_not_linked_is_refused_privately_with_an_audit_entry(
    signed_in, reviewer, message
):
    body = press(message, by=MALLORY)
    text = answer_text(sent(body))
    assert not Verdict.objects.exists()
    assert message.subject not in text
    assert message.sender not in text
    line = recorded("interaction.refused")
    assert line.entry.actor_kind == "discord"
    assert line.entry.actor_id == MALLORY
    assert line.entry.surface == "discord"
    assert line.entry.message == message.public_id
    assert line.fields["interaction"] == body["id"]
    path = text[text.index("/people/me/chat/") :].split(">")[0]
    signed_in(reviewer).post(path)
    assert ChatAccount.objects.get().person == reviewer
    answer_text(sent(press(message, by=MALLORY)))
    assert Verdict.objects.get().person == reviewer


@pytest.mark.slow
def test_repeated_unauthorized_presses_are_answered_and_do_not_fill_the_ledger(
    auditor, message, monkeypatch
):
    monkeypatch.setattr(answers, "MAX_REFUSALS", 2)
    ChatAccount.objects.create(person=auditor, service="discord", account_id=ANA)
    refusals = EntryDetail.objects.filter(entry__action="interaction.refused").order_by(
        "entry"
    )
    # What is never recorded leaves room for what is limited.
    form = {"service": "discord", "user_id": ANA, "kind": "form", "outcome": "bad form"}
    for number in "12":
        Interaction.objects.create(external_id=number, **form)
    for act in ("approve", "reject", "claim"):
        answer_text(sent(press(message, act, by=MALLORY)))
    last = [LAST_REFUSAL in one.fields["explanation"] for one in refusals]
    assert last == [False, True]
    # Others are still recorded, and this one again a minute later.
    answer_text(sent(press(message)))
    assert recorded("verdict.refused").entry.actor_id == str(auditor.pk)
    Interaction.objects.update(created_at=Now() - timedelta(seconds=61))
    answer_text(sent(press(message, by=MALLORY)))
    assert refusals.all().count() == 3
    assert not Verdict.objects.exists()


def risky(message):
    lie = {
        "rule": "link_text_lies",
        "level": "high",
        "sentence": "It shows secret-bank.example.",
    }
    more = {"detail": "", "evidence": [], "version": 1}
    Revision.objects.filter(pk=message.revision_id).update(findings=[lie | more])


def test_press_that_may_not_decide_is_refused_recorded_and_quotes_nothing(ana, message):
    """Whoever has the bot's token can put the desk's buttons under a text of their own:
    only the card's own post, in its own channel, counts.
    """
    elsewhere = make_connection("elsewhere")
    other = "122000000000000009"
    unknown = {"custom_id": f"cs:approve:{'0' * 31}1:{message.revision_id}"}
    card = "This is not the card that the desk has"

    for words, change, happen in (
        (NOT_YOURS, {}, lambda: change_row(ana, is_active=False)),
        (NOT_YOURS, {}, ana.grants.all().delete),
        (NOT_YOURS, {}, lambda: ana.grants.update(connection=elsewhere)),
        (NOT_YOURS, {"data": {"component_type": 2, **unknown}}, lambda: None),
        ("second factor", {}, lambda: RoleRule.objects.create(role="reviewer", needs_second_factor=True)),
        ("with care, on a page of its own", {}, lambda: risky(message)),
        ("with care, on a page of its own", {}, lambda: put_in_force({"care": True})),
        (card, {"message": {"id": other}}, lambda: None),
        (card, {"message": None}, lambda: None),
        (card, {"channel_id": other}, lambda: None),
        (card, {}, lambda: Destination.objects.update(removed_at=Now())),
    ):  # fmt: skip
        with rolled_back():
            happen()
            text = answer_text(sent(press(message) | change))
            assert words in text
            assert "secret-bank" not in text
            assert message.subject not in text
            assert not Verdict.objects.exists(), words
            refusals = Entry.objects.filter(action__endswith=".refused")
            assert refusals.get().actor_id == str(ana.pk), words
    # The card of another message does not count either.
    answer_text(sent(press(make_message(message.connection))))
    assert not Verdict.objects.exists()


def test_press_after_which_the_desk_has_an_error_is_answered_with_its_id(
    ana, message, monkeypatch
):
    ids = []

    def fail(*_):
        ids.append(trace_id.get())
        raise RuntimeError

    monkeypatch.setattr("alerts.channels.interactions.judge", fail)
    post_card(message)
    text = answer_text(sent(press(message)))
    assert ids[0]
    assert text.endswith(f" the id {ids[0]}.")
    nothing_happened()


def test_newer_message_of_the_thread_is_not_quoted():
    outcome, text = error_sentence(ThreadMovedOn("Dana: cancel it"), shown=str)
    assert outcome == "thread moved on"
    assert "Dana" not in text


def test_press_on_an_outdated_card_decides_nothing_and_says_why(ana, message):
    old = message.revision_id
    show_row(message, subject="Another subject")
    message.refresh_from_db()
    assert "out of date" in answer_text(sent(press(message, revision=old)))
    text = answer_text(sent(press(message, "reject", revision=old, reason="Too long.")))
    assert "You wrote: Too long." in text
    assert not Verdict.objects.exists()


@pytest.mark.slow
def test_pending_lists_what_this_person_may_see_as_far_as_it_fits(
    ana, message, settings
):
    settings.PUBLIC_URL = f"https://{'desk.' * 24}yourteam.example"
    ana.grants.update(connection=message.connection)
    make_message(make_connection("other"), subject="Not yours")
    for number in range(12):
        subject = f"@here {number} {'[' * 500}"
        to = ["*" * 300 + "@x.example"]
        make_message(message.connection, subject=subject, recipients=to)
    text = answer_text(sent(command(message)))
    begin, *rows, more = text.split("\n")
    assert begin == "13 wait for review, oldest first:"
    assert f"and {13 - len(rows)} more" in more
    assert all(re.search(r">\) to \S+$", one) for one in rows)
    assert len(text) <= 2000
    assert "Not yours" not in text
    assert "\\@here" in text
    # Who is not linked may see nothing, and an older desk's command does nothing.
    assert "not linked" in answer_text(sent(command(message, by=MALLORY)))
    assert "does not know" in answer_text(sent(command(message, "forgotten")))


def test_looking_at_every_link_of_a_card_changes_nothing(signed_in, ana, message):
    client = signed_in(ana)
    path = desk_link(message)
    ahead = {"HTTP_SEC_PURPOSE": "prefetch", "HTTP_PURPOSE": "prefetch"}
    assert client.get(path, follow=True, **ahead).status_code == 200
    assert client.head(path, follow=True).status_code == 200
    assert client.get(ADDRESS).status_code == client.head(ADDRESS).status_code == 405
    assert Message.objects.get().state == "held"
    assert not Claim.objects.exists()
    assert nothing_happened()


@pytest.mark.django_db(transaction=True)
def test_two_presses_and_a_click_at_the_same_moment_are_one_decision(
    ana, second_reviewer, message
):
    ChatAccount.objects.create(
        person=second_reviewer, service="discord", account_id=MALLORY
    )
    third = make_person("cleo@yourteam.example", "Cleo", "reviewer")
    browser = Client()
    browser.force_login(third, backend="people.sign_in.backend.PersonBackend")
    form = {"outcome": "approve", "fingerprint": message.revision.fingerprint}
    body = press(message)
    first, *answers = at_once(
        lambda: sent(body),
        lambda: sent(body),
        lambda: sent(press(message, by=MALLORY)),
        lambda: browser.post(f"/queue/{message.public_id}/verdict/", form),
    )
    assert first.json() == answers[0].json()
    assert Decision.objects.count() == Verdict.objects.count() == 1
    won = [answer_text(one).startswith("Approved.") for one in answers[:2]] + [
        answers[2].status_code == 302
    ]
    assert won.count(True) == 1
    assert all(
        "first" in answer_text(one)
        for one in answers[:2]
        if not answer_text(one).startswith("Approved.")
    )


@contextmanager
def held_by_another(message):
    """Hold the message's lock in another session."""
    locked = threading.Event()
    free = threading.Event()

    def hold():
        with transaction.atomic():
            list(Message.objects.select_for_update().filter(pk=message.pk))
            locked.set()
            free.wait(600)

    thread, _ = in_thread(hold)
    assert locked.wait(600)
    try:
        yield
    finally:
        free.set()
        thread.join()


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_press_that_would_wait_for_a_lock_is_deferred_and_decided_once(
    ana, message, monkeypatch
):
    monkeypatch.setattr(interactions, "LOCK_MS", 100)
    body = press(message)
    with held_by_another(message):
        for _ in range(2):
            assert sent(body).json() == {"type": 5, "data": {"flags": 64}}
    row = Interaction.objects.get()
    assert row.state == "due"
    assert row.token == "a-token-of-discord"
    assert not Verdict.objects.exists()
    # Discord cannot be reached from here: decided, and the response still pending.
    for _ in range(2):
        Interaction.objects.update(state="due", next_attempt_at=Now())
        answer_interaction(interaction_id=row.pk)
        assert Interaction.objects.get().outcome == "approve"
        assert Verdict.objects.get().surface == "discord"


@pytest.mark.slow
def test_answer_names_no_address_where_the_card_names_none(ana, message):
    decide(message, ana)
    upstream_sentence = "lee@fabrikam.example approved it at MultiMail."
    Decision.objects.update(state="superseded", explanation=upstream_sentence)
    Message.objects.update(state="approved")
    for privacy, is_named in (("full", True), ("minimal", False)):
        with rolled_back():
            Destination.objects.update(privacy=privacy)
            text = answer_text(sent(press(message, "reject"))).replace("\\", "")
        assert (upstream_sentence in text) == is_named, privacy
        assert ("l…@fabrikam.example" in text) == (not is_named), privacy


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_same_interaction_twice_at_the_same_moment_is_one_decision_with_one_answer(
    ana, message
):
    body = press(message)
    first, second = at_once(lambda: sent(body), lambda: sent(body))
    assert first.json() == second.json()
    assert answer_text(first).startswith("Approved.")
    assert Verdict.objects.count() == Interaction.objects.count() == 1
