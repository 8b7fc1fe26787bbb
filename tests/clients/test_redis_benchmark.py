"""redis-benchmark runs its tests without an error."""

import csv
import subprocess

import pytest

pytestmark = pytest.mark.needs("redis-benchmark")

# Those of its tests that need only strings and hashes.
TESTS = "ping_inline,ping_mbulk,set,get,incr,hset,mset"


@pytest.mark.parametrize("options", [["-c", "50"], ["-P", "16"], ["-P", "64", "-c", "10", "--threads", "2"], ["-d", "3072", "-r", "1000"]])
def test_every_benchmark_ends_with_a_figure(program, server, options):
    command = [program, "-p", str(server.port), "-t", TESTS, "-n", "3000", "--csv", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert len(rows) == len(TESTS.split(",")), done.stdout
    assert all(float(row["rps"]) > 0 for row in rows)
    assert "rror" not in done.stderr, done.stderr


def test_quiet_output_and_a_command_of_its_own(program, server):
    command = [program, "-p", str(server.port), "-q", "-n", "2000", "-r", "100", "-P", "16", "setex", "key:__rand_int__", "100", "v"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert "requests per second" in done.stdout and "rror" not in done.stdout + done.stderr
