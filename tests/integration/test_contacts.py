"""Contacts of an account are read with the read key, and forgotten after a day."""

from datetime import timedelta

from django.db.models.functions import Now

from mirror.models import Connection, KnownContact
from mirror.sync.account import read_contacts
from policy.rules.facts import contacts_among
from tests.factories import change_row, rolled_back

ADDRESSES = ["ana@acme.com", "x@xn--bcher-kva.example", "eve@evil.io"]


def test_contacts_are_stored_as_the_read_key_lists_them_and_count_for_a_day(
    connection, upstream
):
    change_row(connection, api_url=upstream.url, read_key="mm_live_read")

    def read(result, known, *answer):
        """Read contacts, and look which are known then."""
        if answer:
            upstream.answers["/v1/contacts"] = answer
        assert read_contacts(connection_id=connection.pk) == result, answer
        found = contacts_among([connection.pk], ADDRESSES)
        assert found.get(connection.pk) == known, answer

    def listed(*addresses, by_sender=False):
        contacts = [{"email": one, "by_sender": by_sender} for one in addresses]
        return 200, {"contacts": contacts, "cursor": None}

    both = listed("Ana@ACME.com", "x@bücher.example", "no address")
    read("read", {*ADDRESSES[:2]}, *both)
    assert upstream.keys[-1] == "mm_live_read"
    # Added by a key that sends, or nobody knows by which.
    for by_sender in (True, None):
        read("read", set(), *listed("eve@evil.io", by_sender=by_sender))
    read("read", {"eve@evil.io"}, *listed("eve@evil.io"))
    for answer in ((500, {}), (200, {"contacts": "x"}), (200, b"no json")):
        read("not now", {"eve@evil.io"}, *answer)
    with rolled_back():
        ago = Now() - timedelta(days=1, seconds=1)
        Connection.objects.update(contacts_read_at=ago)
        read("not now", None)
    Connection.objects.update(read_key="")
    read("no key", None)
    assert KnownContact.objects.exists()
