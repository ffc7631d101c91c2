"""Several messages decided together: only what stood on the sheet, each by itself, each with its own outcome."""

import re
import uuid
from datetime import timedelta

import pytest
from django.core import signing
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from approvals.decide import undo_decision
from approvals.desk import bulk, sheets
from approvals.models import Decision, Mailbox, Message, OpenedPart, Verdict
from audit.models import Entry
from audit.trail import lines
from common.postgres import clock
from people.models import Grant
from tests.factories import make_connection, make_message, show_row
from tests.integration import deciding

pytestmark = pytest.mark.django_db

HIGH = {"markdown": "[https://acme-corp.example/pay](https://acrne-corp.example/p) card 4111 1111 1111 1111"}


@pytest.fixture
def desk(signed_in, reviewer):
    return signed_in(reviewer)


def make(connection, name, **fields):
    """A held message that is like no other, named by a word."""
    fields.setdefault("markdown", f"About {name} and nothing else")
    return make_message(connection, subject=f"Subject {name}", **fields)


def open_sheet(client, *messages):
    return client.post("/queue/bulk/", {"id": [str(one.public_id) for one in messages]})


def signed_of(page):
    return re.search(r'name="sheet" value="([^"]+)"', page.content.decode())[1]


def pair(message):
    return f"{message.public_id}.{message.revision.fingerprint}"


def decide(client, page, messages, outcome="approve", **fields):
    posted = {"sheet": signed_of(page), "item": [pair(one) for one in messages], "outcome": outcome, **fields}
    return client.post("/queue/bulk/decide/", posted)


def outcomes(client, answer):
    """What the page says of each message: of those that were not decided the sentence."""
    assert answer.status_code == 302, answer.content.decode()
    page = client.get(answer["Location"]).content.decode()
    failed = dict(re.findall(r'class="failed">.*?<bdi>(.*?)</bdi>.*?class="sentence"><bdi>(.*?)</bdi>', page, re.S))
    return page, failed


def ticked(page):
    return re.findall(r'name="item" value="([^"]+)"[^>]*? checked>', page.content.decode())


def test_sheet_shows_each_message_whole_and_ticks_what_can_be_approved(desk, connection):
    one = make(
        connection,
        "plum",
        to_addresses=["dana@northwind.example", "kim@northwind.example"],
        bcc=["hidden@elsewhere.example"],
        markdown="Dear Dana, see [the offer](https://offer.example/42).",
        attachments=[{"filename": "offer.pdf", "content_type": "application/pdf", "size": 10, "sha256": "ab" * 32}],
    )
    page = open_sheet(desk, one)
    text = page.content.decode()
    for told in ("kim@northwind.example", "hidden@elsewhere.example", "https://offer.example/42", "offer.pdf"):
        assert told in text
    assert "Dear Dana, see" in text
    assert one.revision.short_fingerprint in text
    assert ticked(page) == [pair(one)]


@pytest.mark.proves("case 17")
def test_batch_of_five_with_one_stale_decides_four_and_names_the_one(desk, connection):
    messages = [make(connection, name) for name in ("plum", "kiwi", "fig", "pear", "lime")]
    page = open_sheet(desk, *messages)
    show_row(messages[2], subject="Subject fig", markdown="Another text")
    page, failed = outcomes(desk, decide(desk, page, messages))
    assert list(failed) == ["Subject fig"]
    assert "changed after you opened it" in failed["Subject fig"]
    assert {one.message_id for one in Decision.objects.all()} == {one.pk for one in messages} - {messages[2].pk}
    assert "Approved: 4 of 5" in page


@pytest.mark.proves("security 22")
def test_batch_lists_each_with_its_hash_and_leaves_an_entry_for_each(desk, connection, reviewer):
    """Without signing in anew, which comes with the people pages."""
    messages = [make(connection, name) for name in ("plum", "kiwi")]
    page = open_sheet(desk, *messages)
    assert all(one.revision.short_fingerprint in page.content.decode() for one in messages)
    outcomes(desk, decide(desk, page, messages))
    given = lines(Entry.objects.filter(action="verdict.given"))
    assert {(line.entry.message, line.entry.fingerprint) for line in given} == {
        (one.public_id, one.revision.fingerprint) for one in messages
    }
    (together,) = lines(Entry.objects.filter(action="bulk.decided"))
    assert {line.details["sheet"] for line in given} == {together.details["sheet"]}
    assert (together.details["decided"], together.details["on_sheet"]) == ("2", "2")
    assert {str(one.person_id) for one in Verdict.objects.all()} == {str(reviewer.pk)}


