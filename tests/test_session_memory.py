"""What risk gates remember outlives a kill -9: the run that restarts one is told, proves it, and says what was lost."""

import json
import sqlite3
import subprocess
import time
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from lab import PASS, OrderRequest, RiskGate, Verdict, View
from lab.composition.assembly import Part
from lab.errors import JournalError
from lab.exit_codes import EndReason
from lab.journal.reader import JournalReader
from lab.journal.schema import FIRST_SEGMENT
from lab.journal.state import end_state, ended, seal_of
from lab.journal.store import Journal
from lab.records.run import GateMemory, RunStarted, SessionState
from lab.runs.directory import create, run_label
from lab.runs.restart import TakenOver, accepted_memory, taken_over
from lab.testing import ScriptedStrategy, candles, engine_with
from lab.testing.sample_runs import run_started
from msgspec.structs import replace

GATES = {
    "max_daily_loss": ("usd=0.5",),
    "max_drawdown": ("percent=none", "usd=0.5"),
    "consecutive_losses": ("losses=1",),
    "cool_down": ("minutes=6000",),
    "order_rate": ("orders=2", "seconds=360000"),
}
"""Settings with which a strategy that trades 0.01 coins is refused for long after a trade or two."""


def session(gate: str, *args: str) -> tuple[str, ...]:
    sets = [text for setting in GATES[gate] for text in ("--set", f"{gate}.{setting}")]
    return (
        "run", "--provider", "mock", "--strategy", "trader", "--set", "trader.need=1", "--gate", gate, *sets,
        "--reporter", "none", "--speed", "300", *args,
    )  # fmt: skip


def stopped_by_its_gate(lab: Any) -> Path | None:
    """Return the folder of a session whose gate has refused or halted."""
    for folder in lab.folder.glob("runs/2*"):
        try:
            reader = JournalReader.open(folder)
        except JournalError:
            continue
        try:
            kinds = {row[3] for row in reader.rows()}
        finally:
            reader.close()
        if kinds & {"entries_halted", "order_refused"}:
            return Path(folder)
    return None


def killed(lab: Any, site: Any, gate: str) -> Path:
    """Start a session, kill it with SIGKILL once its gate has stopped it, and return its folder."""
    quiet = subprocess.DEVNULL
    command, environment = lab.command(*session(gate, "--minutes", "3000")), {**lab.environment, **lab.see(site)}
    with subprocess.Popen(command, cwd=lab.folder, env=environment, stdout=quiet, stderr=quiet) as process:
        until = time.monotonic() + 20
        folder = None
        while folder is None and time.monotonic() < until:
            time.sleep(0.05)
            folder = stopped_by_its_gate(lab)
        process.kill()
    assert folder is not None, "the gate never refused"
    return folder


@pytest.mark.behaviour("R1", "R4", "J6")
@pytest.mark.parametrize("gate", GATES)
def test_a_gate_goes_on_refusing_after_kill_9_and_a_restart_and_the_restart_verifies(
    lab: Any, trader: Any, gate: str
) -> None:
    folder = killed(lab, trader, gate)
    short = session(gate, "--minutes", "5")
    assert lab(*short).code == 0
    run, report = lab.run(), lab.run().report()
    [(_, _, started)] = run.rows("run_started")
    assert list(started["gate_memory"]) == [gate]
    assert report["orders"] == report["fills"] == 0
    assert f"gate_memory {gate}: carried over from {folder.name}" in report["degradations"]
    halted = run.rows("entries_halted")
    if gate in {"max_daily_loss", "max_drawdown", "consecutive_losses"}:
        assert [body["gate"] for _, _, body in halted] == [gate]
        assert (report["decisions"], report["refusals"]) == (0, 0), "who may not enter is asked nothing"
        assert report["no_trade_reason"].startswith(f"entries were halted by {gate}: ")
    else:
        assert not halted
        assert report["refusals"] >= 2
    assert lab("verify", "--json").json()["identical"] is True
    assert lab("audit").code == 0
    assert lab("replay", "latest").code == 0
    assert lab.run().rows("run_started")[0][2]["gate_memory"] == started["gate_memory"]
    assert lab.run().report()["fills"] == 0
    assert lab("verify").code == 0
    assert lab(*short).code == 0
    assert lab.run().rows("run_started")[0][2]["gate_memory"] == {}, "the one before ended as it was asked to"
    fills = lab.run().report()["fills"]
    assert fills == 0 if gate == "max_daily_loss" else fills > 0, "the day's loss counts however a run ended"


