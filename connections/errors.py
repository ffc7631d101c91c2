"""What can go wrong when an account at MultiMail is changed; each error carries a sentence for the admin."""

from mirror.errors import DeskError


class ChangeRefused(DeskError):
    """MultiMail did not take a change of the account, or was not asked: nothing of it happened."""


class ChangeNotOffered(ChangeRefused):
    """MultiMail does not know what was to be changed, or does not offer the call."""


class CodeWanted(ChangeRefused):
    """A person who runs MultiMail has to confirm the change: the same request goes again with their code."""


class ChangeUnknown(DeskError):
    """The call for a change may have had its effect, and only looking tells."""


class ConnectionNotChanged(DeskError):
    """What an admin wanted of a connection cannot be done as it is now; nothing was changed."""


class AccountConnected(ConnectionNotChanged):
    """The account has a connection already: by a second one each of its messages would wait twice."""
