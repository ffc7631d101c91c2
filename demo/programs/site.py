"""The URLs of the programs, and the page that shows their events. Everything shown is escaped."""

import json
import re
from dataclasses import asdict, dataclass
from datetime import datetime
from html import escape
from pathlib import Path

from common.credentials import read_credentials
from common.demo_programs import EVENTS_PATH, HOOK_PATH, HOOK_SECRET
from demo.discord.markdown import time_element
from demo.programs.hooks import take_hook
from demo.programs.inngest import take_events
from demo.programs.record import Event, Record
from demo.shell import fill
from demo.web import Answer, Request, json_answer

_EVENTS = re.compile(rf"{EVENTS_PATH}[A-Za-z0-9_-]{{1,200}}")
_TITLES = {"inngest": "Inngest", "webhook": "Signed webhook"}


@dataclass(slots=True)
class Programs:
    """Answers what goes to the programs' addresses; None for other addresses."""

    record: Record
    credentials: Path
    dashboard_url: str

    def handle(self, request: Request) -> Answer | None:
        """Take an event in."""
        is_event = bool(_EVENTS.fullmatch(request.path))
        is_hook = request.path == HOOK_PATH
        if not (is_event or is_hook):
            return None
        if request.method != "POST":
            return json_answer({"error": "method not allowed", "status": 405}, 405)
        if is_event:
            return take_events(self.record, request)
        # Read each time: it is made after this process has begun.
        return take_hook(self.record, request, read_credentials(self.credentials).get(HOOK_SECRET, ""))

    def page(self) -> str:
        """Return the whole page."""
        dashboard = escape(self.dashboard_url)
        return fill("programs.html", rows=self.rows(), version=self.record.version, dashboard_url=dashboard)

    def rows(self) -> str:
        """Return the events, newest first."""
        nothing = '<li class="none">No program was told anything yet. Decide about a message, and look again.</li>'
        return "".join(_row(event) for event in self.record.newest()) or nothing

    def listed(self) -> list[dict[str, object]]:
        """Return the events, newest first, as they came."""
        return [asdict(event) for event in self.record.newest()]


def _row(event: Event) -> str:
    again = f' <span class="chip">came {event.times} times, counted once</span>' if event.times > 1 else ""
    signed = ' <span class="chip green">✓ signature holds</span>' if event.program == "webhook" else ""
    body = escape(json.dumps(event.body, indent=2, ensure_ascii=False))
    return (
        f'<li class="event"><details><summary><span class="chip">{_TITLES.get(event.program, "")}</span> '
        f'<b>{escape(event.name)}</b>{signed}{again} <span class="faint">'
        f'{time_element(datetime.fromisoformat(event.at))}</span></summary><p class="mono faint">{escape(event.id)}</p>'
        f'<pre tabindex="0">{body}</pre></details></li>'
    )
