"""Slack: cards posted by an incoming webhook or a bot, with buttons under those of a bot.

channel.py posts cards in Slack's format, interactions.py receives what people press and
type, and replies.py has the format of answers. No file here knows routes or deliveries. Start reading at channel.py.
"""

from alerts.channels.slack.channel import Slack

CHANNELS = (Slack(),)
