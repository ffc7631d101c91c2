"""The commands that change allowlists: versions, permissions and the ledger."""

from datetime import timedelta

import pytest
from django.utils import timezone

from audit.models import Entry
from mirror.errors import ActNotAllowed
from mirror.models import Mailbox
from people.roles import GrantTarget
from people.second_admin.registry import SecondAdminNeeded
from policy.errors import PolicyRefused, StalePolicy, seen_state
from policy.models import AllowEntry, Allowlist, PolicyVersion
from policy.rules.groups import (
    WantedEntry,
    add_allowlist,
    apply_change,
    delete_named,
    in_words,
)
from tests.factories import (
    actor_of,
    change_row,
    listed_patterns,
    make_list,
    make_person,
    rolled_back,
)
from tests.integration.deciding import at_once
from tests.integration.test_second_admin import switch_on


def change(person, at, *put, seen=None, remove=()):
    at.refresh_from_db()
    return apply_change(
        allowlist=at,
        put=[one if isinstance(one, WantedEntry) else WantedEntry(one) for one in put],
        remove=remove,
        seen=seen or seen_state(in_words(at)),
        actor=actor_of(person),
    )


def test_change_makes_one_version_and_the_ledger_names_each_entry(admin, connection):
    here = GrantTarget(connection.pk)
    at = add_allowlist(name="Ours", target=here, actor=actor_of(admin))
    change(admin, at, "*@ACME.com", "ana@x.example")
    ends = timezone.now() + timedelta(days=3)
    put = (WantedEntry("acme.com", expires_at=ends), "bo@x.example")
    made = change(admin, at, *put, remove=["ANA@x.example"])
    assert made.version == 3
    assert listed_patterns() == ["acme.com", "bo@x.example"]
    added, first, second = Entry.objects.filter(
        action__startswith="allowlist."
    ).oldest_first()
    assert (added.action, first.action) == ("allowlist.added", "allowlist.changed")
    assert first.detail.fields["added"] == "acme.com, ana@x.example"
    assert first.connection == connection.pk
    fields = second.detail.fields
    assert fields["allowlist"] == "Ours"
    assert fields["changed"] == f"acme.com until {ends:%Y-%m-%d %H:%M}"
    assert (fields["added"], fields["removed"]) == ("bo@x.example", "ana@x.example")


def test_change_without_effect_makes_no_version_and_a_stale_change_is_refused(
    admin, second
):
    at = make_list()
    change(admin, at, WantedEntry("acme.com", note="x"))
    same = WantedEntry("ACME.com.", note="x")
    assert change(admin, at, same, remove=["nobody.example"]).version == 2
    assert Entry.objects.filter(action="allowlist.changed").count() == 1
    seen = seen_state(in_words(at))
    change(second, at, "b.example")
    with pytest.raises(StalePolicy, match=f"{second} changed this meanwhile"):
        change(admin, at, "c.example", seen=seen, remove=["acme.com"])
    with pytest.raises(ActNotAllowed, match="is none of name@domain"):
        change(admin, at, "*.com")
    assert listed_patterns() == ["acme.com", "b.example"]


def test_entry_that_would_be_invalid_today_can_be_removed(admin):
    at = make_list("acme.com")
    AllowEntry.objects.create(allowlist=at, pattern="eve%evil.example@acme.com")
    change(admin, at, remove=["eve%evil.example@acme.com"])
    assert listed_patterns() == ["acme.com"]


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_of_many_concurrent_changes_to_one_version_one_succeeds(admin):
    at = make_list()
    seen = seen_state(in_words(at))
    found = at_once(
        *(
            lambda number=number: change(admin, at, f"c{number}.example", seen=seen)
            for number in range(4)
        )
    )
    kinds = sorted(type(one).__name__ for one in found)
    assert kinds == ["Allowlist", *["StalePolicy"] * 3]
    assert Allowlist.objects.get().version == 2


@pytest.mark.slow
def test_ten_thousand_entries_are_added_at_once(admin):
    many = [WantedEntry(f"p{number}@x.example") for number in range(10_000)]
    made = change(admin, make_list(), *many)
    assert made.entries.count() == 10_000
    fields = Entry.objects.get(action="allowlist.changed").detail.fields
    assert fields["added"].endswith("and 9,000 more")


