"""Runs commands to their end."""

import subprocess


def run_command(command, **options):
    """Run a command to its end; return the completed process, with its output as text."""
    usual = {"capture_output": True, "text": True, "check": False, "timeout": 1200}
    # An input, if only an empty one, so that no command waits for somebody who types.
    return subprocess.run(command, **{"input": "", **usual, **options})
