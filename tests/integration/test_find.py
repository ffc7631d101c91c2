"""Find lists what somebody may use, and nothing else, and what of it contains the words
that were typed.
"""

import re
from html import unescape

import pytest
from django.urls import resolve, reverse
from django.utils import timezone

from approvals.models import SavedView
from common.actors import Role, Scope
from dashboard.frame.find import ACTS, PAGES, entries_for
from mirror.models import Mailbox
from tests.doors import DOORS
from tests.factories import make_connection, make_person

# Acts elsewhere lead to a page that others may see too; these are what the page then
# offers.
OFFERED_BY = {"Pull the kill switch": "pull-switch"}


def labels(client, query=""):
    """What the page lists, by its address."""
    page = client.get(f"/find/{query}").text
    found = re.findall(
        r'<li>\s*<a\s+href="([^"]*)"[^>]*><span class="whole">(.*?)</span>', page, re.S
    )
    return {
        re.sub(r"<[^>]+>", "", unescape(label)): unescape(address)
        for address, label in found
    }


def may_pass(name, actor):
    """Whether the table of permissions, which a walk through all addresses proves, lets
    this person through.
    """
    door = DOORS[name]
    held = [scope for scope in actor.scopes if scope.role in door.roles]
    return {
        "own": bool(held) or door.roles == tuple(Role),
        "desk": any(scope.is_everywhere for scope in held),
        "some connection": any(scope.mailbox is None for scope in held),
        "connection": bool(held),
    }[door.reach]


@pytest.mark.parametrize("role", [None, *Role])
@pytest.mark.parametrize("reach", ["everything", "connection", "mailbox"])
def test_every_page_and_act_is_listed_for_whoever_may_use_it_and_for_nobody_else(
    connection, reviewer, role, reach
):
    box = Mailbox.objects.filter(connection=connection).first()
    scope = {
        "everything": {},
        "connection": {"connection": 1},
        "mailbox": {"mailbox": box.pk if box else 1},
    }[reach]
    actor = reviewer.actor(surface="web")
    actor = type(actor)(
        **{**actor.__dict__, "scopes": (Scope(role, **scope),) if role else ()}
    )
    listed = {entry.label for entry in entries_for(actor)}
    expected = {
        label
        for label, name, *_ in (*PAGES, *ACTS)
        if may_pass(OFFERED_BY.get(label, name), actor)
    }
    assert {label for label, *_ in (*PAGES, *ACTS)} & listed == expected


def test_auditor_and_stranger_find_no_decision_and_every_link_opens(
    signed_in, auditor, connection
):
    found = labels(signed_in(auditor))
    assert "Audit" in found
    assert not [
        label
        for label in found
        if re.match(r"(Approve|Reject|Request changes|Undo|Pull|Add|Invite)\b", label)
    ]
    client = signed_in(auditor)
    # One address of each view: there are many queues and findings.
    addresses = {
        resolve(address.partition("?")[0]).url_name: address
        for address in found.values()
    }
    assert {
        name: client.get(address).status_code for name, address in addresses.items()
    } == dict.fromkeys(addresses, 200)
    stranger = make_person("nobody@yourteam.example", "Nobody")
    assert labels(signed_in(stranger)).keys().isdisjoint({"People", "Reports"})


def test_mailboxes_views_and_people_are_those_that_one_sees(
    signed_in, reviewer, admin, connection
):
    mine = Mailbox.objects.filter(connection=connection).first()
    other = make_connection("other")
    theirs = Mailbox.objects.create(
        connection=other, upstream_id="x-1", address="payroll@other.example"
    )
    narrow = make_person("rita@yourteam.example", "Rita Café", "reviewer", mailbox=mine)
    for person, name, shared in (
        (admin, "Big sums", True),
        (admin, "My own", False),
        (narrow, "À la Zoë", False),
    ):
        query = f"q={name[0]}"
        SavedView.objects.create(
            person=person,
            name=name,
            query=query,
            shared=shared,
            created_at=timezone.now(),
        )
    found = labels(signed_in(narrow))
    assert {"Big sums", "À la Zoë"} <= found.keys()
    assert found["Big sums"] == f"{reverse('queue')}?q=B"
    assert [label for label in found if "@" in label] == [
        f"Messages of {mine}",
        f"Settings of {mine}",
    ]
    assert found.keys().isdisjoint(
        {"My own", str(theirs), str(admin), str(narrow), "other"}
    )
    assert {str(narrow), f"Messages of {theirs}"} <= labels(signed_in(admin)).keys()
    # Accents, case and signs make no difference.
    assert list(labels(signed_in(narrow), "?q=ZOE")) == ["À la Zoë"]
    assert list(labels(signed_in(admin), "?q=rita+cafe")) == ["Rita Café"]
    assert list(labels(signed_in(admin), "?q=payroll@")) == [
        f"Messages of {theirs}",
        f"Settings of {theirs}",
    ]
    assert "No results for “xq&lt;”" in signed_in(narrow).get("/find/?q=xq<").text


def test_every_word_is_contained_in_what_is_found_in_the_order_of_the_list(
    signed_in, admin
):
    client = signed_in(admin)
    assert list(labels(client, "?q=UDIT")) == [
        "Audit",
        "Past exports",
        "Export history",
    ]
    assert list(labels(client, "?q=emerg+stop")) == [
        "Kill switch",
        "Pull the kill switch",
    ]
    assert labels(client, "?q=emergency+zz") == {}
    assert labels(client, "?q=+-") == labels(client)
