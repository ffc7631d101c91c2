"""Every URL of the desk: malformed input, and the headers of every response, errors
included.
"""

import re
from urllib.parse import quote, urlencode

import pytest
from django.test import Client

from common.actors import Role
from mirror.models import Revision
from tests.doors import DOORS
from tests.factories import make_message
from tests.markup import says
from tests.walk import (
    PUBLIC,
    Persona,
    Walk,
    check_headers,
    go_through,
    standing_before,
    takes_a_form,
    what_it_wrongly_takes,
)

# Steps of signing in, opened before the first step.
LEADS_TO_SIGN_IN = {"account_logout", "mfa_login_webauthn", "mfa_authenticate"}


def test_public_urls_need_no_sign_in(client, signed_in):
    wrong = {}
    for name, walk in standing_before(client, signed_in, sorted(PUBLIC)):
        walk.token = "n" * 43
        if found := what_it_wrongly_takes(walk, name):
            wrong[name] = found
        answer = go_through(walk, DOORS[name], name, walk.address(name))
        check_headers(answer)
        if (
            "/accounts/login/" in answer.get("Location", "")
            and name not in LEADS_TO_SIGN_IN
        ):
            wrong[name] = "asks to sign in"
    assert wrong == {}


# Every query parameter, and the URLs that have some.
ASKED = """
    q to from by rule risk mailbox has started thread run alike tab order group
    after before action since decided view page open of mark next show actor surface
    connection message fingerprint trace until on
""".split()
ASKING = """
    queue message message-view history audit pulse bulk-done account_login
    allowlist
""".split()
BY_ID = (
    "queue/{}/",
    "queue/{}/files/1/",
    "audit/trace/{}/",
    "approvals/{}/",
    "rules/findings/{}/",
)
NONSENSE = (
    "a\0b",
    "9" * 30,
    "x",
    "-1",
    "1-1-1",
    "2026-99-99T25:61",
    "\ud800",
    "' OR 1=1--",
    "99999999999999999999-1",
    "01a1fa07-d9b0-7713-aca7",
    "٣-٣",
)


@pytest.mark.slow
def test_ill_formed_cursor_id_or_date_is_the_first_page_or_400_never_500(
    client, signed_in
):
    walk = Walk(client, signed_in).with_rows("list")
    walk.become(Persona(Role.REVIEWER, "everything"))
    for nonsense in NONSENSE:
        query = urlencode(dict.fromkeys(ASKED, nonsense), errors="surrogatepass")
        for name in ASKING:
            answer = client.get(f"{walk.address(name)}?{query}")
            assert answer.status_code in (200, 302, 400), (name, nonsense)
        path = quote(nonsense, errors="surrogatepass", safe="")
        for one in BY_ID:
            status = client.get("/" + one.format(path)).status_code
            assert status in (302, 400, 404), (one, nonsense)


# By status: the title, and how to get it. 503 is tested with the faults, because
# PostgreSQL has to be down.
WRONG = {
    400: (
        "This request cannot be read",
        lambda client, path: client.get(path, headers={"Host": "evil.example"}),
    ),
    403: ("This form has expired", lambda client, path: client.post(f"{path}verdict/")),
    404: ("Page not found", lambda client, path: client.get("/nothing/here/")),
    405: (
        "This address needs a button",
        lambda client, path: client.get(f"{path}verdict/"),
    ),
    500: ("The desk had an error", lambda client, path: client.get(path)),
}


def test_error_page_says_what_is_wrong_and_links_onward(connection, reviewer):
    message = make_message(connection)
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    client.force_login(reviewer, backend="people.sign_in.backend.PersonBackend")
    for status, (title, ask) in WRONG.items():
        if status == 500:
            Revision.objects.filter(pk=message.revision_id).update(content=[])
        answer = ask(client, f"/queue/{message.public_id}/")
        page = answer.text
        assert answer.status_code == status
        assert re.findall("<h1>(.*?)</h1>", page) == [title]
        assert ("ALLOWED_HOSTS" in page) == (status == 400)
        assert 'href="/queue/"' in page, status
        for inside in ("Traceback", "settings", "django", "SELECT"):
            assert inside not in page, status
        check_headers(answer)
    # Static files have security headers too, and addresses that do not exist.
    client = Client(raise_request_exception=False)
    check_headers(client.get("/static/css/nothing.css"))
    style = client.get("/static/css/rendered_message.css")
    assert style.status_code == 200
    check_headers(style, is_static=True)
    fields = {f"field{number}": "" for number in range(1001)}
    says(client.post("/accounts/login/", fields), 400, "more than 1,000 fields")


def test_stream_that_the_proxy_does_not_pass_on_says_so(client, settings):
    assert client.get("/live/").status_code == 307
    settings.LIVE_URL = "/live/"
    answer = client.get("/live/")
    assert answer.status_code == 404
    assert "LIVE_PORT" in answer.json()["error"]


def test_signing_out_by_its_button_clears_the_browser_and_ends_the_session(
    client, desk, settings
):
    assert desk.get("/accounts/logout/").status_code == 405
    assert desk.get("/queue/").status_code == 200
    answer = desk.post("/accounts/logout/")
    assert answer["Clear-Site-Data"] == '"cache", "storage"'
    assert desk.get("/queue/").status_code == 302
    assert "Strict-Transport-Security" not in client.get("/healthz")
    settings.HTTPS = True
    assert "max-age=31536000" in client.get("/healthz")["Strict-Transport-Security"]


@pytest.mark.slow
def test_refused_form_lists_what_is_wrong_above_its_fields(client, signed_in):
    wrong = {}
    refused = set()
    for name, walk in standing_before(client, signed_in, sorted(DOORS)):
        if DOORS[name].reach == "public" or not takes_a_form(name):
            continue
        walk.become(Persona(Role.REVIEWER, "everything"))
        walk.become(Persona(Role.ADMIN, "everything"))
        sent = DOORS[name].fields or dict
        answer = client.post(walk.address(name), dict.fromkeys(sent(walk), ""))
        if answer.status_code == 422 and "<main" in answer.text:
            above, *fields = re.split(r'id="([\w-]+)_error"', answer.text)
            missing = {one for one in fields[::2] if f'href="#{one}"' not in above}
            if missing or 'role="alert"' not in answer.text:
                wrong[name] = missing
            refused.add(name)
    assert wrong == {}
    assert refused >= {"edit-message", "export", "compare-ledger", "assign"}
