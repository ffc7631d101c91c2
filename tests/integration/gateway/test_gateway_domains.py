"""Domains: claimed by accounts, verified by DNS or the operator, and never shared by
two accounts.
"""

import io
from email import message_from_bytes

import dkim
import pytest
from django.core.management import CommandError, call_command

from gateway import domains
from gateway.models import Account, AuditLogEntry, DkimKey, Domain, Mailbox
from tests.integration.gateway.dns_server import dns_server
from tests.integration.gateway.world import (
    add_key,
    leave,
    make_world,
    noted,
    refusal_of,
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


def give(domain, account):
    out = io.StringIO()
    call_command("gateway_domain", domain, account=account, stdout=out)
    return out.getvalue()


def test_domain_is_pending_until_dns_verifies_it(world, other, dns):
    made = claim(world)
    domain = made.json()
    assert made.status_code == 201
    assert domain["status"] == "pending"
    assert domain["verified_at"] is None
    for wrong in (lambda: None, lambda: prove(dns, claim(other).json())):
        wrong()
        seen = verify(world, domain)
        assert seen.status_code == 200
        assert seen.json()["status"] == "pending"
    assert "No TXT record" in seen.json()["message"]

    prove(dns, domain)
    seen = verify(world, domain).json()
    assert seen["status"] == "active"
    assert seen["message"].startswith("The domain is active. ")
    assert world.get(f"/v1/domains/{domain['id']}", key="admin")["verified_at"]
    assert [one["verified"] for one in seen["dns_records"]] == [
        True,
        False,
        False,
        False,
    ]
    actions = AuditLogEntry.objects.filter(
        account=world.account, resource_type="domain"
    ).order_by("id")
    assert [entry.action for entry in actions] == ["domain.added", "domain.verified"]


def publish(dns, domain):
    """Put every record into DNS that the answer names, long texts in several strings as
    zone files have them.
    """
    dns.records.clear()
    for one in domain["dns_records"]:
        value = f"10 {one['value']}." if one["type"] == "MX" else quoted(one["value"])
        dns.records.setdefault((one["name"], one["type"]), []).append(value)


def quoted(text):
    return " ".join(
        f'"{text[start : start + 200]}"' for start in range(0, len(text), 200)
    )


@pytest.fixture
def public(settings):
    settings.PUBLIC_URL = "https://desk.acme.example"
    settings.EMAIL_URL = "smtp://mail.acme.example"


@pytest.mark.usefixtures("public")
def test_each_dns_record_is_listed_exactly_and_checked_separately(world, dns):
    domain = claim(world).json()
    names = [(one["type"], one["name"]) for one in domain["dns_records"]]
    selector = DkimKey.objects.get().selector
    assert names == [
        ("TXT", NORTHWIND),
        ("TXT", f"{selector}._domainkey.{NORTHWIND}"),
        ("TXT", NORTHWIND),
        ("TXT", f"_dmarc.{NORTHWIND}"),
        ("MX", NORTHWIND),
    ]
    assert domain["dns_records"][2]["value"] == "v=spf1 a:mail.acme.example ~all"
    publish(dns, domain)
    seen = verify(world, domain).json()
    assert [one["problem"] for one in seen["dns_records"]] == [None] * 5
    flags = (
        "dkim_verified",
        "spf_verified",
        "dmarc_verified",
        "mx_verified",
        "return_path_verified",
    )
    assert [seen[flag] for flag in flags] == [True] * 5
    wrong = {
        1: ("v=DKIM1; k=rsa; p=AAAA", "is a different one"),
        2: ("v=spf1 a:other.example -all", "does not name a:mail.acme.example"),
        3: ("v=DMARC2; p=none", "No DMARC record"),
        4: (".", "cannot receive mail"),
    }
    for number, (value, says) in wrong.items():
        publish(dns, {"dns_records": [*domain["dns_records"]]})
        kind, name = names[number]
        others = [
            one
            for one in dns.records[name, kind]
            if domain["dns_records"][number]["value"] not in one.replace('" "', "")
        ]
        dns.records[name, kind] = [
            *others,
            f"0 {value}" if kind == "MX" else f'"{value}"',
        ]
        problems = [
            one["problem"] for one in verify(world, domain).json()["dns_records"]
        ]
        assert [position for position, one in enumerate(problems) if one] == [number], (
            problems
        )
        assert says in problems[number]
    # A policy that refers to others may name the mail server there, but references are
    # not followed.
    publish(dns, domain)
    dns.records[NORTHWIND, "TXT"] = [
        dns.records[NORTHWIND, "TXT"][0],
        '"v=spf1 include:_spf.example ~all"',
    ]
    assert (
        "includes were not checked"
        in verify(world, domain).json()["dns_records"][2]["problem"]
    )


def test_records_never_name_an_address_that_others_cannot_reach(world, settings):
    for public, mail in (
        ("http://127.0.0.1:8000", "smtp://127.0.0.1:25"),
        ("http://localhost", "smtp://10.0.0.5"),
        ("http://desk", ""),
    ):
        settings.PUBLIC_URL = public
        settings.EMAIL_URL = mail
        domain = world.get(
            f"/v1/domains/{Domain.objects.get(account=world.account).pk}", key="admin"
        )
        values = " ".join(one["value"] for one in domain["dns_records"])
        has_mx = "MX" in str(domain["dns_records"])
        assert "v=spf1 mx ~all" in values
        assert "127.0" not in values
        assert "10.0" not in values
        assert has_mx is False


@pytest.mark.usefixtures("public")
def test_mail_of_a_verified_domain_is_signed_and_dkim_keys_rotate(
    world, dns, mail_server
):
    def leaves():
        assert leave(world.approved()) == "sent"
        return bytes(mail_server.taken[-1].content)

    def holds(message):
        return bool(
            dkim.verify(message, dnsfunc=lambda name, **_: published(dns, name))
        )

    domain = world.post(
        f"/v1/domains/{Domain.objects.get(account=world.account).pk}/rotate-dkim",
        key="admin",
    ).json()
    assert b"DKIM-Signature" not in leaves()
    publish(dns, domain)
    assert verify(world, domain).json()["dkim_verified"] is True
    first = leaves()
    signature = message_from_bytes(first)["DKIM-Signature"]
    old = DkimKey.objects.get().selector
    # Aligned with From, for DMARC.
    assert f"s={old};" in signature
    assert "d=acme.example;" in signature
    assert holds(first) is True
    changed = (first.replace(b"Hello", b"Hullo"), b"Subject: another\r\n" + first)
    assert [holds(one) for one in changed] == [False, False]
    assert mail_server.taken[-1].mail_from.endswith("@acme.example"), (
        "aligned for SPF, too"
    )

    domain = world.post(f"/v1/domains/{domain['id']}/rotate-dkim", key="admin").json()
    again = world.post(f"/v1/domains/{domain['id']}/rotate-dkim", key="admin")
    assert refusal_of(again) == (409, "dkim_key_waits")
    assert f"s={old};" in message_from_bytes(leaves())["DKIM-Signature"]
    publish(dns, domain)
    verify(world, domain)
    second = leaves()
    assert f"s={old};" not in message_from_bytes(second)["DKIM-Signature"]
    assert [holds(first), holds(second)] == [True, True]
    # Mailing lists add their own link, unless the message has one.
    own = b"List-Unsubscribe: <https://list.example/x>\r\n"
    Account.objects.update(physical_address="1 Road")
    Mailbox.objects.update(commercial=True)
    third = leaves()
    assert [holds(own + second), holds(third), holds(own + third)] == [
        True,
        True,
        False,
    ]


def published(dns, name):
    text = name.decode() if isinstance(name, bytes) else name
    (record,) = dns.records[text.rstrip("."), "TXT"]
    return record.replace('" "', "").strip('"').encode()


@pytest.mark.parametrize(
    "mood", ["fail", pytest.param("silent", marks=pytest.mark.slow)]
)
def test_dns_failure_is_reported_and_changes_nothing(world, dns, monkeypatch, mood):
    domain = claim(world).json()
    prove(dns, domain, '"v=spf1 mx -all"')
    for status, spf in (("pending", False), ("active", True)):
        dns.mood = mood
        with monkeypatch.context() as patched:
            patched.setattr(domains, "LIMIT", 0.1)
            seen = verify(world, domain)
        assert seen.status_code == 200
        assert seen.json()["status"] == status
        assert seen.json()["spf_verified"] == spf
        assert "The DNS lookup of" in seen.json()["message"]
        dns.mood = "ok"
        assert verify(world, domain).json()["spf_verified"] is True


def test_domain_of_another_account_or_twice_in_one_is_409(world, other, dns):
    mine = claim(world).json()
    theirs = claim(other).json()
    again = claim(world, "NorthWind.example.")
    assert again.status_code == 409
    assert again.json()["code"] == "domain_exists"
    assert again.json()["id"] == mine["id"]
    prove(dns, theirs)
    assert verify(other, theirs).json()["status"] == "active"
    prove(dns, mine)
    assert verify(world, mine).json()["code"] == "domain_taken"
    world.delete(f"/v1/domains/{mine['id']}")
    again = claim(world)
    assert refusal_of(again) == (409, "domain_taken")


def test_domain_is_stored_in_its_wire_form_and_one_that_nobody_can_own_is_422(world):
    wire_forms = {
        " Acme.COM. ": "acme.com",
        "bücher.example": "xn--bcher-kva.example",
        "ＸＣＭＥ.com": "xcme.com",
    }
    assert {
        name: claim(world, name).json()["domain"] for name in wire_forms
    } == wire_forms
    nobodys = (
        "com",
        "co.uk",
        "com.au",
        "github.io",
        "localhost",
        "desk.local",
        "1.168.192.in-addr.arpa",
        "10.0.0.1",
        "",
        "a b.com",
        "https://acme.com",
        "ana@acme.com",
        "*.acme.com",
        "-a.com",
        "a..com",
        "xn--zz.com",
        "x" * 64 + ".com",
    )
    answers = {name: claim(world, name) for name in nobodys}
    assert [name for name, answer in answers.items() if answer.status_code != 422] == []
    assert {answer.json()["field"] for answer in answers.values()} == {"domain"}


def test_domain_with_live_mailboxes_cannot_be_deleted(world):
    domain = Domain.objects.get(domain="acme.example")
    path = f"/v1/domains/{domain.pk}"
    answer = world.delete(path)
    assert refusal_of(answer) == (409, "domain_in_use")
    Mailbox.objects.update(is_active=False)
    assert world.delete(path).json() == {
        "id": domain.pk,
        "status": "deleted",
    }
    assert world.call("GET", path, key="admin").status_code == 404


def test_domains_belong_to_one_account_and_are_closed_to_limited_keys(
    world, other, dns
):
    domain = claim(world).json()
    assert verify(other, domain).status_code == 404
    assert dns.asked == 0
    names = [row["domain"] for row in other.get("/v1/domains", key="admin")["domains"]]
    assert names == ["globex.example"]
    add_key(world, "limited", ["admin"], mailbox_ids=[world.mailbox.pk])
    for method, path in (
        ("GET", ""),
        ("POST", ""),
        ("GET", f"/{domain['id']}"),
        ("DELETE", f"/{domain['id']}"),
        ("POST", f"/{domain['id']}/verify"),
    ):
        json = {"domain": "more.example"} if (method, path) == ("POST", "") else None
        answer = world.call(method, f"/v1/domains{path}", key="limited", json=json)
        assert refusal_of(answer) == (403, "limited_key"), (method, path)


def test_operator_assigns_a_verified_domain(world, other):
    assert "shop.example  active" in give("Shop.example", "acme")
    shop = Domain.objects.get(domain="shop.example")
    assert shop.account_id == world.account.pk
    assert shop.status == "active"
    assert shop.verified_at is not None
    give("shop.example", "acme")
    entry = noted("domain.verified")
    assert entry.actor_key is None
    assert entry.metadata["by"] == "operator"
    for domain, account, says in (
        ("shop.example", "globex", "belongs to another account"),
        ("shop.example", "nobody", "no account named nobody"),
        ("shop", "acme", "such as example"),
    ):
        with pytest.raises(CommandError, match=says):
            give(domain, account)


def test_domain_of_a_deleted_account_can_be_reused_but_not_its_addresses(world):
    def make(whose, name):
        return whose.post("/v1/mailboxes", key="admin", address=f"{name}@{NORTHWIND}")

    give(NORTHWIND, "acme")
    assert make(world, "info").status_code == 201
    assert world.delete("/v1/account").status_code == 200
    heir = make_world("globex")
    give(NORTHWIND, "globex")
    again = make(heir, "info")
    assert refusal_of(again) == (409, "address_taken")
    assert make(heir, "new").status_code == 201
