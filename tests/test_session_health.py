"""``lab run --health-port``: a session that says how it is, to a browser, a monitor and a real Prometheus."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from lab.health import board
from lab.health.metrics import METRICS
from lab.live.health import HealthTeller

PLUGINS = '''
"""A strategy that buys at once and may get stuck, and a provider that goes dark in its twentieth second."""
import asyncio
import time
from decimal import Decimal

from attrs import define, field
from lab import FeedState, OrderRequest, Quote, Reporter, Strategy, hookimpl
from lab_mock.provider import MockProvider

@define(kw_only=True)
class Eager(Strategy):
    need: int = field(default=0, metadata={"help": "candles wanted first"})
    stuck: float = field(default=0.0, metadata={"help": "real seconds that its tenth quote takes"})
    fails: bool = field(default=False, metadata={"help": "raises on its tenth quote"})
    _seen: int = field(init=False, default=0)

    @property
    def lookback(self):
        return self.need

    def on_candle(self, candle, view):
        return []

    def on_quote(self, quote, view):
        self._seen += 1
        if self._seen == 10:
            time.sleep(self.stuck)
            if self.fails:
                raise ValueError("no more")
        if view.position(quote.symbol).quantity or list(view.orders(quote.symbol)):
            return []
        return [OrderRequest.buy(quote.symbol, Decimal("0.01"))]

@define(kw_only=True, eq=False)
class Dark(MockProvider):
    dark: str = field(default="", metadata={"help": "how: silent, or down"})

    async def stream(self, wanted, sink):
        provider = self
        class Dims:
            seen = 0
            def __getattr__(self, name):
                return getattr(sink, name)
            def put(self, event):
                Dims.seen += isinstance(event, Quote)
                if Dims.seen == 20 and provider.dark == "down":
                    sink.feed(FeedState.DOWN, "the cable")
                if Dims.seen < 20:
                    sink.put(event)
        await super().stream(wanted, Dims() if self.dark else sink)

@define(kw_only=True)
class Slow(Reporter):
    async def report(self, run, records):
        async for _ in records:
            pass
        await asyncio.sleep(0.5)

@hookimpl
def lab_reporters():
    return {"slow": Slow}

@hookimpl
def lab_strategies():
    return {"eager": Eager}

@hookimpl
def lab_providers():
    return {"dark": Dark}
'''


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port: int = one.getsockname()[1]
        return port


def fetched(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def metrics(port: int) -> dict[str, float]:
    code, text = fetched(port, "/metrics")
    assert code == 200
    return {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in text.splitlines() if line[0] != "#")
    }


class Watch:
    """Asks for the health again and again while a session runs in this process; keeps every answer that is another."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.seen: list[tuple[int, dict[str, Any]]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._ended.wait(0.02):
            with contextlib.suppress(OSError):
                code, text = fetched(self.port, "/health")
                self.seen.append((code, json.loads(text)))

    def last(self, status: str) -> tuple[int, dict[str, Any]]:
        found = [one for one in self.seen if one[1]["status"] == status]
        assert found, [(code, told["status"], told["why_not_trading"]) for code, told in self.seen]
        return found[-1]


@pytest.fixture
def health(lab: Any, site: Any) -> Callable[..., tuple[Any, Watch]]:
    site.install("their_health", PLUGINS)
    lab.environment.update(lab.see(site))

    def run(*args: str, minutes: float = 0.5, strategy: str = "eager", reporter: str = "none") -> tuple[Any, Watch]:
        port = free_port()
        with Watch(port) as watch:
            result = lab(
                "run", "--provider", "dark", "--strategy", strategy, "--speed", "20", "--minutes", str(minutes),
                "--reporter", reporter, "--health-port", str(port), *args,
            )  # fmt: skip
        assert f"lab: health: http://127.0.0.1:{port}/health and /metrics\n" in result.err
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        return result, watch

    return run


@pytest.mark.behaviour("V4")
def test_health_has_the_figures_of_the_session_and_the_port_is_free_after_it(health: Any, lab: Any) -> None:
    result, watch = health(minutes=1)
    assert result.code == 0
    code, told = watch.last("trading")
    assert code == 200
    assert told["why_not_trading"] == []
    assert (told["run_id"], told["provider"], told["symbol"]) == (lab.run().folder.name, "dark", "BTCUSDT")
    assert (told["feed"], told["realm"], told["currency"], told["errors"]) == ("live", "synthetic", "USDT", 0)
    assert [(one["strategy"], one["quantity"]) for one in told["positions"]] == [("eager", "0.01")]
    assert 0 <= told["feed_ages"]["quote"] <= 5
    assert Decimal(told["equity"]) != Decimal(told["starting_equity"]) == 10_000
    assert told["uptime_seconds"] == pytest.approx(told["duration_seconds"], abs=0.5)
    assert told["uptime_seconds"] + told["seconds_left"] == pytest.approx(60, abs=0.5)
    assert told["totals"]["fills"] == 1
    assert 0 < told["totals"]["quotes"] <= lab.run().report()["quotes"]