def test_what_was_not_on_the_sheet_is_never_decided(desk, connection):
    shown, other = make(connection, "plum"), make(connection, "kiwi")
    page = open_sheet(desk, shown)
    answer = decide(desk, page, [shown, other])
    assert answer.status_code == 422
    assert "not on this sheet" in answer.content.decode()
    assert not Decision.objects.exists()


def test_version_that_was_not_on_the_sheet_is_never_decided(desk, connection):
    message = make(connection, "plum")
    page = open_sheet(desk, message)
    changed = show_row(message, subject="Subject plum", markdown="Another text")
    assert decide(desk, page, [changed]).status_code == 422
    assert not Decision.objects.exists()


@pytest.mark.parametrize("token", ["", "nonsense", "signed"])
def test_sheet_that_is_not_ones_own_decides_nothing(desk, connection, token):
    message = make(connection, "plum")
    items = [[message.public_id.hex, message.revision.fingerprint, 0]]
    signed = signing.dumps(["999999", "ab", items], salt="approvals.desk.sheets", compress=True)
    posted = {"sheet": signed if token == "signed" else token, "item": [pair(message)], "outcome": "approve"}
    answer = desk.post("/queue/bulk/decide/", posted)
    assert answer.status_code == 422
    assert "too old to decide from" in answer.content.decode()
    assert not Decision.objects.exists()


def test_sheet_is_too_old_after_a_day(desk, connection, monkeypatch):
    message = make(connection, "plum")
    page = open_sheet(desk, message)
    monkeypatch.setattr(sheets, "LASTS", timedelta(seconds=-1))
    assert decide(desk, page, [message]).status_code == 422
    assert not Decision.objects.exists()


def test_high_risk_stands_apart_unticked_and_is_rejected_but_not_approved(desk, connection):
    plain, risky = make(connection, "plum"), make(connection, "kiwi", **HIGH)
    assert risky.risk_level == "high"
    page = open_sheet(desk, risky, plain)
    assert ticked(page) == [pair(plain)]
    assert "It is of high risk" in page.content.decode()
    _, failed = outcomes(desk, decide(desk, page, [plain, risky]))
    assert list(failed) == ["Subject kiwi"]
    assert [one.message for one in Decision.objects.all()] == [plain]
    page = open_sheet(desk, risky)
    outcomes(desk, decide(desk, page, [risky], "reject", reject_reason="A lie"))
    assert Decision.objects.get(message=risky).reason == "A lie"


def test_letter_that_came_after_the_draft_is_read_by_itself(desk, connection):
    draft = make(connection, "plum")
    Message.objects.filter(pk=draft.pk).update(thread_id="01THREAD")
    later = make(connection, "kiwi")
    Message.objects.filter(pk=later.pk).update(
        thread_id="01THREAD", state="received", direction="inbound", sender="dana@northwind.example",
        held_at=draft.held_at + timedelta(hours=1),
    )  # fmt: skip
    page = open_sheet(desk, draft)
    assert ticked(page) == []
    assert "wrote in this thread after the draft" in page.content.decode()
    _, failed = outcomes(desk, decide(desk, page, [draft]))
    assert list(failed) == ["Subject plum"]


def test_too_long_letter_is_not_judged_among_others(desk, connection):
    message = make(connection, "plum", markdown="Word " * 5000)
    page = open_sheet(desk, message)
    assert ticked(page) == []
    assert "too long to be judged" in page.content.decode()
    _, failed = outcomes(desk, decide(desk, page, [message]))
    assert "too long to be judged" in failed["Subject plum"]
    assert not Decision.objects.exists()


def test_long_letter_is_whole_with_its_rest_a_press_away(desk, connection):
    message = make(connection, "plum", markdown="Begin " + "word " * 600 + "the very end")
    text = open_sheet(desk, message).content.decode()
    assert '<details class="rest">' in text
    assert "the very end" in text


def test_what_cannot_be_decided_is_left_out_with_the_reason(desk, connection, second_reviewer):
    decided, fetching = make(connection, "plum"), make(connection, "kiwi", hydrated=False)
    deciding.decide(decided, second_reviewer, "reject", "No")
    page = open_sheet(desk, decided, fetching)
    text = page.content.decode()
    assert ticked(page) == []
    assert f"Rejected by {second_reviewer}" in text
    assert "still being fetched" in text
    assert "Nothing here can be decided" in text


def test_message_out_of_sight_is_neither_shown_nor_decided(desk, connection, reviewer):
    other = make_connection("other")
    hidden = make(other, "secret")
    Grant.objects.filter(person=reviewer).update(connection=connection)
    page = open_sheet(desk, hidden)
    assert "secret" not in page.content.decode()
    assert "you may not see it" in page.content.decode()


