"""Makes the demo's side of the gateway: an account, two mailboxes, four keys and the desk's webhook.

Idempotent: what is there already stays, and a lost database is filled again with the keys in the file. Only a key that
was revoked is replaced.
"""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management import BaseCommand, CommandParser
from django.db import transaction

from common.credentials import read_credentials, update_credentials
from gateway.accounts.accounts import make_account
from gateway.accounts.keys import new_key_text, register_key
from gateway.accounts.mailboxes import make_mailbox
from gateway.models import Account, Webhook
from gateway.models.accounts import Scope
from gateway.webhooks import endpoints
from gateway.webhooks.events import SPELLINGS

# Variable, name (people see it as who decided), scopes.
_KEYS = (
    # The digest of MultiMail's Inngest page lists what is held with the key that it sends with.
    ("AGENT_KEY", "Demo agent", [Scope.READ, Scope.SEND, Scope.OVERSIGHT_READ]),
    ("OVERSIGHT_KEY", "Countersign", [Scope.OVERSIGHT]),
    ("READ_KEY", "Countersign (read)", [Scope.READ]),
    ("ADMIN_KEY", "Countersign (admin)", [Scope.ADMIN, Scope.READ]),
)
# Variable, address, display name, whether a call may loosen the mode.
_MAILBOXES = (
    ("MAILBOX", "support@yourteam.example", "Your Team Support", False),
    ("MAILBOX2", "outreach@yourteam.example", "Your Team Outreach", True),
)


class Command(BaseCommand):
    """Run after `demo_desk begin`, which leaves WEBHOOK_URL and WEBHOOK_SECRET in the file."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--credentials", type=Path, required=True)

    @transaction.atomic
    def handle(self, *args: Any, credentials: Path, **options: Any) -> None:
        known = read_credentials(credentials)
        account = make_account(name="Countersign Demo", slug="demo", oversight_email="oversight@yourteam.example")
        made = {
            "GATEWAY_URL": f"http://127.0.0.1:{settings.GATEWAY_PORT}",
            "INBOUND_PORT": str(settings.INBOUND_PORT),
        }
        made |= _keys(account, known) | _mailboxes(account)
        if known.get("WEBHOOK_URL") and known.get("WEBHOOK_SECRET"):
            _webhook(account, known["WEBHOOK_URL"], known["WEBHOOK_SECRET"])
        update_credentials(credentials, made)


def _keys(account: Account, known: dict[str, str]) -> dict[str, str]:
    return {
        variable: _working_key(account, name, [str(scope) for scope in scopes], known.get(variable) or new_key_text())
        for variable, name, scopes in _KEYS
    }


def _working_key(account: Account, name: str, scopes: list[str], text: str) -> str:
    """Register a key and return its text; make another one where it was revoked."""
    if register_key(account=account, name=name, scopes=scopes, text=text).revoked_at is None:
        return text
    fresh = new_key_text()
    register_key(account=account, name=name, scopes=scopes, text=fresh)
    return fresh


def _mailboxes(account: Account) -> dict[str, str]:
    found: dict[str, str] = {}
    for variable, address, name, looser in _MAILBOXES:
        mailbox = make_mailbox(account=account, address=address, display_name=name, looser=looser)
        found |= {f"{variable}_ID": mailbox.pk, f"{variable}_ADDRESS": mailbox.address}
    return found


def _webhook(account: Account, url: str, secret: str) -> None:
    """Subscribe the desk to everything. Its port may change at every start, its path does not."""
    path = urlsplit(url).path
    ours = [one for one in Webhook.objects.alive().filter(account=account) if urlsplit(one.url).path == path]
    webhook = ours[0] if ours else Webhook(account=account)
    webhook.url, webhook.secret = url, secret
    # MultiMail's own names.
    webhook.events, webhook.include_sandbox = sorted(SPELLINGS), True
    webhook.save()
    # The desk starts with the gateway, so a paused endpoint is reachable again.
    endpoints.wake(webhook)
