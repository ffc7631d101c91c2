"""What a person reads when everything is ready: where it is, and how to sign in. Only shows what `prepare` wrote."""

from pathlib import Path

from launcher.environment import Environment
from launcher.keys import read_assignments
from launcher.paths import ROOT

CREDENTIALS = "credentials.env"
# `prepare` leaves it there as long as there is no admin.
FIRST_RUN = "first_run"
_PEOPLE = {"REVIEWER": "Reviewer", "REVIEWER2": "Second reviewer", "ADMIN": "Admin", "AUDITOR": "Auditor"}


def welcome(environment: Environment) -> list[str]:
    """The lines after the start; the first one is for scripts too."""
    lines = [f"ready {environment.url}", ""]
    if environment.product == "gateway":
        return lines + _gateway(environment)
    if environment.demo == "0":
        if not (environment.data / FIRST_RUN).exists():
            return lines + _aligned(_logs(environment))
        return [
            *lines,
            "  First time? Create a link for the first admin and open it; the pages guide you from there.",
            "    ./run manage first_admin                             a link for the first admin",
            '    ./run manage gateway_account --name "Your team"      keys of the gateway that runs here,',
            f"{'':57}at http://127.0.0.1:{environment.ports['GATEWAY_PORT']}",
        ]
    credentials = read_assignments(environment.data / CREDENTIALS)
    return lines + _aligned(_people(credentials) + _addresses(environment, credentials))


def _logs(environment: Environment) -> list[tuple[str, str]]:
    gateway = f"http://127.0.0.1:{environment.ports['GATEWAY_PORT']}"
    return [
        *([("Gateway (API)", gateway)] if environment.product == "both" else []),
        ("Logs", _shown(environment.data / "log")),
    ]


def _gateway(environment: Environment) -> list[str]:
    lines = [
        f"  This is the gateway alone. Its API: {environment.url}/docs",
        f"  Mail to its mailboxes is received by SMTP on port {environment.ports['INBOUND_PORT']}.",
        f"  Logs are in {_shown(environment.data / 'log')}.",
        "  ./run manage gateway_account --name Acme --address support@acme.example creates an account and its keys.",
    ]
    if not environment.variables.get("EMAIL_URL"):
        lines.append("  Live mail waits: EMAIL_URL, such as smtps://user:password@mail.example.com:465, is not set.")
    return lines


def _people(credentials: dict[str, str]) -> list[tuple[str, str]]:
    return [
        (f"{title}", f"{credentials[f'{key}_EMAIL']}  {credentials.get(f'{key}_PASSWORD', '')}")
        for key, title in _PEOPLE.items()
        if f"{key}_EMAIL" in credentials
    ]


def _addresses(environment: Environment, credentials: dict[str, str]) -> list[tuple[str, str]]:
    discord = credentials.get("DISCORD_URL")
    return [
        *([("Discord stand-in", discord)] if discord else []),
        ("Gateway (API)", f"http://127.0.0.1:{environment.ports['GATEWAY_PORT']}"),
        ("Keys and settings", _shown(environment.data / CREDENTIALS)),
    ]


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def _aligned(rows: list[tuple[str, str]]) -> list[str]:
    width = max((len(title) for title, _ in rows), default=0)
    return [f"  {title:<{width}}  {text}" for title, text in rows]
