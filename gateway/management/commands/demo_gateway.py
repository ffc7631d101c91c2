"""Makes the demo's side of the gateway: an account, two mailboxes, four keys and the
desk's webhook.

It can run again: what is there already stays, and an empty database gets the same keys
again from the file. Only a revoked key is replaced.
"""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management import BaseCommand, CommandParser
from django.db import transaction

from common.credentials import read_credentials, update_credentials
from common.tables import table_rows
from gateway.accounts import new_key_text, register_key
from gateway.mailboxes import make_mailbox
from gateway.models import Account, Webhook
from gateway.webhooks import deliveries
from gateway.webhooks.events import SPELLINGS

# Variable in the file, name (people see it as who decided), scopes. oversight_read,
# because the digest of MultiMail's Inngest page lists held messages with the key that
# sends.
_KEYS = """
AGENT_KEY     | Demo agent          | read send oversight_read
OVERSIGHT_KEY | Countersign         | oversight
READ_KEY      | Countersign (read)  | read
ADMIN_KEY     | Countersign (admin) | admin read
"""
# Variable in the file, address, display name, whether a call may ask for a looser mode
# for its own message.
_MAILBOXES = (
    ("MAILBOX", "support@yourteam.example", "Your Team Support", False),
    ("MAILBOX2", "outreach@yourteam.example", "Your Team Outreach", True),
)


class Command(BaseCommand):
    # Run after `demo_desk begin`, which leaves WEBHOOK_URL and WEBHOOK_SECRET in the
    # file.

    # The docstring of the module.
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--credentials", type=Path, required=True)

    @transaction.atomic
    def handle(self, *args: Any, credentials: Path, **options: Any) -> None:
        saved = read_credentials(credentials)
        account, _ = Account.objects.get_or_create(
            slug="demo",
            defaults={
                "name": "Countersign Demo",
                "oversight_email": "oversight@yourteam.example",
            },
        )
        new_values = {
            "GATEWAY_URL": f"http://127.0.0.1:{settings.GATEWAY_PORT}",
            "INBOUND_PORT": str(settings.INBOUND_PORT),
        }
        for variable, name, words in table_rows(_KEYS):
            scopes = words.split()
            text = saved.get(variable) or new_key_text()
            if register_key(account, text, name=name, scopes=scopes).revoked_at:
                text = new_key_text()
                register_key(account, text, name=name, scopes=scopes)
            new_values[variable] = text
        for variable, address, name, looser in _MAILBOXES:
            mailbox = make_mailbox(
                account, address=address, display_name=name, looser=looser
            )
            new_values[f"{variable}_ID"] = mailbox.pk
            new_values[f"{variable}_ADDRESS"] = mailbox.address
        url = saved.get("WEBHOOK_URL")
        secret = saved.get("WEBHOOK_SECRET")
        if url and secret:
            # Subscribe the desk to everything. Its port may change at every start, its
            # path does not.
            path = urlsplit(url).path
            webhook = next(
                (
                    webhook
                    for webhook in Webhook.objects.alive().filter(account=account)
                    if urlsplit(webhook.url).path == path
                ),
                Webhook(account=account),
            )
            webhook.url = url
            webhook.secret = secret
            # Everything, under MultiMail's own names.
            webhook.events = sorted(SPELLINGS)
            webhook.include_sandbox = True
            webhook.save()
            # The desk starts with the gateway, so a paused endpoint is reachable again.
            deliveries.wake(webhook)
        update_credentials(credentials, new_values)
