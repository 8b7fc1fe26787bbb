"""The compose file: it says what it should, and each of its variables has its effect."""

import pathlib
import re
import struct

import pytest
import redis
import yaml

SUTRA_DEPLOYMENT = {
    "SUTRA_ROLE": "cache_shard",
    "CACHE_MODE": "true",
    "STORAGE_PATH": "/data",
    "STORAGE_PORT": "50051",
    "VECTOR_DIMENSION": "768",
    "MAX_CONCEPTS": "100000",
    "EVICTION_POLICY": "lru",
    "DEFAULT_TTL_SECONDS": "86400",
    "MMAP_ENABLED": "true",
    "WAL_SYNC_INTERVAL_MS": "5000",
    "RUST_LOG": "info",
}


def vector(dimension: int) -> bytes:
    return struct.pack(f"<{dimension}f", *([1.0] * dimension))


def mapped_files(container) -> set[str]:
    """Files of the volume that its process has mapped."""
    files = {path.stat().st_ino: path.name for path in container.volume.rglob("*") if path.is_file()}
    lines = pathlib.Path(f"/proc/{container.init()}/maps").read_text().splitlines()
    return {files[int(line.split()[4])] for line in lines if int(line.split()[4]) in files}


def test_it_has_the_variables_of_the_sutra_deployment_and_the_password(compose, settings):
    assert compose["environment"] == SUTRA_DEPLOYMENT | {"SUTRA_PASSWORD_FILE": "/run/secrets/sutra_password"}
    assert compose["environment"].keys() <= settings


def test_it_limits_memory_restarts_checks_and_stops(compose, image, repository):
    assert compose["deploy"]["resources"] == {"limits": {"memory": "2G"}, "reservations": {"memory": "1G"}}
    assert compose["restart"] == "unless-stopped"
    assert compose["healthcheck"]["test"] == image.configuration["Healthcheck"]["Test"]
    assert compose["read_only"] is True and compose["cap_drop"] == ["ALL"]
    assert int(compose["stop_grace_period"].removesuffix("s")) > 10


def test_what_it_refers_to_is_there(compose, image, repository):
    content = yaml.safe_load((repository / "docker/compose.yml").read_text())
    assert set(content) == {"services", "volumes", "secrets"}
    named, inside = compose["volumes"][0].split(":")
    assert named in content["volumes"] and inside in image.configuration["Volumes"]
    assert set(compose["secrets"]) == set(content["secrets"])
    assert compose["environment"]["SUTRA_PASSWORD_FILE"] == f"/run/secrets/{compose['secrets'][0]}"
    published = {port.rsplit(":", 1)[1] + "/tcp" for port in compose["ports"]}
    assert published == set(image.configuration["ExposedPorts"])
    build = repository / "docker" / compose["build"]["context"]
    assert (build / compose["build"]["dockerfile"]).is_file()


def test_the_builder_is_a_compiler_that_the_workspace_accepts(repository):
    dockerfile = (repository / "docker/Dockerfile").read_text()
    builder = re.search(r"^ARG RUST_IMAGE=rust:1\.(\d+)", dockerfile, re.MULTILINE)
    least = re.search(r'^rust-version = "1\.(\d+)"', (repository / "Cargo.toml").read_text(), re.MULTILINE)
    assert int(builder[1]) >= int(least[1])


def test_every_variable_is_in_force(make_container, connect):
    container = make_container()
    container.start()
    client = connect()
    # STORAGE_PATH, MMAP_ENABLED: values are in mapped segments on the volume.
    client.set("key", b"value of the segment" * 100)
    files = [path for path in container.volume.rglob("*") if path.is_file()]
    assert any(b"value of the segment" in path.read_bytes() for path in files)
    assert mapped_files(container)
    # VECTOR_DIMENSION: of the default space.
    with pytest.raises(redis.ResponseError, match="768"):
        client.execute_command("CACHE.SET", "short", "value", "IN", "text", "FP32", vector(256))
    client.execute_command("CACHE.SET", "long", "value", "IN", "text", "FP32", vector(768))
    # DEFAULT_TTL_SECONDS: of what native commands write without one.
    assert 86390 <= client.ttl("long") <= 86400
    assert client.ttl("key") == -1
    # MAX_CONCEPTS and EVICTION_POLICY: the least recently used go when there are too many.
    with client.pipeline(transaction=False) as pipeline:
        for number in range(101_000):
            pipeline.set(f"many:{number}", b"")
            if number % 5000 == 0:
                pipeline.execute()
                assert client.get("key")
        pipeline.execute()
    while client.dbsize() > 100_000:
        assert client.ping()
    assert client.exists("key", "many:100999") == 2
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}
    # WAL_SYNC_INTERVAL_MS, RUST_LOG.
    assert client.config_get("wal-sync-interval-ms") == {"wal-sync-interval-ms": "5000"}
    assert not any(" DEBUG " in line for line in container.log)
    # SUTRA_PASSWORD_FILE.
    with pytest.raises(redis.AuthenticationError), redis.Redis(port=50051, password="another") as stranger:
        stranger.ping()
    # Nothing of it is unknown.
    assert not any("has no meaning here" in line for line in container.log)


def test_the_log_is_as_quiet_as_rust_log_says(make_container, connect):
    container = make_container(RUST_LOG="warn")
    container.launch()
    # It says nothing, not even that it serves.
    while container.process.poll() is None:
        try:
            assert connect().set("key", "value")
            break
        except redis.ConnectionError:
            continue
    assert container.stop() == 0
    assert container.log == []


def test_without_mapped_files_values_are_in_the_log_alone(make_container, connect):
    container = make_container(MMAP_ENABLED="false")
    container.start()
    connect().set("key", b"value")
    assert not mapped_files(container)


def test_a_variable_of_another_role_is_named_and_does_no_harm(make_container, connect):
    container = make_container(SUTRA_GRAPH_SHARDS="4")
    container.start()
    assert any("SUTRA_GRAPH_SHARDS" in line for line in container.log), container.log
    assert connect().ping()


@pytest.mark.parametrize(
    ("variable", "value", "accepted"),
    [
        ("SUTRA_ROLE", "graph_shard", "cache_shard"),
        ("CACHE_MODE", "false", "yes"),
        ("STORAGE_PORT", "70000", "65535"),
        ("VECTOR_DIMENSION", "many", "whole number"),
        ("MAX_CONCEPTS", "-1", "whole number"),
        ("EVICTION_POLICY", "fifo", "allkeys-lru"),
        ("DEFAULT_TTL_SECONDS", "1d", "whole number"),
        ("MMAP_ENABLED", "maybe", "true"),
        ("WAL_SYNC_INTERVAL_MS", "fast", "milliseconds"),
        ("RUST_LOG", "a=b=c", "log filter"),
        ("STORAGE_PATH", "/proc/none", "/proc/none"),
    ],
)
def test_a_wrong_value_stops_the_start_and_is_named(make_container, variable, value, accepted):
    container = make_container(**{variable: value})
    container.launch()
    assert container.ended() == 1
    said = "\n".join(container.log)
    assert variable in said and value in said and accepted in said
