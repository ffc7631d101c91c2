"""What `./run` makes of the caller's environment, and what it refuses in a sentence."""

import json
import os
import sys

import pytest

from common.env import BadVariable
from launcher import bootstrap, environment
from launcher.console import LaunchError
from simple_form.data import rows

# Given variables, and what is made of them. Without the demo desk and gateway reach each
# other alone, and one without the other reaches nothing.
COMPLETED = list(
    rows("""
{}    {"DEMO": "1", "EMAIL_URL": "smtp://127.0.0.1:8025", "MULTIMAIL_API_URL": "http://127.0.0.1:8001"}
{}    {"OUTGOING_ALLOW": "http://127.0.0.1:8000,http://127.0.0.1:8001,http://127.0.0.1:8003"}
{}    {"GATEWAY_APPROVAL_CODES": "0"}
{"DEMO": "0"}    {"OUTGOING_ALLOW": "http://127.0.0.1:8000,http://127.0.0.1:8001"}
{"DEMO": "0"}    {"EMAIL_URL": "", "GATEWAY_APPROVAL_CODES": "address"}
{"SERVE": "dashboard"}    {"OUTGOING_ALLOW": "", "SERVE": "both"}
{"SERVE": "gateway"}    {"OUTGOING_ALLOW": "", "DEMO": "0"}
{"PORT": "0", "DISCORD_PORT": "0"}    {"DISCORD_PORT": "23002", "PUBLIC_URL": "http://127.0.0.1:23001"}
{"PORT": "0", "DISCORD_PORT": "0"}
  {"OUTGOING_ALLOW": "http://127.0.0.1:23001,http://127.0.0.1:8001,http://127.0.0.1:23002"}
{"PUBLIC_URL": "https://desk.example.com/"}
  {"PUBLIC_URL": "https://desk.example.com", "ALLOWED_HOSTS": "127.0.0.1,localhost,desk.example.com"}
""")
)


def test_environment_is_completed():
    for columns in COMPLETED:
        given, computed = map(json.loads, columns)
        found = environment.read(given, pick=lambda count: [23_001, 23_002][:count])
        made = {name: found.variables[name] for name in computed}
        assert made == computed, given


PROVIDER = {
    "OIDC_ISSUER": "https://login.example.com/acme",
    "OIDC_CLIENT_ID": "desk",
    "OIDC_CLIENT_SECRET": "s",
}


def test_provider_is_asked_over_https_or_where_it_was_allowed():
    assert environment.read(PROVIDER).outside["OIDC_ISSUER"] == PROVIDER["OIDC_ISSUER"]
    for host in ("localhost:8080", "[::1]:8080"):
        plain = {**PROVIDER, "OIDC_ISSUER": f"http://{host}/acme"}
        with pytest.raises(BadVariable, match="OUTGOING_ALLOW must name http://"):
            environment.read(plain)
        environment.read({**plain, "OUTGOING_ALLOW": f"http://{host}"})
    # Anybody on the way could sign in as anybody, so it helps nothing to allow it.
    for host in ("10.0.0.5:8080", "localhost.example.com"):
        with pytest.raises(BadVariable, match="only a provider on this machine"):
            environment.read(
                PROVIDER
                | {"OIDC_ISSUER": f"http://{host}", "OUTGOING_ALLOW": f"http://{host}"}
            )


def test_configured_servers_are_used_and_the_owner_falls_back_to_the_application(
    tmp_path,
):
    asked = environment.read(
        {
            "DATABASE_URL": "postgresql://app:x@db/desk",
            "REDIS_URL": "rediss://redis:6379/1",
        }
    )
    assert asked.own_database is False
    assert asked.own_redis is False
    assert asked.variables["DATABASE_OWNER_URL"] == "postgresql://app:x@db/desk"
    # An address may stand in a file; an empty variable counts as not given.
    (tmp_path / "url").write_text("postgresql://app:x@db/desk\n")
    asked = environment.read({"DATABASE_URL_FILE": str(tmp_path / "url")})
    assert asked.variables["DATABASE_URL"] == "postgresql://app:x@db/desk"
    assert environment.read({"PORT": "", "DATABASE_URL": " "}).own_database


# Also settings that nearly exist.
BAD = list(
    rows("""
PUBLIC_URL          https://desk.example.com/desk
PUBLIC_URL          http://desk:99999
LIVE_URL            //evil.example/live
ALLOWED_HOSTS       one.example two.example
OUTGOING_ALLOW      10.0.0.1
TRUSTED_PROXIES     proxy.example.com
TRUSTED_RELAYS      mx.example.com
PORT                eighty
PORT                65536
INBOUND_PORT        8025
DEMO                yes
SERVE               all
DATABASE_URL        mysql://app:hunter2@db/desk
DATABASE_URL_FILE   /nonexistent
DATABASE_OWNER_URL  postgresql://owner@db/desk
REDIS_URL           localhost:6379
EMAIL_URL           smtp://user:hunter2@mail.example?tls=require
LISTEN_HOST         desk.example.com
ALLOWED_HOST        desk.example.com
SEAL_KEYS_FILE      /run/secrets/seal
""")
)


def test_bad_variable_is_refused_by_name_without_its_password():
    for name, value in BAD:
        with pytest.raises(BadVariable) as refusal:
            environment.read({name: value})
        sentence = str(refusal.value)
        assert name in sentence, value
        assert "\n" not in sentence, value
        assert "hunter2" not in sentence
    with pytest.raises(BadVariable, match="DEMO"):
        environment.read({"DEMO": "1", "SERVE": "gateway"})


def test_variables_of_other_programs_are_left_alone():
    environment.read(
        {
            "DATABASE_URL_FILE": os.devnull,
            "DISCORD_PUBLIC_KEY_FILE": "/run/secrets/discord",
            "REDIS_TLS_URL": "rediss://cache",
            "GATEWAY_SERVICE_PORT": "8001",
            "XDG_DATA_DIRS": "/usr/share",
        }
    )


def test_installers_variables_that_lead_elsewhere_do_not_reach_it(monkeypatch):
    elsewhere = "PIP_TARGET PIP_PREFIX PIP_DRY_RUN PIP_PYTHON UV_PYTHON UV_CONSTRAINT"
    for name in (*elsewhere.split(), "PIP_USER", "PIP_INDEX_URL", "UV_HTTP_TIMEOUT"):
        monkeypatch.setenv(name, "1")
    seen = "import os; print(list(os.environ)); print(os.environ['PIP_USER']); exit(1)"
    with pytest.raises(LaunchError) as error:
        bootstrap._call([sys.executable, "-c", seen], "This failed.")
    names, user = error.value.details.splitlines()
    assert "PIP_INDEX_URL" in names
    assert "UV_HTTP_TIMEOUT" in names
    assert not [name for name in elsewhere.split() if name in names]
    assert user == "0"
