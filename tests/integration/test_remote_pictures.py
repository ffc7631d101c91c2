"""Remote pictures on request: fetched once by the desk, shown beside the message, and in
the ledger.
"""

import contextlib
import io
import threading
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.urls import reverse
from PIL import Image

from approvals import pictures
from approvals.pictures import fetch_pictures
from audit.models import Entry
from mirror.models import RemotePicture
from policy.kill_switch import pull
from tests.factories import actor_of, make_connection, make_message
from tests.markup import says
from tests.serving import standing_in


def picture(width=40, height=30, kind="PNG"):
    file = io.BytesIO()
    Image.new("RGB", (width, height), "blue").save(file, kind)
    return file.getvalue()


class PictureServer:
    """`answers` maps a path to (status, headers, body); `asked` are paths and headers."""

    def __init__(self):
        self.url = ""
        self.answers = {}
        self.asked = []

    def answer(self, handler):
        self.asked.append((handler.path, dict(handler.headers)))
        status, headers, body = self.answers[handler.path]
        if isinstance(body, threading.Event):
            body.wait(30)
            body = b""
        with contextlib.suppress(OSError):
            handler.reply(status, body, **headers)


@pytest.fixture
def server(monkeypatch):
    made = PictureServer()
    with standing_in(made, lambda handler: made.answer(handler)) as running:
        monkeypatch.setattr(pictures, "ALLOWED", (running.url,))
        yield running


@pytest.fixture
def connection(db):
    made = make_connection()
    made.mailboxes.update(loads_pictures=True)
    return made


def hold(connection, *urls):
    tags = "".join(f'<img src="{url}" width="300">' for url in urls)
    return make_message(connection, html_body=f"<p>Hello</p>{tags}")


def press(client, message, fingerprint=""):
    fields = {"fingerprint": fingerprint or message.revision.fingerprint}
    return client.post(reverse("load-pictures", args=[message.public_id]), fields)


def page(client, message):
    return client.get(reverse("message", args=[message.public_id]))


def test_pictures_are_fetched_once_shown_apart_and_in_the_ledger(
    signed_in, reviewer, connection, server
):
    server.answers = {
        "/a": (200, {"Set-Cookie": "a=b"}, picture()),
        "/b": (200, {}, picture(kind="JPEG")),
    }
    message = hold(connection, f"{server.url}/a", f"{server.url}/b")
    client = signed_in(reviewer)
    says(
        page(client, message), 200, "2 remote parts not loaded", "Load remote pictures"
    )
    assert press(client, message, "0" * 64).status_code == 409
    for _ in range(2):
        assert press(client, message).status_code == 302
    assert server.asked == []
    says(page(client, message), 200, "Fetching…")
    assert fetch_pictures(message.pk) == "2 of 2 loaded"
    assert fetch_pictures(message.pk) == "nothing to do"
    press(client, message)
    assert fetch_pictures(message.pk) == "nothing to do"
    assert [path for path, _ in server.asked] == ["/a", "/b"]
    for _, headers in server.asked:
        assert {"Cookie", "Referer", "Authorization"} & {*headers} == set()
    says(page(client, message), 200, "2 of 2 loaded")
    shown = client.get(reverse("picture-view", args=[message.public_id, 1]))
    assert "data:image/png;base64," in shown.text
    assert shown.headers["Content-Security-Policy"].startswith("default-src 'none'")
    (asked,) = Entry.objects.of_action("pictures.asked")
    (fetched,) = Entry.objects.of_action("pictures.fetched")
    assert (asked.actor_id, fetched.actor_id) == (str(reviewer.pk), "pictures")
    # What is approved knows nothing of them.
    before = message.revision.fingerprint
    message.refresh_from_db()
    assert message.fingerprint == before


def test_only_where_an_admin_allows_it_and_no_switch_is_pulled(
    signed_in, reviewer, admin, connection, server
):
    message = hold(connection, f"{server.url}/a")
    client = signed_in(reviewer)
    connection.mailboxes.update(loads_pictures=False)
    assert "Load remote pictures" not in page(client, message).text
    says(press(client, message), 403, "An admin can allow it")
    connection.mailboxes.update(loads_pictures=True)
    press(client, message)
    RemotePicture.objects.update(state="waiting")
    connection.mailboxes.update(loads_pictures=False)
    assert fetch_pictures(message.pk) == "0 of 1 loaded"
    assert "switched remote pictures off" in RemotePicture.objects.get().problem
    connection.mailboxes.update(loads_pictures=True)
    RemotePicture.objects.update(state="waiting", problem="")
    pull(connection=None, mailbox=None, reason="Stop", actor=actor_of(admin))
    says(press(client, message), 403, "kill switch is pulled")
    assert fetch_pictures(message.pk) == "0 of 1 loaded"
    assert server.asked == []


@pytest.mark.slow
def test_private_addresses_stalling_servers_and_dead_workers_are_not_asked_again(
    connection, server, reviewer, signed_in, monkeypatch
):
    stalls = threading.Event()
    server.answers = {"/a": (200, {}, stalls)}
    monkeypatch.setattr(pictures, "ONE_LIMIT", 1.0)
    message = hold(
        connection, f"{server.url}/a", "https://127.0.0.1:1/b", "https://img.example/c"
    )
    press(signed_in(reviewer), message)
    # Its worker died.
    RemotePicture.objects.filter(place=3).update(state="fetching")
    assert fetch_pictures(message.pk) == "0 of 2 loaded"
    stalls.set()
    stalled, private, begun = RemotePicture.objects.order_by("place")
    assert "No answer within 1 second" in stalled.problem
    assert "private address" in private.problem
    assert begun.state == "fetching"
    assert fetch_pictures(message.pk) == "nothing to do"
    # Asking again says that it will not come.
    RemotePicture.objects.update(asked_at=Now() - timedelta(hours=1))
    press(signed_in(reviewer), message)
    begun.refresh_from_db()
    assert (begun.state, begun.problem[:16]) == ("failed", "The desk stopped")
