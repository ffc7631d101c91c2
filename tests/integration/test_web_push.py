"""Notifications of a person's browsers, by the documented protocol of Web Push."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from django.db.models.functions import Now
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode

from alerts.channels import web_push
from alerts.channels.web_push import encrypted
from alerts.deliveries.deliver import deliver
from alerts.deliveries.planning import plan_waiting
from alerts.models import Delivery, Destination
from notices.models import Notice
from tests.factories import make_message
from tests.integration.deciding import decide
from tests.integration.test_notices import assign
from tests.push import SUBSCRIPTION, make_browser, push_service, signed_claims

pytestmark = pytest.mark.usefixtures("plans_at_once")

PAGE = "/account/notifications/browsers/"


@pytest.fixture
def service(settings):
    with push_service() as served:
        settings.OUTGOING_ALLOW = [served.url]
        yield served


def push_due():
    """Plan what happened, and make one attempt at what is to be pushed."""
    plan_waiting()
    Delivery.objects.filter(state="due").update(next_attempt_at=Now())
    Destination.objects.update(waits_until=None)
    browser = Destination.objects.get(kind="web_push", switched_off_at=None)
    return deliver(destination_id=browser.pk)


def test_text_is_encrypted_as_the_standard_says(monkeypatch):
    # RFC 8291, section 5.
    sender = urlsafe_base64_decode("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw")
    salt = urlsafe_base64_decode("DGv6ra1nlYgDCS1FRnbzlw")
    key = ec.derive_private_key(int.from_bytes(sender), ec.SECP256R1())
    monkeypatch.setattr(web_push.ec, "generate_private_key", lambda curve: key)
    monkeypatch.setattr(web_push.os, "urandom", lambda size: salt)
    body = encrypted(
        b"When I grow up, I want to be a watermelon",
        "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        "BTBZMqHH6r4Tts7J_aSIgg",
    )
    assert urlsafe_base64_encode(body) == (
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3"
        "jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )


def test_notice_is_pushed_once_without_content_and_not_after_its_end(
    service, reviewer, second_reviewer, connection
):
    make_browser(second_reviewer, f"{service.url}/send/1")
    message = make_message(connection, subject="A secret subject")
    assign(message, second_reviewer, reviewer)
    assert push_due() == "delivered"
    [(content, headers)] = service.taken
    notice = Notice.objects.get()
    declared = content.pop("notification")
    assert content == {
        "web_push": 8030,
        "id": str(notice.pk),
        "text": "Assigned to you",
        "unread": 1,
    }
    assert declared["body"] == "Assigned to you"
    assert declared["navigate"].endswith(f"/notices/{notice.pk}/")
    assert headers["Content-Encoding"] == "aes128gcm"
    assert headers["Topic"].startswith("notice-")
    assert signed_claims(headers["Authorization"])["aud"] == service.url
    # What is decided before it was pushed never is.
    other = make_message(connection)
    assign(other, second_reviewer, reviewer)
    decide(other, reviewer, "reject", "No")
    push_due()
    assert len(service.taken) == 1


def test_person_switches_a_browser_on_and_off(
    service, signed_in, reviewer, second_reviewer
):
    client = signed_in(reviewer)
    typed = {**SUBSCRIPTION, "endpoint": f"{service.url}/send/1"}
    for _ in range(2):
        client.post(f"{PAGE}add/", typed)
    browser = Destination.objects.get(kind="web_push", switched_off_at=None)
    assert browser.owner == reviewer
    # Somebody else signs in and switches the same browser on: it is theirs alone.
    theirs = signed_in(second_reviewer)
    theirs.post(f"{PAGE}add/", typed)
    taken_over = Destination.objects.get(kind="web_push", switched_off_at=None)
    assert taken_over.owner == second_reviewer
    theirs.post(f"{PAGE}{taken_over.pk}/remove/")
    client.post(f"{PAGE}add/", typed)
    browser = Destination.objects.get(kind="web_push", switched_off_at=None)
    client.post(f"{PAGE}{browser.pk}/remove/")
    browser.refresh_from_db()
    assert (browser.url, browser.secret) == ("", "")
    assert client.post(f"{PAGE}{browser.pk}/remove/").status_code == 404
    for wrong in (
        {"endpoint": "http://push.example/1"},
        {"auth": "short"},
        {"p256dh": SUBSCRIPTION["p256dh"][:-4]},
        {"p256dh": "ä"},
    ):
        client.post(f"{PAGE}add/", {**typed, **wrong})
    assert not Destination.objects.filter(url__gt="").exists()


@pytest.mark.slow
# Chrome's service answered 404 for a time.
@pytest.mark.parametrize("gone", [404, 410])
def test_browser_that_is_gone_gets_nothing_more(
    service, reviewer, second_reviewer, connection, gone
):
    browser = make_browser(second_reviewer, f"{service.url}/send/1")
    for status, end in ((503, "postponed"), (gone, "switched off")):
        service.statuses = [status]
        assign(make_message(connection), second_reviewer, reviewer)
        assert push_due() == end, status
    browser.refresh_from_db()
    assert browser.switched_off_at is not None
