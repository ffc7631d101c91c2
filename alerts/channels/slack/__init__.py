"""Slack: cards posted by an incoming webhook or a bot, with buttons under those of a bot.

channel.py posts cards and sends answers, format.py turns a card into Slack's format, and
interactions.py receives what people press and type. No file here knows routes or
deliveries. Start reading at channel.py.
"""

from alerts.channels.slack.channel import Slack

CHANNELS = (Slack(),)
