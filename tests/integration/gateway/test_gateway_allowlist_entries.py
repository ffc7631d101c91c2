"""MultiMail's own calls on a mailbox's allowlist: entries one by one, its mode, and
whom it names.
"""

from datetime import timedelta

from django.utils import timezone

from gateway import allowlists
from gateway.models import AllowlistEntry, ApprovalRequest, AuditLogEntry, Mailbox
from gateway.states import Mode
from tests.integration.gateway.world import add_key, refusal_of

DANA = "dana@northwind.example"
EVE = "eve@evil.example"


def call(world, method, path="", key="admin", **body):
    return world.call(
        method, f"{world.base}/allowlist{path}", key=key, json=body or None
    )


def confirmed(world, method, path="", **body):
    """Call, and call again with the code that the first call asked for."""
    asked = call(world, method, path, **body)
    assert asked.status_code == 202, asked.content
    assert asked.json()["status"] == "pending_approval", asked.content
    code = ApprovalRequest.objects.latest("created_at").code
    return call(world, method, path, **body, approval_code=code)


def entries(world):
    body = call(world, "GET", key="reader").json()
    assert body["mailbox_id"] == world.mailbox.pk
    assert body["count"] == len(body["entries"])
    return {one["pattern"]: one for one in body["entries"]}


def version(world):
    return int(call(world, "GET", "?kind=bypass").json()["version"])


def test_entry_takes_a_code_and_stands_on_the_list_that_the_desk_replaces(world):
    assert entries(world) == {}
    assert version(world) == 0
    answer = confirmed(
        world, "POST", pattern=" *@Northwind.example", note="Our printer"
    )
    assert answer.status_code == 201
    added = answer.json()
    assert added["pattern"] == "*@northwind.example"
    assert added["note"] == "Our printer"
    assert added["added_by"] == world.key_id("admin")
    assert "off" in added["notice"]
    del added["notice"]
    assert entries(world) == {"*@northwind.example": added}
    whole = call(world, "GET", "?kind=bypass").json()
    assert whole["mode"] == "off"
    assert whole["version"] == 1
    assert [(one["pattern"], one["note"]) for one in whole["entries"]] == [
        ("northwind.example", "Our printer")
    ]
    # Who replaces what they read before gets 409; an entry that stays keeps its id and
    # who added it.
    assert world.allow("x.example", kind="bypass", version=0).status_code == 409
    assert (
        world.allow("northwind.example", "*.x.example", kind="bypass").status_code
        == 200
    )
    assert entries(world)["*@northwind.example"] == added | {"note": None}
    assert call(world, "DELETE", f"/{added['id']}").json() == {
        "id": added["id"],
        "status": "removed",
    }
    assert list(entries(world)) == ["*.x.example"]
    assert version(world) == 3
    facts = (
        AuditLogEntry.objects.filter(action="allowlist.changed")
        .order_by("id")
        .values_list("metadata", flat=True)
    )
    assert [
        (one["version"], one.get("added"), one.get("removed")) for one in facts
    ] == [
        (1, ["northwind.example"], None),
        (3, None, ["northwind.example"]),
    ]


def test_entry_has_an_effect_once_an_operator_enforces_the_list(world):
    added = confirmed(world, "POST", pattern=DANA).json()
    assert "no message skips the review" in added["notice"]
    assert world.send().json()["oversight_status"] == "pending_approval"
    assert call(world, "PUT", "/mode", mode="monitor").json()["mode"] == "monitor"
    assert confirmed(world, "PUT", "/mode", mode="Enforce").json()["mode"] == "enforce"
    assert entries(world)[DANA]["id"] == added["id"]
    assert version(world) == 3
    assert world.send().json()["oversight_status"] == "not_required"
    held = world.send(to=[DANA, EVE], cc=["mallory@evil.example"]).json()
    assert held["oversight_status"] == "pending_approval"
    assert f"Not on the mailbox's allowlist: {EVE} and 1 more." in held["message"]
    assert f"POST /v1/mailboxes/{world.mailbox.address}/allowlist" in held["message"]
    # Both other modes are stricter, and take no code.
    assert call(world, "PUT", "/mode", mode="off").json()["mode"] == "off"
    assert "allowlist" not in world.send(to=[EVE]).json()["message"]


