"""Every page of the desk passes axe-core, best practices included, narrow and wide,
light and dark, and fits 320 px; and what tests post stands in a form of a page.

Django's test client asks for the pages: every address of `tests/doors.py`, with its
form empty and filled in, and what no address answers by itself. Chromium is shown what
came back. A page that is looked at nowhere fails here.
"""

import contextlib
from collections import defaultdict
from functools import partial
from mimetypes import guess_type
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from allauth.mfa.models import Authenticator
from django.conf import settings as _settings
from django.contrib.staticfiles import finders
from django.db.models.functions import Now
from django.template.loader import render_to_string
from django.test import Client
from django.urls import Resolver404, resolve, reverse

from common.actors import Role
from gateway.models import ApiKey, Domain, WebhookDelivery
from mirror.models import Revision
from notices.models import Cause
from people.invitations.links import make_password_link
from people.models import OrganisationSettings
from people.second_admin.setting import set_person_figures
from tests.browser.looking import bones, everywhere_unfolded, too_wide, violations
from tests.doors import DOORS
from tests.factories import (
    make_connection,
    make_message,
    make_person,
    rolled_back,
    show_row,
)
from tests.integration.deciding import decide
from tests.integration.gateway_served import make_account, served_gateway
from tests.integration.test_bulk import HIGH
from tests.integration.test_bulk import approve as decide_sheet
from tests.integration.test_invitations import TYPED, link_of, token_in
from tests.serving import standing_in
from tests.signing import PASSWORD, give_app, resume, sign_in
from tests.walk import POST_ONLY, Persona, Walk, standing_before, takes_a_form

# A group of its own, because no test here needs the running product: so another process
# runs them meanwhile.
pytestmark = [
    pytest.mark.django_db,
    pytest.mark.slow,
    pytest.mark.xdist_group("every page"),
]

TEMPLATES = _settings.BASE_DIR / "templates"
# Addresses that answer a look with no page: parts of a page, files, data, and
# redirects.
NO_PAGE = {
    *"""
    home-waiting pulse message-files beside unread-parts decided rows browsers notice
    message-view message-people message-pictures file-page file-download verifier
    loosen-mailbox
""".split(),
    # They redirect where the rows of the walk give nothing to show: see of_messages.
    *"approve bulk bulk-done by-upstream-id".split(),
}
# The frame holds what a stranger wrote, in their colours: of ours are its language, its
# title and its width.
OF_STRANGERS = {
    "picture-view",
    "message-body",
    "message-original",
    "seen-body",
    "edit-preview, empty",
    "edit-preview, filled in",
}
# What is posted here stands in no form of the pages that are shown: scripts post it, or
# its page is made as another one is, or only where something waits or was refused.
UNSEEN = {
    *"""
    part-opened add-browser edit-preview bulk-seen rotate-own-webhook
    policy-rule policy-pass unlink-chat-account remove-chat-account
""".split()
}
# The forms of a page, and the names of their fields.
FORMS = """[...document.forms].map((form) =>
    [form.action, [...form.elements].map((one) => one.name)])"""
OURS = ("html-has-lang", "document-title", "meta-viewport")
# A frame has no landmarks of its own; the outcome of a sheet is the content, without a
# decision to skip to.
BONELESS = {"file-view", "several decided"}
# In a frame, the page around it has the headings and landmarks.
OF_A_PAGE = ("landmark-one-main", "page-has-heading-one", "region", "bypass")


class Page(NamedTuple):
    """What the desk answered."""

    path: str
    body: bytes
    headers: dict


class Pages:
    """Answers by name, alike ones once; and the names of the templates they were made
    of.
    """

    def __init__(self):
        self.found = {}
        self.templates = set()
        self._made_of = set()

    def take(self, name, answer):
        """Keep an answer if it is a page; return whether it is one."""
        kind = answer.get("Content-Type", "")
        body = answer.getvalue()
        if not kind.startswith("text/html") or b"<html" not in body:
            return False
        assert answer.status_code != 500 or name == "500", name
        self.templates |= {one.name for one in answer.templates}
        headers = {"Content-Type": kind}
        policy = answer.get("Content-Security-Policy", "")
        # In a sandbox axe-core could not run, and a file that was downloaded has its
        # own policy.
        if "sandbox" not in policy and "Content-Disposition" not in answer:
            headers["Content-Security-Policy"] = policy
        # Made of the same templates: the same page with other words.
        made_of = tuple(sorted({str(one.name) for one in answer.templates}))
        if made_of not in self._made_of or not answer.templates:
            self._made_of.add(made_of)
            self.found[name] = Page(answer.wsgi_request.get_full_path(), body, headers)
        return True

    def take_template(self, template, **context):
        """Keep a page of which only a sign-in with others' help is answered."""
        body = render_to_string(template, context).encode()
        self.templates.add(template)
        self.found[template] = Page(
            f"/{template}", body, {"Content-Type": "text/html; charset=utf-8"}
        )


