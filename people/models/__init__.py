"""People, their invitations, and how they prove who they are."""

from people.models.discord import DiscordAccount, DiscordLink
from people.models.factors import RecoveryCode, RoleRule
from people.models.history import GrantPeriod
from people.models.invitation import Invitation
from people.models.person import Grant, Person, PersonManager, scopes_in

__all__ = [
    "DiscordAccount",
    "DiscordLink",
    "Grant",
    "GrantPeriod",
    "Invitation",
    "Person",
    "PersonManager",
    "RecoveryCode",
    "RoleRule",
    "scopes_in",
]
