"""Floods, which are messages that were set apart because a cap was passed: the commands
and pages to put them back into the queue, and to set the caps.

Start with `commands.py`. Counting and setting apart is in `approvals/caps.py`.
"""
