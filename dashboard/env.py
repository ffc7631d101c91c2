"""Functions that read settings from environment variables. A missing or invalid
variable raises ImproperlyConfigured, with a sentence that names it, and so stops the
start.
"""

import os
import re
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from django.core.exceptions import ImproperlyConfigured

_MISSING = object()


def env_str(name: str, default: object = _MISSING) -> str:
    """Return variable `name`, or the text in the file that `<name>_FILE` points to, or
    the default. Without a default the variable is required.
    """
    if file := os.environ.get(f"{name}_FILE"):
        try:
            return Path(file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ImproperlyConfigured(
                f"{name}_FILE points to {file}, which cannot be read: {error.strerror}."
            ) from None
    value = os.environ.get(name, "")
    if value:
        return value
    if default is _MISSING:
        raise ImproperlyConfigured(
            f"{name} is not set. `./run` sets it for you; without `./run`, docs/operators/configure.md says "
            "what it must hold."
        )
    return str(default)


def env_secret(name: str, *, at_least: int) -> str:
    """Return the required variable `name`, a secret of at least so many characters.
    Errors never contain its value.
    """
    value = env_str(name)
    if len(value) < at_least:
        raise ImproperlyConfigured(
            f"{name} must have at least {at_least} characters, and it has {len(value)}."
        )
    return value


def env_int(name: str, default: int) -> int:
    """Return variable `name` as a whole number that is not negative."""
    value = env_str(name, default)
    if not value.isdecimal():
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}.")
    return int(value)


def env_choice(name: str, default: str, choices: tuple[str, ...]) -> str:
    """Return variable `name`, which must be one of `choices`."""
    value = env_str(name, default)
    if value not in choices:
        raise ImproperlyConfigured(
            f"{name} must be one of {', '.join(choices)}, not {value!r}."
        )
    return value


def env_list(name: str, default: str = "") -> list[str]:
    """Return variable `name` split at commas, without surrounding spaces and empty
    parts.
    """
    return [part.strip() for part in env_str(name, default).split(",") if part.strip()]


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
        raise ImproperlyConfigured(
            f"{name} must be an IP address, such as 10.0.0.2 or 10.0.0.2:5353."
        ) from None


def env_url(
    name: str, default: object = _MISSING, schemes: tuple[str, ...] = ("http", "https")
) -> str:
    """Return variable `name`, a URL with one of `schemes`, without a slash at its
    end.
    """
    value = env_str(name, default)
    if value and urlsplit(value).scheme not in schemes:
        raise ImproperlyConfigured(
            f"{name} must start with {' or '.join(f'{scheme}://' for scheme in schemes)}."
        )
    return value.rstrip("/")


def env_origin(name: str, default: str) -> str:
    """Return variable `name`, the address of a site, as browsers write it: in lower
    case and ASCII, without the usual port.
    """
    parts = urlsplit(env_url(name, default).lower())
    host = parts.netloc.encode("idna").decode()
    port = ":443" if parts.scheme == "https" else ":80"
    return f"{parts.scheme}://{host.removesuffix(port)}"


def env_mail_url(name: str) -> str:
    """Return variable `name`, the URL of a mail server. Unknown options are refused."""
    value = env_url(name, "", schemes=("smtp", "smtps"))
    options = parse_qs(urlsplit(value).query, keep_blank_values=True)
    known = {"tls": ("offered", "required", "off"), "dsn": ("0", "1")}
    names = options.pop("name", ["any.example"])
    for option, values in options.items():
        # A misspelled TLS option must not lead to unencrypted mail.
        if len(values) != 1 or values[0] not in known.get(option, ()):
            raise ImproperlyConfigured(
                f"{name} must have no other options than tls=required, tls=off, dsn=1 and name=HOST."
            )
    if len(names) != 1 or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", names[0]):
        raise ImproperlyConfigured(f"{name}: name must be a host name in ASCII.")
    return value
