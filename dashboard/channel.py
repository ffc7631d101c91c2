"""The name under which live hints pass through Redis, from whoever records an act to the live process."""

CHANNEL = "countersign:hints"
