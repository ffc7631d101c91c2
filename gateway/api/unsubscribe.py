"""The page at which recipients of commercial mail unsubscribe: HTML, and without a key,
unlike the rest of the API.
"""

from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from ninja import Router

from gateway.recipients.suppression import email_of_token, unsubscribe

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex">
<title>Unsubscribe</title>
<style>
:root {{ color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }}
main {{ max-width: 32rem; margin: 15vh auto 0; padding: 0 1.25rem; overflow-wrap: anywhere }}
h1 {{ font-size: 1.4rem }}
button {{ font: inherit; padding: .6rem 1.2rem }}
</style>
</head>
<body><main>{}</main></body>
</html>
"""
_ASK = """<h1>Unsubscribe</h1>
<p>Should {} get no more mail from {}?</p>
<form method="post"><button>Unsubscribe</button></form>"""
_DONE = """<h1>You are unsubscribed</h1>
<p>{} will get no more mail from {}.</p>"""

router = Router()


# Programs that check mail for dangerous links open them, so opening the page changes
# nothing.
@router.get("/unsubscribe/{token}", include_in_schema=False)
def show(request: HttpRequest, token: str) -> HttpResponse:
    """Show the page with its one button."""
    email = email_of_token(token)
    return _page(format_html(_ASK, email.to[0], email.account.name))


@router.post("/unsubscribe/{token}", include_in_schema=False)
def submit(request: HttpRequest, token: str) -> HttpResponse:
    """Unsubscribe: the page's button, or one click in a mail program. The body is not
    read.
    """
    email = email_of_token(token)
    unsubscribe(email=email)
    return _page(format_html(_DONE, email.to[0], email.account.name))


def _page(content: str) -> HttpResponse:
    page = HttpResponse(format_html(_PAGE, content))
    page["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
    )
    # The address of the page is the permission to unsubscribe.
    page["Referrer-Policy"] = "no-referrer"
    return page
