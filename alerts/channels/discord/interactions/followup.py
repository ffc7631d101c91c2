"""Edits the answer that was put off: what a deferred interaction says in the end. Its token is good for 15 minutes."""

import json
import re
from urllib.parse import quote

from django.conf import settings

from alerts.channels.discord.markdown import cut
from alerts.models import Interaction
from outgoing.guarded import DeliveryError, request

MAX_CONTENT = 2000
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
_LONGEST_WAIT = 300.0


class NotAnswered(Exception):
    """Discord did not take the answer. `is_final` where it never will; `seconds` where it asked to wait."""

    def __init__(self, sentence: str, *, is_final: bool = False, seconds: float | None = None) -> None:
        super().__init__(sentence)
        self.is_final = is_final
        self.seconds = seconds


def edit_answer(interaction: Interaction, content: str) -> None:
    """Put `content` where Discord shows that the desk is thinking; to do it again changes nothing. Raises NotAnswered.

    Whatever comes from mail must be escaped by now; nobody is pinged either way. No error tells the token.
    """
    if not interaction.token or not settings.DISCORD_APP_ID:
        raise NotAnswered("There is no token to answer with any more, or no DISCORD_APP_ID.", is_final=True)
    path = f"webhooks/{quote(settings.DISCORD_APP_ID, safe='')}/{quote(interaction.token, safe='')}/messages/@original"
    body = {"content": cut(content, MAX_CONTENT), "allowed_mentions": {"parse": []}}
    headers = {"Content-Type": "application/json", "User-Agent": f"DiscordBot ({settings.PUBLIC_URL}, 1)"}
    try:
        answer = request(
            "PATCH", f"{settings.DISCORD_API_URL.rstrip('/')}/{path}", body=json.dumps(body).encode(), headers=headers
        )
    except DeliveryError as error:
        raise NotAnswered("Discord could not be reached.", is_final=error.refused) from None
    if answer.status == 429:
        told = str(answer.headers.get("Retry-After", ""))
        seconds = min(float(told), _LONGEST_WAIT) if _NUMBER.fullmatch(told) else None
        raise NotAnswered("Discord asked to wait.", seconds=seconds)
    if not 200 <= answer.status < 300:
        is_final = 400 <= answer.status < 500
        raise NotAnswered(f"Discord answered {answer.status} to the answer.", is_final=is_final)
