"""`./run process NAME` runs one process of the product for a supervisor that is not
ours, such as systemd or a container's runtime; `./run healthy NAME` checks it.

The supervisor starts `prepare` first, once, and each of the others after it.
"""

import os
import resource
import time
from pathlib import Path

from launcher import data_folder, environment
from launcher.child import log_folder
from launcher.console import LaunchError, say
from launcher.environment import Environment
from launcher.paths import ROOT
from launcher.postgres import Parser
from launcher.processes import PREPARE, Process, refuse_used_ports, table
from launcher.supervisor import process_variables

# A process that gave no sign of life for so many seconds is not healthy.
_SILENT_SECONDS = 60
_OPEN_FILES = 65_536


def process(arguments: list[str]) -> int:
    """Becomes the process with this name."""
    settings, plan = _find("process", arguments)
    if (settings.data / data_folder.RESTORING).exists():
        raise LaunchError(
            f"A restore into {settings.data} was interrupted. Empty that folder and restore again."
        )
    allow_open_files()
    parser = Parser(settings.data)
    if plan.name == parser.name:
        parser.remove_sockets()
        variables = parser.environment
    else:
        variables = process_variables(
            settings,
            {"PARSER_SOCKET": str(parser.socket)},
            may_make_keys=plan == PREPARE,
        ) | dict(plan.environment)
        if plan.has_heartbeat:
            variables["HEARTBEAT_FILE"] = str(_heartbeat(settings, plan))
    refuse_used_ports(settings, [plan])
    os.chdir(ROOT)
    os.execve(plan.command[0], plan.command, variables)  # noqa: S606


def healthy(arguments: list[str]) -> int:
    """Checks the process with this name once: returns 0 if it answers and works."""
    settings, plan = _find("healthy", arguments)
    if plan.name == Parser.name:
        answers = Parser(settings.data).answers()
    else:
        answers = all(check.passes() for check in plan.checks)
    if plan.has_heartbeat and answers:
        beaten_at = _heartbeat(settings, plan).stat().st_mtime
        answers = time.time() - beaten_at < _SILENT_SECONDS
    if not answers:
        say(f"{plan.name} does not answer, or its work stands still.")
    return 0 if answers else 1


def allow_open_files() -> None:
    """Raises the limit of open files, which the processes inherit. The usual limit of
    many systems is lower than the number of connections that the web processes accept.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def _heartbeat(settings: Environment, plan: Process) -> Path:
    return log_folder(settings.data) / f"{plan.name}.heartbeat"


# Returns the settings, and the row of the process that the arguments name.
def _find(verb: str, arguments: list[str]) -> tuple[Environment, Process]:
    settings = environment.read({"DEMO": "0"} | dict(os.environ))
    data_folder.claim(settings.data)
    parser = Process(name=Parser.name, command=tuple(Parser(settings.data).command))
    plans = {plan.name: plan for plan in (PREPARE, parser, *table(settings))}
    if len(arguments) != 1 or arguments[0] not in plans:
        raise LaunchError(
            f"./run {verb} takes one of these names: {', '.join(plans)}.", status=2
        )
    if settings.own_database or settings.own_redis:
        raise LaunchError(
            f"./run {verb} needs the servers in DATABASE_URL and REDIS_URL: it starts none."
        )
    return settings, plans[arguments[0]]
