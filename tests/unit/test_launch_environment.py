"""What `./run` makes of the caller's environment, and what it refuses in a sentence."""

from pathlib import Path

import pytest

from launcher import environment, keys, processes
from launcher.console import LaunchError
from launcher.paths import ROOT

# The desk and the gateway of one run.
OWN = "http://127.0.0.1:8000,http://127.0.0.1:8001"


def test_empty_environment_is_the_demo_on_the_usual_ports() -> None:
    asked = environment.read({})
    assert asked.url == "http://127.0.0.1:8000"
    assert asked.data == (ROOT / "var").resolve()
    assert asked.own_database
    assert asked.own_redis
    assert asked.variables["DEMO"] == "1"
    assert asked.variables["OUTGOING_ALLOW"] == f"{OWN},http://127.0.0.1:8003"
    assert asked.variables["EMAIL_URL"] == "smtp://127.0.0.1:8025"
    assert asked.variables["MULTIMAIL_API_URL"] == "http://127.0.0.1:8001"


def test_demo_asks_for_no_approval_codes_unless_it_is_told_to() -> None:
    for variables, codes in (({}, "0"), ({"DEMO": "0"}, "address"), ({"GATEWAY_APPROVAL_CODES": "1"}, "1")):
        assert environment.read(variables).variables["GATEWAY_APPROVAL_CODES"] == codes


def test_port_zero_is_replaced_by_a_free_one_everywhere() -> None:
    asked = environment.read({"PORT": "0", "DISCORD_PORT": "0"}, pick=lambda count: [23_001, 23_002][:count])
    assert asked.ports["PORT"] == 23_001
    assert asked.variables["DISCORD_PORT"] == "23002"
    assert asked.variables["PUBLIC_URL"] == "http://127.0.0.1:23001"
    assert asked.variables["OUTGOING_ALLOW"] == ("http://127.0.0.1:23001,http://127.0.0.1:8001,http://127.0.0.1:23002")


def test_only_what_is_named_and_the_run_itself_may_be_reached() -> None:
    named = "http://127.0.0.1:9000"
    variables = environment.read({"OUTGOING_ALLOW": named}).variables
    assert variables["OUTGOING_ALLOW"] == f"{OWN},http://127.0.0.1:8003,{named}"
    # Without the demo desk and gateway reach each other alone, and one without the other reaches nothing.
    variables = environment.read({"DEMO": "0"}).variables
    assert (variables["OUTGOING_ALLOW"], variables["EMAIL_URL"]) == (OWN, "")
    for product in ("dashboard", "gateway"):
        assert environment.read({"DEMO": "0"}, product=product).variables["OUTGOING_ALLOW"] == ""


def test_public_url_is_an_allowed_host_and_so_is_this_machine() -> None:
    variables = environment.read({"PUBLIC_URL": "https://desk.example.com/"}).variables
    assert variables["PUBLIC_URL"] == "https://desk.example.com"
    assert variables["ALLOWED_HOSTS"] == "127.0.0.1,localhost,desk.example.com"
    variables = environment.read({"ALLOWED_HOSTS": "desk.example.com, .example.org"}).variables
    assert variables["ALLOWED_HOSTS"] == "127.0.0.1,localhost,desk.example.com,.example.org"


PROVIDER = {"OIDC_ISSUER": "https://login.example.com/acme", "OIDC_CLIENT_ID": "desk", "OIDC_CLIENT_SECRET": "s"}


def test_provider_without_what_it_gave_stops_the_start() -> None:
    for without in ("OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET"):
        with pytest.raises(LaunchError, match=without):
            environment.read({name: value for name, value in PROVIDER.items() if name != without})


def test_provider_is_asked_over_https_or_where_it_was_allowed() -> None:
    assert environment.read(PROVIDER).outside["OIDC_ISSUER"] == PROVIDER["OIDC_ISSUER"]
    for host in ("localhost:8080", "127.0.0.1:8080", "[::1]:8080"):
        plain = {**PROVIDER, "OIDC_ISSUER": f"http://{host}/acme"}
        with pytest.raises(LaunchError, match="OUTGOING_ALLOW must name http://"):
            environment.read(plain)
        environment.read({**plain, "OUTGOING_ALLOW": f"http://{host}"})
    # Anybody on the way could sign in as anybody, so it helps nothing to allow it.
    for host in ("10.0.0.5:8080", "login.example.com", "localhost.example.com", "0.0.0.0"):
        with pytest.raises(LaunchError, match="only a provider on this machine"):
            environment.read(PROVIDER | {"OIDC_ISSUER": f"http://{host}", "OUTGOING_ALLOW": f"http://{host}"})
    with pytest.raises(LaunchError, match="longer than 200"):
        environment.read(PROVIDER | {"OIDC_ISSUER": f"https://login.example.com/{'a' * 200}"})


def test_live_url_is_a_path_or_an_address() -> None:
    for value in ("/live/", "https://desk.example.com/live/"):
        assert environment.read({"LIVE_URL": value}).variables["LIVE_URL"] == value


