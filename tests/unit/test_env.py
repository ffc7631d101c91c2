"""The environment: a missing or bad variable stops the start with a sentence that names it."""

import subprocess
import sys

import pytest
from django.core.exceptions import ImproperlyConfigured

from dashboard.env import (
    env_bool,
    env_choice,
    env_int,
    env_list,
    env_mail_url,
    env_secret,
    env_server,
    env_str,
    env_url,
)


def test_missing_variable_is_named(monkeypatch):
    monkeypatch.delenv("SECRET_KEY", raising=False)
    with pytest.raises(ImproperlyConfigured, match=r"SECRET_KEY is not set.*docs/operators\.md"):
        env_str("SECRET_KEY")


def test_variable_may_stand_in_a_file(monkeypatch, tmp_path):
    (tmp_path / "key").write_text("from a file\n")
    monkeypatch.setenv("SECRET_KEY_FILE", str(tmp_path / "key"))
    assert env_str("SECRET_KEY") == "from a file"


def test_file_that_cannot_be_read_is_named(monkeypatch):
    monkeypatch.setenv("SECRET_KEY_FILE", "/nowhere/key")
    with pytest.raises(ImproperlyConfigured, match="SECRET_KEY_FILE points to /nowhere/key"):
        env_str("SECRET_KEY")


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (lambda: env_bool("X", False), "yes"),
        (lambda: env_int("X", 1), "-1"),
        (lambda: env_int("X", 1), "8000a"),
        (lambda: env_choice("X", "a", ("a", "b")), "c"),
        (lambda: env_url("X", ""), "ftp://host"),
        (lambda: env_url("X", ""), "desk.example"),
        (lambda: env_secret("X", at_least=32), "guessed"),
        (lambda: env_mail_url("X"), "http://mail.example"),
        (lambda: env_mail_url("X"), "smtp://mail.example?tls=require"),
        (lambda: env_mail_url("X"), "smtp://mail.example?ssl=1"),
        (lambda: env_mail_url("X"), "smtp://mail.example?tls="),
        (lambda: env_server("X"), "resolver.example"),
        (lambda: env_server("X"), "10.0.0.2:http"),
    ],
)
def test_bad_value_is_named(monkeypatch, read, value):
    monkeypatch.setenv("X", value)
    with pytest.raises(ImproperlyConfigured, match=r"^X must"):
        read()


def test_lists_lose_their_blanks(monkeypatch):
    monkeypatch.setenv("X", " a, ,b ,")
    assert env_list("X") == ["a", "b"]


def test_process_without_environment_says_what_is_missing():
    ran = subprocess.run(
        [sys.executable, "manage.py", "check"], env={"PATH": "/usr/bin"}, capture_output=True, text=True, check=False
    )
    assert ran.returncode != 0
    assert "SECRET_KEY is not set" in ran.stderr


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", None),
        ("10.0.0.2", ("10.0.0.2", 53)),
        ("10.0.0.2:5353", ("10.0.0.2", 5353)),
        ("::1", ("::1", 53)),
        ("[::1]:5353", ("::1", 5353)),
    ],
)
def test_server_is_an_address_and_a_port(monkeypatch, value, expected):
    monkeypatch.setenv("X", value)
    assert env_server("X") == expected


@pytest.mark.parametrize(
    "value", ["", "smtp://user:p%40ss@mail.example:25?tls=required", "smtps://mail.example", "smtp://x?tls=off"]
)
def test_mail_server_may_say_what_it_wants_of_tls(monkeypatch, value):
    monkeypatch.setenv("X", value)
    assert env_mail_url("X") == value
