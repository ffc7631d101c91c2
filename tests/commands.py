"""Runs commands to their end."""

import subprocess


def run_command(command, **options):
    """Run a command to its end; return the completed process, with its output as text."""
    usual = {"capture_output": True, "text": True, "check": False, "timeout": 1200}
    return subprocess.run(command, **{"stdin": subprocess.DEVNULL, **usual, **options})
