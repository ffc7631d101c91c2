"""Settings of passwords, second factors and the sign-in provider that never vary; settings.py takes them over."""

from typing import Any

MFA_ADAPTER = "people.sign_in.adapters.FactorAdapter"
# Recovery codes are our own: allauth would keep what they are made from (people/sign_in/recovery_codes.py).
MFA_SUPPORTED_TYPES = ["totp", "webauthn"]
MFA_FORMS = {
    "authenticate": "people.sign_in.second_step.StepForm",
    "reauthenticate": "people.sign_in.second_step.AgainForm",
    "login_webauthn": "people.sign_in.passkeys.SignInForm",
    "authenticate_webauthn": "people.sign_in.passkeys.StepPasskeyForm",
    "reauthenticate_webauthn": "people.sign_in.passkeys.AgainPasskeyForm",
}
MFA_PASSKEY_LOGIN_ENABLED = True
# A passkey counts as two factors, so the device must have asked for a finger, a face or a number.
MFA_WEBAUTHN_USER_VERIFICATION = "required"
SOCIALACCOUNT_ADAPTER = "people.sign_in.provider.ProviderAdapter"
# A form that ends at another site is stopped by our own form-action rule; a link is not (people/views/provider.py).
SOCIALACCOUNT_LOGIN_ON_GET = True
# Scrypt needs memory for each guess, which makes guessing on many processors expensive, and half the processor time of
# PBKDF2 for a sign-in. PBKDF2 stays to read older passwords: Django stores them anew at the next sign-in.
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.ScryptPasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "people.sign_in.passwords.GuessablePasswordValidator"},
]


def provider(*, issuer: str, client_id: str, client_secret: str, name: str) -> dict[str, Any]:
    """Return what allauth needs to know of the one OpenID Connect provider; none where there is no issuer."""
    app = {
        "provider_id": "desk",
        "name": name,
        "client_id": client_id,
        "secret": client_secret,
        "settings": {"server_url": issuer},
    }
    return {"openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": [app] if issuer else []}}
