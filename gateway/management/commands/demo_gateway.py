"""Makes the demo's side of the gateway: an account, two mailboxes, four keys and the
desk's webhook.

Idempotent: what is there already stays, and a lost database is filled again with the
keys in the file. Only a key that was revoked is replaced.
"""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management import BaseCommand, CommandParser
from django.db import transaction

from common.credentials import read_credentials, update_credentials
from gateway.accounts import new_key_text, register_key
from gateway.mailboxes import make_mailbox
from gateway.models import Account, Webhook
from gateway.webhooks import deliveries
from gateway.webhooks.events import SPELLINGS

# Variable, name (people see it as who decided), scopes.
_KEYS = (
    # The digest of MultiMail's Inngest page lists what is held with the key that it
    # sends with.
    ("AGENT_KEY", "Demo agent", ["read", "send", "oversight_read"]),
    ("OVERSIGHT_KEY", "Countersign", ["oversight"]),
    ("READ_KEY", "Countersign (read)", ["read"]),
    ("ADMIN_KEY", "Countersign (admin)", ["admin", "read"]),
)
# Variable, address, display name, whether a call may loosen the mode.
_MAILBOXES = (
    ("MAILBOX", "support@yourteam.example", "Your Team Support", False),
    ("MAILBOX2", "outreach@yourteam.example", "Your Team Outreach", True),
)


class Command(BaseCommand):
    """Run after `demo_desk begin`, which leaves WEBHOOK_URL and WEBHOOK_SECRET in the
    file.
    """

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--credentials", type=Path, required=True)

    @transaction.atomic
    def handle(self, *args: Any, credentials: Path, **options: Any) -> None:
        known = read_credentials(credentials)
        account, _ = Account.objects.get_or_create(
            slug="demo",
            defaults={
                "name": "Countersign Demo",
                "oversight_email": "oversight@yourteam.example",
            },
        )
        made = {
            "GATEWAY_URL": f"http://127.0.0.1:{settings.GATEWAY_PORT}",
            "INBOUND_PORT": str(settings.INBOUND_PORT),
        }
        for variable, name, scopes in _KEYS:
            text = known.get(variable) or new_key_text()
            if register_key(account, text, name=name, scopes=scopes).revoked_at:
                text = new_key_text()
                register_key(account, text, name=name, scopes=scopes)
            made[variable] = text
        for variable, address, name, looser in _MAILBOXES:
            mailbox = make_mailbox(
                account, address=address, display_name=name, looser=looser
            )
            made[f"{variable}_ID"] = mailbox.pk
            made[f"{variable}_ADDRESS"] = mailbox.address
        url = known.get("WEBHOOK_URL")
        secret = known.get("WEBHOOK_SECRET")
        if url and secret:
            # Subscribe the desk to everything. Its port may change at every start, its
            # path does not.
            path = urlsplit(url).path
            subscribed = Webhook.objects.alive().filter(account=account)
            webhook = next(
                (one for one in subscribed if urlsplit(one.url).path == path),
                Webhook(account=account),
            )
            webhook.url = url
            webhook.secret = secret
            # MultiMail's own names.
            webhook.events = sorted(SPELLINGS)
            webhook.include_sandbox = True
            webhook.save()
            # The desk starts with the gateway, so a paused endpoint is reachable again.
            deliveries.wake(webhook)
        update_credentials(credentials, made)
