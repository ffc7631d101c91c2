"""Find lists what somebody may use, and nothing else, and what of it contains the words
that were typed.
"""

import re
from dataclasses import replace
from html import unescape

import pytest
from django.urls import reverse

from approvals.models import SavedView
from common.actors import Role, Scope
from dashboard.frame.find import ACTS, PAGES, entries_for
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
def test_every_page_and_act_is_listed_for_whoever_may_use_it_and_for_nobody_else(
    reviewer, mailbox, role
):
    actor = reviewer.actor(surface="web")
    for reach in ({}, {"connection": 1}, {"mailbox": mailbox.pk}):
        actor = replace(actor, scopes=(Scope(role, **reach),) if role else ())
        listed = {entry.label for entry in entries_for(actor)}
        for label, name, *_ in (*PAGES, *ACTS):
            may = may_pass(OFFERED_BY.get(label, name), actor)
            assert (label in listed) == may, (label, reach)


def test_mailboxes_views_and_people_are_those_that_one_sees(signed_in, admin, mailbox):
    make_connection("other")
    narrow = make_person(
        "rita@yourteam.example", "Rita Café", "reviewer", mailbox=mailbox
    )
    for person, name, shared in (
        (admin, "Big sums", True),
        (admin, "My own", False),
        (narrow, "À la Zoë", False),
    ):
        SavedView.objects.create(person=person, name=name, query="q=B", shared=shared)
    client = signed_in(narrow)
    found = labels(client)
    assert found["Big sums"] == f"{reverse('queue')}?q=B"
    assert "À la Zoë" in found
    assert [label for label in found if "@" in label] == [
        f"Messages of {mailbox}",
        f"Settings of {mailbox}",
    ]
    assert found.keys().isdisjoint({"My own", str(admin), str(narrow), "other"})
    # Accents, case and signs make no difference.
    assert list(labels(client, "?q=ZOE")) == ["À la Zoë"]
    assert "No results for “xq&lt;”" in client.get("/find/?q=xq<").text
    assert list(labels(signed_in(admin), "?q=rita+cafe")) == [str(narrow)]
