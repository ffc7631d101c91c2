"""Remote pictures on request: fetched once by the desk, drawn again, shown as a view,
and in the ledger.
"""

import base64
import io
import re
import struct
import threading
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.urls import reverse
from PIL import ExifTags, Image

from approvals import pictures
from approvals.message_page.sheet import rendered_message_of
from approvals.pictures import load_pictures
from audit.models import Entry
from audit.trail import lines
from common.postgres import clock
from mirror.attachments.parsed import draw_picture
from mirror.models import Mailbox, Message, RemotePicture
from mirror.sync import retention
from policy.kill_switch import pull
from tests.factories import (
    actor_of,
    change_row,
    make_connection,
    make_message,
    show_row,
)
from tests.integration.deciding import Killed, die
from tests.markup import words_of
from tests.picture_server import PNG, picture_server, png

CAPTION = "the recipient may see another picture"


@pytest.fixture
def server(monkeypatch):
    with picture_server() as running:
        monkeypatch.setattr(pictures, "ALLOWED", (running.url,))
        yield running


@pytest.fixture
def connection(db):
    made = make_connection()
    made.mailboxes.update(loads_pictures=True)
    return made


@pytest.fixture
def hold(connection, server):
    """Hold a message with these pictures of the server, and what the server has at
    their paths.
    """

    def hold(**pictures):
        server.answers |= {f"/{name}": answer for name, answer in pictures.items()}
        return make_message(
            connection,
            html_body=body_of(*(f"{server.url}/{name}" for name in pictures)),
        )

    return hold


def body_of(*urls):
    return "<p>Hello</p>" + "".join(f'<img src="{url}" width="300">' for url in urls)


def press(client, message, *, fingerprint="", headers=None):
    message.refresh_from_db()
    fields = {"fingerprint": fingerprint or message.revision.fingerprint}
    return client.post(
        reverse("load-pictures", args=[message.public_id]), fields, headers=headers
    )


def work():
    """Run the worker's task for all that is due."""
    return [
        load_pictures(picture_id=pk)
        for pk in RemotePicture.objects.due().values_list("pk", flat=True)
    ]


def load(client, message):
    """Press the button, and run the worker's task."""
    press(client, message)
    return work()


def frame(client, message):
    return client.get(reverse("message-body", args=[message.public_id]))


def strip(client, message):
    page = client.get(reverse("message", args=[message.public_id])).text
    return words_of(page.partition('id="strip"')[2].partition('class="jumps"')[0])


def told(action):
    return lines(Entry.objects.of_action(action).oldest_first())


def drawn_in(document):
    return [
        base64.b64decode(one)
        for one in re.findall(r'src="data:image/png;base64,([^"]+)"', document)
    ]


def made(kind, size=(8, 8), **more):
    """A picture of this kind."""
    file = io.BytesIO()
    Image.new("RGB", size, "blue").save(file, kind, **more)
    return file.getvalue()


def test_pictures_are_fetched_once_drawn_again_and_shown_as_a_view(
    signed_in, reviewer, second_reviewer, hold, server
):
    message = hold(
        lamp=png(says=b"hostile words"), grey=made("JPEG"), turns=made("GIF")
    )
    fingerprint = message.revision.fingerprint
    kept = rendered_message_of(message.revision).document
    desk = signed_in(reviewer)
    assert "Load 3 remote pictures" in strip(desk, message)
    assert press(desk, message, fingerprint="0" * 64).status_code == 409
    press(desk, message)
    desk = signed_in(second_reviewer)
    press(desk, message)
    assert "Fetching 3 remote pictures" in strip(desk, message)
    assert server.asked == []
    assert work() == ["3 of 3 loaded"]
    press(desk, message)
    assert work() == []
    assert sorted(server.paths) == ["/grey", "/lamp", "/turns"]
    for _, headers in server.asked:
        assert headers["User-Agent"] == "Mozilla/5.0"
        assert {"Cookie", "Referer", "Authorization"} & {*headers} == set()
    answer = frame(desk, message)
    document = answer.text
    pictures = drawn_in(document)
    sizes = [struct.unpack(">II", one[16:24]) for one in pictures]
    assert sizes == [(40, 30), (8, 8), (8, 8)]
    assert document.count(CAPTION) == 3
    assert b"hostile" not in b"".join(pictures)
    assert server.url not in document
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "3 of 3 remote pictures loaded" in strip(desk, message)
    # What is approved knows nothing of them.
    message.refresh_from_db()
    assert message.revision.fingerprint == fingerprint
    assert rendered_message_of(message.revision).document == kept


