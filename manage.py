#!/usr/bin/env python
"""Django's command line. `./run manage ...` calls it with the environment of the running product."""

import os
import sys
import uuid

from django.core.management import execute_from_command_line

from common.logs import traced

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
    # What a command does is found again by this number, in the ledger as in its log lines.
    with traced(uuid.uuid4().hex[:16]):
        execute_from_command_line(sys.argv)
