"""Runs the demo (stand-ins for Discord and for a mail server) on free ports, in threads
of the test process, and sends requests to it.
"""

import asyncio
import smtplib
import threading
from dataclasses import dataclass
from email.message import EmailMessage
from functools import partial
from itertools import count
from pathlib import Path

import requests

from demo import __main__ as main

SECONDS = 60.0
ask = partial(requests.request, timeout=SECONDS)
_webhook_ids = count(118_000_000_000_001)


@dataclass
class Demo:
    """The demo without its agent. Its data stay in the folder."""

    data_dir: Path
    public_url: str = "http://desk.test"

    @property
    def variables(self):
        ports = {"DISCORD_PORT": "0", "SMTP_PORT": "0"}
        return {
            **ports,
            "DATA_DIR": str(self.data_dir),
            "PUBLIC_URL": self.public_url,
            "DEMO": "quiet",
        }

    def start(self):
        demo = main.Demo(self.variables)
        self.url = f"http://127.0.0.1:{demo.web.getsockname()[1]}"
        self.smtp_port = demo.smtp.getsockname()[1]
        self.server = demo.server
        self._serving = threading.Thread(
            target=asyncio.run, args=(demo.serve(),), daemon=True
        )
        self._serving.start()
        return self

    def stop(self):
        self.server.should_exit = True
        self._serving.join()

    def get(self, path, **options):
        return ask("GET", self.url + path, **options)

    def play(self, act, **fields):
        """Press a button as a visitor of the demo's page would."""
        return ask("POST", f"{self.url}/play/{act}", json=fields)

    @property
    def application(self):
        """The stand-in's application, as its file describes it."""
        lines = (self.data_dir / "discord.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def bot(self, method, path, payload=None, *, token=None):
        """Call Discord's API as the bot."""
        headers = {
            "Authorization": f"Bot {token or self.application['DISCORD_BOT_TOKEN']}"
        }
        return ask(
            method,
            f"{self.url}/api/v10{path}",
            json=payload,
            headers=headers,
        )

    def new_webhook(self):
        """Return the address of a webhook with a rate limit of its own."""
        return f"{self.url}/api/webhooks/{next(_webhook_ids)}/a-token_1"

    def mail(self, recipients, subject="Hello", **parts):
        message = EmailMessage()
        message["From"] = "Desk <desk@a.example>"
        message["To"] = recipients[0]
        message["Subject"] = subject
        message.set_content(parts.get("text", "plain"))
        if "html" in parts:
            message.add_alternative(parts["html"], subtype="html")
        if "file" in parts:
            message.add_attachment(
                b"1234", maintype="application", subtype="pdf", filename=parts["file"]
            )
        with smtplib.SMTP("127.0.0.1", self.smtp_port) as client:
            return client.send_message(message, "desk@a.example", recipients)