def test_request_and_outcome_are_in_the_ledger_with_hosts_and_without_addresses(
    signed_in, reviewer, hold
):
    message = hold(lamp=png(), gone=(404, {}, b""))
    press(signed_in(reviewer), message)
    press(signed_in(reviewer), message)
    work()
    (asked,), (fetched,) = told("pictures.asked"), told("pictures.fetched")
    assert asked.actor_id == str(reviewer.pk)
    assert asked.fingerprint == message.revision.fingerprint
    assert asked.details["pictures"] == "2"
    assert fetched.actor_id == "pictures"
    assert fetched.message == message.public_id
    assert fetched.details["loaded"] == "1 of 2"
    assert fetched.details["not_loaded"] == "1 its server answered 404"
    for line in (asked, fetched):
        assert line.details["hosts"] == "127.0.0.1 (2)"
        assert "lamp" not in str(line.details)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            (302, {"Location": "http://169.254.169.254/latest/"}, b""),
            "not one of the open internet",
        ),
        ((302, {"Location": "file:///etc/passwd"}, b""), "not one of the web"),
        ((302, {"Location": "/one", "Set-Cookie": "a=b"}, b""), "redirects too often"),
        ((500, {}, png()), "its server answered 500"),
        (png() + bytes(3 * 1024 * 1024), "larger than 2 MB"),
        ((200, {"Content-Type": "image/png"}, b"<svg/>"), "an SVG drawing"),
        (png(30_000, 30_000, rows=bytes(9)), "30,000 × 30,000 pixels"),
        (png(400, 300, rows=bytes(9)), "damaged"),
        (png(1, 1), "tracking pixel: 1 × 1 pixels"),
    ],
)
def test_what_is_no_plain_picture_is_refused_and_its_box_says_why(
    desk, hold, server, answer, words
):
    message = hold(one=answer)
    load(desk, message)
    row = RemotePicture.objects.get()
    is_failed = "500" in words
    assert row.state == ("failed" if is_failed else "refused")
    assert row.content is None
    document = frame(desk, message).text
    assert words in document
    assert drawn_in(document) == []
    asked = len(server.asked)
    load(desk, message)
    assert (len(server.asked) > asked) == is_failed
    # Each redirect is a request of its own: nothing that a server set goes along.
    assert not any("Cookie" in headers for _, headers in server.asked)


def test_slow_server_is_given_up_and_the_others_are_loaded(
    desk, hold, server, monkeypatch
):
    message = hold(slow=png(), lamp=png())
    released = threading.Event()
    server.meanwhile["/slow"] = released.wait
    monkeypatch.setattr(pictures, "ONE_LIMIT", 0.3)
    assert load(desk, message) == ["1 of 2 loaded"]
    released.set()
    assert "its server took too long" in frame(desk, message).text
    monkeypatch.setattr(pictures, "ONE_LIMIT", 10.0)
    del server.meanwhile["/slow"]
    assert load(desk, message) == ["1 of 1 loaded"]
    assert server.paths.count("/lamp") == 1


def test_time_and_bytes_of_a_message_are_limited_together(
    desk, hold, server, monkeypatch
):
    big = png(300, 200, says=bytes(3000))
    message = hold(one=big, two=big, three=big)
    monkeypatch.setattr(pictures, "MAX_ALL_BYTES", 5000)
    load(desk, message)
    reasons = RemotePicture.objects.order_by("pk").values_list("reason", flat=True)
    assert list(reasons) == ["", "too_many", "too_many"]
    RemotePicture.objects.update(state="failed")
    monkeypatch.setattr(pictures, "ALL_LIMIT", 0.5)
    asked = len(server.asked)
    load(desk, message)
    assert {*reasons.all()} == {"late"}
    assert len(server.asked) == asked


