"""The server as a process: started on a free port, awaited, ended by its id."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import threading

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Longer than any start takes, even of a debug build on a busy machine.
PATIENCE_SECONDS = 120


def binary() -> str:
    """The path in SUTRA_CACHE_BIN, or of a binary that cargo makes now."""
    chosen = os.environ.get("SUTRA_CACHE_BIN")
    if chosen:
        return chosen
    build = subprocess.run(
        ["cargo", "build", "--quiet", "--package", "sutra-cache", "--message-format", "json"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    messages = (json.loads(line) for line in build.stdout.splitlines())
    return next(path for path in (message.get("executable") for message in messages) if path)


class Server:
    """One server on one directory; it may be stopped or killed, and started again."""

    def __init__(self, path: str, directory: pathlib.Path, **settings: str):
        self.path = path
        self.directory = directory
        self.settings = settings
        self.process: subprocess.Popen | None = None
        self.log: list[str] = []
        self.port = 0
        self.start()

    def start(self) -> None:
        """Starts it, and waits until it says where it serves and answers there."""
        environment = {
            "STORAGE_PATH": str(self.directory),
            "STORAGE_PORT": "0",
            "HTTP_PORT": "off",
            "NO_COLOR": "1",
            **self.settings,
        }
        self.log = []
        self.process = subprocess.Popen(
            [self.path], cwd=self.directory, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        serves = threading.Event()
        threading.Thread(target=self._read_log, args=(self.process, serves), daemon=True).start()
        if not serves.wait(PATIENCE_SECONDS) or not self.port:
            self.kill()
            raise RuntimeError("the server does not serve:\n" + "\n".join(self.log))
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS) as connection:
            connection.sendall(b"PING\r\n")
            assert connection.recv(64) == b"+PONG\r\n"

    def _read_log(self, process: subprocess.Popen, serves: threading.Event) -> None:
        self.port = 0
        for line in process.stderr:
            self.log.append(line.rstrip())
            if " serving " in line and not self.port:
                digits = line.rsplit("127.0.0.1:", 1)[1]
                self.port = int(digits.split("]")[0].split(",")[0])
                serves.set()
        serves.set()

    def stop(self) -> None:
        """Asks it to stop by SIGTERM; it must end with exit code 0."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE_SECONDS) == 0, "\n".join(self.log)
        self.process = None

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
