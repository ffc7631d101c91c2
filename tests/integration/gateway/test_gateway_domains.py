"""Domains: claimed by accounts, proved by DNS or the operator, and never had by two."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from gateway import dns_lookup
from gateway.models import ApiKey, AuditLogEntry, Domain, Mailbox
from tests.integration.gateway.dns_server import DnsServer, dns_server
from tests.integration.gateway.world import World, add_key, make_world


@pytest.fixture
def dns(settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[DnsServer]:
    monkeypatch.setattr(dns_lookup, "LIMIT", 0.3)
    monkeypatch.setattr(dns_lookup, "_TRY", 0.1)
    with dns_server() as server:
        settings.DNS_SERVER = server.address
        yield server


def claim(world: World, domain: str = "northwind.example") -> Any:
    return world.call("POST", "/v1/domains", key="admin", json={"domain": domain})


def verify(world: World, domain_id: str) -> Any:
    return world.call("POST", f"/v1/domains/{domain_id}/verify", key="admin")


def prove(dns: DnsServer, told: dict[str, Any], *more: str) -> None:
    (proof,) = [one["value"] for one in told["dns_records"] if one["value"].startswith("countersign-domain=")]
    dns.records[told["domain"], "TXT"] = [f'"{proof}"', *more]


def test_domain_is_pending_until_dns_proves_it(world: World, dns: DnsServer):
    made = claim(world)
    told = made.json()
    assert (made.status_code, told["status"], told["verified_at"]) == (201, "pending", None)
    prove(dns, told)
    seen = verify(world, told["id"]).json()
    assert (seen["status"], seen["message"]) == ("active", "The domain is active.")
    assert world.call("GET", f"/v1/domains/{told['id']}", key="admin").json()["verified_at"]
    assert [one["verified"] for one in seen["dns_records"]] == [True, False, False]
    actions = AuditLogEntry.objects.filter(resource_type="domain").order_by("id").values_list("action", flat=True)
    assert list(actions) == ["domain.added", "domain.verified"]


def test_domain_without_the_right_record_stays_pending(world: World, other: World, dns: DnsServer):
    told = claim(world).json()
    prove(dns, claim(other).json())
    seen = verify(world, told["id"]).json()
    assert seen["status"] == "pending"
    assert "No TXT record" in seen["message"]


def test_domain_that_dns_does_not_know_stays_pending(world: World, dns: DnsServer):
    seen = verify(world, claim(world).json()["id"])
    assert (seen.status_code, seen.json()["status"]) == (200, "pending")


def test_domain_shows_what_dns_says_of_its_mail(world: World, dns: DnsServer):
    told = claim(world).json()
    prove(dns, told, '"v=spf1 a:mail.example ~all"')
    dns.records["northwind.example", "MX"] = ["10 mail.example."]
    seen = verify(world, told["id"]).json()
    assert (seen["spf_verified"], seen["mx_verified"]) == (True, True)
    assert (seen["dkim_verified"], seen["return_path_verified"]) == (False, False)
    dns.records["northwind.example", "MX"] = ["0 ."]
    assert verify(world, told["id"]).json()["mx_verified"] is False


def test_proof_in_several_strings_of_one_record_is_found(world: World, dns: DnsServer):
    told = claim(world).json()
    token = Domain.objects.get(domain="northwind.example").token
    dns.records["northwind.example", "TXT"] = [f'"countersign-" "domain={token}"']
    assert verify(world, told["id"]).json()["status"] == "active"


@pytest.mark.parametrize("mood", ["fail", "silent"])
def test_dns_that_fails_is_said_and_changes_nothing(world: World, dns: DnsServer, mood: str):
    told = claim(world).json()
    prove(dns, told, '"v=spf1 -all"')
    dns.mood = mood
    seen = verify(world, told["id"])
    assert (seen.status_code, seen.json()["status"]) == (200, "pending")
    assert "DNS could not be asked" in seen.json()["message"]
    dns.mood = "ok"
    assert verify(world, told["id"]).json()["spf_verified"] is True
    dns.mood = mood
    seen = verify(world, told["id"]).json()
    assert (seen["status"], seen["spf_verified"]) == ("active", True)


def test_domain_of_another_account_is_409(world: World, other: World, dns: DnsServer):
    mine, theirs = claim(world).json(), claim(other).json()
    prove(dns, theirs)
    assert verify(other, theirs["id"]).json()["status"] == "active"
    prove(dns, mine)
    assert verify(world, mine["id"]).json()["code"] == "domain_taken"
    world.call("DELETE", f"/v1/domains/{mine['id']}", key="admin")
    again = claim(world)
    assert (again.status_code, again.json()["code"]) == (409, "domain_taken")


def test_domain_twice_in_one_account_is_409(world: World):
    first = claim(world).json()
    again = claim(world, "NorthWind.example.")
    assert (again.status_code, again.json()["code"], again.json()["id"]) == (409, "domain_exists", first["id"])


@pytest.mark.parametrize(
    ("given", "kept"),
    [(" Acme.COM. ", "acme.com"), ("bücher.example", "xn--bcher-kva.example"), ("ＡＣＭＥ.com", "acme.com")],
)
def test_domain_is_kept_in_its_wire_form(world: World, given: str, kept: str):
    assert claim(world, given).json()["domain"] == kept


@pytest.mark.parametrize(
    "given",
    [
        *("com", "co.uk", "com.au", "localhost", "desk.local", "1.168.192.in-addr.arpa", "10.0.0.1", "", "a b.com"),
        *("https://acme.com", "ana@acme.com", "*.acme.com", "-a.com", "a..com", "xn--zz.com", "x" * 64 + ".com"),
    ],
)
def test_domain_that_nobody_can_own_is_422(world: World, given: str):
    answer = claim(world, given)
    assert (answer.status_code, answer.json()["field"]) == (422, "domain")


def test_domain_with_live_mailboxes_cannot_be_given_back(world: World):
    domain = Domain.objects.get(domain="acme.example")
    path = f"/v1/domains/{domain.pk}"
    answer = world.call("DELETE", path, key="admin")
    assert (answer.status_code, answer.json()["code"]) == (409, "domain_in_use")
    Mailbox.objects.update(is_active=False)
    assert world.call("DELETE", path, key="admin").json() == {"id": domain.pk, "status": "deleted"}
    assert world.call("GET", path, key="admin").status_code == 404


def test_domains_are_the_account_s_own(world: World, other: World, dns: DnsServer):
    path = f"/v1/domains/{claim(world).json()['id']}"
    assert other.call("GET", path, key="admin").status_code == 404
    assert other.call("DELETE", path, key="admin").status_code == 404
    assert verify(other, path.rpartition("/")[2]).status_code == 404
    assert dns.asked == 0
    names = [row["domain"] for row in other.call("GET", "/v1/domains", key="admin").json()["domains"]]
    assert names == ["globex.example"]


@pytest.mark.parametrize("key", ["agent", "desk", "reader"])
def test_domains_need_the_admin_scope(world: World, key: str):
    assert world.call("GET", "/v1/domains", key=key).status_code == 403


def test_key_limited_to_mailboxes_has_no_business_with_domains(world: World):
    add_key(world, "limited", ["admin"])
    ApiKey.objects.filter(name="Key limited").update(mailbox_ids=[world.mailbox.pk])
    domain = Domain.objects.get()
    body = {"domain": "northwind.example"}
    calls = [("GET", ""), ("POST", ""), ("GET", f"/{domain.pk}"), ("DELETE", f"/{domain.pk}")]
    calls.append(("POST", f"/{domain.pk}/verify"))
    for method, path in calls:
        json = body if (method, path) == ("POST", "") else None
        answer = world.call(method, f"/v1/domains{path}", key="limited", json=json)
        assert (answer.status_code, answer.json()["code"]) == (403, "limited_key")


def test_operator_gives_a_domain_at_once(world: World, other: World):
    out = io.StringIO()
    call_command("gateway_domain", "Shop.example", account="acme", stdout=out)
    given = Domain.objects.get(domain="shop.example")
    assert (given.account_id, given.status, given.verified_at is not None) == (world.account.pk, "active", True)
    assert "shop.example  active" in out.getvalue()
    call_command("gateway_domain", "shop.example", account="acme", stdout=out)
    entry = AuditLogEntry.objects.get(action="domain.verified")
    assert (entry.actor_key, entry.metadata["by"]) == (None, "operator")
    with pytest.raises(CommandError, match="belongs to another account"):
        call_command("gateway_domain", "shop.example", account="globex")
    with pytest.raises(CommandError, match="no account named nobody"):
        call_command("gateway_domain", "shop.example", account="nobody")
    with pytest.raises(CommandError, match="such as example"):
        call_command("gateway_domain", "shop", account="acme")


def test_domain_of_a_deleted_account_can_be_had_again_but_not_its_addresses(world: World):
    call_command("gateway_domain", "northwind.example", account="acme", stdout=io.StringIO())
    assert (
        world.call("POST", "/v1/mailboxes", key="admin", json={"address": "info@northwind.example"}).status_code == 201
    )
    assert world.call("DELETE", "/v1/account", key="admin").status_code == 200
    heir = make_world("globex")
    call_command("gateway_domain", "northwind.example", account="globex", stdout=io.StringIO())
    again = heir.call("POST", "/v1/mailboxes", key="admin", json={"address": "info@northwind.example"})
    assert (again.status_code, again.json()["code"]) == (409, "address_taken")
    assert heir.call("POST", "/v1/mailboxes", key="admin", json={"address": "new@northwind.example"}).status_code == 201
