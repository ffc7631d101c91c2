"""A small DNS server for tests of the gateway. It answers over UDP from a table."""

import contextlib
import socketserver
import threading
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset


@dataclass
class DnsServer:
    """`records` maps a name and a kind, such as ("acme.example", "TXT"), to texts in
    zone-file form.
    """

    records: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    # "ok", or "fail" (SERVFAIL).
    mood: str = "ok"
    address: tuple[str, int] = ("", 0)

    def answer(self, query):
        """Return the answer to one query."""
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True)
        kind = dns.rdatatype.to_text(question.rdtype)
        response = dns.message.make_response(query)
        if self.mood == "fail":
            response.set_rcode(dns.rcode.SERVFAIL)
        elif texts := self.records.get((name, kind)):
            response.answer.append(
                dns.rrset.from_text(question.name, 60, "IN", kind, *texts)
            )
        elif not any(known == name for known, _ in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response


@contextlib.contextmanager
def dns_server():
    """Run a DNS server on a free port."""
    state = DnsServer()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            wire, sock = self.request
            response = state.answer(dns.message.from_wire(wire))
            sock.sendto(response.to_wire(), self.client_address)

    with socketserver.UDPServer(("127.0.0.1", 0), Handler) as server:
        state.address = ("127.0.0.1", server.server_address[1])
        thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
