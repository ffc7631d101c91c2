#!/usr/bin/env python
"""Django's command line. `./run manage ...` calls it with the environment of the
running product.
"""

import os
import sys
import uuid

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from django.db import DatabaseError
from psycopg import Error as PostgresError
from redis import RedisError

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
        except (
            DatabaseError,
            ImproperlyConfigured,
            OSError,
            PostgresError,
            RedisError,
        ) as error:
            # What an operator can repair: a server that is down, a full disk, a file or
            # a setting that is wrong.
            if "--traceback" in sys.argv:
                raise
            reason, *_ = str(error).splitlines() or [type(error).__name__]
            sys.stderr.write(
                f"The command could not be completed: {reason.rstrip('.')}. ./run manage doctor says more.\n"
            )
            # As `doctor` ends if the desk cannot be checked.
            sys.exit(3)
