"""The image, and a container of it without a container runtime: namespaces, a chroot, the image's own configuration.

What a runtime does is done by the programs that every Debian has: `unshare` makes the namespaces, `mount` binds the volume and makes the root
read-only, `chroot` becomes the image's user. The program runs as PID 1. The image is built by buildah, which also says what its
configuration is; nothing of that is repeated here.
"""

import ctypes
import fcntl
import json
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import threading

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 120
PASSWORD = "correct horse battery staple"
CLONE_NEWNET = 0x40000000
GROUPS = pathlib.Path("/sys/fs/cgroup")

PREPARE = """
set -e
if [ -n "$GROUP" ]; then echo 0 > "$GROUP/cgroup.procs"; fi
mount --make-rprivate /
mount --bind "$ROOT" "$ROOT"
mount -t proc proc "$ROOT/proc"
mount --bind "$VOLUME" "$ROOT/data"
mount --bind "$SECRETS" "$ROOT/run/secrets"
if [ -n "$GROUP" ]; then mount --bind "$GROUP" "$ROOT$GROUP_INSIDE"; fi
if [ "$READ_ONLY" = 1 ]; then mount -o remount,bind,ro "$ROOT"; fi
exec setpriv --no-new-privs env -i "$@"
"""


def unmet() -> str | None:
    """Why no container can run here, if none can."""
    if os.geteuid() != 0:
        return "namespaces need root"
    missing = [name for name in ("buildah", "unshare", "nsenter", "setpriv", "chroot") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} not installed"
    tried = subprocess.run(["unshare", "--mount", "--pid", "--net", "--fork", "true"], capture_output=True)
    return None if tried.returncode == 0 else "this machine permits no namespaces"


class PrivateNetwork:
    """A network with a loopback interface and nothing else, for this thread and what it starts. Fixed ports are free in it."""

    def __enter__(self):
        self.before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self.libc = ctypes.CDLL(None, use_errno=True)
        if self.libc.unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            # SIOCSIFFLAGS with IFF_UP | IFF_RUNNING.
            fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40) + bytes(22))
        return self

    def __exit__(self, *_):
        self.libc.setns(self.before, CLONE_NEWNET)
        os.close(self.before)


class Image:
    """The image, built into a storage of its own."""

    def __init__(self, storage: pathlib.Path, binary: str | None):
        self.storage = storage
        environment = {**os.environ, "STORAGE": str(storage)}
        if binary:
            environment["STATIC_BINARY"] = binary
        subprocess.run(
            [REPOSITORY / "docker/build-image", "sutra-cache"], env=environment, check=True, stdout=subprocess.DEVNULL
        )
        inspected = json.loads(self.buildah("inspect", "--type", "image", "sutra-cache"))
        self.configuration = inspected["Docker"]["config"]
        self.root = pathlib.Path(self.buildah("mount", self.working_container()).strip())

    def buildah(self, *arguments: str) -> str:
        where = ["--root", str(self.storage / "root"), "--runroot", str(self.storage / "run")]
        done = subprocess.run(
            ["buildah", "--storage-driver", "vfs", *where, *arguments], check=True, stdout=subprocess.PIPE, text=True
        )
        return done.stdout

    def working_container(self) -> str:
        """The name of a new container of buildah's own, with a layer that may be written."""
        return self.buildah("from", "--pull-never", "sutra-cache").strip()

    def environment(self) -> dict[str, str]:
        return dict(variable.split("=", 1) for variable in self.configuration["Env"])

    def files(self) -> dict[str, os.stat_result]:
        """Everything in it."""
        paths = self.root.rglob("*")
        return {"/" + str(path.relative_to(self.root)): path.lstat() for path in paths}


