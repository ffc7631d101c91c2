"""Everybody can use the pages: each state, what opens, errors, zoomed windows, the
keyboard, a phone.

That axe-core finds nothing on any page is proven by tests/browser/test_every_page.py.
"""

import uuid

import pytest
from playwright.sync_api import expect

from tests.browser.looking import (
    everywhere,
    lost_focus,
    open_up,
    settled,
    too_wide,
    violations,
)
from tests.browser.pages import ERRORS, MORE, OPENED, PAGES
from tests.showcase import showcase

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shown(product, ana):
    """Messages in every state, and a page's address by its name."""
    product.make_room(but=15)
    row = product.hold(ana, f"Model {uuid.uuid4().hex[:8]}", cc="lee@fabrikam.example")
    with showcase(product.known["DATABASE_URL"], like=row["upstream_id"]) as made:
        made.known = {**made.pages, "id": row["id"]}
        yield made


@pytest.fixture
def address(shown, product):
    return lambda path: product.known["DASHBOARD_URL"] + path.format(**shown.known)


@pytest.fixture
def visit(open_page, signed_in, address):
    """Return a function that opens a page by its name in a window of some width."""

    def visit(name, *, width=1440, height=900, **options):
        page = open_page(storage_state=signed_in, **options)
        page.set_viewport_size({"width": width, "height": height})
        settled(page, address({**PAGES, **MORE}[name]))
        return page

    return visit


def test_every_state_of_a_message_passes_axe_and_fits_320_pixels(
    open_page, signed_in, address
):
    page = open_page(storage_state=signed_in)
    found = {}
    page.watch.expected += [*ERRORS]
    for name, path in MORE.items():
        page.set_viewport_size({"width": 320, "height": 700})
        settled(page, address(path))
        found[name] = [*too_wide(page), *everywhere(page)]
    assert {name: some for name, some in found.items() if some} == {}


@pytest.mark.parametrize("name", OPENED)
def test_axe_finds_nothing_on_what_opens_on_a_page(open_page, signed_in, address, name):
    page = open_page(storage_state=signed_in)
    path, steps, there = OPENED[name]
    settled(page, address(path))
    open_up(page, steps, there)
    assert everywhere(page) == []


def test_axe_finds_nothing_on_paper(open_page, signed_in, address):
    page = open_page(storage_state=signed_in)
    page.emulate_media(media="print")
    found = {}
    for name in ("message held", "trace"):
        settled(page, address({**PAGES, **MORE}[name]))
        found[name] = violations(page)
    assert found == {"message held": [], "trace": []}


def test_zoomed_message_can_be_read_and_decided(visit):
    page = visit("message held")
    button = page.locator("#decide form.approve button")
    # As at a zoom of 200 and of 400 percent.
    for width, height in ((720, 450), (320, 256)):
        page.set_viewport_size({"width": width, "height": height})
        assert too_wide(page) == []
        button.scroll_into_view_if_needed()
        expect(button).to_be_in_viewport(ratio=0.99)
        button.click(trial=True)
        page.get_by_role("tab", name="Text").or_(
            page.locator(".sheet .tab").nth(1)
        ).first.click(trial=True)


def test_focus_is_seen_on_every_page_and_nothing_covers_it(
    open_page, signed_in, address
):
    page = open_page(storage_state=signed_in)
    found = {}
    page.watch.expected += [*ERRORS]
    for name, path in {**PAGES, "message held": MORE["message held"]}.items():
        page.set_viewport_size(
            {"width": 1440 if name == "message held" else 1024, "height": 700}
        )
        settled(page, address(path))
        found[name] = list(lost_focus(page, presses=45))
    assert {name: some for name, some in found.items() if some} == {}


def test_phone_has_the_decision_at_the_bottom_and_the_risk_above_the_message(visit):
    page = visit("message held", width=390, height=844, has_touch=True)
    boxes = {
        name: page.locator(selector).first.bounding_box()
        for name, selector in {
            "bar": "#decide",
            "approve": "#decide form.approve button",
            "reject": "#reject > summary",
            "addresses": "#addresses",
            "letter": ".sheet",
            "findings": "#findings",
        }.items()
    }
    bottom = {name: box["y"] + box["height"] for name, box in boxes.items()}
    assert bottom["bar"] == pytest.approx(844, abs=1)
    assert boxes["approve"]["height"] >= 48
    assert boxes["reject"]["height"] >= 48
    assert boxes["reject"]["y"] - bottom["approve"] >= 12
    # The message needs the space, also where new messages must be ticked.
    assert boxes["bar"]["height"] <= 844 / 5
    assert boxes["addresses"]["y"] < boxes["letter"]["y"]
    assert boxes["findings"]["y"] < boxes["letter"]["y"]
    # Unopened parts are named next to the approval; opening them all moves nothing
    # else.
    page.locator("#unread").evaluate("(one) => { one.hidden = true; }")
    approve = page.locator("#message form.approve button").bounding_box()
    reject = page.locator("#message #reject > summary").bounding_box()
    assert reject["y"] - approve["y"] - approve["height"] >= 12
    # The bar avoids the safe area of the system.
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setSafeAreaInsetsOverride", {"insets": {"bottom": 34}})
    low = page.locator("#decide").evaluate(
        "(bar) => innerHeight - Math.max(...[...bar.querySelectorAll('button, summary, a')]"
        ".filter((one) => one.checkVisibility({ contentVisibilityAuto: true }))"
        ".map((one) => one.getBoundingClientRect().bottom))"
    )
    assert low >= 34
    # One column: the list is a separate page, one press away.
    expect(page.locator("#list .item").first).to_be_hidden()
    page.locator("#message .to-list").click()
    expect(page.locator("#list .item").first).to_be_visible()
    expect(page.locator("#message")).to_be_hidden()
