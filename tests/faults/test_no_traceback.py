"""No command ends with a traceback for what an operator can repair: a database that is
stopped, refuses or has other tables, a wrong file, a wrong passphrase.
"""

import os

import pytest
from django.apps import apps
from django.core.management import find_commands, load_command_class
from django.db import connection

from launcher.paths import MANAGE, ROOT
from launcher.postgres import Postgres
from tests.commands import run_command

pytestmark = pytest.mark.slow
PASSPHRASE = "correct horse battery"
# Values of arguments that commands require, by name.
VALUES = {
    "account": "acme",
    "address": "http://127.0.0.1:1",
    "because": "a test",
    "credentials": "credentials.env",
    "email": "ada@example.com",
    "file": "desk.backup",
    "made_at": "2026-11-20T10:00:00+00:00",
    "message": "0190b1a0-0000-7000-8000-000000000000",
    "name": "Acme",
    "scopes": "send",
    "check": "1",
    "part": "begin",
    "to": "bundle.zip",
    "username": "ada@example.com",
}
# Of them, these need no database for what they are called with here.
WITHOUT_DATABASE = {"discord_register", "hosted_check", "restore"}


def own_commands():
    """Return (app, command) of every command in a folder of the project."""
    return sorted(
        (config.name, name)
        for config in apps.get_app_configs()
        if str(config.path).startswith(f"{ROOT}/") and ".venv" not in config.path
        for name in find_commands(f"{config.path}/management")
    )


def arguments_of(app, name):
    """Return arguments for all that a command requires."""
    parser = load_command_class(app, name).create_parser("manage.py", name)
    given = []
    for action in parser._actions:
        if action.required or action.dest in ("email", "message"):
            options = action.option_strings[:1]
            # A LabelCommand says by its label what it takes.
            is_label = action.dest == "args"
            given += [*options, VALUES[action.metavar if is_label else action.dest]]
    return given


def run(command, folder, **variables):
    """Run a command to its end; return its status and output, which must have no
    traceback.
    """
    done = run_command(
        [str(part) for part in command],
        cwd=folder,
        env=os.environ | {"BACKUP_PASSPHRASE": PASSPHRASE, "DEMO": "0"} | variables,
    )
    output = done.stdout + done.stderr
    assert "Traceback" not in output, output
    assert output.strip()
    return done.returncode, output


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The variables of a desk whose PostgreSQL ran and is stopped, and of its Redis."""
    folder = tmp_path_factory.mktemp("stopped")
    postgres = Postgres(folder, durable=False)
    try:
        postgres.start()
    finally:
        postgres.stop()
    return {
        "DATABASE_URL": postgres.url(),
        "DATABASE_OWNER_URL": postgres.url(),
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "DATA_DIR": str(folder / "data"),
    }


@pytest.mark.parametrize(("app", "name"), own_commands())
def test_command_says_that_the_database_is_stopped(app, name, stopped, tmp_path):
    command = [*MANAGE, name, *arguments_of(app, name)]
    status, output = run(command, tmp_path, **stopped)
    assert status not in (0, -1)
    if name not in WITHOUT_DATABASE:
        assert "connection" in output.lower(), output
        assert "postgresql" in output.lower() or status == 3, output


def test_every_command_of_the_project_is_tried():
    names = {name for _, name in own_commands()}
    assert {"doctor", "prepare", "send_again", "audit_verify", "gateway_key"} <= names
    assert {app for app, _ in own_commands()} >= {"dashboard", "gateway", "audit"}


def url_of(role, database):
    host = connection.settings_dict["HOST"]
    return f"postgresql://{role}@/{database}?host={host}"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("role", "database", "words"),
    [
        ("nobody", "template1", "nobody"),
        (None, "nowhere", "nowhere"),
        # A database without the tables of this version.
        (None, "template1", "does not exist"),
    ],
)
def test_command_says_what_the_database_refuses(role, database, words, tmp_path):
    url = url_of(role or connection.settings_dict["USER"], database)
    for name in ("first_admin", "send_again"):
        app = dict(map(reversed, own_commands()))[name]
        command = [*MANAGE, name, *arguments_of(app, name)]
        status, output = run(command, tmp_path, DATABASE_URL=url)
        assert status == 3, output
        assert words in output
        assert "./run manage doctor" in output


def test_verbs_say_that_the_database_is_stopped(stopped, tmp_path):
    for verb in (
        ["manage", "first_admin", "--email", "ada@example.com"],
        ["backup", tmp_path / "x"],
        ["process", "prepare"],
        [],
        ["gateway"],
    ):
        status, output = run([ROOT / "run", *verb], tmp_path, **stopped)
        assert status != 0
        assert "connection" in output.lower(), (verb, output)
    assert not (tmp_path / "x").exists()
