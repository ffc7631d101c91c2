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
from tests.factories import actor_of, make_connection, make_message, show_row
from tests.integration.deciding import Killed, die
from tests.markup import HTMX, words_of
from tests.picture_server import PNG, gif, jpeg, picture_server, png

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


def test_pictures_are_fetched_once_drawn_again_and_shown_as_a_view(
    signed_in, reviewer, second_reviewer, hold, server
):
    message = hold(lamp=png(says=b"hostile words"), grey=jpeg(), turns=gif())
    fingerprint = message.revision.fingerprint
    kept = rendered_message_of(message.revision).document
    for person in (reviewer, second_reviewer, reviewer):
        assert (
            "Load 3 remote pictures" in strip(signed_in(reviewer), message)
            or RemotePicture.objects.exists()
        )
        answer = press(signed_in(person), message)
        assert answer.headers["Location"].endswith("?view=rendered#sheet")
    desk = signed_in(second_reviewer)
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
    assert [struct.unpack(">II", one[16:24]) for one in pictures] == [
        (40, 30),
        (8, 8),
        (8, 6),
    ]
    assert document.count(CAPTION) == 3
    assert b"hostile" not in b"".join(pictures)
    assert server.url not in document
    assert answer.headers["Content-Security-Policy"].startswith(
        "default-src 'none'; img-src data:;"
    )
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
    assert asked.details["hosts"] == "127.0.0.1 (2)"
    assert fetched.actor_id == "pictures"
    assert fetched.message == message.public_id
    assert fetched.details["loaded"] == "1 of 2"
    assert fetched.details["not_loaded"] == "1 its server answered 404"
    assert fetched.details["hosts"] == "127.0.0.1 (2)"
    assert not any(
        "lamp" in value for line in (asked, fetched) for value in line.details.values()
    )


@pytest.mark.parametrize(
    ("answer", "state", "words"),
    [
        (
            (302, {"Location": "http://169.254.169.254/latest/"}, b""),
            "refused",
            "not one of the open internet",
        ),
        (
            (302, {"Location": "file:///etc/passwd"}, b""),
            "refused",
            "not one of the web",
        ),
        (
            (302, {"Location": "/one", "Set-Cookie": "a=b"}, b""),
            "refused",
            "it redirects too often",
        ),
        ((500, {}, png()), "failed", "its server answered 500"),
        (png() + bytes(3 * 1024 * 1024), "refused", "larger than 2 MB"),
        (
            (200, {"Content-Type": "image/png"}, b"<svg onload='alert(1)'/>"),
            "refused",
            "an SVG drawing",
        ),
        (b"\x00\x01\x02", "refused", "of an unknown kind"),
        (png(30_000, 30_000, rows=bytes(9)), "refused", "30,000 × 30,000 pixels"),
        (png(400, 300, rows=bytes(9)), "refused", "damaged"),
        (
            b"GIF89a\x08\0\x08\0\0\0\0,\0\0\0\0\x08\0\x08\0\0\x02\x02\xff\xff\0;",
            "refused",
            "damaged",
        ),
        (
            png(1, 1),
            "refused",
            "tracking pixel: 1 × 1 pixels, as the desk found once it was fetched",
        ),
    ],
)
def test_what_is_no_plain_picture_is_refused_and_its_box_says_why(
    desk, hold, server, answer, state, words
):
    message = hold(one=answer)
    load(desk, message)
    row = RemotePicture.objects.get()
    assert row.state == state
    assert row.content is None
    document = frame(desk, message).text
    assert words in document
    assert drawn_in(document) == []
    assert ("Try 1 again" in strip(desk, message)) == (state == "failed")
    asked = len(server.asked)
    load(desk, message)
    assert (len(server.asked) > asked) == (state == "failed")
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
    message = hold(
        **{
            f"p{number}": png(300, 200, says=bytes([number]) * 3000)
            for number in range(3)
        }
    )
    monkeypatch.setattr(pictures, "MAX_ALL_BYTES", 5000)
    load(desk, message)
    assert [row.reason for row in RemotePicture.objects.order_by("pk")] == [
        "",
        "too_many",
        "too_many",
    ]
    RemotePicture.objects.update(state="failed")
    monkeypatch.setattr(pictures, "ALL_LIMIT", 0.5)
    asked = len(server.asked)
    load(desk, message)
    assert {*RemotePicture.objects.values_list("reason", flat=True)} == {"late"}
    assert len(server.asked) == asked


def test_no_more_than_twenty_and_no_tracking_pixel_is_fetched(desk, connection, server):
    urls = [f"{server.url}/p{number}.png" for number in range(25)]
    pixels = f'<img src="{server.url}/o?u=17" width="1" height="1"><p hidden><img src="{server.url}/hid.png"></p>'
    message = make_message(connection, html_body=body_of(*urls, urls[0]) + pixels)
    said = strip(desk, message)
    assert "Load 20 of 25 remote pictures" in said
    assert "2 tracking pixels" in said
    load(desk, message)
    assert sorted(server.paths) == sorted(f"/p{number}.png" for number in range(20))
    document = frame(desk, message).text
    for words in ("(tracking pixel: 1 × 1 pixels)", pictures.BEYOND):
        assert words in document


