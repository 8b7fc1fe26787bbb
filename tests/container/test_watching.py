"""Alerts, dashboard and the list of metrics: they fit each other, and Prometheus accepts them."""

import json
import re
import shutil
import subprocess

import pytest
import yaml

# Written by Prometheus itself, or by a rule of ours.
NOT_OURS = {"up", "ALERTS"}
FUNCTIONS = {"abs", "changes", "clamp", "count", "histogram_quantile", "increase", "label_values", "max", "min", "rate", "sum"}
WORDS = {"instance", "and", "or", "unless", "by", "without", "on", "ignoring", "group_left"}


@pytest.fixture(scope="module")
def metrics(repository):
    """Every metric that docs/metrics.md names: its type and labels."""
    rows = [line.split("|") for line in (repository / "docs/metrics.md").read_text().splitlines()]
    rows = [[cell.strip().strip("`") for cell in row[1:]] for row in rows if len(row) > 5 and row[1].startswith(" `")]
    return {name: (kind, set(re.findall(r"[a-z_]+", labels))) for name, kind, labels, *_ in rows}


@pytest.fixture(scope="module")
def rules(repository):
    groups = yaml.safe_load((repository / "deploy/prometheus/alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.fixture(scope="module")
def dashboard(repository):
    return json.loads((repository / "deploy/grafana/sutra-cache.json").read_text())


def unknown(expression: str, metrics, recorded=frozenset()) -> list[str]:
    """What an expression names that there is not: metrics, and labels that a metric does not have."""
    wrong = []
    expression = expression.replace("$__rate_interval", "5m").replace("$__range", "1h")
    for name in re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*(?=[{\[]|\b)", re.sub(r"\{[^}]*\}|\[[^\]]*\]|by \([^)]*\)|\b\d[\d.a-z]*", "", expression)):
        known = metric_of(name, metrics) or name in NOT_OURS | FUNCTIONS | WORDS | recorded
        if not known:
            wrong.append(name)
    for name, selector in re.findall(r"([a-zA-Z_:]+)\{([^}]*)\}", expression):
        if (metric := metric_of(name, metrics)) is not None:
            used = set(re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)", selector))
            wrong += [f"{name}{{{label}}}" for label in used - metrics[metric][1] - {"instance", "job", "le"}]
    return wrong


def metric_of(name: str, metrics) -> str | None:
    """The metric that a time series is of."""
    for suffix in ("", "_bucket", "_sum", "_count"):
        base = name.removesuffix(suffix)
        if base in metrics and (suffix == "" or metrics[base][0] == "histogram"):
            return base
    return None


def expressions(dashboard) -> list[str]:
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    variables = [item["query"] for item in dashboard["templating"]["list"] if item["type"] == "query"]
    return panels + variables + [item["expr"] for item in dashboard["annotations"]["list"]]


def test_the_check_of_expressions_finds_what_is_wrong(metrics):
    assert unknown('sum(rate(cache_hits_total{instance="a"}[5m])) / up', metrics) == []
    assert unknown("sum(cache_hitz_total)", metrics) == ["cache_hitz_total"]
    assert unknown('cache_evictions_total{cause="memory"}', metrics) == ["cache_evictions_total{cause}"]
    assert unknown("rate(cache_entries_bucket[5m])", metrics) == ["cache_entries_bucket"]


def test_the_list_of_metrics_keeps_prometheus_naming(metrics):
    for name, (kind, _) in metrics.items():
        assert kind in {"counter", "gauge", "histogram"}, name
        assert name.endswith("_total") == (kind == "counter"), name


def test_alerts_and_dashboard_use_metrics_that_there_are(metrics, rules, dashboard):
    recorded = {rule["record"] for rule in rules if "record" in rule}
    for expression in [rule["expr"] for rule in rules]:
        assert unknown(expression, metrics, recorded) == [], expression
    for expression in expressions(dashboard):
        assert unknown(expression, metrics) == [], expression


def test_the_dashboard_shows_what_an_operator_asks(dashboard):
    shown = " ".join(expressions(dashboard))
    for metric in [
        "cache_hits_total", "cache_requests_total", "cache_errors_total", "cache_request_duration_seconds_bucket", "cache_memory_bytes",
        "cache_evictions_total", "cache_wal_bytes", "cache_recovery_duration_seconds", "cache_vectors", "cache_invalidations_total",
        "cache_cost_saved_usd_total",
    ]:  # fmt: skip
        assert metric in shown
    identities = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(identities)) == len(identities)
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    cells = [(place["x"] + x, place["y"] + y) for place in places for x in range(place["w"]) for y in range(place["h"])]
    assert len(set(cells)) == len(cells), "panels overlap"
    assert max(x for x, _ in cells) < 24


def test_every_alert_has_an_entry_in_the_runbook_and_a_test(rules, repository):
    headings = re.findall(r"^#+ (.+)$", (repository / "docs/operations.md").read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    tests = (repository / "deploy/prometheus/alerts_test.yml").read_text()
    for rule in rules:
        if "alert" in rule:
            page, anchor = rule["annotations"]["runbook"].split("#")
            assert page == "docs/operations.md" and anchor in anchors, rule["alert"]
            fires = re.search(rf"alertname: {rule['alert']}\n +exp_alerts:\n +- exp_labels", tests)
            assert fires, f"no test in which {rule['alert']} fires"


@pytest.mark.parametrize("arguments", [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]], ids=" ".join)
def test_prometheus_accepts_the_alerts_and_they_fire(arguments, repository):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    done = subprocess.run([promtool, *arguments], cwd=repository / "deploy/prometheus", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
