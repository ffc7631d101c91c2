"""The usual reasons of a mailbox and its saved comments: who writes them, what a page
offers, and what is sent.
"""

import pytest

from approvals.decisions.forms import CHANGED_MEANWHILE
from approvals.models import Decision
from approvals.usual_texts import REJECT, presets_of
from tests.integration.deciding import post_verdict
from tests.ledger import latest_details
from tests.markup import says, words_of

OWN = (
    ("Wrong price", "The price is not of our list."),
    ("Ask sales", "Sales decides this."),
)


def save_at(mailbox, kind="reject"):
    return f"/mailboxes/{mailbox.pk}/texts/{kind}/save/"


def fields(*texts):
    typed = {"form-TOTAL_FORMS": len(texts), "form-INITIAL_FORMS": 0}
    for number, (label, words, *order) in enumerate(texts):
        typed[f"form-{number}-ORDER"] = order[0] if order else number + 1
        typed |= {f"form-{number}-label": label, f"form-{number}-words": words}
    return typed


def named(mailbox, kind, label):
    return next(one.name for one in presets_of(mailbox.pk)[kind] if one.label == label)


@pytest.mark.slow
def test_own_reasons_are_offered_in_their_order_sent_and_restored(
    message, admin, reviewer, signed_in
):
    mailbox = message.mailbox
    signed_in(admin).post(save_at(mailbox), fields((*OWN[0], 2), (*OWN[1], 1)))
    desk = signed_in(reviewer)
    page = words_of(desk.get(f"/queue/{message.public_id}/"))
    assert page.index("1 Ask sales") < page.index("2 Wrong price")
    assert REJECT[0].label not in page

    # A page from before the change cannot send what is not there any more.
    chosen = {"outcome": "reject", "preset": "recipient", "reason": "and more"}
    stale = post_verdict(desk, message, **chosen)
    says(stale, 422, CHANGED_MEANWHILE, "and more")
    chosen["preset"] = named(mailbox, "reject", "Wrong price")
    post_verdict(desk, message, **chosen)
    assert Decision.objects.get().reason == "The price is not of our list.\nand more"

    signed_in(admin).post(save_at(mailbox), {"restore": "1"})
    assert presets_of(mailbox.pk)["reject"] == REJECT
    details = latest_details("usual_texts.changed")
    assert "Ask sales: Sales decides this.;" in details["before"]
    assert "Wrong recipient: This must" in details["after"]


def test_reason_without_a_label_is_refused_with_a_link_to_its_field(
    message, admin, signed_in
):
    refused = signed_in(admin).post(save_at(message.mailbox), fields(("", "Too dear.")))
    says(refused, 422, 'href="#id_form-0-label"', "Row 1, Label", "Too dear.")
