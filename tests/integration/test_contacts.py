"""Contacts of an account are read with the read key, and forgotten after a day."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from mirror.models import Connection, KnownContact
from mirror.sync.account import read_contacts
from policy.rules.facts import contacts_among
from tests.factories import change_row, rolled_back

CONTACTS = "/v1/contacts"


@pytest.fixture
def read(connection, upstream):
    """A function that reads these addresses as the contacts of an account."""
    change_row(connection, api_url=upstream.url, read_key="mm_live_read")

    def read_with(*addresses, **fields):
        fields = {"by_sender": False, **fields}
        contacts = [{"email": one, **fields} for one in addresses]
        upstream.answers[CONTACTS] = (200, {"contacts": contacts, "cursor": None})
        return read_contacts(connection_id=connection.pk)

    return read_with


def known(connection):
    addresses = ["ana@acme.com", "x@xn--bcher-kva.example", "eve@evil.io"]
    return contacts_among([connection.pk], addresses).get(connection.pk)


def test_contacts_are_stored_as_the_read_key_lists_them_in_normalized_form(
    connection, upstream, read
):
    assert known(connection) is None
    assert read("Ana@ACME.com", "x@bücher.example", "no address") == "read"
    assert upstream.keys[-1] == "mm_live_read"
    assert known(connection) == {"ana@acme.com", "x@xn--bcher-kva.example"}
    read("eve@evil.io")
    assert known(connection) == {"eve@evil.io"}
    # Added by a key that sends, or nobody knows by which.
    for by_sender in (True, None):
        read("eve@evil.io", by_sender=by_sender)
        assert known(connection) == set()


def test_contacts_count_for_a_day_and_are_dropped_with_the_read_key(
    connection, upstream, read
):
    read("ana@acme.com")
    for answer in ((500, {}), (200, {"contacts": "x"}), (200, b"no json")):
        upstream.answers[CONTACTS] = answer
        assert read_contacts(connection_id=connection.pk) == "not now", answer
        assert known(connection) == {"ana@acme.com"}, answer
    with rolled_back():
        ago = Now() - timedelta(days=1, seconds=1)
        Connection.objects.update(contacts_read_at=ago)
        assert known(connection) is None
    Connection.objects.update(read_key="")
    assert read_contacts(connection_id=connection.pk) == "no key"
    assert known(connection) is None
    assert KnownContact.objects.exists()
