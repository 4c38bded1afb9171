"""``lab simulate``: whole sessions with drawn faults, and the invariants that what they leave has to keep."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE
from typing import Any

import attrs
import pytest
from checker_runs import checked, rows_of
from lab.campaign.faults import ENDS_A_LIFE, KINDS, OwnFault, draw, split
from lab.campaign.plan import Recipe
from lab.campaign.seeds import SOMETIMES, Table, run_all
from lab.campaign.trial import Trial
from lab.errors import ConfigError
from lab.feed.pacing import Backoff
from lab_bitunix.venue.faults import FAULTS, Faults
from lab_bitunix.venue.swarm import ALL_THE_TIME, FOR_A_WHILE
from lab_bitunix.venue.swarm import draw as draw_of_venue

SELDOM = {"candle not confirmed", "disk full with a working order", "stop triggered"}
"""Too seldom to be reached by each fifty seeds whatever becomes of the code: those of a night reach them."""
BUSY = Recipe({"run.provider": "bitunix", "run.strategies": ["busy"]})
SEEDS = 100
SEEDS_A_TEST = 20
SHORT = 3.0
FURTHER = range(100, 500)
FURTHER_A_TEST = 50
SHORTER = 2.0
LONG = 12.0


@pytest.fixture(scope="module")
def short() -> Trial:
    return Trial(BUSY, SHORT)


def recomputed(folder: Path) -> list[str]:
    """Let the checker, which shares no code with lab, recompute a session of one symbol from its tape."""
    if len(rows_of(folder)[0]["body"]["instruments"]) > 1:
        return []
    return [f"I2: {finding}" for finding in checked(folder)[0][:5]]


# -- the campaign -------------------------------------------------------------------------------------------------


@pytest.mark.timeout(600)
@pytest.mark.behaviour("J1", "J4", "F8", "S11")
@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_A_TEST))
def test_no_short_session_violates_an_invariant(first: int) -> None:
    """Two minutes of faults, then a minute in which trading must open again."""
    table = run(range(first, first + SEEDS_A_TEST), SHORT)
    assert wrong(table) == {}
    assert table.seeds == SEEDS_A_TEST


@pytest.mark.timeout(600)
@pytest.mark.behaviour("J1", "J4", "F8", "S11")
@pytest.mark.parametrize("first", FURTHER[::FURTHER_A_TEST])
def test_no_shorter_session_violates_an_invariant_and_fifty_reach_most_of_the_interesting_states(first: int) -> None:
    """One minute of faults, then one in which trading must open again. The rest of the states is reached in a night."""
    table = run(range(first, first + FURTHER_A_TEST), SHORTER)
    assert wrong(table) == {}
    assert [name for name in SOMETIMES if name not in SELDOM and not table.states[name]] == []


@pytest.mark.behaviour("J1", "F8", "S11")
def test_no_long_session_violates_an_invariant() -> None:
    assert wrong(run(range(1000, 1003), LONG)) == {}


@pytest.mark.behaviour("J4", "T2")
@pytest.mark.parametrize(
    ("seed", "faults"),
    [
        (103, "eio=1@56.83"),  # the run was ended, with orders that had no end
        (4, "kill@20,eio=2@20"),  # a stop was left on the tape, and the resumed run obeyed it
        (4, "eio=2@0.01"),  # what escaped hid its cause
        (3, "skew=45@31+75"),  # half of a candle was taken for closed
        (4, "lag=0.4@51+8,kill=210@53.35"),
        (265, "stall=12@26.17,eio=0@23.33"),  # a process that is stopped cannot end
        (168, "midframe@0.6+10.0"),  # the venue wrote to a socket that was being closed
    ],
)
def test_what_once_violated_an_invariant_does_so_no_more(short: Trial, seed: int, faults: str) -> None:
    one = attrs.evolve(BUSY, options={**BUSY.options, "run.symbol": "BTCUSDT"})
    assert attrs.evolve(short, recipe=one, more=recomputed).run(seed, faults.split(",")).violations == ()


@pytest.mark.behaviour("J4", "S1")
@pytest.mark.parametrize(
    ("seed", "faults"),
    [
        (15039, "kill=0@0.50,full@20.57+8,crash=6@48.52,eio=1@8.89"),  # inputs were taped before the first row was kept
        (10495, "blackhole@0.2+25.0"),  # the minutes began when the provider had not answered for 25 s
        (15327, "slow=7.3@17.4+25.0,kill=80@3.64"),  # those of a resumed run as well
        (10438, "midframe=29.1@29.2+12.2,error=10006:0.38@0.0+6.6,stall=45@5.0"),  # no socket of the feed was lost
        (33186, "kill=175@3.27,stall=1.5@29.7,kill=14@0.21,full@15.43+16.6667,crash=6@3.27"),  # full until it began
        (20477, "skew=-45@34.9+15.0,reset@19.0"),  # a candle that was fetched came again by a clock that had gone back
    ],
)
def test_what_once_violated_an_invariant_of_two_symbols_does_so_no_more(seed: int, faults: str) -> None:
    assert Trial(BUSY, SHORTER, more=recomputed).run(seed, faults.split(",")).violations == ()


@pytest.mark.night
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("seeds", [range(500), range(10_000, 15_000), range(15_000, 20_000)], ids=str)
def test_no_seed_of_the_night_does_and_every_interesting_state_is_reached(seeds: range) -> None:
    """The first five hundred are long ones."""
    table = run(seeds, LONG if len(seeds) == 500 else SHORT)
    assert wrong(table) == {}
    assert {name: table.states[name] for name in SOMETIMES if table.states[name] < 20} == {}
    assert {kind for kind in (*FOR_A_WHILE, *ALL_THE_TIME, *KINDS) if not table.faults[kind]} == set()


def run(seeds: range, minutes: float) -> Table:
    table = Table()
    for verdict in run_all(Trial(BUSY, minutes, more=recomputed), seeds, 1, lambda: False):
        table.add(verdict)
    return table


def wrong(table: Table) -> dict[int, tuple[str, ...]]:
    return {verdict.seed: (*verdict.violations, *verdict.faults) for verdict in table.violated}


# -- the same seed ------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("S9")
@pytest.mark.parametrize(
    ("first", "end"),
    [(5, 7), pytest.param(0, 50, marks=[pytest.mark.night, pytest.mark.timeout(1800)])],
    ids=["killed twice", "fifty seeds"],
)
def test_a_seed_gives_the_same_journal_in_two_processes_with_other_hashes(lab: Any, first: int, end: int) -> None:
    command = lab.command("simulate", "--seeds", f"{first}:{end}", "--minutes", str(SHORT), "--json")
    texts = []
    processes = [
        subprocess.Popen(command, cwd=lab.folder, env={**lab.environment, "PYTHONHASHSEED": text}, stdout=PIPE)
        for text in ("1", "2")
    ]
    for process in processes:
        with process:
            assert process.stdout is not None
            texts.append(process.stdout.read())
    assert texts[0] == texts[1]
    assert len(json.loads(texts[0])["heads"]) == end - first


def test_a_seed_gives_the_same_journal_after_other_seeds(short: Trial) -> None:
    """A killed and resumed session too: seed 5 is killed twice."""
    heads = [short.run(seed).head for seed in (5, 6)]
    short.run(4)
    assert [short.run(seed).head for seed in (5, 6)] == heads


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
    assert {fault.kind for fault in drawn} == set(KINDS)
    assert all(0 <= fault.at_s <= 600 for fault in drawn)
    assert all(fault.at_s + fault.value <= 600.1 for fault in drawn if fault.kind == "stall")
    assert all(fault.at_s + fault.lasts_s <= 600.1 for fault in drawn)
    spared = [fault for seed in range(300) for fault in split(draw(seed, 600, kills=False))[0]]
    assert not {fault.kind for fault in spared} & ENDS_A_LIFE


def test_the_session_takes_its_own_faults_and_leaves_the_others_to_the_provider() -> None:
    own, others = split(["reset@30", "wall=-3600@9", "kill@2.5", "full@60+20"])
    assert own == [OwnFault("kill", 0, 2.5), OwnFault("wall", -3600, 9), OwnFault("full", 0, 60, 20)]
    assert others == ["reset@30"]
    for wrong_part in ("stall=3", "full@60", "kill@3+4"):
        with pytest.raises(ConfigError, match="stall=3@120"):
            split([wrong_part])


def test_no_fault_of_the_venue_has_the_name_of_one_of_the_session() -> None:
    assert not set(FAULTS) & set(KINDS)


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str, Any], None]:
    """Give a function that puts a defect into the shipped code."""

    def put(owner: Any, name: str, made: Any) -> None:
        monkeypatch.setattr(owner, name, made(getattr(owner, name)))

    return put


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
