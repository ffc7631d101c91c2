"""Claims, comments with questions, and snoozes: what reviewers do with each other about a
message before somebody decides it.
"""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from approvals.collaboration import (
    add_comment,
    end_idle_claims,
    release_claim,
    take_claim,
    touch_claim,
    unsnooze_due,
)
from approvals.errors import AlreadyDecided
from approvals.models import Claim, Question, Snooze
from approvals.tasks import sweep
from audit.models import Entry
from mirror.errors import ActNotAllowed
from mirror.models import Mailbox
from tests.factories import (
    actor_of,
    change_row,
    make_connection,
    make_message,
    make_person,
    rolled_back,
    show_row,
)
from tests.integration.deciding import decide
from tests.markup import HTMX


def post(client, message, act, headers=None, **fields):
    path = f"/queue/{message.public_id}/{act}/"
    return client.post(path, fields, headers=headers or {})


def claim_as(message, person, **options):
    return take_claim(message=message.public_id, actor=actor_of(person), **options)


def release_as(message, person):
    return release_claim(message=message.public_id, actor=actor_of(person))


def let_idle(minutes=11):
    Claim.objects.update(seen_at=Now() - timedelta(minutes=minutes))


def is_held(message):
    return Claim.objects.on(message).live().exists()


def acts(message):
    """The ledger entries about claims on the message, oldest first."""
    entries = (
        Entry.objects.of_message(message.public_id)
        .filter(action__startswith="claim.")
        .oldest_first()
    )
    return [(one.action, one.detail.fields) for one in entries.select_related("detail")]


def test_reviewer_claims_once_and_the_claim_ends_by_release_or_decision(
    reviewer, second_reviewer, auditor, admin, message
):
    for person in (auditor, admin):
        with pytest.raises(ActNotAllowed, match="Only a reviewer"):
            claim_as(message, person)
    for _ in range(2):
        claim_as(message, reviewer)
    assert not release_as(message, second_reviewer)
    assert Claim.objects.get().person == reviewer
    assert release_as(message, reviewer)
    assert not Claim.objects.exists()
    # A claim does not block other reviewers.
    claim_as(message, reviewer)
    decide(message, second_reviewer)
    assert not Claim.objects.exists()
    action, details = acts(message)[-1]
    assert action == "claim.released"
    assert details["holder"] == "Ana Ferreira"
    with pytest.raises(AlreadyDecided, match="already decided"):
        claim_as(message, reviewer)


@pytest.mark.slow
def test_sweep_ends_claims_of_idle_and_deactivated_people_and_records_it(
    reviewer, second_reviewer, message
):
    claim_as(message, reviewer)
    let_idle(minutes=9)
    assert end_idle_claims() == 0
    let_idle()
    touch_claim(message, actor=actor_of(reviewer))
    assert not is_held(message), "what is over stays over"
    with rolled_back():
        assert claim_as(message, second_reviewer).person == second_reviewer
    sweep()
    assert not Claim.objects.exists()
    assert acts(message)[-1][0] == "claim.released"

    claim_as(message, reviewer)
    reviewer.is_active = False
    reviewer.save()
    assert not Claim.objects.exists()
    # Without any notification: the claim is free, and ends with the next sweep.
    claim_as(message, second_reviewer)
    change_row(second_reviewer, is_active=False)
    assert not is_held(message)
    end_idle_claims()
    assert not Claim.objects.exists()


def names(client, message):
    """The names that are offered after @."""
    page = client.get(
        f"/queue/{message.public_id}/people/", {"q": ""}, headers=HTMX
    ).text
    return [unescape(name) for name in re.findall(r'data-name="([^"]*)"', page)]


def asked():
    return [one.person for one in Question.objects.order_by("pk")]


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
    text = "@Zoe @Yan @Una @Lee @Ivo"
    answer = post(client, message, "comments", HTMX, text=text).text
    assert asked() == [here]
    assert answer.count("names nobody who sees this message") == 4
    # Without scripts it is said too.
    post(client, message, "comments", text="@Zoe")
    page = client.get(f"/queue/{message.public_id}/").text
    assert "names nobody who sees this message" in page


def waiting(client, tab="waiting"):
    return [
        row["id"]
        for row in client.get(f"/queue/?format=json&tab={tab}").json()["messages"]
    ]


def set_snooze(message, person, **left):
    return Snooze.objects.create(
        message=message, person=person, until=Now() + timedelta(**(left or {"days": 1}))
    )


def ended(message):
    entries = (
        Entry.objects.of_message(message.public_id)
        .of_action("snooze.ended")
        .select_related("detail")
    )
    return [one.detail.fields["explanation"] for one in entries.oldest_first()]


def test_message_comes_back_at_its_time_or_when_something_happens_and_the_ledger_says_so(
    signed_in, reviewer, second_reviewer, admin, message
):
    set_snooze(message, reviewer, seconds=60)
    assert unsnooze_due() == 0
    Snooze.objects.update(until=Now() - timedelta(seconds=1))
    client = signed_in(reviewer)
    assert waiting(client) == [str(message.public_id)]
    assert waiting(client, "mine") == []
    assert unsnooze_due() == 1

    set_snooze(message, reviewer)
    show_row(message, markdown="Another text.")
    set_snooze(message, reviewer)
    set_snooze(message, admin)
    actor = actor_of(second_reviewer)
    add_comment(message=message.public_id, actor=actor, text="@Ana Ferreira?")
    assert Snooze.objects.get().person == admin, (
        "to whom somebody asks, and to nobody else"
    )
    Snooze.objects.all().delete()
    set_snooze(message, reviewer)
    decide(message, second_reviewer)
    assert ended(message) == [
        "The time is over.", "The message changed.", "Somebody asks about it.", "The message was decided.",
    ]  # fmt: skip


@pytest.mark.slow
def test_snoozed_message_leaves_only_ones_own_list_and_is_under_mine(
    signed_in, reviewer, second_reviewer, connection
):
    message = make_message(connection, subject="One")
    second = make_message(connection, subject="Two")
    client = signed_in(reviewer)
    answer = post(client, message, "snooze", wait="tomorrow")
    assert answer["Location"] == f"/queue/{second.public_id}/"
    # The time can be changed.
    post(client, message, "snooze", headers=HTMX, wait="hour")
    until = Snooze.objects.get().until
    assert timedelta(minutes=50) < until - timezone.now() < timedelta(minutes=61)
    # A decided message cannot be snoozed.
    decide(second, second_reviewer)
    answer = post(client, second, "snooze", wait="hour", headers=HTMX)
    assert answer.status_code == 422
    assert "no longer waiting" in answer.text
    assert waiting(signed_in(second_reviewer)) == [str(message.public_id)]
    client = signed_in(reviewer)
    assert waiting(client) == []
    mine = client.get("/queue/?tab=mine").text
    assert "/snooze/end/" in mine
    client.post(f"/queue/{message.public_id}/snooze/end/", {"to": "list"})
    assert waiting(client) == [str(message.public_id)]
    assert ended(message) == ["By Ana Ferreira."]