def test_worker_that_dies_is_followed_and_no_server_is_asked_twice_unasked(
    desk, hold, server, monkeypatch
):
    message = hold(lamp=png(), grey=jpeg())
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
    assert [line.details["loaded"] for line in told("pictures.fetched")] == [
        "1 of 2",
        "1 of 1",
    ]


def test_late_end_of_an_older_worker_changes_nothing(desk, hold, server, monkeypatch):
    message = hold(lamp=png())
    press(desk, message)

    def another_takes_over():
        RemotePicture.objects.update(lease_until=clock() - timedelta(seconds=1))
        assert work() == ["0 of 1 loaded"]

    monkeypatch.setattr(
        pictures, "download", lambda *_, **__: another_takes_over() or die()
    )
    with pytest.raises(Killed):
        work()
    row = RemotePicture.objects.get()
    assert row.state == "failed"
    assert row.reason == "interrupted"
    assert not RemotePicture.objects.settle(row, to="loaded", content=b"late")


@pytest.mark.parametrize("change", ["off", "stopped", "changed"])
def test_what_is_not_allowed_any_more_is_not_fetched(
    desk, hold, server, reviewer, admin, change
):
    message = hold(lamp=png())
    press(desk, message)
    if change == "off":
        Mailbox.objects.update(loads_pictures=False)
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


def test_mailbox_is_off_by_default_and_another_version_is_not_fetched(
    desk, hold, server, reviewer
):
    message = hold(lamp=png())
    assert press(desk, message, fingerprint="0" * 64).status_code == 409
    Mailbox.objects.update(
        loads_pictures=Mailbox._meta.get_field("loads_pictures").default
    )
    assert "Load 1" not in strip(desk, message)
    answer = press(desk, message)
    assert answer.status_code == 403
    assert "An admin can allow it there." in answer.text
    assert not RemotePicture.objects.exists()


def test_with_scripts_the_sheet_is_swapped_and_asks_until_all_are_over(desk, hold):
    message = hold(lamp=png())
    sheet = press(desk, message, headers=HTMX).text
    assert 'hx-trigger="load delay:2s"' in sheet.partition('id="pictures"')[2]
    asking = reverse("message-pictures", args=[message.public_id])
    assert desk.get(asking, headers=HTMX).text.lstrip().startswith("<span")
    RemotePicture.objects.update(asked_at=Now() - timedelta(minutes=1))
    late = desk.get(asking, headers=HTMX).text
    assert "which may be away" in late
    assert "Ask again" in late
    work()
    done = desk.get(asking, headers=HTMX)
    assert done.headers["HX-Retarget"] == "#sheet"
    assert 'id="sheet"' in done.text


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
    message = hold(lamp=png(), grey=jpeg())
    press(desk, message)
    RemotePicture.objects.filter(url__endswith="lamp").update(
        state="loaded", content=PNG, is_recorded=True
    )
    Message.objects.update(state="sent")
    assert retention.remove_copies(Message.objects.get()).pictures == 1
    assert {*RemotePicture.objects.values_list("state", "content")} == {
        ("deleted", None)
    }
    assert work() == []
    assert server.asked == []


def pixels_of(drawn):
    with Image.open(io.BytesIO(drawn)) as picture:
        return picture.convert("RGBA").tobytes()


def test_gif_is_drawn_as_it_is_on_its_screen():
    pixels = pixels_of(draw_picture(gif(2, 1, at=(1, 1), screen=(4, 2))))
    red = b"\xff\0\0\xff"
    blue = b"\0\0\xff\xff"
    clear = bytes(4)
    assert pixels[20:28] == red + blue
    assert {pixels[at : at + 4] for at in (*range(0, 20, 4), 28)} <= {clear, red}


def test_picture_keeps_its_pixels_and_loses_the_rest():
    drawn = draw_picture(png(3, 2, says=b"words") + b"<script>")
    assert pixels_of(drawn) == b"\x10\x20\xc0\xff" * 6
    assert b"words" not in drawn
    assert b"script" not in drawn


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "PNG"])
def test_picture_is_drawn_the_right_way_up_without_what_is_said_in_it(form):
    said = Image.Exif()
    said[ExifTags.Base.Orientation] = 6
    said[ExifTags.Base.Artist] = "Dana Whitfield"
    taken = io.BytesIO()
    Image.new("RGB", (1200, 60), "blue").save(taken, form, exif=said)
    drawn = draw_picture(taken.getvalue())
    with Image.open(io.BytesIO(drawn)) as picture:
        assert picture.format == "PNG"
        assert picture.size == (60, 1200)
    assert b"Dana" not in drawn
