"""Mail about accounts: who gets a link whole, and what that proves; and the page that
tests each way. With a real mail server.
"""

import re

import pytest
from django.urls import reverse

from audit.models import Entry
from people.identities import Identities
from people.invitations.links import join, set_password
from people.models import Invitation, PendingChange, Person
from people.second_admin.setting import set_second_admin
from simple_form.simplify import simplify
from tests.factories import actor_of, change_row
from tests.integration.test_invitations import ANYBODY, NEW, PASSWORD, post_invitation
from tests.markup import says
from tests.push import make_browser, push_service

WAYS = "/account/notifications/test/"


def path_in(mail, start):
    """The path of the link in a mail, which both its texts have."""
    text = mail.get_body(["plain"]).get_content()
    html = mail.get_body(["html"]).get_content()
    assert not simplify(html).changes
    path = re.search(rf"https?://[^/\s]+({start}\S+)", text)[1]
    assert path in html
    return path


def token_of(mail):
    return path_in(mail, "/join/").split("/")[2]


def test_mailed_link_is_shown_to_nobody_and_proves_the_address_when_it_is_used(
    signed_in, admin, server
):
    answer, shown = post_invitation(signed_in(admin), by="mail")
    assert (answer.status_code, shown) == (302, "")
    says(signed_in(admin).get("/people/"), 200, f"Sent to {NEW}", "Mailed just now")
    token = token_of(server.message())
    assert server.taken[0].rcpt_tos == [NEW]
    nora = join(token=token, name="Nora", password=PASSWORD, actor=ANYBODY)
    assert Person.objects.get(pk=nora.pk).email_proved_at
    # Whoever invites chooses the address, and may have chosen their own.
    assert Identities().behind(nora.pk) == {nora.pk, admin.pk}

    page = reverse("password-link", args=[nora.pk])
    assert signed_in(admin).post(page, {"by": "mail"}).status_code == 302
    set_password(token=token_of(server.message(1)), password="x", actor=ANYBODY)
    assert Invitation.objects.get(kind="password").known_to == []
    assert Entry.objects.filter(action="person.link_mailed").count() == 2


def test_link_that_is_not_mailed_is_shown_and_proves_nothing(
    signed_in, admin, server, settings
):
    server.refuse[NEW] = "550 5.1.1 unknown"
    answer, path = post_invitation(signed_in(admin), by="mail")
    says(answer, 200, "It was not mailed.", "550 5.1.1 unknown", "Check the address")
    nora = join(token=path.split("/")[2], name="Nora", password=PASSWORD, actor=ANYBODY)
    assert Person.objects.get(pk=nora.pk).email_proved_at is None
    # Then its password link is not mailed either, whatever is posted.
    page = reverse("password-link", args=[nora.pk])
    says(signed_in(admin).post(page, {"by": "mail"}), 200, "/join/")
    settings.EMAIL_URL = ""
    answer, path = post_invitation(signed_in(admin), email="z@yourteam.example")
    says(answer, 200, "No mail server is set")
    assert path
    assert server.taken == []


@pytest.mark.parametrize("mood", ["ok", "busy", "ours"])
def test_password_link_of_two_admins_is_mailed_whole_or_shown_in_halves(
    signed_in, admin, second, reviewer, server, mailbox, mood
):
    if mood == "ours":
        # Reviewers of this mailbox would read the link.
        change_row(reviewer, email="Support+ana@yourteam.example")
        change_row(mailbox, address="support@yourteam.example")
    Person.objects.filter(pk=reviewer.pk).update(email_proved_at="2026-11-01T00:00Z")
    set_second_admin(actor=actor_of(admin), on=True)
    page = reverse("password-link", args=[reviewer.pk])
    asked = signed_in(admin).post(page, {"by": "mail"})
    packed = asked.text.partition('name="change" value="')[2].partition('"')[0]
    signed_in(admin).post("/changes/ask/", {"change": packed, "reason": "Forgot"})
    server.mood = "busy" if mood == "busy" else "ok"
    change = PendingChange.objects.get()
    client = signed_in(second)
    client.post(f"/changes/{change.pk}/accept/")
    change.refresh_from_db()
    assert change.state == "accepted"
    halves = {"secret", "second_half"} & change.change.keys()
    shown = client.get("/changes/")
    if mood != "ok":
        why = {"busy": "451 come back later", "ours": "a mailbox of this desk"}
        says(shown, 200, why[mood])
        assert len(halves) == 2
        return
    says(shown, 200, f"Sent to {reviewer.email}")
    assert halves == set()
    set_password(token=token_of(server.message()), password=PASSWORD, actor=ANYBODY)
    assert Identities().behind(reviewer.pk) == {reviewer.pk}


def test_page_tests_each_way_and_says_what_the_other_side_answered(
    signed_in, reviewer, admin, server, settings, discord
):
    ops = discord.destination(1).pk
    client = signed_in(reviewer)
    with push_service() as service:
        settings.OUTGOING_ALLOW = [*settings.OUTGOING_ALLOW, service.url]
        browser = make_browser(reviewer, f"{service.url}/send/1")
        test = {"way": browser.pk}
        says(client.post(WAYS, test), 200, "The push service accepted")
        service.statuses = [410]
        says(client.post(WAYS, test), 200, "The push service answered 410")
    for refusal, words in (
        ("", ("The mail server accepted",)),
        ("450 4.2.1 full", ("450 4.2.1 full", "Try again in a few minutes")),
        ("550 5.1.1 unknown", ("5.1.1 unknown", "Check the address")),
    ):
        server.refuse = {reviewer.email: refusal} if refusal else {}
        says(client.post(WAYS, {"way": "email"}), 200, *words)
    # The link in the mail proves the address, for its own person alone.
    path = path_in(server.message(), "/people/me/address/")
    for person, seen in ((admin, 409), (reviewer, 200)):
        assert signed_in(person).get(path).status_code == seen
    assert signed_in(admin).post(path).status_code == 409
    assert Person.objects.get(pk=reviewer.pk).email_proved_at is None
    signed_in(reviewer).post(path)
    assert Person.objects.get(pk=reviewer.pk).email_proved_at

    assert signed_in(reviewer).post(WAYS, {"way": ops}).status_code == 404
    assert signed_in(admin).post(WAYS, test).status_code == 404
    says(signed_in(admin).post(WAYS, {"way": ops}), 200, "#1", "Sent.")
    settings.EMAIL_URL = ""
    says(client.get(WAYS), 200, "No mail server is set")
