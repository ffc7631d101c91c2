"""Cookies, origins and hosts, over http and over https (lines 43 and 54), and what a 404 gives away (line 48)."""

import json
import os
import re
import subprocess
import sys

import pytest
from django.conf import settings
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext

from common.addresses import came_unencrypted
from common.identifiers import uuid7
from tests.factories import make_connection, make_message, make_person

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"
OVER_HTTPS = "https://countersign.example.com"

# What a desk of other settings answers: asked in a process of its own, because settings are read once.
SIGN_IN = """
import json
import django
from django.conf import settings
settings.DATABASES["default"]["NAME"] = {name!r}
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
settings.STORAGES["staticfiles"] = {{"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
django.setup()
from django.test import Client
client = Client(enforce_csrf_checks=True, headers={{"Host": {host!r}}})
page = client.get("/accounts/login/", secure={secure})
token = client.cookies[settings.CSRF_COOKIE_NAME].value
posted = {{"login": "ana@yourteam.example", "password": "correct horse battery", "csrfmiddlewaretoken": token}}
answers = {{}}
for origin in {origins!r}:
    headers = {{"Origin": origin}} if origin else {{}}
    answers[origin] = client.post("/accounts/login/", posted, secure={secure}, headers=headers).status_code
cookies = [morsel.OutputString() for morsel in client.cookies.values()]
print(json.dumps({{"answers": answers, "cookies": cookies, "debug": settings.DEBUG}}))
"""


