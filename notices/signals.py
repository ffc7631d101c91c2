"""The signal of new notices."""

from django.dispatch import Signal

# Sent with the `notices` that were made, in their transaction.
made = Signal()
