"""`python -m demo`: runs the SMTP inbox, the web server with the stand-ins for Discord
and programs, and the agent, each in a thread of one process.

If one of these parts fails, the process exits with 1, and the launcher starts it again.
"""

import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from mailbox import Maildir
from pathlib import Path

from common.logs import JsonFormatter
from demo.agent import Agent
from demo.inbox import listen, serve_smtp
from demo.site import DemoSite
from demo.web import Server

log = logging.getLogger("demo")


def main() -> int:
    """Run until a signal comes, and return 0; or until a part ends, and return 1."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # At a lower level aiosmtpd would log addresses and commands.
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    ended: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: ended.put(0))
    parts = make_parts(os.environ)

    def watch(name: str) -> None:
        try:
            parts[name]()
            log.error("part ended", extra={"event": "demo.part_ended", "part": name})
        except BaseException:  # whatever ends a part must end the process
            log.exception("part died", extra={"event": "demo.part_died", "part": name})
        ended.put(1)

    for name in parts:
        threading.Thread(target=watch, args=(name,), name=name, daemon=True).start()
    return ended.get()


def make_parts(environ: Mapping[str, str]) -> dict[str, Callable[[], None]]:
    """Bind the ports and make the folders, so that errors occur here and not in a
    thread. Return the functions that run the parts, by name.
    """
    data_dir = Path(environ["DATA_DIR"]).absolute()
    public_url = (environ.get("PUBLIC_URL") or "http://127.0.0.1:8000").rstrip("/")
    hosts = environ.get("ALLOWED_HOSTS") or "127.0.0.1,localhost"
    allowed_hosts = frozenset(hosts.lower().replace(" ", "").split(",")) - {""}
    # The folder of all delivered mail, as in OUTBOX_DIR of `credentials.env`.
    outbox = data_dir / "outbox"
    # This creates the folders, readable only by their owner.
    Maildir(outbox)
    site = DemoSite(data_dir, outbox, public_url)
    server = Server(int(environ["DISCORD_PORT"]), site, allowed_hosts)
    listener = listen(int(environ["SMTP_PORT"]))
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
        "smtp": lambda: serve_smtp(listener, outbox),
    }
    if environ.get("DEMO", "1") == "1":
        gateway_url = (environ.get("MULTIMAIL_API_URL") or "").rstrip("/")
        parts["agent"] = Agent(data_dir, gateway_url).run
    return parts


if __name__ == "__main__":
    sys.exit(main())