@pytest.fixture(scope="module", autouse=True)
def _short_queue():
    """Override the shared fixture: nothing here needs the running product."""


@pytest.fixture
def look(chromium):
    """Return a function that shows a page to Chromium, and returns what axe-core finds."""
    desk = SimpleNamespace()

    # Over HTTP, so that Chromium stores the static files.
    def answer(request):
        path = urlsplit(request.path).path
        if request.headers["Sec-Fetch-Dest"] == "document":
            return request.reply(200, desk.page.body, **desk.page.headers)
        # That script presses the button of its page at once, which is there for who has
        # no scripts.
        is_ours = path.startswith("/static/") and not path.endswith("/resubmit.js")
        file = is_ours and finders.find(path.removeprefix("/static/"))
        if not file:
            return request.reply(404)
        headers = {"Content-Type": guess_type(file)[0], "Cache-Control": "max-age=600"}
        return request.reply(200, Path(file).read_bytes(), **headers)

    def look(name, shown):
        desk.page = shown
        page.goto(desk.url + shown.path)
        for action, names in page.evaluate(FORMS):
            with contextlib.suppress(Resolver404):
                look.forms[resolve(urlsplit(action).path).url_name] |= set(names)
        if name in OF_STRANGERS:
            return violations(page, *OURS)
        page.set_viewport_size({"width": 320, "height": 700})
        narrow = [*too_wide(page), *(bones(page) if name not in BONELESS else [])]
        but = OF_A_PAGE if name == "file-view" else ()
        return [*narrow, *everywhere_unfolded(page, but=but)]

    look.forms = defaultdict(set)
    with (
        standing_in(desk, answer),
        chromium.new_context(reduced_motion="reduce") as context,
    ):
        page = context.new_page()
        yield look


def test_axe_finds_nothing_on_what_any_address_answers(
    client, look, settings, monkeypatch
):
    # Hashed slowly by design.
    monkeypatch.setattr(
        "people.sign_in.factors._digest",
        lambda code, salt: f"scrypt${salt}${code}",
    )
    pages = Pages()
    with rolled_back():
        without, posted = of_every_address(client, pages.take)
    for gather in (
        of_messages,
        of_the_report,
        of_rows,
        of_a_second_admin,
        of_signing_in,
        of_joining,
        of_an_account,
        of_errors,
    ):
        client.cookies.clear()
        with rolled_back():
            gather(client, pages.take, settings=settings)
    for template in ("account/inactive.html", "socialaccount/begin.html"):
        pages.take_template(template, provider="Acme")
    pages.take_template(
        "socialaccount/failed.html",
        provider="Acme",
        sentence="The id token of Acme is not accepted.",
    )
    pages.take_template("mfa/webauthn/reauthenticate.html", options="{}")
    pages.take_template("notices/stop.html", cause=Cause.ASSIGNED)
    pages.take_template(
        "socialaccount/unknown.html",
        provider="Acme",
        address="eve@elsewhere.example",
        verified=True,
    )

    there_are = {
        str(path.relative_to(TEMPLATES))
        for path in TEMPLATES.rglob("*.html")
        # test_notice_mail.py looks at the mail.
        if path.name[0] != "_" and not path.stem.endswith("mail")
    }
    assert without == NO_PAGE
    assert there_are - pages.templates == set()
    found = {name: look(name, page) for name, page in pages.found.items()}
    assert {name: some for name, some in found.items() if some} == {}
    unseen = {name for name, keys in posted.items() if keys - look.forms[name]}
    assert unseen == UNSEEN


