"""DNS records of a domain as hosted MultiMail may list them."""

from connections.domains import _domain


def test_records_that_are_an_object_are_shown_as_those_of_a_list():
    record = {"type": "TXT", "name": "mm._domainkey.acme.example", "value": "v=DKIM1"}
    [found] = _domain(
        {
            "id": "d",
            "domain": "acme.example",
            "dns_records": {"dkim": record, "note": "x"},
        }
    ).records
    [listed] = _domain(
        {
            "id": "d",
            "domain": "acme.example",
            "dns_records": [record | {"purpose": "dkim"}],
        }
    ).records
    assert found == listed
    assert found.purpose == "dkim"
    assert found.value == "v=DKIM1"
