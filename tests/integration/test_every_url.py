"""Every address of the desk: who may open it, and what every answer carries (fault-matrix, lines 51 to 53)."""

import re
from datetime import timedelta
from urllib.parse import quote, urlencode
from uuid import UUID

import pytest
from django.test import Client
from django.urls import get_resolver, reverse
from django.utils import timezone

from alerts.models import Delivery, Destination, Route
from alerts.places.addresses import LIKE
from approvals.models import GateRefusal, Revision, SavedView
from audit.models import SavedSearch
from people.models import Invitation, Person
from policy.models import AllowEntry, Allowlist, GateList, KillSwitch
from tests.factories import make_connection, make_message, make_person
from tests.integration.deciding import decide

pytestmark = pytest.mark.django_db

PUBLIC = {
    *("healthz", "readyz", "metrics", "live", "live-reach", "csp-report"),
    *("mfa_login_webauthn", "mfa_authenticate", "oidc-login", "oidc-callback"),
    *("account_login", "account_logout", "multimail-webhook", "discord-interactions", "join"),
}
# Steps of signing in, opened by who has not begun.
LEADS_TO_SIGN_IN = {"account_logout", "mfa_login_webauthn", "mfa_authenticate"}
POST_ONLY = {
    *("trace-proof-json", "trace-proof-text", "trace-proof-html"),
    *("verdict", "undo", "withdraw", "send-again", "settle", "look", "allow-address", "message-opened", "text-first"),
    *("part-opened", "bulk-decide", "bulk-undo"),
    *("claim", "release-claim", "snooze", "end-snooze", "presence", "comment"),
    *("look-again", "carry-out", "replay-event", "compare-event", "dismiss-event", "read-connection"),
    *("pull-switch", "release-switch", "hold-all", "weigh-rule"),
    *("factor-name", "factor-remove", "recovery-codes", "set-second-factor", "take-factors-off"),
    *("own-name", "own-time-zone", "end-session", "end-other-sessions", "unlink-discord", "invite-anew"),
    *("withdraw-invitation", "add-role", "remove-role", "deactivate-person", "reactivate-person", "password-link"),
    *("remove-discord",),
    *("test-destination", "switch-on-destination", "remove-destination", "setup-away"),
    "switch-off-destination",
    *("rotate-destination", "remove-route", "send-alert-again", "send-alerts-again"),
    *("rename-connection", "pause-connection", "resume-connection", "check-connection", "connection-key"),
    *("register-own-hook", "test-own-hook", "rotate-own-hook", "take-secret", "end-old-secret"),
    *("mailbox-windows", "mailbox-settings", "mailbox-mode", "change-api-key", "api-key-owner"),
    *("test-hook", "rotate-hook", "replay-delivery"),
    *("preview-allowlist", "save-allowlist", "preview-import", "export-allowlist", "allow-refused", "push-list"),
    *("csp-report", "account_logout", "multimail-webhook", "discord-interactions"),
    *("save-view", "delete-view"),
    *("save-search", "delete-search"),
    *("check-ledger", "compare-ledger"),
    *("report-decisions-file", "report-rights-file", "export-again"),
}


# Documents of their own in a frame of a page.
FRAMED = {"message-body", "seen-body", "message-letter", "file-view"}
# Questions without the desk around them.
BARE = {"account_reauthenticate", "account_go_on", "mfa_reauthenticate", "mfa_reauthenticate_webauthn"}


def patterns(resolver=None):
    for pattern in (resolver or get_resolver()).url_patterns:
        if hasattr(pattern, "url_patterns"):
            yield from patterns(pattern)
        else:
            yield pattern


NAMES = sorted(pattern.name for pattern in patterns())


# What a browser would fetch for a page.
LOADS = r"""<(?:script|link|img|iframe|use|source|video)\b[^>]*?(?:src|href)=["']?([^"'\s>]+)"""
PATHS = {pattern.name: str(pattern.pattern) for pattern in patterns()}
# The rules are published: they are the same for everybody.
OF_THE_PRODUCT = {"rule", "weigh-rule"}
# Where alerts go concerns everybody: all see it, and an admin of everything changes it.
OF_THE_DESK = {"destination", "test-destination", "switch-on-destination", "remove-destination"}
OF_THE_DESK |= {"switch-off-destination", "rotate-destination", "add-route", "remove-route", "send-alert-again"}
ABOUT_ROWS = [name for name in NAMES if "<" in PATHS[name] and name not in OF_THE_PRODUCT | OF_THE_DESK]