def test_no_more_than_twenty_and_no_tracking_pixel_is_fetched(desk, connection, server):
    urls = [f"{server.url}/p{number}.png" for number in range(25)]
    pixel = f'<img src="{server.url}/o?u=17" width="1" height="1">'
    message = make_message(connection, html_body=body_of(*urls, urls[0]) + pixel)
    said = strip(desk, message)
    assert "Load 20 of 25 remote pictures" in said
    assert "1 tracking pixel" in said
    load(desk, message)
    assert {*server.paths} == {f"/p{number}.png" for number in range(20)}
    document = frame(desk, message).text
    assert "(tracking pixel: 1 × 1 pixels)" in document
    assert pictures.BEYOND in document


def test_worker_that_dies_is_followed_and_no_server_is_asked_twice_unasked(
    desk, hold, server, monkeypatch
):
    message = hold(lamp=png(), grey=png())
    press(desk, message)
    with monkeypatch.context() as crash:
        crash.setattr(pictures, "draw_picture", die)
        with pytest.raises(Killed):
            work()
    assert work() == []
    RemotePicture.objects.update(lease_until=clock() - timedelta(seconds=1))
    assert work() == ["1 of 2 loaded"]
    assert server.paths == ["/lamp", "/grey"]
    assert "the worker stopped while it was fetched" in frame(desk, message).text
    assert "Try 1 again" in strip(desk, message)
    assert load(desk, message) == ["1 of 1 loaded"]
    assert server.paths == ["/lamp", "/grey", "/lamp"]


def test_late_end_of_an_older_worker_changes_nothing(desk, hold):
    press(desk, hold(lamp=png()))
    row = RemotePicture.objects.get()
    # Another worker took it over.
    change_row(row, tries=2)
    assert not RemotePicture.objects.settle(row, to="loaded", content=b"late")


@pytest.mark.parametrize("change", ["off", "stopped", "changed"])
def test_what_is_not_allowed_any_more_is_not_fetched(
    desk, hold, server, reviewer, admin, change
):
    message = hold(lamp=png())
    press(desk, message)
    if change == "off":
        # As it is before an admin allows it.
        Mailbox.objects.update(loads_pictures=Mailbox().loads_pictures)
    elif change == "stopped":
        pull(actor=actor_of(reviewer), reason="Wait")
    else:
        show_row(message, html_body=body_of(f"{server.url}/lamp") + "!")
    work()
    row = RemotePicture.objects.get()
    assert row.state == "failed"
    assert row.reason == change
    assert server.asked == []
    if change != "changed":
        assert press(desk, message).status_code == (403 if change == "off" else 409)
        assert pictures.reason_of(row) in frame(desk, message).text
    if change == "off":
        Mailbox.objects.update(loads_pictures=True)
        assert load(desk, message) == ["1 of 1 loaded"]


def test_bytes_go_with_those_of_the_message_and_what_became_of_them_stays(desk, hold):
    message = hold(lamp=png())
    load(desk, message)
    RemotePicture.objects.update(fetched_at=Now() - timedelta(days=400))
    assert retention.forget()["pictures"] == 0
    Message.objects.update(state="sent", changed_at=Now() - timedelta(days=31))
    assert retention.forget()["pictures"] == 1
    row = RemotePicture.objects.get()
    assert row.state == "deleted"
    assert row.content is None
    document = frame(desk, message).text
    assert "fetched by the desk once, and deleted here since" in document
    assert drawn_in(document) == []


def test_erasure_removes_bytes_and_ends_what_still_waits(desk, hold, server):
    message = hold(lamp=png(), grey=png())
    press(desk, message)
    RemotePicture.objects.filter(url__endswith="lamp").update(
        state="loaded", content=PNG, is_recorded=True
    )
    Message.objects.update(state="sent")
    assert retention.remove_copies(Message.objects.get()).pictures == 1
    assert not RemotePicture.objects.exclude(state="deleted", content=None).exists()
    assert work() == []
    assert server.asked == []


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "PNG"])
def test_picture_is_drawn_the_right_way_up_without_what_is_said_in_it(form):
    said = Image.Exif()
    said[ExifTags.Base.Orientation] = 6
    said[ExifTags.Base.Artist] = "Dana Whitfield"
    drawn = draw_picture(made(form, (1200, 60), exif=said) + b"<script>")
    with Image.open(io.BytesIO(drawn)) as picture:
        assert picture.format == "PNG"
        assert picture.size == (60, 1200)
        assert picture.convert("RGB").getpixel((0, 0))[2] > 250
    assert b"Dana" not in drawn
    assert b"script" not in drawn
