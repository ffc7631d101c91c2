"""Claims: who has a message, how a claim ends, and that it blocks no decision."""

import re
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from approvals.collaboration import (
    end_idle_claims,
    release_claim,
    take_claim,
    touch_claim,
)
from approvals.errors import AlreadyDecided, ClaimedByOther
from approvals.message_page.action_views import ClaimForm
from approvals.models import Claim
from approvals.tasks import sweep
from audit.models import Entry
from mirror.errors import ActNotAllowed
from tests.factories import actor_of, change_row, make_person
from tests.integration.deciding import at_once, decide
from tests.markup import HTMX


def claim(client, message, headers=None, **fields):
    return client.post(
        f"/queue/{message.public_id}/claim/", fields, headers=headers or {}
    )


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


def last_why(message):
    return acts(message)[-1][1]["explanation"]


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
    assert [action for action, _ in acts(message)] == ["claim.taken", "claim.released"]

    # A claim does not block other reviewers.
    claim_as(message, reviewer)
    decide(message, second_reviewer)
    assert not Claim.objects.exists()
    action, details = acts(message)[-1]
    assert action == "claim.released"
    assert details["holder"] == "Ana Ferreira"
    assert details["actor"] == "Ben Okafor"
    assert details["explanation"] == "The message was decided."
    with pytest.raises(AlreadyDecided, match="already decided"):
        claim_as(message, reviewer)


def test_taking_over_asks_with_a_named_button_and_is_in_the_ledger(
    signed_in, reviewer, second_reviewer, message
):
    claim_as(message, reviewer)
    client = signed_in(second_reviewer)
    answer = claim(client, message)
    page = answer.text
    assert answer.status_code == 409
    assert "Take over from Ana Ferreira</button>" in page
    assert Claim.objects.get().person == reviewer
    holder = re.search(r'name="take_over" value="(\d+)"', page)[1]
    assert claim(client, message, headers=HTMX, take_over=holder).status_code == 200
    assert Claim.objects.get().person == second_reviewer
    (_, released), (_, new_claim) = acts(message)[1:]
    assert released["holder"] == "Ana Ferreira"
    assert new_claim["from"] == "Ana Ferreira"
    assert new_claim["actor"] == "Ben Okafor"


def test_taking_over_a_lost_claim_asks_again_and_an_invalid_value_is_a_plain_claim(
    reviewer, second_reviewer, message
):
    cleo = make_person("cleo@yourteam.example", "Cleo", "reviewer")
    claim_as(message, cleo)
    with pytest.raises(ClaimedByOther, match="Cleo has this message"):
        claim_as(message, second_reviewer, from_holder=reviewer.pk)
    assert Claim.objects.get().person == cleo
    release_as(message, cleo)
    assert [
        ClaimForm({"take_over": one}).value("take_over") for one in ("x", "-1")
    ] == [None, None]
    claim_as(
        message,
        reviewer,
        from_holder=ClaimForm({"take_over": "9" * 30}).value("take_over"),
    )
    assert Claim.objects.get().person == reviewer


@pytest.mark.django_db(transaction=True)
def test_two_who_claim_at_once_get_one_claim_and_one_question(
    reviewer, second_reviewer, message
):
    found = at_once(
        *(
            lambda person=person: claim_as(message, person)
            for person in (reviewer, second_reviewer)
        )
    )
    [made] = [one for one in found if isinstance(one, Claim)]
    [refused] = [one for one in found if isinstance(one, ClaimedByOther)]
    assert Claim.objects.get().person == made.person
    assert str(made.person) in refused.sentence


def test_claim_of_somebody_idle_is_free_for_others_and_the_counts_are_right(
    signed_in, reviewer, second_reviewer, message
):
    def mine(client):
        page = client.get("/queue/").text
        assert "data-waiting>1<" in page
        return re.search(r'data-tab-of="mine".*?data-count>(\d*)<', page, re.DOTALL)[1]

    claim_as(message, reviewer)
    let_idle()
    # Before any sweep: a claim expires by the clock.
    assert mine(signed_in(reviewer)) in ("", "0")
    client = signed_in(second_reviewer)
    assert claim(client, message).status_code == 302
    assert Claim.objects.get().person == second_reviewer
    assert mine(client) == "1"


def test_sweep_ends_claims_of_idle_and_deactivated_people_and_records_it(
    reviewer, second_reviewer, message
):
    claim_as(message, reviewer)
    let_idle(minutes=9)
    assert end_idle_claims() == 0
    let_idle()
    touch_claim(message, actor=actor_of(reviewer))
    assert not is_held(message), "what is over stays over"
    sweep()
    assert not Claim.objects.exists()
    action, details = acts(message)[-1]
    assert action == "claim.released"
    assert details["actor"] == "the desk worker"

    claim_as(message, reviewer)
    reviewer.is_active = False
    reviewer.save()
    assert not Claim.objects.exists()
    assert last_why(message) == "The claimer was deactivated."
    # Without any notification: the claim is free, and ends with the next sweep.
    claim_as(message, second_reviewer)
    change_row(second_reviewer, is_active=False)
    assert not is_held(message)
    end_idle_claims()
    assert [action for action, _ in acts(message)].count("claim.released") == 3
    assert last_why(message) == "The claimer was deactivated."


@pytest.mark.parametrize(
    ("method", "path", "headers", "keeps"),
    [
        ("get", "pulse/?open={}", {}, True),
        ("get", "{}/", {}, True),
        ("post", "{}/opened/", {}, True),
        ("get", "{}/", {"Sec-Purpose": "prefetch"}, False),
        ("get", "{}/", HTMX, False),
    ],
    ids=["pulse", "page", "opened", "prefetch", "fragment"],
)
def test_only_a_message_on_the_holders_screen_keeps_its_claim(
    signed_in, reviewer, second_reviewer, message, method, path, headers, keeps
):
    claim_as(message, reviewer)
    let_idle(minutes=9)
    lately = Claim.objects.filter(seen_at__gt=Now() - timedelta(minutes=5))
    touch_claim(message, actor=actor_of(second_reviewer))
    assert not lately.exists(), "somebody else's look keeps nothing"
    getattr(signed_in(reviewer), method)(
        f"/queue/{path.format(message.public_id)}", headers=headers
    )
    assert lately.exists() is keeps


def test_signing_out_releases_all_claims(signed_in, reviewer, message):
    claim_as(message, reviewer)
    signed_in(reviewer).post("/accounts/logout/")
    assert not Claim.objects.exists()
    assert last_why(message) == "The claimer signed out."
