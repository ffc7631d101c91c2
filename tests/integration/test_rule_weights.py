"""Admins set the weights of the published rules: permissions, ledger entries, and held
messages are reweighed.
"""

from datetime import timedelta

import pytest
from django.db import connection as database
from django.db import transaction
from django.db.models.functions import Now

from approvals import tasks
from approvals.models import OwnWord, Review, RuleWeight
from approvals.risk_rules import weighing
from approvals.risk_rules.views import RuleForm
from approvals.sweeping import DUTIES
from audit.models import Entry
from mirror import store
from mirror.errors import ActNotAllowed
from mirror.models import Mailbox, Message, Revision
from policy.models import ReviewPlan
from risk.findings import not_read_safely
from risk.own_words import read_phrase
from tests.factories import (
    actor_of,
    change_row,
    make_connection,
    make_message,
    make_person,
    show_row,
)
from tests.integration.deciding import in_thread, waiting_for_a_lock
from tests.markup import says, words_of

RULE = "greeting_differs"
MISADDRESSED = {
    "markdown": "Dear Anna,\n\nhere is what you asked for.",
    "to_addresses": ["bob@northwind.example"],
}
PAGE = f"/rules/findings/{RULE}/"


def weigh(person, points, rule=RULE):
    return weighing.weigh(rule=rule, points=points, actor=actor_of(person))


def reweigh_all():
    for weight in RuleWeight.objects.exclude(weighed_to=None):
        while tasks.reweigh(weight.pk) != "done":
            pass


def risk_of(message):
    return Review.objects.values_list("risk", "risk_level").get(pk=message.pk)


def test_new_points_hold_for_what_comes_and_for_what_is_held(connection, admin):
    before = make_message(connection, **MISADDRESSED)
    assert risk_of(before) == (30, "notice")
    weigh(admin, 80)
    after = make_message(connection, **MISADDRESSED)
    assert risk_of(before) == (30, "notice")
    assert risk_of(after) == (80, "high")
    reweigh_all()
    assert risk_of(before) == (80, "high")
    weigh(admin, None)
    reweigh_all()
    assert risk_of(before) == (30, "notice")


@pytest.mark.slow
def test_deadlines_follow_the_new_risk_and_only_where_its_level_changed(
    connection, admin
):
    ReviewPlan.objects.create(targets={"high": [10, 20], "": [60, 120]})
    follow = DUTIES["review plans"]
    message = make_message(connection, **MISADDRESSED)
    follow()

    def minutes():
        message.refresh_from_db()
        return [
            (at - message.held_at) / timedelta(minutes=1)
            for at in (message.review.look_by, message.review.decide_by)
        ]

    assert minutes() == [60, 120]
    for points, expected, is_asked_again in (
        (31, [60, 120], False),
        (80, [10, 20], True),
    ):
        Review.objects.update(policy_applied=7)
        weigh(admin, points)
        reweigh_all()
        message.refresh_from_db()
        assert (message.review.policy_applied == 0) == is_asked_again
        follow()
        assert minutes() == expected


def test_only_an_admin_of_everything_weighs_published_rules(connection, admin):
    of_one = make_person("p@yourteam.example", "Pat", "admin", connection=connection)
    with pytest.raises(ActNotAllowed):
        weigh(of_one, 80)
    with pytest.raises(ActNotAllowed, match="not published"):
        weigh(admin, 80, rule="made_up")


@pytest.mark.slow
def test_worker_that_ends_early_goes_on_where_it_was(connection, admin, monkeypatch):
    monkeypatch.setattr(weighing, "BATCH", 1)
    monkeypatch.setattr("common.tasks.AT_A_TIME", -1.0)
    messages = [make_message(connection, **MISADDRESSED) for _ in range(3)]
    clean = make_message(connection)
    done = make_message(connection, **MISADDRESSED)
    change_row(done, state="rejected")
    weight = weigh(admin, 80)
    assert tasks.reweigh(weight.pk) == "to be continued"
    while tasks.reweigh(weight.pk) != "done":
        pass
    assert {risk_of(one)[0] for one in messages} == {80}
    assert (risk_of(clean)[0], risk_of(done)[0]) == (0, 30)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_message_that_is_stored_while_a_rule_is_weighed_is_not_missed(
    connection, admin
):
    message = make_message(connection)
    with transaction.atomic():
        # By the old points: the new ones are not there yet.
        show_row(message, **MISADDRESSED)
        weighing, _ = in_thread(lambda: weigh(admin, 80))
        waiting_for_a_lock(database)
        assert not RuleWeight.objects.exists()
    weighing.join()
    assert risk_of(message) == (30, "notice")
    reweigh_all()
    assert risk_of(message) == (80, "high")


# the pages


@pytest.mark.slow
def test_admin_sets_weights_and_invalid_points_are_refused_and_stay_in_the_field(
    admin, signed_in
):
    for points in ("", "101", "-1", "1.5"):
        assert RuleForm({"points": points}).first_error(), points
    client = signed_in(admin)
    says(client.post(f"{PAGE}weigh/", {"points": "101"}), 422, 'value="101"')
    page = words_of(client.post(f"{PAGE}weigh/", {"points": "80"}, follow=True))
    assert "“Wrong greeting” now counts 80." in page
    client.post(f"{PAGE}weigh/", {"points": "", "as_published": "1"})
    assert RuleWeight.objects.get().points is None


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


