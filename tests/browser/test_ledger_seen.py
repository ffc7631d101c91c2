"""Ledger search in Chromium: words, a facet, a saved search, paging back and forth, and
the layout.
"""

import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow


@pytest.fixture
def auditor(open_as):
    return open_as("AUDITOR")


def test_auditor_searches_narrows_saves_pages_and_comes_back(auditor, product):
    page, base = auditor, product.known["DASHBOARD_URL"]
    page.goto(f"{base}/audit/")
    page.keyboard.press("/")
    expect(page.locator("#q")).to_be_focused()
    page.keyboard.type("by:max action:people")
    page.keyboard.press("Enter")
    expect(page.locator(".chips")).to_contain_text("By max")
    # The address has the normalised spelling of the query.
    expect(page).to_have_url(f"{base}/audit/?by=max&action=people")
    expect(page.locator("#q")).to_be_focused()
    page.locator("#facets a", has_text="Person signed in").click()
    expect(page).to_have_url(re.compile(r"action=person\.signed_in$"))
    expect(page.locator(".lines > li").first).to_contain_text("Max Weber signed in")
    page.get_by_text("Saved searches").click()
    page.get_by_label("Name of the search").fill("Who came")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved as “Who came”.")).to_be_visible()
    page.get_by_label(re.compile("Remove the filter By max")).click()
    expect(page).to_have_url(f"{base}/audit/?action=person.signed_in")
    page.go_back()
    expect(page.locator(".chips")).to_contain_text("By max")
    page.goto(f"{base}/audit/")
    number = page.locator(".lines > li").first.get_attribute("id").removeprefix("line-")
    page.goto(f"{base}/audit/?before={number}")
    page.get_by_role("link", name="Newer").click()
    expect(page.locator(f"#line-{number}")).to_be_visible()
    page.get_by_text("Saved searches").click()
    page.get_by_role("button", name="Delete the search Who came").click()
    expect(page.get_by_text("The saved search was deleted.")).to_be_visible()


def test_ledger_is_searched_without_scripts(open_as, product):
    page = open_as("AUDITOR", java_script_enabled=False)
    page.goto(product.known["DASHBOARD_URL"] + "/audit/")
    page.get_by_text("Filters", exact=False).first.click()
    page.get_by_label("Action").select_option("people")
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".chips")).to_contain_text("People and sign-ins")
    expect(page.locator(".lines > li").first).to_be_visible()
