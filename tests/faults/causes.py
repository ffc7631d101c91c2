"""A whole product beside servers that are not its own, with stand-ins for a mail server,
for hosted MultiMail and for channels of alerts; and what doctor, Needs attention,
readiness and metrics say of it.
"""

import contextlib
import re
from html import unescape

import psycopg
import requests
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from psycopg.rows import dict_row
from redis import Redis

from launcher.environment import pick_free_ports
from tests.desk import Product
from tests.faults.clock import clock
from tests.faults.proxy import Proxy
from tests.faults.small_disks import small_disk
from tests.hosted.host import OVERSIGHT
from tests.hosted.running import hosted
from tests.serving import Handler, serving
from tests.supervised import NAMES, Supervised

SENDER = "countersign@desk.example"
# The password of the application's role, and of the desk at the mail server.
PASSWORD = "right-password"
# Accounts of hosted MultiMail.
ACCOUNTS = ("Failing", "Limiting", "Hanging", "Revoked")
CONNECT = """
from mirror.models import Connection
for name, url in {accounts!r}.items():
    Connection.objects.create(slug=name.lower(), name=name, api_url=url,
        oversight_key={key!r}, webhook_secret="whsec_of_the_test")
"""


class MailServer:
    """A mail server that refuses what a test names: `senders` and `recipients` map
    addresses to replies. Whoever writes to somebody in `silent` gets no answer to the
    message.
    """

    def __init__(self, port):
        self.port = port
        self.senders = {}
        self.recipients = {}
        self.silent = set()
        self.password = PASSWORD.encode()
        self._controller = None

    @property
    def url(self):
        return f"smtp://desk:{PASSWORD}@127.0.0.1:{self.port}"

    def start(self):
        self._controller = Controller(
            self,
            hostname="127.0.0.1",
            port=self.port,
            authenticator=self._sign_in,
            auth_require_tls=False,
        )
        self._controller.start()

    def stop(self):
        self._controller.stop()

    def _sign_in(self, server, session, envelope, mechanism, given):
        is_right = isinstance(given, LoginPassword) and given.password == self.password
        return AuthResult(success=is_right, handled=False)

    async def handle_MAIL(self, server, session, envelope, address, options):  # noqa: N802
        envelope.mail_from = address
        return self.senders.get(address, "250 OK")

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        if reply := self.recipients.get(address):
            return reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        if self.silent.intersection(envelope.rcpt_tos):
            server.transport.abort()
        return "250 OK"


class Channels(Handler):
    """Discord and a program, to which the demo's destinations lead."""

    is_gone = False

    def _answer(self):
        self.body()
        if Channels.is_gone:
            self.reply(404, {"message": "Unknown Webhook", "code": 10015})
        else:
            self.reply(200, {"id": "1180000000000000999"})

    do_GET = do_POST = do_PATCH = do_PUT = _answer  # noqa: N815


