"""Allowlists over HTTP: a list replaced whole or by entries, whom it refuses, who bypasses
the gate, and the record of refusals.
"""

from datetime import timedelta

import pytest
from django.utils import timezone

from common.mail_addresses import clean_addresses, read_pattern
from gateway.allowlists import judge, replace_list
from gateway.models import (
    Account,
    Allowlist,
    AllowlistEntry,
    ApiKey,
    ApprovalRequest,
    AuditLogEntry,
    Contact,
    Email,
    Mailbox,
    Refusal,
    WebhookDelivery,
)
from gateway.states import Mode, Status
from tests.allow_cases import CASES
from tests.integration.gateway.world import (
    add_key,
    add_sandbox_keys,
    event_of,
    events_of,
    leave,
    make_inbound,
    noted,
    refusal_of,
    status_of,
    undone,
)

DANA = "dana@northwind.example"
EVE = "eve@evil.example"
ARCHIVE = "archive@acme.example"
HELD = Status.PENDING_SEND_APPROVAL
FREE = Status.SCHEDULED
FIELDS = ("to", "cc", "bcc")


def read(world, kind="restriction"):
    return world.get(f"{world.base}/allowlist?kind={kind}", key="admin")


def sent(world, **fields):
    """Send a message and return its status."""
    return status_of(world.held(**fields))


def expire_everything():
    AllowlistEntry.objects.update(expires_at=timezone.now() - timedelta(seconds=1))


def facts_of(action):
    return list(
        AuditLogEntry.objects.filter(action=action)
        .order_by("id")
        .values_list("metadata", flat=True)
    )


def test_table_that_the_desk_is_held_to_holds_here_too(world, other):
    now = timezone.now()
    key = ApiKey.objects.get(account=world.account, name="Key admin")
    wrong = []
    for name, case in CASES.items():
        with undone():
            # What another account knows does not count.
            for of, known in ((world, case.contacts), (other, case.recipients)):
                for one in known:
                    contact = {"name": one, "email": one, "by_sender": False}
                    Contact.objects.create(account=of.account, **contact)
            ends = {one: now + timedelta(seconds=case.ends[one]) for one in case.ends}
            entries = [
                AllowlistEntry(pattern=read_pattern(one), expires_at=ends.get(one))
                for one in case.entries
            ]
            wanted = {"mode": case.mode, "version": 0, "entries": entries}
            kind = Allowlist.Kind.RESTRICTION
            replace_list(key, world.mailbox, kind=kind, **wanted)
            if case.is_no_address:
                is_right = world.send(to=list(case.recipients)).status_code == 422
            else:
                ruling = judge(world.mailbox, clean_addresses(list(case.recipients)))
                is_right = list(ruling.outsiders) == clean_addresses(list(case.refused))
            if not is_right:
                wrong.append(name)
    assert wrong == []


def test_contact_that_a_sending_key_added_lets_no_mail_out(world):
    world.allow("acme.example", mode="contacts")

    def add(key):
        return world.post("/v1/contacts", key=key, email=EVE)

    add_key(world, "both", ["admin", "send"])
    for key in ("agent", "both"):
        added = add(key).json()
        assert added["by_sender"] is True
        assert refusal_of(world.send(to=[EVE])) == (403, "recipient_not_allowed")
        world.delete(f"/v1/contacts/{added['id']}")
    assert add("admin").json()["by_sender"] is False
    assert add("agent").status_code == 409
    assert sent(world, to=[EVE]) == HELD


def test_restriction_keeps_an_outsider_out_wherever_it_is_named_and_stores_who_and_why(
    world, other
):
    world.allow("northwind.example")
    hidden = {"subject": "Geheim", "markdown": "Sehr geheim"}
    for field in FIELDS:
        fields = {**hidden, "metadata": {"discord_user": "ana"}, field: [DANA, EVE]}
        answer = world.send(**fields)
        body = answer.json()
        assert refusal_of(answer) == (403, "recipient_not_allowed")
        assert (body["field"], body["recipients"]) == (field, [EVE])
        row = Refusal.objects.values().get(pk=body["refusal_id"])
        assert (row["recipients"], row["refused"]) == ([DANA, EVE], [EVE])
        assert row["mailbox_id"] == world.mailbox.pk
        assert row["metadata"] == {"discord_user": "ana"}
        assert row["key_id"] == world.key_id("agent")
        assert row["rule"] == "restriction, mode enforce, version 1"
        assert "eheim" not in str(row)
    assert not Email.objects.exists()
    insiders = {field: [f"{field}@northwind.example"] for field in FIELDS}
    assert world.send(**insiders).status_code == 202
    # A restriction applies to one mailbox only.
    assert other.send(to=[EVE]).status_code == 202


