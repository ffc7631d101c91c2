"""The commands that change allowlists: versions, permissions, history, ledger, and
updates of the gates.
"""

from datetime import timedelta

import pytest
from django.utils import timezone

from audit.models import Entry
from common.actors import Role
from common.postgres import clock
from mirror.errors import ActNotAllowed
from mirror.models import Mailbox
from policy.allowlists.changes import Change, WantedEntry, allow_for_days, apply_change
from policy.allowlists.judgement import ListScope
from policy.errors import StaleAllowlist
from policy.models import AllowChange, AllowEntry, Allowlist, GateList
from tests.factories import actor_of, make_connection, make_list, make_person
from tests.integration.deciding import at_once


@pytest.fixture
def root(db):
    return make_person("root@yourteam.example", "Ruth", "admin")


def change(
    person,
    *put,
    scope=None,
    version=0,
    mode=None,
    remove=(),
    kind="restriction",
    **more,
):
    wanted = tuple(
        one if isinstance(one, WantedEntry) else WantedEntry(one) for one in put
    )
    return apply_change(
        scope=scope or ListScope(), kind=kind, change=Change(mode=mode, put=wanted, remove=tuple(remove)),
        version=version, actor=actor_of(person), **more,
    )  # fmt: skip


def patterns(made):
    return sorted(made.entries.not_removed().values_list("pattern", flat=True))


def test_change_makes_one_version_with_before_and_after_of_each_entry(root):
    ends = timezone.now() + timedelta(days=3)
    made = change(
        root,
        "*@ACME.com",
        WantedEntry("ana@x.example", note="Fair", owner=root.pk),
        mode="enforce",
    )
    assert made.version == 1
    assert made.mode == "enforce"
    assert made.changed_by == root
    assert patterns(made) == ["acme.com", "ana@x.example"]
    made = change(
        root,
        WantedEntry("acme.com", expires_at=ends),
        "bo@x.example",
        version=1,
        remove=["ANA@x.example"],
    )
    assert made.version == 2
    assert patterns(made) == ["acme.com", "bo@x.example"]
    recorded = {
        (line.version, line.what, (line.after or line.before).get("pattern", "")): (
            line.before,
            line.after,
        )
        for line in AllowChange.objects.all()
    }
    assert set(recorded) == {
        (1, "mode", ""), (1, "added", "acme.com"), (1, "added", "ana@x.example"),
        (2, "changed", "acme.com"), (2, "added", "bo@x.example"), (2, "removed", "ana@x.example"),
    }  # fmt: skip
    assert recorded[1, "mode", ""] == ({"mode": "off"}, {"mode": "enforce"})
    before, after = recorded[2, "changed", "acme.com"]
    assert before["expires_at"] is None
    assert after["expires_at"] == ends.isoformat()
    fair = {
        "pattern": "ana@x.example",
        "note": "Fair",
        "owner": root.pk,
        "expires_at": None,
    }
    assert recorded[2, "removed", "ana@x.example"][0] == fair
    assert AllowEntry.objects.get(pattern="ana@x.example").removed_at is not None


def test_each_change_is_in_the_ledger_once(root, connection):
    here = ListScope(connection=connection.pk)
    change(root, "acme.com", scope=here, mode="enforce")
    change(root, scope=here, version=1, mode="monitor")
    many = (f"c{number}.example" for number in range(60))
    change(root, *many, scope=here, version=2, how="imported")
    first, second, third = Entry.objects.filter(
        action__startswith="allowlist."
    ).oldest_first()
    assert [one.action for one in (first, second, third)] == [
        "allowlist.changed", "allowlist.mode_set", "allowlist.imported",
    ]  # fmt: skip
    fields = first.detail.fields
    recorded = (fields["scope"], fields["list"], fields["added"], fields["version"])
    assert recorded == ("Gateway main", "restriction", "acme.com", "1")
    assert first.connection == connection.pk
    assert third.detail.fields["added"].endswith("c49.example and 10 more")


def test_change_without_effect_makes_no_version_and_a_stale_change_is_refused(
    root, admin
):
    change(root, WantedEntry("acme.com", note="x"))
    made = change(
        root,
        WantedEntry("ACME.com.", note="x"),
        version=1,
        mode="off",
        remove=["nobody.example"],
    )
    assert made.version == 1
    assert AllowChange.objects.count() == 1
    assert GateList.objects.count() == 0
    assert Entry.objects.filter(action__startswith="allowlist.").count() == 1
    change(admin, "b.example", version=1)
    with pytest.raises(StaleAllowlist, match="you saw version 1, now it is version 2"):
        change(root, "c.example", version=1, remove=["acme.com"])
    assert patterns(Allowlist.objects.get()) == ["acme.com", "b.example"]


def test_entry_that_would_be_invalid_today_can_be_removed(root):
    made = change(root, "acme.com")
    AllowEntry.objects.create(
        allowlist=made, pattern="eve%evil.example@acme.com", added_by=root
    )
    assert patterns(change(root, version=1, remove=["eve%evil.example@acme.com"])) == [
        "acme.com"
    ]


