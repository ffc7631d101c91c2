"""Notes in the ledger who was given a message and who had it on screen; an act once a person and revision."""

from collections.abc import Sequence

from audit.recording import record
from audit.trail import recorded_actions
from common.postgres.anew import atomic_anew
from mirror.models import Message
from people.actors import Actor


def note_served(message: Message, *, actor: Actor, fingerprint: str = "") -> None:
    """The content was handed to the actor's browser, perhaps ahead of reading: of this version, else the current."""
    _note(["message.served"], message, actor, fingerprint)


def note_opened(message: Message, *, actor: Actor, fingerprint: str = "") -> None:
    """The message is on the actor's screen: the version with this fingerprint, or the current one.

    A page may report so after the message has changed; a version that is none of this message's was on no screen.
    """
    if not fingerprint or message.revisions.filter(fingerprint=fingerprint).exists():
        _note(["message.opened"], message, actor, fingerprint)


def note_served_and_opened(message: Message, *, actor: Actor) -> None:
    """The current version was handed to the actor's browser, which shows it at once."""
    _note(["message.served", "message.opened"], message, actor)


@atomic_anew
def _note(actions: Sequence[str], message: Message, actor: Actor, shown: str = "") -> None:
    found = shown or (message.revision.fingerprint if message.revision else "")
    told = recorded_actions(message=message.public_id, actions=actions, actor_id=actor.id, fingerprint=found)
    for action in actions:
        if action in told:
            continue
        record(
            action,
            actor=actor,
            connection=message.connection_id,
            message=message.public_id,
            fingerprint=found,
            words=message.ledger_words(),
        )
