"""Attachments and the thread in Chromium: safe previews, a download, and what came
after the draft.
"""

import smtplib
import uuid
from email.message import EmailMessage
from pathlib import Path

import pytest
from playwright.sync_api import expect

from demo.messages.files import RETURN_LABEL
from tests.desk import TIMEOUT, some_words

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ana")]

HOSTILE = (
    b"<!doctype html><html><body onload=alert(1)><script>top.location='https://evil.example/'</script>"
    b"<img src=https://evil.example/pixel.gif>pay \xe2\x80\xae12,400</body></html>"
)
FILES = (
    ("label.png", RETURN_LABEL, "image/png"),
    ("statement.pdf", HOSTILE, "application/pdf"),
    ("notes.txt", "Grüße \u200baus dem Lager".encode(), "text/plain"),
)


@pytest.fixture
def with_files(product, ana):
    """A held message with three fetched files, one of which has a false type."""
    return product.hold_with_files(ana, FILES)


def customer_writes(product, subject, body, *, answers=""):
    """Write to the second mailbox as a customer; return the Message-ID, and the message
    as the gateway lists it.
    """
    mail = EmailMessage()
    mail["From"] = "Dana Whitfield <dana@northwind.example>"
    mail["To"] = product.known["MAILBOX2_ADDRESS"]
    mail["Subject"] = subject
    mail["Message-ID"] = f"<{uuid.uuid4().hex}@northwind.example>"
    if answers:
        mail["In-Reply-To"] = mail["References"] = answers
    mail.set_content(body)
    with smtplib.SMTP(
        "127.0.0.1", int(product.known["INBOUND_PORT"]), timeout=TIMEOUT
    ) as server:
        server.send_message(mail)
    rows = product.call(
        "GET", f"/v1/mailboxes/{product.known['MAILBOX2_ID']}/emails?direction=inbound"
    ).json()["emails"]
    [row] = [row for row in rows if row["message_id_header"] == mail["Message-ID"]]
    return mail["Message-ID"], row


@pytest.fixture
def answered(product, ana):
    """A customer's question and the agent's held answer: the question's Message-ID, its
    subject, the held row.
    """
    subject = f"Mugs {uuid.uuid4().hex[:8]}"
    asked, question = customer_writes(
        product, subject, "Two of the six mugs came broken."
    )
    path = f"/v1/mailboxes/{product.known['MAILBOX2_ID']}/reply/{question['id']}"
    answer = product.call(
        "POST",
        path,
        json={"markdown": f"Two new ones leave tomorrow.\n\n{some_words()}"},
    )
    assert answer.status_code == 202, answer.text
    return asked, subject, product.held(ana, answer.json()["id"])


def parts_unread(desk, number):
    expect(desk.locator("#unread")).to_contain_text(
        f"{number} part{'' if number == 1 else 's'} unread"
    )


def test_attachments_are_stored_unchanged_previewed_safely_and_counted(
    desk, product, with_files
):
    address = f"{product.known['DASHBOARD_URL']}/queue/{with_files['id']}/"
    desk.goto(address)
    parts_unread(desk, 3)
    with desk.expect_download() as downloading:
        desk.locator("#file-2").get_by_role("link", name="Download").click()
    assert downloading.value.suggested_filename == "statement.pdf"
    assert Path(downloading.value.path()).read_bytes() == HOSTILE
    parts_unread(desk, 2)
    desk.locator("#file-1").get_by_role("button", name="Copy the whole hash").click()
    chosen = desk.evaluate("getSelection().toString()")
    assert (len(chosen), chosen) == (
        64,
        desk.locator("#file-1 [data-hash]").inner_text(),
    )

    expect(desk.locator("#file-2")).to_contain_text(
        "Its name ends in .pdf, but its bytes are a web page."
    )
    for number in (1, 2, 3):
        desk.locator(f"#file-{number} .look > summary").click()
    drawn = desk.frame_locator("#file-1 iframe").locator("img")
    expect(drawn).to_be_visible()
    assert drawn.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [
        520,
        300,
    ]
    statement = desk.frame_locator("#file-2 iframe")
    expect(statement.locator("pre")).to_contain_text("<script>top.location=")
    expect(statement.locator(".ghost")).to_have_text("RIGHT-TO-LEFT OVERRIDE")
    expect(desk.frame_locator("#file-3 iframe").locator(".ghost")).to_have_text(
        "ZERO WIDTH SPACE"
    )
    expect(desk.locator("#unread")).to_be_hidden()
    assert desk.evaluate("document.scrollingElement.scrollHeight <= window.innerHeight")
    assert desk.url == address