def test_sheet_holds_fifty_and_says_what_did_not_fit(desk, connection):
    messages = [make(connection, f"word{number}") for number in range(3)]
    ids = [str(uuid.uuid4()) for _ in range(49)] + [str(one.public_id) for one in messages]
    text = desk.post("/queue/bulk/", {"id": [*ids, "nonsense", ids[0]]}).content.decode()
    assert "2 more did not fit" in text


def test_reject_without_a_reason_keeps_ticks_and_words(desk, connection):
    messages = [make(connection, name) for name in ("plum", "kiwi")]
    page = open_sheet(desk, *messages)
    answer = decide(desk, page, messages[:1], "reject", send_back_reason="Half a sentence")
    assert answer.status_code == 422
    assert "Say why" in answer.content.decode()
    assert "Half a sentence" in answer.content.decode()
    assert ticked(answer) == [pair(messages[0])]
    assert not Decision.objects.exists()


def test_preset_and_words_are_the_reason_of_each(desk, connection):
    messages = [make(connection, name) for name in ("plum", "kiwi")]
    page = open_sheet(desk, *messages)
    outcomes(desk, decide(desk, page, messages, "reject", reject_preset="double", reject_reason="By Kim."))
    assert {one.reason for one in Decision.objects.all()} == {"This was already answered.\nBy Kim."}


def test_conflict_keeps_the_words_for_another_try(desk, connection):
    messages = [make(connection, name) for name in ("plum", "kiwi")]
    page = open_sheet(desk, *messages)
    show_row(messages[0], subject="Subject plum", markdown="Another text")
    text, _ = outcomes(desk, decide(desk, page, messages, "send_back", send_back_reason="Name the order"))
    again = re.search(r'name="send_back_reason" value="([^"]+)"', text)[1]
    fields = {"id": str(messages[0].public_id), "outcome": "send_back", "send_back_reason": again}
    sheet = desk.post("/queue/bulk/", fields).content.decode()
    assert ">Name the order</textarea>" in sheet
    assert re.search(r'id="send_back" name="why" open', sheet)


def test_all_that_has_not_left_is_undone_at_once(desk, connection):
    messages = [make(connection, name) for name in ("plum", "kiwi", "fig")]
    answer = decide(desk, open_sheet(desk, *messages), messages)
    Decision.objects.filter(message=messages[0]).update(state="calling", may_have_left=True, attempt=1)
    batch = answer["Location"].partition("of=")[2]
    desk.post("/queue/bulk/undo/", {"of": batch})
    states = dict(Decision.objects.values_list("message__subject", "state"))
    assert states == {"Subject plum": "calling", "Subject kiwi": "undone", "Subject fig": "undone"}


def test_none_leaves_while_the_others_are_undone(desk, connection, monkeypatch):
    messages = [make(connection, name) for name in ("plum", "kiwi")]
    answer = decide(desk, open_sheet(desk, *messages), messages)
    waits = []

    def undo_slowly(**asked):
        waits.append(min(one.due_at for one in Decision.objects.all()) - clock())
        return undo_decision(**asked)

    monkeypatch.setattr(bulk, "undo_decision", undo_slowly)
    desk.post("/queue/bulk/undo/", {"of": answer["Location"].partition("of=")[2]})
    assert min(waits) > timedelta(seconds=20)
    assert set(Decision.objects.values_list("state", flat=True)) == {"undone"}


def test_one_is_undone_alone(desk, connection):
    messages = [make(connection, name) for name in ("plum", "kiwi")]
    answer = decide(desk, open_sheet(desk, *messages), messages)
    batch = answer["Location"].partition("of=")[2]
    desk.post("/queue/bulk/undo/", {"of": batch, "id": str(messages[1].public_id)})
    states = dict(Decision.objects.values_list("message__subject", "state"))
    assert states == {"Subject plum": "recorded", "Subject kiwi": "undone"}


def test_somebody_elses_batch_is_nobodys_to_undo(desk, signed_in, connection, second_reviewer):
    message = make(connection, "plum")
    answer = decide(desk, open_sheet(desk, message), [message])
    batch = answer["Location"].partition("of=")[2]
    other = signed_in(second_reviewer)
    assert other.get(f"/queue/bulk/done/?of={batch}").status_code == 302
    other.post("/queue/bulk/undo/", {"of": batch})
    assert Decision.objects.get().state == "recorded"


def test_second_press_decides_nothing_twice_and_shows_the_same_outcome(desk, connection):
    messages = [make(connection, name) for name in ("plum", "kiwi")]
    page = open_sheet(desk, *messages)
    first, second = decide(desk, page, messages), decide(desk, page, messages)
    assert first["Location"] == second["Location"]
    assert Decision.objects.count() == 2
    assert not Entry.objects.filter(action="verdict.refused").exists()


