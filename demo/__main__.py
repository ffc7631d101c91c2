"""`python -m demo`: the SMTP inbox, stand-ins for Discord and programs, and the agent,
each in a thread of one process.

If a part fails the process exits with 1, and the launcher starts all of it again.
"""

import logging
import queue
import signal
import sys
import threading
from collections.abc import Callable

from common.logs import JsonFormatter
from demo.agent import Agent
from demo.discord.standin import Standin
from demo.environment import BadEnvironment, Environment, read_environment
from demo.inbox import smtp
from demo.inbox.maildir import Maildir
from demo.inbox.page import InboxPages
from demo.programs import Programs, Record
from demo.site import DemoSite
from demo.web import Server

log = logging.getLogger("demo")

Ended = queue.SimpleQueue[int]


def main() -> int:
    """Run until a signal (0), a part that dies (1), or an environment that cannot be
    used (2).
    """
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # aiosmtpd tells addresses and commands at this level.
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    ended: Ended = queue.SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: ended.put(0))
    try:
        parts = _parts(read_environment())
    except (BadEnvironment, OSError) as error:
        about = {"event": "demo.cannot_start", "reason": str(error)}
        log.error("cannot start", extra=about)
        return 2 if isinstance(error, BadEnvironment) else 1
    for name, run in parts.items():
        thread = threading.Thread(
            target=_watched, args=(name, run, ended), name=name, daemon=True
        )
        thread.start()
    return ended.get()


def _parts(environment: Environment) -> dict[str, Callable[[], None]]:
    """Bind the ports and open the files, so that errors occur here, then return the
    parts to run.
    """
    maildir = Maildir(environment.outbox_dir)
    maildir.create()
    discord = Standin(
        environment.data_dir, environment.public_url, environment.discord_app_id
    )
    record = Record(environment.data_dir / "programs.jsonl")
    record.open()
    programs = Programs(
        record, environment.data_dir / "credentials.env", environment.public_url
    )
    site = DemoSite(discord, InboxPages(maildir, environment.public_url), programs)
    server = Server(environment.discord_port, site, environment.allowed_hosts)
    listener = smtp.listen(environment.smtp_port)
    log.info(
        "listening",
        extra={
            "event": "demo.listening",
            "discord_port": server.server_address[1],
            "smtp_port": listener.getsockname()[1],
        },
    )
    parts = {
        "discord": server.serve_forever,
        "smtp": lambda: smtp.serve(listener, maildir),
    }
    if environment.agent_writes:
        parts["agent"] = Agent(environment).run
    return parts


def _watched(name: str, run: Callable[[], None], ended: Ended) -> None:
    try:
        run()
    except BaseException:  # whatever ends a part must end the process
        log.exception("part died", extra={"event": "demo.part_died", "part": name})
    else:
        log.error("part ended", extra={"event": "demo.part_ended", "part": name})
    ended.put(1)


if __name__ == "__main__":
    sys.exit(main())
