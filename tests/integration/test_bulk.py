"""Bulk decisions: only messages on the sheet are decided, each separately, and nothing
unread without its number.
"""

import base64
import re
from datetime import timedelta

import pytest
from django.utils import timezone

from approvals.bulk import batch
from approvals.bulk import sheet as bulk_sheet
from approvals.bulk.batch import decide_batch, undo_batch
from approvals.bulk.sheet import (
    OnSheet,
    Sheet,
    gather,
    read_sheet,
    sign_sheet,
)
from approvals.decisions.withdraw import undo_decision
from approvals.errors import InvalidInput
from approvals.models import Decision, Review, Verdict
from audit.models import Entry
from audit.trail import lines
from common.postgres import clock
from mirror.models import Message
from people.models import Grant
from tests.factories import (
    actor_of,
    change_row,
    make_connection,
    make_message,
    show_row,
)
from tests.integration import deciding
from tests.integration.test_queue_list import make
from tests.markup import words_of
from tests.office_files import RETURN_LABEL

HIGH = {
    "markdown": "[https://acme-corp.example/pay](https://acrne-corp.example/p) card 4111 1111 1111 1111"
}


def several(connection, *names):
    return [make(connection, name) for name in names]


def open_sheet(client, *messages):
    return client.post("/queue/bulk/", {"id": [str(one.public_id) for one in messages]})


def pair(message):
    return f"{message.public_id}.{message.revision.fingerprint}"


def signed_on(page):
    """The signed sheet of an opened page."""
    return re.search(r'name="sheet" value="([^"]+)"', page.text)[1]


def post(client, signed, messages, *, read=(), **fields):
    """Approve what is ticked and read, with `unread` also the rest."""
    posted = {
        "sheet": signed,
        "item": [pair(one) for one in messages],
        "read": [pair(one) for one in read],
        "outcome": "approve_unread" if "unread" in fields else "approve",
        **fields,
    }
    return client.post("/queue/bulk/decide/", posted)


def see(client, page, *messages):
    """Report that messages of an opened sheet are on screen."""
    return client.post(
        "/queue/bulk/seen/",
        {"sheet": signed_on(page), "item": [pair(one) for one in messages]},
    )


def sheet_of(person, *messages):
    """The sheet of these messages for a person."""
    gathered = gather(
        [one.public_id for one in messages],
        actor=actor_of(person),
        now=timezone.now(),
    )
    return Sheet(
        [
            OnSheet(one.message.public_id, one.revision.fingerprint, one.why_alone)
            for one in gathered.items
        ]
    )


def signed_for(person, *messages):
    return sign_sheet(sheet_of(person, *messages), person=str(person.pk))


def sentences(person, sheet, outcome="approve", reason=""):
    """Decide all of a sheet without its page; return by subject why a message was not
    decided.
    """
    ended = decide_batch(
        sheet=sheet, ticked=sheet.items, actor=actor_of(person), outcome=outcome, reason=reason,
    )  # fmt: skip
    return {
        Message.objects.get(public_id=one.message).subject: one.sentence
        for one in ended
        if one.sentence
    }


def states():
    return {
        subject.split()[1]: state
        for subject, state in Decision.objects.values_list("message__subject", "state")
    }


def ticked(page):
    return re.findall(r'name="item" value="([^"]+)"[^>]*? checked>', page.text)


def test_batch_of_five_with_one_stale_decides_four_names_the_one_and_leaves_an_entry_for_each(
    desk, connection, reviewer
):
    messages = several(connection, "plum", "kiwi", "fig", "pear", "lime")
    page = open_sheet(desk, *messages)
    show_row(messages[2], subject="Subject fig", markdown="Another text")
    answer = approve(desk, page, messages, unread=5, send_back_reason="Half a sentence")
    assert answer.status_code == 302
    page = desk.get(answer["Location"]).text
    failed = page.partition('class="failed">')[2]
    assert "<bdi>Subject fig</bdi>" in failed
    assert "changed after you opened it" in failed
    assert "Approved: 4 of 5" in page
    assert 'name="send_back_reason" value="Half a sentence"' in page, (
        "what was typed comes along to the next sheet"
    )

    done = [one for one in messages if one != messages[2]]
    assert {one.message_id for one in Decision.objects.all()} == {
        one.pk for one in done
    }
    verdict_lines = lines(Entry.objects.filter(action="verdict.given"))
    (batch_line,) = lines(Entry.objects.filter(action="bulk.decided"))
    assert {line.details["sheet"] for line in verdict_lines} == {
        batch_line.details["sheet"]
    }
    assert batch_line.details["decided"] == "4"
    assert batch_line.details["on_sheet"] == "5"


