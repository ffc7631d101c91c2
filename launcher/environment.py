"""Computes the environment variables that every process gets, from those of the caller,
and finds free ports.

It only validates and completes variables. An invalid value raises BadVariable and so
stops the start. Variables that only Django reads are checked there (settings.py).
"""

import errno
import os
import random
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import ip_address, ip_network
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

from common.env import (
    BadVariable,
    env_choice,
    env_int,
    env_list,
    env_mail_url,
    env_origin,
    env_url,
)
from common.origins import is_confidential, origin_of
from launcher.console import LaunchError
from launcher.paths import ROOT

# The variable of each port, and its default.
PORTS = {
    "PORT": 8000,
    "GATEWAY_PORT": 8001,
    "LIVE_PORT": 8002,
    "DISCORD_PORT": 8003,
    "SMTP_PORT": 8025,
    "INBOUND_PORT": 8026,
}
# Free ports are chosen from this range. It is below the one from which Linux takes
# ports for outgoing connections (32768 and up), so no connection takes a chosen port
# before its process starts, or while that is restarted.
_FIRST_PORT = 20_000
_LAST_PORT = 32_000
DISCORD = (
    "DISCORD_APP_ID",
    "DISCORD_PUBLIC_KEY",
    "DISCORD_BOT_TOKEN",
    "DISCORD_API_URL",
)
# Variables that are passed on to the processes as they are. The supervisor stores them
# with the state of the run, so that a later ./run manage gets the same values.
PROCESS_VARIABLES = (
    *DISCORD,
    *"""
TRUSTED_PROXIES TRUSTED_RELAYS LOG_FORMAT DEBUG DISCORD_BOT_TOKEN_FILE GATEWAY_APPROVAL_CODES
GATEWAY_RATE_LIMIT EMAIL_FROM DNS_SERVER OIDC_ISSUER OIDC_CLIENT_ID OIDC_CLIENT_SECRET
OIDC_CLIENT_SECRET_FILE OIDC_NAME SECRET_KEY_FILE SECRET_KEY_FALLBACKS
SECRET_KEY_FALLBACKS_FILE ENCRYPTION_KEYS_FILE SEAL_KEY_FILE SEAL_FILE AUDIT_DETAILS_DAYS
BACKUP_DAYS METRICS_TOKEN METRICS_TOKEN_FILE SENTRY_DSN SENTRY_DSN_FILE
OTEL_EXPORTER_OTLP_ENDPOINT REQUEST_BODY_SECONDS REQUEST_BODY_RATE
LIVE_STREAMS_PER_PERSON CSP_REPORTS_PER_MINUTE SLACK_SIGNING_SECRET
SLACK_SIGNING_SECRET_FILE
""".split(),
)


# All variables of the product. Tests and checks remove them from their environment.
PRODUCT_VARIABLES = frozenset(
    [
        *PORTS,
        *PROCESS_VARIABLES,
        *"""
DATA_DIR DEMO SERVE PUBLIC_URL LIVE_URL ALLOWED_HOSTS OUTGOING_ALLOW INBOUND_HOST
LISTEN_HOST LOG_TO
DATABASE_URL DATABASE_OWNER_URL REDIS_URL EMAIL_URL MULTIMAIL_API_URL DATABASE_URL_FILE
DATABASE_OWNER_URL_FILE REDIS_URL_FILE EMAIL_URL_FILE SECRET_KEY ENCRYPTION_KEYS SEAL_KEY
BACKUP_PASSPHRASE BACKUP_PASSPHRASE_FILE
""".split(),
    ]
)


def pick_free_ports(count: int) -> list[int]:
    """Returns different free ports. It does not keep them open, so a process can listen
    on them.
    """
    tried = random.SystemRandom().sample(range(_FIRST_PORT, _LAST_PORT), 2_000)
    chosen = list(islice(filter(is_free, tried), count))
    if len(chosen) < count:
        raise LaunchError(
            f"No free port was found between {_FIRST_PORT} and {_LAST_PORT}; set the ports yourself."
        )
    return chosen


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now. The web server allows others to
    share its port, so it would not notice itself that the port is used.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EACCES:
                raise LaunchError(
                    f"Port {port} is reserved for root; choose one above 1023, or 0."
                ) from error
            return False
    return True


