"""`python -m demo`: runs the SMTP inbox and the web server with the stand-ins for Discord
and programs in one event loop, and the agent in a thread.

If one of these parts fails, the process ends, and the launcher starts it again.
"""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Mapping
from mailbox import Maildir
from pathlib import Path

import uvicorn

from common.logs import JsonFormatter
from demo.agent import Agent
from demo.inbox import listen, smtp_session
from demo.site import make_site

log = logging.getLogger("demo")


def main() -> None:
    """Run until a signal comes, or until a part fails."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # At a lower level aiosmtpd would log addresses and commands.
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    demo = Demo(os.environ)
    if os.environ.get("DEMO", "1") == "1":
        agent = Agent(demo.data_dir)
        threading.Thread(target=_work, args=(agent,), daemon=True).start()
    asyncio.run(demo.serve())


def _work(agent: Agent) -> None:
    try:
        agent.run()
    except BaseException:  # the process must not go on without it
        log.exception("agent died", extra={"event": "demo.agent_died"})
        os._exit(1)


class Demo:
    """The inbox and the web server."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Bind the ports now, so that a port in use is an error before anything else
        starts.
        """
        self.data_dir = Path(environ["DATA_DIR"]).absolute()
        # The folder of all delivered mail, as in OUTBOX_DIR of `credentials.env`.
        self.outbox = self.data_dir / "outbox"
        # This creates the folders, readable only by their owner.
        Maildir(self.outbox)
        desk_url = (environ.get("PUBLIC_URL") or "http://127.0.0.1:8000").rstrip("/")
        hosts = environ.get("ALLOWED_HOSTS") or "127.0.0.1,localhost"
        allowed_hosts = [host.strip().lower() for host in hosts.split(",")]
        # No request is logged, because URLs of webhooks are secrets.
        config = uvicorn.Config(
            make_site(self.data_dir, self.outbox, desk_url, allowed_hosts),
            access_log=False,
            log_config=None,
            log_level="error",
            timeout_graceful_shutdown=1,
        )
        self.server = uvicorn.Server(config)
        self.web = listen(int(environ["DISCORD_PORT"]))
        self.smtp = listen(int(environ["SMTP_PORT"]))

    async def serve(self) -> None:
        """Answer requests and accept mail until a signal comes."""
        loop = asyncio.get_running_loop()
        await loop.create_server(lambda: smtp_session(self.outbox), sock=self.smtp)
        await self.server.serve([self.web])


if __name__ == "__main__":
    main()
