"""Accounts that people create themselves, where the operator allows it (point 9)."""

import hashlib
import re
from datetime import timedelta
from email import message_from_bytes
from email.policy import default as modern

import pytest
from django.db.models import F
from django.test import Client
from django.utils import timezone

from gateway.accounts import signup
from gateway.models import Account, ApiKey, AuditLogEntry, Mailbox, Signup
from tests.integration.gateway.servers import MailServer
from tests.integration.gateway.world import World

ANA = "ana@acme-shop.example"
WISH = {
    "operator_name": "Acme Shop",
    "oversight_email": ANA,
    "physical_address": "1 Main Street",
    "accepted_tos": True,
    "accepted_operator_agreement": True,
    "accepted_anti_spam_policy": True,
}


@pytest.fixture(autouse=True)
def _open(settings, mail_server: MailServer, counting: None) -> None:
    settings.GATEWAY_SIGNUP_DOMAIN = "agents.example"


@pytest.fixture
def caller(request: pytest.FixtureRequest) -> str:
    """A unique client address, because requests are counted by address."""
    digest = hashlib.sha256(request.node.nodeid.encode()).digest()
    return f"203.0.113.{digest[0]}:{digest[1]}"


def post(path, caller, **body):
    return Client().post(f"/v1/{path}", body, content_type="application/json", REMOTE_ADDR=caller)


def solved(caller):
    """Solve a challenge by brute force, as clients do."""
    challenge = post("account/challenge", caller).json()
    work = (
        number
        for number in range(challenge["maxnumber"] + 1)
        if hashlib.sha256(f"{challenge['salt']}{number}".encode()).hexdigest() == challenge["challenge"]
    )
    return {name: challenge[name] for name in ("algorithm", "challenge", "salt", "signature")} | {"number": next(work)}


@pytest.fixture
def quick(monkeypatch):
    """Make challenges easy; the responses show that they are required."""
    monkeypatch.setattr("gateway.accounts.signup.MAX_NUMBER", 200)


pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("quick")]


def sign_up(caller, **fields):
    return post("account", caller, **WISH | {"pow_solution": solved(caller)} | fields)


def mailed(mail_server: MailServer):
    """Mail what is due, and return the code of the newest mail."""
    for signup_id in Signup.objects.filter(mailed_at=None).values_list("pk", flat=True):
        assert signup.mail_code(signup_id=signup_id) == "mailed"
    envelope = mail_server.taken[-1]
    text = message_from_bytes(envelope.content, policy=modern).get_content()
    assert (envelope.rcpt_tos, envelope.mail_from) == ([ANA], "accounts@agents.example")
    return re.search(r"[0-9A-Z]{3}-[0-9A-Z]{3}-[0-9A-Z]{3}", text)[0]


def test_account_is_created_once_by_the_mailed_code(mail_server: MailServer, caller):
    answer = sign_up(caller)
    assert (answer.status_code, answer.json()) == (202, {"status": "confirmation_sent"})
    assert not Account.objects.exists()
    code = mailed(mail_server)
    assert signup.mail_code(signup_id=Signup.objects.get().pk) == "nothing to mail"
    made = post("confirm", caller, code=code.lower().replace("-", " ")).json()
    assert (made["status"], made["mailbox_address"]) == ("active", "agent@acme-shop.agents.example")
    assert (made["oversight_mode"], made["oversight_email"]) == ("gated_send", ANA)
    world = World(Account.objects.get(), Mailbox.objects.get(), {"agent": made["api_key"]})
    assert world.send().status_code == 202
    assert world.call("GET", "/v1/oversight/pending").status_code == 403, "whoever writes does not approve"
    assert made["api_key"] not in str(list(ApiKey.objects.values()))
    assert AuditLogEntry.objects.filter(action="account.signed_up").exists()
    assert post("confirm", caller, code=code).status_code == 404
    assert Client().get("/v1/slug-check/acme-shop", REMOTE_ADDR=caller).json()["available"] is False
    conflict = sign_up(caller)
    assert (conflict.status_code, conflict.json()["suggestions"][0]) == (409, "acme-shop-2")


