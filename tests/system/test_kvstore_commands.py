# SPDX-License-Identifier: MIT OR Apache-2.0
"""Every command, option and error of the key-value server. The same tests run against the server's
host program (built with sanitizers) and against the running system.
"""

import random
import subprocess
import time

import build
import pytest
from kvhost import PROGRAM, Client3, Host, RespError

OK = "OK"
SYNTAX = "ERR syntax error"
NOT_INT = "ERR value is not an integer or out of range"
NOT_FLOAT = "ERR value is not a valid float"
BIG = 8 << 20


@pytest.fixture(scope="session", name="host_program")
def _host_program():
    subprocess.run(["make", "-s", "-C", str(build.ROOT), "kvstore-host"], check=True, timeout=600)
    assert PROGRAM.exists()


@pytest.fixture(scope="session")
def shared_host(host_program, tmp_path_factory):
    """One host program for all tests that leave it as it was."""
    with Host(tmp_path_factory.mktemp("kvstore")) as host:
        yield host


@pytest.fixture(name="port", params=["host", "system"])
def _port(request):
    kind = "shared_host" if request.param == "host" else "direct"
    return request.getfixturevalue(kind).port


@pytest.fixture(name="kv")
def _kv(port):
    """A connection to an empty server."""
    with Client3(port, 30) as client:
        assert client("FLUSHALL") == OK
        yield client


@pytest.fixture(name="host")
def _host(host_program, tmp_path):
    """A host program of the test's own."""
    with Host(tmp_path) as host:
        yield host


def run(kv, script):
    """Runs "COMMAND arguments" with its expected reply, one after the other."""
    for command, expected in script:
        words = command.split() if isinstance(command, str) else command
        got = kv.try_(*words)
        if isinstance(expected, str) and isinstance(got, RespError):
            got = str(got)
        assert got == expected, f"{command}: {got!r}, expected {expected!r}"


def error(code_and_text):
    """An error that must be answered, as run() compares it."""
    return code_and_text


