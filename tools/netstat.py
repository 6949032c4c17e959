# SPDX-License-Identifier: MIT OR Apache-2.0
"""`./hallows netstat`: a running system's listeners, connections and protocol counters, as netstat,
ss and nstat show them. Asked over HTTP (/netstat.json of the key-value server)."""

import json
import urllib.error
import urllib.request

ASK_SECONDS = 20


class NetstatError(Exception):
    """What was asked for cannot be done; str() is for the user."""


def fetch(port):
    """The running system's account."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/netstat.json",
                                    timeout=ASK_SECONDS) as answer:
            return json.load(answer)
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise NetstatError(f"no system answers on port {port}: {error}; start one with"
                           " ./hallows run, or name its port with --http-port") from error


def aligned(rows, right=()):
    """Rows of text in columns; those in `right` to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(text.rjust(w) if i in right else text.ljust(w)
                      for i, (text, w) in enumerate(zip(row, widths))).rstrip() for row in rows]


def _timer(connection):
    if connection["timer"] == "off":
        return "off"
    return f"{connection['timer']} {connection['timer_in_ns'] / 1e9:.2f} s"


def sockets(told):
    """Lines for listeners and connections."""
    rows = [("proto", "recv-q", "send-q", "local", "remote", "state", "timer", "rtt", "resent")]
    for listener in told["listeners"]:
        tcp = listener["protocol"] == "tcp"
        rows.append((listener["protocol"], str(listener.get("half_open", 0)),
                     str(listener.get("backlog", 0)), f"*:{listener['port']}", "*:*",
                     "LISTEN" if tcp else "", "", "", ""))
    for c in told["connections"]:
        rtt = f"{c['round_trip_ns'] / 1e6:.2f} ms" if c["round_trip_ns"] else ""
        rows.append(("tcp", str(c["receive_queue_bytes"]), str(c["send_queue_bytes"]), c["local"],
                     c["remote"], c["state"], _timer(c), rtt, str(c["retransmits"])))
    lines = aligned(rows, right=(1, 2, 7, 8))
    untold = told["connections_total"] - len(told["connections"])
    return lines + ([f"and {untold} connections more"] if untold > 0 else [])


def counters(told, zeros):
    """Lines for the protocol counters, those that are 0 only if `zeros`."""
    rows = [(f"{group}{name}", str(value)) for group, names in told["mib"].items()
            for name, value in names.items() if value or zeros]
    return aligned(rows, right=(1,)) if rows else []


def add_options(parser):
    """The verb's options."""
    parser.add_argument("--http-port", type=int, default=8080, metavar="N",
                        help="where the running system serves its status page (8080)")
    parser.add_argument("--zeros", action="store_true", help="counters that are 0, too")
    parser.add_argument("--json", action="store_true", help="print what the system says as it is")


def main(options):
    """The verb: returns the exit status."""
    told = fetch(options.http_port)
    if options.json:
        print(json.dumps(told, indent=2))
    else:
        print("\n".join(sockets(told) + [""] + counters(told, options.zeros)))
    return 0
