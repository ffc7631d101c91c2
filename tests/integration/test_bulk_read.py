"""Bulk approval cannot be blind: it takes what its person has read, and unread messages only with their number."""

import re

import pytest

from approvals.bulk.batch import decide_batch
from approvals.models import Decision
from audit.models import Entry
from audit.trail import lines
from tests.factories import make_message
from tests.integration.test_bulk import make, open_sheet, pair, see, sheet_of, signed_for, signed_on, ticked

pytestmark = pytest.mark.django_db

REFUND = "Hello {},\n\nyour refund of {} EUR for order {} is on its way.\n\nThe team"


def buttons(page):
    """What the buttons of an approval say."""
    text = page.content.decode()
    found = (re.search(rf"<span {name}>(.*?)</span>", text) for name in ("data-approve", "data-approve-all"))
    return [one[1] for one in found if one]


def approve(client, page, messages, *, read=(), **fields):
    """Approve what is ticked and read, or with `unread` also the rest."""
    asked = {"outcome": "approve_unread" if "unread" in fields else "approve", **fields}
    items = {"item": [pair(one) for one in messages], "read": [pair(one) for one in read]}
    return client.post("/queue/bulk/decide/", {"sheet": signed_on(page), **items, **asked})


def decided():
    return sorted(Decision.objects.values_list("message__subject", flat=True))


def refunds(connection, *amounts):
    """Messages that are alike: each to somebody else about another order, and about so much money."""
    names = ("Dana", "Kim", "Bo", "Lea", "Max", "Eva")
    return [
        make_message(
            connection,
            subject="Your refund",
            markdown=REFUND.format(name, amount, 4471 + number),
            to_addresses=[f"{name.lower()}@northwind.example"],
        )
        for number, (name, amount) in enumerate(zip(names, amounts, strict=False))
    ]


def test_approval_takes_what_its_person_has_read_by_the_ledger_and_what_the_page_counted(desk, connection):
    plum, kiwi, fig = [make(connection, name) for name in ("plum", "kiwi", "fig")]
    assert buttons(open_sheet(desk, plum, kiwi, fig)) == ["Approve 0 read", "Approve 3 unread"]
    desk.get(f"/queue/{plum.public_id}/")
    page = open_sheet(desk, plum, kiwi, fig)
    assert buttons(page) == ["Approve 1 read", "Approve 1 read and 2 unread"]
    # What was not read is not approved, whatever a page claims; nor is what was read since without being counted there.
    refused = approve(desk, page, [kiwi, fig], read=[kiwi, fig])
    assert (refused.status_code, decided()) == (422, [])
    assert "You have not read any of the ticked messages" in refused.content.decode()
    see(desk, page, kiwi)
    answer = approve(desk, page, [plum, kiwi, fig], read=[plum])
    assert decided() == ["Subject plum"]
    done = desk.get(answer["Location"]).content.decode()
    assert "Approved: 1 of 1" in done
    assert re.findall(r'name="id" value="(.*?)"', done)[:2] == [str(kiwi.public_id), str(fig.public_id)]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "Nothing was approved: 2 of the ticked messages are unread. Type that number"),
        ("3", "Nothing was approved: you typed 3, and 2 of the ticked messages are unread."),
    ],
)
def test_wrong_or_missing_number_of_unread_messages_changes_nothing_and_keeps_the_rest(desk, connection, typed, said):
    plum, kiwi, fig = [make(connection, name) for name in ("plum", "kiwi", "fig")]
    page = open_sheet(desk, plum, kiwi, fig)
    refused = approve(desk, page, [plum, fig], unread=typed, reject_reason="Half a sentence")
    text = refused.content.decode()
    assert (refused.status_code, decided()) == (422, [])
    assert said in text
    assert ticked(refused) == [pair(plum), pair(fig)]
    assert "Half a sentence" in text
    assert f'value="{typed}"' in text


def test_number_that_is_no_longer_true_is_refused_and_the_right_one_approves_all(desk, connection):
    plum, kiwi = make(connection, "plum"), make(connection, "kiwi")
    page = open_sheet(desk, plum, kiwi)
    see(desk, page, plum)
    refused = approve(desk, page, [plum, kiwi], unread="2")
    assert "you typed 2, and 1 of the ticked messages is unread" in refused.content.decode()
    assert decided() == []
    assert approve(desk, refused, [plum, kiwi], unread="1").status_code == 302
    assert decided() == ["Subject kiwi", "Subject plum"]
    (entry,) = lines(Entry.objects.filter(action="bulk.decided"))
    assert (entry.details["decided"], entry.details["unread"]) == ("2", "1")
    verdicts = lines(Entry.objects.filter(action="verdict.given").order_by("pk"))
    assert {line.message: bool(line.details.get("seconds_shown")) for line in verdicts} == {
        plum.public_id: True, kiwi.public_id: False,
    }  # fmt: skip


