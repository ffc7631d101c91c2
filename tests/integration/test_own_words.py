"""Own words: who may set them, what the page previews, the ledger, and that held
messages are judged again.
"""

import pytest
from django.db import connection as database
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from approvals import tasks
from approvals.models import OwnWord, Review, RuleWeight
from approvals.risk_rules import weighing
from audit.models import Entry
from mirror.errors import ActNotAllowed
from mirror.models import Mailbox, Message
from risk.own_words import read_phrase
from tests.factories import (
    actor_of,
    make_connection,
    make_message,
    make_person,
    show_row,
)
from tests.integration.deciding import in_thread, waiting_for_a_lock
from tests.integration.test_rule_weights import risk_of
from tests.markup import words_of

ADD = "/rules/words/add/"
TULIP = {"markdown": "The strictly secret Project Tulip begins."}


def typed(**fields):
    return {
        "text": "Project Tulip",
        "looks_in": ["subject", "text"],
        "points": "60",
        "mailbox": "all",
        **fields,
    }


def save_by(client, address, **fields):
    """Preview and then save what was previewed."""
    shown = client.post(address, typed(**fields)).context["preview"]["word"]
    return client.post(address, typed(act="save", previewed=str(shown), **fields))


def save(
    person,
    text="project tulip",
    points=60,
    mailbox=None,
    looks_in=("subject", "text"),
    word=None,
):
    wanted = weighing.WantedWord(read_phrase(text), mailbox, looks_in, points)
    return weighing.save_word(wanted=wanted, actor=actor_of(person), word=word)


def judge_all():
    for weight in RuleWeight.objects.exclude(weighed_to=None):
        while tasks.reweigh(weight.pk) != "done":
            pass


def lately(*messages):
    Message.objects.filter(pk__in=[one.pk for one in messages]).update(
        held_at=Now(), changed_at=Now()
    )


def recorded(action):
    return [
        entry.detail.fields
        for entry in Entry.objects.filter(action=action).order_by("pk")
    ]


def test_word_counts_for_what_comes_and_for_what_is_held_until_it_is_removed(
    connection, admin, reviewer, signed_in
):
    before = make_message(connection, **TULIP)
    clean = make_message(connection)
    word = save(admin)
    after = make_message(connection, **TULIP)
    assert risk_of(before) == (0, "")
    assert risk_of(after) == (60, "high")
    judge_all()
    assert risk_of(before) == (60, "high")
    assert risk_of(clean) == (0, "")
    page = words_of(signed_in(reviewer).get(f"/queue/{before.public_id}/"))
    assert "“project tulip” is in the text." in page
    assert "the strictly secret project tulip begins" in page
    assert "Approve with care" in page

    save(admin, points=10, word=word)
    judge_all()
    assert risk_of(before) == (10, "notice")
    assert risk_of(after) == (10, "notice")
    weighing.remove_word(word=word, actor=actor_of(admin))
    judge_all()
    assert risk_of(before) == (0, "")
    assert Review.objects.get(pk=before.pk).rules == []
    for action, old, new in (
        ("own_word.added", "nothing", "60 points, all mailboxes"),
        ("own_word.changed", "60 points", "10 points"),
        ("own_word.removed", "10 points", "nothing"),
    ):
        [entry] = recorded(action)
        assert old in entry["before"], action
        assert new in entry["after"], action


def test_finding_leads_to_the_word_and_its_frame_marks_it(
    connection, admin, reviewer, signed_in
):
    save(admin)
    message = make_message(connection, **TULIP)
    client = signed_in(reviewer)
    page = client.get(f"/queue/{message.public_id}/").text
    assert (
        f'href="/queue/{message.public_id}/?view=rendered&amp;mark=word-3-2#sheet"'
        in page
    )
    opened = client.get(f"/queue/{message.public_id}/?view=rendered&mark=word-3-2").text
    address = f"/queue/{message.public_id}/body/"
    assert f'src="{address}?mark=word-3-2#word-3-2"' in opened
    assert (
        '<span id="word-3-2" class="found">Project Tulip</span>'
        in client.get(f"{address}?mark=word-3-2").text
    )
    for other in ("", "?mark=word-99-1", "?mark=word-3", "?mark=hidden-1"):
        assert 'class="found"' not in client.get(address + other).text
    assert (
        'src="' + address + '"'
        in client.get(f"/queue/{message.public_id}/?mark=word-3").text
    )


def test_word_of_a_mailbox_counts_there_alone_and_decided_messages_keep_their_risk(
    connection, admin
):
    other = Mailbox.objects.create(
        connection=connection, upstream_id="01OTHER", address="other@yourteam.example"
    )
    here = make_message(connection, **TULIP)
    there = make_message(
        connection, **TULIP, mailbox_id="01OTHER", mailbox="other@yourteam.example"
    )
    Message.objects.filter(pk=there.pk).update(mailbox=other)
    done = make_message(connection, **TULIP)
    Message.objects.filter(pk=done.pk).update(state="rejected")
    save(admin, mailbox=here.mailbox)
    judge_all()
    assert [risk_of(one)[0] for one in (here, there, done)] == [60, 0, 0]


@pytest.mark.django_db(transaction=True)
def test_message_that_is_stored_while_a_word_is_added_is_not_missed(connection, admin):
    message = make_message(connection)
    with transaction.atomic():
        show_row(message, **TULIP)
        saving, _ = in_thread(lambda: save(admin))
        waiting_for_a_lock(database)
    saving.join()
    assert risk_of(message) == (0, "")
    judge_all()
    assert risk_of(message) == (60, "high")


