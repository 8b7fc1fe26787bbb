"""Fixtures: the image, and containers of it in a network of their own."""

import os
import pathlib

import container
import pytest
import redis
import yaml


@pytest.fixture(scope="session")
def image(tmp_path_factory):
    reason = container.unmet()
    if reason:
        pytest.skip(f"no containers here: {reason}")
    return container.Image(tmp_path_factory.mktemp("images"), os.environ.get("SUTRA_STATIC_BIN"))


@pytest.fixture(scope="session")
def compose():
    """The compose file's service."""
    content = yaml.safe_load((container.REPOSITORY / "docker/compose.yml").read_text())
    return content["services"]["cache-shard"]


@pytest.fixture
def network(image):
    with container.PrivateNetwork() as network:
        yield network


@pytest.fixture
def make_container(image, compose, network, tmp_path):
    """Makes containers as the compose file describes them; `None` takes a variable away."""
    made = []

    def make(memory_bytes=None, **changes) -> container.Container:
        environment = {**compose["environment"], **changes}
        environment = {name: value for name, value in environment.items() if value is not None}
        directory = tmp_path / f"container-{len(made)}"
        directory.mkdir()
        made.append(container.Container(image, directory, environment, {"sutra_password": container.PASSWORD + "\n"}, memory_bytes))
        return made[-1]

    yield make
    for one in made:
        one.remove()


@pytest.fixture
def connect(network):
    """Clients of the container, with its password."""
    clients = []

    def connect(**options) -> redis.Redis:
        clients.append(redis.Redis(port=50051, password=container.PASSWORD, **options))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


@pytest.fixture(scope="session")
def settings():
    """Every environment variable that docs/configuration.md has, which is generated from the program's own table."""
    page = (container.REPOSITORY / "docs/configuration.md").read_text()
    cells = [line.split("|") for line in page.splitlines() if line.startswith("| `")]
    return {name.strip(" `") for row in cells if len(row) > 4 for name in row[2].split(",") if name.strip(" `")}


@pytest.fixture(scope="session")
def repository() -> pathlib.Path:
    return container.REPOSITORY