def test_alike_messages_are_one_group_with_those_that_differ_first_and_what_differs_marked(desk, connection):
    messages = refunds(connection, "50.00", "50.00", "500.00", "50.00", "50.00")
    other = make(connection, "plum")
    text = open_sheet(desk, messages[0], other, *messages[1:]).content.decode()
    assert "5 alike, 1 differs" in text
    shown = re.findall(r'<article class="card one( like)?"[^>]*data-message="(.*?)"', text)
    like = [str(one.public_id) for one in messages]
    whole, rows = [like[2], like[0]], [like[1], like[3], like[4]]
    expected = [*(("", one) for one in whole), *((" like", one) for one in rows), ("", str(other.public_id))]
    assert shown == expected
    marked = re.findall(r"<mark>(.*?)</mark>", text)
    assert [one.rpartition("</span>")[2] for one in marked] == ["marked", "500.00", "500.00"]
    assert re.search(r"most: <bdi>50.00</bdi>", text)
    # One that stands there by its differences shows each of them, and the whole message behind one press.
    row = text[text.index(f'data-message="{like[1]}"') :].partition("</article>")[0]
    differences, _, whole = row.partition("<details")
    assert re.findall(r'<span class="own">(.*?)</span>', differences) == ["Kim", "4472"]
    assert "kim@northwind.example" in differences
    assert "is on its way" in whole


def test_another_domain_or_copy_among_alike_messages_is_marked_and_a_few_are_no_group(desk, connection):
    messages = refunds(connection, "50.00", "50.00", "50.00")
    odd = make_message(
        connection,
        subject="Your refund",
        markdown=REFUND.format("Max", "50.00", 4480),
        to_addresses=["max@elsewhere.example"],
        bcc=["eve@elsewhere.example"],
    )
    assert "alike" not in open_sheet(desk, *messages[:2]).content.decode()
    text = open_sheet(desk, *messages, odd).content.decode()
    assert "4 alike, 1 differs" in text
    found = re.findall(r'<li class="whole"><bdi>(.*?)</bdi> <mark>(.*?)</mark>', text)
    assert found == [("To:", "elsewhere.example"), ("Bcc:", "eve@elsewhere.example")]


def test_differences_count_as_read_only_after_the_message_that_is_shown_whole(desk, connection):
    messages = refunds(connection, "50.00", "50.00", "50.00")
    page = open_sheet(desk, *messages)
    see(desk, page, *messages[1:])
    assert not Entry.objects.filter(action="message.opened").exists()
    see(desk, page, messages[0])
    see(desk, page, *messages[1:])
    opened = lines(Entry.objects.filter(action="message.opened").order_by("pk"))
    assert [line.details.get("like", "") for line in opened] == ["", *[str(messages[0].public_id)] * 2]
    assert buttons(open_sheet(desk, *messages)) == ["Approve 3 read"]


def test_sheet_of_somebody_else_records_nothing(desk, connection, second_reviewer):
    plum = make(connection, "plum")
    fields = {"sheet": signed_for(second_reviewer, plum), "item": [pair(plum)]}
    assert desk.post("/queue/bulk/seen/", fields).status_code == 422
    assert not Entry.objects.filter(action="message.opened").exists()


def test_second_press_at_the_same_time_finds_the_same_decisions(connection, reviewer, second_reviewer):
    messages = [make(connection, name) for name in ("plum", "kiwi")]
    sheet = sheet_of(reviewer, *messages)

    def press(person):
        return decide_batch(
            sheet=sheet, ticked=sheet.items, actor=person.actor(surface="web"), outcome="approve", reason=""
        )

    first, second, others = press(reviewer), press(reviewer), press(second_reviewer)
    assert [one.decision for one in second] == [one.decision for one in first]
    assert [(one.decision, "approved this message first" in one.sentence) for one in others] == [(None, True)] * 2
    assert Decision.objects.count() == 2
