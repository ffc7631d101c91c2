"""Runs the real `python -m demo` on free ports, as the launcher does, and talks to it from outside."""

import json
import os
import signal
import smtplib
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from itertools import count
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).parents[3]
SECONDS = 10.0
_webhook_ids = count(118_000_000_000_001)


def until(condition: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """Return the first true answer of `condition`, or fail when the time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := condition():
            return answer
        time.sleep(0.01)
    raise AssertionError(f"still not so after {seconds} s")


@dataclass
class Demo:
    """A running demo process."""

    data_dir: Path
    mode: str = "quiet"
    environment: dict[str, str] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)

    def start(self) -> "Demo":
        ports = {"DISCORD_PORT": "0", "SMTP_PORT": "0", "PUBLIC_URL": "http://desk.test"}
        environment = {**os.environ, **ports, "DATA_DIR": str(self.data_dir), "DEMO": self.mode, **self.environment}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "demo"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        self.lines = []
        self.reader = threading.Thread(target=self._collect, daemon=True)
        self.reader.start()
        listening = until(lambda: self.event("demo.listening"))
        self.url = f"http://127.0.0.1:{listening['discord_port']}"
        self.smtp_port = listening["smtp_port"]
        return self

    def _collect(self) -> None:
        assert self.process.stdout
        with self.process.stdout as output:
            self.lines.extend(json.loads(line) for line in output)

    def event(self, name: str) -> dict[str, Any] | None:
        return next((line for line in list(self.lines) if line.get("event") == name), None)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        status = self.process.wait(5)
        self.reader.join(5)
        return status

    def get(self, path: str, **options: Any) -> requests.Response:
        return requests.get(self.url + path, timeout=5, **options)

    def control(self, *steps: dict[str, Any]) -> None:
        assert requests.post(f"{self.url}/control", json={"next": steps}, timeout=5).status_code == 200

    @property
    def application(self) -> dict[str, str]:
        """The stand-in's application, as its file describes it."""
        lines = (self.data_dir / "discord.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def bot(self, method: str, path: str, payload: Any = None, *, token: str | None = None) -> requests.Response:
        """Call Discord's API as the bot."""
        headers = {"Authorization": f"Bot {token or self.application['DISCORD_BOT_TOKEN']}"}
        return requests.request(method, f"{self.url}/api/v10{path}", json=payload, headers=headers, timeout=5)

    def play(self, act: str, **asked: Any) -> requests.Response:
        """Act as somebody who looks at the page."""
        return requests.post(f"{self.url}/play/{act}", json=asked, timeout=10)

    def new_webhook(self) -> str:
        """Return the address of a webhook with a rate limit of its own."""
        return f"{self.url}/api/webhooks/{next(_webhook_ids)}/a-token_1"

    def mail(self, recipients: list[str], subject: str = "Hello", **parts: str) -> dict[str, tuple[int, bytes]]:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = "Desk <desk@a.example>", recipients[0], subject
        message.set_content(parts.get("text", "plain"))
        if "html" in parts:
            message.add_alternative(parts["html"], subtype="html")
        if "file" in parts:
            message.add_attachment(b"1234", maintype="application", subtype="pdf", filename=parts["file"])
        with smtplib.SMTP("127.0.0.1", self.smtp_port) as client:
            return client.send_message(message, "desk@a.example", recipients)
