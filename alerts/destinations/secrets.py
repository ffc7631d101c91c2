"""Rotates the secret that signs what goes to a destination: shown once, and changed without a gap."""

from datetime import timedelta

from alerts.channels import channel_of
from alerts.deliveries.waits import record_change
from alerts.destinations.commands import check_may_manage, in_words, locked_destination
from alerts.errors import DestinationMissing, SecretStillValid
from common.actors import Actor
from common.postgres import clock
from common.postgres.retry import atomic_with_retry
from people.second_admin.registry import second_admin

# So long the old secret signs too.
OVERLAP = timedelta(days=1)


@atomic_with_retry
@second_admin("Destination", words=in_words("make another secret"), made=str)
def rotate_secret(*, destination_id: int, actor: Actor, overlap: timedelta = OVERLAP) -> str:
    """Sign with a new secret from now on, and with the old one too for the overlap; return the new one, to show once.

    With no overlap (it leaked) the old one signs nothing more. Raises SecretStillValid while an earlier overlap lasts:
    a third secret would end one that the receiver may still use.
    """
    check_may_manage(actor)
    destination = locked_destination(destination_id)
    channel = channel_of(destination.kind)
    if not channel.makes_secret:
        raise DestinationMissing("This destination has no secret.")
    now = clock()
    until = destination.secret_before_until
    if overlap and destination.secret_before and until and until > now:
        raise SecretStillValid(
            f"The previous secret is valid until {until:%-d %b, %H:%M} UTC. Wait until then, or choose that the old "
            "one leaked."
        )
    destination.secret_before = destination.secret if overlap else ""
    destination.secret_before_until = now + overlap if overlap else None
    destination.secret = secret = channel.new_secret()
    destination.save()
    after = (
        f"a new one; the old one signs too until {now + overlap:%Y-%m-%d %H:%M} UTC" if overlap else "a new one alone"
    )
    record_change("destination.secret_rotated", destination, actor, before="one secret signs", after=after)
    return secret
