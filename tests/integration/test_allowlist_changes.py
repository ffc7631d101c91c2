"""The commands that change allowlists: versions, permissions, ledger, and
updates of the gates.
"""

from datetime import timedelta

import pytest
from django.utils import timezone

from audit.models import Entry
from common.postgres import clock
from mirror.errors import ActNotAllowed
from policy.allowlists.changes import Change, WantedEntry, allow_for_days, apply_change
from policy.allowlists.judgement import ListScope
from policy.errors import StaleAllowlist
from policy.models import AllowEntry, Allowlist, GateList
from tests.factories import (
    actor_of,
    listed_patterns,
    make_connection,
    make_list,
    make_person,
)
from tests.integration.deciding import at_once


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


def test_change_makes_one_version_and_the_ledger_names_each_entry(admin, connection):
    here = {"scope": ListScope(connection=connection.pk)}
    entry = WantedEntry("ana@x.example", note="Fair", owner=admin.pk)
    change(admin, "*@ACME.com", entry, mode="enforce", **here)
    ends = timezone.now() + timedelta(days=3)
    put = (WantedEntry("acme.com", expires_at=ends), "bo@x.example")
    made = change(admin, *put, version=1, remove=["ANA@x.example"], **here)
    assert made.version == 2
    assert listed_patterns() == ["acme.com", "bo@x.example"]
    change(admin, version=2, mode="monitor", **here)
    entries = Entry.objects.filter(action__startswith="allowlist.").oldest_first()
    assert [one.action.partition(".")[2] for one in entries] == [
        "changed", "changed", "mode_set",
    ]  # fmt: skip
    assert entries[0].detail.fields["added"] == "acme.com, ana@x.example"
    assert entries[0].connection == connection.pk
    fields = entries[1].detail.fields
    assert fields["changed"] == f"acme.com until {ends:%Y-%m-%d %H:%M}"
    assert fields["added"] == "bo@x.example"
    assert fields["removed"] == "ana@x.example"


def test_change_without_effect_makes_no_version_and_a_stale_change_is_refused(
    admin, second
):
    change(admin, WantedEntry("acme.com", note="x"))
    made = change(
        admin,
        WantedEntry("ACME.com.", note="x"),
        version=1,
        mode="off",
        remove=["nobody.example"],
    )
    assert made.version == 1
    assert GateList.objects.count() == 0
    assert Entry.objects.filter(action__startswith="allowlist.").count() == 1
    change(second, "b.example", version=1)
    with pytest.raises(StaleAllowlist, match="you saw version 1, now it is version 2"):
        change(admin, "c.example", version=1, remove=["acme.com"])
    assert listed_patterns() == ["acme.com", "b.example"]


def test_entry_that_would_be_invalid_today_can_be_removed(admin):
    made = change(admin, "acme.com")
    AllowEntry.objects.create(
        allowlist=made, pattern="eve%evil.example@acme.com", added_by=admin
    )
    change(admin, version=1, remove=["eve%evil.example@acme.com"])
    assert listed_patterns() == ["acme.com"]


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_of_many_concurrent_changes_to_one_version_one_succeeds(admin, connection):
    found = at_once(
        *(
            lambda number=number: change(admin, f"c{number}.example")
            for number in range(4)
        )
    )
    assert sorted(type(one).__name__ for one in found) == [
        "Allowlist",
        *["StaleAllowlist"] * 3,
    ]
    assert Allowlist.objects.get().version == 1


def test_change_is_queued_for_the_gate_of_every_affected_mailbox_and_no_other(
    admin, connection, sent_tasks
):
    one = connection.mailboxes.get()
    second = connection.mailboxes.create(upstream_id="01B", address="b@y.example")
    other = make_connection("other").mailboxes.get()
    change(admin, "a.example", scope=ListScope(mailbox=one.pk))
    change(admin, "a.example", scope=ListScope(connection=connection.pk))
    change(admin, "a.example", kind="bypass")
    wanted = GateList.objects.values_list("mailbox", "kind", "wanted")
    assert set(wanted) == {
        (one.pk, "restriction", 2),
        (second.pk, "restriction", 1),
        *((box.pk, "bypass", 1) for box in (one, second, other)),
    }
    assert sent_tasks == [("policy.tasks.push_lists",)] * 3


def test_invalid_change_is_refused_and_changes_nothing(admin):
    for put, fields, sentence in (
        (["*.com"], {}, "is none of name@domain"),
        ([], {"mode": "contacts", "kind": "bypass"}, "cannot use contacts"),
    ):
        with pytest.raises(ActNotAllowed, match=sentence):
            change(admin, *put, **fields)
    assert not Allowlist.objects.exists()


def test_only_an_admin_of_the_whole_scope_of_a_list_changes_it(connection, reviewer):
    mailbox = connection.mailboxes.get()
    lists = [
        Allowlist(),
        Allowlist(connection=connection),
        Allowlist(mailbox=mailbox),
        Allowlist(mailbox=make_connection("other").mailboxes.get()),
    ]
    of_connection = make_person("p@y.example", "Pat", "admin", connection=connection)
    of_mailbox = make_person("q@y.example", "Quinn", "admin", mailbox=mailbox)
    for person, may in (
        (of_connection, [False, True, True, False]),
        (of_mailbox, [False, False, True, False]),
        (reviewer, [False] * 4),
    ):
        actor = actor_of(person)
        assert [one.is_administered_by(actor) for one in lists] == may, person
    with pytest.raises(ActNotAllowed, match="Only an admin of everything"):
        change(of_connection, "acme.com", scope=ListScope())


def allow(person, mailbox, address="Dana@Northwind.example", **more):
    return allow_for_days(
        address=address, mailbox=mailbox.pk, actor=actor_of(person), **more
    )


def test_temporary_entry_expires_and_has_an_owner(admin, connection):
    make_list()
    made = allow(admin, connection.mailboxes.get(), days=2)
    entry = AllowEntry.objects.get()
    assert entry.pattern == "dana@northwind.example"
    assert entry.owner == admin
    assert timedelta(days=1, hours=23) < entry.expires_at - clock() <= timedelta(days=2)
    # In monitor mode its entry counts with enforced ones, and it refuses nobody once
    # those are switched off.
    assert made.mode == "monitor"
    # Allowing again never shortens an entry that lasts longer.
    AllowEntry.objects.update(expires_at=None)
    assert allow(admin, connection.mailboxes.get()).version == 1


def test_refused_temporary_entry_says_why_and_changes_nothing(admin, connection):
    mailbox = connection.mailboxes.get()
    with pytest.raises(ActNotAllowed, match="No allowlist is enforced"):
        allow(admin, mailbox)
    make_list()
    for address in ("a@acme.com@evil.io", "*@acme.com", "acme.com", ""):
        with pytest.raises(ActNotAllowed, match="No entry can name this address"):
            allow(admin, mailbox, address)
    assert not AllowEntry.objects.exists()
    # It does not switch on a list that has other entries.
    make_list("evil.io", mode="off", mailbox=mailbox)
    with pytest.raises(ActNotAllowed, match="is off, and its entries"):
        allow(admin, mailbox)
    assert Allowlist.objects.get(mailbox=mailbox).mode == "off"
