"""The kinds of destinations, such as Slack or a signed webhook. Each is a file or
folder in here with a list CHANNELS, which `all_channels` finds by itself.
docs/contributing-channels.md says how to add one.

A channel knows its own protocol, its fields in the form and its wording. It must not
know routes, deliveries or pages. Start reading at base.py, then slack/, the smallest
one with cards, or signed_webhook.py, the smallest one with events.
"""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from alerts.channels.base import Channel, NotInstalled

DEFAULT_KIND = "discord_webhook"


@cache
def all_channels() -> Mapping[str, Channel]:
    """Return every channel by its kind, in the order of the form's choices."""
    channels: dict[str, Channel] = {}
    for name in sorted(found.name for found in iter_modules(__path__)):
        module = import_module(f"{__name__}.{name}")
        for channel in getattr(module, "CHANNELS", ()):
            channels[channel.kind] = channel
    return channels


def shared_channels() -> Mapping[str, Channel]:
    """Return the channels whose destinations admins set."""
    return {k: one for k, one in all_channels().items() if not one.is_personal}


def channel_of(kind: str) -> Channel:
    """Return the channel of this kind. If the kind's file was removed, it is a
    placeholder that refuses everything.
    """
    return all_channels().get(kind) or NotInstalled()
