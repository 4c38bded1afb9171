"""Data in: a file of one's own just works, a part of it can be played, and a provider's history becomes such a file."""

import json
from pathlib import Path
from typing import Any

import pytest
from candle_files import HOURS, READ, at, ohlcv, table, unix
from lab.domain.time import SECOND_NS

HEADER = "time,open,high,low,close,volume"
SMA = ("--set", "sma.fast=3", "--set", "sma.slow=8")


def put(lab: Any, origin: str) -> str:
    name = f"prices{READ[origin].suffix}"
    (lab.folder / name).write_bytes(READ[origin].content)
    return name


def started(lab: Any) -> Any:
    return lab.run().rows("run_started")[0][2]


@pytest.mark.behaviour("D1", "D5")
def test_a_file_of_any_form_and_interval_just_works_and_the_run_can_be_proved(lab: Any) -> None:
    done = lab("backtest", put(lab, "German Excel"))
    assert done.code == 0
    form = "semicolons, decimal comma, newest first, times with the day first; 1h candles"
    assert done.err == f"lab: prices.csv: {form}\n"
    recorded = started(lab)
    assert (recorded["interval"], recorded["source"]["form"]) == ("1h", form)
    assert lab("verify").code == 0
    assert lab("lookahead", "--cuts", "3").code == 0


@pytest.mark.behaviour("D5")
def test_an_interval_that_was_chosen_anywhere_counts_and_is_made_of_the_file_s_own(lab: Any) -> None:
    (lab.folder / "prices.csv").write_bytes(table(HOURS, [unix(SECOND_NS), *ohlcv()], HEADER))
    assert lab("backtest", "prices.csv").code == 0
    assert started(lab)["interval"] == "1h"
    made = lab("backtest", "prices.csv", "--interval", "4h", "--from", "2024-01-26", "--to", "2024-01-31", *SMA)
    assert (made.code, made.err) == (0, "lab: prices.csv: made 4h of 1h candles\n")
    recorded = started(lab)
    assert recorded["provider"]["settings"]["since"] == "2024-01-26"
    assert len(lab.run().raw()) > 2
    assert lab("verify").code == 0
    assert lab("lookahead", "--cuts", "3").code == 0
    assert lab("backtest", "prices.csv", env={"LAB_RUN_INTERVAL": "2h"}).code == 0
    assert started(lab)["interval"] == "2h"
    refused = lab("backtest", "prices.csv", "--interval", "5m")
    assert refused.code == 78
    assert (
        refused.err
        == "lab: replay: prices.csv holds 1h candles, 5m is wanted; give --interval 1h, or a multiple of it\n"
    )
    usage = lab("backtest", "--provider", "mock", "--from", "2024-01-01")
    assert (usage.code, "--from goes with the provider replay" in usage.err) == (64, True)


def test_what_the_future_of_newest_first_is_can_not_be_changed_in_the_file(lab: Any) -> None:
    rows = table(HOURS[::-1], [at("%Y-%m-%dT%H:%M:%SZ"), *ohlcv()], HEADER)
    (lab.folder / "prices.csv").write_bytes(rows)
    assert lab("backtest", "prices.csv").code == 0
    proved = lab("lookahead", "--cuts", "3")
    assert proved.code == 0
    assert "its times do not ascend" in proved.out