@pytest.mark.django_db(transaction=True)
def test_of_many_concurrent_changes_to_one_version_one_succeeds(root, connection):
    found = at_once(
        *(
            lambda number=number: change(root, f"c{number}.example")
            for number in range(4)
        )
    )
    assert sorted(type(one).__name__ for one in found) == [
        "Allowlist",
        *["StaleAllowlist"] * 3,
    ]
    assert Allowlist.objects.get().version == 1
    assert AllowEntry.objects.count() == 1
    assert GateList.objects.get().wanted == 1


def test_change_is_queued_for_the_gate_of_every_affected_mailbox_and_no_other(
    root, connection, sent_tasks
):
    other = make_connection("other")
    one = connection.mailboxes.get()
    second = Mailbox.objects.create(
        connection=connection, upstream_id="01B", address="b@yourteam.example"
    )
    change(root, "a.example", scope=ListScope(mailbox=one.pk))
    change(root, "a.example", scope=ListScope(connection=connection.pk))
    change(root, "a.example", kind="bypass")
    assert {(gate.mailbox_id, gate.kind): gate.wanted for gate in GateList.objects.all()} == {
        (one.pk, "restriction"): 2, (second.pk, "restriction"): 1,
        **{(key, "bypass"): 1 for key in (one.pk, second.pk, other.mailboxes.get().pk)},
    }  # fmt: skip
    assert sent_tasks == [("policy.tasks.push_lists",)] * 3


def test_invalid_change_is_refused_and_changes_nothing(root):
    for put, fields, sentence in (
        (["*.com"], {}, "is none of name@domain"),
        (["a@acme.com@evil.io"], {}, "is none of name@domain"),
        ([], {"remove": ["*"]}, "is none of name@domain"),
        ([], {"mode": "on"}, "not a mode of an allowlist"),
        ([], {"mode": "contacts", "kind": "bypass"}, "cannot use contacts"),
    ):
        with pytest.raises(ActNotAllowed, match=sentence):
            change(root, *put, **fields)
    assert not Allowlist.objects.exists()


def test_only_an_admin_of_the_whole_scope_of_a_list_changes_it(connection):
    mailbox = connection.mailboxes.get()
    scopes = {
        "everything": Allowlist(),
        "connection": Allowlist(connection=connection),
        "mailbox": Allowlist(mailbox=mailbox),
        "elsewhere": Allowlist(mailbox=make_connection("other").mailboxes.get()),
    }  # fmt: skip
    reached = {
        "everything": {*scopes}, "connection": {"connection", "mailbox"}, "mailbox": {"mailbox"},
    }  # fmt: skip
    where = {
        "everything": {},
        "connection": {"connection": connection},
        "mailbox": {"mailbox": mailbox},
    }
    for scope, expected in reached.items():
        for role in Role:
            person = make_person(
                f"{role}.{scope}@yourteam.example", "Pat", role, **where[scope]
            )
            may = {
                name
                for name, one in scopes.items()
                if one.is_administered_by(actor_of(person))
            }
            assert may == (expected if role == Role.ADMIN else set()), (role, scope)
    with pytest.raises(ActNotAllowed, match="Only an admin of everything"):
        change(person, "acme.com", scope=ListScope())
    assert not Allowlist.objects.exists()


def allow(person, mailbox, address="Dana@Northwind.example", **more):
    return allow_for_days(
        address=address, mailbox=mailbox.pk, actor=actor_of(person), **more
    )


def test_temporary_entry_expires_and_has_an_owner(root, connection):
    make_list()
    made = allow(root, connection.mailboxes.get(), days=2)
    entry = AllowEntry.objects.get()
    assert entry.pattern == "dana@northwind.example"
    assert entry.owner == root
    assert entry.note == "Allowed for 2 days"
    assert timedelta(days=1, hours=23) < entry.expires_at - clock() <= timedelta(days=2)
    # In monitor mode its entry counts with enforced ones, and it refuses nobody once
    # those are switched off.
    assert made.mode == "monitor"
    assert made.version == 1
    assert Entry.objects.filter(action="allowlist.allowed").count() == 1
    # Allowing again never shortens an entry that lasts longer.
    AllowEntry.objects.update(expires_at=None)
    assert allow(root, connection.mailboxes.get()).version == 1
    assert AllowEntry.objects.get().expires_at is None
    AllowEntry.objects.update(expires_at=timezone.now() - timedelta(days=1))
    assert allow(root, connection.mailboxes.get()).version == 2
    assert AllowEntry.objects.get().expires_at > timezone.now()


def test_refused_temporary_entry_says_why_and_changes_nothing(root, connection):
    mailbox = connection.mailboxes.get()
    with pytest.raises(ActNotAllowed, match="No allowlist is enforced"):
        allow(root, mailbox)
    make_list()
    for address in ("a@acme.com@evil.io", "*@acme.com", "*.x@acme.com", "acme.com", ""):
        with pytest.raises(ActNotAllowed, match="No entry can name this address"):
            allow(root, mailbox, address)
    assert not AllowEntry.objects.exists()
    # It does not switch on a list that has other entries.
    make_list("evil.io", mode="off", mailbox=mailbox)
    with pytest.raises(ActNotAllowed, match="is off, and its entries"):
        allow(root, mailbox)
    assert Allowlist.objects.get(mailbox=mailbox).mode == "off"
