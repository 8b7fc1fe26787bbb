"""redis-py, asyncio."""

import asyncio

import pytest
import redis
import redis.asyncio


def run(server, session, **options):
    """Runs a session with a client for each version of the protocol."""

    async def main(protocol):
        async with redis.asyncio.Redis(port=server.port, protocol=protocol, **options) as client:
            await client.flushall()
            await session(client)

    for protocol in (2, 3):
        asyncio.run(main(protocol))


def test_hundreds_of_tasks_at_once(server):
    async def session(client):
        async def task(number):
            await client.set(f"k{number}", number, ex=100)
            return await client.get(f"k{number}")

        assert await asyncio.gather(*map(task, range(400))) == [b"%d" % number for number in range(400)]
        assert await client.dbsize() == 400

    run(server, session, connection_pool=None, max_connections=500)


def test_pipelines_and_transactions(server):
    async def session(client):
        async with client.pipeline(transaction=False) as pipeline:
            for n in range(1000):
                pipeline.set(f"k{n}", n)
            assert await pipeline.execute() == [True] * 1000
        async with client.pipeline(transaction=True) as pipeline:
            assert await pipeline.incr("n").incr("n").hset("h", "f", 1).hgetall("h").execute() == [1, 2, 1, {b"f": b"1"}]
        async with client.pipeline() as pipeline:
            await pipeline.watch("n")
            await client.set("n", 10)
            pipeline.multi()
            pipeline.set("n", 0)
            with pytest.raises(redis.WatchError):
                await pipeline.execute()
        assert await client.get("n") == b"10"

    run(server, session)


def test_scan_and_large_values(server):
    async def session(client):
        value = b"\x00\xff" * 2_000_000
        await client.mset({f"k{n}": n for n in range(1000)})
        assert len({key async for key in client.scan_iter("k*", count=30)}) == 1000
        await client.set("large", value)
        assert await client.get("large") == value

    run(server, session)


def test_a_task_that_is_cancelled_spoils_nothing(server):
    async def session(client):
        await client.set("large", b"x" * 5_000_000)
        for _ in range(20):
            task = asyncio.create_task(client.get("large"))
            await asyncio.sleep(0)  # tidy: sleeps because zero seconds only let the task begin
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await client.set("k", "v")
            assert await client.get("k") == b"v"

    run(server, session)


def test_a_bounded_pool_makes_tasks_wait(server):
    async def session(_):
        pool = redis.asyncio.BlockingConnectionPool(port=server.port, max_connections=4, timeout=60)
        client = redis.asyncio.Redis(connection_pool=pool)
        results = await asyncio.gather(*(client.incr("n") for _ in range(300)))
        assert sorted(results) == list(range(1, 301))
        await client.aclose()
        await pool.disconnect()

    run(server, session)