def test_only_an_admin_of_the_whole_scope_of_a_list_changes_it(connection):
    """Whose role reaches all of a scope: test_kill_switch_roles.py."""
    of_connection = make_person("p@y.example", "Pat", "admin", connection=connection)
    actor = actor_of(of_connection)
    for act in (
        lambda: change(of_connection, make_list(), "acme.com"),
        lambda: add_allowlist(name="Mine", target=GrantTarget(), actor=actor),
        lambda: delete_named(row=make_list(), actor=actor),
    ):
        with pytest.raises(ActNotAllowed, match="Only an admin of everything"):
            act()
    add_allowlist(name="Mine", target=GrantTarget(connection.pk), actor=actor)


def test_list_that_a_rule_pass_or_draft_names_is_not_deleted(admin):
    at = make_list("acme.com")
    actor = actor_of(admin)
    with pytest.raises(PolicyRefused, match="The allowlist “All” already has"):
        add_allowlist(name=" ALL ", target=GrantTarget(), actor=actor)
    rule = {"id": "known", "name": "Known", "then": {"reject": "Nobody else"}}
    for how in ("lists", "lists_except"):
        named = {**rule, "when": {how: [at.pk]}}
        draft = PolicyVersion.objects.create(number=1, rules=[named])
        with pytest.raises(PolicyRefused, match="“Known” of the policy names it"):
            delete_named(row=at, actor=actor)
        draft.delete()
    delete_named(row=at, actor=actor)
    assert not Allowlist.objects.exists()
    fields = Entry.objects.get(action="allowlist.deleted").detail.fields
    assert fields["removed"] == "acme.com"


def test_list_of_a_pass_gets_nothing_while_there_is_one_admin(
    admin, second, connection
):
    at = make_list("acme.com")
    box = Mailbox.objects.get()
    when = {"keys": ["1:k"], "mailboxes": [box.pk], "lists": [at.pk]}
    ends = (timezone.now() + timedelta(days=9)).isoformat()
    one = {"id": "p", "name": "P", "when": when, "ends_at": ends, "a_day": 1}
    PolicyVersion.objects.create(
        number=1, state="active", passes=[one], activated_at=timezone.now()
    )
    with pytest.raises(SecondAdminNeeded):
        change(admin, at, "evil.example")
    # Nor does a rule apply to fewer messages beside a pass.
    vip = make_list("ana@x.example", name="VIP")
    rule = {"id": "r", "name": "R", "when": {"lists": [vip.pk]}, "then": {"care": True}}
    PolicyVersion.objects.update(state="retired")
    PolicyVersion.objects.create(
        number=2,
        state="active",
        rules=[rule],
        passes=[one],
        activated_at=timezone.now(),
    )
    with pytest.raises(SecondAdminNeeded):
        change(admin, vip, remove=["ana@x.example"])
    change_row(second, is_active=False)
    with pytest.raises(PolicyRefused, match="there is only one"):
        change(admin, at, "evil.example")


def test_change_waits_for_a_second_admin_where_it_may_let_out_more(admin, second):
    soon, later = (timezone.now() + timedelta(days=one) for one in (1, 9))
    at = make_list("acme.com")
    at.entries.update(expires_at=later)
    loosening = {
        "added": {"put": [WantedEntry("b.example")]},
        "longer": {"put": [WantedEntry("acme.com")]},
    }
    tightening = {
        "shorter": {"put": [WantedEntry("acme.com", expires_at=soon)]},
        "removed": {"remove": ["acme.com"]},
    }
    rule = {"id": "r", "name": "R", "then": {"approvals": {"0": 2}}}
    switch_on()
    for when, waiting in (
        ({}, loosening),
        ({"lists_except": [at.pk]}, loosening),
        # Such a rule may apply to fewer messages then.
        ({"lists": [at.pk]}, loosening | tightening),
    ):
        with rolled_back():
            PolicyVersion.objects.create(
                number=1,
                rules=[{**rule, "when": when}],
                state="active",
                activated_at=timezone.now(),
            )
            for name, asked in (loosening | tightening).items():
                with rolled_back():
                    try:
                        change(
                            admin,
                            at,
                            *asked.get("put", ()),
                            remove=asked.get("remove", ()),
                        )
                        waits = False
                    except SecondAdminNeeded:
                        waits = True
                    assert waits == (name in waiting), (when, name)