@pytest.mark.slow
def test_copy_to_somebody_off_the_list_is_warned_about_when_either_is_set(world):
    """Point 13."""
    world.allow("northwind.example")
    refused = world.patch(world.base, auto_cc=EVE)
    assert refused.json()["field"] == "auto_cc"
    assert refused.json()["code"] == "copy_not_allowed"
    assert world.send().status_code == 202
    assert world.allow("northwind.example", EVE).json()["notice"] is None
    assert world.patch(world.base, auto_cc=EVE).status_code == 200
    assert EVE in world.allow("northwind.example").json()["notice"]


def test_restriction_off_and_monitor_let_through_and_monitor_records(world):
    crowd = [f"eve{number}@evil.example" for number in range(50)]
    world.allow("northwind.example", mode="off")
    world.held(to=[EVE])
    assert facts_of("email.would_be_refused") == []
    world.allow("northwind.example", mode="monitor")
    email_id = world.held(to=[DANA], cc=[EVE], bcc=crowd)
    entry = noted("email.would_be_refused")
    assert entry.resource_id == email_id
    assert entry.metadata["recipients"] == [EVE, *crowd[:49]]
    assert entry.metadata["count"] == 51
    assert entry.metadata["rule"] == "restriction, mode monitor, version 2"
    assert not Refusal.objects.exists()


def test_bypass_lets_listed_skip_the_queue_and_one_unlisted_gates_all(world):
    world.allow("northwind.example", kind="bypass")
    answer = world.send(to=[DANA], cc=["ben@northwind.example"]).json()
    assert answer["oversight_status"] == "not_required"
    assert status_of(answer["id"]) == FREE
    assert [facts["rule"] for facts in facts_of("email.bypassed")] == [
        "bypass, mode enforce, version 1"
    ]
    assert [sent(world, **{field: [DANA, EVE]}) for field in FIELDS] == [HELD] * 3
    # The listed domain may forward this to somebody else.
    assert sent(world, to=["eve%evil.example@northwind.example"]) == HELD
    Mailbox.objects.update(auto_bcc=ARCHIVE)
    assert sent(world) == HELD
    world.allow("northwind.example", ARCHIVE, kind="bypass")
    assert sent(world) == FREE
    assert len(facts_of("email.bypassed")) == 2


def test_bypass_skips_only_a_gate_that_nobody_asked_for(world):
    world.allow("northwind.example", kind="bypass")
    for mode, asked, status in (
        (Mode.GATED_SEND, None, FREE),
        (Mode.GATED_SEND, "gated_send", HELD),
        (Mode.GATED_SEND, "gated_all", HELD),
        (Mode.AUTONOMOUS, None, FREE),
        (Mode.AUTONOMOUS, "gated_send", HELD),
        (Mode.MONITORED, None, FREE),
        *(
            (Mode.GATED_ALL, asked, HELD)
            for asked in (None, "gated_all", "gated_send", "autonomous")
        ),
    ):
        Mailbox.objects.update(oversight_mode=mode)
        assert sent(world, oversight_mode=asked) == status, (mode, asked)
    Mailbox.objects.update(oversight_mode=Mode.GATED_SEND)
    Account.objects.update(hold_all_at=timezone.now())
    assert sent(world) == HELD
    Mailbox.objects.update(oversight_mode=Mode.READ_ONLY)
    assert refusal_of(world.send()) == (403, "read_only")


CHANGES = {
    "list": lambda world: world.allow("elsewhere.example"),
    "expiry": lambda world: expire_everything(),
    "addition": lambda world: Mailbox.objects.update(auto_bcc=EVE),
}


def test_approval_of_a_message_off_the_list_by_now_is_409_and_decides_nothing(world):
    world.allow("northwind.example")
    email_id = world.held()
    for name, change in CHANGES.items():
        with undone():
            change(world)
            answer = world.decide(email_id)
            body = answer.json()
            assert answer.status_code == 409, name
            assert body["code"] == "recipient_not_allowed", name
            assert body["status"] == status_of(email_id) == HELD
            assert (EVE if name == "addition" else DANA) in body["error"]
    CHANGES["list"](world)
    assert world.decide(email_id, "reject").status_code == 200


