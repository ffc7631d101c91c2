"""The destination that a command changes, with nobody else changing it meanwhile."""

from alerts.errors import DestinationMissing
from alerts.models import Destination


def locked(destination_id: int) -> Destination:
    """Return it, or raise DestinationMissing. Belongs into a transaction; acts that plan something for it go on."""
    found = Destination.objects.kept().select_for_update(no_key=True).filter(pk=destination_id).first()
    if found is None:
        raise DestinationMissing("This destination was removed in the meantime.")
    return found
