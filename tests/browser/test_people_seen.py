"""Inviting somebody, seen in Chromium: the link that is shown once, joining by it, and the first page."""

import uuid

import pytest
from playwright.sync_api import expect

from tests.browser.looking import faults, settled

pytestmark = pytest.mark.slow

PASSWORD = "a gannet counts slow wagons"


@pytest.fixture
def admin(open_as):
    return open_as("ADMIN")


def invite(page, product, email):
    page.goto(product.known["DASHBOARD_URL"] + "/people/")
    page.get_by_role("link", name="Invite somebody").click()
    page.get_by_label("Email address").fill(email)
    page.get_by_label("Name").fill("Nora")
    expect(page.get_by_label("Days that the link is good")).to_have_value("7")
    page.get_by_label("Reviewer").check()
    page.get_by_role("button", name="Make the link").click()
    return page.locator("#made-link").inner_text()


def test_invited_person_joins_and_is_at_the_desk(admin, open_page, product):
    email = f"nora-{uuid.uuid4().hex[:8]}@yourteam.example"
    link = invite(admin, product, email)
    guest = open_page()
    guest.goto(link)
    expect(guest.get_by_role("heading", name="Join the desk")).to_be_visible()
    guest.get_by_label("What others call you").fill("Nora New")
    guest.get_by_label("Password", exact=True).fill(PASSWORD)
    guest.get_by_label("The same once more").fill(PASSWORD)
    guest.get_by_role("button", name="Join").click()
    guest.wait_for_url(product.known["DASHBOARD_URL"] + "/")
    expect(guest.locator("#rail")).to_contain_text("Nora New")
    # The admin sees them, and the invitation is no longer open.
    admin.get_by_role("link", name="Done").click()
    expect(admin.locator(".people")).to_contain_text(email)
    expect(admin.locator("[id^=invitation-]", has_text=email)).to_have_count(0)
    # The link is over, for whoever finds it.
    later = open_page()
    later.watch.expected.append("404")
    later.goto(link)
    expect(later.get_by_role("heading", name="This link is over")).to_be_visible()
    guest.context.clear_cookies()
    guest.goto(product.known["DASHBOARD_URL"] + "/queue/")
    guest.get_by_label("Email").fill(email)
    guest.get_by_label("Password").fill(PASSWORD)
    guest.get_by_role("button", name="Sign in").click()
    guest.wait_for_url("**/queue/")


def test_without_scripts_it_is_the_same(open_as, open_page, product):
    page = open_as("ADMIN", java_script_enabled=False)
    link = invite(page, product, f"otto-{uuid.uuid4().hex[:8]}@yourteam.example")
    guest = open_page(java_script_enabled=False)
    guest.goto(link)
    guest.get_by_label("What others call you").fill("Otto")
    guest.get_by_label("Password", exact=True).fill(PASSWORD)
    guest.watch.expected.append("422")
    guest.get_by_label("The same once more").fill("another one altogether")
    guest.get_by_role("button", name="Join").click()
    expect(guest.get_by_text("The two are not the same")).to_be_visible()
    guest.get_by_label("Password", exact=True).fill(PASSWORD)
    guest.get_by_label("The same once more").fill(PASSWORD)
    guest.get_by_role("button", name="Join").click()
    expect(guest.locator("#rail")).to_contain_text("Otto")


def test_deactivated_person_is_signed_out_in_the_open_page(admin, open_page, product):
    email = f"dora-{uuid.uuid4().hex[:8]}@yourteam.example"
    link = invite(admin, product, email)
    guest = open_page()
    guest.goto(link)
    guest.get_by_label("What others call you").fill("Dora")
    guest.get_by_label("Password", exact=True).fill(PASSWORD)
    guest.get_by_label("The same once more").fill(PASSWORD)
    guest.get_by_role("button", name="Join").click()
    expect(guest.locator("#rail")).to_contain_text("Dora")
    admin.goto(product.known["DASHBOARD_URL"] + "/people/")
    admin.locator("tr", has_text=email).get_by_role("link", name="Dora").click()
    admin.get_by_role("button", name="Deactivate Dora").click()
    expect(admin.get_by_role("button", name="Let Dora in again")).to_be_visible()
    guest.watch.expected.append("401")
    guest.goto(product.known["DASHBOARD_URL"] + "/queue/")
    expect(guest.get_by_role("heading", name="Sign in")).to_be_visible()


@pytest.mark.proves("security 65")
def test_pages_of_people_pass_axe_and_fit_320_pixels(open_as, open_page, product):
    page = open_as("ADMIN")
    page.watch.expected += ["404", "422"]
    base = product.known["DASHBOARD_URL"]
    link = invite(page, product, f"axe-{uuid.uuid4().hex[:8]}@yourteam.example")
    looked_at = {"link made": look_at(page)}
    settled(page, link)
    looked_at["join, signed in as another"] = look_at(page)
    for path in ("/people/", "/people/?q=nobody-is-called-so", "/people/invite/", f"/join/{'x' * 43}/"):
        settled(page, base + path)
        looked_at[path] = look_at(page)
    page.goto(base + "/people/invite/")
    page.get_by_label("Email address").fill("x@y.example")
    page.get_by_role("button", name="Make the link").click()
    looked_at["invite, without a role"] = look_at(page)
    page.goto(base + "/people/")
    for name in ("Ana Ferreira", "Ida Lindqvist"):
        settled(page, base + page.locator(".people").get_by_role("link", name=name).get_attribute("href"))
        looked_at[name] = look_at(page)
        page.goto(base + "/people/")
    guest = open_page()
    guest.watch.expected.append("422")
    settled(guest, link)
    looked_at["join"] = look_at(guest)
    guest.get_by_label("Password", exact=True).fill("passwordpassword")
    guest.get_by_label("The same once more").fill("another")
    guest.get_by_role("button", name="Join").click()
    looked_at["join, wrong"] = look_at(guest)
    assert {name: found for name, found in looked_at.items() if found} == {}


def look_at(page):
    """What is wrong with a page, in light and in dark."""
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found += faults(page)
    return found
