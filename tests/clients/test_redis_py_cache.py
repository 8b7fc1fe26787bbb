"""The cache in redis-py's client: it asks for CLIENT TRACKING and believes its copies until it is told that they have changed."""

import time

import pytest
import redis
from redis.cache import CacheConfig

PATIENCE_SECONDS = 30


@pytest.fixture
def cached(server):
    with redis.Redis(port=server.port, protocol=3, cache_config=CacheConfig()) as client:
        yield client


@pytest.fixture
def other(server):
    with redis.Redis(port=server.port) as client:
        yield client


def calls_of_get(other):
    return other.info("commandstats").get("cmdstat_get", {}).get("calls", 0)


def until(what, holds):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, what


def test_a_copy_is_read_without_asking_the_server(cached, other):
    other.set("k", "1")
    assert cached.get("k") == b"1"
    before = calls_of_get(other)
    assert all(cached.get("k") == b"1" for _ in range(10))
    assert calls_of_get(other) == before


@pytest.mark.parametrize(
    "change, value",
    [
        (["SET", "k", "2"], b"2"),
        (["DEL", "k"], None),
        (["APPEND", "k", "x"], b"1x"),
        (["PEXPIRE", "k", "1"], None),
        (["CACHE.INVALIDATE", "MATCH", "k*"], None),
        (["CACHE.INVALIDATE", "TAG", "1", "t"], None),
        (["FLUSHALL"], None),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, list) else "",
)
def test_a_copy_is_dropped_when_its_entry_changes(cached, other, change, value):
    other.execute_command("CACHE.SET", "k", "1", "TAG", "1", "t")
    assert cached.get("k") == b"1"
    other.execute_command(*change)
    until("the new value", lambda: cached.get("k") == value)
