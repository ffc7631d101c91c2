"""What pages are called: by the message that is read, as soon as it is."""

import re
import uuid

import pytest
from playwright.sync_api import expect

from tests.desk import some_words

pytestmark = pytest.mark.slow


def first_heading(page):
    return page.get_by_role("heading").first


@pytest.mark.usefixtures("ana")
def test_pages_are_called_by_the_message(desk, open_as, product, ana):
    word = uuid.uuid4().hex[:8]
    rows = [
        product.hold(
            ana,
            f"Names {word} {n}",
            **{"from": product.known["MAILBOX2_ADDRESS"]},
            body=some_words(),
        )
        for n in (1, 2)
    ]
    # Opened in the list, by a key, by an address of its own: always the message first.
    desk.goto(f"{product.known['DASHBOARD_URL']}/queue/?q={word}&group=none")
    assert re.search(r"^(\(\d+\+?\) )?Queue · Countersign$", desk.title())
    desk.locator("#list .item").first.click()
    expect(first_heading(desk)).to_have_text(f"Names {word} 1")
    expect(desk).to_have_title(re.compile(rf"Names {word} 1 · Countersign$"))
    desk.goto(product.page(rows[1], f"?q={word}"))
    expect(first_heading(desk)).to_have_text(f"Names {word} 2")
    expect(desk).to_have_title(re.compile(rf"Names {word} 2 · Countersign$"))
    # The next message takes the name over as soon as this one is decided.
    desk.goto(product.page(rows[0], f"?q={word}"))
    desk.wait_for_selector("article[inert][data-letter=here]", state="attached")
    desk.keyboard.press("a")
    expect(desk).to_have_title(re.compile(rf"Names {word} 2 · Countersign$"))
    expect(desk.locator("#decided")).to_contain_text("Approved. Sends in")
    auditor = open_as("AUDITOR")
    auditor.goto(f"{product.known['DASHBOARD_URL']}/audit/trace/{rows[0]['id']}/")
    expect(first_heading(auditor)).to_have_text(f"Names {word} 1")
    expect(auditor).to_have_title(re.compile(rf"Names {word} 1 · Audit trail"))
    assert "Approved" in auditor.locator(".chapter > h2").all_text_contents()