def address(name, message):
    """Return the page's address for this message, its connection, its webhook or a switch that stops it."""
    rows = {
        "public_id": message.public_id,
        "upstream_id": message.upstream_id,
        "webhook_id": message.connection.webhook_id,
        "connection_id": message.connection_id,
        "destination_id": destination().pk if "destination_id" in PATHS[name] else None,
        "route_id": route().pk if "route_id" in PATHS[name] else None,
        "alert_id": alert_of(message).pk if "alert_id" in PATHS[name] else None,
        "mailbox_id": message.mailbox_id,
        "key_id": "01KEY",
        "hook_id": "01HOOK",
        "delivery_id": "1",
        "rule": "first_contact",
        "event_id": message.connection.webhookevent_set.latest("pk").pk,
        "place": 1,
        "slot": "read",
        # Of nobody.
        "session_id": 4_000_000,
        "factor_id": 4_000_000,
        "person_id": colleague().pk if "person_id" in PATHS[name] else None,
        "invitation_id": invitation().pk if "invitation_id" in PATHS[name] else None,
        "token": "n" * 43,
        "search_id": search_of_somebody().pk if "search_id" in PATHS[name] else None,
        "view_id": view_of_somebody().pk if "view_id" in PATHS[name] else None,
        "switch_id": switch_of(message.connection).pk if "switch_id" in PATHS[name] else None,
        "scope": f"mailbox-{message.mailbox_id}",
        "kind": "restriction",
        "entry_id": entry_of(message.mailbox).pk if "entry_id" in PATHS[name] else None,
        "refusal_id": refusal_of(message.mailbox).pk if "refusal_id" in PATHS[name] else None,
        # Of nobody.
        "export_id": UUID(int=1),
        "verdict_id": verdict_of(message).pk if "verdict_id" in PATHS[name] else None,
        "gate_id": gate_of(message.mailbox).pk if "gate_id" in PATHS[name] else None,
    }
    return reverse(name, kwargs={key: rows[key] for key in re.findall(r"<\w+:(\w+)>", PATHS[name])})


def view_of_somebody():
    owner = Person.objects.filter(email="owner@yourteam.example").first()
    owner = owner or make_person("owner@yourteam.example", "Olga")
    return SavedView.objects.get_or_create(person=owner, name="Theirs", defaults={"query": "tab=mine"})[0]


def search_of_somebody():
    return SavedSearch.objects.get_or_create(person=view_of_somebody().person_id, name="Theirs")[0]


def colleague():
    found = Person.objects.filter(email="colleague@yourteam.example").first()
    return found or make_person("colleague@yourteam.example", "Not for everybody")


def invitation():
    gives = [{"role": "reviewer", "connection": None, "mailbox": None}]
    until = timezone.now() + timedelta(days=7)
    of = {"email": "not-for-everybody@yourteam.example", "grants": gives, "expires_at": until}
    return Invitation.objects.get_or_create(token_hash="n" * 64, defaults=of)[0]


def destination():
    return Destination.objects.get_or_create(name="#approvals", defaults={"url": LIKE})[0]


def route():
    return Route.objects.get_or_create(destination=destination(), defaults={"actions": ["message.failed"]})[0]


def alert_of(message):
    return Delivery.objects.get_or_create(destination=destination(), message=message, kind="event", action="test")[0]


def entry_of(mailbox):
    own, _ = Allowlist.objects.get_or_create(mailbox=mailbox, kind="restriction", defaults={"version": 1})
    return AllowEntry.objects.get_or_create(allowlist=own, pattern="not-for-everybody.example")[0]


def refusal_of(mailbox):
    fields = {"refused": ["dana@x.example"], "recipients": ["dana@x.example"], "refused_at": timezone.now()}
    of = {"connection": mailbox.connection, "mailbox": mailbox}
    return GateRefusal.objects.get_or_create(**of, upstream_id="01REFUSAL", defaults=fields)[0]


def verdict_of(message):
    giver = Person.objects.filter(email="giver@yourteam.example").first()
    giver = giver or make_person("giver@yourteam.example", "Gina", "reviewer")
    return message.verdicts.first() or decide(message, giver).verdict


def gate_of(mailbox):
    return GateList.objects.get_or_create(mailbox=mailbox, kind="restriction")[0]


def switch_of(connection):
    found = KillSwitch.objects.filter(connection=connection).first()
    puller = found.pulled_by if found else make_person("puller@yourteam.example", "Pia")
    return found or KillSwitch.objects.create(connection=connection, reason="Not for everybody", pulled_by=puller)


