"""The commands of Countersign:

./run                        set up on first use, then start everything; Ctrl-C stops it (--detach: leave it running)
./run install                only set up, for an account that may not write here
./run stop                   stop whatever runs here
./run reset [--yes]          delete the data of the embedded servers, after asking
./run backup FILE            everything into one file, while it runs; asks for a passphrase for the keys in it
./run restore FILE           such a file into an empty DATA_DIR; proves the ledger and says what was lost since
./run manage ...             Django's command line in the same environment: first_admin, gateway_account, shell ...
./run gateway [--detach]     the gateway alone, with its worker
./run process NAME           one process in the foreground, for systemd or containers: prepare, parser, web ...
./run healthy NAME           whether that process answers and works
./run test [--all] [...]     set up and run the checks and tests; arguments go to pytest, and then the tests only run
./run check                  format, lint, types, imports, migrations, deployment settings
./run bench [--smoke] [name] benchmarks, and docs/benchmarks.md; --smoke only tries each, at its smallest size
./run help                   this

Settings are environment variables, for instance: PORT=9000 DATA_DIR=/srv/countersign DEMO=0 ./run
"""

import importlib
import os
import sys

from common.env import BadVariable
from launcher import bootstrap
from launcher.console import LaunchError, complain, say

# The module of each command. Only that one is imported: the launcher stays in memory as
# long as the product runs.
_COMMANDS = {
    **dict.fromkeys(
        "start gateway stop reset manage backup bench restore".split(), "commands"
    ),
    **dict.fromkeys(("process", "healthy"), "single"),
    **dict.fromkeys(("test", "check"), "quality"),
}
# Commands that need the developers' tools; and commands that do not need the programs
# of PostgreSQL and Redis, even if no addresses of servers are given.
_DEVELOPMENT = ("test", "check", "bench")
_NO_SERVERS = ("stop", "reset")


def main(arguments: list[str]) -> int:
    """Calls the command and returns the exit status. Every expected error is printed as
    a sentence.
    """
    name, rest = (
        ("start", arguments)
        if not arguments or arguments[0] == "--detach"
        else (arguments[0], arguments[1:])
    )
    try:
        if name in ("help", "-h", "--help"):
            say(str(__doc__).strip())
            return 0
        if name not in (*_COMMANDS, "install"):
            raise LaunchError(
                f"./run does not know {name!r}; ./run help lists what it does.",
                status=2,
            )
        # Whether the caller gives the address of each server.
        provided = [
            any(os.environ.get(f"{url}{end}") for end in ("", "_FILE"))
            for url in ("DATABASE_URL", "REDIS_URL")
        ]
        # PostgreSQL's own programs make and read backups, even if the server is not
        # ours.
        needs_programs = name in (*_DEVELOPMENT, "backup", "restore", "install")
        bootstrap.ensure_installed(
            development=name in _DEVELOPMENT,
            servers=name not in _NO_SERVERS and (needs_programs or not all(provided)),
        )
        if name == "install":
            return 0
        bootstrap.hand_over(arguments)
        module = importlib.import_module(f"launcher.{_COMMANDS[name]}")
        return int(getattr(module, name)(rest))
    except LaunchError as error:
        complain(error)
        return error.status
    except BadVariable as error:
        complain(LaunchError(str(error)))
        return 1
    except OSError as error:
        # Such as a full disk, or a folder that may not be written: the system's message
        # says what is wrong.
        where = f": {error.filename}" if error.filename else ""
        complain(
            LaunchError(f"./run cannot continue: {error.strerror or error}{where}.")
        )
        return 1
    except KeyboardInterrupt:
        say("\nstopped")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