def test_approved_mail_that_is_off_the_list_by_now_fails_and_never_leaves(
    world, mail_server
):
    world.listen("message.failed", "message.bounced")
    world.allow("northwind.example")
    email = world.approved()
    for name in ("list", "expiry"):
        with undone():
            CHANGES[name](world)
            assert leave(email) == "failed", name
            shown = world.get(f"{world.base}/emails/{email.pk}")
            assert shown["status"] == Status.SEND_FAILED
            assert DANA in shown["last_error"]
            assert events_of(email.pk) == ["message.failed"]
    assert mail_server.mails == 0
    # What the mailbox adds now was not part of what was approved.
    CHANGES["addition"](world)
    assert leave(email) == "sent"
    assert mail_server.taken[0].rcpt_tos == [DANA]


def test_addition_made_after_acceptance_stops_ungated_mail(free, mail_server):
    free.allow("northwind.example")
    email_id = free.held()
    for field in ("auto_cc", "auto_bcc"):
        with undone():
            Mailbox.objects.update(**{field: EVE})
            assert leave(email_id) == "failed", field
    assert leave(email_id) == "sent"
    assert mail_server.mails == 1


def test_mail_that_skipped_the_gate_is_held_once_its_bypass_ended(world, mail_server):
    world.listen("oversight.pending")
    world.allow("northwind.example", kind="bypass")
    email_id = world.held()
    monitor = {"kind": "bypass", "mode": "monitor"}
    for change in (
        CHANGES["expiry"],
        CHANGES["addition"],
        lambda world: world.allow("northwind.example", **monitor),
        lambda world: Mailbox.objects.update(oversight_mode=Mode.GATED_ALL),
        lambda world: Mailbox.objects.update(oversight_mode=Mode.READ_ONLY),
    ):
        with undone():
            change(world)
            assert leave(email_id) == "asked"
            assert status_of(email_id) == HELD
            assert events_of(email_id) == ["oversight.pending"]
    assert mail_server.mails == 0
    # It is sent without review while its bypass is live, and otherwise once somebody
    # has approved it.
    with undone():
        assert leave(email_id) == "sent"
    CHANGES["expiry"](world)
    assert leave(email_id) == "asked"
    assert world.decide(email_id).status_code == 200
    assert leave(email_id) == "sent"


def test_reply_edit_and_flat_path_are_judged_by_their_recipients(free):
    free.allow("northwind.example")
    parents = [make_inbound(free, from_address=address) for address in (DANA, EVE)]
    assert [
        free.post(f"{free.base}/reply/{one.pk}", markdown="Hi").status_code
        for one in parents
    ] == [202, 403]
    email_id = free.held(send_at="2099-01-01T00:00:00Z")
    edited = free.patch(
        f"{free.base}/emails/{email_id}/schedule", key="agent", bcc=[EVE]
    )
    assert refusal_of(edited) == (403, "recipient_not_allowed")
    assert Email.objects.get(pk=email_id).bcc == []
    flat = {"to": f"{DANA}, {EVE}", "subject": "x", "body": "y"}
    answer = free.post("/send_email", **flat)
    assert refusal_of(answer) == (403, "recipient_not_allowed")
    assert Refusal.objects.count() == 3


def call(world, method, path="", key="admin", **body):
    return world.call(
        method, f"{world.base}/allowlist{path}", key=key, json=body or None
    )


def confirmed(world, method, path="", **body):
    """Call, and call again with the code that the first call asked for."""
    asked = call(world, method, path, **body)
    assert refusal_of(asked) == (202, "pending_approval")
    code = ApprovalRequest.objects.latest("created_at").code
    return call(world, method, path, **body, approval_code=code)


def entries(world):
    """What a key that reads sees of the list, by pattern."""
    body = call(world, "GET", key="reader").json()
    assert body["count"] == len(body["entries"])
    return {one["pattern"]: one for one in body["entries"]}


def test_entry_takes_a_code_and_stands_on_the_list_that_the_desk_replaces(world):
    answer = confirmed(
        world, "POST", pattern=" *@Northwind.example", note="Our printer"
    )
    assert answer.status_code == 201
    added = answer.json()
    assert added["added_by"] == world.key_id("admin")
    # The list is off, which the answer says.
    assert "off" in added.pop("notice")
    assert entries(world) == {"*@northwind.example": added}
    # Who replaces what they read before gets 409; an entry that stays keeps its id and
    # who added it.
    stale = world.allow("x.example", kind="bypass", version=0)
    assert refusal_of(stale) == (409, "version_conflict")
    assert stale.json()["version"] == 1
    world.allow("northwind.example", "*.x.example", kind="bypass")
    assert entries(world)["*@northwind.example"] == added | {"note": None}
    assert call(world, "DELETE", f"/{added['id']}").json()["status"] == "removed"
    assert list(entries(world)) == ["*.x.example"]
    assert [
        (one["version"], one.get("added"), one.get("removed"))
        for one in facts_of("allowlist.changed")
    ] == [
        (1, ["northwind.example"], None),
        (3, None, ["northwind.example"]),
    ]


