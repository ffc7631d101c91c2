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
from connections.mailboxes.commands import (
    change_mailbox,
    create_mailbox,
    loosen,
    set_minimum,
)
from mirror.errors import ActNotAllowed
from mirror.models import Connection, Mailbox
from mirror.oversight_modes import NAMES, is_below
from people.models import OrganisationSettings
from policy.gate_minimum import bring_minimum, to_compare
from tests.factories import actor_of, make_connection, make_person
from tests.markup import says


@pytest.mark.slow
def test_query_of_mailboxes_below_says_what_the_function_says(admin, connection):
    Mailbox.objects.all().delete()
    for mode in (*NAMES, "later_mode", ""):
        for per_call in (False, True):
            Mailbox.objects.create(
                connection=connection,
                upstream_id=f"{mode}{per_call}",
                address=f"{mode}-{per_call}@x.example",
                oversight_mode=mode,
                allow_looser_per_call=per_call,
            )
    boxes = list(Mailbox.objects.all())
    Mailbox.objects.create(
        connection=connection, oversight_mode="autonomous", is_active=False
    )
    OrganisationSettings.objects.create(minimum_set_at=timezone.now())
    actor = actor_of(admin)
    for minimum in ("", *NAMES):
        OrganisationSettings.objects.update(minimum_oversight=minimum)
        expected = {
            one
            for one in boxes
            if is_below(
                one.oversight_mode, per_call=one.allow_looser_per_call, minimum=minimum
            )
        }
        assert set(Mailbox.objects.below_minimum(minimum)) == expected, minimum
    items = [one.kind for one in attention_for(actor, timezone.now())]
    assert items.count("below_minimum") == len(expected)
    assert attention_count(actor) == len(items)


def test_no_mailbox_is_set_below_it_from_the_desk(admin, account):
    actor = actor_of(admin)
    box = account.mailbox
    set_minimum(actor=actor, mode="gated_send")
    sent_waits = r"minimum is Sent mail waits \(gated_send\)"
    with pytest.raises(ChangeRefused, match=sent_waits):
        loosen(mailbox=box, actor=actor, target="monitored")
    looser = {"allow_looser_per_call": True}
    with pytest.raises(ChangeRefused, match="a call that may loosen"):
        change_mailbox(mailbox=box, actor=actor, changes=looser)
    set_minimum(actor=actor, mode="gated_all")
    wanted = {"address": "board", "oversight_mode": "gated_send"}
    with pytest.raises(ChangeRefused, match=r"minimum is All mail waits \(gated_all\)"):
        create_mailbox(connection=account.connection, actor=actor, wanted=wanted)
    assert Mailbox.objects.get(pk=box.pk).oversight_mode == "gated_send"
    assert Entry.objects.filter(action="oversight_minimum.set").count() == 2


def shown(client):
    page = client.get("/mailboxes/minimum/")
    return [(one.word, one.sentence) for one in page.context["gateways"]]


def bring():
    """As the sweep does."""
    return [bring_minimum(connection_id=one.pk) for one in to_compare()]


def test_minimum_arrives_at_our_gateway_whose_api_refuses_looser_modes(
    signed_in, admin, account
):
    client = signed_in(admin)
    there = account.world.account

    def minimum(mode):
        client.post("/mailboxes/minimum/set/", {"minimum": mode})

    def change(path, **body):
        return account.ask("PATCH", f"/v1/{path}", key="admin", json=body)

    assert bring() == []
    minimum("gated_send")
    assert shown(client)[0][0] == "On its way"
    assert bring() == ["brought"]
    assert bring() == []
    there.refresh_from_db()
    assert there.minimum_oversight_mode == "gated_send"
    assert shown(client)[0][0] == "At the gateway"
    box = f"mailboxes/{account.mailbox.upstream_id}"
    refused = change(box, allow_looser_per_call=True)
    assert refused.json()["code"] == "below_minimum"
    told = Entry.objects.get(action="oversight_minimum.brought")
    assert told.detail.fields["after"] == "gated_send"
    # The gateway forgot it, as one that was restored: the next comparison brings it
    # again.
    type(there).objects.update(minimum_oversight_mode="")
    earlier = timezone.now() - timedelta(minutes=6)
    Connection.objects.update(gate_minimum_checked_at=earlier)
    assert bring() == ["brought"]
    # A lower one is not brought, and no admin key can lower it without a code.
    minimum("monitored")
    assert bring() == ["there already"]
    assert shown(client)[0][0] == "Stricter there"
    assert change("account", minimum_oversight_mode="").status_code == 202
    there.refresh_from_db()
    assert there.minimum_oversight_mode == "gated_send"


@pytest.mark.slow
def test_minimum_that_has_not_arrived_says_why_and_is_tried_again(
    signed_in, admin, account
):
    client = signed_in(admin)
    actor = actor_of(admin)
    make_connection("hosted", is_our_gateway=False)
    client.post("/mailboxes/minimum/set/", {"minimum": "gated_send"})
    ours = Connection.objects.filter(is_our_gateway=True)
    ours.update(api_url="http://127.0.0.1:9")
    assert bring() == ["not now"]
    assert dict(shown(client)).keys() == {"Not there yet", "Only here"}
    others = attention_count(actor)
    long_ago = timezone.now() - timedelta(hours=1)
    OrganisationSettings.objects.update(minimum_set_at=long_ago)
    lacks = "lacks the organisation's minimum oversight"
    says(client.get("/attention/"), 200, lacks)
    number = len(attention_for(actor, timezone.now()))
    assert attention_count(actor) == number == others + 1
    there = account.connection.api_url
    ours.update(api_url=there, gate_minimum_checked_at=long_ago)
    assert bring() == ["brought"]
    assert attention_count(actor) == others
    Connection.objects.update(admin_key="")
    assert ("Not there", "The connection has no admin key.") in shown(client)


@pytest.mark.slow
def test_mailbox_that_was_changed_elsewhere_is_named(signed_in, admin, account, capsys):
    client = signed_in(admin)
    client.post("/mailboxes/minimum/set/", {"minimum": "gated_send"})
    # By API, past the desk.
    loosened = account.world.mailbox
    loosened.oversight_mode = "monitored"
    loosened.allow_looser_per_call = True
    loosened.save()
    client.get("/mailboxes/")
    says(client.get("/attention/"), 200, "below the organisation")
    with pytest.raises(SystemExit):
        call_command("doctor")
    assert "below the organisation's minimum oversight" in capsys.readouterr().out


def test_only_an_admin_of_everything_sets_it(connection):
    kim = make_person("kim@yourteam.example", "Kim", "admin", connection=connection)
    with pytest.raises(ActNotAllowed):
        set_minimum(actor=actor_of(kim), mode="gated_all")
