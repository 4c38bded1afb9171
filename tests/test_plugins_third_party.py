"""Components come from entry points alone; a broken plugin hurts nobody who does not ask for it by name."""

import shutil
import subprocess
import sys
import sysconfig
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import pytest
from lab.exit_codes import EndReason

NOOP = '''
    """A third party's strategy."""
    from attrs import define, field
    from decimal import Decimal
    from lab import Strategy, hookimpl

    @define(kw_only=True)
    class Theirs(Strategy):
        """Does nothing, on purpose."""
        size: Decimal = field(default=Decimal("0.5"), metadata={"help": "coins a trade"})
        patience: int | None = field(default=None, metadata={"help": "candles to wait"})

        def on_candle(self, candle, view):
            return []

    @hookimpl
    def lab_strategies():
        return {"theirs": Theirs}
'''


@pytest.mark.behaviour("P1", "P2")
def test_what_is_installed_is_found_shown_and_run_and_what_is_removed_is_gone(
    lab: Any, site: Any, one_line: Any
) -> None:
    env = lab.see(site)
    one_line(lab.process("run", "--provider", "mock", "--strategy", "theirs", env=env), 64, "'theirs'")
    site.install("their_plugin", NOOP)
    shown = lab.process("plugins", "theirs", env=env).out
    assert "strategy theirs  (their-plugin 1.2.3)" in shown
    assert "Does nothing, on purpose." in shown
    args = ("run", "--provider", "mock", "--speed", "max", "--minutes", "1", "--set", "theirs.size=2.5")
    assert lab.process(*args, "--strategy", "theirs", env=env).code == 0
    started = lab.run().rows("run_started")[0][2]
    assert started["strategies"] == [
        {
            "name": "theirs", "type": "theirs", "distribution": "their-plugin", "version": "1.2.3",
            "settings": {"size": "2.5", "patience": None},
        }
    ]  # fmt: skip
    site.remove("their_plugin")
    one_line(lab.process(*args, "--strategy", "theirs", env=env), 64, "'theirs'")
    result = lab.process("verify", env=env)
    assert result.code == 69
    assert "theirs" in result.err
    assert len(result.err.splitlines()) == 1


@pytest.mark.behaviour("P1")
def test_a_class_offered_as_text_is_imported_when_a_run_chooses_it(lab: Any, site: Any) -> None:
    env = lab.see(site)
    code = textwrap.dedent(NOOP[: NOOP.index("    @hookimpl")]) + "print('IMPORTED')\n"
    (site.folder / "their_class.py").write_text(code, encoding="utf-8")
    offer = "from lab import hookimpl\n@hookimpl\ndef lab_strategies(): return {'theirs': 'their_class:Theirs'}\n"
    site.install("their_plugin", offer)
    args = ("run", "--provider", "mock", "--speed", "max", "--minutes", "1", "--no-write", "--reporter", "none")
    other = lab.process(*args, "--strategy", "sma", env=env)
    assert (other.code, "IMPORTED" in other.out) == (0, False)
    chosen = lab.process(*args, "--strategy", "theirs", env=env)
    assert (chosen.code, "IMPORTED" in chosen.out) == (0, True), chosen.err
    assert "strategy theirs  (their-plugin 1.2.3)" in lab.process("plugins", "theirs", env=env).out


