"""The columns for sorting and searching the queue, computed when content is stored."""

import pytest

from approvals import examination
from approvals.models import Review
from mirror.models import Message
from tests.factories import make_message

pytestmark = pytest.mark.django_db

LIES = "[https://acme-corp.example/pay](https://acrne-corp.example/p)"


def columns(message):
    """The columns as they are stored."""
    names = ("shape", "amounts", "addresses", "outside", "started_by", "run_id", "bands", "search")
    of_review = Review.objects.filter(pk=message.pk).values("risk", "risk_level", "rules").get()
    return Message.objects.filter(pk=message.pk).values(*names).get() | of_review


def test_facets_show_recipients_and_originators(connection):
    message = make_message(
        connection, to_addresses=["Dana <Dana@Northwind.example>"], cc=["amy@yourteam.example"],
        additions={"auto_bcc": "archive@keep.example"}, markdown=LIES, metadata={"discord_user": "ana#1", "runId": 7},
    )  # fmt: skip
    found = columns(message)
    assert sorted(found["addresses"]) == ["amy@yourteam.example", "archive@keep.example", "dana@northwind.example"]
    assert (found["outside"], found["started_by"], found["run_id"]) == (2, "discord:ana#1", "7")
    assert (found["risk_level"], "link_text_lies" in found["rules"]) == ("high", True)
    # Columns that only the database uses are not loaded.
    assert Message.objects.get().get_deferred_fields() == {"search", "bands"}
    # The originator is the key where there was no person, and nobody for received mail.
    sent = make_message(connection, metadata={}, sent_by_key="k1", sent_by_key_name="Invoices")
    assert columns(sent)["started_by"] == "key:Invoices"
    came = columns(make_message(connection, direction="inbound", **{"from": "dana@northwind.example"}))
    assert (came["started_by"], came["outside"]) == ("", 0)
    assert "dana@northwind.example" in came["addresses"]


def test_content_that_cannot_be_sorted_is_read_all_the_same(connection, monkeypatch):
    def fail(content):
        raise RecursionError

    monkeypatch.setattr(examination, "amounts", fail)
    message = make_message(connection, markdown="Dear Dana, your report is ready.")
    assert message.revision is not None
    found = columns(message)
    assert (found["search"], found["risk_level"]) == ("", "high")
    # Every rule of the policy applies to what is not known.
    assert Review.objects.get().policy_facts is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("word " * 100_000, id="many words"),
        pytest.param("".join(map(chr, range(0x4E00, 0x9000))) * 10, id="one word"),
        pytest.param("\u202e" * 40_000, id="no word"),
    ],
)
def test_huge_content_has_facets_too(connection, text):
    assert columns(make_message(connection, markdown=text))["search"] is not None