@pytest.mark.behaviour("R4")
def test_a_memory_that_was_changed_on_disk_is_left_out_and_the_report_says_so(lab: Any, trader: Any) -> None:
    folder = killed(lab, trader, "consecutive_losses")
    with sqlite3.connect(folder / "journal.db") as db:
        [(body,)] = db.execute("SELECT body FROM state WHERE name = 'run'")
        state = json.loads(body)
        values = state["gate_memory"]["consecutive_losses"]["values"]
        values["tripped trader"] = values["tripped trader"].replace(" ", "0 ")
        db.execute("UPDATE state SET body = ? WHERE name = 'run'", (json.dumps(state),))
    db.close()
    assert lab(*session("consecutive_losses", "--minutes", "5")).code == 0
    report = lab.run().report()
    said = f"quarantined {folder.name}: journal.db: state run was changed after it was written, or is of other rows"
    assert said in report["degradations"]
    assert report["fills"] > 0
    assert lab("verify").code == 0


@pytest.mark.behaviour("R4")
def test_a_run_with_other_settings_takes_nothing_over_and_says_so_once(lab: Any, trader: Any) -> None:
    folder = killed(lab, trader, "consecutive_losses")
    other = session("consecutive_losses", "--minutes", "5", "--set", "trader.quantity=0.02")
    assert lab(*other).code == 0
    said = f"not_restarted {folder.name}: it was cut off with other settings"
    assert said in lab.run().report()["degradations"]
    assert lab.run().report()["fills"] > 0
    assert lab(*other).code == 0
    assert "not_restarted" not in str(lab.run().report()["degradations"])


# -- without processes -------------------------------------------------------------------------------------------------


@define(kw_only=True, eq=False)
class Counting(RiskGate):
    """Passes everything, and remembers a number."""

    seen: int = 0
    broken: bool = False
    tried: list[str] = field(init=False, factory=list)

    def review(self, request: OrderRequest, view: View) -> Verdict:
        self.seen += 1
        return PASS

    def snapshot(self) -> Mapping[str, str]:
        if self.broken:
            raise KeyError("on purpose")
        return {"seen": str(self.seen)}

    def restore(self, memory: Mapping[str, str]) -> None:
        self.tried.append(memory["seen"])
        self.seen = int(memory["seen"])


def part(gate: RiskGate) -> Part[RiskGate]:
    return Part("counting", None, gate)  # type: ignore[arg-type]


def cut_off(
    state_dir: Path,
    started: RunStarted,
    gate: RiskGate | None = None,
    reason: EndReason | None = None,
    rows: bool = True,
) -> Path:
    """Write a run that was cut off, or ended for a reason, after its strategy asked for one order."""
    folder = create(state_dir, run_label(0, started.provider.name, "tested"))
    (folder / FIRST_SEGMENT).touch()
    journal = Journal(folder, durable=True, labels={})
    if rows:
        journal.append_record(started, 0, 0)
        buyer = ScriptedStrategy(plan={0: [OrderRequest.buy("BTCUSDT", Decimal(1))]})
        gates = {} if gate is None else {"counting": gate}
        engine = engine_with({"tested": buyer}, gates=gates, config_hash=started.config_hash)
        if gate is not None:
            for candle in candles([100.0, 100.0]):
                engine.step(candle)
            state = end_state(engine, SessionState())
            if reason is not None:
                journal.append_record(ended(state, reason, ""), 0, 0)
            journal.commit(state)
    journal.commit()
    journal.close()
    return folder


@pytest.mark.parametrize("reason", [None, EndReason.INTERNAL, EndReason.STORAGE, EndReason.PLUGIN])
def test_a_run_that_nobody_asked_to_end_is_taken_over(tmp_path: Path, reason: EndReason | None) -> None:
    started = run_started()
    folder = cut_off(tmp_path, started, Counting(), reason)
    cut_off(tmp_path, started, rows=False)  # one that never began, or the new one itself
    taken = taken_over(tmp_path, started, "20240101T")
    assert (taken.run, taken.left_out) == (folder.name, ())
    gate = Counting()
    assert accepted_memory(taken, [part(gate)], started.config_hash) == ({"counting": {"seen": "1"}}, taken)
    assert (gate.seen, gate.tried) == (0, []), "a copy tried it"


