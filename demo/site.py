"""Which address is answered by what. One port serves the Discord stand-in and the inbox pages."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from demo.discord.channel import Channel
from demo.discord.page import channel_fragment, channel_page
from demo.discord.webhooks import Call, WebhookApi
from demo.inbox.page import InboxPages
from demo.shell import asset, fill
from demo.web import Answer, Request, html_answer, json_answer

_WEBHOOK = re.compile(r"/api(?:/v\d{1,2})?/webhooks/(\d{1,20})/([\w-]{1,200})(?:/messages/(\d{1,20}))?/?")
_MAIL = re.compile(r"/inbox/([^/]{1,200})/")
_ASSET = re.compile(r"/assets/([\w-]+\.(?:css|js|svg))")


@dataclass(frozen=True, slots=True)
class DemoSite:
    """Answers every request of the demo's port."""

    channel: Channel
    api: WebhookApi
    inbox: InboxPages
    dashboard_url: str

    def __call__(self, request: Request) -> Answer:
        """Answer one request."""
        if request.path.startswith("/api/"):
            return self._discord(request)
        if (request.method, request.path) == ("POST", "/control"):
            return self.api.script.control(request)
        if request.method not in ("GET", "HEAD"):
            return json_answer({"message": "405: Method Not Allowed", "code": 0}, 405)
        return self._page(request) or self._missing()

    def _discord(self, request: Request) -> Answer:
        found = _WEBHOOK.fullmatch(request.path)
        if found is None:
            return json_answer({"message": "404: Not Found", "code": 0}, 404)
        return self.api.handle(Call(request, found[1], found[2], found[3]))

    def _page(self, request: Request) -> Answer | None:
        pages: dict[str, Callable[[Request], Answer]] = {
            "/": lambda _: html_answer(channel_page(self.channel, dashboard_url=self.dashboard_url)),
            "/messages/": self._messages,
            "/messages.json": lambda _: json_answer({"messages": self._cards()}),
            "/inbox": lambda _: Answer(308, headers={"Location": "/inbox/"}),
            "/inbox/": lambda _: html_answer(self.inbox.index()),
            "/inbox/rows/": self._rows,
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
        version = self.channel.version
        return _fresh(request, version, lambda: channel_fragment(self.channel))

    def _rows(self, request: Request) -> Answer:
        answer = _fresh(request, self.inbox.version, lambda: self.inbox.fragment(request.query.get("chosen", "")))
        answer.headers["X-Count"] = str(self.inbox.count)
        return answer

    def _cards(self) -> list[dict[str, object]]:
        return [
            {**message.content, "edits": message.edits, "pings": message.pings} for message in self.channel.snapshot()
        ]

    def _missing(self) -> Answer:
        return html_answer(fill("missing.html"), 404)


def _fresh(request: Request, version: str, render: Callable[[], str]) -> Answer:
    """Return the fragment, or 204 when the page already shows this version."""
    if request.query.get("version") == version:
        return Answer(204)
    answer = html_answer(render())
    answer.headers["X-Version"] = version
    return answer
