"""Slack: Block Kit cards by an incoming webhook, or by a bot, whose cards are edited in
place.

channel.py knows Slack's addresses, answers and fields; blocks.py writes a card. It must
not know routes or deliveries. Start reading at channel.py.
"""

from alerts.channels.slack.channel import Slack

CHANNELS = (Slack(),)
