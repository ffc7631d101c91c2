"""Own words in Chromium: an admin tests, previews and saves one, the message shows its
finding, and own reasons.
"""

import uuid

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ana")]


@pytest.fixture
def held(product, ana):
    """A held message with a word that nobody has used before."""
    word = f"tulip{uuid.uuid4().hex[:8]}"
    row = product.hold(ana, f"About {word}", body="Nothing to see in the text.")
    yield {**row, "word": word}
    product.sql("DELETE FROM approvals_ownword WHERE text = %s", word)
    product.sql("DELETE FROM approvals_usualtexts")


def test_admin_sets_words_and_reasons_and_the_reviewer_meets_them(
    desk, open_as, product, ana, held
):
    admin = open_as("ADMIN")
    home = product.known["DASHBOARD_URL"]
    admin.goto(f"{home}/rules/words/")
    admin.get_by_role("link", name="Add a word").click()
    admin.get_by_label("Word, phrase or pattern").fill(held["word"])
    admin.get_by_label("Points, 1 to 100").fill("60")
    admin.get_by_label("Text to test it on").fill(f"See {held['word'].upper()}.")
    admin.get_by_role("button", name="Preview").click()
    preview = admin.locator("#preview")
    expect(preview.locator("mark")).to_have_text(held["word"])
    admin.get_by_role("button", name="Save").click()
    expect(admin.get_by_role("link", name=held["word"])).to_be_visible()

    [(mailbox,)] = product.sql(
        "SELECT mailbox_id FROM mirror_message WHERE public_id = %s", held["id"]
    )
    admin.goto(f"{home}/mailboxes/{mailbox}/texts/reject/")
    admin.get_by_label("Label").first.fill("Ask sales first")
    admin.get_by_label("Text to the agent").first.fill("Ask sales before you write.")
    admin.get_by_role("button", name="Save").click()
    expect(admin.get_by_label("Label").first).to_have_value("Ask sales first")

    rules = (
        "SELECT 1 FROM mirror_message JOIN approvals_review ON message_id = id"
        " WHERE public_id = %s AND 'own_word' = ANY(rules)"
    )
    product.wait_for(
        lambda: product.sql(rules, held["id"]),
        timeout=60,
        what="the message to be judged again",
    )
    desk.goto(product.page(held))
    expect(desk.locator("#findings li.high")).to_contain_text(
        f"“{held['word']}” is in the subject."
    )
    desk.get_by_role("link", name="Show it: own word").click()
    expect(desk.locator("#subject")).to_be_in_viewport()
    expect(desk.get_by_role("link", name="Approve with care")).to_be_visible()
    expect(desk.locator("#reject").get_by_label("Ask sales first")).to_have_count(1)
    desk.keyboard.press("r")
    desk.keyboard.press("1")
    expect(desk.locator("#decided")).to_contain_text("Rejected")
    reasons = (
        "SELECT reason FROM approvals_decision WHERE message_id = (SELECT id FROM "
        "mirror_message WHERE public_id = %s)"
    )
    # The notice shows the press before the decision is recorded.
    product.wait_for(
        lambda: product.sql(reasons, held["id"]),
        timeout=60,
        what="the decision to be recorded",
    )
    assert product.sql(reasons, held["id"]) == [("Ask sales before you write.",)]

    # In the text the word itself is marked and in view, however far down it is.
    far = product.hold(
        ana, body="Nothing yet.\n\n" * 60 + f"And the {held['word']} here."
    )
    desk.goto(product.page(far))
    desk.get_by_role("link", name="Show it: own word").click()
    mark = desk.frame_locator("#sheet iframe").locator(".found")
    expect(mark).to_have_text(held["word"])
    expect(mark).to_be_in_viewport()
