"""How a page calls MultiMail: with the admin key of the connection, in a time that a person waits for."""

from mirror.errors import ActNotAllowed
from mirror.models import Connection
from upstream.admin import AdminClient

# In all: a page waits for it, and a person for the page.
READ_SECONDS = 3.0
CHANGE_SECONDS = 10.0


def administration(connection: Connection, *, within: float = CHANGE_SECONDS) -> AdminClient:
    """Return MultiMail as an admin key sees it; each call has so many seconds. Raises ActNotAllowed without a key."""
    if not connection.admin_key:
        raise ActNotAllowed(f"{connection} has no admin key. Put one in on its page, and this works.")
    return AdminClient(base_url=connection.api_url, key=connection.admin_key, within=within)
