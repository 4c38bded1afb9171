"""``lab doctor`` finds what is wrong; ``lab config`` says where every value comes from; every command starts fast."""

import json
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest


def _settings(result: Any) -> dict[str, tuple[str, str]]:
    return {entry["key"]: (entry["value"], entry["origin"]) for entry in result.json()["settings"]}


@pytest.mark.behaviour("S6")
def test_doctor_finds_nothing_wrong_with_a_sound_set_up(lab: Any) -> None:
    result = lab("doctor", "--provider", "mock", "--json")
    assert result.code == 0
    found = result.json()
    checks = {check["name"]: check for check in found["checks"]}
    assert found["ok"] is True
    assert {"configuration", "plugins", "state directory", "free space", "sqlite", "clock", "clock pace"} <= set(checks)
    assert all(check["ok"] is True for check in found["checks"])
    assert "history" in checks, "the provider was tried"
    text = lab("doctor", "--provider", "mock").out
    assert "state directory" in text
    assert "FAILED" not in text
    assert lab.files() == [], "it cleans up after itself"


@pytest.mark.behaviour("S6")
def test_doctor_names_what_is_wrong_and_leaves_with_1(lab: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    (lab.folder / "lab.toml").write_text("[sma]\nfsat = 5\n", encoding="utf-8")
    result = lab("doctor", "--provider", "mock", "--config", "lab.toml", "--json")
    checks = {check["name"]: check for check in result.json()["checks"]}
    assert result.code == 1
    assert checks["configuration"]["ok"] is False
    assert "'fsat'; did you mean 'fast'?" in checks["configuration"]["detail"]
    assert checks["state directory"]["ok"] is True, "the rest is still tried"
    result = lab("doctor", "--provider", "mokc")
    assert result.code == 1
    assert "did you mean 'mock'?" in result.out
    assert lab.files() == ["lab.toml"]


@pytest.mark.behaviour("S6")
def test_doctor_fails_for_a_state_directory_that_cannot_be_used(lab: Any) -> None:
    result = lab("doctor", "--provider", "mock", "--state-dir", "/proc/nowhere", "--json")
    checks = {check["name"]: check for check in result.json()["checks"]}
    assert result.code == 1
    assert checks["state directory"]["ok"] is False
    assert "--state-dir" in checks["state directory"]["detail"]


@pytest.mark.behaviour("S6", "F14")
def test_doctor_and_probe_fail_when_the_provider_cannot_be_reached(lab: Any) -> None:
    nowhere = ("--set", "bitunix.rest_url=http://127.0.0.1:9", "--set", "bitunix.ws_url=ws://127.0.0.1:9")
    result = lab("probe", "--provider", "bitunix", "--set", "run.speed=60", *nowhere, "--json")
    assert result.code == 1
    failed = [check for check in result.json()["checks"] if check["ok"] is False]
    assert failed
    assert "Traceback" not in result.out + result.err


@pytest.mark.behaviour("F14")
def test_probe_of_the_mock_needs_no_key_and_fetches_candles(lab: Any) -> None:
    result = lab("probe", "--provider", "mock")
    assert result.code == 0
    assert "5 candles of BTCUSDT" in result.out


def test_the_command_line_counts_over_the_environment_over_the_file_over_the_defaults(lab: Any) -> None:
    (lab.folder / "lab.toml").write_text(
        "[run]\nequity = 5000\nminutes = 3\nseed = 4\ngates = ['margin']\n"
        "[sma]\nfast = 5\nslow = 25\nconfirmation = 1\n[mock]\nprice = 100.5\n",
        encoding="utf-8",
    )
    env = {"LAB_SMA_FAST": "6", "LAB_SMA_SLOW": "26", "LAB_RUN_SEED": "5", "LAB_RUN_MINUTES": "2"}
    args = ("--provider", "mock", "--config", "lab.toml", "--set", "sma.fast=7", "--minutes", "1")
    found = _settings(lab("config", *args, "--json", env=env))
    assert found["sma.fast"] == ("7", "--set")
    assert found["sma.slow"] == ("26", "LAB_SMA_SLOW")
    assert found["sma.confirmation"] == ("1", "lab.toml")
    assert found["sma.direction"] == ("both", "default")
    assert found["run.minutes"] == ("1.0", "--minutes")
    assert found["run.seed"] == ("5", "LAB_RUN_SEED")
    assert found["run.equity"] == ("5000", "lab.toml")
    assert found["run.gates"] == ("margin", "lab.toml")
    assert found["run.provider"] == ("mock", "--provider")
    assert found["mock.price"] == ("100.5", "lab.toml")
    assert not any(key.startswith("max_daily_loss.") for key in found)
    lines = lab("config", *args, env=env).out.splitlines()
    fast = next(line.split() for line in lines if line.startswith("sma.fast "))
    assert fast[:3] == ["sma.fast", "7", "--set"]
    assert lab("run", *args, "--speed", "max", "--reporter", "none", env=env).code == 0
    started = lab.run().rows("run_started")[0][2]
    assert started["strategies"][0]["settings"]["fast"] == 7
    assert started["strategies"][0]["settings"]["slow"] == 26
    assert (started["equity"], started["seed"], started["minutes"]) == ("5000", 5, 1.0)
    assert [gate["name"] for gate in started["gates"]] == ["margin"]


def test_a_setting_is_written_as_the_report_writes_it(lab: Any) -> None:
    given = ("--equity", "1e4", "--provider", "mock")
    shown = {one["key"]: one["value"] for one in lab("config", *given, "--json").json()["settings"]}
    assert lab("backtest", *given, "--set", "mock.minutes=1").code == 0
    written = lab.run().report()["settings"]["run"]
    assert shown["run.equity"] == written["equity"] == "10000"


def test_the_state_directory_of_the_environment_is_said_to_come_from_there(lab: Any, tmp_path: Path) -> None:
    found = _settings(lab("config", "--provider", "mock", "--json", env={"LAB_RUN_STATE_DIR": str(tmp_path)}))
    assert found["run.state_dir"] == (str(tmp_path), "LAB_RUN_STATE_DIR")


def test_the_state_directory_of_the_file_is_where_the_run_goes(lab: Any, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    (lab.folder / "lab.toml").write_text(f"[run]\nstate_dir = '{place}'\n", encoding="utf-8")
    assert lab.mock("--config", "lab.toml", "--reporter", "none", minutes=1).code == 0
    assert lab.files() == ["lab.toml"]
    assert (place / "runs" / "latest" / "journal.db").is_file()


def test_an_alias_has_settings_of_its_own(lab: Any) -> None:
    args = ("--provider", "mock", "--strategy", "quick=sma", "--strategy", "slow=sma", "--set", "quick.fast=3")
    found = _settings(lab("config", *args, "--json", env={"LAB_SLOW_SLOW": "60"}))
    assert found["quick.fast"] == ("3", "--set")
    assert found["slow.fast"] == ("10", "default")
    assert found["slow.slow"] == ("60", "LAB_SLOW_SLOW")


@pytest.mark.parametrize(
    "command",
    ["run", "backtest", "replay", "verify", "runs", "report", "plugins", "doctor", "probe", "config", "completion"],
)
def test_every_command_explains_itself(lab: Any, command: str) -> None:
    result = lab(command, "--help")
    assert result.code == 0
    assert f"Usage: cli {command}" in result.out or f"Usage: lab {command}" in result.out
    assert command in lab("--help").out


def test_the_version_and_the_exit_codes_are_told(lab: Any) -> None:
    assert lab("--version").out.startswith("lab, version ")
    text = lab("--help").out
    for code in ("64", "69", "70", "74", "78"):
        assert code in text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(lab: Any, shell: str) -> None:
    result = lab("completion", shell)
    assert result.code == 0
    assert "_LAB_COMPLETE" in result.out


HEAVY: Final = {
    "asyncio",
    "httpcore",
    "httpx",
    "websockets",
    "rich",
    "plotly",
    "numpy",
    "lab_mock.provider",
    "lab_bitunix.provider",
}


def imported_by(lab: Any, *args: str) -> set[str]:
    code = (
        f"import sys, json\nsys.argv = ['lab', *{args!r}]\nfrom lab.cli import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\nprint(json.dumps(sorted(sys.modules)))"
    )
    command = [*lab.command()[:2], code]
    done = subprocess.run(
        command, cwd=lab.folder, env=lab.environment, capture_output=True, text=True, timeout=30, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_imports_no_component_and_no_heavy_package(lab: Any) -> None:
    assert not imported_by(lab, "--help") & HEAVY


def test_a_backtest_imports_nothing_of_a_live_session_and_no_component_that_it_does_not_use(lab: Any) -> None:
    loaded = imported_by(lab, "backtest", "btcusd-1m", "--strategy", "sma", "--json", "--no-write")
    assert "lab_replay.provider" in loaded
    assert not loaded & {*HEAVY, "lab.live.session", "lab_reporters.terminal"}


THEIR_BROKER = """
    from attrs import define, field
    from lab import hookimpl
    from lab.ports import Broker
    from lab_paper_broker.broker import PaperBroker

    @define(kw_only=True)
    class Prompt(Broker):
        \"\"\"No latency.\"\"\"

        order_types = frozenset()

        def submit(self, *_): ...
        def cancel(self, *_): ...
        def observe(self, *_): ...

    @define(kw_only=True)
    class Slow(PaperBroker):
        \"\"\"Their own.\"\"\"

    @hookimpl
    def lab_brokers():
        return {"prompt": Prompt, "slow": Slow}
"""


@pytest.mark.behaviour("O2")
def test_latency_goes_to_the_broker_of_the_run_wherever_that_was_chosen(lab: Any, one_line: Any, site: Any) -> None:
    site.install("their_broker", THEIR_BROKER)
    (lab.folder / "my.toml").write_text("[run]\nbroker = 'slow'\n", encoding="utf-8")
    base = ("--provider", "mock", "--latency-ms", "750", "--json")
    for args, env in (
        (("--config", "my.toml"), {}), ((), {"LAB_RUN_BROKER": "slow"}), (("--broker", "slow"), {}),
        (("--set", "run.broker=slow"), {}),
    ):  # fmt: skip
        found = _settings(lab("config", *base, *args, env=env))
        assert float(found["slow.latency_ms"][0]) == 750, args
        assert found["slow.latency_ms"][1] == "--latency-ms"
        assert "paper.latency_ms" not in found
    assert float(_settings(lab("config", *base))["paper.latency_ms"][0]) == 750
    one_line(lab("config", *base, "--broker", "prompt"), 64, "--latency-ms", "prompt", "leave it out")


def test_a_file_may_have_tables_of_installed_components_that_a_run_does_not_use(lab: Any, one_line: Any) -> None:
    args = ("backtest", "btcusd-1m", "--strategy", "sma", "--config", "lab.toml", "--no-write", "--json")
    (lab.folder / "lab.toml").write_text("[bitunix]\nvenue = 'local'\n[mock]\nminutes = 5\n", encoding="utf-8")
    assert lab(*args).code == 0
    (lab.folder / "lab.toml").write_text("[mok]\nminutes = 5\n", encoding="utf-8")
    one_line(lab(*args), 78, "'mok'", "did you mean 'mock'?")