def test_strings(kv):
    run(kv, [
        ("GET a", None), ("SET a 1", OK), ("GET a", b"1"), ("set A x", OK), ("GET A", b"x"),
        (["SET", b"\x00\xff\r\n", b"\r\n\x00"], OK), (["GET", b"\x00\xff\r\n"], b"\r\n\x00"),
        (["SET", "", ""], OK), (["GET", ""], b""), (["STRLEN", ""], 0),
        ("SETNX a 2", 0), ("SETNX b 2", 1), ("GET b", b"2"),
        ("GETSET b 3", b"2"), ("GETSET new 1", None), ("GETDEL b", b"3"), ("GETDEL b", None),
        ("STRLEN a", 1), ("STRLEN none", 0),
        ("APPEND s Hello", 5), (["APPEND", "s", " World"], 11), ("GET s", b"Hello World"),
        ("GETRANGE s 0 4", b"Hello"), ("GETRANGE s -5 -1", b"World"), ("SUBSTR s 1 3", b"ell"),
        ("GETRANGE s 5 1", b""), ("GETRANGE s -1 -5", b""), ("GETRANGE s 0 100", b"Hello World"),
        ("GETRANGE s -100 1", b"He"), ("GETRANGE none 0 -1", b""), ("GETRANGE s 11 20", b""),
        ("GETRANGE s x 1", NOT_INT),
        ("SETRANGE s 6 Redis", 11), ("GET s", b"Hello Redis"),
        ("SETRANGE pad 3 x", 4), ("GET pad", b"\0\0\0x"), (["SETRANGE", "none", "5", ""], 0),
        ("EXISTS none", 0), (["SETRANGE", "s", "3", ""], 11),
        ("SETRANGE s -1 x", "ERR offset is out of range"), ("SETRANGE s x x", NOT_INT),
        ("SETRANGE s 536870912 x",
         "ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
        ("GET", "ERR wrong number of arguments for 'get' command"),
        ("GET a b", "ERR wrong number of arguments for 'get' command"),
    ])


def test_several_at_once(kv):
    run(kv, [
        ("MSET a 1 b 2 a 3", OK), ("MGET a b none a", [b"3", b"2", None, b"3"]),
        ("MSETNX c 1 b 9", 0), ("EXISTS c", 0), ("MSETNX c 1 d 2", 1), ("MGET c d", [b"1", b"2"]),
        ("MSET a", "ERR wrong number of arguments for 'mset' command"),
        ("MSET a 1 b", "ERR wrong number of arguments for 'mset' command"),
        ("MSETNX a 1 b", "ERR wrong number of arguments for 'msetnx' command"),
        ("DBSIZE", 4), ("DEL a b none a", 2), ("UNLINK c", 1), ("EXISTS d d none", 2),
        ("TOUCH d none", 1), ("DBSIZE", 1), ("FLUSHDB", OK), ("DBSIZE", 0),
        ("FLUSHALL ASYNC", OK), ("FLUSHALL SYNC", OK), ("FLUSHALL NOW", SYNTAX),
    ])
    many = [word for n in range(3000) for word in (f"k{n}", f"v{n}")]
    assert kv("MSET", *many) == OK
    assert kv("MGET", *many[::2]) == [value.encode() for value in many[1::2]]
    assert kv("DEL", *many[::2]) == 3000


def test_counters(kv):
    run(kv, [
        ("INCR n", 1), ("INCRBY n 41", 42), ("DECR n", 41), ("DECRBY n 50", -9), ("GET n", b"-9"),
        ("SET n 9223372036854775806", OK), ("INCR n", 9223372036854775807),
        ("INCR n", "ERR increment or decrement would overflow"),
        ("GET n", b"9223372036854775807"),
        ("SET n -9223372036854775808", OK), ("DECR n", "ERR increment or decrement would overflow"),
        ("DECRBY n -9223372036854775808", "ERR decrement would overflow"),
        ("INCRBY n 1.5", NOT_INT), ("INCRBY n 9223372036854775808", NOT_INT), ("SET t x", OK),
        ("INCR t", NOT_INT), (["SET", "t", " 1"], OK), ("INCR t", NOT_INT), ("SET t 01", OK),
        ("INCR t", NOT_INT), ("SET t -0", OK), ("INCR t", NOT_INT),
        ("SET e 5 EX 100", OK), ("INCR e", 6), ("TTL e", 100),
        ("INCRBYFLOAT f 10.50", b"10.5"), ("INCRBYFLOAT f 0.1", b"10.6"),
        ("INCRBYFLOAT f -5", b"5.6"), ("SET f 5.0e3", OK), ("INCRBYFLOAT f 2.0e2", b"5200"),
        ("INCRBYFLOAT f -5200", b"0"), ("INCRBYFLOAT f -0.25", b"-0.25"),
        ("INCRBYFLOAT f 1e-17", b"-0.24999999999999999"), ("INCRBYFLOAT f x", NOT_FLOAT),
        ("INCRBYFLOAT f 1.2.3", NOT_FLOAT), ("INCRBYFLOAT f nan", NOT_FLOAT),
        ("INCRBYFLOAT f 1e400", "ERR increment would produce NaN or Infinity"),
        ("SET f 1e300", OK), ("INCRBYFLOAT f 1", b"1" + b"0" * 299 + b"1"),
    ])


def test_set_options(kv):
    run(kv, [
        ("SET a 1 NX", OK), ("SET a 2 NX", None), ("SET a 2 XX", OK), ("SET none 1 XX", None),
        ("SET a 3 GET", b"2"), ("SET new 1 GET", None), ("SET a 4 NX GET", b"3"), ("GET a", b"3"),
        ("SET a 5 XX GET", b"3"), ("SET b 1 EX 100", OK), ("TTL b", 100),
        ("SET b 2 KEEPTTL", OK), ("TTL b", 100), ("SET b 3", OK), ("TTL b", -1),
        ("SET b 1 PX 100000", OK), ("TTL b", 100), ("set b 1 ex 5 nx", None),
        ("SET b 1 EXAT 33177117420", OK), ("EXPIRETIME b", 33177117420),
        ("SET b 1 PXAT 33177117420123", OK), ("PEXPIRETIME b", 33177117420123),
        ("SET b 1 PXAT 1", OK), ("EXISTS b", 0),
        ("SET a 1 NX XX", SYNTAX), ("SET a 1 EX 1 PX 1", SYNTAX), ("SET a 1 EX", SYNTAX),
        ("SET a 1 EX 1 KEEPTTL", SYNTAX), ("SET a 1 KEEPTTL EX 1", SYNTAX), ("SET a 1 BAD", SYNTAX),
        ("SET a 1 PERSIST", SYNTAX), ("SET a 1 EX x", NOT_INT),
        ("SET a 1 EX 0", "ERR invalid expire time in 'set' command"),
        ("SET a 1 PX -5", "ERR invalid expire time in 'set' command"),
        ("SET a 1 EX 9223372036854775807", "ERR invalid expire time in 'set' command"),
        ("SETEX s 100 v", OK), ("TTL s", 100), ("PSETEX s 100000 v", OK), ("TTL s", 100),
        ("SETEX s 0 v", "ERR invalid expire time in 'setex' command"),
        ("PSETEX s x v", NOT_INT),
        ("GETEX s", b"v"), ("TTL s", 100), ("GETEX s EX 50", b"v"), ("TTL s", 50),
        ("GETEX s PERSIST", b"v"), ("TTL s", -1), ("GETEX s PXAT 1", b"v"), ("EXISTS s", 0),
        ("GETEX none EX 5", None), ("GETEX a EX 5 PERSIST", SYNTAX), ("GETEX a NX", SYNTAX),
    ])


def test_expiry(kv):
    run(kv, [
        ("SET a 1", OK), ("TTL a", -1), ("PTTL a", -1), ("TTL none", -2), ("PTTL none", -2),
        ("EXPIRETIME a", -1), ("PEXPIRETIME none", -2), ("EXPIRE none 5", 0),
        ("EXPIRE a 100", 1), ("TTL a", 100), ("PERSIST a", 1), ("PERSIST a", 0), ("TTL a", -1),
        ("PERSIST none", 0), ("EXPIRE a 100 XX", 0), ("EXPIRE a 100 GT", 0), ("EXPIRE a 100 NX", 1),
        ("EXPIRE a 200 NX", 0), ("EXPIRE a 50 GT", 0), ("EXPIRE a 200 GT", 1),
        ("EXPIRE a 300 LT", 0), ("EXPIRE a 50 LT", 1), ("EXPIRE a 60 XX", 1), ("TTL a", 60),
        ("PERSIST a", 1), ("EXPIRE a 70 LT", 1), ("EXPIRE a 80 XX GT", 1), ("TTL a", 80),
        ("EXPIRE a 1 NX XX",
         "ERR NX and XX, GT or LT options at the same time are not compatible"),
        ("EXPIRE a 1 GT LT", "ERR GT and LT options at the same time are not compatible"),
        ("EXPIRE a 1 BAD", "ERR Unsupported option BAD"), ("EXPIRE a x", NOT_INT),
        ("EXPIRE a 9223372036854775807", "ERR invalid expire time in 'expire' command"),
        ("PEXPIRE a 100000", 1), ("TTL a", 100), ("EXPIREAT a 33177117420", 1),
        ("EXPIRETIME a", 33177117420), ("PEXPIREAT a 33177117420123", 1),
        ("PEXPIRETIME a", 33177117420123), ("EXPIREAT a 1", 1), ("EXISTS a", 0),
        ("SET a 1", OK), ("EXPIRE a -1", 1), ("EXISTS a", 0), ("SET a 1", OK), ("EXPIRE a 0", 1),
        ("GET a", None),
    ])


def test_expiry_happens(kv):
    for n in range(200):
        assert kv("SET", f"k{n}", "v", "PX", "500") == OK
    assert kv("SET", "stays", "v") == OK
    deadline = time.monotonic() + 20
    while kv("DBSIZE") != 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert kv("DBSIZE") == 1
    assert kv("GET", "k7") is None and kv("TTL", "k7") == -2 and kv("KEYS", "*") == [b"stays"]


def test_keys(kv):
    run(kv, [
        ("SET a 1", OK), ("TYPE a", "string"), ("TYPE none", "none"), ("RENAME a b", OK),
        ("GET b", b"1"), ("EXISTS a", 0), ("RENAME none x", "ERR no such key"), ("RENAME b b", OK),
        ("SET c 2 EX 100", OK), ("RENAME c b", OK), ("GET b", b"2"), ("TTL b", 100),
        ("SET d 3", OK), ("RENAMENX d b", 0), ("RENAMENX d e", 1), ("GET e", b"3"),
        ("RENAMENX none x", "ERR no such key"), ("RENAMENX e e", 0),
        ("COPY b f", 1), ("TTL f", 100), ("COPY b e", 0), ("COPY b e REPLACE", 1), ("GET e", b"2"),
        ("COPY none x", 0), ("COPY b x DB 0", 1), ("COPY b x DB 1", "ERR DB index is out of range"),
        ("COPY b b", "ERR source and destination objects are the same"), ("COPY b x BAD", SYNTAX),
        ("FLUSHALL", OK), ("RANDOMKEY", None), ("SET only 1", OK), ("RANDOMKEY", b"only"),
        ("OBJECT ENCODING only", b"int"), ("SET only text", OK), ("OBJECT ENCODING only", b"embstr"),
        (["SET", "only", "x" * 45], OK), ("OBJECT ENCODING only", b"raw"),
        ("OBJECT REFCOUNT only", 1), ("OBJECT IDLETIME only", 0), ("OBJECT ENCODING none", None),
        ("OBJECT FREQ none", None), ("MEMORY USAGE none", None),
        ("OBJECT BAD only", "ERR unknown subcommand or wrong number of arguments for 'BAD'. "
         "Try OBJECT HELP."),
    ])
    assert kv("MEMORY", "USAGE", "only") > 40
    assert kv("MEMORY", "USAGE", "only", "SAMPLES", "5") > 40


def test_patterns(kv):
    names = ["hello", "hallo", "hxllo", "hllo", "heello", "a*b", "a?b", "[x]", "back\\slash", "h"]
    kv("MSET", *[word for name in names for word in (name, "1")])
    for pattern, expected in [
        ("*", names), ("h?llo", ["hello", "hallo", "hxllo"]), ("h[ae]llo", ["hello", "hallo"]),
        ("h*llo", ["hello", "hallo", "hxllo", "hllo", "heello"]), ("h[^e]llo", ["hallo", "hxllo"]),
        ("h[a-b]llo", ["hallo"]), ("h[b-a]llo", ["hallo"]), ("a\\*b", ["a*b"]), ("a\\?b", ["a?b"]),
        ("\\[x\\]", ["[x]"]), ("back\\\\slash", ["back\\slash"]), ("h", ["h"]), ("", []),
        ("h**", ["hello", "hallo", "hxllo", "hllo", "heello", "h"]), ("nothing*", []),
    ]:
        assert sorted(kv("KEYS", pattern)) == sorted(name.encode() for name in expected), pattern
    kv("SET", "a" * 5000, "1")
    started = time.monotonic()
    assert kv("KEYS", "a*" * 500 + "b") == []
    assert time.monotonic() - started < 5


def scan_all(kv, *options):
    """All keys of one SCAN, with repetitions."""
    cursor, found = b"0", []
    while True:
        cursor, keys = kv("SCAN", cursor, *options)
        found += keys
        if cursor == b"0":
            return found


def test_scan(kv):
    assert kv("SCAN", "0") == [b"0", []]
    for n in range(0, 5000, 500):
        kv("MSET", *[word for i in range(n, n + 500) for word in (f"key:{i}", "v")])
    expected = sorted(b"key:%d" % n for n in range(5000))
    assert sorted(scan_all(kv)) == expected
    assert sorted(scan_all(kv, "COUNT", "1000")) == expected
    assert sorted(scan_all(kv, "MATCH", "key:49*")) == [k for k in expected if k[:6] == b"key:49"]
    assert sorted(scan_all(kv, "TYPE", "string", "COUNT", "500")) == expected
    assert scan_all(kv, "TYPE", "list", "COUNT", "5000") == []
    run(kv, [
        ("SCAN x", "ERR invalid cursor"), ("SCAN -1", "ERR invalid cursor"),
        ("SCAN 0 COUNT 0", SYNTAX), ("SCAN 0 COUNT x", NOT_INT), ("SCAN 0 BAD 1", SYNTAX),
        ("SCAN 0 COUNT", SYNTAX), ("SCAN 18446744073709551615", [b"0", []]),
    ])


def test_scan_under_change(kv):
    """Keys that stay are found exactly once while the table grows and shrinks around them."""
    stay = [f"stay:{n}" for n in range(700)]
    kv("MSET", *[word for name in stay for word in (name, "v")])
    rng = random.Random(7)
    cursor, found, extra, steps = b"0", [], 0, 0
    while True:
        cursor, keys = kv("SCAN", cursor, "COUNT", "20")
        steps += 1
        found += [key for key in keys if key.startswith(b"stay:")]
        if cursor == b"0":
            break
        if steps < 60 and rng.random() < 0.6:
            names = [f"extra:{extra + n}" for n in range(400)]
            kv("MSET", *[word for name in names for word in (name, "v")])
            extra += 400
        else:
            kv("DEL", *[f"extra:{n}" for n in range(max(0, extra - 900), extra)])
    assert sorted(found) == sorted(name.encode() for name in stay)


def test_connection(kv):
    run(kv, [
        ("PING", "PONG"), (["PING", "x y"], b"x y"),
        ("PING a b", "ERR wrong number of arguments for 'ping' command"), ("ECHO hi", b"hi"),
        ("SELECT 0", OK), ("SELECT 1", "ERR DB index is out of range"),
        ("SELECT x", "ERR invalid DB index"), ("CLIENT SETNAME me", OK), ("CLIENT GETNAME", b"me"),
        (["CLIENT", "SETNAME", "a b"],
         "ERR Client names cannot contain spaces, newlines or special characters."),
        (["CLIENT", "SETNAME", ""], OK), ("CLIENT GETNAME", None),
        ("CLIENT SETINFO lib-name test", OK), ("CLIENT SETINFO LIB-VER 1.0", OK),
        ("CLIENT NO-EVICT on", OK), ("CLIENT NO-TOUCH off", OK), ("CLIENT GETREDIR", -1),
        ("CLIENT BAD", "ERR unknown subcommand or wrong number of arguments for 'BAD'. "
         "Try CLIENT HELP."),
        ("RESET", "RESET"), ("WAIT 0 0", 0), ("WAIT 0 -1", "ERR timeout is negative"),
        ("LPUSH l 1", "ERR unknown command 'LPUSH', with args beginning with: 'l' '1' "),
        ("NOSUCH", "ERR unknown command 'NOSUCH', with args beginning with: "),
        ("HELLO 4", "NOPROTO unsupported protocol version"),
        ("HELLO x", "ERR Protocol version is not an integer or out of range"),
        ("HELLO 2 BAD", "ERR Syntax error in HELLO option"),
    ])
    assert str(kv.try_("AUTH", "secret")).startswith("ERR AUTH <password> called without")
    assert str(kv.try_("HELLO", "3", "AUTH", "u", "p")).startswith("ERR HELLO AUTH")
    own = kv("CLIENT", "ID")
    info = kv("CLIENT", "INFO").decode()
    assert f"id={own} " in info and "lib-name=test" in info and "cmd=client" in info
    assert f"id={own} " in kv("CLIENT", "LIST").decode()
    assert f"id={own} " in kv("CLIENT", "LIST", "ID", str(own)).decode()
    seconds, micros = kv("TIME")
    assert abs(int(seconds) - time.time()) < 60 and 0 <= int(micros) < 1000000


def test_hello_3(kv):
    hello = kv("HELLO", "3", "SETNAME", "three")
    assert hello[b"proto"] == 3 and hello[b"server"] == b"redis" and hello[b"modules"] == []
    assert kv("CLIENT", "GETNAME") == b"three"
    assert kv("GET", "none") is None and kv("MGET", "none") == [None]
    assert isinstance(kv("CONFIG", "GET", "maxmemory"), dict)
    assert b"redis_version" in kv("INFO", "server")
    assert kv("HELLO", "2")[1] == b"redis"


def test_quit_and_kill(kv, port):
    with Client3(port) as other:
        assert other("QUIT") == OK and other.file.read() == b""
    with Client3(port) as other:
        number = other("CLIENT", "ID")
        assert kv("CLIENT", "KILL", "ID", str(number)) == 1
        assert other.file.read() == b""
    assert str(kv.try_("CLIENT", "KILL", "1.2.3.4:5")) == "ERR No such client"
    assert kv("CLIENT", "KILL", "TYPE", "pubsub") == 0


def test_client_reply(kv):
    kv.send("CLIENT", "REPLY", "OFF")
    kv.send("SET", "a", "1")
    assert kv("CLIENT", "REPLY", "ON") == OK
    kv.send("CLIENT", "REPLY", "SKIP")
    kv.send("GET", "a")
    assert kv("GET", "a") == b"1"


def test_multi(kv):
    run(kv, [
        ("MULTI", OK), ("SET a 1", "QUEUED"), ("INCR a", "QUEUED"), ("GET a", "QUEUED"),
        ("EXEC", [OK, 2, b"2"]), ("MULTI", OK), ("SET a 9", "QUEUED"), ("DISCARD", OK),
        ("GET a", b"2"), ("EXEC", "ERR EXEC without MULTI"), ("DISCARD", "ERR DISCARD without MULTI"),
        ("MULTI", OK), ("MULTI", "ERR MULTI calls can not be nested"),
        ("NOSUCH", "ERR unknown command 'NOSUCH', with args beginning with: "),
        ("EXEC", "EXECABORT Transaction discarded because of previous errors."), ("GET a", b"2"),
        ("MULTI", OK), ("EXEC", []),
    ])


def test_server(kv):
    kv("SET", "a", "1")
    info = kv("INFO").decode()
    for field in ("redis_version:", "used_memory:", "connected_clients:", "db0:keys=1,expires=0",
                  "total_commands_processed:", "role:master", "aof_enabled:1"):
        assert field in info, field
    assert "# Keyspace" in kv("INFO", "keyspace").decode()
    assert "# Stats" not in kv("INFO", "keyspace").decode()
    assert kv("INFO", "nosuch") == b""
    assert "cmdstat_set" in kv("INFO", "commandstats").decode()
    count = kv("COMMAND", "COUNT")
    assert count == len(kv("COMMAND")) == len(kv("COMMAND", "LIST"))
    get = kv("COMMAND", "INFO", "GET", "nosuch")
    assert get[0][:2] == [b"get", 2] and get[0][3:6] == [1, 1, 1] and get[1] is None
    assert kv("COMMAND", "DOCS", "get")[0] == b"get"
    assert kv("COMMAND", "GETKEYS", "MSET", "a", "1", "b", "2") == [b"a", b"b"]
    assert kv("COMMAND", "LIST", "FILTERBY", "PATTERN", "mset*") == [b"mset", b"msetnx"]
    run(kv, [
        ("CONFIG GET save", [b"save", b""]), ("CONFIG GET nosuch", []),
        ("CONFIG GET append* maxmemory-*", [b"appendfsync", b"always", b"appendonly", b"yes",
                                           b"maxmemory-policy", b"noeviction"]),
        ("CONFIG SET appendfsync everysec", OK), ("CONFIG GET appendfsync",
                                                  [b"appendfsync", b"everysec"]),
        ("SET b 1", OK), ("CONFIG SET appendfsync always", OK), ("CONFIG RESETSTAT", OK),
        ("CONFIG SET appendfsync maybe", "ERR CONFIG SET failed (possibly related to argument "
         "'appendfsync') - argument(s) must be one of the following: always, everysec, no"),
        ("CONFIG SET nosuch 1",
         "ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'"),
        ("CONFIG SET databases 5", "ERR CONFIG SET failed (possibly related to argument "
         "'databases') - can't set immutable config"),
    ])


def test_memory_limit(kv):
    limit = kv("CONFIG", "GET", "maxmemory")[1]
    used = int(kv("INFO", "memory").split(b"used_memory:")[1].split(b"\r\n")[0])
    oom = "OOM command not allowed when used memory > 'maxmemory'."
    try:
        assert kv("CONFIG", "SET", "maxmemory", str(used + (2 << 20))) == OK
        replies = [kv.try_("SET", f"k{n}", b"x" * 100000) for n in range(60)]
        refused = [str(reply) for reply in replies if isinstance(reply, RespError)]
        assert refused and set(refused) == {oom} and replies[0] == OK
        stored = 60 - len(refused)
        assert kv("DBSIZE") == stored and kv("STRLEN", "k0") == 100000
        assert kv("DEL", *[f"k{n}" for n in range(stored)]) == stored
        assert kv("SET", "k", "v") == OK
    finally:
        assert kv("CONFIG", "SET", "maxmemory", limit.decode()) == OK


def test_large_values(kv, port):
    rng = random.Random(1)
    value = rng.randbytes(BIG)
    assert kv("SET", "big", value) == OK
    assert kv("STRLEN", "big") == BIG and kv("GET", "big") == value
    assert kv("GETRANGE", "big", "1000000", "3000000") == value[1000000:3000001]
    assert kv("APPEND", "big", "tail") == BIG + 4 and kv("GETRANGE", "big", "-4", "-1") == b"tail"
    assert kv("SETRANGE", "big", "5000", b"x" * 9000) == BIG + 4
    value = value[:5000] + b"x" * 9000 + value[14000:] + b"tail"
    assert kv("COPY", "big", "copy") == 1 and kv("RENAME", "big", "big2") == OK
    assert kv("APPEND", "copy", "!") == BIG + 5
    assert kv("GET", "big2") == value and kv("GET", "copy") == value + b"!"
    with Client3(port, 30) as slow:
        slow.send("MGET", "big2", "copy")
        assert kv("DEL", "big2", "copy") == 2
        assert slow.receive() in ([value, value + b"!"], [None, None])


def test_pipelining(kv):
    rng = random.Random(3)
    data, expected = b"", []
    from resp import encode
    for n in range(3000):
        data += encode("SET", f"k{n % 50}", "v" * rng.randrange(60)) + encode("GET", f"k{n % 50}")
        expected.append(n)
    at, got = 0, 0
    while at < len(data):
        step = rng.choice([1, 7, 100, 1460, 30000])
        kv.send_raw(data[at:at + step])
        at += step
        while got < len(expected) * 2 - 4000 and at > len(data) // 2:
            kv.receive()
            got += 1
    while got < len(expected) * 2:
        reply = kv.receive()
        assert reply == OK or isinstance(reply, bytes)
        got += 1
    assert kv("PING") == "PONG"


def test_inline(kv):
    for line, expected in [
        (b"PING\r\n", "PONG"), (b"ping\n", "PONG"), (b"  SET  a  1 \r\n", OK), (b"GET a\r\n", b"1"),
        (b'SET a "x y\\n\\x41"\r\n', OK), (b"GET a\r\n", b"x y\nA"), (b"SET a 'it\\'s'\r\n", OK),
        (b"GET a\r\n", b"it's"), (b'SET a ""\r\n', OK), (b"GET a\r\n", b""),
        (b"\r\n\r\nPING\r\n", "PONG"), (b"*0\r\nPING\r\n", "PONG"), (b"*-1\r\nPING\r\n", "PONG"),
    ]:
        kv.send_raw(line)
        assert kv.receive() == expected, line


@pytest.mark.parametrize("data,text", [
    (b"*x\r\n", "ERR Protocol error: invalid multibulk length"),
    (b"*1048577\r\n", "ERR Protocol error: invalid multibulk length"),
    (b"*99999999999999999999\r\n", "ERR Protocol error: invalid multibulk length"),
    (b"*1\r\nx\r\n", "ERR Protocol error: expected '$', got 'x'"),
    (b"*1\r\n$-1\r\n", "ERR Protocol error: invalid bulk length"),
    (b"*1\r\n$536870913\r\n", "ERR Protocol error: invalid bulk length"),
    (b"*1\r\n$4\r\nPINGxx", "ERR Protocol error: expected CRLF after bulk string"),
    (b"*" + b"1" * 100, "ERR Protocol error: too big mbulk count string"),
    (b"*1\r\n$" + b"1" * 100, "ERR Protocol error: too big bulk count string"),
    (b'SET a "x\r\n', "ERR Protocol error: unbalanced quotes in request"),
    (b"x" * 70000, "ERR Protocol error: too big inline request"),
], ids=range(11))
def test_malformed(kv, port, data, text):
    with Client3(port) as other:
        other.send_raw(data)
        assert str(other.reply()) == text
        assert other.file.read() == b""
    assert kv("PING") == "PONG"


def test_redis_py(port, kv):
    redis = pytest.importorskip("redis")
    client = redis.Redis(port=port, socket_timeout=30)
    pipe = client.pipeline()
    pipe.set("a", 1).incr("a").get("a")
    assert pipe.execute() == [True, 2, b"2"]
    assert client.set("b", "x", ex=10, nx=True) and client.set("b", "y", nx=True) is None
    assert client.info("keyspace")["db0"]["keys"] == 2
    assert client.client_list()[0]["db"] == "0" and client.config_get("maxmemory-policy")
    assert client.command_count() > 50 and client.object("encoding", "a") == b"int"
    client.close()


# ---- With a server of the test's own: restarts and failures ----------------------------------


def fill(kv, rng, model, steps):
    """Random changes, made in the server and in a dict."""
    for _ in range(steps):
        key, other = (b"k%d" % rng.randrange(300) for _ in range(2))
        choice = rng.randrange(9)
        size = rng.choice([3, 50, 5000, 70000]) if rng.random() < 0.1 else rng.randrange(60)
        value = rng.randbytes(size)
        if choice <= 2:
            assert kv("SET", key, value) == OK
            model[key] = value
        elif choice == 3:
            assert kv("APPEND", key, value) == len(model.get(key, b"")) + size
            model[key] = model.get(key, b"") + value
        elif choice == 4 and value:
            offset = rng.randrange(200)
            kv("SETRANGE", key, offset, value)
            old = model.get(key, b"").ljust(offset + size, b"\0")
            model[key] = old[:offset] + value + old[offset + size:]
        elif choice == 5:
            assert kv("DEL", key, other) == len({key, other} & model.keys())
            model.pop(key, None)
            model.pop(other, None)
        elif choice == 6 and key in model:
            assert kv("RENAME", key, other) == OK
            model[other] = model.pop(key)
        elif choice == 7 and key in model and key != other:
            assert kv("COPY", key, other, "REPLACE") == 1
            model[other] = model[key]
        elif choice == 8:
            assert kv("MSET", key, value, other, b"m") == OK
            model[key] = value
            model[other] = b"m"


def contents(kv):
    """All keys and values."""
    return {key: kv("GET", key) for key in kv("KEYS", "*")}


def test_restart(host):
    rng, model = random.Random(5), {}
    for round_number in range(4):
        with host.client() as kv:
            if round_number == 2:
                assert kv("FLUSHALL") == OK
                model.clear()
            assert contents(kv) == model
            fill(kv, rng, model, 800)
            assert kv("SET", b"expires", "v", "PX", "100") == OK
            assert kv("SET", b"k1", "v", "EX", "1000") == OK
            model[b"k1"] = b"v"
        (host.kill if round_number % 2 else host.stop)()
        time.sleep(0.15)
        host.start()
    with host.client() as kv:
        assert contents(kv) == model and 990 <= kv("TTL", "k1") <= 1000


def test_torn_log(host, tmp_path):
    with host.client() as kv:
        for n in range(100):
            kv("SET", f"k{n}", "v" * 100)
    host.kill()
    log = tmp_path / "log"
    data = log.read_bytes()
    log.write_bytes(data[:-37])
    host.start()
    with host.client() as kv:
        assert kv("DBSIZE") == 99
        assert kv("SET", "k99", "again") == OK
    host.kill()
    host.start()
    with host.client() as kv:
        assert kv("DBSIZE") == 100 and kv("GET", "k99") == b"again"


def test_log_full(host_program, tmp_path):
    with Host(tmp_path, "--log-limit", "200000") as host, host.client() as kv:
        replies = [kv.try_("SET", f"k{n}", "v" * 1000) for n in range(300)]
        refused = [str(reply) for reply in replies if isinstance(reply, RespError)]
        assert refused and all(text.startswith("MISCONF The log is full") for text in refused)
        stored = len(replies) - len(refused)
        assert kv("DBSIZE") == stored and kv("GET", "k0") == b"v" * 1000
        assert kv("DEL", "k0") == 1
        host.kill()
        host.start()
        with host.client() as again:
            assert again("DBSIZE") == stored - 1


def test_heap_full(host_program, tmp_path):
    """Without a limit below the heap's size, the heap itself is the limit."""
    with Host(tmp_path, "--heap", str(8 << 20)) as host, host.client() as kv:
        replies = [kv.try_("SET", f"k{n}", "v" * 50000) for n in range(300)]
        assert any(isinstance(reply, RespError) for reply in replies)
        assert all(reply == OK or str(reply).startswith("OOM ") for reply in replies)
        assert kv("GET", "k0") == b"v" * 50000
        with host.client() as other:
            other.send("SET", "huge", b"x" * (9 << 20))
            assert str(other.reply()).startswith("OOM ")
        assert kv("FLUSHALL") == OK and kv("SET", "a", "1") == OK
