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
from tests.walk import (
    PUBLIC,
    Persona,
    Walk,
    check_headers,
    go_through,
    standing_before,
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
    queue message message-view history audit rule pulse bulk-done account_login
    allowlists allowlist allowlist-history refusals
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


@pytest.mark.parametrize(
    "some", [NONSENSE[:1], pytest.param(NONSENSE[1:], marks=pytest.mark.slow)]
)
def test_ill_formed_cursor_id_or_date_is_the_first_page_or_400_never_500(
    client, signed_in, some
):
    walk = Walk(client, signed_in)
    walk.become(Persona(Role.REVIEWER, "everything"))
    for nonsense in some:
        query = urlencode(dict.fromkeys(ASKED, nonsense), errors="surrogatepass")
        asked = {
            name: client.get(f"{walk.address(name)}?{query}").status_code
            for name in ASKING
        }
        assert {
            name: status
            for name, status in asked.items()
            if status not in (200, 302, 400)
        } == {}, nonsense
        path = quote(nonsense, errors="surrogatepass", safe="")
        assert {client.get("/" + one.format(path)).status_code for one in BY_ID} <= {
            302,
            400,
            404,
        }, nonsense


def test_static_files_have_security_headers_too(client):
    for path in ("/static/css/nothing.css", "/%00/"):
        answer = client.get(path)
        assert answer.status_code in (400, 404), path
        check_headers(answer)
    answer = client.get("/static/css/rendered_message.css")
    assert answer.status_code == 200
    check_headers(answer, is_static=True)


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
        assert len(re.search(r"data-sentence>([^<]+)<", page)[1]) > 40, status
        assert ("ALLOWED_HOSTS" in page) == (status == 400)
        assert 'href="/queue/"' in page, status
        assert (f'href="/queue/{message.public_id}/"' in page) == (status == 405)
        assert [
            inside
            for inside in ("Traceback", "settings", "django", "SELECT")
            if inside in page
        ] == [], status
        check_headers(answer)
    client = Client(raise_request_exception=False)
    answer = client.post(
        "/accounts/login/", {f"field{number}": "" for number in range(1001)}
    )
    assert answer.status_code == 400
    assert "more than 1,000 fields" in answer.text


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


def test_signing_out_by_its_button_clears_the_browser_and_ends_the_session(
    signed_in, reviewer
):
    client = signed_in(reviewer)
    assert client.get("/accounts/logout/").status_code == 405
    assert client.get("/queue/").status_code == 200
    answer = client.post("/accounts/logout/")
    assert answer["Clear-Site-Data"] == '"cache", "storage"'
    assert client.get("/queue/").status_code == 302
