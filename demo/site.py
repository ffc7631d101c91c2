"""Which address is answered by what. One port serves the stand-ins for Discord and
programs, and the inbox.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from demo.discord.interactions import PATH as PLAY
from demo.discord.interactions import channel_named, member_of
from demo.discord.page import View
from demo.discord.standin import Standin
from demo.inbox.page import InboxPages
from demo.programs import Programs
from demo.web import Answer, Request, asset, fill, html_answer, json_answer

_MAIL = re.compile(r"/inbox/([^/]{1,200})/")
_ASSET = re.compile(r"/assets/([\w-]+\.(?:css|js|svg))")


@dataclass(frozen=True)
class DemoSite:
    """Answers every request of the demo's port."""

    discord: Standin
    inbox: InboxPages
    programs: Programs

    def __call__(self, request: Request) -> Answer:
        """Answer one request."""
        if request.path.startswith("/api/"):
            return self.discord.api(request)
        if request.path.startswith(PLAY):
            return self.discord.play.handle(request)
        if (request.method, request.path) == ("POST", "/control"):
            return self.discord.script.control(request)
        if answer := self.programs.handle(request):
            return answer
        if request.method not in ("GET", "HEAD"):
            return json_answer({"message": "405: Method Not Allowed", "code": 0}, 405)
        return self._page(request) or html_answer(fill("missing.html"), 404)

    def _page(self, request: Request) -> Answer | None:
        discord = self.discord
        inbox = self.inbox
        programs = self.programs
        view = View(
            channel_named(request.query.get("channel", "")),
            member_of(request.query.get("as", "")),
        )
        match request.path:
            case "/":
                return html_answer(discord.pages.page(view))
            case "/messages/":
                return _fresh(
                    request,
                    discord.channel.version,
                    lambda: discord.pages.fragment(view),
                )
            case "/messages.json":
                shown = discord.channel.snapshot(view.channel.id)
                cards = [
                    {**message.content, "edits": message.edits, "pings": message.pings}
                    for message in shown
                ]
                return json_answer({"messages": cards})
            case "/inbox" | "/programs":
                return Answer(308, headers={"Location": f"{request.path}/"})
            case "/inbox/":
                return html_answer(inbox.index())
            case "/inbox/rows/":
                answer = _fresh(
                    request,
                    inbox.version,
                    lambda: inbox.fragment(request.query.get("chosen", "")),
                )
                answer.headers["X-Count"] = str(inbox.count)
                return answer
            case "/programs/":
                return html_answer(programs.page())
            case "/programs/rows/":
                return _fresh(request, programs.record.version, programs.rows)
            case "/programs.json":
                return json_answer({"events": programs.listed()})
            case "/healthz":
                return json_answer({"status": "ok"})
        if found := _ASSET.fullmatch(request.path):
            return asset(found[1])
        if found := _MAIL.fullmatch(request.path):
            page = inbox.detail(found[1])
            return html_answer(page) if page else None
        return None


def _fresh(request: Request, version: str, render: Callable[[], str]) -> Answer:
    """Return the fragment, or 204 when the page already shows this version."""
    if request.query.get("version") == version:
        return Answer(204)
    answer = html_answer(render())
    answer.headers["X-Version"] = version
    return answer