def test_who_may_not_decide_gets_no_sheet_to_decide_from(signed_in, connection, auditor):
    message = make(connection, "plum")
    client = signed_in(auditor)
    text = open_sheet(client, message).content.decode()
    assert "Nothing here can be decided" in text
    assert 'value="approve"' not in text


def test_inbound_and_outbound_are_named_apart(desk, connection):
    out, held = make(connection, "plum"), make(connection, "kiwi")
    Message.objects.filter(pk=held.pk).update(direction="inbound")
    text = open_sheet(desk, out, held).content.decode()
    assert "Approve what is ticked: send, or release to the agent" in text
    assert re.search(r'data-kind="release"', text)
    assert 'id="send_back"' in text
    only_received = open_sheet(desk, held)
    assert 'value="send_back"' not in only_received.content.decode()
    _, failed = outcomes(desk, decide(desk, only_received, [held], "send_back", send_back_reason="Say 14 days."))
    assert list(failed.values()) == ["Received mail has no agent that could change it: release it, or reject it."]


def test_batch_is_undone_a_little_longer_than_one_and_never_where_nothing_is(desk, connection):
    quick, slow = make(connection, "plum"), make(connection, "kiwi")
    other = Mailbox.objects.create(connection=connection, upstream_id="01AT_ONCE", undo_window=timedelta(0))
    Message.objects.filter(pk=quick.pk).update(mailbox=other)
    decide(desk, open_sheet(desk, quick, slow), [quick, slow])
    windows = {one.message_id: one.due_at - one.recorded_at for one in Decision.objects.all()}
    assert windows == {quick.pk: timedelta(0), slow.pk: timedelta(seconds=5.2)}


def test_sheet_notes_that_each_version_was_on_screen_once(desk, connection):
    messages = [make(connection, "plum", markdown="See https://offer.example/42"), make(connection, "kiwi")]
    open_sheet(desk, *messages)
    open_sheet(desk, *messages)
    opened = Entry.objects.filter(action="message.opened").values_list("message", "fingerprint")
    assert sorted(map(str, opened)) == sorted(str((one.public_id, one.revision.fingerprint)) for one in messages)
    assert OpenedPart.objects.filter(message=messages[0]).count() == 1


def test_link_to_the_sheet_leads_to_the_list_and_changes_nothing(desk, connection):
    message = make(connection, "plum")
    answer = desk.get(f"/queue/bulk/?id={message.public_id}&tab=mine")
    assert (answer.status_code, answer["Location"]) == (302, "/queue/?tab=mine")
    assert desk.get("/queue/bulk/decide/").status_code == 405
    assert not Entry.objects.filter(action="message.opened").exists()


def test_nothing_ticked_leads_back_with_words(desk, connection):
    message = make(connection, "plum")
    answer = desk.post("/queue/bulk/", {}, follow=True)
    assert "Tick the messages" in answer.content.decode()
    answer = decide(desk, open_sheet(desk, message), [])
    assert answer.status_code == 422
    assert "Tick at least one" in answer.content.decode()


def test_queries_of_a_sheet_do_not_grow_with_its_length(desk, connection):
    def cost(messages):
        open_sheet(desk, *messages)
        with CaptureQueriesContext(database) as queries:
            open_sheet(desk, *messages)
        return len(queries)

    several = [make(connection, f"word{chr(97 + number)}") for number in range(8)]
    Message.objects.filter(pk__in=[one.pk for one in several]).update(thread_id="01THREAD")
    assert cost(several[:2]) == cost(several) <= 25


def test_fifty_are_decided_by_few_statements_each_and_told_of_by_as_many_as_one(desk, connection):
    def cost(ask, *asked):
        with CaptureQueriesContext(database) as queries:
            answer = ask(*asked)
        return len(queries), answer

    several = [make(connection, f"word{chr(97 + number)}") for number in range(8)]
    few, first = cost(decide, desk, open_sheet(desk, *several[:2]), several[:2])
    many, second = cost(decide, desk, open_sheet(desk, *several[2:]), several[2:])
    assert (many - few) / 4 <= 17
    assert cost(desk.get, first["Location"])[0] == cost(desk.get, second["Location"])[0] <= 12


def test_list_has_a_form_that_opens_the_sheet_without_scripts(desk, connection):
    message = make(connection, "plum")
    text = desk.get("/queue/").content.decode()
    assert re.search(rf'<input type="checkbox" class="pick" name="id" form="bulk" value="{message.public_id}"', text)
    assert '<form class="selection" id="bulk" method="post" action="/queue/bulk/"' in text
