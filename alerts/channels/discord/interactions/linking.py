"""What somebody is told whose Discord account is nobody's at the desk: how to link it, and where."""

from alerts.models import Interaction
from people.accounts.discord import offer_link


def how_to_link(interaction: Interaction) -> str:
    """Return the sentences, with a link of this account's own: only whoever pressed or typed may be shown it."""
    link = offer_link(discord_id=interaction.discord_user_id, name=interaction.discord_user)
    again = "give the command again" if interaction.kind == Interaction.Kind.COMMAND else "press again"
    return (
        "This Discord account belongs to nobody at the desk yet, so nothing was done. "
        f"[Link it to your account at the desk](<{link}>): sign in there and confirm that it is yours. "
        f"The link is good for 15 minutes, once. Then {again}. Afterwards it stands under Your account, Discord."
    )