def refuse_used(ports: Mapping[str, int]) -> None:
    """Raises LaunchError, which names the variable, if another program listens on one
    of these ports.
    """
    for name, port in ports.items():
        if not is_free(port):
            raise LaunchError(
                f"Port {port} is used by another program. Stop it, or choose another port: {name}=0 ./run uses a free "
                f"one."
            )


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The validated settings. `variables` is the environment of the processes, without
    the keys and the addresses of the embedded servers; `outside` has the caller's
    variables. `own_database` and `own_redis` say whether the embedded servers are used.
    """

    data: Path
    ports: Mapping[str, int]
    product: str
    demo: str
    variables: Mapping[str, str]
    own_database: bool
    own_redis: bool
    outside: Mapping[str, str]

    @property
    def url(self) -> str:
        """The product's URL on this machine, whatever its public URL is."""
        return f"http://127.0.0.1:{self.ports['GATEWAY_PORT' if self.product == 'gateway' else 'PORT']}"


def read(
    caller: Mapping[str, str],
    *,
    product: str | None = None,
    pick: Callable[[int], list[int]] = pick_free_ports,
) -> Environment:
    """Checks the caller's variables and computes the others. An empty variable counts
    as not given. `pick` returns so many free ports.
    """
    given = {name: value for name, value in caller.items() if value.strip()}
    _refuse_misspelled(given)
    products = ("both", "dashboard", "gateway")
    product = product or env_choice("SERVE", "both", products, given)
    # The demo with its agent, the demo without its agent, and no demo.
    usual = "1" if product == "both" else "0"
    demo = env_choice("DEMO", usual, ("1", "quiet", "0"), given)
    if demo != "0" and product != "both":
        raise BadVariable(
            f"DEMO must be 0 when SERVE is {product}: the demo needs both products."
        )
    env_choice("LOG_TO", "files", ("files", "stdout"), given)
    # IP addresses, not names: they choose the network interfaces that are listened on.
    hosts = {}
    for name in ("LISTEN_HOST", "INBOUND_HOST"):
        value = given.get(name, "127.0.0.1").strip()
        try:
            hosts[name] = str(ip_address(value))
        except ValueError:
            raise BadVariable(
                f"{name} must be an IP address of this machine, or 0.0.0.0, not {value!r}."
            ) from None
    ports = _ports(given, pick)
    dashboard, gateway, discord = (
        f"http://127.0.0.1:{ports[name]}"
        for name in ("PORT", "GATEWAY_PORT", "DISCORD_PORT")
    )
    allowed = [
        env_origin("OUTGOING_ALLOW", part, {})
        for part in env_list("OUTGOING_ALLOW", variables=given)
    ]
    _check_sources(given, allowed)
    # The product's own addresses stay allowed when the operator names others. The desk
    # and the gateway of one run may always call each other: otherwise they could not be
    # connected in a first run.
    own_origins = [dashboard, gateway] if product == "both" else []
    email = ""
    if demo != "0":
        own_origins.append(discord)
        email = f"smtp://127.0.0.1:{ports['SMTP_PORT']}"
    public = env_origin("PUBLIC_URL", dashboard, given)
    live = given.get("LIVE_URL", "").strip()
    if live and not re.match(r"(https?:/)?/[^/]", live):
        raise BadVariable(
            f"LIVE_URL must be a path such as /live/ or a whole address, not {live!r}."
        )
    named = env_list("ALLOWED_HOSTS", urlsplit(public).hostname or "", given)
    for host in named:
        if len(host.split()) > 1:
            raise BadVariable(
                f"ALLOWED_HOSTS is a list with commas between its parts, and {host!r} has a blank in it."
            )
    schemes = ("postgresql", "postgres")
    database = env_url("DATABASE_URL", "", schemes, given)
    owner = env_url("DATABASE_OWNER_URL", database, schemes, given)
    if owner and not database:
        raise BadVariable(
            "DATABASE_OWNER_URL is given without DATABASE_URL; give both, or neither."
        )
    redis = env_url("REDIS_URL", "", ("redis", "rediss", "unix"), given)
    data = read_data_folder(given)
    variables = {
        "PUBLIC_URL": public,
        # A slash at its end stays: the proxy's rule may need it.
        "LIVE_URL": live,
        # The launcher and the demo call the desk by the first two names.
        "ALLOWED_HOSTS": ",".join(dict.fromkeys(["127.0.0.1", "localhost", *named])),
        "OUTGOING_ALLOW": ",".join(dict.fromkeys([*own_origins, *allowed])),
        "EMAIL_URL": env_mail_url("EMAIL_URL", email, given),
        "MULTIMAIL_API_URL": env_url("MULTIMAIL_API_URL", gateway, variables=given),
        # Where these are empty, the addresses of the embedded servers follow when these
        # have been started.
        "DATABASE_URL": database,
        "DATABASE_OWNER_URL": owner,
        "REDIS_URL": redis,
        **{name: str(port) for name, port in ports.items()},
        **hosts,
        "DATA_DIR": str(data),
        "DEMO": demo,
        # Without codes in the demo, so that the examples in the documentation work
        # with its admin key.
        "GATEWAY_APPROVAL_CODES": given.get(
            "GATEWAY_APPROVAL_CODES", "address" if demo == "0" else "0"
        ),
        # What `./run manage` loads: the tables of both products, because one
        # database may serve both. Each other process loads only its own product
        # (processes.py).
        "SERVE": "both",
        "DJANGO_SETTINGS_MODULE": "dashboard.settings",
        # Without these, glibc would not give back the memory of a large list or
        # message: it keeps an arena for each thread and, once a large block was
        # freed, blocks of that size too. Only one Python thread allocates at a
        # time, so one arena is enough.
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_MMAP_THRESHOLD_": "131072",
    }
    return Environment(
        data=data,
        ports=ports,
        product=product,
        demo=demo,
        own_database=not database,
        own_redis=not redis,
        variables=variables,
        outside=given,
    )


