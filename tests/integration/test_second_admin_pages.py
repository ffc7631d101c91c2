"""The pages of changes that wait for a second admin, and who is notified of one."""

import re
from datetime import timedelta
from functools import partial
from unittest import mock

from django.db.models.functions import Now

from alerts.cards.markup import Markup
from alerts.cards.notice import notice_card
from alerts.deliveries.planning import plan_waiting
from alerts.models import Card, Delivery, Destination, UnplannedAct
from audit.models import Entry
from common.actors import Role
from people.models import Invitation, PendingChange, RoleRule
from people.roles import GrantTarget, give_role
from tests.factories import actor_of, make_person
from tests.integration.test_second_admin import ask, switch_on
from tests.markup import says


def form_of(answer):
    """The hidden text of the page that asks for the reason."""
    page = answer.text
    assert "Ask a second admin?" in page, page[:500]
    return page.partition('name="change" value="')[2].partition('"')[0]


def test_admin_asks_with_a_reason_and_another_accepts_on_the_page(
    signed_in, admin, second
):
    otto = make_person("otto@yourteam.example", "Otto", "reviewer")
    switch_on()
    first = signed_in(admin)
    asking = first.post(
        f"/people/{otto.pk}/roles/add/", {"role": "auditor", "place": "all"}
    )
    packed = form_of(asking)
    assert (
        first.post("/changes/ask/", {"change": packed, "reason": " "}).status_code
        == 422
    )
    sent = first.post(
        "/changes/ask/", {"change": packed, "reason": "She checks the month"}
    )
    assert sent["Location"] == f"/people/{otto.pk}/"
    assert "Waiting for a second admin" in first.get(sent["Location"]).text
    change = PendingChange.objects.get()
    assert first.post(f"/changes/{change.pk}/accept/").status_code == 409
    assert not otto.grants.filter(role="auditor").exists()
    other = signed_in(second)
    page = other.get("/changes/").text
    assert "She checks the month" in page
    assert re.search(
        r'<span class="name">Changes</span><span\s+class="count"\s*>1</span>', page
    )
    # Somebody else's form is not taken.
    assert (
        other.post("/changes/ask/", {"change": packed, "reason": "x"}).status_code
        == 403
    )
    assert other.post(f"/changes/{change.pk}/accept/")["Location"] == "/changes/"
    says(other.post(f"/changes/{change.pk}/accept/"), 409, "is not waiting any more")
    assert otto.grants.filter(role="auditor").exists()


def test_invitation_is_shown_to_the_admin_who_accepts_it(signed_in, admin, second):
    switch_on()
    fields = {
        "email": "new@yourteam.example",
        "roles": "reviewer",
        "place": "all",
        "days": 7,
    }
    first = signed_in(admin)
    first.post(
        "/changes/ask/",
        {
            "change": form_of(first.post("/people/invite/", fields)),
            "reason": "New colleague",
        },
    )
    assert not Invitation.objects.exists()
    answer = signed_in(second).post(
        f"/changes/{PendingChange.objects.get().pk}/accept/"
    )
    assert "/join/" in answer.text
    made = Invitation.objects.get()
    assert made.invited_by_id == admin.pk


def test_destinations_are_notified_once_and_named_people_only_above_the_minimal_level(
    admin, second
):
    otto = make_person("otto@yourteam.example", "Otto", "reviewer")
    fields = {
        "url": "https://discord.com/api/webhooks/1/abc",
        "told_since": Now() - timedelta(days=1),
    }
    for privacy in ("minimal", "headers"):
        destination = Destination.objects.create(
            name=privacy, privacy=privacy, **fields
        )
        destination.routes.create(
            actions=["change.asked"], since=Now() - timedelta(days=1)
        )
    switch_on()
    give = partial(give_role, person_id=otto.pk, role=Role.ADMIN, target=GrantTarget())
    with mock.patch("alerts.deliveries.planning.plan", None):
        ask(lambda: give(actor=actor_of(admin)), actor_of(admin), "Otto stands in.")
    assert UnplannedAct.objects.count() == 1
    assert [plan_waiting(), plan_waiting()] == [1, 0]
    entry = Entry.objects.with_details().get(action="change.asked")
    assert {one.about for one in Card.objects.all()} == {f"change/{entry.pk}"}
    assert Delivery.objects.count() == 2
    shown = {
        one.name: str(notice_card(f"change/{entry.pk}", entry, one, Markup()))
        for one in Destination.objects.all()
    }
    assert "Otto" in shown["headers"]
    assert "Otto" not in shown["minimal"]


def test_second_factor_page_does_at_once_what_does_not_wait(signed_in, admin, second):
    RoleRule.objects.create(role="reviewer", needs_second_factor=True)
    answer = signed_in(admin).post(
        "/people/second-factor/set/", {"role": "reviewer", "needed": "no"}
    )
    assert answer.status_code == 302
    assert not PendingChange.objects.exists()
