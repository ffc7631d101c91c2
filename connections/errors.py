"""The errors of changing an account at MultiMail. Each has a sentence for the admin."""

from mirror.errors import DeskError


class ChangeRefused(DeskError):
    """MultiMail refused a change of the account, or was not called. Nothing was
    changed.
    """

    status = 422


class ChangeNotOffered(ChangeRefused):
    """MultiMail does not know the object to change, or does not offer the call."""


class CodeWanted(ChangeRefused):
    """MultiMail's operator has to confirm the change. The admin sends the same form
    again with the operator's code.
    """

    is_final = False
    status = 202


class ChangeUnknown(DeskError):
    """The call for a change may have had its effect. Only reading MultiMail's state
    shows whether it had.
    """

    is_final = False
    status = 502


class SecretLost(ChangeUnknown):
    """The call may have made a key or webhook, and its secret is lost. Repeating the
    call would make a second one.
    """

    is_final = True


class ConnectionNotChanged(DeskError):
    """The connection's current state does not allow the change; nothing was changed."""

    status = 422


class AccountConnected(ConnectionNotChanged):
    """The account has a connection already. With a second connection, each of its
    messages would appear twice.
    """