def of_every_address(client, take):
    """Ask for each address, with every role, and post its form; return those that
    answer a look with no page.
    """
    without = set()
    posted = {}
    names = [
        name for name, door in DOORS.items() if door.reach not in ("public", "host")
    ]
    for name, walk in standing_before(client, partial(resume, client), names):
        for role in Role:
            walk.become(Persona(role, "everything"))
        path = walk.address(name)
        fields = DOORS[name].fields
        if name not in POST_ONLY and not take(name, client.get(path)):
            without.add(name)
        if takes_a_form(name):
            for how, form in (
                ("empty", {}),
                ("filled in", fields(walk) if fields else {}),
            ):
                posted[name] = set(form)
                with rolled_back():
                    take(f"{name}, {how}", client.post(path, form))
    return without, posted


def all_round(client, email="rosa@yourteam.example"):
    """Let the client be somebody with every role."""
    person = make_person(email, "Rosa Roe", "reviewer")
    for role in (Role.ADMIN, Role.AUDITOR):
        person.grants.create(role=role)
    resume(client, person)
    return person


def of_messages(client, take, **_):
    """Pages of messages in states that an address alone does not bring about."""
    person = all_round(client)
    connection = make_connection()
    take(
        "rights of a person",
        client.get(reverse("report-rights"), {"person": person.pk}),
    )
    first, second, third = (
        make_message(connection, subject=f"Subject {word}", markdown=f"On {word}")
        for word in "abc"
    )
    high = make_message(
        connection,
        subject="High",
        to_addresses=["dana@x.example", "lee@x.example"],
        **HIGH,
    )
    path = f"/queue/{high.public_id}/"
    for view in ("text", "parts", "source", "headers", "changes"):
        take(f"message, high risk, {view}", client.get(f"{path}?view={view}"))
    take("high risk", client.get(f"{path}approve/"))
    ids = [str(one.public_id) for one in (high, first, second, third)]
    sheet = client.post("/queue/bulk/", {"id": ids})
    done = decide_sheet(client, sheet, [third], unread=1)
    take("several decided", client.get(done["Location"]))
    old = first.revision.fingerprint
    show_row(first, markdown="Changed since", subject="Changed")
    form = {"outcome": "approve", "fingerprint": old, "reason": ""}
    verdict = reverse("verdict", args=[first.public_id])
    take("message, changed meanwhile", client.post(verdict, form))
    decide(second, person, "reject", reason="Not like this")
    take("queue, decided", client.get(f"/queue/?decided={second.public_id}"))
    other = make_connection("other")
    make_message(other)
    other.messages.update(upstream_id=second.upstream_id)
    take("which one", client.get(f"/approvals/{second.upstream_id}/"))


def of_the_report(client, take, **_):
    """The report of decisions with people."""
    person = all_round(client)
    decide(make_message(make_connection()), person)
    set_person_figures(
        actor=person.actor(surface="web"), on=True, because="Works agreement of 3 May"
    )
    take("decisions, with people", client.get(reverse("report-decisions")))


def of_rows(client, take, **_):
    """Lists that hold what other addresses are about."""
    for needs, name in (
        ("pending_change", "pending-changes"),
        ("plan", "review-plans"),
        ("draft_pass", "policy"),
        ("policy_group", "groups-and-hours"),
        ("calendar", "groups-and-hours"),
    ):
        with rolled_back():
            walk = Walk(client, partial(resume, client)).with_rows(needs)
            walk.become(Persona(Role.ADMIN, "everything"))
            about = {"message": walk.message_id}
            take(f"{name}, with {needs}", client.get(walk.address(name), about))
    with rolled_back():
        walk = Walk(client, partial(resume, client)).with_rows("person")
        walk.become(Persona(Role.ADMIN, "everything"))
        OrganisationSettings.objects.create(pk=1, second_admin_since=Now())
        fields = DOORS["review-plan"].fields(walk)
        take("asking", client.post(walk.address("review-plan"), fields))


def of_a_second_admin(client, take, **_):
    """The page that asks why, before a change waits for a second admin."""
    walk = Walk(client, partial(resume, client)).with_rows("person")
    walk.become(Persona(Role.ADMIN, "everything"))
    form = {"change": walk.packed_change, "reason": ""}
    take("ask-second-admin, why", client.post(reverse("ask-second-admin"), form))


