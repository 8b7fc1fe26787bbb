"""redis-py, blocking, RESP2 and RESP3."""

import threading
import time

import pytest
import redis


def test_values_are_bytes_and_come_back_as_they_were(client):
    value = bytes(range(256)) * 20
    assert client.set("k", value) is True
    assert client.get("k") == value
    assert client.get("missing") is None
    assert client.set("k", "x", nx=True) is None
    assert client.set("k", "new", get=True) == value
    assert client.getdel("k") == b"new"
    assert client.exists("k") == 0


def test_decoded_responses_are_text(server):
    for protocol in (2, 3):
        client = redis.Redis(port=server.port, protocol=protocol, decode_responses=True)
        client.set("gr\u00fc\u00dfe", "sch\u00f6n")
        assert client.get("gr\u00fc\u00dfe") == "sch\u00f6n"
        client.hset("h", mapping={"a": 1, "b": "\u00fc"})
        assert client.hgetall("h") == {"a": "1", "b": "\u00fc"}
        assert client.keys("gr*") == ["gr\u00fc\u00dfe"]
        client.flushdb()


def test_hashes_are_dictionaries_in_both_protocols(client):
    assert client.hset("h", mapping={"a": 1, "b": 2}) == 2
    assert client.hset("h", "a", 5) == 0
    assert client.hgetall("h") == {b"a": b"5", b"b": b"2"}
    assert client.hmget("h", "a", "x") == [b"5", None]
    assert client.hincrby("h", "b", 40) == 42
    assert client.hincrbyfloat("h", "f", 1.5) == 1.5
    assert sorted(client.hkeys("h")) == [b"a", b"b", b"f"]
    assert client.hlen("h") == 3
    assert client.hexists("h", "f") and client.hdel("h", "f", "x") == 1
    client.hset("big", mapping={f"field{n}": n for n in range(2000)})
    assert {field for field, _ in client.hscan_iter("big", count=100)} == {b"field%d" % n for n in range(2000)}
    assert client.hexpire("h", 100, "a", "x") == [1, -2]
    assert 0 < client.httl("h", "a")[0] <= 100


def test_times_to_live(client):
    client.setex("k", 100, "v")
    assert 99 <= client.ttl("k") <= 100
    client.expire("k", 1000, gt=True)
    assert client.ttl("k") > 900
    assert client.persist("k") and client.ttl("k") == -1
    assert client.ttl("missing") == -2
    client.psetex("short", 30, "v")
    deadline = time.monotonic() + 10
    while client.get("short") is not None:
        assert time.monotonic() < deadline, "an entry of 30 ms is served for seconds"
    at = int(time.time()) + 500
    client.set("k", "v", exat=at)
    assert client.expiretime("k") == at
    assert client.getex("k", persist=True) == b"v" and client.ttl("k") == -1


def test_a_pipeline_of_1000_commands(client):
    pipeline = client.pipeline(transaction=False)
    for n in range(500):
        pipeline.set(f"k{n}", n)
        pipeline.incr(f"k{n}")
    results = pipeline.execute()
    assert results[0::2] == [True] * 500
    assert results[1::2] == [n + 1 for n in range(500)]
    assert client.mget([f"k{n}" for n in range(500)]) == [b"%d" % (n + 1) for n in range(500)]


def test_a_pipeline_reports_errors_where_they_are(client):
    client.set("text", "x")
    pipeline = client.pipeline(transaction=False)
    pipeline.incr("text").set("other", 1).hget("text", "f").get("other")
    first, second, third, fourth = pipeline.execute(raise_on_error=False)
    assert isinstance(first, redis.ResponseError) and "not an integer" in str(first)
    assert isinstance(third, redis.ResponseError) and "WRONGTYPE" in str(third)
    assert (second, fourth) == (True, b"1")


def test_a_transaction_runs_as_one(client):
    with client.pipeline() as pipeline:
        assert pipeline.set("a", 1).incrby("a", 5).get("a").execute() == [True, 6, b"6"]
    with client.pipeline() as pipeline:
        pipeline.set("a", 1).execute_command("NOSUCHCOMMAND")
        with pytest.raises(redis.ResponseError):
            pipeline.execute()
    assert client.get("a") == b"6", "nothing of a transaction that was refused is carried out"


def test_watch_notices_what_others_do(client, server):
    client.set("balance", 100)
    other = redis.Redis(port=server.port)
    with client.pipeline() as pipeline:
        pipeline.watch("balance")
        balance = int(pipeline.get("balance"))
        other.decrby("balance", 30)
        pipeline.multi()
        pipeline.set("balance", balance - 50)
        with pytest.raises(redis.WatchError):
            pipeline.execute()
    assert client.get("balance") == b"70"


