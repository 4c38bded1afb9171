"""``lab simulate``: whole sessions with drawn faults, and the invariants that what they leave has to keep."""

import json
import os
import subprocess
from collections.abc import Callable
from subprocess import PIPE
from typing import Any

import lab.runs.directory
import lab_bitunix.rest
import pytest
from lab.campaign.faults import OwnFault, draw, split
from lab.campaign.lives import Recipe
from lab.campaign.seeds import SOMETIMES, Table, run_all
from lab.campaign.trial import Trial
from lab.engine.state import EngineState
from lab.errors import ConfigError
from lab.feed.pacing import Backoff
from lab.journal.tape import RecordedTape
from lab.session.inbox import Inbox
from lab_bitunix.venue.faults import FAULTS, Faults
from lab_bitunix.venue.swarm import ALL_THE_TIME, FOR_A_WHILE
from lab_bitunix.venue.swarm import draw as draw_of_venue
from lab_paper_broker.broker import PaperBroker

BUSY = Recipe({"run.provider": "bitunix", "run.strategies": ["busy"]})
SEEDS = 10
SEEDS_A_TEST = 5
SHORT = 4.0


@pytest.fixture(scope="module")
def short() -> Trial:
    return Trial(BUSY, SHORT)


# -- the campaign -------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("J1", "F8", "S11")
@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_A_TEST))
def test_no_seed_violates_an_invariant(first: int) -> None:
    """Ten minutes of faults, then a minute in which trading must open again: as many seeds as the suite affords."""
    table = run(range(first, first + SEEDS_A_TEST), jobs=1)
    assert wrong(table) == {}
    assert table.seeds == SEEDS_A_TEST


@pytest.mark.night
@pytest.mark.timeout(4 * 3600)
def test_none_of_five_hundred_seeds_does_and_every_interesting_state_is_reached() -> None:
    table = run(range(500), jobs=os.cpu_count() or 1)
    assert wrong(table) == {}
    assert {name: table.states[name] for name in SOMETIMES if table.states[name] < 20} == {}
    assert {kind for kind in (*FOR_A_WHILE, *ALL_THE_TIME, "kill", "stall", "wall") if not table.faults[kind]} == set()


def run(seeds: range, jobs: int) -> Table:
    table = Table()
    for verdict in run_all(Trial(BUSY, 12.0), seeds, jobs, lambda: False):
        table.add(verdict)
    return table


def wrong(table: Table) -> dict[int, tuple[str, ...]]:
    return {verdict.seed: (*verdict.violations, *verdict.faults) for verdict in table.violated}


# -- the same seed ------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("S9")
def test_a_seed_gives_the_same_journal_in_two_processes_and_after_other_seeds(lab: Any, short: Trial) -> None:
    """A killed and resumed session too: seed 5 is killed twice."""
    command = lab.command("simulate", "--seeds", "5:7", "--minutes", str(SHORT), "--json")
    texts = []
    processes = [
        subprocess.Popen(command, cwd=lab.folder, env={**lab.environment, "PYTHONHASHSEED": text}, stdout=PIPE)
        for text in ("1", "2")
    ]
    for process in processes:
        with process:
            assert process.stdout is not None
            texts.append(process.stdout.read())
    first, second = map(json.loads, texts)
    assert first == second
    short.run(4)
    assert [short.run(seed).head for seed in (5, 6)] == [first["heads"]["5"], first["heads"]["6"]]


def test_the_faults_of_a_seed_are_the_same_in_every_process_and_differ_between_seeds() -> None:
    assert draw_of_venue(7, 600) == draw_of_venue(7, 600) != draw_of_venue(8, 600)
    assert draw(5, 600, kills=True) == draw(5, 600, kills=True)


# -- the faults ---------------------------------------------------------------------------------------------------


def test_every_fault_of_the_local_venue_is_drawn_and_is_over_when_the_healing_begins() -> None:
    assert {*FOR_A_WHILE, *ALL_THE_TIME} == set(FAULTS)
    for seed in range(400):
        for fault in Faults.parse(",".join(draw_of_venue(seed, 600))):
            end_s = fault.start_s if fault.kind == "reset" and fault.value is None else fault.end_s
            assert fault.kind in ALL_THE_TIME or 0 <= fault.start_s <= end_s <= 600.5


def test_the_faults_of_a_session_are_drawn_within_its_time() -> None:
    drawn = [fault for seed in range(300) for fault in split(draw(seed, 600, kills=True))[0]]
    assert {fault.kind for fault in drawn} == {"kill", "stall", "wall"}
    assert all(0 < fault.at_s <= 600 for fault in drawn)
    assert all(fault.at_s + fault.value <= 600.1 for fault in drawn if fault.kind == "stall")
    assert not any("kill" in part for seed in range(300) for part in draw(seed, 600, kills=False))


