"""The message page and the allowlists: what stands beside a recipient, and allowing one for seven days."""

import re

import pytest

from approvals.models import Decision
from audit.models import Entry
from people.models import Grant
from policy.models import AllowEntry, Allowlist
from tests.factories import make_connection, make_message, make_person

pytestmark = pytest.mark.django_db

DANA = "dana@northwind.example"


def make_list(*patterns, mode="enforce", **scope):
    made = Allowlist.objects.create(kind="restriction", mode=mode, version=1, **scope)
    AllowEntry.objects.bulk_create(AllowEntry(allowlist=made, pattern=one) for one in patterns)
    return made


@pytest.fixture
def keeper(reviewer):
    """Somebody who reviews and is an admin of everything."""
    Grant.objects.create(person=reviewer, role="admin")
    return reviewer


def page_of(client, message):
    return client.get(f"/queue/{message.public_id}/").content.decode()


def beside(page, address):
    """Return what stands beside an address, without tags."""
    people = page.partition('id="addresses"')[2].partition("</dl>")[0].split('<span class="person"')
    told = [" ".join(re.sub(r"<[^>]+>", " ", re.sub(r"<wbr>", "", one)).split()) for one in people]
    return next(one.partition(address)[2] for one in told if address in one)


def test_page_says_which_entry_allows_a_recipient_and_who_is_off_the_list(signed_in, reviewer, connection):
    make_list("acme.com", connection=connection)
    message = make_message(connection, to_addresses=["Bo <bo@ACME.com>"], cc=["Dana <Dana@Northwind.example>"])
    page = page_of(signed_in(reviewer), message)
    assert "allowed by acme.com on the list for Gateway main" in beside(page, "bo@acme.com")
    assert "Off the allowlist" in beside(page, "Dana@northwind.example")
    assert "is on no allowlist for support@yourteam.example, so this cannot be approved." in page
    assert 'value="approve"' not in page


def test_page_says_that_a_list_only_watches(signed_in, reviewer, connection):
    make_list(mode="monitor")
    page = page_of(signed_in(reviewer), make_message(connection))
    assert "Off the allowlist, which only watches" in beside(page, DANA)
    assert "The list only watches so far, so this refuses nothing." in page
    assert 'value="approve"' in page


def test_page_says_nothing_of_lists_where_there_are_none(signed_in, reviewer, connection):
    page = page_of(signed_in(reviewer), make_message(connection))
    assert "allowed by" not in page
    assert "allowlist" not in page.partition('id="message"')[2]


def test_admin_of_the_mailbox_allows_the_address_and_decides_then(client, signed_in, keeper, connection):
    message = make_message(connection)
    make_list(connection=connection)
    signed_in(keeper)
    page = page_of(client, message)
    assert f'action="/queue/{message.public_id}/allow/"' in page
    answer = client.post(f"/queue/{message.public_id}/allow/", {"address": DANA}, follow=True)
    assert answer.redirect_chain == [(f"/queue/{message.public_id}/", 302)]
    page = answer.content.decode()
    assert f"{DANA} may be written to from support@yourteam.example for 7 days. Nothing is decided yet." in page
    assert "allowed by dana@northwind.example on the list for support@yourteam.example" in beside(page, DANA)
    assert 'value="approve"' in page
    assert not Decision.objects.exists()
    assert Entry.objects.filter(action="allowlist.allowed", actor_id=str(keeper.pk)).count() == 1


def test_refused_approve_offers_to_allow_the_address(client, signed_in, keeper, connection):
    message = make_message(connection)
    signed_in(keeper)
    page = page_of(client, message)
    fingerprint = re.search(r'name="fingerprint" value="([0-9a-f]{64})"', page)[1]
    make_list(connection=connection)
    sent = {"outcome": "approve", "fingerprint": fingerprint}
    answer = client.post(f"/queue/{message.public_id}/verdict/", sent)
    assert answer.status_code == 403
    page = answer.content.decode()
    assert page.count("dana@northwind.example is on no allowlist for support@yourteam.example") >= 1
    assert page.count("Allow this address for 7 days") == 1
    assert not Decision.objects.exists()


def test_reviewer_is_told_that_an_admin_can_allow_it_and_cannot(client, signed_in, reviewer, connection):
    message = make_message(connection)
    make_list(connection=connection)
    signed_in(reviewer)
    page = page_of(client, message)
    assert "An admin can allow the address." in page
    assert "/allow/" not in page
    answer = client.post(f"/queue/{message.public_id}/allow/", {"address": DANA})
    assert answer.status_code == 403
    assert not AllowEntry.objects.exists()


@pytest.mark.parametrize("address", ["", "eve@evil.io", "northwind.example", "*@northwind.example", DANA + "\0"])
def test_only_a_recipient_that_is_refused_can_be_allowed(client, signed_in, keeper, connection, address):
    message = make_message(connection, cc=["bo@acme.com"])
    make_list("acme.com")
    signed_in(keeper)
    assert client.post(f"/queue/{message.public_id}/allow/", {"address": address}).status_code == 422
    assert client.post(f"/queue/{message.public_id}/allow/", {"address": "bo@acme.com"}).status_code == 422
    assert AllowEntry.objects.count() == 1


@pytest.mark.parametrize("address", ["a@acme.com@evil.io", "*@acme.com"])
def test_what_no_entry_can_name_by_itself_is_not_offered(client, signed_in, keeper, connection, address):
    message = make_message(connection, to_addresses=[address])
    make_list()
    signed_in(keeper)
    page = page_of(client, message)
    assert f"{address} is on no allowlist" in page
    assert "for 7 days" not in page
    assert "An admin can allow" not in page
    assert "No entry can name it: reject it, or send it back." in page


def test_allowing_asks_who_it_is_where_that_was_proved_a_while_ago(client, signed_in, keeper, connection):
    message = make_message(connection)
    make_list(connection=connection)
    signed_in(keeper, minutes=11)
    answer = client.post(f"/queue/{message.public_id}/allow/", {"address": DANA})
    assert answer.status_code == 302
    assert "reauthenticate" in answer["Location"]
    assert not AllowEntry.objects.exists()


def test_message_of_others_is_not_there_to_allow(client, signed_in, connection):
    message = make_message(connection)
    make_list()
    other = make_connection("other")
    signed_in(make_person("ida@yourteam.example", "Ida", "admin", connection=other))
    assert client.post(f"/queue/{message.public_id}/allow/", {"address": DANA}).status_code == 404


def test_sheet_says_it_too_and_approves_nothing_that_is_off_the_list(client, signed_in, reviewer, connection):
    message = make_message(connection)
    fine = make_message(connection, to_addresses=["bo@acme.com"], subject="fine")
    make_list("acme.com")
    signed_in(reviewer)
    answer = client.post("/queue/bulk/", {"id": [str(message.public_id), str(fine.public_id)]})
    page = answer.content.decode()
    assert "dana@northwind.example is on no allowlist" in page
    assert "Off the allowlist" in page
    sheet = re.search(r'name="sheet" value="([^"]+)"', page)[1]
    pairs = [f"{one.public_id}.{one.revision.fingerprint}" for one in (message, fine)]
    client.post("/queue/bulk/decide/", {"sheet": sheet, "item": pairs, "outcome": "approve"})
    assert list(Decision.objects.values_list("message", flat=True)) == [fine.pk]
