"""The forms of a rule and of a review plan in Chromium."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow


def test_form_of_a_rule_shows_only_the_conditions_that_somebody_adds(open_as, product):
    page = open_as("ADMIN")
    desk = product.known["DASHBOARD_URL"]
    page.goto(f"{desk}/policy/")
    page.get_by_role("button", name="Create a draft").click()
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
    amount.fill("1.000")
    # A choice from the list of names.
    box.fill("Words")
    words.fill("invoice")
    page.get_by_role("button", name="Remove Words").click()
    expect(words).to_be_hidden()
    expect(box).to_be_focused()
    page.watch.expected.append("422")
    page.get_by_role("button", name="Save").click()
    # The list of what is wrong has the focus, and leads to the field.
    errors = page.get_by_role("alert").filter(has_text="Nothing was changed")
    expect(errors).to_be_focused()
    errors.get_by_role("link", name="An amount of at least").press("Enter")
    expect(amount).to_be_focused()
    amount.fill("EUR 1.225,00")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("link", name="Large amounts")).to_be_visible()
    saved = page.locator("main")
    expect(saved).to_contain_text("EUR 1,225.00")
    expect(saved).not_to_contain_text("invoice")


def test_form_of_a_plan_shows_one_step_after_the_other(open_as, product):
    page = open_as("ADMIN")
    page.goto(f"{product.known['DASHBOARD_URL']}/review-plans/0/")
    whom = page.get_by_label("Whom")
    page.get_by_label("Others: decision").fill("2 h")
    for number in range(2):
        page.get_by_role("button", name="Add a step").click()
        expect(whom.nth(number)).to_be_focused()
        whom.nth(number).select_option("duty")
    expect(page.get_by_label("Do", exact=True).filter(visible=True)).to_have_count(2)
    page.get_by_role("button", name="Remove Step 2").click()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The plan is saved")).to_be_visible()
    page.goto(f"{product.known['DASHBOARD_URL']}/review-plans/0/")
    expect(whom.filter(visible=True)).to_have_count(1)