def test_configured_servers_are_used_and_the_owner_falls_back_to_the_application(tmp_path: Path) -> None:
    asked = environment.read({"DATABASE_URL": "postgresql://app:x@db/desk", "REDIS_URL": "rediss://redis:6379/1"})
    assert (asked.own_database, asked.own_redis) == (False, False)
    assert asked.variables["DATABASE_OWNER_URL"] == "postgresql://app:x@db/desk"
    # An address may stand in a file; an empty variable counts as not given.
    (tmp_path / "url").write_text("postgresql://app:x@db/desk\n")
    asked = environment.read({"DATABASE_URL_FILE": str(tmp_path / "url")})
    assert asked.variables["DATABASE_URL"] == "postgresql://app:x@db/desk"
    assert environment.read({"PORT": "", "DATABASE_URL": " "}).own_database


BAD = [
    *(("PUBLIC_URL", "https://desk.example.com/desk"), ("PUBLIC_URL", "https://desk.example.com?x")),
    *(("PUBLIC_URL", "desk.example.com"), ("PUBLIC_URL", "https://"), ("PUBLIC_URL", "http://desk:99999")),
    *(("LIVE_URL", "live"), ("LIVE_URL", "//evil.example/live"), ("ALLOWED_HOSTS", "one.example two.example")),
    *(("OUTGOING_ALLOW", "10.0.0.1"), ("OUTGOING_ALLOW", "http://10.0.0.1/hook")),
    *(("TRUSTED_PROXIES", "proxy.example.com"), ("TRUSTED_PROXIES", "10.0.0.0/8")),
    *(("PORT", "eighty"), ("PORT", "-1"), ("LIVE_PORT", "65536"), ("SMTP_PORT", "²"), ("INBOUND_PORT", "8025")),
    *(("INBOUND_HOST", "mail.example.com"), ("GATEWAY_PORT", "8000"), ("DEMO", "yes"), ("SERVE", "all")),
    *(("DATABASE_URL", "mysql://app:hunter2@db/desk"), ("DATABASE_URL_FILE", "/nonexistent")),
    *(("DATABASE_OWNER_URL", "postgresql://owner@db/desk"), ("REDIS_URL", "localhost:6379")),
    *(("EMAIL_URL", "mail.example.com"), ("MULTIMAIL_API_URL", "ftp://api")),
]


def test_bad_variable_is_refused_by_name_without_its_password() -> None:
    for name, value in BAD:
        with pytest.raises(LaunchError) as refusal:
            environment.read({name: value})
        sentence = str(refusal.value)
        assert (name in sentence, "\n" in sentence, "hunter2" in sentence) == (True, False, False), (name, value)


def test_mail_listener_is_looked_for_where_it_listens() -> None:
    asked = {"0.0.0.0": "127.0.0.1", "::": "::1", "10.0.0.5": "10.0.0.5", "": "127.0.0.1"}
    for host, expected in asked.items():
        table = processes.table(environment.read({"INBOUND_HOST": host, "INBOUND_PORT": "99"}))
        (plan,) = [plan for plan in table if plan.name == "worker-out"]
        assert [(check.host, check.port) for check in plan.checks] == [(expected, 99)]
        assert plan.environment["INBOUND"] == "1"


def test_mail_is_accepted_wherever_the_gateway_runs() -> None:
    for product, listens in (("both", True), ("gateway", True), ("dashboard", False)):
        plans = processes.table(environment.read({"SERVE": product, "DEMO": "0"}))
        assert any("INBOUND" in plan.environment for plan in plans) is listens, product


def test_demo_needs_both_products() -> None:
    assert environment.read({"SERVE": "gateway"}).demo == "0"
    with pytest.raises(LaunchError, match="DEMO"):
        environment.read({"SERVE": "gateway", "DEMO": "1"})


def test_every_variable_of_ours_is_known_as_such() -> None:
    computed = environment.read({"DATABASE_URL": "postgresql:///desk", "REDIS_URL": "redis://redis"}).variables
    assert computed.keys() - environment.PRODUCT_VARIABLES == {
        *("DJANGO_SETTINGS_MODULE", "MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_"),
    }


def test_demo_has_a_discord_application_of_its_own_that_stays_the_same(tmp_path) -> None:
    variables = {"DATA_DIR": str(tmp_path), "DISCORD_PORT": "7001"}
    first = keys.demo_application(environment.read(variables))
    assert first["DISCORD_API_URL"] == "http://127.0.0.1:7001/api/v10"
    assert len(bytes.fromhex(first["DISCORD_PUBLIC_KEY"])) == 32
    assert keys.demo_application(environment.read(variables)) == first
    file = tmp_path / "discord.env"
    assert file.stat().st_mode & 0o777 == 0o600
    # What signs as Discord is told to nobody.
    (secret,) = [line.partition("=")[2] for line in file.read_text().splitlines() if "PRIVATE" in line]
    assert secret not in str(first)


def test_without_the_demo_or_with_an_application_of_ones_own_it_has_none(tmp_path) -> None:
    for variables in ({"DEMO": "0"}, {"DISCORD_APP_ID": "4711"}, {"DISCORD_BOT_TOKEN": "x"}):
        assert keys.demo_application(environment.read({"DATA_DIR": str(tmp_path), **variables})) == {}, variables
    assert not (tmp_path / "discord.env").exists()