def test_sheet_decides_only_its_own_versions_for_its_person_until_it_expires(
    desk, connection, reviewer, monkeypatch
):
    shown, other = several(connection, "plum", "kiwi")
    sheet = sheet_of(reviewer, shown)
    with pytest.raises(InvalidInput, match="not on this sheet"):
        sheet.only([f"{shown.public_id}.{'0' * 64}"])
    person = str(reviewer.pk)
    own = sign_sheet(sheet, person=person)
    assert post(desk, own, [shown, other], unread=2).status_code == 422

    others = sign_sheet(sheet, person="999999")
    for signed in ("nonsense", others):
        with pytest.raises(InvalidInput, match="too old to decide from"):
            read_sheet(signed, person=person)
    assert read_sheet(own, person=person) == sheet
    monkeypatch.setattr(bulk_sheet, "LASTS", timedelta(seconds=-1))
    with pytest.raises(InvalidInput, match="too old to decide from"):
        read_sheet(own, person=person)
    assert not Decision.objects.exists()


def test_messages_to_read_individually_are_listed_apart_and_undecidable_ones_left_out(
    desk, connection, reviewer, second_reviewer
):
    risky = make(connection, "risky", **HIGH)
    long = make(connection, "long", markdown="Word " * 5000)
    draft = make(connection, "draft")
    later = make(connection, "later")
    drawn = f'<p>&lt;img </p><img src="data:image/png;base64,{base64.b64encode(RETURN_LABEL).decode()}">'
    picture = make(connection, "picture", markdown=None, html_body=drawn)
    Message.objects.filter(pk__in=[draft.pk, later.pk]).update(thread_id="01THREAD")
    change_row(later, state="received", direction="inbound", sender="dana@northwind.example",
        held_at=draft.held_at + timedelta(hours=1),
    )  # fmt: skip
    decided = make(connection, "decided")
    fetching = make(connection, "fetching", hydrated=False)
    deciding.decide(decided, second_reviewer, "reject", "No")
    hidden = make(make_connection("other"), "secret")
    Grant.objects.filter(person=reviewer).update(connection=connection)
    plain = make(connection, "plain")
    page = open_sheet(
        desk, risky, long, draft, picture, decided, fetching, hidden, plain
    )
    text = page.text
    assert ticked(page) == [pair(plain)]
    whys = {
        "risky": "It is high risk", "long": "too long for this page",
        "draft": "wrote in this thread after the draft", "picture": "It has pictures",
    }  # fmt: skip
    expected = (
        *whys.values(),
        f"Rejected by {second_reviewer}",
        "still being fetched",
        "you may not see it",
    )
    assert [words for words in expected if words not in text] == []
    assert "secret" not in text

    failed = sentences(reviewer, sheet_of(reviewer, risky, long, draft, picture, plain))
    assert {
        name for name, words in whys.items() if words in failed[f"Subject {name}"]
    } == set(whys)
    assert states() == {"decided": "recorded", "plain": "recorded"}
    assert sentences(reviewer, sheet_of(reviewer, risky), "reject", "A lie") == {}


def test_notice_that_it_may_be_seen_differently_bars_a_message_from_bulk(
    desk, connection, reviewer
):
    turned = "<p style='rotate:9deg'>Pay now</p>"
    odd = make(connection, "odd", markdown=None, html_body=turned)
    assert Review.objects.get(message=odd).risk_level == "notice"
    assert ticked(open_sheet(desk, odd)) == []
    # The command refuses it too, also if the sheet did not know it.
    sheet = Sheet([OnSheet(odd.public_id, odd.revision.fingerprint)])
    assert "may see it differently" in sentences(reviewer, sheet)["Subject odd"]
    assert states() == {}


def test_second_submit_decides_nothing_and_shows_the_same_outcome(
    desk, connection, reviewer
):
    messages = several(connection, "plum", "kiwi")
    sheet = sheet_of(reviewer, *messages)
    signed = sign_sheet(sheet, person=str(reviewer.pk))
    first, second = (post(desk, signed, messages, unread=2) for _ in range(2))
    assert first["Location"] == second["Location"]
    # So it is for a second press that arrives before the first is stored.
    assert sentences(reviewer, sheet) == {}
    assert Decision.objects.count() == 2
    assert not Entry.objects.filter(action="verdict.refused").exists()


REFUND = "Hello {},\n\nyour refund of {} EUR for order {} is on its way.\n\nThe team"


def buttons(page):
    """What the buttons of an approval say."""
    text = re.sub(r"<span [^>]*hidden>.*?</span>.*?</span>", "", page.text, flags=re.S)
    button = r'value="approve(?:_unread)?".*?>(.*?)</button>'
    found = re.findall(button, text, re.S)
    return [words_of(one).removesuffix(" A") for one in found]


def approve(client, page, messages, **fields):
    return post(client, signed_on(page), messages, **fields)


def decided():
    return sorted(Decision.objects.values_list("message__subject", flat=True))


