"""A container as an operator has it: started as the compose file says, stopped, killed, and every key compared each time."""

import os
import pathlib
import signal
import struct
import subprocess
import threading
import time

import pytest
import redis

DIMENSION = 768
STOP_SECONDS_MAX = 10
STRINGS, HASHES, VECTORS = 3000, 300, 200


def vector(number: int) -> bytes:
    """One of many directions, none like another."""
    values = [((number * 31 + place * 17) % 101) - 50.0 for place in range(DIMENSION)]
    values[number % DIMENSION] = 1000.0
    return struct.pack(f"<{DIMENSION}f", *values)


def load(client: redis.Redis, generation: int) -> dict[str, object]:
    """Writes entries of every kind, some of them over those of the generation before; what a client must see afterwards."""
    expected: dict[str, object] = {}
    with client.pipeline(transaction=False) as pipeline:
        for number in range(STRINGS):
            key, value = f"string:{generation % 2}:{number}", f"{generation}-{number}-".encode() * (1 + number % 50)
            pipeline.set(key, value, ex=86400 if number % 3 == 0 else None)
            expected[key] = value
        for number in range(HASHES):
            key = f"hash:{generation}:{number}"
            fields = {f"field{place}".encode(): f"{generation}:{number}:{place}".encode() for place in range(1 + number % 7)}
            pipeline.hset(key, mapping=fields)
            expected[key] = fields
        for number in range(VECTORS):
            key, value = f"answer:{generation}:{number}", f"answer {generation} {number}".encode()
            pipeline.execute_command("CACHE.SET", key, value, "IN", "questions", "FP32", vector(number), "COST", "0.01")
            expected[key] = value
        pipeline.execute()
    return expected


def differing(client: redis.Redis, expected: dict[str, object]) -> list[str]:
    """Keys that are not as they were, or that nobody wrote."""
    with client.pipeline(transaction=False) as pipeline:
        for key, value in expected.items():
            pipeline.hgetall(key) if isinstance(value, dict) else pipeline.get(key)
        found = pipeline.execute()
    wrong = [key for (key, value), there in zip(expected.items(), found) if there != value]
    return wrong + [key.decode() for key in client.scan_iter(count=1000) if key.decode() not in expected]


def test_every_key_survives_stops_and_kills_on_the_same_volume(make_container, connect):
    container = make_container()
    container.start()
    expected: dict[str, object] = {}
    for generation, end in enumerate(["stop", "kill", "stop", "kill"]):
        expected |= load(connect(), generation)
        if end == "stop":
            assert container.stop() == 0, "\n".join(container.log)
        else:
            container.kill()
        container.start()
        assert differing(connect(), expected) == []
        found = connect().execute_command("CACHE.LOOKUP", "questions", "FP32", vector(7), "MIN", "0.99")
        assert found.startswith(b"answer ") and found.endswith(b" 7")


def test_it_stops_cleanly_within_ten_seconds_while_clients_write(make_container, connect):
    container = make_container()
    container.start()
    acknowledged = [0] * 4

    def write(writer: int) -> None:
        client = connect()
        try:
            for number in range(1_000_000):
                client.set(f"storm:{writer}:{number}", b"x" * 2000)
                acknowledged[writer] = number + 1
        except redis.RedisError:
            pass

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(len(acknowledged))]
    idle = connect()
    idle.ping()
    for writer in writers:
        writer.start()
    while min(acknowledged) < 200:
        idle.ping()
    began = time.monotonic()
    code = container.stop()
    took = time.monotonic() - began
    for writer in writers:
        writer.join()
    assert code == 0, "\n".join(container.log)
    assert took <= STOP_SECONDS_MAX
    container.start()
    client = connect()
    for writer, count in enumerate(acknowledged):
        lost = [number for number in range(count) if not client.exists(f"storm:{writer}:{number}")]
        assert lost == []


def test_it_is_process_one_without_privileges_and_its_root_is_read_only(make_container, connect):
    container = make_container()
    container.start()
    process = pathlib.Path(f"/proc/{container.init()}")
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    assert status["NSpid"].split()[-1] == "1"
    assert status["Uid"].split() == ["65532"] * 4
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
    assert status["NoNewPrivs"].strip() == "1"
    mounts = [line.split() for line in (process / "mounts").read_text().splitlines()]
    options = next(fields[3].split(",") for fields in mounts if fields[1] == "/")
    assert "ro" in options
    assert connect().set("key", "value")


def test_a_signal_other_than_those_for_stopping_does_not_end_it(make_container, connect):
    container = make_container()
    container.start()
    connect().set("key", "value")
    for other in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE):
        os.kill(container.init(), other)
    assert connect().get("key") == b"value"
    assert container.stop() == 0


@pytest.mark.parametrize("ending", ["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP"])
def test_every_signal_that_ends_a_process_stops_it_cleanly(make_container, connect, ending):
    container = make_container()
    container.start()
    connect().set("key", "value")
    os.kill(container.init(), getattr(signal, ending))
    assert container.ended() == 0, "\n".join(container.log)


def test_its_health_check_tells_whether_it_lives(make_container):
    container = make_container()
    container.start()
    check = container.image.configuration["Healthcheck"]["Test"][1:]
    healthy = container.run(*check)
    assert healthy.returncode == 0, healthy.stderr
    unhealthy = container.run(*check, STORAGE_PORT="1", HTTP_PORT="off")
    assert unhealthy.returncode == 1, unhealthy.stdout


def test_a_second_container_on_the_same_volume_is_refused(make_container):
    container = make_container()
    container.start()
    second = make_container(STORAGE_PORT="50052", HTTP_PORT="off")
    second.volume = container.volume
    second.launch()
    assert second.ended() == 1
    assert any("STORAGE_PATH" in line for line in second.log), second.log


@pytest.mark.parametrize("password", [None, "/run/secrets/missing"])
def test_it_does_not_start_open_to_others_without_a_password(make_container, password):
    container = make_container(SUTRA_PASSWORD_FILE=password)
    container.launch()
    assert container.ended() == 1
    assert any("SUTRA_PASSWORD_FILE" in line for line in container.log), container.log


def test_a_copy_of_the_volume_of_a_stopped_container_is_a_backup(make_container, connect):
    container = make_container()
    container.start()
    expected = load(connect(), 0)
    assert container.stop() == 0
    backup = container.volume.with_name("backup")
    subprocess.run(["cp", "--archive", "--sparse=always", container.volume, backup], check=True)
    container.start()
    connect().flushall()
    assert container.stop() == 0
    container.volume = backup
    container.start()
    assert differing(connect(), expected) == []
    assert container.stop() == 0
    checked = subprocess.run([container.root / "sutra-cache", "check", backup], capture_output=True, text=True)
    assert checked.returncode == 0 and checked.stdout.endswith("sound\n"), checked.stdout
