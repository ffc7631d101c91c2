"""Data shared by the demo's desk and its stand-ins: Discord's server with its channels
and members, and the addresses at which programs receive events.
"""

from dataclasses import dataclass

GUILD_ID = "1180000000000000001"
APP_ID = "1180000000000000900"
# Files in DATA_DIR: the keys of the desk's application at the stand-in for Discord, and
# the commands that it registered there.
APPLICATION_FILE = "discord.env"
COMMANDS_FILE = "discord-commands.json"


@dataclass(frozen=True)
class GuildChannel:
    """A channel of the demo's server."""

    id: str
    name: str
    topic: str
    start: str


APPROVALS = GuildChannel(
    "1180000000000000427",
    "approvals",
    "Messages waiting for review",
    "Countersign posts a card here for each message waiting for review, and updates it when somebody decides. Use the "
    "buttons under a card to decide without leaving Discord.",
)
SUPPORT = GuildChannel(
    "1180000000000000428",
    "support",
    "Send messages with slash commands",
    "Use a command below. The outcome is posted here: who decided, why, and whether it was delivered.",
)
MAIL_LOG = GuildChannel(
    "1180000000000000429",
    "mail-log",
    "Sent messages and their delivery",
    "A webhook posts here what was sent, delivered, bounced or refused. Its cards have links and no buttons: only an "
    "application's cards can be pressed.",
)
CHANNELS = (APPROVALS, SUPPORT, MAIL_LOG)


@dataclass(frozen=True)
class Member:
    """A member of the demo's server; `email` is their address at the desk, empty for
    people without an account.
    """

    id: str
    username: str
    name: str
    email: str = ""


ANA = Member(
    "1180000000000000201", "ana.ferreira", "Ana Ferreira", "ana@yourteam.example"
)
BEN = Member("1180000000000000202", "ben.okafor", "Ben Okafor", "ben@yourteam.example")
RICO = Member("1180000000000000203", "rico_alves", "Rico Alves")
MEMBERS = (ANA, BEN, RICO)


EVENTS_PATH = "/e/"
EVENT_KEY = "demo-event-key-of-the-stand-in"
HOOK_PATH = "/hook"
# The name of the signing secret in credentials.env.
HOOK_SECRET = "HOOK_SECRET"