def run(command, **variables):
    kept = {name: value for name, value in os.environ.items() if name != "DJANGO_ALLOW_ASYNC_UNSAFE"}
    return subprocess.run(
        [sys.executable, *command],
        cwd=settings.BASE_DIR,
        env={**kept, "DJANGO_SETTINGS_MODULE": "dashboard.settings", **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def desk_at(url, *, host, origins):
    script = SIGN_IN.format(
        name=settings.DATABASES["default"]["NAME"], host=host, secure=url.startswith("https"), origins=origins
    )
    told = run(["-c", script], PUBLIC_URL=url, ALLOWED_HOSTS=host.partition(":")[0], DEMO="0")
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout.splitlines()[-1])


@pytest.fixture
def ana():
    return make_person("ana@yourteam.example", "Ana Ferreira", "reviewer")


def attributes(cookie):
    name, _, rest = cookie.partition("=")
    return name, {
        part.strip().partition("=")[0].lower(): part.strip().partition("=")[2] for part in rest.split(";")[1:]
    }


@pytest.mark.proves("security 43")
@pytest.mark.django_db(transaction=True)
def test_over_https_cookies_are_bound_to_the_host_and_origin_is_checked(ana):
    origins = ["https://evil.example", "null", "http://countersign.example.com", "", OVER_HTTPS]
    told = desk_at(OVER_HTTPS, host="countersign.example.com", origins=origins)
    # Without an Origin a browser's Referer counts, and there is none.
    assert told["answers"] == {**dict.fromkeys(origins, 403), OVER_HTTPS: 302}
    found = dict(map(attributes, told["cookies"]))
    assert set(found) == {"__Host-session", "__Host-csrf"}
    for told_of in found.values():
        assert {"secure", "httponly"} <= set(told_of)
        assert (told_of["path"], told_of["samesite"], told_of.get("domain")) == ("/", "Lax", None)
    assert told["debug"] is False


@pytest.mark.proves("security 43")
@pytest.mark.django_db(transaction=True)
def test_over_http_cookies_are_kept_from_scripts_and_origin_is_checked(ana):
    own, origins = (
        "http://127.0.0.1:8000",
        ["http://evil.example", "null", "http://127.0.0.1:9", "http://127.0.0.1:8000"],
    )
    told = desk_at(own, host="127.0.0.1:8000", origins=origins)
    assert told["answers"] == {**dict.fromkeys(origins, 403), own: 302}
    found = dict(map(attributes, told["cookies"]))
    assert len(found) == 2
    for name, told_of in found.items():
        # Cookies ignore ports: the name tells one desk of a host from the other.
        assert re.fullmatch(r"(session|csrf)-\d+", name)
        assert "httponly" in told_of
        assert "secure" not in told_of
        assert told_of["samesite"] == "Lax"


@pytest.mark.proves("security 43")
def test_form_without_its_token_does_nothing(ana):
    client = Client(enforce_csrf_checks=True)
    answer = client.post("/accounts/login/", {"login": ana.email, "password": PASSWORD})
    assert answer.status_code == 403


@pytest.mark.proves("security 54")
@pytest.mark.parametrize("url", [OVER_HTTPS, "http://countersign.example.com", "http://127.0.0.1:8000"])
def test_deployment_check_is_clean(url):
    told = run(["manage.py", "check", "--deploy", "--fail-level", "WARNING"], PUBLIC_URL=url, DEMO="0")
    assert told.returncode == 0, told.stderr


@pytest.mark.proves("security 54")
@pytest.mark.parametrize(
    ("url", "starts"), [(OVER_HTTPS, False), ("http://10.0.0.5", False), ("http://127.0.0.1:1", True)]
)
def test_desk_that_others_can_reach_never_shows_debug_pages(url, starts):
    told = run(["-c", "import django; django.setup()"], PUBLIC_URL=url, DEBUG="1", DEMO="0")
    assert (told.returncode == 0) is starts
    assert ("DEBUG must be 0" in told.stderr) is not starts


@pytest.mark.proves("security 54")
def test_error_tells_nothing_of_the_inside(connection, ana):
    client = Client(raise_request_exception=False)
    client.force_login(ana, backend="people.backend.PersonBackend")
    message = make_message(connection)
    type(message.revision).objects.filter(pk=message.revision_id).update(content=[])
    answer = client.get(f"/queue/{message.public_id}/")
    assert answer.status_code == 500
    for inside in (b"Traceback", b"settings", b"django", b"SELECT"):
        assert inside not in answer.content


@pytest.mark.proves("security 54")
@pytest.mark.parametrize(
    "host", ["evil.example", "testserver.evil.example", "testserver@evil.example", "127.0.0.1.nip.io"]
)
def test_only_named_hosts_are_answered(client, host):
    assert client.get("/accounts/login/", headers={"Host": host}).status_code == 400


@pytest.mark.proves("security 54")
@pytest.mark.parametrize("peer", ["192.0.2.1", "127.0.0.1"])
def test_scheme_is_believed_of_a_trusted_proxy_alone(rf, settings, peer):
    settings.TRUSTED_PROXIES = ["127.0.0.1"]
    request = rf.get("/", REMOTE_ADDR=peer, headers={"X-Forwarded-Proto": "http"})
    assert came_unencrypted(request) is (peer == "127.0.0.1")


@pytest.mark.proves("security 54")
def test_host_that_a_proxy_forwards_is_not_taken(client):
    answer = client.get("/accounts/login/", headers={"X-Forwarded-Host": "evil.example"})
    assert b"evil.example" not in answer.content
    assert answer.status_code == 200


# Of a message: its pages, and what its buttons press.
OF_A_MESSAGE = ("", "body/", "thread/", "approve/", "letter/")


@pytest.mark.proves("security 48")
@pytest.mark.parametrize("page", OF_A_MESSAGE)
@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}], ids=["page", "fragment"])
def test_message_of_others_is_as_one_that_does_not_exist(signed_in, page, headers):
    """The same answer, after the same questions to the database: what takes longer tells as much as what says more."""
    message = make_message(make_connection(), subject="Not for everybody")
    stranger = make_person("x@yourteam.example", "X", "reviewer", connection=make_connection("other"))
    client, answers = signed_in(stranger), []
    for public_id in (message.public_id, uuid7()):
        path = f"/queue/{public_id}/{page}"
        client.get(path, headers=headers)
        with CaptureQueriesContext(database) as asked:
            answer = client.get(path, headers=headers)
        body = re.sub(r'csrfmiddlewaretoken" value="[^"]+"|"X-CSRFToken": "[^"]+"', "", answer.content.decode())
        shapes = [re.sub(r"'[0-9a-f-]{32,36}'", "ID", one["sql"]) for one in asked.captured_queries]
        answers.append((answer.status_code, body.replace(str(public_id), "ID"), len(shapes)))
    assert answers[0] == answers[1]
    assert answers[0][0] == 404


@pytest.mark.proves("security 48")
@pytest.mark.parametrize("act", ["verdict", "undo", "claim", "snooze", "comments", "opened"])
def test_button_of_a_message_of_others_is_as_of_one_that_does_not_exist(signed_in, act):
    message = make_message(make_connection(), subject="Not for everybody")
    stranger = make_person("x@yourteam.example", "X", "reviewer", connection=make_connection("other"))
    client = signed_in(stranger)
    told = [client.post(f"/queue/{public_id}/{act}/") for public_id in (message.public_id, uuid7())]
    assert [answer.status_code for answer in told] == [404, 404]
    assert told[0].content == told[1].content