def test_a_download_is_a_file_that_a_backtest_reads_and_a_second_call_leaves_it_alone(lab: Any) -> None:
    command = (
        "download",
        "--provider",
        "mock",
        "--from",
        "2023-12-31T20:00",
        "--set",
        "mock.history_count=500",
        "--out",
    )
    done = lab(*command, "mock.csv.gz", "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert (told["candles"], told["to"], told["holes"]) == (240, "2024-01-01T00:00:00Z", [])
    assert lab.files() == ["mock.csv.gz"]
    assert lab("backtest", "mock.csv.gz", "--no-write").code == 0
    again = lab(*command, "mock.csv.gz")
    assert (again.code, "mock.csv.gz is there already" in again.err) == (78, True)
    nothing = lab("download", "--provider", "mock", "--from", "2030-01-01")
    assert nothing.code == 78
    assert "its newest closed candle ends at 2024-01-01T00:00:00Z; give an earlier --from" in nothing.err
    for flag, value in (("--from", "yesterday"), ("--to", "2020-01-01")):
        usage = lab(
            "download", "--provider", "mock", *(() if flag == "--from" else ("--from", "2024-01-01")), flag, value
        )
        assert (usage.code, flag in usage.err) == (64, True)
    assert lab.files() == ["mock.csv.gz"]


FLAKY = """
from lab import hookimpl
from lab_mock.provider import MockProvider
from lab.errors import ProviderError, ProviderUnavailable

class Flaky(MockProvider):
    calls = 0
    async def history(self, symbol, interval_ns, *, end_ns, count):
        type(self).calls += 1
        if self.calls == 2:
            raise ProviderUnavailable("busy")
        if self.calls == 4:
            raise ProviderError("gone")
        found = await super().history(symbol, interval_ns, end_ns=end_ns, count=count)
        return [one for one in found if one.open_ns % 3_600_000_000_000 != 600_000_000_000]

@hookimpl
def lab_providers():
    return {"flaky": Flaky}
"""


@pytest.mark.behaviour("D3")
def test_a_download_is_tried_again_gone_on_with_and_names_what_is_missing(
    lab: Any, site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.downloads.download._WAITS", (0.01,))
    monkeypatch.setattr("lab.downloads.download._PAUSE_S", 0.0)
    monkeypatch.setattr("lab.downloads.pages.PAGE", 60)
    site.install("their_flaky", FLAKY)
    command = ("download", "--provider", "flaky", "--from", "2023-12-31T21:00", "--set", "flaky.history_count=500")
    cut_off = lab(*command)
    assert (cut_off.code, cut_off.err) == (69, "lab: flaky: busy; asking again in 0.01 s\nlab: gone\n")
    assert lab.files() == ["BTCUSDT-1m.csv.part"]
    part = (lab.folder / "BTCUSDT-1m.csv.part").read_text().splitlines()
    done = lab(*command)
    assert done.code == 0
    missing = "lab: 1 candles are missing from 2023-12-31T{}:10:00Z to 2023-12-31T{}:11:00Z\n"
    assert done.err == "".join(missing.format(hour, hour) for hour in (21, 22, 23) if len(part) < 60 * (hour - 20))
    assert "177 candles of BTCUSDT, 1m, from 2023-12-31T21:00:00Z to 2024-01-01T00:00:00Z" in done.out
    assert f"{len(part) - 1} of them from an earlier call" in done.out
    rows = (lab.folder / "BTCUSDT-1m.csv").read_text().splitlines()
    assert rows[1 : len(part)] == part[1:]
    assert len(rows) == 178


def test_the_local_venue_s_history_is_downloaded_whole(lab: Any, tmp_path: Path) -> None:
    out = tmp_path / "b.csv"
    done = lab(
        "download", "--set", "bitunix.venue=local", "--from", "2024-08-08T22:00", "--interval", "5m", "--out", str(out)
    )
    assert (done.code, done.err) == (0, "")
    assert "candles of BTCUSDT, 5m, from 2024-08-08T22:00:00Z to 2024-08-08T23:50:00Z, of local venue" in done.out
    assert len(out.read_text().splitlines()) == 23


@pytest.mark.behaviour("D6")
def test_on_days_without_weekends_friday_s_orders_are_filled_on_monday(lab: Any) -> None:
    name = put(lab, "yfinance, old")
    reports = {}
    for calendar in ("auto", "24/7"):
        done = lab("backtest", name, "--json", "--set", f"replay.calendar={calendar}", *SMA)
        assert done.code == 0
        reports[calendar] = done.json()
    assert lab("verify").code == 0
    assert not [one for one in reports["auto"]["degradations"] if "gaps" in one or "expire" in one]
    assert "gaps 12: prices.csv has candles missing" in " ".join(reports["24/7"]["degradations"])
    assert reports["auto"]["expired"] == 0 < reports["24/7"]["expired"]


OWN = """
from lab import hookimpl
from lab_mock.provider import MockProvider
from lab.errors import ProviderError

class Own(MockProvider):
    def own_interval(self):
        {}

@hookimpl
def lab_providers():
    return {{"own": Own}}
"""


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ("return 300_000_000_000", 0, ""),
        ("raise ProviderError('own: its file is empty')", 78, "lab: own: its file is empty"),
        ("raise KeyError('x')", 69, "lab: own: its own_interval fails: KeyError: 'x'"),
        ("return '1m'", 69, "lab: own: its own_interval fails: TypeError: it gave '1m', expected nanoseconds or None"),
        ("return 1", 78, "lab: own: its data has candles of 1 ns: not a whole number of seconds: 1 ns"),
        ("return 40 * 86_400 * 10**9", 78, "lab: own: its data has candles of 3456000000000000 ns: "),
    ],
)
def test_a_provider_s_own_interval_is_the_run_s_or_its_error(
    lab: Any, site: Any, body: str, code: int, says: str
) -> None:
    site.install("their_own", OWN.format(body))
    done = lab("backtest", "--provider", "own", "--set", "own.minutes=300")
    assert (done.code, done.err.startswith(says)) == (code, True), done.err
    assert done.err.count("\n") == bool(says)
    if not code:
        assert started(lab)["interval"] == "5m"


@pytest.mark.behaviour("D2")
def test_a_tick_that_is_coarse_for_the_price_is_refused_and_the_inferred_one_is_fine(lab: Any, one_line: Any) -> None:
    rows = [f"{1_704_067_200 + 60 * n},0.0000214,0.0000217,0.0000213,0.000021{3 + n % 5},5000000" for n in range(40)]
    (lab.folder / "cheap.csv").write_text("\n".join(["time,open,high,low,close,volume", *rows]), encoding="utf-8")
    given = ("backtest", "cheap.csv", "--symbol", "SHIBUSDT", "--json")
    one_line(lab(*given, "--set", "replay.tick=0.1"), 78, "basis points of the lowest price", "fills are rounded to it")
    report = lab(*given, "--set", "replay.tick=0.00000001").json()
    assert report["instrument"]["tick"] == "0.00000001"
    one_line(lab(*given), 78, "give --set replay.tick=0.00000001")
