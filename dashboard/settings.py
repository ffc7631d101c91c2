"""Django's settings, for the desk and for the gateway. Everything that varies comes
from environment variables, read by env.py.

SERVE says what a process answers: `dashboard` (the desk), `gateway` (the
MultiMail-compatible API), or, for commands and workers, `both`.
"""

import os
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from django.http.request import split_domain_port

from common.env import (
    BadVariable,
    env_choice,
    env_dsn,
    env_int,
    env_list,
    env_mail_url,
    env_origin,
    env_str,
    env_url,
)
from dashboard.env import connection_settings, env_secret, env_server

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(env_str("DATA_DIR", BASE_DIR / "var")).resolve()

DEBUG = env_choice("DEBUG", "0", ("0", "1")) == "1"
SECRET_KEY = env_secret("SECRET_KEY", at_least=32)
SECRET_KEY_FALLBACKS = env_list("SECRET_KEY_FALLBACKS")
ENCRYPTION_KEYS = env_list("ENCRYPTION_KEYS")
# The keys that sign seals of the ledger, the newest first. The second one signs the
# announcement of its successor.
SEAL_KEYS = env_list("SEAL_KEY")
SEAL_FILE = Path(env_str("SEAL_FILE", DATA_DIR / "seals.jsonl"))
# For how many days the ledger keeps names, subjects and addresses; 0 means for ever.
AUDIT_DETAILS_DAYS = env_int("AUDIT_DETAILS_DAYS", 0)
SERVE = env_choice("SERVE", "both", ("dashboard", "gateway", "both"))
# How old the newest backup may be before an operator is told; 0 means any age.
BACKUP_DAYS = env_int("BACKUP_DAYS", 7)
# Whether the demo runs: 1 with its agent, quiet without the agent.
DEMO = env_choice("DEMO", "0", ("0", "1", "quiet"))

# --- where things are -----------------------------------------------------------------
PORT = env_int("PORT", 8000)
GATEWAY_PORT = env_int("GATEWAY_PORT", 8001)
LIVE_PORT = env_int("LIVE_PORT", 8002)
DISCORD_PORT = env_int("DISCORD_PORT", 8003)
SMTP_PORT = env_int("SMTP_PORT", 8025)
INBOUND_PORT = env_int("INBOUND_PORT", 8026)
INBOUND_HOST = env_str("INBOUND_HOST", "127.0.0.1")
PUBLIC_URL = env_origin("PUBLIC_URL", f"http://127.0.0.1:{PORT}")
_IS_PUBLIC = urlsplit(PUBLIC_URL).hostname not in ("127.0.0.1", "localhost", "::1")
if DEBUG and _IS_PUBLIC:
    # Django's error pages for DEBUG show settings and variables.
    raise BadVariable(
        "DEBUG must be 0 where PUBLIC_URL is an address that others can reach."
    )
# The address at which recipients reach the gateway to unsubscribe.
GATEWAY_PUBLIC_URL = PUBLIC_URL if _IS_PUBLIC else f"http://127.0.0.1:{GATEWAY_PORT}"
LIVE_URL = env_str("LIVE_URL", "/live/" if PUBLIC_URL.startswith("https://") else "")
ALLOWED_HOSTS = [
    split_domain_port(urlsplit(PUBLIC_URL).netloc)[0],
    *env_list("ALLOWED_HOSTS", "127.0.0.1,localhost"),
]
TRUSTED_PROXIES = env_list("TRUSTED_PROXIES")
TRUSTED_RELAYS = env_list("TRUSTED_RELAYS")
# The desk listens only on the loopback interface, so a public address is that of a
# proxy.
IS_BEHIND_PROXY = _IS_PUBLIC or bool(TRUSTED_PROXIES)
OUTGOING_ALLOW = env_list("OUTGOING_ALLOW")
MULTIMAIL_API_URL = env_url("MULTIMAIL_API_URL", f"http://127.0.0.1:{GATEWAY_PORT}")
# Whether a person has to confirm, with a code, what an admin key changes: mailboxes,
# keys, webhooks, the end of the account. `address`: only if the account has an
# oversight address, to which the code is sent.
GATEWAY_APPROVAL_CODES = env_choice(
    "GATEWAY_APPROVAL_CODES", "address", ("address", "0", "1")
)
# How many calls one API key may make in a minute; 0 means no limit.
GATEWAY_RATE_LIMIT = env_int("GATEWAY_RATE_LIMIT", 12000)
# The DNS server that the gateway asks whether an account owns a domain; None means the
# system's resolver.
DNS_SERVER = env_server("DNS_SERVER")
# A monitor on another host needs this token for /metrics; empty: no access.
METRICS_TOKEN = (
    env_secret("METRICS_TOKEN", at_least=16) if env_str("METRICS_TOKEN", "") else ""
)
# Where errors and spans are reported (dashboard/reporting); empty means nowhere.
SENTRY_DSN = env_dsn("SENTRY_DSN")
OTEL_EXPORTER_OTLP_ENDPOINT = env_url("OTEL_EXPORTER_OTLP_ENDPOINT", "")
EMAIL_URL = env_mail_url("EMAIL_URL")
# The sender of notices by email; empty: countersign@ and the host of PUBLIC_URL.
EMAIL_FROM = env_str("EMAIL_FROM", "")
# An OpenID Connect provider to sign in with, besides passwords; empty means none.
OIDC_ISSUER = env_url("OIDC_ISSUER", "")
OIDC_CLIENT_ID = env_str("OIDC_CLIENT_ID") if OIDC_ISSUER else ""
OIDC_CLIENT_SECRET = env_str("OIDC_CLIENT_SECRET") if OIDC_ISSUER else ""
OIDC_NAME = env_str("OIDC_NAME", "your organisation")
DISCORD_APP_ID = env_str("DISCORD_APP_ID", "")
DISCORD_PUBLIC_KEY = env_str("DISCORD_PUBLIC_KEY", "")
DISCORD_BOT_TOKEN = env_str("DISCORD_BOT_TOKEN", "")
# The signing secret of the desk's Slack app; without it, cards have no buttons there.
SLACK_SIGNING_SECRET = env_str("SLACK_SIGNING_SECRET", "")
# The URL of Discord's API; the demo has a stand-in for it.
DISCORD_API_URL = env_str("DISCORD_API_URL", "https://discord.com/api/v10")

