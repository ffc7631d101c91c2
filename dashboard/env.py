"""Functions that read settings from environment variables, beside those of common.env
that others use too.
"""

from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from psycopg import Error, IsolationLevel
from psycopg.conninfo import conninfo_to_dict

from common.env import BadVariable, env_str


def env_secret(name: str, *, at_least: int) -> str:
    """Return the required variable `name`, a secret of at least so many characters.
    Errors never contain its value.
    """
    value = env_str(name)
    if len(value) < at_least:
        raise BadVariable(
            f"{name} must have at least {at_least} characters, and it has {len(value)}."
        )
    return value


def env_server(name: str) -> tuple[str, int] | None:
    """Return variable `name`, an IP address with or without a port, as address and
    port; None if it is empty. The port is 53 by default, as for DNS.
    """
    value = env_str(name, "")
    if not value:
        return None
    try:
        # An IPv6 address with a port is in brackets, as in a URL.
        parts = urlsplit(
            f"//[{value}]"
            if value.count(":") > 1 and "[" not in value
            else f"//{value}"
        )
        return str(ip_address(parts.hostname or "")), parts.port or 53
    except ValueError:
        raise BadVariable(
            f"{name} must be an IP address, such as 10.0.0.2 or 10.0.0.2:5353."
        ) from None


def connection_settings(url: str) -> dict[str, Any]:
    """Return Django's settings for the PostgreSQL at a URL."""
    try:
        parts = conninfo_to_dict(url)
    except Error:
        # Its text quotes a password that has a space, or a percent sign, in it.
        raise BadVariable(
            "DATABASE_URL and DATABASE_OWNER_URL must be addresses of PostgreSQL, with %20 for a space and %25 for %."
        ) from None
    return {
        "NAME": parts.pop("dbname", ""),
        "USER": parts.pop("user", ""),
        "PASSWORD": parts.pop("password", ""),
        "HOST": parts.pop("host", ""),
        "PORT": str(parts.pop("port", "")),
        "OPTIONS": {
            "connect_timeout": 5,
            # The locks are designed for this level, and the server's default may
            # differ.
            "isolation_level": IsolationLevel.READ_COMMITTED,
            **parts,
        },
    }