def test_health_has_the_figures_of_the_end_while_reporters_end(health: Any, lab: Any) -> None:
    result, watch = health(reporter="slow")
    assert result.code == 0
    code, told = watch.last("ending")
    assert (code, told["why_not_trading"]) == (503, ["the run ends: completed"])
    assert (told["equity"], told["positions"]) == (lab.run().report()["ending_equity"], [])
    assert told["totals"]["fills"] == 2


@pytest.mark.behaviour("V4")
@pytest.mark.parametrize(("how", "why"), [("silent", "quote stale"), ("down", "feed down")])
def test_health_is_503_while_the_feed_is_down_or_silent(health: Any, how: str, why: str) -> None:
    result, watch = health("--set", f"dark.dark={how}", minutes=1)
    assert result.code == 0
    assert watch.last("trading")[0] == 200
    code, told = watch.last("stale")
    assert (code, told["why_not_trading"]) == (503, [why])
    assert told["feed_ages"]["quote"] > 5 or how == "down"


@pytest.mark.behaviour("V4")
def test_health_is_503_once_a_breaker_has_halted_every_strategy(health: Any) -> None:
    result, watch = health("--gate", "max_daily_loss", "--set", "max_daily_loss.usd=0.01")
    assert result.code == 0
    code, told = watch.last("halted")
    assert code == 503
    assert told["why_not_trading"][0].startswith("eager: max_daily_loss: ")


def test_health_is_200_while_one_strategy_of_two_trades(health: Any) -> None:
    result, watch = health("--strategy", "other=eager", "--set", "eager.fails=true")
    assert result.code == 0
    code, told = watch.last("trading")
    assert (code, told["why_not_trading"], told["errors"]) == (200, ["eager: stopped"], 1)


@pytest.mark.behaviour("V4")
def test_health_says_how_much_history_is_missing(health: Any) -> None:
    result, watch = health("--set", "eager.need=70", "--set", "dark.history_count=20")
    assert result.code == 3
    code, told = watch.last("warming")
    assert (code, told["why_not_trading"]) == (503, ["warming 20/70"])


@pytest.mark.behaviour("V4")
def test_a_session_that_is_stuck_in_a_strategy_is_stale(health: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "SILENT_S", 0.6)
    result, watch = health("--set", "eager.stuck=2.5")
    assert result.code == 0
    stuck = [told for _, told in watch.seen if "the session has been busy or stuck" in "".join(told["why_not_trading"])]
    assert [told["status"] for told in stuck[:1]] == ["stale"]
    assert all(told["age_seconds"] >= 0.6 for told in stuck)