class Container:
    """A container on a volume. It may be stopped or killed, and started again on the same volume."""

    def __init__(
        self,
        image: Image,
        directory: pathlib.Path,
        environment: dict[str, str],
        secrets: dict[str, str],
        memory_bytes: int | None = None,
    ):
        self.image = image
        self.environment = environment
        self.volume = directory / "volume"
        self.secrets = directory / "secrets"
        self.process: subprocess.Popen | None = None
        self.log: list[str] = []
        # As a runtime does: a new volume is like the image's directory, and mount points are made in the container's own layer.
        data = (image.root / "data").stat()
        self.volume.mkdir()
        os.chown(self.volume, data.st_uid, data.st_gid)
        self.secrets.mkdir()
        for name, value in secrets.items():
            (self.secrets / name).write_text(value)
        self.root = directory / "root"
        shutil.copytree(image.root, self.root, symlinks=True)
        self.group = self.group_inside = None
        if memory_bytes is not None:
            self.group, self.group_inside = limited_group(f"sutra-{os.getpid()}-{directory.name}", memory_bytes)
        for point in ("proc", "run/secrets", (self.group_inside or "").strip("/")):
            (self.root / point).mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        """Starts it, and waits until it says that it serves."""
        self.launch()
        if not self.serves.wait(PATIENCE_SECONDS) or not any(" serving " in line for line in self.log):
            self.kill()
            raise RuntimeError("the container does not serve:\n" + "\n".join(self.log))

    def launch(self) -> None:
        given = {**self.image.environment(), **self.environment, "NO_COLOR": "1"}
        outside = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "ROOT": str(self.root),
            "VOLUME": str(self.volume),
            "SECRETS": str(self.secrets),
            "GROUP": str(self.group or ""),
            "GROUP_INSIDE": self.group_inside or "",
            "READ_ONLY": "1",
        }
        become = ["/usr/sbin/chroot", f"--userspec={self.image.configuration['User']}", str(self.root)]
        program = [f"{name}={value}" for name, value in given.items()] + become + self.image.configuration["Entrypoint"]
        self.log = []
        self.serves = threading.Event()
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", PREPARE, "sh", *program],
            env=outside,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.reader = threading.Thread(target=self._read_log, args=(self.process, self.serves), daemon=True)
        self.reader.start()

    def _read_log(self, process: subprocess.Popen, serves: threading.Event) -> None:
        for line in process.stderr:
            self.log.append(line.rstrip())
            if " serving " in line:
                serves.set()
        serves.set()

    def init(self) -> int:
        """The process that is PID 1 inside, as the machine numbers it."""
        outer = self.process.pid
        (child,) = pathlib.Path(f"/proc/{outer}/task/{outer}/children").read_text().split()
        return int(child)

    def ended(self) -> int:
        """Waits until it ends by itself: its exit code."""
        code = self.process.wait(PATIENCE_SECONDS)
        self.reader.join(PATIENCE_SECONDS)
        self.process = None
        return code

    def stop(self) -> int:
        """What a runtime does first: the image's stop signal to PID 1."""
        os.kill(self.init(), getattr(signal, self.image.configuration["StopSignal"]))
        return self.ended()

    def kill(self) -> None:
        """kill -9 of PID 1, which takes everything else in the container with it."""
        if self.process is None:
            return
        try:
            os.kill(self.init(), signal.SIGKILL)
        except (ValueError, FileNotFoundError, ProcessLookupError):
            self.process.kill()
        self.ended()

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess:
        """Runs a program inside beside the one that is there, as a health check is run."""
        user, group = self.image.configuration["User"].split(":")
        inside = ["nsenter", "--target", str(self.init()), "--mount", "--pid", "--root", "--wd=/"]
        given = {**self.image.environment(), **self.environment, **variables}
        return subprocess.run(
            [*inside, "--setuid", user, "--setgid", group, *command],
            env=given,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )

    def remove(self) -> None:
        self.kill()
        if self.group is not None:
            self.group.rmdir()


def limited_group(name: str, memory_bytes: int) -> tuple[pathlib.Path, str]:
    """A control group with this limit, of whichever version is mounted, and where a container finds its own."""
    if (GROUPS / "cgroup.controllers").exists():
        group, limit, inside = GROUPS / name, "memory.max", "/sys/fs/cgroup"
    else:
        group, limit, inside = GROUPS / "memory" / name, "memory.limit_in_bytes", "/sys/fs/cgroup/memory"
    group.mkdir()
    (group / limit).write_text(str(memory_bytes))
    return group, inside


def out_of_memory_kills(group: pathlib.Path) -> int:
    """Processes of the group that the system killed for memory."""
    for name in ("memory.events", "memory.oom_control"):
        if (group / name).exists():
            counts = dict(line.split() for line in (group / name).read_text().splitlines())
            return int(counts["oom_kill"])
    raise FileNotFoundError(group)