def test_code_can_be_mailed_again_and_is_valid_for_a_day(mail_server: MailServer, caller):
    sign_up(caller)
    first = mailed(mail_server)
    for address in (ANA, "nobody@else.example"):
        assert post("account/resend-confirmation", caller, oversight_email=address).status_code == 200
    assert not Signup.objects.filter(mailed_at=None).exists(), "not so soon again"
    Signup.objects.update(mailed_at=F("mailed_at") - timedelta(minutes=6))
    post("account/resend-confirmation", caller, oversight_email=ANA)
    second = mailed(mail_server)
    assert (second != first, post("confirm", caller, code=first).status_code) == (True, 404)
    Signup.objects.update(expires_at=timezone.now())
    assert post("confirm", caller, code=second).status_code == 404
    assert not Account.objects.exists()


def test_undelivered_code_is_mailed_again_by_the_sweep(mail_server: MailServer, caller):
    mail_server.mood = "busy"
    sign_up(caller)
    waiting = Signup.objects.get()
    assert signup.mail_code(signup_id=waiting.pk) == "not mailed"
    assert signup.enqueue_unmailed(timezone.now()) == 0, "not at once again"
    Signup.objects.update(next_try_at=timezone.now() - timedelta(seconds=1))
    assert signup.enqueue_unmailed(timezone.now()) == 1
    mail_server.mood = "ok"
    assert post("confirm", caller, code=mailed(mail_server)).status_code == 200
    assert signup.enqueue_unmailed(timezone.now()) == 0


def test_unknown_address_ends_the_sign_up_and_a_waiting_one_gets_no_second_mail(mail_server: MailServer, caller):
    for _ in range(2):
        assert sign_up(caller).status_code == 202
    assert Signup.objects.count() == 1
    mail_server.refuse = {ANA: "550 5.1.1 No such mailbox"}
    assert signup.mail_code(signup_id=Signup.objects.get().pk) == "not deliverable"
    assert not Signup.objects.exists()


def test_monitored_mode_is_granted_only_by_an_operator(mail_server: MailServer, caller):
    sign_up(caller, oversight_mode="monitored", operator_name="Eager")
    assert post("confirm", caller, code=mailed(mail_server)).json()["oversight_mode"] == "gated_send"


def test_invalid_sign_up_is_refused_with_a_sentence(mail_server: MailServer, caller, settings):
    solution = solved(caller)
    wrong = (
        {"accepted_tos": False},
        {"oversight_email": "nobody"},
        {"operator_name": "Win at http://evil.example"},
        {"operator_name": "!!!"},
        {"pow_solution": solution | {"number": solution["number"] + 1}},
        {"pow_solution": solution | {"signature": "0" * 64}},
        {"pow_solution": "0"},
        {"oversight_mode": "none"},
    )
    for fields in wrong:
        answer = post("account", caller, **WISH | {"pow_solution": solution} | fields)
        assert (answer.status_code in (400, 422), bool(answer.json()["error"])) == (True, True), fields
    assert post("account", caller, **WISH | {"pow_solution": solution}).status_code == 202
    used = post("account", caller, **WISH | {"pow_solution": solution, "oversight_email": "ben@acme-shop.example"})
    assert (used.status_code, used.json()["code"]) == (400, "used")
    statuses = {post("confirm", caller, code="AAA-AAA-AAA").status_code for _ in range(7)}
    assert statuses == {404, 429}, "guesses are counted"
    settings.GATEWAY_SIGNUP_DOMAIN = ""
    closed = post("account", caller, **WISH | {"pow_solution": solution})
    assert (closed.status_code, "created by its operator" in closed.json()["error"]) == (501, True)
