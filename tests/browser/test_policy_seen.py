"""The form of a rule in Chromium."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow


def test_form_of_a_rule_shows_only_the_conditions_that_somebody_adds(open_as, product):
    page = open_as("ADMIN")
    desk = product.known["DASHBOARD_URL"]
    page.goto(f"{desk}/policy/")
    page.get_by_role("button", name="Begin a draft").click()
    page.goto(f"{desk}/policy/draft/rules/add/")
    page.get_by_label("Name", exact=True).fill("Large amounts")
    page.get_by_label("Of any reviewer, in all").fill("2")
    amount = page.get_by_label("An amount of at least")
    words = page.get_by_label("Words", exact=True)
    expect(amount).to_be_hidden()
    # A part of a name and Enter, which does not send the form.
    box = page.get_by_label("Add a condition")
    box.fill("amou")
    box.press("Enter")
    expect(amount).to_be_focused()
    amount.fill("100")
    # A choice from the list of names.
    box.fill("Words")
    words.fill("invoice")
    page.get_by_role("button", name="Remove Words").click()
    expect(words).to_be_hidden()
    expect(box).to_be_focused()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("link", name="Large amounts")).to_be_visible()
    saved = page.locator("main")
    expect(saved).to_contain_text("100")
    expect(saved).not_to_contain_text("invoice")
