"""Takes a command over from the endpoint, which answered Discord already: from here on the row owes the answer."""

from alerts.models import Interaction
from common.nudge import nudge

TASK = "alerts.tasks.run_command"


def take(interaction: Interaction) -> None:
    """Have a stored command run once the caller's transaction has committed; a sweep finds it where that is lost."""
    nudge(TASK, interaction.pk)
