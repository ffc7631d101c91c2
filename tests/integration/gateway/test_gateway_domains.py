"""Domains: claimed by accounts, proved by DNS or the operator, and never had by two."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from gateway import dns_lookup
from gateway.models import AuditLogEntry, Domain, Mailbox
from tests.integration.gateway.dns_server import DnsServer, dns_server
from tests.integration.gateway.world import World, add_key, make_world

NORTHWIND = "northwind.example"


@pytest.fixture
def dns(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[DnsServer]:
    # However busy the machine: this server answers in time, unless a test says that it does not.
    monkeypatch.setattr(dns_lookup, "LIMIT", 60)
    monkeypatch.setattr(dns_lookup, "_TRY", 60)
    with dns_server() as server:
        settings.DNS_SERVER = server.address
        yield server


def claim(world: World, domain: str = NORTHWIND) -> Any:
    return world.call("POST", "/v1/domains", key="admin", json={"domain": domain})


def verify(world: World, told: dict[str, Any]) -> Any:
    return world.call("POST", f"/v1/domains/{told['id']}/verify", key="admin")


def prove(dns: DnsServer, told: dict[str, Any], *more: str) -> None:
    (proof,) = [one["value"] for one in told["dns_records"] if one["value"].startswith("countersign-domain=")]
    dns.records[told["domain"], "TXT"] = [f'"{proof}"', *more]


def give(domain: str, account: str) -> str:
    out = io.StringIO()
    call_command("gateway_domain", domain, account=account, stdout=out)
    return out.getvalue()


def test_domain_is_pending_until_dns_proves_it(world: World, other: World, dns: DnsServer):
    made = claim(world)
    told = made.json()
    assert (made.status_code, told["status"], told["verified_at"]) == (201, "pending", None)
    for wrong in (lambda: None, lambda: prove(dns, claim(other).json())):
        wrong()
        seen = verify(world, told)
        assert (seen.status_code, seen.json()["status"]) == (200, "pending")
    assert "No TXT record" in seen.json()["message"]

    prove(dns, told)
    seen = verify(world, told).json()
    assert (seen["status"], seen["message"]) == ("active", "The domain is active.")
    assert world.call("GET", f"/v1/domains/{told['id']}", key="admin").json()["verified_at"]
    assert [one["verified"] for one in seen["dns_records"]] == [True, False, False]
    actions = AuditLogEntry.objects.filter(account=world.account, resource_type="domain").order_by("id")
    assert [entry.action for entry in actions] == ["domain.added", "domain.verified"]


@pytest.mark.slow
def test_domain_shows_what_dns_says_of_its_mail(world: World, dns: DnsServer):
    told = claim(world).json()
    # The proof may stand in several strings of one record.
    token = Domain.objects.get(domain=NORTHWIND).token
    dns.records[NORTHWIND, "TXT"] = [f'"countersign-" "domain={token}"', '"v=spf1 a:mail.example ~all"']
    dns.records[NORTHWIND, "MX"] = ["10 mail.example."]
    seen = verify(world, told).json()
    assert (seen["status"], seen["spf_verified"], seen["mx_verified"]) == ("active", True, True)
    assert (seen["dkim_verified"], seen["return_path_verified"]) == (False, False)
    dns.records[NORTHWIND, "MX"] = ["0 ."]
    assert verify(world, told).json()["mx_verified"] is False


@pytest.mark.parametrize("mood", ["fail", pytest.param("silent", marks=pytest.mark.slow)])
def test_dns_that_fails_is_said_and_changes_nothing(
    world: World, dns: DnsServer, monkeypatch: pytest.MonkeyPatch, mood: str
):
    told = claim(world).json()
    prove(dns, told, '"v=spf1 -all"')
    for status, spf in (("pending", False), ("active", True)):
        dns.mood = mood
        with monkeypatch.context() as patched:
            patched.setattr(dns_lookup, "LIMIT", 0.1)
            seen = verify(world, told)
        assert (seen.status_code, seen.json()["status"], seen.json()["spf_verified"]) == (200, status, spf)
        assert "DNS could not be asked" in seen.json()["message"]
        dns.mood = "ok"
        assert verify(world, told).json()["spf_verified"] is True


def test_domain_of_another_account_or_twice_in_one_is_409(world: World, other: World, dns: DnsServer):
    mine, theirs = claim(world).json(), claim(other).json()
    again = claim(world, "NorthWind.example.")
    assert (again.status_code, again.json()["code"], again.json()["id"]) == (409, "domain_exists", mine["id"])
    prove(dns, theirs)
    assert verify(other, theirs).json()["status"] == "active"
    prove(dns, mine)
    assert verify(world, mine).json()["code"] == "domain_taken"
    world.call("DELETE", f"/v1/domains/{mine['id']}", key="admin")
    again = claim(world)
    assert (again.status_code, again.json()["code"]) == (409, "domain_taken")


def test_domain_is_kept_in_its_wire_form_and_one_that_nobody_can_own_is_422(world: World):
    kept = {" Acme.COM. ": "acme.com", "bücher.example": "xn--bcher-kva.example", "ＸＣＭＥ.com": "xcme.com"}
    assert {given: claim(world, given).json()["domain"] for given in kept} == kept
    nobodys = (
        *("com", "co.uk", "com.au", "localhost", "desk.local", "1.168.192.in-addr.arpa", "10.0.0.1", "", "a b.com"),
        *("https://acme.com", "ana@acme.com", "*.acme.com", "-a.com", "a..com", "xn--zz.com", "x" * 64 + ".com"),
    )
    answers = {given: claim(world, given) for given in nobodys}
    assert [given for given, answer in answers.items() if answer.status_code != 422] == []
    assert {answer.json()["field"] for answer in answers.values()} == {"domain"}


def test_domain_with_live_mailboxes_cannot_be_given_back(world: World):
    domain = Domain.objects.get(domain="acme.example")
    path = f"/v1/domains/{domain.pk}"
    answer = world.call("DELETE", path, key="admin")
    assert (answer.status_code, answer.json()["code"]) == (409, "domain_in_use")
    Mailbox.objects.update(is_active=False)
    assert world.call("DELETE", path, key="admin").json() == {"id": domain.pk, "status": "deleted"}
    assert world.call("GET", path, key="admin").status_code == 404


def test_domains_are_the_account_s_own_and_not_for_limited_keys(world: World, other: World, dns: DnsServer):
    told = claim(world).json()
    assert verify(other, told).status_code == 404
    assert dns.asked == 0
    names = [row["domain"] for row in other.call("GET", "/v1/domains", key="admin").json()["domains"]]
    assert names == ["globex.example"]
    add_key(world, "limited", ["admin"], mailbox_ids=[world.mailbox.pk])
    for method, path in (
        *(("GET", ""), ("POST", ""), ("GET", f"/{told['id']}"), ("DELETE", f"/{told['id']}")),
        ("POST", f"/{told['id']}/verify"),
    ):
        json = {"domain": "more.example"} if (method, path) == ("POST", "") else None
        answer = world.call(method, f"/v1/domains{path}", key="limited", json=json)
        assert (answer.status_code, answer.json()["code"]) == (403, "limited_key"), (method, path)


def test_operator_gives_a_domain_at_once(world: World, other: World):
    assert "shop.example  active" in give("Shop.example", "acme")
    given = Domain.objects.get(domain="shop.example")
    assert (given.account_id, given.status, given.verified_at is not None) == (world.account.pk, "active", True)
    give("shop.example", "acme")
    entry = AuditLogEntry.objects.get(action="domain.verified")
    assert (entry.actor_key, entry.metadata["by"]) == (None, "operator")
    for domain, account, says in (
        ("shop.example", "globex", "belongs to another account"),
        ("shop.example", "nobody", "no account named nobody"),
        ("shop", "acme", "such as example"),
    ):
        with pytest.raises(CommandError, match=says):
            give(domain, account)


def test_domain_of_a_deleted_account_can_be_had_again_but_not_its_addresses(world: World):
    def make(whose: World, name: str) -> Any:
        return whose.call("POST", "/v1/mailboxes", key="admin", json={"address": f"{name}@{NORTHWIND}"})

    give(NORTHWIND, "acme")
    assert make(world, "info").status_code == 201
    assert world.call("DELETE", "/v1/account", key="admin").status_code == 200
    heir = make_world("globex")
    give(NORTHWIND, "globex")
    again = make(heir, "info")
    assert (again.status_code, again.json()["code"]) == (409, "address_taken")
    assert make(heir, "new").status_code == 201
