"""The kinds of destinations: one folder each, found by being here.
docs/contributing-channels.md says how to add one.

A kind knows its own protocol, its fields in the form and its wording. It must not know
routes, deliveries or pages. Start reading at base.py, then slack/ or signed_webhook/,
the smallest with cards and with events.
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
    folders = sorted(found.name for found in iter_modules(__path__) if found.ispkg)
    channels = [
        one for name in folders for one in import_module(f"{__name__}.{name}").CHANNELS
    ]
    return {channel.kind: channel for channel in channels}


def channel_of(kind: str) -> Channel:
    """Return the channel of a destination's kind; one that refuses everything where the
    kind's folder was removed.
    """
    return all_channels().get(kind) or NotInstalled()
