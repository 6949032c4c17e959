# SPDX-License-Identifier: MIT OR Apache-2.0
"""Tests of tools/netstat.py."""
import netstat

TOLD = {
    "mib": {"Tcp": {"ActiveOpens": 0, "InSegs": 1234}, "Udp": {"InDatagrams": 5}},
    "listeners": [{"protocol": "tcp", "port": 6379, "half_open": 2, "backlog": 256},
                  {"protocol": "udp", "port": 68}],
    "connections_total": 3,
    "connections": [{"local": "10.0.2.15:6379", "remote": "10.0.2.2:40000",
                     "state": "ESTABLISHED", "receive_queue_bytes": 0, "send_queue_bytes": 10,
                     "timer": "on", "timer_in_ns": 210000000, "retransmits": 1,
                     "round_trip_ns": 1500000}],
}


def test_columns_are_aligned():
    """Headings stand over their columns."""
    lines = netstat.sockets(TOLD)
    assert lines[0].split() == ["proto", "recv-q", "send-q", "local", "remote", "state", "timer",
                                "rtt", "resent"]
    assert lines[1].split() == ["tcp", "2", "256", "*:6379", "*:*", "LISTEN"]
    assert "on 0.21 s" in lines[3] and "1.50 ms" in lines[3]
    assert len({line.index(word) for line, word in zip(lines[:4], ("local", "*:6379", "*:68",
                                                                   "10.0"))}) == 1
    assert lines[-1] == "and 2 connections more"


def test_zero_counters_are_asked_for():
    """nstat's way: what is 0 is left out unless wanted."""
    assert [line.split() for line in netstat.counters(TOLD, False)] == [["TcpInSegs", "1234"],
                                                                        ["UdpInDatagrams", "5"]]
    assert len(netstat.counters(TOLD, True)) == 3
