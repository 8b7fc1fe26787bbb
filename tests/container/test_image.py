"""What the image is: one static binary, a volume, and how to run it."""

import re
import stat

SIZE_MAX = 25_000_000


def test_it_holds_one_binary_and_an_empty_volume_of_its_user(image):
    files = image.files()
    assert set(files) == {"/sutra-cache", "/data"}
    assert stat.S_IMODE(files["/sutra-cache"].st_mode) == 0o755
    user, group = image.configuration["User"].split(":")
    assert (files["/data"].st_uid, files["/data"].st_gid) == (int(user), int(group))
    assert int(user) != 0


def test_it_is_small(image):
    assert sum(status.st_size for status in image.files().values() if stat.S_ISREG(status.st_mode)) <= SIZE_MAX


def test_it_says_how_it_is_run(image):
    configuration = image.configuration
    assert configuration["Entrypoint"] == ["/sutra-cache"]
    assert set(configuration["ExposedPorts"]) == {"50051/tcp", "8888/tcp"}
    assert set(configuration["Volumes"]) == {"/data"}
    assert configuration["StopSignal"] == "SIGTERM"
    assert configuration["Healthcheck"]["Test"] == ["CMD", "/sutra-cache", "health"]


def test_buildah_itself_runs_it(image):
    said = image.buildah("run", "--isolation", "chroot", image.working_container(), "/sutra-cache", "--version")
    assert said.startswith("sutra-cache ")


def test_what_the_crates_include_is_part_of_the_builders_context(repository):
    patterns = (repository / "docker/Dockerfile.dockerignore").read_text().splitlines()
    kept = {pattern[1:] for pattern in patterns if pattern.startswith("!")}
    left_out = [pattern for pattern in patterns if not pattern.startswith(("!", "#")) and pattern != "*"]
    wanted = {repository / name for name in ("Cargo.toml", "Cargo.lock", "crates", "benches", "xtask")}
    for source in repository.glob("crates/*/src/**/*.rs"):
        for path in re.findall(r'include_(?:str|bytes)!\("([^"]+)"\)', source.read_text()):
            wanted.add((source.parent / path).resolve())
    for path in wanted:
        inside = path.relative_to(repository)
        assert path.exists() and inside.parts[0] in kept, inside
        assert not any(part.match(pattern) for part in [inside, *inside.parents] for pattern in left_out), inside
