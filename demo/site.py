"""Which address is answered by what. One port serves the stand-ins for Discord and programs, and the inbox."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from demo.discord.page import View
from demo.discord.play import PATH as PLAY
from demo.discord.play import channel_named, member_of
from demo.discord.standin import Standin
from demo.inbox.page import InboxPages
from demo.programs.site import Programs
from demo.shell import asset, fill
from demo.web import Answer, Request, html_answer, json_answer

_MAIL = re.compile(r"/inbox/([^/]{1,200})/")
_ASSET = re.compile(r"/assets/([\w-]+\.(?:css|js|svg))")


@dataclass(frozen=True, slots=True)
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
        return self._page(request) or self._missing()

    def _page(self, request: Request) -> Answer | None:
        pages: dict[str, Callable[[Request], Answer]] = {
            "/": lambda request: html_answer(self.discord.pages.page(_view(request))),
            "/messages/": self._messages,
            "/messages.json": lambda request: json_answer({"messages": self._cards(_view(request))}),
            "/inbox": lambda _: Answer(308, headers={"Location": "/inbox/"}),
            "/inbox/": lambda _: html_answer(self.inbox.index()),
            "/inbox/rows/": self._rows,
            "/programs": lambda _: Answer(308, headers={"Location": "/programs/"}),
            "/programs/": lambda _: html_answer(self.programs.page()),
            "/programs/rows/": lambda request: _fresh(request, self.programs.record.version, self.programs.rows),
            "/programs.json": lambda _: json_answer({"events": self.programs.listed()}),
            "/healthz": lambda _: json_answer({"status": "ok"}),
        }
        if request.path in pages:
            return pages[request.path](request)
        if found := _ASSET.fullmatch(request.path):
            return asset(found[1])
        if found := _MAIL.fullmatch(request.path):
            page = self.inbox.detail(found[1])
            return html_answer(page) if page else None
        return None

    def _messages(self, request: Request) -> Answer:
        pages = self.discord.pages
        return _fresh(request, pages.channel.version, lambda: pages.fragment(_view(request)))

    def _rows(self, request: Request) -> Answer:
        answer = _fresh(request, self.inbox.version, lambda: self.inbox.fragment(request.query.get("chosen", "")))
        answer.headers["X-Count"] = str(self.inbox.count)
        return answer

    def _cards(self, view: View) -> list[dict[str, object]]:
        messages = self.discord.channel.snapshot(view.channel.id)
        return [{**message.content, "edits": message.edits, "pings": message.pings} for message in messages]

    def _missing(self) -> Answer:
        return html_answer(fill("missing.html"), 404)


def _view(request: Request) -> View:
    return View(channel_named(request.query.get("channel", "")), member_of(request.query.get("as", "")))


def _fresh(request: Request, version: str, render: Callable[[], str]) -> Answer:
    """Return the fragment, or 204 when the page already shows this version."""
    if request.query.get("version") == version:
        return Answer(204)
    answer = html_answer(render())
    answer.headers["X-Version"] = version
    return answer