def call(client, name, message, **headers):
    method = client.post if name in POST_ONLY else client.get
    return method(address(name, message), headers=headers)


def directives(answer):
    parts = [part.strip().partition(" ") for part in answer["Content-Security-Policy"].split(";")]
    return {name: value for name, _, value in parts}


@pytest.mark.parametrize("name", NAMES)
def test_signed_out_leads_to_sign_in(client, connection, name):
    message = make_message(connection)
    answer = call(client, name, message)
    check_headers(answer)
    if name in PUBLIC:
        assert "/accounts/login/" not in answer.get("Location", "") or name in LEADS_TO_SIGN_IN
    else:
        assert answer.status_code == 302
        assert answer["Location"].startswith("/accounts/login/?next=")


@pytest.mark.proves("security 49")
@pytest.mark.parametrize("name", [name for name in NAMES if name not in PUBLIC])
def test_message_outside_ones_mailboxes_does_not_exist(signed_in, connection, name):
    message = make_message(connection, subject="Not for everybody")
    stranger = make_person("x@yourteam.example", "X", "reviewer", connection=make_connection("other"))
    # As a page and as a fragment of one. Signed in for each: there are addresses that end the session.
    for headers in ({}, {"HX-Request": "true"}):
        answer = call(signed_in(stranger), name, message, **headers)
        assert b"Not for everybody" not in answer.content
        if name in ABOUT_ROWS:
            assert answer.status_code == 404


# Everything that an address of the desk can ask for, and the addresses that ask for something.
ASKED = (
    *("q", "to", "from", "by", "rule", "risk", "mailbox", "has", "started", "thread", "run", "alike", "tab", "order"),
    *("group", "after", "before", "action", "since", "decided", "view", "page", "open", "of", "mark", "next", "show"),
    *("actor", "surface", "connection", "message", "fingerprint", "trace", "until", "on"),
)
ASKING = (
    *("queue", "message", "message-letter", "history", "audit", "rule", "pulse", "bulk-done", "account_login"),
    *("allowlists", "allowlist", "allowlist-history", "refusals"),
)
BY_ID = ("queue/{}/", "queue/{}/files/1/", "audit/trace/{}/", "approvals/{}/", "rules/findings/{}/")
NONSENSE = (
    *("x", "-1", "1-1-1", "9" * 30, "2026-99-99T25:61", "a\0b", "\ud800", "' OR 1=1--", "99999999999999999999-1"),
    *("01a1fa07-d9b0-7713-aca7", "٣-٣"),
)


@pytest.mark.proves("case 16")
@pytest.mark.parametrize("nonsense", NONSENSE, ids=ascii)
def test_ill_formed_cursor_id_or_date_is_the_first_page_or_400_never_500(signed_in, connection, reviewer, nonsense):
    message = make_message(connection)
    client = signed_in(reviewer)
    query = urlencode(dict.fromkeys(ASKED, nonsense), errors="surrogatepass")
    answers = {name: client.get(f"{address(name, message)}?{query}").status_code for name in ASKING}
    assert {name: status for name, status in answers.items() if status not in (200, 302, 400)} == {}
    path = quote(nonsense, errors="surrogatepass", safe="")
    assert {client.get("/" + one.format(path)).status_code for one in BY_ID} <= {400, 404}


@pytest.mark.parametrize("name", sorted(POST_ONLY))
def test_what_changes_something_is_not_done_by_looking(signed_in, admin, connection, name):
    message = make_message(connection)
    client, path = signed_in(admin), address(name, message)
    assert (client.get(path).status_code, client.head(path).status_code) == (405, 405)


@pytest.mark.proves("security 51", "security 53")
@pytest.mark.parametrize("name", NAMES)
def test_every_answer_carries_the_browsers_rules_and_names_no_asset_from_elsewhere(
    signed_in, connection, reviewer, name
):
    message = make_message(connection, markdown="Look: ![x](https://tracker.example/o.gif) <img src=//t.example/i>")
    answer = call(signed_in(reviewer), name, message)
    check_headers(answer, is_frame=name in ("message-body", "seen-body"))
    page = answer.getvalue()
    loads = re.findall(LOADS, page.decode())
    assert all(load.startswith(("/static/", "/queue/", "data:", "#")) for load in loads), loads
    if answer.status_code == 200 and b"<html" in page and name not in FRAMED | BARE | PUBLIC:
        # As of when the queue is complete, and what the kill switch stops.
        assert (page.count(b'id="fresh"'), page.count(b'id="stopped"')) == (1, 1)