@pytest.mark.parametrize("reason", [EndReason.COMPLETED, EndReason.STOPPED, EndReason.KILLED, EndReason.RISK_HALT])
def test_after_an_end_that_was_asked_for_nothing_is_taken_over(tmp_path: Path, reason: EndReason) -> None:
    started = run_started()
    cut_off(tmp_path, started, Counting())
    cut_off(tmp_path, started, Counting(), reason)
    assert taken_over(tmp_path, started, "20240101T") == TakenOver()
    other = replace(started, config_hash="other")
    assert taken_over(tmp_path, other, "20240101T") == TakenOver(), "it was no crash that was left out"


def test_a_restart_in_which_nothing_happened_hands_on_what_it_was_told(tmp_path: Path) -> None:
    started = run_started()
    folder = cut_off(tmp_path, replace(started, gate_memory={"counting": {"seen": "7"}}))
    taken = taken_over(tmp_path, started, "20240101T")
    assert taken.run == folder.name
    assert accepted_memory(taken, [part(Counting())], started.config_hash)[0] == {"counting": {"seen": "7"}}


def test_a_damaged_run_is_passed_over_and_named(tmp_path: Path) -> None:
    started = run_started()
    older = cut_off(tmp_path, started, Counting())
    newer = cut_off(tmp_path, started, Counting())
    with sqlite3.connect(newer / "journal.db") as db:
        db.execute("UPDATE state SET body = '[]'")
    db.close()
    taken = taken_over(tmp_path, started, "20240101T")
    assert taken.run == older.name
    [said] = taken.left_out
    assert said.startswith(f"not_restarted {newer.name}: {newer.name}/journal.db: state run was changed after")
    assert str(tmp_path) not in said


@pytest.mark.parametrize(
    ("memory", "said"),
    [
        (GateMemory(values={}, seal="", error="the gate failed in snapshot: KeyError"), "the gate failed in snapshot"),
        (GateMemory(values={"seen": "8"}, seal=seal_of("harness", "counting", {"seen": "7"})), "it was changed after"),
        (GateMemory(values={"seen": "7"}, seal=seal_of("other", "counting", {"seen": "7"})), "is of other settings"),
        (GateMemory(values={"seen": "7"}, seal=seal_of("harness", "other", {"seen": "7"})), "is of other settings"),
        (GateMemory(values={"seen": "x"}, seal=seal_of("harness", "counting", {"seen": "x"})), "ValueError: invalid"),
        (GateMemory(values={"x": "7"}, seal=seal_of("harness", "counting", {"x": "7"})), "KeyError"),
    ],
    ids=["error", "changed", "settings", "gate", "value", "key"],
)
def test_a_memory_that_does_not_fit_leaves_the_gate_as_it_is(memory: GateMemory, said: str) -> None:
    gate, taken = Counting(), TakenOver(run="before", memory={"counting": memory})
    accepted, taken = accepted_memory(taken, [part(gate)], "harness")
    assert accepted == {}
    [text] = taken.left_out
    assert text.startswith("gate_memory_lost counting: what it knew in before does not count: ")
    assert said in text
    assert (gate.seen, gate.tried) == (0, [])


def test_an_empty_memory_is_no_news() -> None:
    memory = GateMemory(values={}, seal=seal_of("harness", "counting", {}))
    taken = TakenOver(run="before", memory={"counting": memory, "gone": memory})
    assert accepted_memory(taken, [part(Counting())], "harness") == ({}, taken)


def test_a_gate_that_cannot_say_what_it_knows_is_journalled_with_its_error(tmp_path: Path) -> None:
    started = run_started()
    cut_off(tmp_path, started, Counting(broken=True))
    taken = taken_over(tmp_path, started, "20240101T")
    assert taken.memory["counting"].values == {}
    assert "the gate failed in snapshot: KeyError" in taken.memory["counting"].error
