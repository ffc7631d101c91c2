"""The command line of `./run`: finds the verb, sees to it that what it needs is installed, and calls it."""

import sys
from collections.abc import Callable

from launcher import bootstrap
from launcher.errors import LaunchError
from launcher.screen import complain, say

_HELP = """\
./run                        set up on first use, then start everything; Ctrl-C stops it (--detach: leave it running)
./run stop                   stop whatever runs here
./run reset [--yes]          delete the data of the embedded servers, after asking
./run backup FILE            everything into one file, while it runs; asks for a passphrase for the keys in it
./run restore FILE           such a file into an empty DATA_DIR; proves the ledger and says what was lost since
./run manage ...             Django's command line in the same environment: first_admin, gateway_account, shell ...
./run gateway [--detach]     the gateway alone, with its worker
./run test [--all] [...]     set up and run the checks and tests; arguments go to pytest, and then the tests only run
./run check                  format, lint, types, imports, migrations, deployment settings
./run bench [--smoke] [name] benchmarks; --smoke runs each at its smallest size, to see that it works
./run mutants [module]       break the core on purpose, and count what the tests notice; `show NAME` shows one change
./run screenshots [folder]   pictures of every page and state, at three widths, light and dark
./run help                   this

Settings are environment variables, for instance: PORT=9000 DATA_DIR=/srv/countersign DEMO=0 ./run"""

# Verbs that need the tools of the developers, and those that need no server programs even without addresses.
_DEVELOPMENT = ("test", "check", "bench", "mutants", "screenshots")
_NO_SERVERS = ("stop", "reset", "help")


def main(arguments: list[str]) -> int:
    """Calls the verb; every expected error is a sentence and a status."""
    verb, rest = _split(arguments)
    try:
        call = _verb(verb)
        if verb != "help":
            bootstrap.ensure_installed(development=verb in _DEVELOPMENT, servers=_needs_servers(verb))
            bootstrap.hand_over(arguments)
        return call(rest)
    except LaunchError as error:
        complain(error)
        return error.status
    except OSError as error:
        # A full disk, a folder that may not be written: the system's own words say it best.
        complain(
            LaunchError(
                f"./run cannot go on: {error.strerror or error}{f': {error.filename}' if error.filename else ''}."
            )
        )
        return 1
    except KeyboardInterrupt:
        say("\nstopped")
        return 130


def _split(arguments: list[str]) -> tuple[str, list[str]]:
    if not arguments or arguments[0] == "--detach":
        return "start", arguments
    verb = "help" if arguments[0] in ("-h", "--help") else arguments[0]
    return verb, arguments[1:]


def _needs_servers(verb: str) -> bool:
    import os

    if verb in _NO_SERVERS:
        return False
    given = [any(os.environ.get(f"{name}{end}") for end in ("", "_FILE")) for name in ("DATABASE_URL", "REDIS_URL")]
    # A dump is made and read by PostgreSQL's own programs, wherever the database is.
    return verb in (*_DEVELOPMENT, "backup", "restore") or not all(given)


def _verb(name: str) -> Callable[[list[str]], int]:
    """Imported one by one: the launcher stays in memory as long as the product runs."""
    if name in ("start", "gateway", "stop", "reset"):
        from launcher import run

        verbs: dict[str, Callable[[list[str]], int]] = {
            "start": run.start,
            "gateway": lambda rest: run.start(rest, product="gateway"),
            "stop": run.stop,
            "reset": run.reset,
        }
        return verbs[name]
    if name in ("manage", "backup", "bench"):
        from launcher import borrow

        return {"manage": borrow.manage, "backup": borrow.backup, "bench": borrow.bench}[name]
    if name == "restore":
        from launcher.restore import restore

        return restore
    if name in ("test", "check", "mutants", "screenshots"):
        from launcher import quality

        return {
            "test": quality.test,
            "check": quality.check,
            "mutants": quality.mutants,
            "screenshots": quality.screenshots,
        }[name]
    if name == "help":
        return _help
    raise LaunchError(f"./run does not know {name!r}; ./run help lists what it does.", status=2)


def _help(arguments: list[str]) -> int:
    say(_HELP)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
