"""Reuse of a connection whose answer is known before the body arrives: clients reuse
connections.
"""

import http.client
import socket

import pytest

BODY = b'{"email_id": "x", "action": "approve"}' + b" " * 100_000


def post(product, key):
    """Begin a request that lacks the scope or the key; its body is still to come."""
    connection = http.client.HTTPConnection(
        product.known["GATEWAY_URL"].removeprefix("http://"), timeout=60
    )
    connection.putrequest("POST", "/v1/oversight/decide")
    connection.putheader("Authorization", f"Bearer {key}")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(len(BODY)))
    connection.endheaders()
    return connection


def test_connection_of_a_key_without_the_scope_can_be_used_again(product):
    connection = post(product, product.known["AGENT_KEY"])
    # The answer waits for the body; otherwise its rest would be read as the next
    # request.
    connection.sock.settimeout(0.3)
    with pytest.raises(TimeoutError):
        connection.sock.recv(1, socket.MSG_PEEK)
    connection.sock.settimeout(60)
    connection.send(BODY)
    first = connection.getresponse()
    assert first.status == 403
    assert first.getheader("Connection") is None
    first.read()
    connection.request("GET", "/health")
    assert connection.getresponse().status == 200


def test_body_with_an_unknown_key_is_not_awaited_and_the_client_gets_an_answer(product):
    connection = post(product, "mm_live_unknown")
    answer = connection.getresponse()
    assert answer.status == 401
    assert answer.getheader("Connection") == "close"
