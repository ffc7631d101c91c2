"""Attachments and the thread in Chromium: safe previews, a download,
and what came after the draft.
"""

import hashlib
import smtplib
import uuid
from email.message import EmailMessage
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.desk import TIMEOUT, some_words
from tests.office_files import RETURN_LABEL

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ana")]

HOSTILE = (
    b"<!doctype html><html><body onload=alert(1)><script>top.location='https://evil.example/'</script>"
    b"<img src=https://evil.example/pixel.gif>pay \xe2\x80\xae12,400</body></html>"
)


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


def parts_unread(desk, number):
    expect(desk.locator("#unread")).to_contain_text(
        f"{number} part{'' if number == 1 else 's'} unread"
    )


def test_attachments_are_stored_unchanged_previewed_safely_and_counted(
    desk, product, ana
):
    files = (
        ("label.png", RETURN_LABEL, "image/png"),
        ("statement.pdf", HOSTILE, "application/pdf"),
        ("notes.txt", "Grüße \u200baus dem Lager".encode(), "text/plain"),
    )
    address = product.page(product.hold_with_files(ana, files))
    desk.goto(address)
    parts_unread(desk, 3)
    with desk.expect_download() as downloading:
        desk.locator("#file-2").get_by_role("link", name="Download").click()
    assert downloading.value.suggested_filename == "statement.pdf"
    assert Path(downloading.value.path()).read_bytes() == HOSTILE
    parts_unread(desk, 2)
    desk.locator("#file-2").get_by_role("button", name="Copy the whole hash").click()
    copied = desk.evaluate("getSelection().toString()")
    assert copied == hashlib.sha256(HOSTILE).hexdigest()
    for number in (1, 2, 3):
        desk.locator(f"#file-{number} .look > summary").click()
    drawn = desk.frame_locator("#file-1 iframe").locator("img")
    expect(drawn).to_have_js_property("naturalWidth", 520)
    statement = desk.frame_locator("#file-2 iframe")
    expect(statement.locator("pre")).to_contain_text("<script>top.location=")
    expect(statement.locator(".ghost")).to_have_text("RIGHT-TO-LEFT OVERRIDE")
    expect(desk.locator("#unread")).to_be_hidden()
    assert desk.url == address


def test_answer_that_comes_while_the_draft_is_open_must_be_ticked_and_the_tick_stays(
    desk, product, ana
):
    subject = f"Mugs {uuid.uuid4().hex[:8]}"
    asked, question = customer_writes(product, subject, "Two mugs came broken.")
    path = f"/v1/mailboxes/{product.known['MAILBOX2_ID']}/reply/{question['id']}"
    text = {"markdown": f"Two new ones leave tomorrow.\n\n{some_words()}"}
    answer = product.call("POST", path, json=text)
    row = product.held(ana, answer.json()["id"])
    desk.goto(product.page(row))
    desk.wait_for_selector("[data-stream='open']", state="attached")
    # Beside the draft it is in view at once; only what was in view counts as opened.
    sheet, thread = (desk.locator(one).bounding_box() for one in ("#sheet", "#thread"))
    assert thread["x"] >= sheet["x"] + sheet["width"]
    expect(desk.locator("#unread")).to_be_hidden()
    expect(desk.locator("#decide [name=thread_read]")).to_have_count(0)
    customer_writes(
        product, f"Re: {subject}", "I would rather have the money back.", answers=asked
    )
    tick = desk.get_by_role("checkbox", name="I have read the newer messages")
    expect(tick).to_be_visible()
    late = desk.locator("#thread .late")
    expect(late).to_contain_text("I would rather have the money back.")
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