def lately(*messages):
    Message.objects.filter(pk__in=[one.pk for one in messages]).update(
        held_at=Now(), changed_at=Now()
    )


def test_word_counts_for_what_comes_and_for_what_is_held_until_it_is_removed(
    connection, admin, signed_in
):
    before = make_message(connection, **TULIP)
    clean = make_message(connection)
    word = save(admin)
    after = make_message(connection, **TULIP)
    assert risk_of(before) == (0, "")
    assert risk_of(after) == (60, "high")
    reweigh_all()
    assert risk_of(before) == (60, "high")
    assert risk_of(clean) == (0, "")
    save(admin, points=10, word=word)
    reweigh_all()
    assert risk_of(before) == risk_of(after) == (10, "notice")
    weighing.remove_word(word=word, actor=actor_of(admin))
    reweigh_all()
    assert risk_of(before) == (0, "")
    assert Review.objects.get(pk=before.pk).rules == []
    _, changed, removed = Entry.objects.filter(
        action__startswith="own_word."
    ).oldest_first()
    assert removed.action == "own_word.removed"
    assert "10 points" in changed.detail.fields["after"]


def test_text_by_which_a_rule_names_a_word_is_not_respelled_alone():
    word = OwnWord(text="pay-now", spelling="pay now", looks_in=["text"], points=20)
    respelled = weighing.WantedWord(read_phrase("pay now"), None, ["text"], 20)
    assert weighing.loosens(word, respelled)


@pytest.mark.slow
def test_finding_that_comes_while_words_are_searched_stays(connection, admin):
    message = make_message(connection, **TULIP)
    as_read = Revision.objects.get(message=message)
    store.add_finding(as_read, not_read_safely("The file"))
    save(admin)
    words = list(OwnWord.objects.all())
    weighing._judge(message, as_read, words, {})
    found = Revision.objects.get(message=message).findings
    assert {one["rule"] for one in found} == {"own_word", "unsafe_content"}


@pytest.mark.slow
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
    change_row(there, mailbox=other)
    done = make_message(connection, **TULIP)
    change_row(done, state="rejected")
    save(admin, mailbox=here.mailbox)
    reweigh_all()
    assert [risk_of(one)[0] for one in (here, there, done)] == [60, 0, 0]


def test_only_admins_set_words_and_each_those_of_their_mailboxes(
    connection, admin, reviewer
):
    mailbox = Mailbox.objects.get()
    of_mailbox = make_person("p@yourteam.example", "Pat", "admin", mailbox=mailbox)
    stranger = make_person(
        "x@yourteam.example", "X", "admin", connection=make_connection("other")
    )
    word = save(admin)
    for person, fields in (
        (reviewer, {}),
        (of_mailbox, {}),
        (of_mailbox, {"mailbox": mailbox, "word": word}),
        (stranger, {"mailbox": mailbox}),
    ):
        with pytest.raises(ActNotAllowed):
            save(person, "other word", **fields)
    with pytest.raises(ActNotAllowed):
        weighing.remove_word(word=word, actor=actor_of(of_mailbox))
    assert save(of_mailbox, mailbox=mailbox).mailbox == mailbox
    assert list(OwnWord.objects.visible_to(actor_of(stranger))) == [word]


# the page


@pytest.mark.slow
def test_preview_rehearses_the_last_30_days_and_save_stores(
    connection, admin, signed_in
):
    hits = [make_message(connection, subject=f"Letter {n}", **TULIP) for n in range(3)]
    lately(
        *hits,
        make_message(connection, markdown="A project, then a tulip."),
    )
    client = signed_in(admin)
    answer = client.post(ADD, typed(sample="Our PROJECT\u200b tulip, at last"))
    page = words_of(answer)
    assert "Found in your text." in page
    assert "3 messages of 4 would have had this finding." in page
    assert not OwnWord.objects.exists()
    shown = str(answer.context["preview"]["word"])
    unseen = client.post(ADD, typed(act="save", previewed=shown, points="61"))
    assert "61 points" in words_of(unseen)
    assert not OwnWord.objects.exists(), "only what was previewed is saved"
    client.post(ADD, typed(act="save", previewed=shown))
    assert OwnWord.objects.get().looks_in == ["subject", "text"]


@pytest.mark.slow
def test_bad_input_is_refused_with_a_sentence_and_what_was_typed_stays(
    connection, admin, signed_in
):
    client = signed_in(admin)
    save(admin, "café")
    for fields, sentence in (
        ({"text": "*"}, "nearly every message"),
        ({"looks_in": []}, "at least one place"),
        (
            {
                "text": "CAFE",
                "act": "save",
                "previewed": "cafe / subject text / 63 / all",
            },
            "already in the list",
        ),
    ):
        answer = client.post(ADD, typed(**{"points": "63", **fields}))
        assert answer.status_code == 422, fields
        assert sentence in words_of(answer), fields
        assert 'value="63"' in answer.text


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
    less = save_by(client, address, text="project tulip", points="10")
    assert "/reauthenticate/" in less["Location"]
    assert OwnWord.objects.get().points == 70
