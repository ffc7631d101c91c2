"""The message page and the allowlists: the status of each recipient, and allowing one
for seven days.
"""

import re

import pytest

from approvals.models import Decision
from audit.models import Entry
from people.models import Grant
from policy.models import AllowEntry
from tests.factories import make_list, make_message

DANA = "dana@northwind.example"


@pytest.fixture
def keeper(reviewer):
    """A reviewer who is also an admin of everything."""
    Grant.objects.create(person=reviewer, role="admin")
    return reviewer


def page_of(client, message):
    return client.get(f"/queue/{message.public_id}/").text


def recipient_status(page, address):
    """Return the text after an address, without tags."""
    people = (
        page.partition('id="addresses"')[2]
        .partition("</dl>")[0]
        .split('<span class="person"')
    )
    texts = [
        " ".join(re.sub(r"<[^>]+>", " ", re.sub(r"<wbr>", "", one)).split())
        for one in people
    ]
    return next(one.partition(address)[2] for one in texts if address in one)


def test_refused_approval_lets_an_admin_allow_the_address_and_decide(
    signed_in, keeper, connection
):
    message = make_message(connection, cc=["bo@acme.com"])
    make_list("acme.com", connection=connection)
    client = signed_in(keeper)
    # Only a refused recipient can be allowed.
    for address in (
        "bo@acme.com",
        "eve@evil.io",
        "",
        "northwind.example",
        "*@northwind.example",
        DANA + "\0",
    ):
        answer = client.post(f"/queue/{message.public_id}/allow/", {"address": address})
        assert answer.status_code == 422, address
        assert AllowEntry.objects.count() == 1, address
    sent = {"outcome": "approve", "fingerprint": message.revision.fingerprint}
    answer = client.post(f"/queue/{message.public_id}/verdict/", sent)
    page = answer.text
    assert answer.status_code == 403
    assert f"{DANA} is on no allowlist for support@yourteam.example" in page
    assert f'action="/queue/{message.public_id}/allow/"' in page
    assert page.count("Allow this address for 7 days") == 1

    answer = client.post(
        f"/queue/{message.public_id}/allow/", {"address": DANA}, follow=True
    )
    assert answer.redirect_chain == [(f"/queue/{message.public_id}/", 302)]
    page = answer.text
    assert (
        f"support@yourteam.example may write to {DANA} for 7 days. Nothing is decided yet."
        in page
    )
    assert (
        f"allowed by {DANA} on the list for support@yourteam.example"
        in recipient_status(page, DANA)
    )
    assert 'value="approve"' in page
    assert not Decision.objects.exists()
    assert (
        Entry.objects.filter(
            action="allowlist.allowed", actor_id=str(keeper.pk)
        ).count()
        == 1
    )


def test_page_says_what_is_off_the_list_and_lets_only_an_admin_allow_it(
    signed_in, admin, auditor, connection
):
    message = make_message(connection)
    make_list("acme.com", connection=connection)
    for reader in (admin, auditor):
        page = page_of(signed_in(reader), message)
        assert (
            f"{DANA} is on no allowlist for support@yourteam.example, so this cannot be approved."
            in page
        )
        assert "only a reviewer of support@yourteam.example can decide it" in page
        assert ("Allow this address for 7 days" in page) == (reader == admin)
    answer = signed_in(auditor).post(
        f"/queue/{message.public_id}/allow/", {"address": DANA}
    )
    assert answer.status_code == 403
    assert AllowEntry.objects.count() == 1


@pytest.mark.slow
def test_sheet_shows_it_too_and_approves_nothing_that_is_off_the_list(
    signed_in, reviewer, connection
):
    message = make_message(connection)
    fine = make_message(connection, to_addresses=["bo@acme.com"], subject="fine")
    make_list("acme.com")
    client = signed_in(reviewer)
    page = client.post(
        "/queue/bulk/", {"id": [str(message.public_id), str(fine.public_id)]}
    ).text
    assert "dana@northwind.example is on no allowlist" in page
    assert "Off the allowlist" in page
    sheet = re.search(r'name="sheet" value="([^"]+)"', page)[1]
    pairs = [f"{one.public_id}.{one.revision.fingerprint}" for one in (message, fine)]
    client.post(
        "/queue/bulk/decide/",
        {"sheet": sheet, "item": pairs, "outcome": "approve_unread", "unread": 1},
    )
    assert list(Decision.objects.values_list("message", flat=True)) == [fine.pk]