# --- limits for strangers and slow clients --------------------------------------------
# A request's body may take REQUEST_BODY_SECONDS, and one second more for every
# REQUEST_BODY_RATE bytes of it that were received.
REQUEST_BODY_SECONDS = env_int("REQUEST_BODY_SECONDS", 30)
REQUEST_BODY_RATE = env_int("REQUEST_BODY_RATE", 10_000)
# The module that says to which session or API key a request belongs, and how large a
# body each path accepts.
REQUEST_RULES = (
    "gateway.request_rules" if SERVE == "gateway" else "dashboard.serving.request_rules"
)
# The live process reads this variable itself, because it does not use these settings.
LIVE_STREAMS_PER_PERSON = env_int("LIVE_STREAMS_PER_PERSON", 6)
CSP_REPORTS_PER_MINUTE = env_int("CSP_REPORTS_PER_MINUTE", 60)

# --- what is installed ----------------------------------------------------------------
_DESK_APPS = """
    allauth
    allauth.account
    allauth.mfa
    allauth.socialaccount
    allauth.socialaccount.providers.openid_connect
    allauth.usersessions
    django.forms
    django_htmx
    alerts.apps.AlertsConfig
    notices.apps.NoticesConfig
    approvals.apps.ApprovalsConfig
    connections.apps.ConnectionsConfig
    policy.apps.PolicyConfig
    mirror.apps.MirrorConfig
    people.apps.PeopleConfig
    audit.apps.AuditConfig
""".split()
# Only the process that answers the API needs django-ninja; the worker stays smaller
# without it.
_GATEWAY_APPS = [
    "gateway.apps.GatewayConfig",
    *(["ninja"] if SERVE == "gateway" and "INBOUND" not in os.environ else []),
]
INSTALLED_APPS = [
    "dashboard.apps.DashboardConfig",
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.staticfiles",
    *(_DESK_APPS if SERVE != "gateway" else []),
    *(_GATEWAY_APPS if SERVE in ("gateway", "both") else []),
]
if SERVE == "gateway":
    MIDDLEWARE = [
        "gateway.middleware.JsonOnlyMiddleware",
        "whitenoise.middleware.WhiteNoiseMiddleware",
    ]
    ROOT_URLCONF = "gateway.urls"
    APPEND_SLASH = False
else:
    MIDDLEWARE = [
        "dashboard.frame.middleware.TraceMiddleware",
        "dashboard.frame.middleware.CompressMiddleware",
        "dashboard.frame.middleware.SecurityHeadersMiddleware",
        "whitenoise.middleware.WhiteNoiseMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "dashboard.frame.middleware.ActorMiddleware",
        "dashboard.frame.middleware.WordsMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django_htmx.middleware.HtmxMiddleware",
        "allauth.account.middleware.AccountMiddleware",
        "people.sign_in.middleware.SignInMiddleware",
        "dashboard.frame.middleware.DenialsMiddleware",
        "people.directory.safeguard_views.SecondAdminMiddleware",
        # Every page requires people to be signed in, except for @login_not_required.
        "people.sign_in.middleware.SignedInMiddleware",
    ]
    ROOT_URLCONF = "dashboard.urls"
    AUTH_USER_MODEL = "people.Person"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "dashboard.frame.context.desk",
            ],
            "builtins": [
                "django.templatetags.static",
                "dashboard.templatetags.desk",
                "dashboard.templatetags.markup",
            ],
        },
    },
]

