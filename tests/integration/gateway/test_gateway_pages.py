"""Lists of the gateway that have pages: a walk meets every row once, and a client that
sends no limit reads up to 1,000 rows.
"""

import pytest

from gateway.models import (
    Allowlist,
    AllowlistEntry,
    ApiKey,
    Domain,
    Mailbox,
    UpgradeRequest,
    Webhook,
)
from tests.integration.gateway.world import add_mailbox, bad_field_of, make_inbound
from tests.integration.gateway_served import served_gateway
from tests.standin import multimail
from upstream.admin import AdminClient


def more_mailboxes(world):
    for number in range(5):
        add_mailbox(world, f"box{number}")
    return Mailbox.objects.filter(account=world.account)


def more_webhooks(world):
    for _ in range(5):
        world.listen("message.sent")
    return Webhook.objects.all()


def more_domains(world):
    for number in range(5):
        domain = {"domain": f"d{number}.acme.example"}
        assert world.post("/v1/domains", key="admin", **domain).status_code == 201
    return Domain.objects.filter(account=world.account)


def more_entries(world):
    patterns = [f"{letter}.example" for letter in "ecadb"]
    assert world.allow(*patterns, kind="bypass", mode="monitor").status_code == 200
    return AllowlistEntry.objects.filter(allowlist__kind=Allowlist.Kind.BYPASS)


def more_upgrade_requests(world):
    for mailbox in more_mailboxes(world):
        path = f"/v1/mailboxes/{mailbox.pk}/request-upgrade"
        asked = world.post(path, key="admin", target_mode="monitored")
        assert asked.status_code == 200, asked.content
    return UpgradeRequest.objects.all()


LISTS = {
    "/v1/mailboxes": ("mailboxes", more_mailboxes),
    "/v1/webhooks": ("webhooks", more_webhooks),
    "/v1/domains": ("domains", more_domains),
    "/v1/api-keys": ("api_keys", lambda world: ApiKey.objects.all()),
    "/v1/upgrade-requests": ("requests", more_upgrade_requests),
    "/v1/mailboxes/support@acme.example/allowlist": ("entries", more_entries),
}


@pytest.mark.parametrize("path", LISTS)
def test_walk_through_a_list_meets_every_row_once(world, path):
    name, add = LISTS[path]
    wanted = {row.pk for row in add(world)}
    assert len(wanted) > 4
    found = [row["id"] for row in world.walk(path, name, key="admin")]
    assert len(found) == len(wanted)
    assert set(found) == wanted
    whole = world.get(path, key="admin")
    assert [row["id"] for row in whole[name]] == found
    assert whole["cursor"] is None
    refused = world.call("GET", f"{path}?cursor={'x' * 10_000}", key="admin")
    assert refused.status_code == 422


def test_list_without_a_limit_has_1000_rows_and_the_desk_reads_all_pages(world):
    Mailbox.objects.bulk_create(
        Mailbox(
            account=world.account,
            address=f"box{number}@acme.example",
            oversight_mode="gated_send",
            default_gate_timing="gate_first",
        )
        for number in range(1_000)
    )
    for path in ("/v1/mailboxes", "/v1/account"):
        first = world.get(path, key="reader")
        assert len(first["mailboxes"]) == 1_000
        rest = world.get(f"/v1/mailboxes?cursor={first['cursor']}", key="reader")
        assert len(rest["mailboxes"]) == 1
        assert rest["cursor"] is None
    with served_gateway() as served:
        key = world.keys["admin"]
        desk = AdminClient(base_url=served.url, key=key, within=60.0)
        listed = desk.list_mailboxes()
    assert len({row["id"] for row in listed}) == 1_001


def test_desk_ends_at_a_host_that_repeats_its_page():
    page = {"webhooks": [{"id": "1"}, {"id": "2"}], "cursor": "again"}
    with multimail() as host:
        host.answers["/v1/webhooks"] = (200, page)
        admin = AdminClient(base_url=host.url, key="mm_live_x", within=60.0)
        assert [row["id"] for row in admin.list_webhooks()] == ["1", "2"]
    assert len(host.calls) == 2


def test_pages_of_a_thread_lead_to_its_beginning(world):
    sent = [make_inbound(world).pk for _ in range(5)]
    path = f"{world.base}/threads/t"
    whole = world.get(path)
    assert [row["id"] for row in whole["emails"]] == sent
    assert (whole["truncated"], whole["cursor"]) == (False, None)
    newest = world.get(f"{path}?limit=2")
    before = world.get(f"{path}?limit=3&cursor={newest['cursor']}&bodies=true")
    assert [row["id"] for row in before["emails"] + newest["emails"]] == sent
    assert before["emails"][0]["markdown"] == "Where is it?"
    for page, is_truncated in ((newest, True), (before, False)):
        assert page["truncated"] is is_truncated
        for fact in ("message_count", "last_activity", "has_unanswered_inbound"):
            assert page[fact] == whole[fact]
    refused = world.call("GET", f"{path}?limit=few")
    assert bad_field_of(refused) == (422, "limit")
