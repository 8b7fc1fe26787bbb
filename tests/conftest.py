"""Fixtures: a server for a test, a server for all tests of a module, and clients for them."""

import shutil

import pytest
import redis

import sutra_server


@pytest.fixture(scope="session")
def binary():
    return sutra_server.binary()


@pytest.fixture
def start_server(binary, tmp_path_factory):
    """Starts servers with the settings of the test's choice, and kills them in the end."""
    servers = []

    def start(**settings):
        servers.append(sutra_server.Server(binary, tmp_path_factory.mktemp("data"), **settings))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


@pytest.fixture(scope="module")
def shared_server(binary, tmp_path_factory):
    server = sutra_server.Server(binary, tmp_path_factory.mktemp("data"))
    yield server
    server.stop()


@pytest.fixture
def server(shared_server):
    """The module's server, empty."""
    with redis.Redis(port=shared_server.port) as client:
        client.flushall()
    return shared_server


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def client(request, server):
    """A client, once for each version of the protocol."""
    with redis.Redis(port=server.port, protocol=request.param) as client:
        yield client


@pytest.fixture
def program(request):
    """The path of a program that may be missing: named by the test's `needs` marker."""
    name = request.node.get_closest_marker("needs").args[0]
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def pytest_configure(config):
    config.addinivalue_line("markers", "needs(program): the test runs this program")
