"""The lines that a person reads when everything is ready: the addresses, and how to
sign in. In a demo they show the credentials that the command `prepare` wrote.
"""

from collections.abc import Mapping
from pathlib import Path

from common.credentials import read_credentials
from launcher.child import LOGS_TO_STDOUT
from launcher.environment import Environment
from launcher.paths import ROOT

CREDENTIALS = "credentials.env"
# The command `prepare` writes this file as long as there is no admin.
FIRST_RUN = "first_run"
_PEOPLE = {
    "REVIEWER": "Reviewer",
    "REVIEWER2": "Second reviewer",
    "ADMIN": "Admin",
    "AUDITOR": "Auditor",
}


def welcome(environment: Environment) -> list[str]:
    """Returns the lines to print after the start. Scripts read the first, `ready URL`."""
    lines = [f"ready {environment.url}", ""]
    logs = "this output" if LOGS_TO_STDOUT else _shown(environment.data / "log")
    gateway = f"http://127.0.0.1:{environment.ports['GATEWAY_PORT']}"
    if environment.product == "gateway":
        lines += [
            f"  This is the gateway alone. Its API: {environment.url}/docs",
            f"  Mail to its mailboxes is received by SMTP on port {environment.ports['INBOUND_PORT']}.",
            f"  Logs are in {logs}.",
            "  ./run manage gateway_account --name Acme --address support@acme.example "
            "creates an account and its keys.",
        ]
        if not environment.variables.get("EMAIL_URL"):
            lines.append(
                "  Live mail is not sent until you set EMAIL_URL, such as smtps://user:password@mail.example.com:465."
            )
        return lines
    if environment.demo != "0":
        credentials = read_credentials(environment.data / CREDENTIALS)
        rows = {}
        for key, title in _PEOPLE.items():
            if email := credentials.get(f"{key}_EMAIL"):
                rows[title] = f"{email}  {credentials.get(f'{key}_PASSWORD', '')}"
        if discord := credentials.get("DISCORD_URL"):
            rows["Discord stand-in"] = discord
        rows["Gateway (API)"] = gateway
        rows["Keys and settings"] = _shown(environment.data / CREDENTIALS)
        return lines + _aligned(rows)
    if (environment.data / FIRST_RUN).exists():
        lines += [
            "  First time? Create a link for the first admin and open it; the pages guide you from there.",
            "    ./run manage first_admin                             a link for the first admin",
        ]
        if environment.product == "both":
            lines += [
                '    ./run manage gateway_account --name "Your team"      keys of the gateway that runs here,',
                f"{'':57}at {gateway}",
            ]
        return lines
    rows = {"Gateway (API)": gateway} if environment.product == "both" else {}
    return lines + _aligned({**rows, "Logs": logs})


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def _aligned(rows: Mapping[str, str]) -> list[str]:
    width = max(map(len, rows))
    return [f"  {title:<{width}}  {text}" for title, text in rows.items()]
