"""The files of deploy/proxy with the proxies that they are for: TLS, addresses of
clients, large messages, and an event stream that comes at once.
"""

import base64
import os
import shutil
import subprocess

import pytest
import requests
from requests.adapters import HTTPAdapter

from launcher.bootstrap import install_debian_packages
from launcher.environment import pick_free_ports
from launcher.paths import ROOT
from tests.commands import run_command
from tests.desk import Browser, Product, some_words
from tests.stack import running_stack, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("launcher")]

FILES = ROOT / "deploy" / "proxy"


@pytest.fixture(scope="module")
def ports():
    """The ports of http and https, which the proxies take in turn."""
    return pick_free_ports(2)


@pytest.fixture(scope="module")
def desk(tmp_path_factory, ports):
    public = {"PUBLIC_URL": f"https://localhost:{ports[1]}"}
    with running_stack(
        tmp_path_factory, **public, TRUSTED_PROXIES="127.0.0.1,::1"
    ) as stack:
        yield stack


def installed(program, package):
    if not shutil.which(program) and (
        os.geteuid() != 0 or not install_debian_packages([package])
    ):
        pytest.skip(f"{program} is missing: apt install {package}")


def caddy(desk, ports, folder):
    """Start Caddy with our file. For localhost it signs the certificate itself."""
    installed("caddy", "caddy")
    text = (FILES / "Caddyfile").read_text()
    for port, variable in (
        ("8000", "PORT"),
        ("8001", "GATEWAY_PORT"),
        ("8002", "LIVE_PORT"),
    ):
        text = text.replace(f":{port}", f":{desk.env[variable]}")
    options = (
        f"admin off\nskip_install_trust\nhttp_port {ports[0]}\nhttps_port {ports[1]}"
    )
    (folder / "Caddyfile").write_text(text.replace("{\n", f"{{\n{options}\n", 1))
    return subprocess.Popen(
        ["caddy", "run", "--config", str(folder / "Caddyfile")],
        env=os.environ
        | {"DOMAIN": "localhost", "DESK": "127.0.0.1", "XDG_DATA_HOME": str(folder)},
        stderr=(folder / "log").open("wb"),
    )


def nginx(desk, ports, folder):
    """Start nginx with our file and a certificate that it makes."""
    installed("nginx", "nginx-light")
    certificate = ["-keyout", str(folder / "key"), "-out", str(folder / "pem")]
    run_command(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *certificate,
        ],
        check=True,
    )
    text = (FILES / "nginx.conf").read_text()
    for old, new in {
        "/etc/ssl/certs/desk.example.com.pem": str(folder / "pem"),
        "/etc/ssl/private/desk.example.com.key": str(folder / "key"),
        "/var/log/nginx": str(folder),
        "desk.example.com;": "localhost;",
        "127.0.0.1:8000": f"127.0.0.1:{desk.env['PORT']}",
        "127.0.0.1:8001": f"127.0.0.1:{desk.env['GATEWAY_PORT']}",
        "127.0.0.1:8002": f"127.0.0.1:{desk.env['LIVE_PORT']}",
        ":443 ssl": f":{ports[1]} ssl",
        "listen 443 ssl": f"listen {ports[1]} ssl",
        "]:80;": f"]:{ports[0]};",
        "listen 80;": f"listen {ports[0]};",
    }.items():
        assert old in text, old
        text = text.replace(old, new)
    (folder / "nginx.conf").write_text(
        f"pid {folder}/pid;\nerror_log {folder}/log;\nevents {{}}\nhttp {{\n{text}\n}}\n"
    )
    return subprocess.Popen(
        ["nginx", "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
    )


class FromElsewhere(HTTPAdapter):
    """Connects from an address that no proxy has."""

    ADDRESS = "127.0.0.2"

    def init_poolmanager(self, *arguments, **options):
        options["source_address"] = (self.ADDRESS, 0)
        super().init_poolmanager(*arguments, **options)


@pytest.fixture
def client():
    """A session that trusts nobody yet, and forges the address that it comes from."""
    session = requests.Session()
    session.trust_env = False
    session.mount("https://", FromElsewhere())
    session.mount("http://", FromElsewhere())
    session.headers["X-Forwarded-For"] = "203.0.113.66"
    return session


@pytest.mark.parametrize(
    ("start", "authority"),
    [(caddy, "caddy/pki/authorities/local/root.crt"), (nginx, "pem")],
)
def test_desk_and_gateway_work_behind_a_proxy(
    desk, ports, tmp_path, client, start, authority
):
    http, https = ports
    url = f"https://localhost:{https}"
    proxy = start(desk, ports, tmp_path)
    client.verify = str(tmp_path / authority)
    # Django asks for it where the page came by https.
    client.headers["Referer"] = f"{url}/"
    try:
        wait_for(
            lambda: client.get(f"{url}/healthz", timeout=10).status_code == 200,
            60,
            "TLS works",
            report=(tmp_path / "log").read_text,
        )
        product = Product(desk)
        browser = Browser(
            url,
            desk.credentials["REVIEWER_EMAIL"],
            desk.credentials["REVIEWER_PASSWORD"],
            session=client,
        )
        newest = "SELECT ip FROM usersessions_usersession ORDER BY id DESC LIMIT 1"
        [(address,)] = product.sql(newest)
        assert str(address) == FromElsewhere.ADDRESS
        # The first event comes at once, not when a buffer is full.
        with client.get(f"{url}/live/", stream=True, timeout=10) as stream:
            assert stream.headers["Content-Type"].startswith("text/event-stream")
            assert next(stream.iter_content(1))
        files = [
            {
                "name": f"scan{number}.bin",
                "content_base64": base64.b64encode(os.urandom(9 << 20)).decode(),
                "content_type": "application/octet-stream",
            }
            for number in range(2)
        ]
        sent = client.post(
            f"{url}/v1/send_email",
            headers={"Authorization": f"Bearer {desk.credentials['AGENT_KEY']}"},
            json={
                "from": desk.credentials["MAILBOX2_ADDRESS"],
                "to": "dana@northwind.example",
                "subject": "Scan",
                "body": some_words(),
                "attachments": files,
            },
            timeout=120,
        )
        assert sent.status_code == 202, sent.text
        browser.approve(product.held(browser, sent.json()["message_id"]))
        plain = client.get(
            f"http://localhost:{http}/queue/", allow_redirects=False, timeout=10
        )
        assert plain.status_code in (301, 308)
        assert plain.headers["Location"].startswith("https://localhost")
    finally:
        proxy.terminate()
        proxy.wait(30)
