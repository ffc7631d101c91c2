"""Tracking pixels are told from pictures by what the message says of them."""

import base64
import hashlib

import pytest

from common.fingerprint import Content
from rendering.pictures import web_address
from rendering.render import render_message

CODE = "its address holds a code that can tell who opened the message"
NAME = "its address names the recipient"
DANA = "dana@northwind.example"
IN_BASE64 = base64.urlsafe_b64encode(b"to=Dana@Northwind.example").decode().rstrip("=")
TRACKING = {
    'src="https://a.example/o.gif" width="1" height="1"': "1 × 1 pixels",
    'src="https://a.example/o.gif" width="2px" height="2"': "2 × 2 pixels",
    'src="https://a.example/o.gif" height="0"': "? × 0 pixels",
    'src="https://a.example/o.gif" style="width:1px;height:1px"': "1 × 1 pixels",
    'src="https://a.example/o.gif" style="display:none"': "1 × 1 pixels",
    'src="https://a.example/o.gif?to=dana%40northwind.example" width="600"': NAME,
    f'src="https://a.example/{hashlib.md5(DANA.encode()).hexdigest()}.png" width="600"': NAME,
    f'src="https://a.example/o/{IN_BASE64}/open"': NAME,
    'src="https://a.example/o?id=7f3a9c21d4e8b605"': CODE,
    'src="https://a.example/w/7f3a9c21-d4e8-b605-11aa-0123456789ab/x.gif"': CODE,
}
PLAIN = (
    'src="https://a.example/logo.png"',
    'src="https://a.example/spring-newsletter-2026/header_v2.png" width="600"',
    'src="https://a.example/img/7f3a9c21d4e8b605.png" width="600" height="200"',
    'src="https://a.example/line.gif" width="600" height="1"',
    'src="https://a.example/logo.png?v=1732345678" width="10%"',
)


def test_tracking_pixels_are_named_in_their_boxes_and_pictures_are_not():
    for attributes, reason in (*TRACKING.items(), *((one, "") for one in PLAIN)):
        html = f"<p>Hi</p><img {attributes}>"
        shown = render_message(Content(html=html, to=(DANA,)))
        (picture,) = shown.blocked
        assert picture.tracking == reason, attributes
        box = f"(tracking pixel: {reason})"
        assert (box in shown.document) == bool(reason), attributes
        assert shown.tracking_pixels == bool(reason), attributes


@pytest.mark.parametrize(
    ("written", "address"),
    [
        (" HTTPS://A.example\\a\n.png#top ", "https://a.example/a.png"),
        ("//a.example", "https://a.example/"),
        ("http://a.example?x", "http://a.example/?x"),
        ("ftp://a.example/a.png", ""),
        ("https://ana:pw@a.example/a.png", ""),
        ("a.png", ""),
        (f"https://a.example/{'a' * 3000}", ""),
    ],
)
def test_only_plain_addresses_of_the_web_are_read(written, address):
    assert web_address(written) == address
