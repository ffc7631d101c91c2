"""Everybody can use every page: axe-core, narrow and zoomed windows, the keyboard, without motion, without scripts."""

import uuid

import pytest
from django.urls import get_resolver
from playwright.sync_api import expect

from tests.browser.looking import (
    SCHEMES,
    bones,
    everywhere,
    lost_focus,
    open_up,
    settled,
    show,
    too_wide,
    unfolded,
    violations,
)
from tests.browser.pages import ERRORS, MORE, OPENED, PAGES
from tests.showcase import showcase
from tests.walk import POST_ONLY

# Addresses that do not answer with a page, by name.
NO_PAGES = {
    *("healthz", "readyz", "metrics", "live", "live-reach", "csp-report", "multimail-webhook"),
    "discord-interactions",
    *("pulse", "stop-banner", "message-body", "message-view", "file-view", "file-download", "unread-parts", "beside"),
    *("message-files", "decided", "by-upstream-id", "account_logout", "home-waiting"),
    *("message-pictures", "message-people"),
    # Pages of attached files: see test_attachment_renderings.py.
    *("file-page", "file-pages"),
    # Steps of signing in, which have their own tests.
    *("mfa_login_webauthn", "mfa_authenticate", "oidc-login", "oidc-callback", "second-factor"),
    *("mfa_reauthenticate", "mfa_reauthenticate_webauthn"),
    # Pages about people, and targets of one-time links: see test_people_seen.py.
    *("people", "person", "invite", "join", "link-discord"),
    # Pages about the account at MultiMail: see test_accounts_seen.py.
    *("add-mailbox", "mailbox", "loosen-mailbox", "delete-mailbox", "api-keys", "add-api-key", "api-key"),
    *("revoke-api-key", "domains", "webhooks", "add-webhook", "webhook-bodies", "webhook", "delete-webhook"),
    # Pages about connections and past lists: see test_connections_seen.py and test_allowlists_seen.py.
    *("connection", "add-connection", "remove-connection", "allow-entry"),
    # For admins: see test_own_words_seen.py.
    *("add-own-word", "own-word", "usual-texts"),
    # Pages of the first run: see test_first_run_seen.py.
    *("setup", "add-destination", "destination", "add-route", "alert-log", "alert"),
    # For admins and auditors only: see test_reports_seen.py.
    *("reports", "report-decisions", "report-decision-rows", "report-rights"),
    # Past decisions and files of one trace: see test_trace_seen.py.
    *("seen-decision", "seen-body"),
    # For admins and auditors only: see test_export_seen.py.
    *("export", "exports", "export-one", "export-file"),
    # Shown in response to a press, which has its own test.
    *("bulk", "bulk-done", "account_resubmit"),
    # For admins, or with something to show: see test_policy_seen.py, test_brake_seen.py, test_second_admin_seen.py,
    # test_plans_seen.py, test_standing_seen.py and test_practice_seen.py.
    *("standing", "propose-standing", "practice"),
    *("activate-draft", "add-policy-group", "add-policy-rule", "policy-group", "policy-rule", "policy-version"),
    *("brake", "brakes", "caps", "mailbox-caps", "pending-changes", "oversight-minimum"),
    *("add-calendar", "calendar", "handling"),
    # Files of the ledger's proofs.
    *("newest-head", "verifier"),
}


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


def test_every_address_that_answers_a_page_is_looked_at():
    paths = {path.partition("?")[0] for path in PAGES.values()}
    spelled = {path.replace("{crowded}", "queue/x/").replace("{held}", "queue/x/").strip("/") for path in paths}
    left = set()
    for name, pattern in _patterns(get_resolver()):
        if name in NO_PAGES or name in POST_ONLY:
            continue
        plain = pattern.replace("<uuid:public_id>", "x").replace("<slug:rule>", "first_contact").strip("/")
        plain = plain.replace("<slug:scope>", "all").replace("<slug:kind>", "restriction")
        plain = plain.replace("<slug:ready_made>", "regulated")
        if plain not in {path.replace("{id}", "x") for path in spelled}:
            left.add(f"{name} ({plain})")
    assert left == set()


def _patterns(resolver, before=""):
    for one in resolver.url_patterns:
        path = before + str(one.pattern)
        if hasattr(one, "url_patterns"):
            yield from _patterns(one, path)
        else:
            yield one.name, path


