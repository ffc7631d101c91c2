"""The organisation's minimum oversight mode: no mailbox is set below it here, and those
below it are named.
"""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone

from approvals.operations.attention import attention_count, attention_for
from audit.models import Entry
from connections.errors import ChangeRefused
from connections.mailboxes.commands import change_mailbox, create_mailbox, loosen
from connections.mailboxes.minimum import mailboxes_below, set_minimum
from mirror.errors import ActNotAllowed
from mirror.models import Connection, Mailbox
from mirror.oversight_modes import NAMES, is_below
from people.models import OrganisationSettings
from policy.gate_minimum import bring_minimum, to_compare
from tests.factories import actor_of, make_connection, make_person

pytestmark = pytest.mark.django_db


def test_query_of_mailboxes_below_says_what_the_function_says(admin, connection):
    Mailbox.objects.all().delete()
    for number, mode in enumerate((*NAMES, "later_mode", "")):
        for per_call in (False, True):
            Mailbox.objects.create(
                connection=connection,
                upstream_id=f"{number}{per_call}",
                address=f"{mode}-{per_call}@x.example",
                oversight_mode=mode,
                allow_looser_per_call=per_call,
            )
    Mailbox.objects.create(
        connection=connection,
        upstream_id="gone",
        oversight_mode="autonomous",
        is_active=False,
    )
    for minimum in ("", *NAMES):
        OrganisationSettings.objects.update_or_create(
            pk=1,
            defaults={"minimum_oversight": minimum, "minimum_set_at": timezone.now()},
        )
        expected = {
            str(one)
            for one in Mailbox.objects.filter(is_active=True)
            if is_below(
                one.oversight_mode, per_call=one.allow_looser_per_call, minimum=minimum
            )
        }
        assert {
            str(one) for one in Mailbox.objects.below_minimum(minimum)
        } == expected, minimum
        items = [
            one
            for one in attention_for(actor_of(admin), timezone.now())
            if one.kind == "below_minimum"
        ]
        assert len(items) == len(expected)
    assert attention_count(actor_of(admin)) == len(
        attention_for(actor_of(admin), timezone.now())
    )


def test_no_mailbox_is_set_below_it_from_the_desk(admin, account):
    actor = actor_of(admin)
    set_minimum(actor=actor, mode="gated_send")
    with pytest.raises(
        ChangeRefused, match=r"minimum is Sent mail waits \(gated_send\)"
    ):
        loosen(mailbox=account.mailbox, actor=actor, target="monitored")
    with pytest.raises(ChangeRefused, match="a call that may loosen"):
        change_mailbox(
            mailbox=account.mailbox,
            actor=actor,
            changes={"allow_looser_per_call": True},
        )
    set_minimum(actor=actor, mode="gated_all")
    wanted = {
        "address": "board",
        "display_name": "",
        "oversight_mode": "gated_send",
        "approval_code": "",
    }
    with pytest.raises(ChangeRefused, match=r"minimum is All mail waits \(gated_all\)"):
        create_mailbox(connection=account.connection, actor=actor, wanted=wanted)
    assert Mailbox.objects.get(pk=account.mailbox.pk).oversight_mode == "gated_send"
    before = {
        one.detail.fields["before"]
        for one in Entry.objects.filter(action="oversight_minimum.set")
    }
    assert before == {"any mode", "gated_send"}


def shown(client):
    page = client.get("/mailboxes/minimum/")
    return [(one.word, one.sentence) for one in page.context["gateways"]]


def bring():
    """As the sweep does."""
    return [bring_minimum(connection_id=one.pk) for one in to_compare()]


def test_minimum_arrives_at_our_gateway_whose_api_refuses_looser_modes(
    signed_in, admin, account
):
    client, there = signed_in(admin), account.world.account
    kept = to_compare()
    assert (bring(), shown(client)) == ([], [])
    client.post("/mailboxes/minimum/set/", {"minimum": "gated_send"})
    assert shown(client)[0][0] == "On its way"
    # The sweep made its query before there was a minimum.
    assert list(kept.all()) == [account.connection]
    assert (bring(), bring()) == (["brought"], [])
    there.refresh_from_db()
    assert there.minimum_oversight_mode == "gated_send"
    assert shown(client)[0][0] == "At the gateway"
    body = {"allow_looser_per_call": True}
    refused = account.ask(
        "PATCH", f"/v1/mailboxes/{account.mailbox.upstream_id}", key="admin", json=body
    )
    assert refused.json()["code"] == "below_minimum"
    assert (
        Entry.objects.get(action="oversight_minimum.brought").detail.fields["after"]
        == "gated_send"
    )
    # The gateway forgot it, as one that was restored: the next comparison brings it
    # again.
    type(there).objects.update(minimum_oversight_mode="")
    Connection.objects.update(
        gate_minimum_checked_at=timezone.now() - timedelta(minutes=6)
    )
    assert bring() == ["brought"]
    # A lower one is not brought, and no admin key can lower it without a code.
    client.post("/mailboxes/minimum/set/", {"minimum": "monitored"})
    assert bring() == ["there already"]
    assert shown(client)[0] == (
        "Stricter there",
        "The gateway's own minimum is gated_send, which is stricter. Its operator lowers it: "
        "gateway_limits --minimum-mode monitored.",
    )
    for lower in ("monitored", ""):
        asked = account.ask(
            "PATCH", "/v1/account", key="admin", json={"minimum_oversight_mode": lower}
        )
        assert asked.status_code == 202
    there.refresh_from_db()
    assert there.minimum_oversight_mode == "gated_send"
    raised = account.ask(
        "PATCH",
        "/v1/account",
        key="admin",
        json={"minimum_oversight_mode": "gated_all"},
    )
    assert (raised.status_code, raised.json()["minimum_oversight_mode"]) == (
        200,
        "gated_all",
    )


