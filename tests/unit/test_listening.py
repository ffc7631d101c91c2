"""Readers that take nothing lose their connection; others of the process keep theirs."""

import errno
import socket

import pytest

from common import listening


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux knows it")
def test_connection_whose_reader_takes_nothing_ends(monkeypatch):
    monkeypatch.setattr(listening, "PATIENCE", 300)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.1", 0)) as other:
        # One that was there before, and one that comes after.
        reader = socket.create_connection(server.getsockname())
        before, _ = server.accept()
        elsewhere = socket.create_connection(other.getsockname())
        listening.let_go_of_stalled_readers()
        late = socket.create_connection(server.getsockname())
        after, _ = server.accept()
        for one in (before, after):
            one.settimeout(60)
            with pytest.raises(TimeoutError) as ended:
                one.sendall(bytes(16_000_000))
            # Not by the time limit of this socket, which has no number.
            assert ended.value.errno == errno.ETIMEDOUT
        assert elsewhere.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 0
        for one in (reader, before, elsewhere, late, after):
            one.close()
