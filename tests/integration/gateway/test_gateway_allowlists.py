"""Allowlists over HTTP: reading and replacing a list, whom it refuses, and who bypasses
the gate.
"""

from datetime import timedelta

from django.utils import timezone

from common.mail_addresses import clean_addresses
from common.patterns import read_pattern
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
)
from gateway.states import Mode, Status
from gateway.timestamps import iso
from tests.allow_cases import CASES
from tests.integration.gateway.world import (
    add_key,
    bad_field_of,
    events_of,
    leave,
    make_inbound,
    make_world,
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


def shown(body):
    return [(one["pattern"], one["expires_at"], one["note"]) for one in body["entries"]]


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


def test_table_that_the_desk_is_held_to_holds_here_too(world):
    now = timezone.now()
    wrong = {}
    for name, case in CASES.items():
        with undone():
            for one in case.contacts:
                Contact.objects.create(account=world.account, name=one, email=one)
            ends = {
                pattern: now + timedelta(seconds=seconds)
                for pattern, seconds in case.ends.items()
            }
            entries = [
                AllowlistEntry(pattern=read_pattern(one), expires_at=ends.get(one))
                for one in case.entries
            ]
            key = ApiKey.objects.get(name="Key admin")
            kind = Allowlist.Kind.RESTRICTION
            replace_list(
                key,
                world.mailbox,
                kind=kind,
                mode=case.mode,
                version=0,
                entries=entries,
            )
            if case.is_no_address:
                is_right = world.send(to=list(case.recipients)).status_code == 422
            else:
                ruling = judge(
                    world.mailbox,
                    clean_addresses(list(case.recipients)),
                )
                is_right = list(ruling.outsiders) == clean_addresses(list(case.refused))
            if not is_right:
                wrong[name] = case
    assert wrong == {}


def test_put_replaces_the_whole_list_and_returns_it_normalised_and_deduplicated(world):
    body = read(world)
    assert body["kind"] == "restriction"
    assert body["mode"] == "off"
    assert body["version"] == 0
    assert body["entries"] == []
    assert world.allow("old.example").status_code == 200
    later = iso(timezone.now() + timedelta(days=1))
    answer = world.allow(
        " Jane@X.Example. ",
        {"pattern": "*@bücher.example", "expires_at": later, "note": "until the fair"},
        {"pattern": "*.Sub.Example", "expires_at": "2020-01-01T00:00:00Z"},
        mode="Monitor",
    )
    body = answer.json()
    assert answer.status_code == 200
    assert body["version"] == 2
    assert body["mode"] == "monitor"
    assert shown(body) == [
        ("*.sub.example", "2020-01-01T00:00:00.000Z", None),
        ("jane@x.example", None, None),
        ("xn--bcher-kva.example", later, "until the fair"),
    ]
    assert [one["live"] for one in body["entries"]] == [False, True, True]
    assert body["live_count"] == 2
    assert body["expired_count"] == 1
    assert read(world) == body
    # The other kind is a separate list. Of duplicates the one that lasts longest
    # remains, with any note.
    assert read(world, "bypass")["version"] == 0
    soon = "2030-01-01T00:00:00Z"
    late = "2099-01-01T00:00:00Z"
    body = world.allow(
        {"pattern": "x.example", "expires_at": late},
        {"pattern": "*@X.example", "expires_at": soon, "note": "second"},
        {"pattern": "y.example", "expires_at": soon, "note": "first"},
        {"pattern": "Y.EXAMPLE.", "note": "never ends"},
    ).json()
    assert shown(body) == [
        ("x.example", "2099-01-01T00:00:00.000Z", "second"),
        ("y.example", None, "first"),
    ]


def test_put_is_audited_with_what_it_added_and_removed(world):
    many = [f"a{number:02}.example" for number in range(60)]
    world.allow(*many)
    world.allow(many[0], "c.example", mode="off", kind="restriction")
    first, second = facts_of("allowlist.replaced")
    assert first["added"] == many[:50]
    assert first["added_count"] == 60
    assert first["entries"] == 60
    assert first["removed"] == []
    assert first["removed_count"] == 0
    assert second["added"] == ["c.example"]
    assert second["added_count"] == 1
    assert second["entries"] == 2
    assert second["removed"] == many[1:51]
    assert second["removed_count"] == 59
    assert second["list"] == "restriction"
    assert second["mode"] == "off"
    assert second["version"] == 2
    entry = AuditLogEntry.objects.filter(action="allowlist.replaced").latest("id")
    assert entry.resource_type == "allowlist"
    assert entry.resource_id == world.mailbox.pk
    assert entry.actor_key_id == world.key_id("admin")


def test_put_on_another_version_is_409_with_the_current_one(world):
    # Without a version, only the first list can be created.
    assert [world.allow("a.example", version=None).status_code for _ in range(2)] == [
        200,
        409,
    ]
    world.allow("b.example")
    for version in (None, 0, 1, 3):
        answer = world.allow("c.example", version=version)
        assert answer.status_code == 409
        assert answer.json()["code"] == "version_conflict"
        assert answer.json()["version"] == 2
        assert answer.json()["error"].startswith("The list is now at version 2.")
    assert [entry["pattern"] for entry in read(world)["entries"]] == ["b.example"]


def test_put_bad_field_is_422_names_it_and_changes_nothing(world):
    for fields, field in (
        ({"kind": "both"}, "kind"),
        ({"kind": None}, "kind"),
        ({"mode": "on"}, "mode"),
        ({"kind": "bypass", "mode": "contacts"}, "mode"),
        ({"version": -1}, "version"),
        ({"version": "x"}, "version"),
        ({"entries": None}, "entries"),
        ({"entries": "x.example"}, "entries"),
        ({"entries": ["x.example", "*.com"]}, "entries.1.pattern"),
        ({"entries": [5]}, "entries.0"),
        ({"entries": [{"pattern": "a@b@c.example"}]}, "entries.0.pattern"),
        ({"entries": [{"note": "nobody"}]}, "entries.0.pattern"),
        (
            {"entries": [{"pattern": "x.example", "expires_at": "tomorrow"}]},
            "entries.0.expires_at",
        ),
        ({"entries": [{"pattern": "x.example", "note": "x" * 301}]}, "entries.0.note"),
        ({"entries": [f"a{n}@x.example" for n in range(5001)]}, "entries"),
    ):
        answer = world.allow(**{"kind": "restriction", "entries": [], **fields})
        assert bad_field_of(answer) == (422, field), fields
    for body in ({}, {"kind": "restriction"}, {"kind": "restriction", "mode": "off"}):
        assert world.put(f"{world.base}/allowlist", **body).status_code == 422
    assert "'*'" in world.allow("fine.example", "*").json()["error"]
    assert read(world, "both")["field"] == "kind"
    assert read(world)["version"] == 0


def test_key_that_sends_needs_an_operators_code_for_exactly_its_list(world):
    add_key(world, "mighty", ["admin", "send"])
    body = {"kind": "bypass", "mode": "enforce", "entries": [DANA]}

    def put(**fields):
        return world.put(f"{world.base}/allowlist", key="mighty", **(body | fields))

    asked = put()
    assert asked.status_code == 202
    assert asked.json()["status"] == "pending_approval"
    assert read(world, "bypass")["version"] == 0
    code = ApprovalRequest.objects.get().code
    assert put(approval_code=code, entries=[DANA, EVE]).status_code == 404
    assert put(approval_code="AAA-AAA").status_code == 403
    assert put(approval_code=code).status_code == 200
    assert [entry["pattern"] for entry in read(world, "bypass")["entries"]] == [DANA]


def test_restriction_keeps_an_outsider_out_wherever_it_is_named(world, other):
    world.allow("northwind.example")
    for field in FIELDS:
        answer = world.send(**{field: [DANA, EVE]})
        body = answer.json()
        assert answer.status_code == 403
        assert body["code"] == "recipient_not_allowed"
        assert body["field"] == field
        assert EVE in body["error"]
        assert body["recipients"] == [EVE]
        assert body["refusal_id"] == Refusal.objects.latest("pk").pk
    assert not Email.objects.exists()
    assert [one.refused for one in Refusal.objects.all()] == [[EVE]] * 3
    assert (
        world.send(
            to=[DANA], cc=["ben@northwind.example"], bcc=["carl@northwind.example"]
        ).status_code
        == 202
    )
    # A restriction applies to one mailbox only.
    assert other.send(to=[EVE]).status_code == 202


def test_restriction_judges_what_the_mailbox_adds_and_not_the_operators_own_copy(db):
    world = make_world(mode=Mode.MONITORED)
    Account.objects.update(oversight_email="boss@elsewhere.example")
    for field in ("auto_cc", "auto_bcc"):
        with undone():
            Mailbox.objects.update(**{field: f"{ARCHIVE}, {EVE}"})
            world.allow("northwind.example", ARCHIVE)
            body = world.send().json()
            assert body["code"] == "recipient_not_allowed"
            assert body["field"] == field
            assert body["recipients"] == [EVE]
            assert "The mailbox adds it automatically." in body["error"]
            world.allow("northwind.example", ARCHIVE, EVE)
            assert sent(world) == FREE


def test_copy_to_somebody_off_the_list_is_warned_about_when_either_is_set(world):
    """Point 13."""

    def copy_to(address):
        return world.patch(world.base, auto_cc=address)

    world.allow("northwind.example")
    refused = copy_to(EVE).json()
    assert refused["field"] == "auto_cc"
    assert refused["code"] == "copy_not_allowed"
    assert EVE in refused["error"]
    assert world.send(to=[DANA]).status_code == 202
    assert world.allow("northwind.example", EVE).json()["notice"] is None
    assert copy_to(EVE).status_code == 200
    assert world.send(to=[DANA]).status_code == 202
    assert (
        f"a copy of everything to {EVE}"
        in world.allow("northwind.example").json()["notice"]
    )


def test_restriction_without_a_live_entry_refuses_everybody(world):
    for entries in ([], [{"pattern": DANA, "expires_at": "2020-01-01T00:00:00Z"}]):
        assert "everybody is refused" in world.allow(*entries).json()["notice"]
        assert world.send(to=[DANA]).status_code == 403
    world.allow(
        {
            "pattern": "northwind.example",
            "expires_at": iso(timezone.now() + timedelta(hours=1)),
        }
    )
    assert world.send().status_code == 202
    expire_everything()
    assert world.send().status_code == 403
    assert read(world)["expired_count"] == 1


def test_restriction_off_and_monitor_let_through_and_monitor_records(world):
    crowd = [f"eve{number}@evil.example" for number in range(49)]
    world.allow("northwind.example", mode="off")
    world.held(to=[EVE])
    assert facts_of("email.would_be_refused") == []
    world.allow("northwind.example", mode="monitor")
    email_id = world.held(to=[DANA], cc=[EVE], bcc=crowd)
    (facts,) = facts_of("email.would_be_refused")
    assert facts["recipients"] == [EVE, *crowd]
    assert facts["count"] == 50
    assert facts["rule"] == "restriction, mode monitor, version 2"
    assert noted("email.would_be_refused").resource_id == email_id
    world.held(to=[EVE], cc=["one@evil.example"], bcc=crowd)
    facts = facts_of("email.would_be_refused")[1]
    assert len(facts["recipients"]) == 50
    assert facts["count"] == 51
    assert not Refusal.objects.exists()


def test_mode_contacts_lets_contacts_and_listed_through_and_nobody_else(world, other):
    Contact.objects.create(account=world.account, name="Dana", email=DANA)
    Contact.objects.create(account=other.account, name="Eve", email=EVE)
    world.allow("partner.example", mode="contacts")
    assert (
        world.send(to=["Dana@Northwind.example"], cc=["a@partner.example"]).status_code
        == 202
    )
    refused = world.send(to=[DANA], cc=[EVE])
    assert refused.status_code == 403
    assert refused.json()["recipients"] == [EVE]
    Contact.objects.filter(account=world.account).delete()
    assert world.send(to=[DANA]).status_code == 403


def test_restriction_comes_before_the_mode_and_a_bypass_lifts_none(world):
    world.allow("northwind.example")
    world.allow("northwind.example", EVE, kind="bypass")
    assert world.send(to=[EVE]).status_code == 403
    assert sent(world) == FREE
    Mailbox.objects.update(oversight_mode=Mode.READ_ONLY)
    assert world.send(to=[EVE]).json()["code"] == "recipient_not_allowed"
    assert world.send(to=[DANA]).json()["code"] == "read_only"


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
    assert world.send().status_code == 403


def test_bypass_without_a_live_entry_or_in_monitor_lets_nobody_skip(world):
    world.allow(kind="bypass")
    assert sent(world) == HELD
    world.allow(DANA, kind="bypass")
    expire_everything()
    assert sent(world) == HELD
    assert facts_of("email.would_bypass") == []
    world.allow("northwind.example", kind="bypass", mode="off")
    assert sent(world) == HELD
    assert facts_of("email.would_bypass") == []
    world.allow("northwind.example", kind="bypass", mode="monitor")
    assert sent(world) == HELD
    assert sent(world, to=[EVE]) == HELD
    assert [facts["rule"] for facts in facts_of("email.would_bypass")] == [
        "bypass, mode monitor, version 4"
    ]
    assert facts_of("email.bypassed") == []


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
            assert status_of(email) == Status.SEND_FAILED, name
            assert DANA in world.get(f"{world.base}/emails/{email.pk}")["last_error"]
            assert events_of(email.pk) == ["message.failed"]
    assert mail_server.mails == 0
    # What the mailbox adds now was not part of what was approved.
    CHANGES["addition"](world)
    assert leave(email) == "sent"
    assert mail_server.taken[0].rcpt_tos == [DANA]


def test_addition_made_after_acceptance_stops_ungated_mail(db, mail_server):
    world = make_world(mode=Mode.AUTONOMOUS)
    world.allow("northwind.example")
    email_id = world.held()
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
    for name, change in {
        "expiry": CHANGES["expiry"],
        "addition": CHANGES["addition"],
        "off": lambda world: world.allow(
            "northwind.example", kind="bypass", mode="off"
        ),
        "monitor": lambda world: world.allow(
            "northwind.example", kind="bypass", mode="monitor"
        ),
        "gated_all": lambda world: Mailbox.objects.update(
            oversight_mode=Mode.GATED_ALL
        ),
        "read_only": lambda world: Mailbox.objects.update(
            oversight_mode=Mode.READ_ONLY
        ),
    }.items():
        with undone():
            change(world)
            assert leave(email_id) == "asked", name
            assert status_of(email_id) == HELD, name
            assert events_of(email_id) == ["oversight.pending"], name
            assert mail_server.mails == 0
    # It is sent without review while its bypass is live, and otherwise once somebody
    # has approved it.
    with undone():
        assert leave(email_id) == "sent"
        assert len(mail_server.taken) == 1
    CHANGES["expiry"](world)
    assert leave(email_id) == "asked"
    assert world.decide(email_id).status_code == 200
    assert leave(email_id) == "sent"


def test_reply_edit_and_flat_path_are_judged_by_their_recipients(db):
    world = make_world(mode=Mode.AUTONOMOUS)
    world.allow("northwind.example")
    parents = [make_inbound(world, from_address=address) for address in (DANA, EVE)]
    answers = [
        world.post(f"{world.base}/reply/{one.pk}", markdown="Hi") for one in parents
    ]
    assert [answer.status_code for answer in answers] == [202, 403]
    assert EVE in answers[1].json()["error"]
    assert Refusal.objects.get().refused == [EVE]
    email_id = world.held(send_at="2099-01-01T00:00:00Z")
    answer = world.patch(
        f"{world.base}/emails/{email_id}/schedule", key="agent", bcc=[EVE]
    )
    assert refusal_of(answer) == (403, "recipient_not_allowed")
    flat = {
        "from": world.mailbox.address,
        "to": f"{DANA}, {EVE}",
        "subject": "x",
        "body": "y",
    }
    assert world.post("/send_email", **flat).json()["code"] == "recipient_not_allowed"
    assert Email.objects.get(pk=email_id).bcc == []
    assert Refusal.objects.count() == 3


def test_lists_use_few_statements(world, django_assert_max_num_queries):
    world.allow(*[f"a{n}@x.example" for n in range(500)], "northwind.example")
    world.allow("northwind.example", kind="bypass")
    world.send()
    with django_assert_max_num_queries(16):
        assert world.send().status_code == 202
