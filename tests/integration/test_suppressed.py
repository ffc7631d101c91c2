"""Suppressed addresses: read with the admin key only, and shown next to the address."""

import re

import pytest

from mirror.models import SuppressedAddress
from mirror.sync.account import read_suppressed
from tests.factories import change_row, make_connection, make_message

PATH = "/v1/suppression"


@pytest.fixture
def gateway(connection, upstream):
    change_row(connection, api_url=upstream.url, admin_key="mm_live_admin")
    return connection


def set_suppressions(upstream, *addresses):
    rows = [
        {"id": f"s{one}", "email_address": one, "reason": "bounce"} for one in addresses
    ]
    upstream.answers[PATH] = (200, {"suppressions": rows, "cursor": None})


def stored_addresses():
    return sorted(SuppressedAddress.objects.values_list("address", flat=True))


@pytest.mark.slow
def test_suppressed_address_says_so_on_the_page_until_it_is_lifted(
    signed_in, reviewer, gateway, upstream
):
    message = make_message(
        gateway, to_addresses=["Dana <Dana@Northwind.example>", "lee@fabrikam.example"]
    )
    # A list of another connection does not apply here.
    other = SuppressedAddress.objects.create(
        connection=make_connection("other"), address="lee@fabrikam.example"
    )
    set_suppressions(upstream, "dana@northwind.example")
    assert read_suppressed(connection_id=gateway.pk) == "read"
    assert upstream.keys[-1] == "mm_live_admin"
    page = signed_in(reviewer).get(f"/queue/{message.public_id}/").text
    chips = re.findall(r'<span class="chip rose shape">(Suppressed[^<]*)</span>', page)
    assert chips == ["Suppressed at MultiMail: bounce"]
    other.delete()
    set_suppressions(upstream, "eve@northwind.example")
    read_suppressed(connection_id=gateway.pk)
    assert stored_addresses() == ["eve@northwind.example"]
