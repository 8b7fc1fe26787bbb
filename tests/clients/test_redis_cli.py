"""redis-cli: in a pipe, and its tools."""

import subprocess

import pytest
import redis

pytestmark = pytest.mark.needs("redis-cli")


@pytest.fixture
def cli(program, server):
    def run(*arguments, stdin=None, timeout=60):
        done = subprocess.run(
            [program, "-p", str(server.port), *arguments], input=stdin, capture_output=True, timeout=timeout, check=True
        )
        return done.stdout.decode()

    return run


def test_commands_from_a_pipe_are_answered_in_order(cli):
    answers = cli(stdin=b"SET k v\nGET k\nINCR n\nGET missing\nHSET h a 1 b 2\nHGETALL h\nGET h\n")
    assert answers.splitlines()[:9] == ["OK", "v", "1", "", "2", "a", "1", "b", "2"]
    assert "WRONGTYPE" in answers


def test_a_transaction_from_a_pipe(cli):
    assert cli(stdin=b"MULTI\nSET k 1\nINCR k\nEXEC\n").split() == ["OK", "QUEUED", "QUEUED", "OK", "2"]


def test_the_last_argument_comes_from_standard_input(cli):
    value = b"line\r\nbinary \x00\x01 end"
    assert cli("-x", "SET", "k", stdin=value) == "OK\n"
    assert cli("GET", "k").encode() == value + b"\n"


def test_resp3_replies_are_shown_as_maps(cli):
    cli("HSET", "h", "a", "1")
    assert cli("-3", "--json", "HGETALL", "h").strip() == '{"a":"1"}'


def test_mass_insertion(cli, server):
    commands = b"".join(b"*3\r\n$3\r\nSET\r\n$%d\r\nkey%d\r\n$5\r\nvalue\r\n" % (len(b"key%d" % n), n) for n in range(20000))
    answers = cli("--pipe", stdin=commands)
    assert "errors: 0, replies: 20000" in answers
    assert redis.Redis(port=server.port).dbsize() == 20000


def test_scan_and_bigkeys(cli, server):
    client = redis.Redis(port=server.port)
    client.mset({f"user:{n}": "x" * n for n in range(500)})
    client.hset("hash", mapping={str(n): n for n in range(100)})
    assert len(cli("--scan", "--pattern", "user:*").split()) == 500
    report = cli("--bigkeys")
    assert '"user:499"' in report and "499 bytes" in report
    assert '"hash"' in report and "100 fields" in report
    assert "501 keys" in report


def test_memkeys_asks_for_the_memory_of_each_key(cli, server):
    redis.Redis(port=server.port).set("large", "x" * 100_000)
    report = cli("--memkeys")
    assert '"large"' in report


def test_latency_is_measured(cli):
    minimum, _, _, samples = cli("--latency", "-i", "0.2").split()[:4]
    # How many fit into the time is up to the machine.
    assert int(minimum) >= 0 and int(samples) > 0


def test_statistics_are_printed(program, server):
    process = subprocess.Popen([program, "-p", str(server.port), "--stat", "-i", "0.05"], stdout=subprocess.PIPE, text=True)
    try:
        lines = [process.stdout.readline() for _ in range(6)]
    finally:
        process.kill()
        process.wait()
    assert "keys" in lines[1] and len(lines[4].split()) >= 6


def test_monitor_shows_what_others_do(program, server):
    process = subprocess.Popen([program, "-p", str(server.port), "monitor"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "OK\n"
        client = redis.Redis(port=server.port, db=3)
        client.set("seen", "by monitor")
        line = next(line for line in process.stdout if "seen" in line)
    finally:
        process.kill()
        process.wait()
    assert line.rstrip().endswith('"SET" "seen" "by monitor"') and "[3 127.0.0.1:" in line


def test_an_error_is_told(cli):
    assert cli("SET", "k").startswith("ERR wrong number of arguments for 'set' command")