def refunds(connection, *amounts):
    """Messages that are alike: each to somebody else about another order, and about so
    much money.
    """
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


def test_approval_takes_what_its_person_has_read_by_the_ledger_and_what_the_page_counted(
    desk, connection
):
    plum, kiwi, fig = several(connection, "plum", "kiwi", "fig")
    assert buttons(open_sheet(desk, plum, kiwi, fig)) == [
        "Approve 0 read",
        "Approve 3 unread",
    ]
    desk.get(f"/queue/{plum.public_id}/")
    page = open_sheet(desk, plum, kiwi, fig)
    assert buttons(page) == ["Approve 1 read", "Approve 1 read and 2 unread"]
    # What was not read is not approved, whatever a page claims; nor is what was read
    # since without being counted there.
    assert approve(desk, page, [kiwi, fig], read=[kiwi, fig]).status_code == 422
    assert decided() == []
    see(desk, page, kiwi)
    answer = approve(desk, page, [plum, kiwi, fig], read=[plum])
    assert decided() == ["Subject plum"]
    done = desk.get(answer["Location"]).text
    assert "Approved: 1 of 1" in done
    assert re.findall(r'name="id" value="(.*?)"', done)[:2] == [
        str(kiwi.public_id),
        str(fig.public_id),
    ]


def test_number_that_is_no_longer_true_is_refused_and_the_right_one_approves_all(
    desk, connection
):
    plum, kiwi = several(connection, "plum", "kiwi")
    page = open_sheet(desk, plum, kiwi)
    see(desk, page, plum)
    refused = approve(desk, page, [plum, kiwi], unread="2")
    assert "you typed 2, and 1 of the ticked messages is unread" in refused.text
    assert decided() == []
    assert approve(desk, refused, [plum, kiwi], unread="1").status_code == 302
    assert decided() == ["Subject kiwi", "Subject plum"]
    (entry,) = lines(Entry.objects.filter(action="bulk.decided"))
    assert entry.details["unread"] == "1"


@pytest.mark.slow
def test_differences_count_as_read_only_after_the_message_that_is_shown_whole(
    desk, connection
):
    messages = refunds(connection, "50.00", "50.00", "50.00")
    page = open_sheet(desk, *messages)
    see(desk, page, *messages[1:])
    assert not Entry.objects.filter(action="message.opened").exists()
    see(desk, page, messages[0])
    see(desk, page, *messages[1:])
    opened = lines(Entry.objects.filter(action="message.opened").order_by("pk"))
    assert [line.details.get("like", "") for line in opened] == [
        "",
        *[str(messages[0].public_id)] * 2,
    ]
    assert buttons(open_sheet(desk, *messages)) == ["Approve 3 read"]


def test_sheet_of_somebody_else_records_nothing(desk, connection, second_reviewer):
    plum = make(connection, "plum")
    fields = {"sheet": signed_for(second_reviewer, plum), "item": [pair(plum)]}
    assert desk.post("/queue/bulk/seen/", fields).status_code == 422
    assert not Entry.objects.filter(action="message.opened").exists()


def test_what_was_refused_or_taken_back_since_is_not_decided_and_is_decided_again(
    desk, reviewer, connection
):
    messages = several(connection, "plum", "kiwi")
    signed = signed_on(open_sheet(desk, *messages))
    first = post(desk, signed, messages, unread=2)
    Decision.objects.update(state="refused", explanation="The hours are closed.")
    Decision.objects.filter(message=messages[0]).update(state="superseded")
    Verdict.objects.update(live=False)
    page = desk.get(first["Location"]).text
    assert "Approved: 0 of 2" in page
    assert page.count("The hours are closed.") == 2
    post(desk, signed, messages, unread=2)
    assert Decision.objects.filter(state="recorded").count() == 2


@pytest.mark.slow
def test_batch_has_a_longer_undo_window_and_none_is_sent_while_others_are_undone(
    connection, reviewer, monkeypatch
):
    quick, slow = several(connection, "plum", "kiwi")
    sentences(reviewer, sheet_of(reviewer, quick, slow))
    windows = {one.due_at - one.recorded_at for one in Decision.objects.all()}
    assert windows == {timedelta(seconds=5.2)}

    # Both can still be undone.
    Decision.objects.update(due_at=clock() + timedelta(seconds=5))
    waits = []

    def undo_slowly(**asked):
        waits.append(min(one.due_at for one in Decision.objects.all()) - clock())
        return undo_decision(**asked)

    monkeypatch.setattr(batch, "undo_decision", undo_slowly)
    monkeypatch.setattr(batch, "UNDOING", timedelta(hours=1))
    undo_batch(
        messages=[one.public_id for one in (quick, slow)],
        actor=actor_of(reviewer),
    )
    assert min(waits) > timedelta(minutes=50)
    assert set(states().values()) == {"undone"}
