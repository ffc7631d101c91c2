"""What can go wrong when an account at MultiMail is changed; each error carries a
sentence for the admin.
"""

from mirror.errors import DeskError


class ChangeRefused(DeskError):
    """MultiMail refused a change of the account, or was not asked. Nothing was changed."""


class ChangeNotOffered(ChangeRefused):
    """MultiMail does not know the object to change, or does not offer the call."""


class CodeWanted(ChangeRefused):
    """MultiMail's operator has to confirm the change: the same request is sent again
    with their code.
    """

    is_final = False


class ChangeUnknown(DeskError):
    """The call for a change may have had its effect; MultiMail's state must be read to
    find out.
    """

    is_final = False


class SecretLost(ChangeUnknown):
    """The call may have made something whose secret nobody has now, so it must not be
    repeated.
    """

    is_final = True


class ConnectionNotChanged(DeskError):
    """The connection's current state does not allow the change; nothing was changed."""


class AccountConnected(ConnectionNotChanged):
    """The account has a connection already. A second one would show each of its
    messages twice.
    """
