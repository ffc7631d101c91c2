"""Rotates the secret that signs what goes to a destination: shown once, and changed without a gap."""

from datetime import timedelta

from alerts.channels import all_channels, channel_of
from alerts.destinations.commands import check_may_manage
from alerts.errors import DestinationMissing, SecretStillValid
from alerts.models import Destination
from audit.recording import changed, record
from common.postgres import clock
from common.postgres.retry import atomic_with_retry
from people.actors import Actor

# So long the old secret signs too.
OVERLAP = timedelta(days=1)


@atomic_with_retry
def rotate_secret(*, destination_id: int, actor: Actor, overlap: timedelta = OVERLAP) -> str:
    """Sign with a new secret from now on, and with the old one too for the overlap; return the new one, to show once.

    With no overlap (it leaked) the old one signs nothing more. Raises SecretStillValid while an earlier overlap lasts:
    a third secret would end one that the receiver may still use.
    """
    check_may_manage(actor)
    kinds = [kind for kind, channel in all_channels().items() if channel.makes_secret]
    signing = Destination.objects.kept().filter(kind__in=kinds)
    destination = signing.select_for_update().filter(pk=destination_id).first()
    if destination is None:
        raise DestinationMissing("This destination was removed in the meantime, or signs nothing.")
    now = clock()
    until = destination.secret_before_until
    if overlap and destination.secret_before and until and until > now:
        raise SecretStillValid(
            f"The secret before this one still signs too, until {until:%-d %b, %H:%M} UTC, and two are the most. "
            "Wait until then, or say that it leaked: then only the new one signs."
        )
    destination.secret_before = destination.secret if overlap else ""
    destination.secret_before_until = now + overlap if overlap else None
    destination.secret = secret = channel_of(destination.kind).new_secret()
    destination.save(update_fields=["secret", "secret_before", "secret_before_until"])
    after = (
        f"a new one; the old one signs too until {now + overlap:%Y-%m-%d %H:%M} UTC" if overlap else "a new one alone"
    )
    details = {"destination": destination.name, **changed(before="one secret signs", after=after)}
    record("destination.secret_rotated", actor=actor, details=details)
    return secret