@pytest.mark.parametrize("path", ["/nothing/", "/static/css/nothing.css", "/queue/not-a-uuid/", "/%00/"])
def test_errors_carry_them_too(client, path):
    answer = client.get(path)
    assert answer.status_code in (400, 404)
    check_headers(answer)


# By status: its title, and how somebody comes to see it. That of 503 belongs to the faults: PostgreSQL has to be away.
WRONG = {
    400: ("This request cannot be read", lambda client, path: client.get(path, headers={"Host": "evil.example"})),
    403: ("This form is too old", lambda client, path: client.post(f"{path}verdict/")),
    404: ("Nothing here", lambda client, path: client.get("/nothing/here/")),
    405: ("Only a button leads here", lambda client, path: client.get(f"{path}verdict/")),
    500: ("Something broke on our side", lambda client, path: client.get(path)),
}


@pytest.mark.parametrize("status", WRONG)
def test_error_page_says_what_is_wrong_and_leads_on(connection, reviewer, status):
    message = make_message(connection)
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    client.force_login(reviewer, backend="people.backend.PersonBackend")
    if status == 500:
        Revision.objects.filter(pk=message.revision_id).update(content=[])
    title, ask = WRONG[status]
    answer = ask(client, f"/queue/{message.public_id}/")
    page = answer.content.decode()
    assert (answer.status_code, re.findall("<h1>(.*?)</h1>", page)) == (status, [title])
    assert len(re.search(r"data-sentence>([^<]+)<", page)[1]) > 40
    assert 'href="/queue/"' in page
    assert (f'href="/queue/{message.public_id}/"' in page) == (status == 405)
    assert "css/pages.css" in page
    check_headers(answer)


def test_static_files_carry_them_too(client):
    answer = client.get("/static/css/letter.css")
    assert answer.status_code == 200
    check_headers(answer, is_static=True)


def test_bad_host_is_refused_in_words(client):
    answer = client.get("/queue/", headers={"Host": "evil.example"})
    assert answer.status_code == 400
    assert b"ALLOWED_HOSTS" in answer.content
    check_headers(answer)


def check_headers(answer, *, is_frame=False, is_static=False):
    policy = directives(answer)
    assert policy["default-src"] == "'none'"
    assert policy["base-uri"] == "'none'"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"
    if is_frame:
        assert "sandbox" in policy
        assert policy["frame-ancestors"] == "'self'"
        assert policy["img-src"] == "data:"
        assert "script-src" not in policy
    else:
        assert (policy["script-src"], policy["style-src"], policy["object-src"]) == ("'self'", "'self'", "'none'")
        assert policy["frame-ancestors"] == "'none'"
        assert policy["report-uri"] == "/csp-report/"
        assert "unsafe" not in answer["Content-Security-Policy"]
    if not is_static:
        assert answer["Cache-Control"] == "no-store"


def test_stream_that_the_proxy_does_not_pass_on_says_so(client, settings):
    assert client.get("/live/").status_code == 307
    settings.LIVE_URL = "/live/"
    answer = client.get("/live/")
    assert answer.status_code == 404
    assert "LIVE_PORT" in answer.json()["error"]


def test_hsts_is_sent_where_the_desk_is_https(client, settings):
    assert "Strict-Transport-Security" not in client.get("/healthz")
    settings.HTTPS = True
    assert "max-age=31536000" in client.get("/healthz")["Strict-Transport-Security"]


@pytest.mark.proves("security 52")
def test_signing_out_clears_the_browser_and_ends_the_session(signed_in, reviewer):
    client = signed_in(reviewer)
    answer = client.post("/accounts/logout/")
    assert answer["Clear-Site-Data"] == '"cache", "storage"'
    assert client.get("/queue/").status_code == 302


def test_signing_out_by_a_link_does_nothing(signed_in, reviewer):
    client = signed_in(reviewer)
    assert client.get("/accounts/logout/").status_code == 405
    assert client.get("/queue/").status_code == 200


def test_policy_report_is_taken_and_holds_no_query(client, caplog):
    body = b'{"csp-report": {"violated-directive": "img-src", "blocked-uri": "https://t.example/o.gif?who=dana"}}'
    assert client.post("/csp-report/", body, content_type="application/csp-report").status_code == 204
    assert "dana" not in str([vars(record) for record in caplog.records])
