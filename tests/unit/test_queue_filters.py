"""The queue's address, read and written back: tokens, remarks, places."""

import itertools
from datetime import UTC, datetime

from django.http import QueryDict

from approvals.queue.filters import (
    Filters,
    Position,
    as_number,
    at_time,
    read_filters,
    read_position,
)
from mirror.models import Mailbox
from risk.similarity import amounts
from risk.sums import read_sums

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
    position = "80-1700000000000000-9"
    filters = read(
        f"order=riskiest&tab=mine&q=refund  to:dana&group=run&started=key:A %26 B&after={position}"
    )
    assert filters.after == Position((80, 1700000000000000), 9)
    assert read(filters.query()) == filters
    assert (
        filters.query()
        == read_filters(QueryDict(filters.query()), mailboxes=MAILBOXES).query()
    )


def test_change_goes_back_to_the_first_page_and_keeps_the_rest():
    filters = read("q=refund&risk=high&after=1700000000000000-9")
    assert filters.query(order="riskiest") == "q=refund&risk=high&order=riskiest"
    assert filters.without("risk") == "q=refund"
    assert filters.cleared() == Filters().query() == ""
    assert not read("").narrows


def test_unknown_token_is_named_and_searched_as_words_and_ordinary_text_is_no_error():
    filters = read("q=colour:red refund")
    assert filters.text == "colour:red refund"
    assert "“colour:” is not a filter" in filters.remarks[0]
    for typed in ("Re: hello", "https://acme.example/pay", "12:30", "fwd: x", "a:b"):
        filters = read_filters({"q": typed})
        assert filters.text == typed
        assert filters.remarks == ()


def test_token_without_a_value_takes_the_next_word():
    assert read("q=to: dana refund") == Filters(to="dana", text="refund")
    assert read("q=refund to:") == Filters(text="refund")


def test_impossible_filters_are_dropped_and_named():
    expected = {
        "risk=purple": "There is no “risk:purple”",
        "rule=x": "There is no “rule:x”",
        "mailbox=99": "No mailbox of yours is called “99”",
        "q=mailbox:nobody": "No mailbox of yours is called “nobody”",
        "q=!!!": "has no letter or digit",
    }
    for query, words in expected.items():
        filters = read(query)
        assert any(words in remark for remark in filters.remarks), query
        assert not filters.narrows or filters.text == "!!!", query


def test_what_is_typed_is_bounded_and_the_page_says_so():
    filters = read_filters({"q": "word " * 2000, "to": "x" * 10_000})
    assert len(filters.text) <= 300
    assert len(filters.to) <= 200
    assert filters.remarks == ("Only the first 300 characters were searched.",)


def test_nonsense_in_any_field_is_read_as_something_or_nothing():
    names = "tab order group after q to risk mailbox rule has by run".split()
    for name, nonsense in itertools.product(
        names, ("\0", "\ud800", "'; --", "%", "\\", "x" * 5000)
    ):
        filters = read_filters({name: nonsense})
        read_as = (
            filters.tab,
            filters.order,
            filters.group,
            filters.after,
            "\0" in filters.query(),
        )
        assert read_as == ("waiting", "oldest", "", None, False), (name, nonsense[:9])


def test_malformed_position_is_the_first_page():
    long = "9" * 18
    ill_formed = {
        "oldest": [
            "x",
            "1",
            "1-x",
            "x-1",
            "1-2-3-4",
            f"x-{long}-1",
            "-1-1",
            "x-1-1\n",
        ],
        "newest": ["x-1"],
        "riskiest": ["1-2", "99999999999-1-1", "x-1-1", "1-x-1"],
        "soonest": ["x-x-1", f"{long}-1-1"],
    }
    for order, written in ill_formed.items():
        assert [
            one for one in written if read_position(one, order=order) is not None
        ] == [], order


def test_position_is_read_as_it_was_written():
    at = 1700000000000001
    for order, position in (
        ("oldest", Position((None, at), 5)),
        ("oldest", Position((at, at), 5)),
        ("newest", Position((at,), 5)),
        ("riskiest", Position((80, at), 5)),
        ("soonest", Position((None, at), 5)),
        ("soonest", Position((1800000000000000, at), 5)),
    ):
        assert read_position(str(position), order=order) == position


def test_time_keeps_its_last_microsecond():
    at = datetime(2026, 11, 20, 10, 0, 0, 999_999, tzinfo=UTC)
    assert at_time(as_number(at)) == at


def test_amounts_are_distinguished_and_other_numbers_are_not():
    def named(text):
        return amounts(read_sums([text]))

    assert named("Invoice 7: pay EUR 1.200,00 by 3 May") == named(
        "Invoice 8: pay 1.200,00 EUR by 4 May"
    )
    assert named("pay EUR 1.200") != named("pay EUR 12.000")
    assert named("pay 1200EUR") != named("pay 12000EUR")
    assert named("order 4471") == ""
