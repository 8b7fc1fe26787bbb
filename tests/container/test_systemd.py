"""The systemd unit: systemd accepts it, and finds little that it may do."""

import os
import pathlib
import shutil
import subprocess

import pytest

EXPOSURE_MAX = 1.5


@pytest.fixture
def unit(repository, tmp_path):
    """The unit with a program that is there: systemd wants to see it."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    text = (repository / "deploy/systemd/sutra-cache.service").read_text()
    assert "ExecStart=/usr/local/bin/sutra-cache\n" in text
    unit = tmp_path / "sutra-cache.service"
    unit.write_text(text.replace("ExecStart=/usr/local/bin/sutra-cache", "ExecStart=/bin/true"))
    return unit


def analyze(*arguments) -> tuple[int, str]:
    done = subprocess.run(["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    return done.returncode, done.stdout + done.stderr


def test_systemd_accepts_the_unit(unit: pathlib.Path):
    code, said = analyze("verify", "--man=no", unit)
    assert code == 0 and "sutra-cache.service" not in said, said
    unit.write_text(unit.read_text().replace("NoNewPrivileges=yes", "NoNewPrivilege=yes"))
    assert "NoNewPrivilege" in analyze("verify", "--man=no", unit)[1]


def test_the_unit_is_hardened(unit: pathlib.Path):
    code, said = analyze("security", "--offline=true", f"--threshold={int(EXPOSURE_MAX * 10)}", unit)
    assert code == 0, said


def test_the_unit_sets_settings_that_there_are(unit: pathlib.Path, settings):
    (line,) = [line for line in unit.read_text().splitlines() if line.startswith("Environment=")]
    assert {word.split("=")[0] for word in line.removeprefix("Environment=").split()} <= settings
