"""The ids under which callers know their requests, and what logs never hold."""

import logging

import pytest

from common.logs import JsonFormatter, given_id, mask_secrets

W3C = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (["req_7.a-B"], "req_7.a-B"),
        ([None, f"00-{W3C}-00f067aa0ba902b7-01"], W3C),
        (["req-7", f"00-{W3C}-00f067aa0ba902b7-01"], "req-7"),
        (["two words", f"00-{W3C}-00f067aa0ba902b7-00"], W3C),
        (["x" * 65, "dana@northwind.example", "né", "a\nb", {"a": 1}, None, ""], ""),
        (["mm_live_0123456789abcdef"], ""),
    ],
)
def test_given_id_is_the_first_that_a_log_and_a_header_can_carry(values, found):
    assert given_id(*values) == found


def test_secrets_are_hidden_in_texts_fields_and_errors():
    secrets = ["mm_live_abc123", "whsec_abc/123", "/join/abcdefghijklmnopqrstuvwx"]
    text = " ".join([*secrets, "/api/webhooks/77/token-x"])
    assert mask_secrets(text) == (
        "mm_live_[hidden] whsec_[hidden] /join/[hidden] /api/webhooks/77/[hidden]"
    )
    record = logging.makeLogRecord({"msg": "%s", "args": (text,), "field": text})
    line = JsonFormatter().format(record)
    assert line.count("[hidden]") == 8
    assert "abc" not in line
