"""Checks that all web servers of a running product answer."""

import urllib.request


def status(url):
    with urllib.request.urlopen(url, timeout=20) as answer:
        return int(answer.status)


def everything_answers(stack):
    env = stack.env
    urls = [
        f"{stack.url}/readyz",
        f"http://127.0.0.1:{env['GATEWAY_PORT']}/health",
        f"http://127.0.0.1:{env['GATEWAY_PORT']}/docs",
        f"http://127.0.0.1:{env['LIVE_PORT']}/live/health",
        f"http://127.0.0.1:{env['DISCORD_PORT']}/",
    ]
    return all(status(url) == 200 for url in urls)
