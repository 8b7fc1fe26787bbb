"""Embeddings written as binary values are the same, byte for byte, after a stop and after kill -9."""

import ast
import os
import pathlib
import struct

import pytest
import redis

DIMENSION = 384


def fixture_rows():
    """The vectors inside the repository."""
    content = (pathlib.Path(__file__).parent / "vectors.f32").read_bytes()
    size = DIMENSION * 4
    return [content[start : start + size] for start in range(0, len(content), size)]


def npy_rows(path):
    """The rows of a NumPy file of little-endian f32, as bytes."""
    content = path.read_bytes()
    assert content[:6] == b"\x93NUMPY" and content[6] == 1
    (header_bytes,) = struct.unpack_from("<H", content, 8)
    header = ast.literal_eval(content[10 : 10 + header_bytes].decode())
    assert header["descr"] == "<f4" and not header["fortran_order"]
    count, dimension = header["shape"]
    start = 10 + header_bytes
    size = dimension * 4
    return [content[start + size * row : start + size * (row + 1)] for row in range(count)]


def real_rows():
    directory = os.environ.get("SUTRA_DATA")
    if not directory:
        pytest.skip("SUTRA_DATA names no directory with dev.npy")
    return npy_rows(pathlib.Path(directory) / "dev.npy")


def load(client, rows):
    """Half as strings one by one, half with MSET; every third with a time to live."""
    for start in range(0, len(rows), 500):
        batch = {f"emb:{number}": rows[number] for number in range(start, min(start + 500, len(rows)))}
        with client.pipeline(transaction=False) as pipeline:
            if start % 1000 == 0:
                for key, row in batch.items():
                    pipeline.set(key, row)
            else:
                pipeline.mset(batch)
            for number in range(start, start + len(batch), 3):
                pipeline.expire(f"emb:{number}", 86400)
            assert all(pipeline.execute())


def differing(client, rows):
    """The numbers of the rows that do not come back as they were."""
    wrong = []
    for start in range(0, len(rows), 100):
        found = client.mget([f"emb:{number}" for number in range(start, min(start + 100, len(rows)))])
        wrong += [start + index for index, row in enumerate(found) if row != rows[start + index]]
    return wrong


@pytest.mark.parametrize("mapped", ["true", "false"])
@pytest.mark.parametrize("source", [fixture_rows, real_rows])
def test_every_vector_comes_back_after_a_stop_and_after_kill_9(start_server, source, mapped):
    rows = source()
    server = start_server(MMAP_ENABLED=mapped, MAX_MEMORY="512mb")
    with redis.Redis(port=server.port) as client:
        load(client, rows)
        assert differing(client, rows) == []

    server.kill()
    server.start()
    with redis.Redis(port=server.port) as client:
        assert client.dbsize() == len(rows)
        assert differing(client, rows) == []
        # What is replaced and deleted now must not come back either.
        client.set("emb:0", rows[1])
        assert client.delete("emb:1") == 1

    server.stop()
    server.start()
    with redis.Redis(port=server.port) as client:
        changed = [rows[1], None, *rows[2:]]
        assert differing(client, changed) == []
        assert 0 < client.ttl("emb:3") <= 86400 and client.ttl("emb:4") == -1

    server.kill()
    server.start()
    with redis.Redis(port=server.port) as client:
        assert differing(client, changed) == []
    assert not [line for line in server.log if "damage" in line]
