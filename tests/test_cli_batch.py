"""Backtests and replays on the command line: their reporters, and what is said where there is nothing to replay."""

import json
import shutil
from typing import Any

import pytest
from lab.runs.previous import newest_session

BACKTEST = ("backtest", "btcusd-1m", "--strategy", "sma")


@pytest.mark.behaviour("V2", "J8")
def test_the_reporters_of_a_backtest_write_its_files_from_the_finished_journal(lab: Any) -> None:
    result = lab(*BACKTEST, "--reporter", "html", "--reporter", "jsonl")
    assert (result.code, result.err) == (0, "")
    folder = lab.run().folder
    page = (folder / "summary.html").read_text(encoding="utf-8")
    assert "1,440 candles of BTCUSDT" in page, "all of the source, not what history kept"
    assert folder.name in page
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["seq"] for line in lines[1:]] == [number for number, _, _ in lab.run().rows()]
    assert lines[0]["run_id"] == lab.run().report()["run_id"] == folder.name


def test_the_terminal_shows_a_backtest_and_json_stays_json(lab: Any) -> None:
    shown = lab(*BACKTEST, "--reporter", "terminal", "--no-write")
    assert shown.out.startswith("lab\n")
    assert " fill " in shown.out
    assert "summary\n" in shown.out
    quiet = lab(*BACKTEST, "--reporter", "terminal", "--no-write", "--json")
    assert quiet.json()["reason"] == "completed"
    assert lab.files() == []


def test_reporters_of_a_backtest_can_be_named_wherever_settings_can_be_and_are_none_otherwise(lab: Any) -> None:
    def pages() -> int:
        return len(list(lab.folder.glob("runs/*/summary.html")) if (lab.folder / "runs").is_dir() else [])

    lab(*BACKTEST)
    assert pages() == 0
    lab(*BACKTEST, "--set", "run.reporters=html")
    lab(*BACKTEST, env={"LAB_RUN_REPORTERS": "html"})
    (lab.folder / "lab.toml").write_text('[run]\nreporters = ["html"]\n', encoding="utf-8")
    lab(*BACKTEST, "--config", "lab.toml")
    named = 3 + 1  # runs/latest is the last one again
    assert pages() == named
    lab(*BACKTEST, "--config", "lab.toml", "--reporter", "none")
    assert pages() == named - 1


def test_a_part_of_an_id_that_fits_several_runs_is_said_to(lab: Any, one_line: Any) -> None:
    lab(*BACKTEST)
    lab(*BACKTEST)
    one_line(lab("report", "replay"), 78, "'replay' fits 2 runs: ", "give more of the id")


def test_a_session_that_recorded_no_input_cannot_be_replayed_and_its_tape_is_not_called_damaged(
    lab: Any, one_line: Any
) -> None:
    nowhere = ("--set", "bitunix.rest_url=http://127.0.0.1:9", "--set", "bitunix.ws_url=ws://127.0.0.1:9/public/")
    assert lab("run", "--provider", "bitunix", *nowhere, "--start-timeout", "0.5").code == 3
    one_line(lab("replay", "latest"), 78, lab.run().folder.name, "recorded no inputs", "nothing to replay")


def test_a_replay_does_not_list_the_default_strategy_as_a_changed_setting(lab: Any) -> None:
    lab.mock("--reporter", "none", minutes=3)
    assert lab("replay", "latest").code == 0
    assert "strategies" not in " ".join(lab.run().report()["changed"])
    lab.mock("--reporter", "none", "--strategy", "quick=sma", minutes=3)
    assert lab("replay", "mock-quick").code == 0
    assert "quick=sma" in lab.run().report()["changed"].values()


def test_a_replay_has_reporters_too(lab: Any) -> None:
    lab.mock("--reporter", "none", minutes=3)
    assert lab("replay", "latest", "--reporter", "html").code == 0
    assert (lab.run().folder / "summary.html").is_file()


def test_a_setting_is_said_to_come_from_where_it_was_typed_or_taken_over_and_from_no_option_that_nobody_gave(
    lab: Any,
) -> None:
    def origins() -> dict[str, str]:
        header = json.loads((lab.run().folder / "events.jsonl").read_text(encoding="utf-8").partition("\n")[0])
        settings = header["run"]["settings"]
        return {f"{one['component']}.{one['key']}": one["origin"] for one in settings if one["origin"] != "default"}

    assert lab("backtest", "btcusd-1m", "--reporter", "jsonl", "--seed", "3").code == 0
    assert origins() == {"run.provider": "lab backtest", "replay.file": "SOURCE", "run.seed": "--seed"}
    assert lab("backtest", "--provider", "mock", "--set", "mock.minutes=9", "--reporter", "jsonl").code == 0
    assert origins() == {"run.provider": "--provider", "mock.minutes": "--set"}
    assert lab.mock("--set", "sma.fast=5", "--reporter", "none", minutes=3).code == 0
    args = ("--set", "sma.slow=20", "--seed", "7", "--reporter", "jsonl")
    assert lab("replay", "latest", *args, env={"LAB_SMA_FAST": "9", "LAB_RUN_SYMBOL": "ETHUSDT"}).code == 0
    found = origins()
    assert (found["run.provider"], found["replay.run"]) == ("lab replay", "RUN")
    assert (found["sma.slow"], found["run.seed"]) == ("--set", "--seed")
    assert found["sma.fast"] == found["run.symbol"] == found["run.gates"] == "the recorded run"
    assert lab.run().report()["settings"]["sma"]["fast"] == "5", "what is replayed counts over the environment"