FORM_RENDERER = "common.pages.DeskRenderer"

# --- PostgreSQL and Redis -------------------------------------------------------------
OWN_DATABASE_URL = env_str("DATABASE_URL")
DATABASES = {
    "default": {
        **connection_settings(OWN_DATABASE_URL),
        "ENGINE": "common.database",
        # In seconds. A session of PostgreSQL caches what it has used and grows up to
        # 12 MB. A new session has to plan everything again, which costs more than most
        # statements.
        "CONN_MAX_AGE": 120,
        "CONN_HEALTH_CHECKS": True,
        # Server-side cursors do not work behind a pooler in transaction mode.
        "DISABLE_SERVER_SIDE_CURSORS": True,
    }
}
REDIS_URL = env_url("REDIS_URL", schemes=("redis", "rediss", "unix"))
CACHES = {
    # For the counters of sign-in limits. It is in PostgreSQL, so that a failure of
    # Redis neither locks anybody out nor lifts a limit.
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "cache",
        # Above this number the cache evicts entries. It is large, so that trying many
        # addresses evicts no counters.
        "OPTIONS": {"MAX_ENTRIES": 50_000},
    },
    # For counts that may be some seconds old, in the memory of each process.
    "process": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
}

# --- Celery: its messages are wake-ups to look at rows; the rows are the truth --------
CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://", 1).replace(
    "?db=", "?virtual_host="
)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_PUBLISH_RETRY = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # If Redis does not answer, publishing must delay a request by at most a second. The
    # sweep finds the rows for which no wake-up was sent.
    "socket_connect_timeout": 0.5,
    "socket_timeout": 0.5,
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
    "visibility_timeout": 180,
}
CELERY_TASK_ROUTES = {
    "approvals.tasks.execute_*": {"queue": "decisions"},
    "approvals.*": {"queue": "sync"},
    "audit.*": {"queue": "sync"},
    "mirror.*": {"queue": "sync"},
    "policy.*": {"queue": "sync"},
    "alerts.*": {"queue": "alerts"},
    "common.*": {"queue": "alerts"},
    "notices.*": {"queue": "alerts"},
    "gateway.*": {"queue": "gateway"},
}

# --- people ---------------------------------------------------------------------------
AUTHENTICATION_BACKENDS = (
    ["people.sign_in.backend.PersonBackend"]
    if SERVE != "gateway"
    else ["django.contrib.auth.backends.ModelBackend"]
)
ACCOUNT_ADAPTER = "people.sign_in.adapters.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_SESSION_REMEMBER = True
# For how many seconds a reauthentication is enough for sensitive acts.
ACCOUNT_REAUTHENTICATION_TIMEOUT = 600
# How many attempts are allowed in which time: of one network address (ip), of one
# client on one account (key), or of the person who is signed in (user).
ACCOUNT_RATE_LIMITS = {
    "login": "30/m/ip",
    "login_failed": "10/m/ip,5/5m/key",
    # On one account (key), of all clients that are not known to it.
    "login_failed_of_strangers": "50/h/key",
    "reauthenticate": "10/m/user,40/h/user",
    "change_password": "5/m/user,20/h/user",
    "provider": "60/m/ip",
}
MFA_ADAPTER = "people.sign_in.adapters.FactorAdapter"
# Without allauth's recovery codes, which it can compute from a stored seed: the desk
# has its own (people/sign_in/factors.py).
MFA_SUPPORTED_TYPES = ["totp", "webauthn"]
MFA_FORMS = {
    "authenticate": "people.sign_in.second_step.SecondStepForm",
    "reauthenticate": "people.sign_in.second_step.RepeatedStepForm",
    "login_webauthn": "people.sign_in.passkeys.SignInForm",
    "authenticate_webauthn": "people.sign_in.passkeys.StepPasskeyForm",
    "reauthenticate_webauthn": "people.sign_in.passkeys.RepeatedPasskeyForm",
}
MFA_PASSKEY_LOGIN_ENABLED = True
# A passkey counts as two factors, so the device must have asked for a fingerprint, a
# face or a PIN.
MFA_WEBAUTHN_USER_VERIFICATION = "required"
SOCIALACCOUNT_ADAPTER = "people.sign_in.provider.ProviderAdapter"
# Signing in with a provider begins with a link and not with a form: our CSP
# (form-action) blocks forms that redirect to another site (people/sign_in/provider.py).
SOCIALACCOUNT_LOGIN_ON_GET = True
# Scrypt needs memory for each guess, which makes guessing on many processors expensive.
# For a sign-in it needs half the processor time of PBKDF2. PBKDF2 is still listed for
# older passwords; Django hashes them again at the next sign-in.
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.ScryptPasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "people.sign_in.passwords.GuessablePasswordValidator"},
]
_PROVIDER = {
    # Stored with each subject, because a subject identifies a person only together with
    # its issuer.
    "provider_id": OIDC_ISSUER,
    "name": OIDC_NAME,
    "client_id": OIDC_CLIENT_ID,
    "secret": OIDC_CLIENT_SECRET,
    "settings": {"server_url": OIDC_ISSUER},
}
SOCIALACCOUNT_PROVIDERS = {
    "openid_connect": {
        "OAUTH_PKCE_ENABLED": True,
        "APPS": [_PROVIDER] if OIDC_ISSUER else [],
    },
}
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/queue/"
ACCOUNT_LOGOUT_REDIRECT_URL = "/accounts/login/"