@pytest.mark.behaviour("V6")
def test_a_defect_in_its_figures_is_named_once_and_ends_nothing(health: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HealthTeller, "running", lambda *_: 1 // 0)
    result, watch = health()
    assert result.code == 0
    assert result.err.count("the health server failed in its figures: ZeroDivisionError") == 1
    assert {told["status"] for _, told in watch.seen} == {"starting"}


def test_serving_changes_no_byte_of_what_is_decided(lab: Any) -> None:
    args = ("--strategy", "sma", "--reporter", "none")
    assert lab.mock(*args, minutes=20).code == 0
    without = lab.run().raw()
    assert lab.mock(*args, "--health-port", "0", minutes=20).code == 0
    assert lab.run().raw() == without


def test_a_port_that_is_taken_ends_the_run_before_it_begins(lab: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = lab.mock("--health-port", str(taken.getsockname()[1]))
    assert result.code == 78
    assert re.fullmatch(
        r"lab: --health-port \d+: .*in use; choose another port, or 0 for any that is free\n", result.err
    )
    assert lab.files() == []


@pytest.mark.parametrize("port", ["65536", "-1", "http", "9640.5"])
def test_what_is_no_port_is_refused(lab: Any, port: str) -> None:
    result = lab.mock("--health-port", port)
    assert result.code == 78
    assert result.err.count("\n") == 1
    assert "health_port" in result.err
    assert lab.files() == []


def test_a_session_whose_provider_is_out_of_reach_says_so(lab: Any) -> None:
    port = free_port()
    with Watch(port) as watch:
        result = lab(
            "run", "--set", "bitunix.rest_url=http://127.0.0.1:1", "--start-timeout", "2", "--health-port", str(port)
        )
    assert result.code == 3
    code, told = watch.last("starting")
    assert (code, told["equity"]) == (503, None)
    assert any("127.0.0.1:1" in "".join(told["why_not_trading"]) for _, told in watch.seen), watch.seen[-1]


# -- documentation ---------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (Debian's package prometheus)")
def test_the_documented_prometheus_files_are_sound_and_name_metrics_that_exist(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "docs/how-to/watch-a-session.md").read_text(encoding="utf-8")
    files = dict(re.findall(r"^`([\w-]+\.yml)`:\n\n```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    assert sorted(files) == ["lab-alerts.yml", "prometheus.yml"]
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    subprocess.run(["promtool", "check", "config", str(tmp_path / "prometheus.yml")], check=True, timeout=30)
    assert set(re.findall(r"lab_[a-z_]+", files["lab-alerts.yml"])) <= {metric.name for metric in METRICS}


# -- processes -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def process(lab: Any, *args: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start a session in a process of its own; give the process and its health port. Ends it at the end."""
    with subprocess.Popen(
        lab.command("run", *args, "--health-port", "0", "--reporter", "none"), cwd=lab.folder, env=lab.environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as one:  # fmt: skip
        try:
            assert one.stderr is not None
            line = next(line for line in one.stderr if "health: http" in line)
            yield one, int(line.split("/")[2].rpartition(":")[2])
        finally:
            one.terminate()
            one.communicate(timeout=20)


def until(check: Callable[[], Any], seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError, LookupError, ValueError):
            if found := check():
                return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds:g} s")


@pytest.mark.behaviour("V4")
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_a_run_that_is_resumed_goes_on_counting_where_it_was_cut_off(lab: Any) -> None:
    with process(lab, "--provider", "mock", "--speed", "30", "--minutes", "60") as (first, port):
        before = until(lambda: (found := metrics(port))["lab_quotes_total"] > 60 and found)
        os.kill(first.pid, signal.SIGKILL)
        first.wait(timeout=10)
    with process(lab, "--resume") as (_, port):
        after = until(lambda: (found := metrics(port)).get('lab_status{status="trading"}') and found)
        told = json.loads(fetched(port, "/health")[1])
    assert all(after[name] >= value for name, value in before.items() if name.partition("{")[0].endswith("_total"))
    # What passed after the last commit is not known any more.
    assert after["lab_run_seconds"] > before["lab_run_seconds"] - 15 > after["lab_uptime_seconds"] - 15
    assert told["run_id"] == lab.run().folder.name
    assert told["duration_seconds"] + told["seconds_left"] == pytest.approx(3600, abs=60)


@pytest.mark.behaviour("V4")
@pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs prometheus (Debian's package of that name)")
def test_a_real_prometheus_scrapes_a_session(lab: Any, tmp_path: Path) -> None:
    own = free_port()
    with process(lab, "--provider", "mock", "--minutes", "1") as (_, port):
        config = tmp_path / "prometheus.yml"
        job = {"job_name": "lab", "scrape_interval": "200ms", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
        config.write_text(json.dumps({"scrape_configs": [job]}), encoding="utf-8")  # JSON is YAML, too
        prometheus = subprocess.Popen(
            [
                "prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'series'}",
                f"--web.listen-address=127.0.0.1:{own}", "--log.level=error",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

        def asked(query: str) -> list[tuple[dict[str, str], float]]:
            answer = json.loads(fetched(own, f"/api/v1/query?query={query}")[1])
            return [(one["metric"], float(one["value"][1])) for one in answer["data"]["result"]]

        try:
            assert until(lambda: [value for _, value in asked("lab_quotes_total") if value > 0])
            assert [value for _, value in asked("up")] == [1]
            ((labels, equity),) = asked("lab_equity")
            assert (labels["job"], labels["currency"], equity) == ("lab", "USDT", pytest.approx(10_000, abs=100))
            ((labels, _),) = asked("lab_run_info")
            assert (labels["provider"], labels["strategies"]) == ("mock", "sma")
            assert {labels["status"] for labels, _ in asked("lab_status")} >= {"trading", "stale", "halted"}
            kinds = json.loads(fetched(own, "/api/v1/targets/metadata")[1])["data"]
            assert {one["type"] for one in kinds if one["metric"].startswith("lab_")} == {"counter", "gauge"}
        finally:
            prometheus.terminate()
            prometheus.wait(timeout=20)
