"""A static binary in a container without libraries finds an embedder by its name: in the hosts file, and by DNS."""

import http.server
import json
import socket
import struct
import threading

import pytest

NAME = "embedder.example"
DIMENSION = 768


class Embedder(http.server.BaseHTTPRequestHandler):
    """Answers every text with the same vector, as OpenAI's endpoint would."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
        data = [{"object": "embedding", "index": place, "embedding": [1.0] * DIMENSION} for place in range(len(texts))]
        body = json.dumps({"object": "list", "model": asked["model"], "data": data, "usage": {}}).encode()
        self.server.asked_as.append(self.headers["Host"])
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def embedder(network):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Embedder)
    server.asked_as = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def name_server(network):
    """A server of names that knows one, and whose names it was asked for."""
    asked = []
    port = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    port.bind(("127.0.0.1", 53))

    def answer():
        while True:
            try:
                query, client = port.recvfrom(512)
            except OSError:
                return
            question, place = query[12:], 0
            labels = []
            while (length := question[place]) != 0:
                labels.append(question[place + 1 : place + 1 + length].decode())
                place += 1 + length
            (kind,) = struct.unpack(">H", question[place + 1 : place + 3])
            asked.append(".".join(labels))
            known = asked[-1] == NAME and kind == 1
            header = query[:2] + struct.pack(">HHHHH", 0x8580 if asked[-1] == NAME else 0x8583, 1, int(known), 0, 0)
            record = struct.pack(">HHHIH", 0xC00C, 1, 1, 60, 4) + bytes([127, 0, 0, 1]) if known else b""
            port.sendto(header + question[: place + 5] + record, client)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield asked
    port.close()


def asks_by_name(make_container, connect, embedder, files: dict[str, str]) -> None:
    """Starts a container with these files in /etc and has it embed a text."""
    container = make_container(EMBEDDER=f"http://{NAME}:{embedder.server_port}/v1/embeddings")
    (container.root / "etc").mkdir()
    for name, content in files.items():
        (container.root / "etc" / name).write_text(content)
    container.start()
    assert connect().execute_command("CACHE.SET", "key", "answer", "IN", "text", "TEXT", "a question") == b"OK"
    assert connect().execute_command("CACHE.LOOKUP", "text", "TEXT", "another question", "MIN", "0.9") == b"answer"
    assert embedder.asked_as[0].startswith(NAME)


def test_a_name_of_the_hosts_file_is_found(make_container, connect, embedder):
    asks_by_name(make_container, connect, embedder, {"hosts": f"127.0.0.1 localhost {NAME}\n"})


def test_a_name_is_asked_for_by_dns(make_container, connect, embedder, name_server):
    files = {"hosts": "127.0.0.1 localhost\n", "resolv.conf": "nameserver 127.0.0.1\n"}
    asks_by_name(make_container, connect, embedder, files)
    assert NAME in name_server
