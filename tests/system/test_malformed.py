# SPDX-License-Identifier: MIT OR Apache-2.0
"""Malformed RESP and HTTP: a clear error or a closed connection, and everyone else served on."""

import random
import socket

import pytest
from resp import Client, replies

RESP = [
    b"*-5\r\n", b"*99999999999\r\n", b"*2147483648\r\n$1\r\nx\r\n", b"*x\r\n", b"*1\r\nx\r\n",
    b"*1\r\n$-2\r\n", b"*1\r\n$99999999999\r\n", b"*1\r\n$4\r\nPINGxx", b"*1\r\n$x\r\n",
    b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n", b"\r\n\r\n\r\n", b"\x00\x01\x02\x03\r\n", b"*0\r\n",
    b"SET 'unbalanced\r\n", b'GET "also unbalanced\r\n', b"A" * 100_000,
    b"*1\r\n$1048577000\r\n", b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nab\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"$5\r\nhello\r\n", b":1\r\n", b"+OK\r\n", b"*\r\n",
    b"*1\n$4\nPING\n",
]
HTTP = [
    b"\r\n\r\n", b"GET\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
    b"GET " + b"/x" * 50_000 + b" HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nbroken header\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000 + b"\r\n", b"\x00" * 1000, b"\xff\xfe GET /\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"GET / HTTP/1.1\nHost: x\n\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n", b"PRI * HTTP/2.0\r\n\r\n",
]


def throw(port, data):
    """Sends bytes, stops sending, and reads until the server is done; returns what it said."""
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.settimeout(20)
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError, OSError):
            return b""  # the server hung up in the middle, as it may
        said = b""
        try:
            while chunk := connection.recv(65536):
                said += chunk
        except ConnectionResetError:
            pass  # hung up with our bytes unread
        return said


@pytest.mark.parametrize("data", RESP, ids=[repr(data[:24]) for data in RESP])
def test_bad_resp(server, data):
    with server.client() as bystander:
        assert bystander("SET", "kept", "1") == "OK"
        said = throw(server.port, data)
        replies(said)  # whole replies and nothing else
        assert bystander("GET", "kept") == b"1"
        assert bystander("DBSIZE") == 1


@pytest.mark.parametrize("data", HTTP, ids=[repr(data[:24]) for data in HTTP])
def test_bad_http(server, data):
    said = throw(server.http_port, data)
    assert not said or said.startswith(b"HTTP/1."), said[:200]
    with server.client() as client:
        assert client("PING") == "PONG"
    assert throw(server.http_port, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").startswith(
        b"HTTP/1.1 200"
    )


def test_random_bytes(server):
    source = random.Random(2)
    for _ in range(100):
        data = bytes(source.choices(b"*$+-:\r\n0123456789 GETS\x00\xff", k=source.randrange(1, 400)))
        throw(server.port, data)
        throw(server.http_port, data)
    with server.client() as client:
        assert client("PING") == "PONG"


def test_command_in_single_bytes(server):
    with server.client() as client:
        for byte in b"*2\r\n$4\r\nECHO\r\n$5\r\nhello\r\n":
            client.send_raw(bytes([byte]))
        assert client.receive() == b"hello"


def test_many_connections_come_and_go(server):
    for _ in range(5):
        clients = [Client(server.port, 20) for _ in range(40)]
        for client in clients:
            client.send("PING")
        assert [client.receive() for client in clients] == ["PONG"] * 40
        for client in clients:
            client.close()


def test_half_a_command_and_gone(server):
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
            connection.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\nhalf")
    with server.client() as client:
        assert client("DBSIZE") == 0