# --- the browser ----------------------------------------------------------------------
HTTPS = PUBLIC_URL.startswith("https://")
# The names contain the port, because cookies ignore ports: over plain http two desks on
# one host would overwrite each other's cookies.
_COOKIE_PREFIX, _COOKIE_SUFFIX = ("__Host-", "") if HTTPS else ("", f"-{PORT}")
SESSION_COOKIE_NAME = f"{_COOKIE_PREFIX}session{_COOKIE_SUFFIX}"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = 12 * 60 * 60
KNOWN_BROWSER_COOKIE_NAME = f"{_COOKIE_PREFIX}known{_COOKIE_SUFFIX}"
# It ends sessions that are idle, or that last too long.
SESSION_ENGINE = "people.sign_in.sessions"
CSRF_COOKIE_NAME = f"{_COOKIE_PREFIX}csrf{_COOKIE_SUFFIX}"
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
CSRF_FAILURE_VIEW = "dashboard.frame.errors.csrf_failure"
SECURE_PROXY_SSL_HEADER = (
    ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS and TRUSTED_PROXIES else None
)
# These checks ask for middleware of Django's that the desk does not use.
# SecurityHeadersMiddleware sends HSTS and the other headers, also with errors and
# static files. A redirect to https is left to the proxy.
SILENCED_SYSTEM_CHECKS = [
    "security.W001",
    "security.W002",
    "security.W004",
    "security.W008",
]
if not HTTPS:
    # Browsers do not send Secure cookies over plain http. With https in PUBLIC_URL,
    # both kinds of cookies are Secure.
    SILENCED_SYSTEM_CHECKS += ["security.W012", "security.W016"]
DATA_UPLOAD_MAX_MEMORY_SIZE = 30 * 1024 * 1024 if SERVE == "gateway" else 1024 * 1024

# --- static files, time, language -----------------------------------------------------
STATIC_URL = "/static/"
# The gateway's docs page needs files of django-ninja. They are found by path, because
# most processes do not load that package.
_NINJA = str(getattr(find_spec("ninja"), "origin", ""))
STATICFILES_DIRS = [
    BASE_DIR / "static",
    ("ninja", Path(_NINJA).parent / "static" / "ninja"),
]
STATIC_ROOT = DATA_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "dashboard.frame.bundles.BundlingStorage"},
}
WHITENOISE_KEEP_ONLY_HASHED_FILES = True
TIME_ZONE = "UTC"
USE_I18N = False
LANGUAGE_CODE = "en"
# Notices after a post are stored in the session, so that they need no other cookie.
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

# --- logs -----------------------------------------------------------------------------
LOG_FORMAT = env_choice("LOG_FORMAT", "json", ("json", "text"))
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {"()": "common.logs.JsonFormatter"},
        "text": {
            "()": "common.logs.TextFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s: %(message)s",
        },
    },
    "handlers": {"out": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["out"], "level": "INFO"},
    "loggers": {
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        # Django's warnings contain whole paths, in which there may be mail addresses.
        # Our own line for each request names the route.
        "django.request": {"level": "ERROR"},
        # aiosmtpd logs addresses and commands; our own lines say what was received.
        "mail.log": {"level": "CRITICAL"},
        # Its warnings contain whole URLs, and anybody who has the URL of a Discord
        # webhook can post there.
        "urllib3": {"level": "ERROR"},
        # Celery's own lines contain task arguments and tracebacks. Ours say what
        # happened.
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
        # The package has a line for each request, and the API has one with the key.
        "mcp": {"level": "WARNING"},
    },
}
