"""Discord: cards posted by a webhook or a bot, with buttons under them, and slash
commands.

channel.py posts and reads answers, embeds.py turns a card into Discord's format,
interactions.py receives what people press and type, and replies.py has the format of
answers. No file here knows routes or deliveries. Start reading at channel.py.
"""

from alerts.channels.discord.channel import DiscordBot, DiscordWebhook

CHANNELS = (DiscordWebhook(), DiscordBot())