BAD_REPORTERS = """
    import anyio
    from attrs import define
    from lab import Reporter, hookimpl

    @define(kw_only=True)
    class Fragile(Reporter):
        async def report(self, run, records):
            raise KeyError("no such colour")

    @define(kw_only=True)
    class Endless(Reporter):
        async def report(self, run, records):
            async for _ in records:
                pass
            print(run.status().feed, run.status().seconds_left)
            await anyio.sleep_forever()

    @hookimpl
    def lab_reporters():
        return {"fragile": Fragile, "endless": Endless}
"""


@pytest.mark.behaviour("V6")
def test_a_reporter_that_fails_or_never_ends_spoils_no_backtest(
    lab: Any, site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.reporting.host.END_S", 2)
    site.install("their_reporters", BAD_REPORTERS)
    result = lab(*BACKTEST, "--reporter", "fragile", "--reporter", "endless", "--reporter", "html")
    assert result.code == 0
    assert [line for line in sorted(result.err.splitlines()) if line.startswith("lab: ")] == [
        "lab: reporter endless was not done 2 s after the end and was abandoned",
        "lab: reporter fragile failed in report: KeyError: 'no such colour'",
    ]
    assert 'raise KeyError("no such colour")' in result.err
    assert result.out.startswith("down 0.0\n")
    assert (lab.run().folder / "summary.html").is_file()
    assert lab.run().report()["exit_code"] == 0


@pytest.mark.behaviour("O12")
def test_every_setting_that_decides_gives_orders_other_ids_and_no_other_does(lab: Any) -> None:
    def config_hash(*args: str) -> str:
        assert lab("backtest", "--provider", "mock", "--set", "mock.minutes=1", *args).code == 0
        found: str = lab.run().rows("run_started")[0][2]["config_hash"]
        return found

    deciding = (
        "--symbol ETHUSDT", "--interval 5m", "--equity 5000", "--leverage 5", "--seed 7", "--strategy other=sma",
        "--gate margin", "--latency-ms 100", "--set sma.fast=9", "--set margin.fraction=0.5",
    )  # fmt: skip
    hashes = {config_hash(*args.split()) for args in ("", *deciding)}
    assert len(hashes) == len(deciding) + 1
    assert {config_hash("--no-orders"), config_hash("--reporter", "jsonl")} == {config_hash()}


WORDS = """
    from attrs import define, field
    from lab import Strategy, hookimpl

    @define(kw_only=True)
    class Words(Strategy):
        words: list[str] = field(factory=list, metadata={"help": "any"})

        def on_candle(self, candle, view):
            return ()

    @hookimpl
    def lab_strategies():
        return {"words": Words}
"""


def test_a_replay_takes_settings_over_as_they_are_also_texts_with_commas(lab: Any, site: Any) -> None:
    site.install("their_words", WORDS)
    (lab.folder / "words.toml").write_text('[words]\nwords = ["one, two", "three"]\n')
    assert lab.mock("--strategy", "words", "--config", "words.toml", minutes=1).code == 0
    recorded = lab.run().rows("run_started")[0][2]["strategies"]
    assert recorded[0]["settings"] == {"words": ["one, two", "three"]}
    assert lab("replay", "latest").code == 0
    assert lab.run().rows("run_started")[0][2]["strategies"] == recorded


def test_replay_of_what_records_no_inputs_says_what_to_do_instead(lab: Any, one_line: Any) -> None:
    lab(*BACKTEST)
    name = lab.run().folder.name
    one_line(
        lab("replay", "latest"), 78, name, "is a backtest", "`lab backtest` with its arguments", f"`lab verify {name}`"
    )
    assert lab("verify", "latest").code == 0
    lab.mock("--reporter", "none", minutes=2)
    recorded = lab.run().folder.name
    lab("replay", "latest")
    replayed = lab.run().folder.name
    one_line(lab("replay", replayed), 78, "is a replay", f"`lab replay {recorded}`")


def test_replay_alone_takes_the_newest_session_as_report_and_verify_take_the_newest_run(lab: Any) -> None:
    lab.mock("--reporter", "none", minutes=2)
    session = lab.run().folder.name
    assert lab("replay").code == 0
    assert lab.run().rows("run_started")[0][2]["provider"]["settings"]["run"].endswith(session)


def test_the_newest_of_ten_sessions_of_one_second_is_the_one_with_the_highest_number(lab: Any) -> None:
    lab.mock("--reporter", "none", minutes=2)
    first = lab.run().folder
    for number in range(2, 11):
        shutil.copytree(first, first.with_name(f"{first.name}-{number}"))
    newest = newest_session(lab.folder)
    assert newest is not None
    assert newest.name == f"{first.name}-10"
    listed = [run["directory"] for run in lab("runs", "--json").json()["runs"]]
    assert listed == [first.name, *(f"{first.name}-{number}" for number in range(2, 11))]
    said = lab("report", first.name.partition("-")[0]).err
    assert f"the newest of them: {first.name}-8, {first.name}-9, {first.name}-10;" in said


def test_replay_of_the_latest_takes_the_newest_session_and_says_so_where_a_backtest_is_newer(lab: Any) -> None:
    lab.mock("--reporter", "none", minutes=2)
    session = lab.run().folder.name
    assert not lab("replay", "latest").err
    replayed = lab.run().folder.name
    again = lab("replay", "latest")
    assert (again.code, again.err) == (
        0, f"lab: {replayed} recorded no inputs; this replays the newest session, {session}\n",
    )  # fmt: skip
    assert lab.run().rows("run_started")[0][2]["provider"]["settings"]["run"].endswith(session)
    assert lab("verify", "latest").code == 0
