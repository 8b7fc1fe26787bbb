"""The way of an operator: start it, load it, watch it by Prometheus, see an alert fire, read its statistics, clear it."""

import base64
import http.client
import json
import pathlib
import re
import shutil
import subprocess
import threading

import container as containers
import pytest
import redis

PATIENCE_SECONDS = 60


def ask(method: str, path: str, port: int = 8888, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def series(text: str) -> dict[str, float]:
    """Time series of an exposition and their values."""
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, value in lines}


@pytest.fixture
def running(make_container):
    container = make_container()
    container.start()
    return container


def test_it_is_alive_and_ready_on_both_ports(running):
    assert ask("GET", "/health")[0] == 200
    assert ask("GET", "/ready")[0] == 200
    assert ask("GET", "/health", port=50051)[0] == 200
    status, body = ask("GET", "/cache/health")
    assert status == 200 and json.loads(body)["status"] == "healthy"


def test_statistics_count_what_clients_did(running, connect):
    client = connect()
    for number in range(30):
        client.set(f"key:{number}", "value")
    for number in range(40):
        client.get(f"key:{number}")
    status, body = ask("GET", "/cache/stats")
    statistics = json.loads(body)
    assert status == 200
    assert (statistics["hits"], statistics["misses"], statistics["total_requests"]) == (30, 10, 40)
    assert statistics["hit_rate"] == pytest.approx(0.75)
    assert statistics["entries"] == 30


def test_clearing_needs_the_password(running, connect):
    connect().set("key", "value")
    assert ask("POST", "/cache/clear")[0] == 401
    assert ask("POST", "/cache/clear", Authorization="Bearer wrong")[0] in (401, 403)
    assert connect().dbsize() == 1
    assert ask("POST", "/cache/clear", Authorization=f"Bearer {containers.PASSWORD}")[0] == 200
    assert connect().dbsize() == 0
    connect().set("key", "value")
    basic = base64.b64encode(f"default:{containers.PASSWORD}".encode()).decode()
    assert ask("POST", "/cache/clear", Authorization=f"Basic {basic}")[0] == 200
    assert connect().dbsize() == 0


def test_it_exposes_the_metrics_of_the_list_and_no_others(running, connect, repository):
    connect().set("key", "value")
    assert connect().get("key") == b"value"
    status, text = ask("GET", "/metrics")
    assert status == 200
    listed = dict(re.findall(r"^\| `([a-z_]+)` \| (counter|gauge|histogram) \|", (repository / "docs/metrics.md").read_text(), re.MULTILINE))
    assert dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)) == listed
    values = series(text)
    assert values["cache_hits_total"] == 1 and values["cache_entries"] == 1 and values["cache_ready"] == 1
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True)
    assert checked.returncode == 0 and not checked.stderr, checked.stderr


class Prometheus:
    """A Prometheus that watches the container with our files, where minutes are seconds."""

    def __init__(self, directory: pathlib.Path, repository: pathlib.Path):
        rules = (repository / "deploy/prometheus/alerts.yml").read_text()
        rules = re.sub(r"\[(\d+)m\]", r"[\1s]", re.sub(r"for: \d+m", "for: 0s", rules))
        (directory / "alerts.yml").write_text(rules)
        scrape = (repository / "deploy/prometheus/scrape.yml").read_text()
        scrape = scrape.replace("cache-shard:8888", "127.0.0.1:8888").replace("scrape_interval: 15s", "scrape_interval: 1s")
        (directory / "prometheus.yml").write_text("global: {evaluation_interval: 1s, scrape_timeout: 1s}\n" + scrape)
        arguments = [f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/series"]
        self.process = subprocess.Popen(
            ["prometheus", *arguments, "--web.listen-address=127.0.0.1:9090", "--log.level=error"],
            stdin=subprocess.DEVNULL,
        )

    def query(self, expression: str) -> list[dict]:
        try:
            _, body = ask("GET", f"/api/v1/query?query={expression}", port=9090)
            return json.loads(body)["data"]["result"]
        except (OSError, json.JSONDecodeError, KeyError):
            return []

    def firing(self) -> set[str]:
        return {alert["metric"]["alertname"] for alert in self.query("ALERTS")}

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def prometheus(network, tmp_path, repository):
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed")
    prometheus = Prometheus(tmp_path, repository)
    yield prometheus
    prometheus.stop()


def test_an_alert_fires_when_its_condition_is_forced_and_only_then(running, connect, prometheus):
    client = connect()
    client.set("key", "value")
    over = threading.Event()
    timer = threading.Timer(PATIENCE_SECONDS, over.set)
    timer.start()
    try:
        # Good traffic, until Prometheus has seen some: no alert about hits or errors.
        while not prometheus.query("sutra:hit_ratio:rate5m%20==%201") and not over.is_set():
            for _ in range(50):
                client.get("key")
        assert not {"CacheHitRateLow", "CacheErrorRateHigh", "CacheDown"} & prometheus.firing()
        # Bad traffic: every read misses, and one command in fifty is an error.
        wanted = {"CacheHitRateVeryLow", "CacheErrorRateHigh"}
        while not wanted <= prometheus.firing() and not over.is_set():
            for number in range(50):
                client.get(f"missing:{number}")
            with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
                client.hget("key", "field")
        assert wanted <= prometheus.firing()
        running.kill()
        while "CacheDown" not in prometheus.firing() and not over.is_set():
            pass
        assert "CacheDown" in prometheus.firing()
        assert not over.is_set()
    finally:
        timer.cancel()
