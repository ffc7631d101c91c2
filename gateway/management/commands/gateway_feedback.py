"""Shows an operator what clients of the gateway reported of its API."""

import json
from typing import Any

from django.core.management import BaseCommand
from django.utils.timezone import localtime

from gateway.models import Feedback

MOST = 100


class Command(BaseCommand):
    """For operators: the newest reports first."""

    help = f"Lists the newest {MOST} reports that clients sent to POST /v1/feedback."

    def handle(self, *args: Any, **options: Any) -> None:
        for one in Feedback.objects.select_related("account", "key")[:MOST]:
            when = localtime(one.created_at).strftime("%Y-%m-%d %H:%M")
            # What a client wrote is escaped: this ends in a terminal.
            who = f"{one.account.name!a}, key {one.key.name!a}"
            self.stdout.write(f"{when} UTC  {who}: {json.dumps(one.report)}")