class CausesDesk(Supervised):
    """The product, its stand-ins, and what is said of it."""

    def __init__(self, folder):
        super().__init__(folder)
        self.mail = MailServer(*pick_free_ports(1))
        self.accounts = {name: Proxy() for name in ACCOUNTS}
        # The processes that a test keeps from running.
        self.down = set()
        self.url = f"http://127.0.0.1:{self.env['PORT']}"
        self.env |= {
            "DATABASE_URL": self.env["DATABASE_URL"].replace(
                "countersign@", f"countersign:{PASSWORD}@"
            ),
            "EMAIL_URL": self.mail.url,
            "EMAIL_FROM": f"Countersign <{SENDER}>",
            "OUTGOING_ALLOW": ",".join(
                [
                    f"http://127.0.0.1:{self.env['DISCORD_PORT']}",
                    *(proxy.url for proxy in self.accounts.values()),
                ]
            ),
        }

    def begin(self):
        """Start everything, and connect the accounts of hosted MultiMail."""
        self.sql(f"ALTER ROLE countersign PASSWORD '{PASSWORD}'")
        # With the demo's people and accounts, but as a desk that is no demo.
        prepared = self.run("process", "prepare", DEMO="quiet")
        assert prepared.returncode == 0, prepared.stderr
        for name in NAMES:
            self.start(name)
        for name in NAMES:
            self.wait_for(lambda name=name: self.is_healthy(name), 120, name)
        self.product = Product(self)
        self.product.set_undo_window("0 seconds")
        self.ana = self.product.reviewer()
        self.ida = self.product.reviewer("ADMIN")
        # The first page after signing in changes the session.
        self.page()
        urls = {name: proxy.url for name, proxy in self.accounts.items()}
        code = CONNECT.format(accounts=urls, key=OVERSIGHT)
        connected = self.run("manage", "shell", "-v0", "-c", code)
        assert connected.returncode == 0, connected.stderr
        # Long ago enough for everything to be checked.
        # Without Discord's bot, of which a desk that is no demo knows no key.
        self.sql(
            "UPDATE alerts_destination SET removed_at = now() WHERE kind = 'discord_bot'"
        )
        self.sql(
            "INSERT INTO dashboard_tick (job, period, at) SELECT job, -1, now() - interval '90 seconds'"
            " FROM dashboard_tick GROUP BY job"
        )
        unread = "SELECT 1 FROM mirror_connection WHERE complete_as_of IS NULL"
        self.wait_for(lambda: not self.sql(unread), 120, "all accounts to be read")
        self.wait_for(self.is_well, 120, "the desk to be well")

    @property
    def redis_client(self):
        return Redis.from_url(self.redis.url())

    def sql(self, query, *values):
        """Run a statement as the owner of the tables, even if the server takes no
        changes of others.
        """
        owner = self.postgres.url("countersign_owner")
        with psycopg.connect(owner, autocommit=True, row_factory=dict_row) as database:
            database.execute("SET default_transaction_read_only = off")
            cursor = database.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []

    def end_sessions(self):
        """End the sessions of the application."""
        self.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'countersign'"
        )

    # What is said

    def kinds(self):
        """The numbers of what needs a person, by kind; None if metrics do not say."""
        try:
            answer = requests.get(f"{self.url}/metrics", timeout=10)
        except requests.Timeout:
            return None
        if answer.status_code != 200:
            return None
        numbers = re.findall(
            r'(?m)^countersign_needs_attention\{kind="(\w+)"\} (\S+)$', answer.text
        )
        return {kind: int(float(number)) for kind, number in numbers if float(number)}

    def missing(self):
        """The parts of the desk that readiness calls missing; None if it does not say."""
        answer = requests.get(f"{self.url}/readyz", timeout=60)
        try:
            parts = answer.json()["parts"]
        except ValueError:
            return None
        missing = [name for name, is_there in parts.items() if not is_there]
        assert answer.status_code == (503 if missing else 200)
        return missing

    def is_up(self, name):
        """Whether a process answers."""
        return self.started[name].poll() is None and self.is_healthy(name)

    def is_well(self):
        self.supervise()
        found = (self.kinds(), self.missing())
        assert found == ({}, [])
        return True

    def supervise(self):
        """Start again what has ended, as systemd does: workers end if Redis refuses
        what they write.
        """
        for name, process in self.started.items():
            if process.poll() is not None and name not in self.down:
                self.start(name)

    def doctor(self):
        """The exit status of `doctor`, and what it lists."""
        done = self.run("manage", "doctor")
        assert done.stderr == ""
        listed = [" ".join(part.split()) for part in done.stdout.split("\n  - ")[1:]]
        return done.returncode, listed

    def page(self):
        """The words of the page Needs attention."""
        text = self.ida.get("/attention/").text
        main = re.search(r"<main.*?</main>|<body.*", text, re.DOTALL)[0]
        main = re.sub(r"<(script|svg|template).*?</\1>", "", main, flags=re.DOTALL)
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", main)).split())


@contextlib.contextmanager
def causes_desk(folder):
    """Run the product in `folder` until the block ends; yield a CausesDesk."""
    desk = CausesDesk(folder)
    with contextlib.ExitStack() as stack:
        desk.clock = stack.enter_context(clock(folder))
        desk.env |= desk.clock.variables
        desk.disk = stack.enter_context(small_disk(folder / "data", "400m"))
        host = stack.enter_context(hosted())
        stack.enter_context(serving(Channels, int(desk.env["DISCORD_PORT"])))
        for proxy in desk.accounts.values():
            proxy.serve(host.url)
            stack.callback(proxy.close)
        desk.mail.start()
        stack.callback(lambda: desk.mail.stop())
        stack.callback(desk.stop)
        desk.postgres.start()
        desk.redis.start()
        desk.begin()
        yield desk