def test_list_that_is_replaced_whole_takes_a_code_where_more_mail_skips_the_review(
    world, settings
):
    settings.GATEWAY_APPROVAL_CODES = "0"
    ends = "2099-01-01T00:00:00Z"

    def put(mode, *entries):
        body = {
            "kind": "bypass",
            "mode": mode,
            "version": version(world),
            "entries": entries,
        }
        return int(call(world, "PUT", **body).status_code)

    assert put("off", EVE) == 202
    assert (
        world.allow(
            DANA, {"pattern": EVE, "expires_at": ends}, kind="bypass", mode="monitor"
        ).status_code
        == 200
    )
    assert [
        put("enforce", DANA),
        put("monitor", DANA, EVE),
        put("monitor", "evil.example"),
    ] == [202] * 3
    assert [
        put("monitor", DANA, {"pattern": EVE, "expires_at": ends}),
        put("off", DANA),
        put("off"),
    ] == [200] * 3


def test_status_says_whom_the_list_names_and_why_it_has_no_effect(world):
    def status(query=""):
        return call(world, "GET", f"/status{query}", key="reader").json()

    assert status()["mode"] == "off"
    assert status()["count"] == 0
    assert status()["listed"] is None
    past = (timezone.now() - timedelta(days=1)).isoformat().replace("+00:00", "Z")
    world.allow(
        "northwind.example",
        {"pattern": "evil.example", "expires_at": past},
        kind="bypass",
    )
    assert status()["count"] == 1
    assert status()["notice"] is None
    assert list(entries(world)) == ["*@northwind.example"]
    assert status("?recipient=Dana@Northwind.example")["listed"] is True
    assert status(f"?recipient={EVE}")["listed"] is False
    assert (
        call(world, "GET", "/status?recipient=nobody", key="reader").status_code == 422
    )
    Mailbox.objects.update(oversight_mode=Mode.GATED_ALL)
    assert "in gated_send only" in status()["notice"]


def test_refused_entries_change_nothing_and_ask_for_no_code(world, other, monkeypatch):
    listed = confirmed(world, "POST", pattern=DANA).json()["id"]
    add_key(world, "mighty", ["admin", "send"])
    for pattern in (
        "",
        "*",
        "*@*",
        "*.com",
        "a@b@c.example",
        "eve%x@y.example",
        None,
        5,
        ["x.example"],
    ):
        assert call(world, "POST", pattern=pattern).json()["field"] == "pattern", (
            pattern
        )
    assert (
        call(world, "POST", pattern="x.example", note="x" * 201).json()["field"]
        == "note"
    )
    assert call(world, "POST", pattern=f"{'x' * 250}.example").status_code == 422
    again = call(world, "POST", pattern=DANA.upper())
    assert again.status_code == 409
    assert again.json()["code"] == "entry_exists"
    assert again.json()["entry_id"] == listed
    for key in ("agent", "reader", "desk"):
        for method, path in (("POST", ""), ("PUT", "/mode"), ("DELETE", f"/{listed}")):
            assert (
                call(
                    world, method, path, key=key, pattern=EVE, mode="enforce"
                ).status_code
                == 403
            ), (method, key)
    assert (
        call(world, "GET", "?kind=bypass", key="reader").json()["code"]
        == "missing_scope"
    )
    for entry_id in ("1", "x" * 300, "mode%00", "01JD0000000000000000000000"):
        assert call(world, "DELETE", f"/{entry_id}").status_code == 404, entry_id
    assert world.delete(f"{other.base}/allowlist/{listed}").status_code == 404
    assert call(world, "PUT", "/mode", mode="contacts").json()["field"] == "mode"
    monkeypatch.setattr(allowlists, "MAX_ENTRIES", 1)
    full = call(world, "POST", pattern=EVE)
    assert refusal_of(full) == (403, "plan_limit")
    assert list(entries(world)) == [DANA]
    assert version(world) == 1
    assert ApprovalRequest.objects.count() == 1


def test_an_expired_entry_is_replaced_by_one_without_an_end(world):
    world.allow({"pattern": DANA, "expires_at": "2020-01-01T00:00:00Z"}, kind="bypass")
    assert entries(world) == {}
    assert confirmed(world, "POST", pattern=DANA).status_code == 201
    assert AllowlistEntry.objects.get().expires_at is None
