"""Discord: cards by webhook or by a bot, buttons under them, and slash commands.

channel.py knows addresses and answers, rates.py the limits, embeds.py the form of a card,
interactions.py what people press, commands.py what they type. It must not know routes or
deliveries. Start reading at channel.py.
"""

from alerts.channels.discord.channel import DiscordBot, DiscordWebhook

CHANNELS = (DiscordWebhook(), DiscordBot())