def test_list_that_is_replaced_whole_takes_a_code_where_more_mail_skips_the_review(
    world, settings
):
    settings.GATEWAY_APPROVAL_CODES = "0"
    ends = {"pattern": EVE, "expires_at": "2099-01-01T00:00:00Z"}

    def put(mode, *wanted, **more):
        body = {"kind": "bypass", "mode": mode, "entries": wanted, **more}
        body["version"] = read(world, "bypass")["version"]
        return call(world, "PUT", **body).status_code

    assert put("off", EVE) == 202
    code = ApprovalRequest.objects.get().code
    assert put("off", EVE, DANA, approval_code=code) == 404
    assert world.allow(DANA, ends, kind="bypass", mode="monitor").status_code == 200
    assert [
        put("enforce", DANA),
        put("monitor", DANA, EVE),
        put("monitor", "evil.example"),
        put("monitor", DANA, ends),
        put("off", DANA),
    ] == [202, 202, 202, 200, 200]


@pytest.fixture
def strict(world):
    assert world.allow("northwind.example").status_code == 200
    return world


def refused(world, **fields):
    answer = world.send(**{"bcc": [EVE], **fields})
    assert answer.status_code == 403, answer.content
    return str(answer.json()["refusal_id"])


def test_refusal_event_goes_only_to_webhooks_subscribed_to_it(strict, other):
    strict.listen("oversight.pending", "message.failed")
    asked = strict.listen("message.refused")
    other.listen("message.refused")
    elsewhere = strict.listen("message.refused")
    elsewhere.mailbox = other.mailbox
    elsewhere.save()
    refusal_id = refused(strict, subject="Geheim", metadata={"discord_user": "ana"})
    delivery = WebhookDelivery.objects.get()
    event = event_of("message.refused")
    assert delivery.webhook_id == asked.pk
    assert event["event"] == delivery.event == "message.refused"
    assert event["refusal_id"] == refusal_id
    assert event["mailbox_id"] == strict.mailbox.pk
    assert event["refused_recipients"] == [EVE]
    assert event["metadata"] == event["data"]["metadata"] == {"discord_user": "ana"}
    assert "Geheim" not in str(event)
    # Receivers read any of these as a message id, and there is no message.
    assert not {"id", "email_id", "message_id"} & (event.keys() | event["data"].keys())


def test_list_hides_other_tenants_the_other_kind_and_other_mailboxes(strict, other):
    add_sandbox_keys(strict)
    add_key(strict, "limited", ["admin"], mailbox_ids=["elsewhere"])
    live = [refused(strict) for _ in range(3)][::-1]
    tried = strict.send(key="tester", to=[EVE]).json()["refusal_id"]
    for key, found in (
        ("admin", live),
        ("desk", [tried, *live]),
        ("watcher", [tried, *live]),
        ("test admin", [tried]),
        ("limited", []),
    ):
        rows = strict.walk("/v1/refusals", "refusals", key=key)
        assert [row["id"] for row in rows] == found, key
    assert other.walk("/v1/refusals", "refusals", key="admin") == []


@pytest.mark.slow
def test_restriction_judges_what_the_mailbox_adds_and_not_the_operators_own_copy(free):
    Account.objects.update(oversight_email="boss@elsewhere.example")
    for field in ("auto_cc", "auto_bcc"):
        with undone():
            Mailbox.objects.update(**{field: f"{ARCHIVE}, {EVE}"})
            free.allow("northwind.example", ARCHIVE)
            body = free.send().json()
            assert (body["field"], body["recipients"]) == (field, [EVE])
            free.allow("northwind.example", ARCHIVE, EVE)
            assert sent(free) == FREE


@pytest.mark.slow
def test_restriction_comes_before_the_mode_and_a_bypass_lifts_none(world):
    world.allow("northwind.example")
    world.allow("northwind.example", EVE, kind="bypass")
    assert world.send(to=[EVE]).status_code == 403
    assert sent(world) == FREE
    Mailbox.objects.update(oversight_mode=Mode.READ_ONLY)
    assert world.send(to=[EVE]).json()["code"] == "recipient_not_allowed"
    assert world.send(to=[DANA]).json()["code"] == "read_only"
