"""The usual reasons of a mailbox and its saved comments: who writes them, what a page
offers, and what is sent.
"""

import re

from approvals.decisions.forms import CHANGED_MEANWHILE
from approvals.models import Comment, Decision, UsualTexts
from approvals.usual_texts import REJECT, presets_of
from audit.models import Entry
from mirror.models import Mailbox
from tests.factories import change_row, make_connection, make_message, make_person
from tests.integration.deciding import post_verdict
from tests.markup import words_of

OWN = (
    ("Wrong price", "The price is not of our list."),
    ("Ask sales", "Sales decides this."),
)


def page_of(mailbox, kind="reject"):
    return f"/mailboxes/{mailbox.pk}/texts/{kind}/"


def save_at(mailbox, kind="reject"):
    return f"{page_of(mailbox, kind)}save/"


def fields(*texts):
    return {
        f"{name}-{number}": value
        for number, (label, words, *order) in enumerate(texts, start=1)
        for name, value in (
            ("order", order[0] if order else number),
            ("label", label),
            ("words", words),
        )
    }


def named(mailbox, kind, label):
    return next(one.name for one in presets_of(mailbox.pk)[kind] if one.label == label)


def test_own_reasons_are_offered_in_their_order_sent_and_restored(
    message, admin, reviewer, signed_in
):
    mailbox = message.mailbox
    desk = signed_in(reviewer)
    assert REJECT[0].label in words_of(desk.get(f"/queue/{message.public_id}/"))
    answer = signed_in(admin).post(save_at(mailbox), fields((*OWN[0], 2), (*OWN[1], 1)))
    assert answer["Location"] == page_of(mailbox)
    desk = signed_in(reviewer)
    page = words_of(desk.get(f"/queue/{message.public_id}/"))
    assert page.index("1 Ask sales") < page.index("2 Wrong price")
    assert REJECT[0].label not in page

    # A page from before the change cannot send what is not there any more.
    stale = post_verdict(
        desk, message, outcome="reject", preset="recipient", reason="and more"
    )
    assert stale.status_code == 422
    assert CHANGED_MEANWHILE in words_of(stale)
    assert "and more" in words_of(stale)
    assert not Decision.objects.exists()
    post_verdict(
        desk,
        message,
        outcome="reject",
        preset=named(mailbox, "reject", "Wrong price"),
        reason="Look again.",
    )
    assert Decision.objects.get().reason == "The price is not of our list.\nLook again."

    signed_in(admin).post(save_at(mailbox), {"restore": "1"})
    assert presets_of(mailbox.pk)["reject"] == REJECT
    first, second = Entry.objects.filter(action="usual_texts.changed").order_by("pk")
    assert "Wrong recipient: This must" in first.detail.fields["before"]
    assert (
        "Ask sales: Sales decides this.; Wrong price:" in first.detail.fields["after"]
    )
    assert second.detail.fields["before"] == first.detail.fields["after"]


def test_bulk_sheet_offers_own_reasons_where_all_its_mailboxes_share_them(
    message, connection, reviewer, signed_in
):
    other = Mailbox.objects.create(
        connection=connection, upstream_id="01OTHER", address="other@yourteam.example"
    )
    second = make_message(connection)
    desk = signed_in(reviewer)
    UsualTexts.objects.create(
        mailbox=message.mailbox,
        kind="reject",
        texts=[{"label": "Own", "words": "Ours."}],
    )
    chosen = {"id": [str(message.public_id), str(second.public_id)]}
    assert "Own" in words_of(desk.post("/queue/bulk/", chosen))
    change_row(second, mailbox=other)
    page = desk.post("/queue/bulk/", chosen)
    assert REJECT[0].label in words_of(page)
    values = {
        "sheet": re.search(r'name="sheet"\s+value="([^"]+)"', page.text)[1],
        "item": [f"{message.public_id}.{message.revision.fingerprint}"],
        "outcome": "reject",
    }
    assert CHANGED_MEANWHILE in words_of(
        desk.post("/queue/bulk/decide/", {**values, "reject_preset": "made-up"}).text
    )
    desk.post(
        "/queue/bulk/decide/",
        {**values, "reject_preset": named(message.mailbox, "reject", "Own")},
    )
    assert Decision.objects.get().reason == "Ours."


def test_saved_comment_is_posted_alone_or_before_what_is_typed(
    message, admin, reviewer, signed_in
):
    mailbox = message.mailbox
    desk = signed_in(reviewer)
    assert "Saved comment" not in words_of(desk.get(f"/queue/{message.public_id}/"))
    signed_in(admin).post(
        save_at(mailbox, "comment"), fields(("Legal", "@Ada has to see this first."))
    )
    assert "Legal" in words_of(desk.get(f"/queue/{message.public_id}/"))
    address = f"/queue/{message.public_id}/comments/"
    desk.post(address, {"saved": named(mailbox, "comment", "Legal"), "text": ""})
    desk.post(address, {"saved": named(mailbox, "comment", "Legal"), "text": "Today."})
    assert list(Comment.objects.order_by("pk").values_list("text", flat=True)) == [
        "@Ada has to see this first.",
        "@Ada has to see this first.\nToday.",
    ]
    refused = desk.post(address, {"saved": "gone", "text": "My words"})
    assert refused.status_code == 422
    assert "My words" in words_of(refused)
    assert desk.post(address, {"text": " "}).status_code == 422


def test_bad_rows_are_refused_with_a_sentence_and_what_was_typed_stays(
    message, admin, signed_in
):
    client = signed_in(admin)
    mailbox = message.mailbox
    for texts, sentence in (
        ((), "Write at least one reason"),
        ((("", "Words alone."),), "Give it a short label"),
        ((("Label alone", ""),), "Write the text of “Label alone”."),
        ((("L" * 41, "Kept words."),), "Keep the label under 40"),
        ((("Label", "w" * 501),), "Keep the text under 500"),
        ((("Twice", "One."), ("twice", "Two.")), "There are two with the label"),
        ((("Label", "Kept words.", "x"),), "Give it a position"),
    ):
        answer = client.post(save_at(mailbox), fields(*texts))
        assert answer.status_code == 422, texts
        assert sentence in words_of(answer), texts
        for label, words, *_ in texts:
            assert label in answer.text
            assert words in answer.text
    assert not UsualTexts.objects.exists()
    client.post(
        save_at(mailbox), fields(*[(f"Reason {n}", "Words.") for n in range(1, 12)])
    )
    assert len(UsualTexts.objects.get().texts) == 9


def test_only_an_admin_of_the_mailbox_writes_them(
    message, reviewer, auditor, signed_in
):
    mailbox = message.mailbox
    for person in (reviewer, auditor):
        client = signed_in(person)
        assert "Only an admin of this mailbox can change them." in words_of(
            client.get(page_of(mailbox)).text
        )
        assert client.post(save_at(mailbox), fields(*OWN)).status_code == 403
    stranger = make_person(
        "x@yourteam.example", "X", "admin", connection=make_connection("other")
    )
    assert signed_in(stranger).get(page_of(mailbox)).status_code == 404
    assert not UsualTexts.objects.exists()
