"""The models of people: accounts, roles, invitations, how people prove who they are,
and changes that wait for a second admin.
"""

from people.models.changes import WAITS_FOR, OrganisationSettings, PendingChange
from people.models.person import (
    ChatAccount,
    ChatLink,
    ChatService,
    Grant,
    GrantPeriod,
    Invitation,
    Person,
    RecoveryCode,
    RoleRule,
)
