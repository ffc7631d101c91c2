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
from common.smtp import Server
from dashboard.env import env_secret, env_server
from simple_form.data import rows

# How a variable is read, and a value that does not do.
READERS = {
    "whole number": partial(env_int, default=1),
    "choice": partial(env_choice, default="a", choices=("a", "b")),
    "url": partial(env_url, default=""),
    "origin": partial(env_origin, default=""),
    "dsn": env_dsn,
    "secret": partial(env_secret, at_least=32),
    "mail server": env_mail_url,
    "server": env_server,
}
BAD = list(
    rows("""
whole number  -1
choice        c
choice        yes
url           ftp://host
url           desk.example
url           https://
url           http://x:0
url           http://x:99999
origin        https://desk.example/desk
origin        https://desk.example?a
origin        https://a..example
dsn           sentry.example
dsn           https://sentry.example/7
dsn           https://key@sentry.example/
secret        guessed
mail server   http://mail.example
mail server   smtp://x?tls=require
server        resolver.example
server        10.0.0.2:http
""")
)


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
    for kind, value in BAD:
        monkeypatch.setenv("X", value)
        with pytest.raises(BadVariable, match=r"^X must"):
            pytest.fail(f"{value!r} was read as {READERS[kind]('X')!r}")


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
    for url in ("smtp://x.example:465", "smtps://x.example"):
        assert Server.from_url(url).implicit_tls, url
    assert not Server.from_url("smtp://x.example:587").implicit_tls