def test_minimum_that_has_not_arrived_says_why_and_is_tried_again(
    signed_in, admin, account
):
    client = signed_in(admin)
    make_connection("hosted", is_our_gateway=False)
    client.post("/mailboxes/minimum/set/", {"minimum": "gated_send"})
    Connection.objects.filter(is_our_gateway=True).update(api_url="http://127.0.0.1:9")
    assert bring() == ["not now"]
    words = dict(shown(client))
    assert set(words) == {"Not there yet", "Only here"}
    assert attention_count(actor_of(admin)) == 0
    OrganisationSettings.objects.update(
        minimum_set_at=timezone.now() - timedelta(hours=1)
    )
    assert (
        "lacks the organisation&#x27;s minimum oversight"
        in client.get("/attention/").content.decode()
    )
    assert (
        attention_count(actor_of(admin))
        == len(attention_for(actor_of(admin), timezone.now()))
        == 1
    )
    Connection.objects.filter(is_our_gateway=True).update(
        api_url=account.connection.api_url,
        gate_minimum_checked_at=timezone.now() - timedelta(minutes=6),
    )
    assert bring() == ["brought"]
    assert attention_count(actor_of(admin)) == 0
    Connection.objects.update(admin_key="")
    assert ("Not there", "The connection has no admin key.") in shown(client)


def test_mailbox_that_was_changed_elsewhere_is_named_and_raised_with_one_press(
    signed_in, admin, account, capsys
):
    client = signed_in(admin)
    assert (
        client.post("/mailboxes/minimum/set/", {"minimum": "gated_send"}).status_code
        == 302
    )
    # By API, past the desk.
    loosened = account.world.mailbox
    type(loosened).objects.filter(pk=loosened.pk).update(
        oversight_mode="monitored", allow_looser_per_call=True
    )
    client.get("/mailboxes/")
    page = client.get("/mailboxes/minimum/").content.decode()
    assert "A call may loosen it" in page
    assert "below the organisation" in client.get("/attention/").content.decode()
    with pytest.raises(SystemExit):
        call_command("doctor")
    assert "below the organisation's minimum oversight" in capsys.readouterr().out
    answer = client.post(f"/mailboxes/{account.mailbox.pk}/raise/")
    assert answer.status_code == 302, answer.content.decode()[-3000:]
    loosened.refresh_from_db()
    assert (loosened.oversight_mode, loosened.allow_looser_per_call) == (
        "gated_send",
        False,
    )
    assert mailboxes_below(actor_of(admin)) == []
    assert Entry.objects.newest_first().filter(action="mailbox.changed").exists()


def test_who_may_set_it_and_why_a_mailbox_cannot_be_raised(
    signed_in, admin, reviewer, connection
):
    keeper = make_person("kim@yourteam.example", "Kim", "admin", connection=connection)
    with pytest.raises(ActNotAllowed):
        set_minimum(actor=actor_of(keeper), mode="gated_all")
    other = make_connection("other")
    Mailbox.objects.update(
        oversight_mode="monitored", mirrored_at=timezone.now() - timedelta(minutes=1)
    )
    set_minimum(actor=actor_of(admin), mode="gated_all")
    found = {
        one.connection_id: why_not for one, why_not in mailboxes_below(actor_of(admin))
    }
    assert set(found) == {connection.pk, other.pk}
    assert all("no admin key" in why for why in found.values())
    auditor = make_person("ada@yourteam.example", "Ada", "auditor")
    assert (
        "Only an admin"
        in signed_in(auditor).get("/mailboxes/minimum/").content.decode()
    )
    assert signed_in(reviewer).get("/mailboxes/minimum/").status_code == 403
