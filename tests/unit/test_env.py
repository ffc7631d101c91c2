"""The environment: a missing or bad variable stops the start with a sentence that names
it.
"""

from functools import partial

import pytest

from common.env import (
    BadVariable,
    env_choice,
    env_dsn,
    env_int,
    env_list,
    env_mail_url,
    env_origin,
    env_str,
    env_url,
)
from dashboard.env import env_secret, env_server

# How it is read, and values that do not do.
BAD = [
    (lambda: env_int("X", 1), ["-1"]),
    (lambda: env_choice("X", "a", ("a", "b")), ["c", "yes"]),
    (
        lambda: env_url("X", ""),
        ["ftp://host", "desk.example", "https://", "http://x:0", "http://x:99999"],
    ),
    (
        lambda: env_origin("X", ""),
        ["https://desk.example/desk", "https://desk.example?a", "https://a..example"],
    ),
    (
        lambda: env_dsn("X"),
        ["sentry.example", "https://sentry.example/7", "https://key@sentry.example/"],
    ),
    (lambda: env_secret("X", at_least=32), ["guessed"]),
    (
        lambda: env_mail_url("X"),
        [
            "http://mail.example",
            "smtp://x?tls=require",
        ],
    ),
    (lambda: env_server("X"), ["resolver.example", "10.0.0.2:http"]),
]


def test_variable_that_is_missing_or_cannot_be_read_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv("SECRET_KEY", raising=False)
    with pytest.raises(
        BadVariable,
        match=r"SECRET_KEY is not set.*docs/operators/configure\.md",
    ):
        env_str("SECRET_KEY")
    (tmp_path / "key").write_text("from a file\n")
    monkeypatch.setenv("SECRET_KEY_FILE", str(tmp_path / "key"))
    assert env_str("SECRET_KEY") == "from a file"


def test_bad_value_is_named(monkeypatch):
    for read, values in BAD:
        for value in values:
            monkeypatch.setenv("X", value)
            with pytest.raises(BadVariable, match=r"^X must"):
                pytest.fail(f"{value!r} was read as {read()!r}")


def test_lists_servers_and_mail_addresses_are_read(monkeypatch):
    def read(reader, value):
        monkeypatch.setenv("X", value)
        return reader("X")

    assert read(env_list, " a, ,b ,") == ["a", "b"]
    servers = {
        "10.0.0.2": ("10.0.0.2", 53),
        "10.0.0.2:5353": ("10.0.0.2", 5353),
        "::1": ("::1", 53),
    }
    servers |= {"[::1]:5353": ("::1", 5353), "": None}
    assert {value: read(env_server, value) for value in servers} == servers
    origins = {
        "https://Desk.Example:443/": "https://desk.example",
        "http://bücher.example": "http://xn--bcher-kva.example",
    }
    assert {
        one: read(partial(env_origin, default=""), one) for one in origins
    } == origins
    mail = ["", "smtp://user:p%40ss@x.example:25?tls=required&dsn=1", "smtps://x"]
    assert [read(env_mail_url, value) for value in mail] == mail
