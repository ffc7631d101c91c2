"""Functions that read settings from environment variables, for the launcher, the live
process and Django's settings. A missing or invalid variable raises BadVariable, with a
sentence that names it, and so stops the start.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

_MISSING = object()
Variables = Mapping[str, str]


class BadVariable(Exception):
    """A variable is missing or cannot be used. The text names it, and says what it must
    be.
    """


def env_str(
    name: str, default: object = _MISSING, variables: Variables = os.environ
) -> str:
    """Return variable `name`, or the text in the file that `<name>_FILE` points to, or
    the default. Without a default the variable is required.
    """
    if file := variables.get(f"{name}_FILE"):
        try:
            return Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeError) as error:
            raise BadVariable(
                f"{name}_FILE points to {file}, which cannot be read: {error}."
            ) from None
    value = variables.get(name, "")
    if value:
        return value
    if default is _MISSING:
        raise BadVariable(
            f"{name} is not set. `./run` sets it for you; without `./run`, docs/operators/configure.md says "
            "what it must hold."
        )
    return str(default)


def env_int(name: str, default: int, variables: Variables = os.environ) -> int:
    """Return variable `name` as a whole number that is not negative."""
    value = env_str(name, default, variables)
    if not value.isdecimal():
        raise BadVariable(f"{name} must be a whole number, not {value!r}.")
    return int(value)


def env_choice(
    name: str, default: str, choices: tuple[str, ...], variables: Variables = os.environ
) -> str:
    """Return variable `name`, which must be one of `choices`."""
    value = env_str(name, default, variables)
    if value not in choices:
        raise BadVariable(f"{name} must be one of {', '.join(choices)}, not {value!r}.")
    return value


def env_list(
    name: str, default: str = "", variables: Variables = os.environ
) -> list[str]:
    """Return variable `name` split at commas, without surrounding spaces and empty
    parts.
    """
    parts = env_str(name, default, variables).split(",")
    return [part.strip() for part in parts if part.strip()]


def env_url(
    name: str,
    default: object = _MISSING,
    schemes: tuple[str, ...] = ("http", "https"),
    variables: Variables = os.environ,
) -> str:
    """Return variable `name`, a URL with one of `schemes`, without a slash at its
    end.
    """
    value = env_str(name, default, variables).strip()
    if not value:
        return ""
    try:
        parts = urlsplit(value)
        # PostgreSQL and Redis may have a socket instead of a host.
        needs_host = parts.scheme.startswith(("http", "smtp"))
        is_sound = (
            parts.scheme in schemes
            and (parts.hostname or not needs_host)
            and parts.port != 0
        )
    except ValueError:
        is_sound = False
    if not is_sound:
        expected = " or ".join(f"{scheme}://" for scheme in schemes)
        # The value itself may hold a password, so it is not repeated.
        raise BadVariable(f"{name} must start with {expected} and be a whole address.")
    return value.rstrip("/")


def env_origin(name: str, default: str, variables: Variables = os.environ) -> str:
    """Return variable `name`, the address of a site, as browsers write it: in lower
    case and ASCII, without the usual port. A path is refused because it would have no
    effect: links begin with a slash, and addresses are compared by their origin.
    """
    url = env_url(name, default, variables=variables)
    parts = urlsplit(url.lower())
    try:
        host = parts.netloc.encode("idna").decode()
    except UnicodeError:
        host = ""
    if not host or parts.path or parts.query or parts.fragment:
        raise BadVariable(
            f"{name} must be an address without a path, such as https://desk.example.com, not {url!r}."
        )
    port = ":443" if parts.scheme == "https" else ":80"
    return f"{parts.scheme}://{host.removesuffix(port)}"


def env_mail_url(
    name: str, default: str = "", variables: Variables = os.environ
) -> str:
    """Return variable `name`, the URL of a mail server. Unknown options are refused."""
    value = env_url(name, default, ("smtp", "smtps"), variables)
    options = parse_qs(urlsplit(value).query, keep_blank_values=True)
    known = {"tls": ("offered", "required", "off"), "dsn": ("0", "1")}
    names = options.pop("name", ["any.example"])
    for option, values in options.items():
        # A misspelled TLS option must not lead to unencrypted mail.
        if len(values) != 1 or values[0] not in known.get(option, ()):
            raise BadVariable(
                f"{name} must have no other options than tls=required, tls=off, dsn=1 and name=HOST."
            )
    if len(names) != 1 or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", names[0]):
        raise BadVariable(f"{name}: name must be a host name in ASCII.")
    return value


def env_dsn(name: str) -> str:
    """Return variable `name`, the address of a project in Sentry."""
    value = env_str(name, "")
    if not re.fullmatch(r"|https?://[\w:]+@[^/@\s]+/(\S+/)?\d+", value):
        raise BadVariable(
            f"{name} must be as Sentry shows it: https://KEY@HOST/NUMBER."
        )
    return value
