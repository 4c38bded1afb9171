"""What is to be said against the best of many trials."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from lab.research.beside import Beside
from lab.research.metrics import MISSING
from lab.research.overfitting import ENOUGH, deflated_sharpe
from lab.research.space import Ranges, Space, Steps, Whole
from lab.research.studies import Entry, key_of
from lab.statistics.returns import DAYS_A_YEAR

_FEW: Final = 30
"""Fewer trades than that say little."""
_SHARP: Final = 0.5
"""A neighbour that keeps less than this part of the metric is worth a warning."""


def warnings_of(
    entries: Sequence[Entry],
    best: Entry | None,
    near: Sequence[Beside],
    metric: str,
    sign: int,
    space: Space,
    returns: Callable[[], Sequence[float]],
    interrupted: bool,
) -> Iterator[str]:
    """Yield what speaks against the best trial, a line each; ``returns`` gives its daily returns."""
    distinct = {key_of(one.settings): one for one in entries if one.outcome.value is not None}
    if interrupted:
        yield f"interrupted: {len(entries)} trials have ended, and the best of all may be among the others"
    yield from _failures(entries)
    if best is None:
        return
    yield f"chosen: the best of {len(distinct)} different settings, measured on the very data it was chosen on"
    if metric == "sharpe":
        yield _luck(list(distinct.values()), returns)
    yield from _neighbourhood(near, best, metric, sign)
    yield from _edges(space, best)
    trades = best.outcome.figures.get("trades", 0)
    if trades < _FEW:
        yield f"trades: the best made {trades}; fewer than {_FEW} say little"


def _failures(entries: Sequence[Entry]) -> Iterator[str]:
    for what, chosen in (
        ("without the metric", [one for one in entries if one.outcome.error.startswith(MISSING)]),
        ("failed", [one for one in entries if one.outcome.error and not one.outcome.error.startswith(MISSING)]),
    ):
        if chosen:
            reason, times = Counter(one.outcome.error for one in chosen).most_common(1)[0]
            yield f"{what}: {len(chosen)} of {len(entries)} trials, {times} of them: {reason[:200]}"


def _luck(distinct: Sequence[Entry], returns: Callable[[], Sequence[float]]) -> str:
    try:
        sharpes = [(one.outcome.value or 0.0) / math.sqrt(DAYS_A_YEAR) for one in distinct]
        found = deflated_sharpe(returns(), sharpes)
    except ValueError as error:
        return f"luck: the deflated Sharpe ratio means nothing here: {error}"
    verdict = "it cannot be told from luck" if found.probability < ENOUGH else "luck alone hardly explains it"
    return (
        f"luck: the best of {found.trials} without skill would show a Sharpe ratio of {found.luckiest:.2f}; "
        f"deflated Sharpe ratio {found.probability:.3f}: {verdict}"
    )


def _neighbourhood(near: Sequence[Beside], best: Entry, metric: str, sign: int) -> Iterator[str]:
    value = best.outcome.value or 0.0
    if not near:
        return
    failed = [one for one in near if one.change is None]
    if failed:
        yield f"neighbours: {len(failed)} of {len(near)} fail one step away, {failed[0].setting} = {failed[0].value}"
    measured = [one for one in near if one.change is not None]
    if not measured:
        return
    worst = min(measured, key=lambda one: sign * (one.metric or 0.0))
    kept = sum(one.metric or 0.0 for one in measured) / len(measured)
    text = (
        f"neighbours: one step away {metric} is {kept:.4g} on average, and {worst.metric:.4g} at the worst "
        f"({worst.setting} = {worst.value}), against {value:.4g}"
    )
    lost = sign * (value - (worst.metric or 0.0))
    yield f"{text}: a peak, not a plateau" if lost > abs(value) * _SHARP else text


def _edges(space: Space, best: Entry) -> Iterator[str]:
    if not isinstance(space, Ranges):
        return
    for one in space.dimensions:
        if isinstance(one, Whole | Steps) and one.low < one.high:
            value = best.params[one.name]
            if value in {one.low, one.high} or value in {float(one.low), float(one.high)}:
                yield f"edge: {one.name} = {value} is an end of its range; better ones may lie beyond"