@pytest.mark.behaviour("P1")
def test_a_third_partys_wheel_needs_only_to_be_installed(lab: Any, tmp_path: Path) -> None:
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not there to install a wheel with")
    wheel = tmp_path / "their_wheel-2.0.0-py3-none-any.whl"
    info = "their_wheel-2.0.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("their_wheel.py", textwrap.dedent(NOOP))
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: their-wheel\nVersion: 2.0.0\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/entry_points.txt", "[lab]\ntheirs = their_wheel\n")
        names = ["their_wheel.py", *(f"{info}/{name}" for name in ("METADATA", "WHEEL", "entry_points.txt", "RECORD"))]
        file.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in names))
    venv = tmp_path / "venv"

    def make(*command: Any) -> str:
        done = subprocess.run(command, check=True, capture_output=True, timeout=60, env=lab.environment, text=True)
        return done.stdout.strip()

    make(uv, "venv", "--offline", "--python", sys.executable, str(venv))
    python = venv / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    place = Path(make(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"))
    ours = sysconfig.get_path("purelib")
    (place / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n", encoding="utf-8")

    def run(*args: str) -> Any:
        command = [python, "-c", "from lab_command import main; main()", *args]
        return subprocess.run(
            command, cwd=lab.folder, env=lab.environment, capture_output=True, text=True, timeout=60, check=False
        )

    args = ("run", "--provider", "mock", "--strategy", "theirs", "--speed", "max", "--minutes", "1", "--no-write")
    assert run(*args).returncode == 64
    make(uv, "pip", "install", "--offline", "--no-deps", "--python", python, str(wheel))
    assert "their-wheel 2.0.0" in run("plugins", "theirs").stdout
    done = run(*args)
    assert done.returncode == 0, done.stderr
    make(uv, "pip", "uninstall", "--offline", "--python", python, "their-wheel")
    gone = run(*args)
    assert gone.returncode == 64
    assert "'theirs'" in gone.stderr


@pytest.mark.behaviour("P2")
def test_plugins_shows_distribution_version_hooks_settings_with_types_and_defaults(lab: Any, site: Any) -> None:
    site.install("their_plugin", NOOP)
    found = lab("plugins", "--json").json()
    plugin = next(plugin for plugin in found["plugins"] if plugin["name"] == "their_plugin")
    assert plugin == {
        "name": "their_plugin", "distribution": "their-plugin", "version": "1.2.3", "hooks": ["lab_strategies"],
        "problems": [],
    }  # fmt: skip
    theirs = next(component for component in found["components"] if component["name"] == "theirs")
    assert (theirs["kind"], theirs["distribution"], theirs["version"]) == ("strategy", "their-plugin", "1.2.3")
    assert theirs["settings"] == [
        {"key": "size", "type": "decimal", "default": "0.5", "help": "coins a trade"},
        {"key": "patience", "type": "whole number or none", "default": "none", "help": "candles to wait"},
    ]
    names = {(component["kind"], component["name"]) for component in found["components"]}
    bundled = {"bitunix": "provider", "mock": "provider", "replay": "provider", "sma": "strategy", "paper": "broker"}
    assert {(kind, name) for name, kind in bundled.items()} <= names
    assert {("risk gate", "margin"), ("risk gate", "max_daily_loss"), ("reporter", "terminal")} <= names
    assert all(setting["help"] for component in found["components"] for setting in component["settings"])
    assert not any("``" in component["about"] for component in found["components"]), "reST marks code with two"
    text = lab("plugins").out
    assert "strategy theirs  (their-plugin 1.2.3)" in text
    assert "theirs.size" in text
    assert "decimal" in text
    assert "their_plugin their-plugin 1.2.3 lab_strategies" in " ".join(text.split())


_CLASS = """
from attrs import define, field
from lab import Strategy, hookimpl

@define(kw_only=True)
class Theirs(Strategy):
    def on_candle(self, candle, view):
        return []
"""
_HOOK = """
@hookimpl
def lab_strategies():
    return {"theirs": Theirs}
"""
_DEFINE = "@define(kw_only=True)\n"
_LATER = "from __future__ import annotations\n"


def _odd(old: str, new: str) -> str:
    """Return the sound plugin with one thing changed."""
    sound = _CLASS + _HOOK
    assert sound.count(old) >= 1
    return sound.replace(old, new)


BROKEN: dict[str, tuple[str, list[str]]] = {
    "raises on import": ("raise RuntimeError('cannot\\nload')", ["RuntimeError", "cannot"]),
    "misses a module": ("import nothing_of_that_name", ["ModuleNotFoundError", "nothing_of_that_name"]),
    "exits on import": ("import sys; sys.exit(3)", ["SystemExit", "3"]),
    "no python": ("def (", ["SyntaxError"]),
    "misspelt hook": (_odd("lab_strategies", "lab_stratgies"), ["'lab_stratgies'", "did you mean 'lab_strategies'?"]),
    "unmarked hook": (_odd("@hookimpl\n", ""), ["lab_strategies", "@hookimpl"]),
    "no hook": ("x = 1\n", ["no hook", "lab_strategies"]),
    "hook with an argument": (_odd("lab_strategies()", "lab_strategies(config)"), ["lab_strategies", "config"]),
    "hook raises": (_odd("return {", "raise KeyError('theirs')\n    return {"), ["lab_strategies", "KeyError"]),
    "hook exits": (_odd("return {", "raise SystemExit(5)\n    return {"), ["lab_strategies", "SystemExit"]),
    "hook returns a list": (_odd('{"theirs": Theirs}', "[Theirs]"), ["lab_strategies", "list", "mapping"]),
    "hook returns none": (_odd('return {"theirs": Theirs}', "pass"), ["lab_strategies", "NoneType", "mapping"]),
    "an instance": (_odd('": Theirs}', '": Theirs()}'), ["lab_strategies", "'theirs'", "subclass of Strategy"]),
    "a text that names no class": (_odd('": Theirs}', '": "theirs"}'), ["lab_strategies", "'theirs'", "module:Class"]),
    "a text with a missing module": (
        _odd('": Theirs}', '": "nothing_of_that_name:Theirs"}'),
        ["lab_strategies", "'theirs'", "cannot be imported", "nothing_of_that_name"],
    ),
    "a text with a missing class": (
        _odd('": Theirs}', '": "theirs:Thiers"}'),
        ["lab_strategies", "'theirs'", "cannot be imported", "AttributeError", "Thiers"],
    ),
    "wrong kind": (_odd("lab_strategies", "lab_brokers"), ["lab_brokers", "'theirs'", "subclass of Broker"]),
    "abstract": (_odd("def on_candle", "def on_candel"), ["lab_strategies", "'theirs'", "on_candle"]),
    "no attrs class": (_odd(_DEFINE, ""), ["lab_strategies", "'theirs'", "@attrs.define"]),
    "a bad name": (_odd('"theirs"', '"The Irs"'), ["lab_strategies", "'The Irs'", "lower-case"]),
    "an unknown type": (
        _LATER + _odd("    def on_candle", "    size: Nowhere = 1\n    def on_candle"),
        ["Theirs", "size", "Nowhere"],
    ),
    "a setting nobody can convert": (
        "import re\n" + _odd("    def on_candle", "    size: re.Match = None\n    def on_candle"),
        [],
    ),
}


@pytest.mark.behaviour("P3", "P2")
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_breaks_no_session_that_does_not_use_it_and_is_shown_with_its_reason(
    lab: Any, site: Any, name: str
) -> None:
    code, words = BROKEN[name]
    site.install("theirs", code)
    assert lab.mock("--no-write", "--reporter", "none", minutes=1).code == 0
    listed = lab("plugins")
    assert listed.code == 0, listed.err
    assert "strategy sma" in listed.out
    failures = [line for line in listed.out.splitlines() if line.startswith("FAILED theirs 1.2.3")]
    found = lab("plugins", "--json").json()
    problems = next(plugin["problems"] for plugin in found["plugins"] if plugin["name"] == "theirs")
    if words:
        assert len(failures) == 1, listed.out
        for word in words:
            assert word in failures[0] or word in problems[0]
        doctor = lab("doctor", "--provider", "mock", "--json")
        assert doctor.code == 1
        (check,) = [check for check in doctor.json()["checks"] if check["name"] == "plugins"]
        assert check["ok"] is False
        assert "theirs" in check["detail"]


@pytest.mark.behaviour("P3")
@pytest.mark.parametrize("name", ["raises on import", "abstract", "hook raises"])
def test_a_broken_plugin_is_shown_by_name_with_its_failure_alone_and_69(lab: Any, site: Any, name: str) -> None:
    code, words = BROKEN[name]
    site.install("theirs", code)
    site.install("others", "import nothing_of_that_name")
    shown = lab("plugins", "theirs")
    assert shown.code == 69, shown
    (line,) = shown.out.splitlines()
    assert line.startswith("FAILED theirs 1.2.3, entry point theirs: ")
    assert all(word in line for word in words if word != "'theirs'")
    assert lab("plugins", "theirs", "--json").code == 69
    sound = lab("plugins", "sma")
    assert (sound.code, "FAILED" in sound.out) == (0, False)


@pytest.mark.behaviour("P3")
@pytest.mark.parametrize("name", [name for name in BROKEN if name != "a setting nobody can convert"])
def test_a_broken_plugin_asked_for_by_name_is_refused_with_plugin_hook_and_cure(
    lab: Any, site: Any, one_line: Any, name: str
) -> None:
    code, words = BROKEN[name]
    site.install("theirs", code)
    result = lab.mock("--broker" if name == "wrong kind" else "--strategy", "theirs", minutes=1)
    one_line(result, 69, "theirs")
    for word in words:
        if name != "a bad name":
            assert word in result.err
    assert lab.files() == []


@pytest.mark.behaviour("P3")
def test_two_offers_of_one_name_stop_only_who_asks_for_it(lab: Any, site: Any, one_line: Any) -> None:
    site.install("their_first", NOOP)
    site.install("their_second", NOOP)
    assert lab.mock("--no-write", "--reporter", "none", minutes=1).code == 0
    one_line(lab.mock("--strategy", "theirs"), 69, "'theirs'", "their-first 1.2.3", "their-second 1.2.3", "uninstall")
    site.remove("their_second")
    assert lab.mock("--strategy", "theirs", "--no-write", minutes=1).code == 0


_PARTS = """
from attrs import define, field
from lab import Broker, Provider, RiskGate, Strategy, hookimpl
from lab_mock.provider import MockProvider
from lab_paper_broker.broker import PaperBroker

@define(kw_only=True, eq=False)
class Sick(MockProvider):
    where: str = field(default="start", metadata={"help": "where it fails"})

    async def start(self, runtime):
        if self.where == "start":
            raise RuntimeError("boom in start")
        await super().start(runtime)

    async def instrument(self, symbol):
        if self.where == "instrument":
            raise RuntimeError("boom in instrument")
        return await super().instrument(symbol)

    async def history(self, symbol, interval_ns, *, end_ns, count):
        if self.where == "history":
            raise RuntimeError("boom in history")
        return await super().history(symbol, interval_ns, end_ns=end_ns, count=count)

    async def stream(self, wanted, sink):
        if self.where == "stream":
            raise RuntimeError("boom in stream")
        if self.where == "group":
            raise ExceptionGroup("several", [RuntimeError("boom in group")])
        await super().stream(wanted, sink)

    async def stop(self):
        if self.where == "stop":
            raise RuntimeError("boom in stop")

@define(kw_only=True)
class Refuser(RiskGate):
    def review(self, request, view):
        raise RuntimeError("boom in review")

@define(kw_only=True)
class Faulty(PaperBroker):
    where: str = field(default="submit", metadata={"help": "where it fails"})

    def submit(self, order, now_ns):
        if self.where == "submit":
            raise RuntimeError("boom in submit")
        return super().submit(order, now_ns)

    def observe(self, event):
        if self.where == "observe":
            raise RuntimeError("boom in observe")
        return super().observe(event)

@define(kw_only=True)
class Unready(Strategy):
    where: str = field(default="init", metadata={"help": "where it fails"})

    def __attrs_post_init__(self):
        if self.where == "init":
            raise RuntimeError("boom in init")

    @property
    def lookback(self):
        if self.where == "lookback":
            raise RuntimeError("boom in lookback")
        return 1

    def on_candle(self, candle, view):
        if self.where == "rubbish":
            return ["buy"]
        if self.where == "exit":
            raise SystemExit(5)
        return []

@hookimpl
def lab_providers():
    return {"sick": Sick}

@hookimpl
def lab_risk_gates():
    return {"refuser": Refuser}

@hookimpl
def lab_brokers():
    return {"faulty": Faulty}

@hookimpl
def lab_strategies():
    return {"unready": Unready}
"""


@pytest.fixture
def parts(trader: Any) -> Any:
    trader.install("their_parts", _PARTS)
    return trader


@pytest.mark.behaviour("S5", "P3")
@pytest.mark.parametrize("where", ["start", "instrument", "stream", "group"])
def test_a_provider_that_fails_ends_the_run_with_69_and_its_reason(lab: Any, parts: Any, where: str) -> None:
    result = lab("run", "--provider", "sick", "--set", f"sick.where={where}", "--speed", "max", "--minutes", "2")
    assert result.code == 69, result
    assert "a defect in lab" not in result.out + result.err
    said = result.err
    if (lab.folder / "runs").exists():
        report = lab.run().report()
        assert (report["exit_code"], report["reason"]) == (69, "plugin_refused")
        said += report["error"]
    assert "sick" in said
    assert f"boom in {where}" in said


@pytest.mark.behaviour("F9")
def test_a_provider_whose_history_is_broken_runs_un_warmed_and_says_so(lab: Any, parts: Any) -> None:
    args = ("--provider", "sick", "--set", "sick.where=history", "--strategy", "trader", "--set", "trader.need=50")
    result = lab("run", *args, "--speed", "max", "--minutes", "3")
    report = lab.run().report()
    assert result.code == report["exit_code"] == 3
    assert "seed_incomplete 3/50" in report["degradations"]
    assert report["error_count"] >= 1


def test_a_provider_that_fails_to_stop_spoils_no_run(lab: Any, parts: Any) -> None:
    args = ("--provider", "sick", "--set", "sick.where=stop", "--strategy", "trader", "--speed", "max")
    result = lab("run", *args, "--minutes", "2")
    assert result.code == lab.run().report()["exit_code"] == 0
    assert "a defect in lab" not in result.out + result.err
    assert "boom in stop" in result.err


@pytest.mark.behaviour("R6")
def test_a_gate_that_raises_refuses(lab: Any, parts: Any) -> None:
    assert lab.mock("--strategy", "trader", "--gate", "refuser", minutes=4).code == 0
    report = lab.run().report()
    assert (report["orders"], report["refusals"]) == (0, 4)
    for _, _, body in lab.run().rows("order_refused"):
        assert body["by"] == "refuser"
        assert "boom in review" in body["reason"]


@pytest.mark.behaviour("S5")
@pytest.mark.parametrize("where", ["submit", "observe"])
@pytest.mark.parametrize("kind", ["run", "backtest"])
def test_a_broker_that_raises_ends_the_run_as_its_own_failure_in_report_and_exit_code(
    lab: Any, parts: Any, where: str, kind: str
) -> None:
    args = ("--strategy", "trader", "--broker", "faulty", "--set", f"faulty.where={where}")
    result = lab.mock(*args, minutes=4) if kind == "run" else lab("backtest", "--provider", "mock", *args)
    assert "a defect in lab" not in result.out + result.err
    report = lab.run().report()
    assert result.code == report["exit_code"] == 69
    assert (report["status"], report["reason"]) == ("failed", EndReason.PLUGIN.code)
    assert report["error_count"] >= 1
    assert report["error"].startswith(f"broker faulty failed in {where}: ")
    assert f"boom in {where}" in report["error"]


@pytest.mark.behaviour("P3")
@pytest.mark.parametrize("where", ["init", "lookback", "rubbish", "exit"])
def test_a_strategy_with_a_defect_is_named_as_that_and_not_as_a_defect_of_lab(lab: Any, parts: Any, where: str) -> None:
    result = lab.mock("--strategy", "unready", "--set", f"unready.where={where}", minutes=2)
    assert "a defect in lab" not in result.out + result.err
    assert result.code in {69, 78}
    said = result.err
    if (lab.folder / "runs").exists():
        report = lab.run().report()
        assert report["exit_code"] == result.code
        said += str(report) + str(lab.run().rows("strategy_stopped"))
    assert "unready" in said


@pytest.mark.behaviour("P3")
def test_a_plugins_command_whose_code_is_missing_names_the_plugin(lab: Any, site: Any) -> None:
    site.install(
        "their_command",
        """
        from lab import PluginCommand, hookimpl

        @hookimpl
        def lab_commands():
            return {"dance": PluginCommand("Dance.", "nothing_of_that_name:command"),
                    "run": PluginCommand("Take over.", "nothing_of_that_name:command")}
        """,
    )
    assert "dance" in lab("--help").out
    result = lab("dance")
    assert result.code == 69
    assert "dance" in result.err
    assert len(result.err.splitlines()) == 1
    assert lab.mock("--no-write", "--reporter", "none", minutes=1).code == 0, "a built-in command is never replaced"
