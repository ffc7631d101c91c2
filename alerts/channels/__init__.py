"""The kinds of destinations: a file or folder each that has CHANNELS, found by being
here. docs/contributing-channels.md says how to add one.

A kind knows its own protocol, its fields in the form and its wording. It must not know
routes, deliveries or pages. Start reading at base.py, then slack.py or
signed_webhook.py, the smallest with cards and with events.
"""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from alerts.channels.base import Channel, NotInstalled

DEFAULT_KIND = "discord_webhook"


@cache
def all_channels() -> Mapping[str, Channel]:
    """Return every channel by its kind, in the order in which the form offers them."""
    channels: dict[str, Channel] = {}
    for name in sorted(found.name for found in iter_modules(__path__)):
        module = import_module(f"{__name__}.{name}")
        for channel in getattr(module, "CHANNELS", ()):
            channels[channel.kind] = channel
    return channels


def channel_of(kind: str) -> Channel:
    """Return the channel of a destination's kind; one that refuses everything where the
    kind's file was removed.
    """
    return all_channels().get(kind) or NotInstalled()
