"""Ledger search in Chromium: words, a facet, and back; and without scripts."""

import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow


def test_auditor_searches_narrows_and_comes_back(open_as, product):
    page = open_as("AUDITOR")
    base = product.known["DASHBOARD_URL"]
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
    page.get_by_label(re.compile("Remove the filter By max")).click()
    expect(page).to_have_url(f"{base}/audit/?action=person.signed_in")
    page.go_back()
    expect(page.locator(".chips")).to_contain_text("By max")


def test_ledger_is_searched_without_scripts(open_as, product):
    page = open_as("AUDITOR", java_script_enabled=False)
    page.goto(product.known["DASHBOARD_URL"] + "/audit/")
    page.get_by_text("Filters", exact=False).first.click()
    page.get_by_label("Action").select_option("people")
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".chips")).to_contain_text("People and sign-ins")
    expect(page.locator(".lines > li").first).to_be_visible()
