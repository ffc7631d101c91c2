"""Domains: claimed by accounts, verified by DNS, and never shared by two accounts."""

from datetime import timedelta
from email import message_from_bytes

import dkim
import pytest
from django.core.cache import cache
from django.utils import timezone

from common.waiting_mail import BAD_DOMAINS
from gateway import domains
from gateway.models import Account, Domain, Mailbox
from gateway.tasks import note_waiting
from tests.integration.gateway.dns_server import dns_server
from tests.integration.gateway.world import (
    leave,
    noted,
)

NORTHWIND = "northwind.example"


@pytest.fixture
def dns(settings, monkeypatch):
    # The server's responses count as in time on a busy machine, unless a test says
    # otherwise.
    monkeypatch.setattr(domains, "LIMIT", 60)
    monkeypatch.setattr(domains, "LIMIT_OF_ALL", 300)
    monkeypatch.setattr(domains, "_TRY", 60)
    with dns_server() as server:
        settings.DNS_SERVER = server.address
        yield server


def claim(world, domain=NORTHWIND):
    return world.post("/v1/domains", key="admin", domain=domain)


def verify(world, domain):
    return world.post(f"/v1/domains/{domain['id']}/verify", key="admin")


def prove(dns, domain, *more):
    (proof,) = [
        one["value"]
        for one in domain["dns_records"]
        if one["value"].startswith("countersign-domain=")
    ]
    dns.records[domain["domain"], "TXT"] = [f'"{proof}"', *more]


def test_domain_is_pending_until_dns_verifies_it(world, other, dns):
    domain = claim(world).json()
    for wrong in (lambda: None, lambda: prove(dns, claim(other).json())):
        wrong()
        assert verify(world, domain).json()["status"] == "pending"
    prove(dns, domain)
    seen = verify(world, domain).json()
    assert seen["status"] == "active"
    assert [one["verified"] for one in seen["dns_records"]] == [True] + [False] * 3
    assert noted("domain.verified").account_id == world.account.pk


def publish(dns, domain):
    """Put every record into DNS that the answer names, long texts in several strings as
    zone files have them.
    """
    dns.records.clear()
    for one in domain["dns_records"]:
        value = one["value"]
        text = (
            f"10 {value}."
            if one["type"] == "MX"
            else " ".join(
                f'"{value[start : start + 200]}"' for start in range(0, len(value), 200)
            )
        )
        dns.records.setdefault((one["name"], one["type"]), []).append(text)


@pytest.fixture
def public(settings):
    settings.PUBLIC_URL = "https://desk.acme.example"
    settings.EMAIL_URL = "smtp://mail.acme.example"


@pytest.mark.usefixtures("public")
def test_mail_of_a_verified_domain_is_signed(world, dns, mail_server):
    domain = {"id": Domain.objects.get(account=world.account).pk}

    def leaves():
        assert leave(world.approved()) == "sent"
        return bytes(mail_server.taken[-1].content)

    def holds(message):
        return dkim.verify(message, dnsfunc=lambda name, **_: published(dns, name))

    seen = verify(world, domain).json()
    assert b"DKIM-Signature" not in leaves()
    publish(dns, seen)
    assert verify(world, domain).json()["dkim_verified"] is True
    first = leaves()
    # Aligned with From, for DMARC.
    assert "d=acme.example;" in message_from_bytes(first)["DKIM-Signature"]
    changed = (first.replace(b"Hello", b"Hullo"), b"Subject: another\r\n" + first)
    assert [holds(one) for one in (first, *changed)] == [True, False, False]
    # Mailing lists add their own link, unless the message has one.
    own = b"List-Unsubscribe: <https://list.example/x>\r\n"
    Account.objects.update(physical_address="1 Road")
    Mailbox.objects.update(commercial=True)
    second = leaves()
    assert [holds(one) for one in (own + first, second, own + second)] == [
        True,
        True,
        False,
    ]
    # The next key takes over when DNS has it, and not before.
    rotate = f"/v1/domains/{domain['id']}/rotate-dkim"
    old = Domain.objects.get().dkim_selector
    assert world.post(rotate, key="admin").status_code == 200
    assert world.post(rotate, key="admin").json()["code"] == "dkim_key_waiting"
    seen = verify(world, domain).json()
    assert f"s={old};" in message_from_bytes(leaves())["DKIM-Signature"]
    publish(dns, seen)
    verify(world, domain)
    third = leaves()
    assert f"s={old};" not in message_from_bytes(third)["DKIM-Signature"]
    assert holds(third)
    assert Domain.objects.get().next_dkim_selector == ""
    # Aligned for SPF, too.
    assert mail_server.taken[-1].mail_from.endswith("@acme.example")


def published(dns, name):
    text = name.decode() if isinstance(name, bytes) else name
    (record,) = dns.records[text.rstrip("."), "TXT"]
    return record.replace('" "', "").strip('"').encode()


@pytest.mark.usefixtures("public")
def test_domain_whose_key_is_gone_from_dns_is_noted_for_the_desk(world, dns):
    domain = {"id": Domain.objects.get(account=world.account).pk}
    seen = verify(world, domain).json()
    publish(dns, seen)
    verify(world, domain)
    dns.records.clear()

    def noted_after(minutes):
        Domain.objects.update(looked_at=timezone.now() - timedelta(minutes=minutes))
        note_waiting()
        return cache.get(BAD_DOMAINS)

    assert noted_after(minutes=4) == []
    [(name, problem)] = noted_after(minutes=6)
    assert name == "acme.example"
    assert "signs the mail (DKIM)" in problem
    publish(dns, seen)
    assert noted_after(minutes=6) == []
