"""Bulk acts: all that matched when somebody pressed is rejected in the background, each
message once, and nothing that came or changed since.
"""

import os
import re
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from approvals import tasks
from approvals.bulk import acts
from approvals.bulk.acts import decide_next
from approvals.models import Brake, BulkAct, BulkItem, Decision, Review
from audit.models import Entry
from audit.trail import lines
from common.identifiers import uuid7
from mirror.models import Connection, Message, Revision
from people.models import Grant
from tests.factories import (
    change_row,
    make_connection,
    make_message,
    pending_row,
    rolled_back,
    show_row,
)
from tests.integration.deciding import Killed, decide, die
from tests.integration.test_queue_list import make

KEY = {"sent_by_key": "01KEY", "sent_by_key_name": "Outreach bot"}
REASON = "The agent was misled."


@pytest.fixture
def connection(db, upstream):
    upstream.decides(200, status="rejected", decision="rejected")
    return make_connection(api_url=upstream.url)


def several(connection, number, upstream=None):
    """As many messages of one key, which MultiMail holds."""
    messages = [make(connection, f"n{at}") for at in range(number)]
    Message.objects.update(**KEY)
    if upstream:
        upstream.holds(
            *(
                pending_row(
                    message.upstream_id,
                    subject=message.subject,
                    markdown=f"About {message.subject.split()[1]} and nothing else",
                )
                for message in messages
            )
        )
    return messages


def of_key(connection):
    return f"connection={connection.pk}&key=01KEY"


def preview(client, query):
    return client.get(f"/queue/bulk/matching/?{query}")


def press(client, page, query, outcome="reject", **fields):
    signed = re.search(r'name="matching" value="([^"]+)"', page.text)[1]
    posted = {"matching": signed, "outcome": outcome, f"{outcome}_reason": REASON}
    return client.post(f"/queue/bulk/matching/begin/?{query}", posted | fields)


def begun(client, connection, **fields):
    """Press the button for all of the key. Return the act, whose time has come."""
    query = of_key(connection)
    answer = press(client, preview(client, query), query, **fields)
    assert answer.status_code == 302, answer.text
    BulkAct.objects.update(begins_at=Now())
    return BulkAct.objects.get()


def carry_out(act):
    """Let workers carry the act out to its end, and what they postponed with it: on a
    busy machine one may be suspended for a second just before its call, and makes none.
    """
    for _ in range(3):
        while decide_next(act.pk):
            pass
        postponed = Decision.objects.filter(bulk_item__act=act, state="recorded")
        for decision in postponed:
            change_row(decision, due_at=Now())
            acts.run_decision(decision.pk)
    act.refresh_from_db()
    assert act.finished_at, act.counts()


def counts(act):
    return {state: number for state, number in act.counts().items() if number}


def entries(action):
    return lines(Entry.objects.filter(action=action))


def test_preview_counts_what_one_may_decide_with_ten_examples_and_who_sent_them(
    desk, connection, reviewer
):
    messages = several(connection, 12)
    make(connection, "other")
    make_message(connection, subject="Not fetched", hydrated=False)
    Message.objects.filter(revision=None).update(**KEY)
    page = preview(desk, of_key(connection)).text
    assert '<span class="nums">12</span> messages match' in page
    assert "1 more matches and is left out" in page
    assert page.count('<li class="line">') == 10
    assert "Outreach bot" in page
    assert "Subject n0<" in page, "examples go from the oldest"
    assert "Subject n11<" in page, "to the newest"
    assert not BulkAct.objects.exists(), "looking decides nothing"

    brake = Brake.objects.create(
        connection=connection, kind="key", what="key:01KEY", name="Outreach bot",
        window=timedelta(hours=1), cap=5,
    )  # fmt: skip
    Review.objects.filter(message=messages[0]).update(is_apart=True, brake=brake)
    for query, number in (
        (f"brake={brake.pk}", 1),
        (of_key(connection), 12),
        ("q=n3", 1),
        ("by=nobody", 0),
    ):
        page = preview(desk, query).text
        assert f'<span class="nums">{number}</span> message' in page, query
    link = f"/queue/bulk/matching/?brake={brake.pk}"
    assert link in desk.get(f"/queue/apart/{brake.pk}/").text
    assert "/queue/bulk/matching/?q=n3" in desk.get("/queue/?q=n3").text


