"""Answers to whoever makes an account for themselves."""

from gateway.answers.base import Answer


class Challenge(Answer):
    """Work to do: the number up to `maxnumber` that, written behind `salt`, has the SHA-256 `challenge`."""

    algorithm: str
    challenge: str
    maxnumber: int
    salt: str
    signature: str


class SignupRequested(Answer):
    """That a code was mailed, or would have been."""

    status: str


class AccountMade(Answer):
    """The account, and its one key, which is told once."""

    status: str
    name: str
    slug: str
    api_key: str
    mailbox_id: str
    mailbox_address: str
    oversight_mode: str
    oversight_email: str
    use_case: str


class SlugAvailability(Answer):
    """Whether a name is free."""

    slug: str
    available: bool