def test_worker_that_ends_early_goes_on_where_it_was(connection, admin, monkeypatch):
    monkeypatch.setattr(weighing, "JUDGED", 1)
    monkeypatch.setattr("common.tasks.AT_A_TIME", -1.0)
    messages = [make_message(connection, **TULIP) for _ in range(3)]
    save(admin)
    assert tasks.reweigh(RuleWeight.objects.get().pk) == "to be continued"
    judge_all()
    assert {risk_of(one) for one in messages} == {(60, "high")}


def test_only_admins_set_words_and_each_those_of_their_mailboxes(
    connection, admin, reviewer, auditor
):
    mailbox = Mailbox.objects.get()
    of_mailbox = make_person("p@yourteam.example", "Pat", "admin", mailbox=mailbox)
    word = save(admin)
    for person in (reviewer, auditor, of_mailbox):
        with pytest.raises(ActNotAllowed, match="Only an admin of all mailboxes"):
            save(person, "other word")
        with pytest.raises(ActNotAllowed):
            save(person, "other word", mailbox=mailbox, word=word)
        with pytest.raises(ActNotAllowed):
            weighing.remove_word(word=word, actor=actor_of(person))
    assert save(of_mailbox, mailbox=mailbox).mailbox == mailbox
    stranger = make_person(
        "x@yourteam.example", "X", "admin", connection=make_connection("other")
    )
    with pytest.raises(ActNotAllowed):
        save(stranger, "other word", mailbox=mailbox)
    assert (
        not OwnWord.objects.visible_to(actor_of(stranger))
        .filter(mailbox=mailbox)
        .exists()
    )


# the page


def test_preview_tests_a_text_and_rehearses_the_last_30_days_and_save_stores(
    connection, admin, signed_in, monkeypatch
):
    monkeypatch.setattr(weighing, "NAMED", 2)
    hits = [make_message(connection, subject=f"Letter {n}", **TULIP) for n in range(3)]
    lately(
        *hits,
        make_message(connection),
        make_message(connection, markdown="A project, then a tulip."),
    )
    client = signed_in(admin)
    answer = client.post(ADD, typed(sample="Our PROJECT\u200b tulip, at last"))
    page = words_of(answer)
    assert "Found in your text: … our project tulip at last …" in page
    assert "3 messages of 5 would have had this finding." in page
    assert page.count("Letter ") == 2, "only the newest are named"
    assert not OwnWord.objects.exists()
    assert "Not found in your text." in words_of(
        client.post(ADD, typed(sample="tulips"))
    )
    shown = str(answer.context["preview"]["word"])
    unseen = client.post(ADD, typed(act="save", previewed=shown, points="61"))
    assert ("61 points" in words_of(unseen), OwnWord.objects.count()) == (True, 0), (
        "only what was previewed is saved"
    )
    saved = words_of(client.post(ADD, typed(act="save", previewed=shown), follow=True))
    assert "“Project Tulip” is saved." in saved
    assert "Held messages are being checked again." in saved
    assert OwnWord.objects.get().looks_in == ["subject", "text"]


def test_rehearsal_says_how_far_it_came_when_its_time_is_over(
    connection, admin, monkeypatch
):
    lately(*[make_message(connection, **TULIP) for _ in range(5)])
    monkeypatch.setattr(weighing, "SECONDS", -1.0)
    monkeypatch.setattr(weighing, "CHUNK", 2)
    for number, message in enumerate(Message.objects.order_by("pk")):
        Message.objects.filter(pk=message.pk).update(
            changed_at=timezone.now() + timezone.timedelta(seconds=number)
        )
    tried = weighing.rehearse_word(
        wanted=weighing.WantedWord(read_phrase("*ulip"), None, ["text"], 20),
        actor=actor_of(admin),
    )
    assert tried.found == 2
    assert tried.looked_at == 2
    assert tried.is_partial is True


def test_bad_input_is_refused_with_a_sentence_and_what_was_typed_stays(
    connection, admin, signed_in, monkeypatch
):
    client = signed_in(admin)
    save(admin, "café")
    for fields, sentence in (
        ({"text": ""}, "Write a word, a phrase or a pattern."),
        ({"text": "*"}, "That would match nearly every message."),
        ({"text": "y" * 81}, "Keep it under 80 characters."),
        ({"points": "0"}, "Give it 1 to 100 points"),
        ({"points": "101"}, "Give it 1 to 100 points"),
        ({"looks_in": []}, "Choose at least one place"),
        ({"mailbox": "999"}, "Choose one of the mailboxes"),
        (
            {
                "text": "CAFE",
                "act": "save",
                "previewed": "cafe / subject text / 60 / all",
            },
            "It is already in the list",
        ),
    ):
        answer = client.post(ADD, typed(sample="what I tested", **fields))
        assert answer.status_code == 422, fields
        assert sentence in words_of(answer), fields
        assert "what I tested" in answer.text
    monkeypatch.setattr(weighing, "MOST", 1)
    assert "There are 1 words already" in words_of(save_by(client, ADD))


def test_less_is_confirmed_with_the_password_and_more_is_not(
    connection, admin, signed_in, monkeypatch
):
    word = save(admin, "project tulip")
    client = signed_in(admin)
    monkeypatch.setattr(
        "approvals.risk_rules.views.is_recently_authenticated",
        lambda request: False,
    )
    address = f"/rules/words/{word.pk}/save/"
    more = save_by(client, address, text="project tulip", points="70")
    assert more["Location"] == "/rules/words/"
    for fields in ({"points": "10"}, {"text": "project rose"}, {"looks_in": ["text"]}):
        less = save_by(
            client, address, **{"text": "project tulip", "points": "70", **fields}
        )
        assert "/reauthenticate/" in less["Location"], fields
    assert OwnWord.objects.get().points == 70
