"""What the gateway does not offer says so, in JSON and with what to use instead."""

import pytest

PATHS = [
    ("GET", "/v1/emails"),
    ("POST", "/v1/emails/send"),
    ("GET", "/v1/emails/inbox"),
    ("GET", "/v1/emails/pending"),
    ("POST", "/v1/emails/01X/decide"),
    ("POST", "/v1/emails/01X/report-spam"),
    ("POST", "/v1/emails/01X/not-spam"),
    ("POST", "/v1/account"),
    ("POST", "/v1/account/challenge"),
    ("POST", "/v1/account/resend-confirmation"),
    ("POST", "/v1/confirm"),
    ("GET", "/v1/slug-check/acme"),
    ("POST", "/v1/billing/portal"),
    ("GET", "/v1/export"),
    ("GET", "/v1/approve/token"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_route_left_out_says_so_and_names_another(world, method, path):
    answer = world.call(method, path)
    assert answer.status_code == 501
    assert answer.json()["code"] == "not_implemented"
    assert answer.json()["error"].count(".") >= 2


def test_openapi_document_does_not_list_what_is_left_out(world):
    paths = world.call("GET", "/openapi.json", key=None).json()["paths"]
    assert not [path for path in paths if path.startswith(("/v1/emails", "/v1/billing"))]
