"""The desk's mail where its domain is one of the gateway's: signed, and answered by mail.
With the gateway's own listener and a real mail server.
"""

import re

import dkim
import pytest
from django.db.models.functions import Now

from alerts.deliveries.deliver import deliver as attempt
from alerts.deliveries.planning import plan_waiting
from alerts.models import Delivery, Destination
from approvals.models import Comment
from audit.models import Entry
from common import desk_mail
from gateway.dkim import make_key
from gateway.domains import note_own_domain
from gateway.models import Account, Domain
from mirror.models import Mailbox
from notices import replies
from tests.factories import change_row, make_connection, make_message
from tests.integration.gateway.servers import connected, deliver, mail
from tests.integration.test_notices import comment
from tests.markup import says

pytestmark = pytest.mark.usefixtures("plans_at_once")

WAYS = "/account/notifications/test/"


@pytest.fixture
def domain(settings):
    """A domain of the gateway with its records in DNS, from which the desk mails."""
    settings.EMAIL_FROM = "Countersign Example <desk@acme.example>"
    domain = Domain.objects.create(
        account=Account.objects.create(slug="acme", name="Acme"),
        domain="acme.example",
        status="active",
        dkim_verified_at=Now(),
        dns_problems={"mx": ""},
    )
    make_key(domain)
    domain.refresh_from_db()
    note_own_domain()
    return domain


@pytest.fixture
def asked(server, reviewer, second_reviewer):
    """Ben is asked about a message by Ana."""
    message = make_message(make_connection(), subject="Prüfen …")
    comment(message, reviewer, "@Ben please look")
    plan_waiting()
    return message


def mailed(server):
    """Mail what is due, and return it as its bytes and parsed."""
    Delivery.objects.filter(state="due").update(next_attempt_at=Now())
    assert attempt(destination_id=Destination.objects.get().pk) == "delivered"
    return server.taken[-1].content, server.message(-1)


def test_mail_is_signed_with_its_unsubscribe_headers(
    server, domain, asked, signed_in, reviewer
):
    record = f"v=DKIM1; k=rsa; p={domain.dkim_public_key}".encode()

    def holds(content):
        return dkim.verify(content, dnsfunc=lambda name, **_: record)

    content, _ = mailed(server)
    assert b"s=" + domain.dkim_selector.encode() in content
    changed = [
        content.replace(line, b"")
        for line in re.findall(
            rb"(?m)^(?:List-Unsubscribe|List-Unsubscribe-Post|Reply-To): .*\r\n",
            content,
        )
    ]
    assert [holds(one) for one in (content, *changed)] == [True, False, False, False]
    seen = ("Signed by DKIM (acme.example, cs", "with the unsubscribe headers")
    says(signed_in(reviewer).post(WAYS, {"way": "email"}), 200, *seen)
    assert holds(server.taken[-1].content)


def test_mail_is_not_signed_nor_answered_where_the_domain_is_not_ours(
    server, domain, asked, signed_in, reviewer, settings
):
    # The note is of the domain before.
    settings.EMAIL_FROM = "desk@other.example"
    content, parsed = mailed(server)
    assert b"DKIM-Signature" not in content
    assert parsed["Reply-To"] is None
    assert "reply to this mail" not in content.decode()
    shown = signed_in(reviewer).post(WAYS, {"way": "email"})
    says(shown, 200, "Not signed here: no DKIM key of other.example is verified")
    note_own_domain()
    assert desk_mail.own_domain().name == "other.example"
    assert not desk_mail.own_domain().selector
    # The gateway has the domain, but DNS neither its key nor its mail server.
    settings.EMAIL_FROM = "desk@acme.example"
    change_row(domain, dkim_verified_at=None, dns_problems={"mx": "None."})
    note_own_domain()
    says(signed_in(reviewer).post(WAYS, {"way": "email"}), 200, "Not signed here")
    noted = desk_mail.own_domain()
    assert (noted.selector, noted.takes_mail) == ("", False)


@pytest.fixture
def reply(server, domain, asked, listener, second_reviewer, monkeypatch):
    """Reply to the mail as Ben, or as somebody else. Returns the status, and the texts of
    Ben's comments.
    """
    report = desk_mail.report_reply
    monkeypatch.setitem(vars(report), "delay", report)
    _, parsed = mailed(server)
    own = second_reviewer.email

    def send(text, to=parsed["Reply-To"], by=own, sender=own, **headers):
        content = mail(text, From=f"Ben <{by}>", To=to, **headers)
        with connected(listener) as client:
            status = deliver(client, content, to, sender=sender)
        texts = Comment.objects.filter(person=second_reviewer).values_list("text")
        return status, [text for (text,) in texts.order_by("pk")]

    send.to = parsed["Reply-To"]
    return send


QUOTED = (
    "> please look",
    "On Tue, 1 Dec 2026 at 10:00, Countersign wrote:",
    "Am Di., 1. Dez. 2026 schrieb Countersign Example <desk@acme.example>:",
    "On Tue, 1 Dec 2026 at 10:00, Countersign Example\n<desk@acme.example> wrote:",
    "________________________________\nFrom: Countersign Example <desk@acme.example>",
    "-- \nBen Okafor",
)


def test_reply_becomes_a_comment_once_and_decides_nothing(reply, asked):
    expected = []
    for number, quoted in enumerate(QUOTED):
        expected.append(f"Approve it, {number}: ask <dana@x.example> first.\n\nOr not.")
        text = f"{expected[-1]}\n\n{quoted}\n> Or not.\n"
        # The second is as when our answer to the first was lost.
        for _ in range(2):
            assert reply(text) == (250, expected), quoted
    assert reply("x" * 3000)[1][-1] == "x" * 2000
    asked.refresh_from_db()
    assert asked.state == "held"
    assert not asked.decisions.exists()
    entry = Entry.objects.filter(action="comment.added").latest("pk")
    assert entry.surface == "mail"
    # Ben has answered.
    assert not asked.questions.exists()


def test_reply_is_no_comment_of_a_stranger_a_program_or_who_may_not_comment(
    reply, second_reviewer, caplog
):
    name, _, domain = reply.to.rpartition("@")
    changed = f"{name[:-1]}{'0' if name[-1] != '0' else '1'}@{domain}"
    with pytest.raises(AssertionError):
        reply("Guessed", to=changed)
    assert reply("Forwarded to me", by="eve@northwind.example") == (250, [])
    assert reply("> Only quoted") == (250, [])
    assert reply("I am away", Auto_Submitted="auto-replied") == (250, [])
    assert reply("I am away", Precedence="bulk") == (250, [])
    assert reply("Not delivered", sender="") == (250, [])
    change_row(second_reviewer, is_active=False)
    assert reply("I have left") == (250, [])
    change_row(second_reviewer, is_active=True)
    second_reviewer.grants.all().delete()
    assert reply("I have no role") == (250, [])
    reasons = [one.reason for one in caplog.records if one.name == replies.__name__]
    assert len(reasons) == 4


def test_reply_is_not_offered_to_who_reads_mail_at_the_desk(
    server, domain, asked, second_reviewer
):
    change_row(Mailbox.objects.first(), address=second_reviewer.email)
    assert mailed(server)[1]["Reply-To"] is None