def test_the_session_takes_its_own_faults_and_leaves_the_others_to_the_provider() -> None:
    own, others = split(["reset@30", "wall=-3600@9", "kill@2.5"])
    assert own == [OwnFault("kill", 0, 2.5), OwnFault("wall", -3600, 9)]
    assert others == ["reset@30"]
    with pytest.raises(ConfigError, match="stall=3@120"):
        split(["stall=3"])


# -- what the campaign finds --------------------------------------------------------------------------------------


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str, Any], None]:
    """Give a function that puts a defect into the shipped code."""

    def put(owner: Any, name: str, made: Any) -> None:
        monkeypatch.setattr(owner, name, made(getattr(owner, name)))

    return put


def caught(trial: Trial, *faults: str, seed: int = 1) -> set[str]:
    return {text.partition(":")[0] for text in trial.run(seed, faults).violations}


def test_without_a_defect_the_faults_of_the_tests_below_violate_nothing(short: Trial) -> None:
    assert (
        caught(
            short, "reset@41", "close_storm@40+50", "malformed=0.9@60+20", "silence@100+30", "kill=3@100", "stall=12@30"
        )
        == set()
    )


def test_it_finds_a_feed_that_connects_without_pause(short: Trial, plant: Any) -> None:
    plant(Backoff, "wait_s", lambda _: lambda self, now: 0.01)
    assert "I13" in caught(short, "reset@41", "close_storm@40+50")


def test_it_finds_a_feed_that_does_not_come_back(short: Trial, plant: Any) -> None:
    plant(Backoff, "wait_s", lambda _: lambda self, now: 1e6)
    assert "I11" in caught(short, "reset@60")


def test_it_finds_a_candle_that_is_not_the_venues(short: Trial, plant: Any) -> None:
    def higher(whole: Any) -> Any:
        def read(*args: Any) -> Any:
            candles, bad = whole(*args)
            return [one._replace(high=one.high + 1) for one in candles], bad

        return read

    plant(lab_bitunix.rest, "decode_candles", higher)
    assert "I7" in caught(short)


def test_it_finds_entries_in_a_session_that_is_halted(short: Trial, plant: Any) -> None:
    plant(EngineState, "halt", lambda _: lambda self, reasons, paused: None)
    assert "I8" in caught(short, "silence@60+30")


def test_it_finds_chance_in_the_broker(short: Trial, plant: Any) -> None:
    def jumpy(whole: Any) -> Any:
        return lambda self, order, now_ns: whole(self, order, now_ns + int.from_bytes(os.urandom(3)))

    plant(PaperBroker, "submit", jumpy)
    assert "I1" in caught(short)


def test_it_finds_inputs_that_a_resumed_session_has_forgotten(short: Trial, plant: Any) -> None:
    def shorter(whole: Any) -> Any:
        return lambda self: (event for number, event in enumerate(whole(self)) if number != 40)

    plant(RecordedTape, "__iter__", shorter)
    assert caught(short, "kill=3@100")


def test_it_finds_a_report_that_is_not_written(short: Trial, plant: Any) -> None:
    plant(lab.runs.directory, "write_report", lambda _: lambda directory, report: None)
    assert "I9" in caught(short)


def test_it_finds_damaged_messages_that_nobody_mentions(short: Trial, plant: Any) -> None:
    plant(Inbox, "malformed", lambda _: lambda self, reason, sample: None)
    assert "I16" in caught(short, "malformed=0.9@60+20")


# -- the command --------------------------------------------------------------------------------------------------


def test_a_seed_that_violates_an_invariant_is_printed_with_the_fewest_faults_and_what_to_type(
    lab: Any, plant: Any
) -> None:
    plant(Backoff, "wait_s", lambda _: lambda self, now: 1e6)
    found = lab("simulate", "--seeds", "3:4", "--minutes", "4", "--faults", "numbers=number,reset@60", "--keep", "kept")
    assert found.code == 1
    assert "1 VIOLATED an invariant" in found.out
    again = "again: lab simulate --provider bitunix --minutes 4 --seeds 3:4 --faults reset@60"
    assert again in [line.strip() for line in found.out.splitlines()]
    assert (lab.folder / "kept" / "seed-3" / "runs" / "latest" / "final_report.json").is_file()


def test_providers_whose_data_begin_anew_are_simulated_without_kills(lab: Any, one_line: Any) -> None:
    args = ("simulate", "--provider", "mock", "--strategy", "sma", "--minutes", "3", "--seeds")
    assert "nothing was violated" in lab(*args, "0:2").out
    one_line(lab(*args, "0:1", "--faults", "kill@20"), 78, "can't be resumed")
    one_line(lab(*args, "0:1", "--faults", "reset@20"), 78, "no faults of its own")


def test_wrong_seeds_faults_and_names_are_refused_on_one_line(lab: Any, one_line: Any) -> None:
    one_line(lab("simulate", "--seeds", "5"), 64, "FIRST:END")
    one_line(lab("simulate", "--faults", "stall=3"), 78, "stall=3@120")
    one_line(lab("simulate", "--strategy", "smaa"), 64, "sma")