def test_answer_that_comes_while_the_draft_is_open_must_be_ticked_and_the_tick_stays(
    desk, product, ana, answered
):
    asked, subject, row = answered
    desk.goto(product.page(row))
    desk.wait_for_selector("[data-stream='open']", state="attached")
    # Beside the draft it is in view at once; only what was in view counts as opened.
    expect(desk.locator("#thread")).to_contain_text("Two of the six mugs came broken.")
    expect(desk.locator("#unread")).to_be_hidden()
    expect(desk.locator("#decide [name=thread_read]")).to_have_count(0)
    customer_writes(
        product, f"Re: {subject}", "I would rather have the money back.", answers=asked
    )
    tick = desk.get_by_role("checkbox", name="I have read the newer messages")
    expect(tick).to_be_visible()
    expect(desk.locator("#message-notes")).to_contain_text(
        "Dana Whitfield wrote after this draft"
    )
    expect(desk.locator("#thread .late")).to_contain_text(
        "I would rather have the money back."
    )
    # By keyboard only: without the tick the key focuses it and decides nothing.
    desk.keyboard.press("a")
    expect(tick).to_be_focused()
    assert ana.find(row["upstream_id"])["decision"] is None
    desk.keyboard.press("Space")
    # The page is rendered again and keeps the tick.
    desk.evaluate("document.querySelector('#decide').dataset.old = '1'")
    desk.evaluate(
        "document.dispatchEvent(new CustomEvent('desk:hint', {detail: {message: document.getElementById('message')"
        ".dataset.message, action: 'decision.recorded', word: 'Held'}}))"
    )
    expect(desk.locator("#decide[data-old]")).to_have_count(0)
    expect(tick).to_be_checked()
    desk.keyboard.press("a")
    product.wait_for(
        lambda: ana.find(row["upstream_id"]) is None, timeout=90, what="the approval"
    )


def test_what_the_bytes_give_away_joins_the_findings_of_an_open_page(
    desk, product, with_files
):
    """Return the page as it was rendered before the files were fetched."""
    mine = "SELECT f.id FROM mirror_attachedfile f JOIN mirror_message m ON m.id = f.message_id"
    mine = f"id IN ({mine} WHERE m.public_id = %s)"
    rows = product.sql(
        f"SELECT kind, seen::text, id FROM mirror_attachedfile WHERE {mine}",
        with_files["id"],
    )
    before = (
        "state = 'waiting', kind = '', seen = '{}', not_before = now() + interval '1h'"
    )
    product.sql(
        f"UPDATE mirror_attachedfile SET {before} WHERE {mine}", with_files["id"]
    )
    desk.goto(f"{product.known['DASHBOARD_URL']}/queue/{with_files['id']}/")
    expect(desk.locator("#file-2")).to_contain_text("It is being fetched.")
    expect(desk.locator("#findings")).not_to_contain_text("its bytes are a web page")
    approve = desk.get_by_role("button", name="Approve and send")
    white = "rgb(255, 255, 255)"
    expect(approve).to_have_css("color", white)
    for row in rows:
        product.sql(
            "UPDATE mirror_attachedfile SET state = 'fetched', kind = %s, seen = %s WHERE id = %s",
            *row,
        )
    expect(desk.locator("#findings")).to_contain_text(
        "Its name ends in .pdf, but its bytes are a web page."
    )
    expect(desk.locator("#file-2")).to_contain_text("Preview")
    # Under a red finding it is not the strongest button any more.
    expect(approve).not_to_have_css("color", white)
