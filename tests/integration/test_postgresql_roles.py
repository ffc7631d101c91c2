"""The file that creates roles and database on an external PostgreSQL: it works
unchanged, and twice.
"""

from contextlib import contextmanager

import psycopg
import pytest
from django.conf import settings
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from launcher.paths import ROOT
from launcher.postgres import OWNER, postgres_programs
from tests.commands import run_command

NAMES = {"database": "hosted desk", "owner": "hosted-owner", "application": "hosted"}
PASSWORDS = {
    "owner_password": "o'wner \\ \"one",
    "application_password": "application one",
}


def url(role, database="postgres"):
    return make_conninfo(
        **{
            **conninfo_to_dict(settings.OWN_DATABASE_URL),
            "user": role,
            "dbname": database,
        }
    )


def run_file(role, **variables):
    """Run it with psql, as docs/operators/postgresql.md says."""
    psql_options = [
        part for name, text in variables.items() for part in ("-v", f"{name}={text}")
    ]
    command = [
        str(postgres_programs() / "psql"),
        *psql_options,
        "-f",
        "docs/postgresql-roles.sql",
        url(role),
    ]
    return run_command(command, cwd=ROOT)


@contextmanager
def session(role, database="postgres"):
    with psycopg.connect(url(role, database), autocommit=True) as found:
        yield found


@pytest.fixture(params=["a superuser", "an admin of a managed server"])
def maker(request):
    """A role that may create roles and databases; what it creates is removed."""
    with session(OWNER) as owner:
        owner.execute('CREATE ROLE "the admin" LOGIN CREATEROLE CREATEDB')
        if request.param == "a superuser":
            owner.execute('ALTER ROLE "the admin" SUPERUSER')
        yield "the admin"
        owner.execute('DROP DATABASE IF EXISTS "hosted desk" WITH (FORCE)')
        for role in (NAMES["owner"], NAMES["application"], "the admin"):
            owner.execute(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"')


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_file_makes_two_roles_and_a_database_and_run_again_it_sets_the_passwords(maker):
    assert run_file(maker, **NAMES, owner_password="x").returncode == 3
    stored_passwords = []
    for passwords in (
        PASSWORDS,
        PASSWORDS,
        {**PASSWORDS, "application_password": "another"},
    ):
        made = run_file(maker, **NAMES, **passwords)
        assert made.returncode == 0, made
        assert made.stderr == "", made
        assert not [word for word in passwords.values() if word in made.stdout], (
            "it repeats no password"
        )
        with session(OWNER) as owner:
            query = (
                "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = ANY(%s) "
                "AND rolcanlogin AND NOT rolsuper"
            )
            stored_passwords.append(
                dict(
                    owner.execute(
                        query, [[NAMES["owner"], NAMES["application"]]]
                    ).fetchall()
                )
            )
    assert set(stored_passwords[0]) == {NAMES["owner"], NAMES["application"]}
    assert all(
        text.startswith("SCRAM-SHA-256$") for text in stored_passwords[0].values()
    )
    assert (
        stored_passwords[1][NAMES["application"]]
        != stored_passwords[2][NAMES["application"]]
    )
    with session(NAMES["owner"], NAMES["database"]) as owner:
        owner.execute("CREATE TABLE kept (id int)")
    with session(NAMES["application"], NAMES["database"]) as application:
        for refused in (
            "CREATE TABLE mine (id int)",
            "SELECT * FROM kept",
            "ALTER TABLE kept ADD x int",
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                application.execute(refused)