def faults_of(page, name):
    """Return axe's findings, light and dark, wide and narrow, what overflows, and missing landmarks."""
    page.set_viewport_size({"width": 320, "height": 700})
    found = [*too_wide(page), *(bones(page) if name in PAGES else [])]
    return found + everywhere(page)


@pytest.mark.slow
def test_every_page_and_state_passes_axe_and_fits_320_pixels(open_page, signed_in, address):
    page, guest, found = open_page(storage_state=signed_in), open_page(), {}
    page.watch.expected += [*ERRORS]
    for name, path in {**PAGES, **MORE}.items():
        seen_by = guest if name == "sign-in" else page
        settled(seen_by, address(path))
        found[name] = faults_of(seen_by, name)
    assert {name: some for name, some in found.items() if some} == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", OPENED)
def test_axe_finds_nothing_on_what_opens_on_a_page(open_page, signed_in, address, name):
    page = open_page(storage_state=signed_in)
    path, steps, there = OPENED[name]
    settled(page, address(path))
    open_up(page, steps, there)
    assert everywhere(page) == []


@pytest.mark.slow
def test_axe_finds_nothing_on_what_is_folded_up_or_printed(open_page, signed_in, address):
    page, found = open_page(storage_state=signed_in), {}
    for name in ("message held", "message for later", "queue", "history", "audit", "trace"):
        settled(page, address({**PAGES, **MORE}[name]))
        found[name] = unfolded(page)
        # Paper is for messages and their trails: of the queue nothing is printed.
        if name != "queue":
            page.emulate_media(media="print")
            found[f"{name}, printed"] = violations(page)
            page.emulate_media(media="screen")
    assert {name: some for name, some in found.items() if some} == {}


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["ADMIN", "AUDITOR"])
def test_axe_finds_nothing_on_what_other_roles_are_shown(open_as, address, prefix):
    page, found = open_as(prefix), {}
    page.watch.expected += ["404"]
    for name, path in PAGES.items():
        settled(page, address(path))
        found[name] = violations(page)
    assert {name: some for name, some in found.items() if some} == {}


@pytest.mark.slow
def test_axe_finds_nothing_on_the_sheet_of_many_and_it_fits(visit):
    page = visit("queue", width=320, height=800)
    for box in page.locator(".pick").all()[:4]:
        box.check()
    page.get_by_role("button", name="Review together").click()
    page.wait_for_url("**/queue/bulk/**")
    assert (violations(page), too_wide(page)) == ([], [])


@pytest.mark.slow
def test_error_pages_say_what_is_wrong_in_the_look_of_the_desk(open_page, signed_in, address):
    page = open_page(storage_state=signed_in)
    page.watch.expected += [*ERRORS, "403"]
    sizes = [{"width": 1440, "height": 640}, {"width": 320, "height": 640}]
    for status, path in ERRORS.items():
        settled(page, address(path))
        for size in sizes:
            page.set_viewport_size(size)
            assert (page.locator(".code").inner_text(), too_wide(page)) == (status, [])
            expect(page.get_by_role("link", name="Go to the queue")).to_be_in_viewport()
    # A form whose CSRF token is outdated, as after signing in again in another tab.
    with page.expect_navigation():
        page.evaluate(
            "document.body.append(Object.assign(document.createElement('form'), {method: 'post', id: 'f'})); f.submit()"
        )
    expect(page.get_by_role("heading", level=1)).to_have_text("This form has expired")
    for size, scheme in zip(sizes, SCHEMES, strict=True):
        page.set_viewport_size(size)
        show(page, scheme)
        assert (too_wide(page), violations(page)) == ([], []), scheme


@pytest.mark.slow
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
        page.get_by_role("tab", name="Text").or_(page.locator(".sheet .tab").nth(1)).first.click(trial=True)


@pytest.mark.slow
def test_focus_is_seen_on_every_page_and_nothing_covers_it(open_page, signed_in, address):
    page, found = open_page(storage_state=signed_in), {}
    page.watch.expected += [*ERRORS]
    for name, path in {**PAGES, "message held": MORE["message held"]}.items():
        page.set_viewport_size({"width": 1440 if name == "message held" else 1024, "height": 700})
        settled(page, address(path))
        found[name] = list(lost_focus(page, presses=45))
    assert {name: some for name, some in found.items() if some} == {}


@pytest.mark.slow
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
    # Unopened parts are named next to the approval; opening them all moves nothing else.
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
