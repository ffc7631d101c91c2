"""The secret that signs the posts of a signed webhook: made, shown once, and changed without a gap."""

from alerts.sending.standard_webhooks import make_secret
from people.actors import Actor


def new_secret() -> str:
    """Return a secret for a destination that is being added."""
    return make_secret()


def rotate_secret(*, destination_id: int, actor: Actor) -> str:
    """Sign with a new secret from now on, with the old one too for a day, and return the new one to be shown once."""
    raise NotImplementedError