# Raises BadVariable unless what proxies, relays and the OIDC provider say can be
# believed.
def _check_sources(given: Mapping[str, str], allowed: list[str]) -> None:
    for name in ("TRUSTED_PROXIES", "TRUSTED_RELAYS"):
        for part in env_list(name, variables=given):
            try:
                ip_network(part, strict=False)
            except ValueError:
                raise BadVariable(
                    f"{name} holds {part!r}, which is no IP address and no network such as 10.0.0.0/8."
                ) from None
    issuer = env_url("OIDC_ISSUER", "", variables=given)
    if issuer and not is_confidential(issuer):
        raise BadVariable(
            "OIDC_ISSUER must be https; only a provider on this machine may have a plain http address."
        )
    if issuer.startswith("http:") and origin_of(issuer) not in map(origin_of, allowed):
        raise BadVariable(
            f"OIDC_ISSUER must be https, or OUTGOING_ALLOW must name {origin_of(issuer)}."
        )


def _refuse_misspelled(given: Mapping[str, str]) -> None:
    """Raises LaunchError for a variable that is nearly one of ours, which would have no
    effect. Most variables belong to other programs, so only near ones are refused.
    """
    for name in given:
        # OpenTelemetry has many variables of its own.
        if name.removesuffix("_FILE") in PRODUCT_VARIABLES or name[:5] == "OTEL_":
            continue
        for near in get_close_matches(name, PRODUCT_VARIABLES, n=1, cutoff=0.85):
            if near[:4] == name[:4]:
                raise BadVariable(
                    f"{name} is no setting of Countersign. Did you mean {near}? Otherwise remove it."
                )


def read_data_folder(caller: Mapping[str, str]) -> Path:
    """Returns the path of the data folder, absolute and without symbolic links, because
    processes of an earlier run are recognised by it.
    """
    return (
        ROOT / os.path.expanduser(caller.get("DATA_DIR", "").strip() or "var")
    ).resolve()


# Returns the port of each variable in PORTS. 0 is replaced by a free port.
def _ports(
    given: Mapping[str, str], pick: Callable[[int], list[int]]
) -> dict[str, int]:
    ports = {name: env_int(name, default, given) for name, default in PORTS.items()}
    names: dict[int, str] = {}
    for name, port in ports.items():
        if port > 65535:
            raise BadVariable(
                f"{name} must be a port number from 0 (a free one) to 65535, not {port}."
            )
        other = names.setdefault(port, name)
        if port and other != name:
            raise BadVariable(
                f"{name} and {other} are both {port}; each needs a port of its own (0: a free one)."
            )
    open_names = [name for name, port in ports.items() if port == 0]
    return ports | dict(zip(open_names, pick(len(open_names)), strict=True))