def test_concurrent_transactions_with_watch_lose_no_update(client):
    client.set("n", 0)

    def add(pipeline):
        value = int(pipeline.get("n"))
        pipeline.multi()
        pipeline.set("n", value + 1)

    def work():
        for _ in range(50):
            client.transaction(add, "n")

    threads = [threading.Thread(target=work) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert client.get("n") == b"200"


def test_a_pool_is_shared_by_threads(server):
    pool = redis.BlockingConnectionPool(port=server.port, max_connections=5, timeout=60)
    client = redis.Redis(connection_pool=pool)

    def work(number):
        for n in range(100):
            client.set(f"{number}:{n}", f"{number}:{n}")
            assert client.get(f"{number}:{n}") == f"{number}:{n}".encode()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert client.dbsize() == 1200
    assert int(client.info("clients")["connected_clients"]) <= 7
    pool.disconnect()


def test_scan_iter_finds_every_key_that_stays(client):
    names = {b"user:%d" % n for n in range(3000)}
    client.mset({name: 1 for name in names})
    client.mset({f"other:{n}": 1 for n in range(1000)})
    client.hset("user:hash", "f", 1)
    found, number = set(), 0
    for name in client.scan_iter("user:*", count=50):
        found.add(name)
        # Keys that come and go meanwhile must not hide those that stay.
        client.set(f"churn:{number}", 1)
        client.delete(f"churn:{number - 5}")
        number += 1
    assert names <= found
    assert set(client.scan_iter(_type="hash")) == {b"user:hash"}
    assert client.dbsize() >= 4001


def test_a_client_that_is_killed_connects_again(server):
    killer = redis.Redis(port=server.port)
    victim = redis.Redis(port=server.port, client_name="victim", single_connection_client=True)
    assert victim.ping()
    (info,) = [other for other in killer.client_list() if other["name"] == "victim"]
    assert killer.client_kill_filter(_id=info["id"]) == 1
    assert victim.set("k", "after") is True
    assert victim.client_getname() in ("victim", b"victim")
    assert victim.client_id() != int(info["id"])


def test_an_idle_connection_is_checked_and_replaced(server):
    client = redis.Redis(port=server.port, health_check_interval=1)
    client.ping()
    connection = client.connection_pool.get_connection()
    first = connection.next_health_check
    connection.next_health_check = time.monotonic() - 1
    connection.check_health()
    assert connection.next_health_check > first
    client.connection_pool.release(connection)
    assert client.ping()


def test_a_client_survives_a_restart_of_the_server(start_server):
    server = start_server()
    retry = redis.retry.Retry(redis.backoff.ConstantBackoff(0.01), 3000)
    client = redis.Redis(port=server.port, retry=retry)
    client.set("k", "v")
    server.settings["STORAGE_PORT"] = str(server.port)
    server.kill()
    server.start()
    assert client.get("k") == b"v"


def test_large_values(client):
    value = bytes(range(256)) * 4096 * 20  # 20 MiB
    client.set("large", value)
    assert client.strlen("large") == len(value)
    assert client.get("large") == value
    assert client.getrange("large", 256, 511) == bytes(range(256))
    client.append("large", b"end")
    assert client.getrange("large", -3, -1) == b"end"


def test_databases_are_apart(server):
    first, second = redis.Redis(port=server.port, db=1), redis.Redis(port=server.port, db=2)
    first.set("k", 1)
    assert second.get("k") is None
    assert first.move("k", 2) and second.get("k") == b"1"
    second.flushdb()


def test_errors_have_redis_words(client):
    for command, text in [
        (["GET"], "wrong number of arguments for 'get' command"),
        (["SET", "k", "v", "EX", "0"], "invalid expire time in 'set' command"),
        (["SETEX", "k", "x", "v"], "value is not an integer or out of range"),
        (["NOSUCH", "x"], "unknown command"),
        (["SELECT", "99"], "DB index is out of range"),
    ]:
        with pytest.raises(redis.ResponseError, match=text):
            client.execute_command(*command)
    assert client.ping(), "a mistake costs no connection"


def test_the_server_tells_about_itself(client):
    info = client.info()
    for name in ("redis_version", "connected_clients", "used_memory", "role", "uptime_in_seconds"):
        assert name in info, name
    assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "allkeys-lru"
    assert client.command_count() > 100
    assert client.time()[0] > 1_600_000_000
    assert client.client_info()["resp"] in (2, 3, "2", "3")