def of_signing_in(client, take, *, settings):
    """The ways in, and asking again who somebody is."""
    person = make_person("sam@yourteam.example", "Sam Roe", "reviewer")
    take("sign-in", client.get("/accounts/login/?next=/queue/"))
    again = "/accounts/reauthenticate/"
    wanted = "/people/me/factors/app/"
    resume(client, person, minutes=11)
    take("confirm", client.get(again, {"next": wanted}))
    client.post(reverse("recovery-codes"))
    resubmit = reverse("account_resubmit")
    client.post(again, {"next": resubmit, "password": PASSWORD})
    take("go on", client.get(resubmit))
    give_app(person)
    resume(client, person, minutes=11)
    by_code = client.get(reverse("mfa_reauthenticate"), {"next": wanted})
    take("confirm by a code", by_code)
    guest = Client()
    sign_in(guest, person)
    take("second step", guest.get("/accounts/login/second/"))
    person.set_unusable_password()
    person.save()
    Authenticator.objects.filter(user=person).delete()
    resume(guest, person, minutes=11)
    take("no proof", guest.get(again, {"next": wanted}))
    settings.ACCOUNT_RATE_LIMITS = {
        **settings.ACCOUNT_RATE_LIMITS,
        "login_failed": "1/m/ip,1/5m/key",
    }
    for _ in range(3):
        answer = Client().post(
            "/accounts/login/", {"login": person.email, "password": "wrong"}
        )
    take("too many tries", answer)


def of_joining(client, take, **_):
    """One-time links: good, over, and for a new password."""
    admin = make_person("ida@yourteam.example", "Ida Lindqvist", "admin")
    take("join", client.get(f"/join/{link_of(admin)}/"))
    take("join, not good", client.get(f"/join/{'n' * 43}/"))
    person = make_person("uma@yourteam.example", "Uma Roe", "reviewer")
    path = f"/join/{token_in(make_password_link(person_id=person.pk, actor=admin.actor(surface='web')))}/"
    take("new password, set", client.post(path, TYPED))


def of_an_account(client, take, *, settings):
    """The pages about an account at MultiMail that answers."""
    all_round(client)
    # Nothing answers there, and no request leaves the machine.
    settings.DNS_SERVER = ("127.0.0.1", 9)
    with served_gateway() as gateway:
        account = make_account(gateway)
        world = account.world
        at = {"connection_id": account.connection.pk}
        hook = world.listen(
            "oversight.pending", url="https://elsewhere.example.org/hook"
        )
        WebhookDelivery.objects.create(
            webhook=hook,
            state="failed",
            event_id="01E",
            event="oversight.pending",
            body=b"{}",
            trace="t",
        )
        Domain.objects.create(account=world.account, domain="shop.example", token="t")
        key = at | {"key_id": ApiKey.objects.get(name="Key agent").pk}
        of_hook = at | {"subscription_id": hook.pk}
        looks = [
            ({}, ("mailboxes", "api-keys", "domains", "webhooks")),
            ({"mailbox_id": account.mailbox.pk}, ("mailbox", "loosen-mailbox")),
            (key, ("api-key", "revoke-api-key")),
            (of_hook, ("webhook", "delete-webhook")),
        ]
        for kwargs, names in looks:
            for name in names:
                take(f"{name} of an account", client.get(reverse(name, kwargs=kwargs)))
        made = {
            "add-api-key": {"name": "Bot", "scopes": ["read"]},
            "add-webhook": {
                "name": "Orders",
                "url": "https://x.example.org/h",
                "events": ["message.sent"],
            },
        }
        for name, form in made.items():
            form["ticket"] = uuid4().hex
            take(f"{name}, made", client.post(reverse(name, kwargs=at), form))


def of_errors(client, take, **_):
    """The pages of errors."""
    all_round(client)
    message = make_message(make_connection())
    take("404", client.get("/nothing/here/"))
    nobody = Client()
    resume(nobody, make_person("ned@yourteam.example", "Ned Roe"))
    take("without a role", nobody.get(reverse("add-destination")))
    client.raise_request_exception = False
    Revision.objects.filter(pk=message.revision_id).update(content=[])
    take("500", client.get(f"/queue/{message.public_id}/"))