def test_filter_that_is_ignored_in_part_or_missing_matches_nothing(desk, connection):
    # It would match more than was meant.
    make(connection, "plum")
    for query in ("", "risk=hgih", "q=risk:hgih plum", "tab=done&q=plum", "brake=x"):
        answer = preview(desk, query)
        assert answer["Location"] == "/queue/", query


def test_all_that_matched_are_rejected_once_with_an_entry_each_though_a_worker_dies(
    desk, connection, reviewer, upstream, monkeypatch
):
    messages = several(connection, 24, upstream)
    query = of_key(connection)
    page = preview(desk, query)
    late = make(connection, "late")
    change_row(late, **KEY)
    show_row(messages[5], subject="Subject n5", markdown="Another text")
    assert press(desk, page, query).status_code == 302
    assert press(desk, page, query).status_code == 302, "a double press is one act"
    act = BulkAct.objects.get()
    assert not decide_next(act.pk), "its undo window is not over"
    assert not Decision.objects.exists()
    BulkAct.objects.update(begins_at=Now())

    give_verdict = acts.give_verdict
    # Before the commit, and between it and the call.
    for name, dies in (
        ("give_verdict", lambda **verdict: (give_verdict(**verdict), die())),
        ("run_decision", die),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(acts, name, dies)
            with pytest.raises(Killed):
                decide_next(act.pk)
    assert list(BulkAct.objects.to_carry_on()) == [act], "the sweep finds it"
    show_row(messages[20], subject="Subject n20", markdown="Another text")
    decide(messages[21], reviewer, "approve")
    (left,) = Decision.objects.due().values_list("pk", flat=True)
    acts.run_decision(left)
    carry_out(act)

    assert counts(act) == {"done": 21, "failed": 2}
    rejected = [one["email_id"] for one in upstream.decisions]
    assert len(rejected) == len(set(rejected)) == 21
    assert late.upstream_id not in rejected
    assert {one["action"] for one in upstream.decisions} == {"reject"}
    assert all(REASON in one["reason"] for one in upstream.decisions)
    failed = dict(BulkItem.objects.failed().values_list("message__subject", "sentence"))
    assert "The message changed after you opened it" in failed["Subject n20"]
    assert "approved this message first" in failed["Subject n21"]
    page = desk.get(f"/queue/bulk/acts/{act.pk}/").text
    assert "Rejected: 21 of 23" in page
    assert "Subject n20" in page

    sheet = act.public_id.hex
    given = [
        one for one in entries("verdict.given") if one.details.get("sheet") == sheet
    ]
    assert len({one.message for one in given}) == 21
    assert len(entries("verdict.refused")) == 2
    (begin,) = entries("bulk.begun")
    assert begin.details["messages"] == "23"
    (end,) = entries("bulk.finished")
    assert (end.details["done"], end.details["failed"]) == ("21", "2")


def test_stop_leaves_held_what_has_not_left_and_tells_both_counts(
    desk, connection, reviewer, upstream, second_reviewer, signed_in
):
    several(connection, 30, upstream)
    act = begun(desk, connection)
    for _ in range(8):
        decide_next(act.pk)
    Connection.objects.update(paused_at=Now())
    while decide_next(act.pk):
        pass
    path = f"/queue/bulk/acts/{act.pk}/"
    assert "10 decisions cannot be carried out now" in desk.get(path).text
    assert path in signed_in(second_reviewer).get("/queue/").text
    page = desk.post(f"{path}stop/", follow=True).text
    assert "Stopped: 22 are held as before. Carried out, or on their way: 8." in page
    desk.post(f"{path}stop/")
    carry_out(act)
    assert counts(act) == {"done": 8, "stopped": 22}
    assert len(upstream.decisions) == 8
    assert len(entries("decision.undone")) == 10
    assert len(entries("bulk.stopped")) == 1
    (end,) = entries("bulk.finished")
    assert (end.details["done"], end.details["stopped"]) == ("8", "22")


def test_act_goes_no_further_than_a_few_decisions_while_nothing_is_carried_out(
    desk, connection, reviewer, sent_tasks
):
    several(connection, 15)
    act = begun(desk, connection)
    Connection.objects.update(paused_at=Now())
    while decide_next(act.pk):
        pass
    assert Decision.objects.count() == acts.MAY_WAIT
    sent = {name for name, *_ in sent_tasks}
    assert tasks.execute_decision.name not in sent, "they wait among those of people"


def test_person_who_may_decide_no_more_stops_their_act(
    desk, connection, reviewer, upstream
):
    for number, lose in enumerate(
        (
            lambda: Grant.objects.filter(person=reviewer).delete(),
            lambda: change_row(reviewer, is_active=False),
        )
    ):
        with rolled_back():
            several(connection, 4, upstream)
            act = begun(desk, connection)
            decide_next(act.pk)
            lose()
            carry_out(act)
            assert counts(act) == {"done": 1, "stopped": 3}, number
            assert act.stopped_at
            assert act.stopped_by is None


def test_reason_is_asked_for_and_another_person_cannot_post_the_preview(
    desk, connection, reviewer, second_reviewer, signed_in
):
    several(connection, 3)
    query = of_key(connection)
    page = preview(desk, query)
    answer = press(desk, page, query, reject_reason="", send_back_reason="Half a word")
    assert answer.status_code == 422
    assert "Say why" in answer.text
    assert "Half a word" in answer.text
    answer = press(signed_in(second_reviewer), page, query)
    assert "too old to decide from" in answer.text
    assert press(desk, page, query, outcome="approve").status_code == 422
    Message.objects.filter(subject="Subject n0").update(direction="inbound")
    act = begun(desk, connection, outcome="send_back")
    assert act.items.count() == 2, "of received mail no changes are requested"


def copied(row, **fields):
    """A row that is not stored yet, with the values of this one but for `fields`."""
    values = {
        field.attname: getattr(row, field.attname)
        for field in row._meta.concrete_fields
        if field.attname not in row.get_deferred_fields()
    }
    return type(row)(**values | fields)


def hold_as_many(message, number):
    """Let the desk hold so many messages like this one, itself included."""
    more = [
        copied(
            message,
            id=None,
            public_id=uuid7(),
            upstream_id=f"01COPY{at}",
            revision_id=None,
        )
        for at in range(1, number)
    ]
    Message.objects.bulk_create(more, batch_size=1000)
    for copy in more:
        copy.revision = copied(message.revision, id=None, message_id=copy.pk)
    Revision.objects.bulk_create([copy.revision for copy in more], batch_size=1000)
    for copy in more:
        copy.revision_id = copy.revision.pk
    Message.objects.bulk_update(more, ["revision"], batch_size=1000)


@pytest.mark.soak
@pytest.mark.django_db(transaction=True)
def test_a_thousand_are_rejected_in_one_act(desk, connection, reviewer, upstream):
    number = int(os.environ.get("SOAK_MESSAGES", "1000"))
    several(connection, 1)
    first = Message.objects.get()
    hold_as_many(first, number)
    content = {"subject": first.subject, "markdown": "About n0 and nothing else"}
    upstream.single = lambda email_id: (
        200,
        {"pending": [pending_row(email_id, **content)], "cursor": None},
    )
    act = begun(desk, connection)
    carry_out(act)
    assert counts(act) == {"done": number}
    rejected = [one["email_id"] for one in upstream.decisions]
    assert len(rejected) == len(set(rejected)) == number
    for action in ("verdict.given", "decision.recorded", "decision.applied"):
        told = Entry.objects.filter(action=action).values("message").distinct()
        assert told.count() == number, action
