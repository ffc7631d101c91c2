"""Connections as an admin changes them: added, given other keys, paused, removed. Nothing here calls out."""
