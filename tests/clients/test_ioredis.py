"""ioredis: the session in ioredis/session.mjs, in a directory where npm has installed the client."""

import os
import pathlib
import shutil
import subprocess

import pytest

SOURCE = pathlib.Path(__file__).parent / "ioredis"

pytestmark = pytest.mark.needs("node")


@pytest.fixture(scope="session")
def node_directory(tmp_path_factory):
    """A copy of the session beside the modules that it imports."""
    directory = tmp_path_factory.mktemp("node")
    for name in ("package.json", "session.mjs"):
        shutil.copy(SOURCE / name, directory)
    installed = os.environ.get("SUTRA_NODE_MODULES")
    if installed:
        (directory / "node_modules").symlink_to(installed, target_is_directory=True)
    else:
        install = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(install, cwd=directory, check=True, timeout=300)
    return directory


@pytest.mark.parametrize("protocol", ["2", "3"])
def test_a_session_of_ioredis(program, server, node_directory, protocol):
    done = subprocess.run(
        [program, "session.mjs", str(server.port), protocol], cwd=node_directory, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("done\n")
