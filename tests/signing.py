"""Signs people in to the desk in tests: by the sign-in form, or directly by a session.
Also makes authenticator apps and their codes.
"""

import time

from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.conf import settings
from django.contrib.auth import login
from django.http import HttpRequest

from common.encryption import encrypt
from people.sign_in.sessions import SessionStore

PASSWORD = "correct horse battery"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def give_app(person):
    """Give a person an authenticator app that was never used."""
    return Authenticator.objects.create(
        user=person, type="totp", data={"secret": encrypt(SECRET), "used": 0}
    )


def code_now(secret=SECRET, *, steps=0):
    """Return the code that an app shows now, or `steps` half minutes later."""
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30 + steps))


def sign_in(client, person, **more):
    """Post the form of the sign-in page."""
    return client.post(
        "/accounts/login/", {"login": person.email, "password": PASSWORD, **more}
    )


def resume(client, person, *, minutes=0):
    """Make a test client a browser in which the person signed in `minutes` ago."""
    # As `force_login` does, which would save the session twice.
    cookie = client.cookies.get(settings.SESSION_COOKIE_NAME)
    request = HttpRequest()
    request.session = session = SessionStore(cookie.value if cookie else None)
    login(request, person, backend="people.sign_in.backend.PersonBackend")
    proof = {
        "method": "password",
        "at": time.time() - minutes * 60,
        "email": person.email,
    }
    session["account_authentication_methods"] = [proof]
    session["account_authentication_methods_user"] = str(person.pk)
    session.save()
    client.cookies[settings.SESSION_COOKIE_NAME] = session.session_key
    return client
