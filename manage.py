#!/usr/bin/env python
"""Django's command line. `./run manage ...` calls it with the environment of the
running product.
"""

import os
import sys
import uuid

from django.core.management import execute_from_command_line

from common.env import BadVariable
from common.logs import traced

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
    # A trace id for this command, so that its ledger entries and log lines can be
    # found.
    with traced(uuid.uuid4().hex[:16]):
        try:
            execute_from_command_line(sys.argv)
        except BadVariable as error:
            sys.exit(str(error))
