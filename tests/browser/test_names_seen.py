"""What pages are called: by the message, by what was found, by what is folded, and by
the act that waits.
"""

import re
import uuid

import pytest
from playwright.sync_api import expect

from tests.browser.looking import too_wide
from tests.desk import some_words

pytestmark = pytest.mark.slow


def first_heading(page):
    return page.get_by_role("heading").first


@pytest.mark.usefixtures("ana")
def test_pages_are_called_by_the_message_and_history_and_audit_are_searched(
    desk, open_as, product, ana
):
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
    product.sql("UPDATE approvals_decision SET due_at = now() WHERE state = 'recorded'")
    product.wait_for(
        lambda: ana.find(rows[0]["upstream_id"], "done"),
        timeout=60,
        what="the message among the done",
    )
    # The history has the search, the filters and the dates of the queue.
    desk.goto(product.known["DASHBOARD_URL"] + "/history/")
    desk.keyboard.press("/")
    desk.keyboard.type(f"{word} on:today")
    desk.keyboard.press("Enter")
    expect(desk.locator("#history .past")).to_have_count(1)
    expect(desk.locator("#history .past")).to_contain_text(f"Names {word} 1")
    desk.get_by_text("Filters", exact=False).first.click()
    expect(desk.get_by_role("textbox", name="Since")).to_have_value("today")
    for width in (1440, 320):
        desk.set_viewport_size({"width": width, "height": 900})
        assert too_wide(desk) == []
    desk.set_viewport_size({"width": 1440, "height": 900})
    desk.get_by_role("textbox", name="Since").fill("2020-01-01")
    desk.get_by_role("textbox", name="Until").fill("2020-01-02")
    desk.get_by_role("button", name="Show").click()
    expect(desk.get_by_text("No matches")).to_be_visible()
    # The audit shows what people did; one control shows the rest, and the address keeps
    # it.
    auditor = open_as("AUDITOR")
    auditor.goto(f"{product.known['DASHBOARD_URL']}/audit/?q={word}")
    lines = auditor.locator("#ledger .lines")
    expect(lines).to_contain_text("approved")
    expect(lines).not_to_contain_text("fetched the content")
    auditor.get_by_role(
        "link", name=re.compile(r"Show technical entries \(\d+\)")
    ).click()
    auditor.wait_for_url("**technical=1")
    expect(lines).to_contain_text("fetched the content")
    expect(auditor.get_by_role("link", name="Hide technical entries")).to_be_visible()
    auditor.goto(f"{product.known['DASHBOARD_URL']}/audit/trace/{rows[0]['id']}/")
    expect(first_heading(auditor)).to_have_text(f"Names {word} 1")
    expect(auditor).to_have_title(re.compile(rf"Names {word} 1 · Audit trail"))
    assert "Approved" in auditor.locator(".chapter > h2").all_text_contents()
