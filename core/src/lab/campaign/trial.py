"""One seed of a campaign, from the faults it draws to its verdict, and the fewest faults that still violate it."""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

from lab.campaign.busy import WithBusy
from lab.campaign.canary import leaks
from lab.campaign.faults import EIO, ENDS_A_LIFE, draw, split
from lab.campaign.invariants import check
from lab.campaign.lives import live
from lab.campaign.plan import Lived, Plan, Recipe, healed_s
from lab.errors import ConfigError
from lab.plugins.discovery import Registry
from lab.ports import Provider, Rehearsal

_MEMORY: Final = Path("/dev/shm")
_SHRINKS_MOST: Final = 40


@frozen
class Verdict:
    """What a seed came to: its faults, what was violated, and the interesting states its session was in."""

    seed: int
    faults: tuple[str, ...]
    violations: tuple[str, ...]
    states: frozenset[str]
    lives: int
    rows: int
    head: str
    """The hash of the journal's last row."""
    commits: int
    """After how many commits it was checked while it ran."""


@define
class Trial:
    """Runs the seeds of a campaign, one at a time, in this process."""

    recipe: Recipe
    minutes: float
    keep: Path | None = None
    """Where the folders of sessions with violations are kept; ``None``: nowhere."""
    more: Callable[[Path], Iterable[str]] | None = None
    """Further checks of a session's folder: each line names its invariant, as ``I2: ...``."""
    registry: Registry = field(factory=WithBusy)

    def run(self, seed: int, faults: Sequence[str] | None = None) -> Verdict:
        """Run a seed's session with the faults it draws, or with those given. Raises `ConfigError`, `PluginError`."""
        with _folder() as folder:
            rehearsal, silence_s = self._rehearsal(seed, folder)
            drawn = self._drawn(seed, rehearsal) if faults is None else tuple(faults)
            plan = Plan(seed, self.minutes, drawn, tuple(rehearsal.symbols))
            lived = live(self.recipe, self.registry, plan, _settings(rehearsal, drawn), folder)
            found = check(lived, self.registry, silence_s)
            found.violations += leaks(folder / "now")
            if self.more is not None and lived.directory is not None:
                found.violations += self.more(lived.directory)
            if found.violations and self.keep is not None:
                kept = self.keep / f"seed-{seed}"
                shutil.rmtree(kept, ignore_errors=True)
                shutil.copytree(folder / "now", kept, symlinks=True)
        states = frozenset({*found.states, *_of_cuts(lived)})
        violations = tuple(dict.fromkeys(found.violations))
        return Verdict(seed, drawn, violations, states, len(lived.cuts) + 1, found.rows, found.head, lived.commits)

    def shrink(self, verdict: Verdict) -> Verdict:
        """Leave faults out, one by one, as long as the same invariant is still violated; return the last that is."""
        wanted = {_number(text) for text in verdict.violations}
        left = _SHRINKS_MOST
        for fault in verdict.faults:
            fewer = tuple(one for one in verdict.faults if one != fault)
            if not left:
                break
            left -= 1
            tried = self.run(verdict.seed, fewer)
            if wanted & {_number(text) for text in tried.violations}:
                verdict = tried
        return verdict

    def _rehearsal(self, seed: int, folder: Path) -> tuple[Rehearsal, float]:
        assembly = self.recipe.assembly(self.registry, seed, self.minutes, {}, folder)
        provider: Provider = assembly.provider.component
        return provider.rehearsal(seed, healed_s(self.minutes)), provider.quote_silence_s()

    def _drawn(self, seed: int, rehearsal: Rehearsal) -> tuple[str, ...]:
        own = draw(seed, healed_s(self.minutes), kills=rehearsal.goes_on)
        return (*rehearsal.faults, *own)


def _settings(rehearsal: Rehearsal, faults: Sequence[str]) -> Mapping[str, str]:
    """Return the provider's settings with its faults. Raises `ConfigError` for faults it has no setting for."""
    own, theirs = split(faults)
    if not rehearsal.goes_on and any(fault.kind in ENDS_A_LIFE for fault in own):
        raise ConfigError("--faults: this provider's data begin anew at each start: a session of it can't be resumed")
    if theirs and not rehearsal.faults_setting:
        raise ConfigError(f"--faults: {theirs[0]!r}: this provider has no faults of its own")
    text = {rehearsal.faults_setting: ",".join(theirs)} if theirs else {}
    return {**rehearsal.settings, **text}


def _of_cuts(lived: Lived) -> Iterator[str]:
    for cut in lived.cuts:
        if cut.kind == EIO:
            yield "disk failed"
            continue
        yield "killed" if cut.rows else "killed before the first row"
        if cut.recovering:
            yield "killed while it recovered"
        if cut.held:
            yield "killed with a position"
        if cut.working:
            yield "killed with a working order"
    if len(lived.cuts) > 1:
        yield "killed twice"


def _number(text: str) -> str:
    return text.partition(":")[0]


@contextmanager
def _folder() -> Iterator[Path]:
    where = tempfile.mkdtemp(prefix="lab-simulate-", dir=_MEMORY if _MEMORY.is_dir() else None)
    try:
        yield Path(where)
    finally:
        shutil.rmtree(where, ignore_errors=True)


def runner(trial: Trial, faults: Sequence[str] | None) -> Callable[[int], Verdict]:
    """Return what runs a seed, for another process: it has its own plugins."""
    return partial(_run, trial.recipe, trial.minutes, trial.keep, trial.more, faults)


def _run(
    recipe: Recipe,
    minutes: float,
    keep: Path | None,
    more: Callable[[Path], Iterable[str]] | None,
    faults: Sequence[str] | None,
    seed: int,
) -> Verdict:
    key = (repr(recipe), minutes, keep, more)
    if key not in _TRIALS:
        _TRIALS[key] = Trial(recipe, minutes, keep, more)
    return _TRIALS[key].run(seed, faults)


_TRIALS: dict[object, Trial] = {}
