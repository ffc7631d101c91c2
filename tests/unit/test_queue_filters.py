"""The queue's address, read and written back: tokens, remarks, places."""

from django.http import QueryDict

from approvals.queue.filters import (
    Filters,
    Position,
    read_filters,
)
from mirror.models import Mailbox

MAILBOXES = [
    Mailbox(pk=4, address="support@yourteam.example"),
    Mailbox(pk=7, address="sales@yourteam.example"),
    # Its address is not known yet; a page that asks for no mailbox does not mean it.
    Mailbox(pk=9),
]


def read(query):
    return read_filters(QueryDict(query), mailboxes=MAILBOXES)


def test_every_token_is_read_as_the_field_of_its_name():
    typed = (
        'q=to:dana from:support mailbox:sales risk:high by:"Ana F" has:attachment '
        'rule:first_contact "two words" one'
    )
    fields = 'to=dana&from=support&mailbox=7&risk=high&by=Ana F&has=attachment&rule=first_contact&q="two words" one'
    assert read(typed) == read(fields)
    assert read(typed) == Filters(
        to="dana", from_="support", mailbox=7, risk="high", by="Ana F", has="attachment", rule="first_contact",
        text='"two words" one',
    )  # fmt: skip


def test_address_is_written_back_in_one_spelling_and_read_the_same():
    position = "1-1700000000000000-9"
    filters = read(
        f"order=riskiest&tab=mine&q=refund  to:dana&group=run&started=key:A %26 B&after={position}"
    )
    assert filters.after == Position((1, 1700000000000000), 9)
    assert read(filters.query()) == filters


def test_unknown_token_is_named_and_searched_as_words_and_ordinary_text_is_no_error():
    filters = read("q=colour:red refund")
    assert filters.text == "colour:red refund"
    assert "“colour:” is not a filter" in filters.remarks[0]
    for typed in ("Re: hello", "https://acme.example/pay", "12:30", "a:b"):
        filters = read_filters({"q": typed})
        assert filters.text == typed
        assert filters.remarks == ()
    assert read("q=to: dana refund") == Filters(to="dana", text="refund")
