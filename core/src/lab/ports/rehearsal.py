"""How a provider takes part in ``lab simulate``, and what it is shown of a session afterwards."""

from collections.abc import Mapping, Sequence

import attrs

from lab.domain.market import Candle


@attrs.frozen(kw_only=True)
class Rehearsal:
    """What a provider gives a simulated session: its settings, and the faults that a seed draws for it."""

    settings: Mapping[str, str] = attrs.field(factory=dict)
    """Settings of the provider with which it runs in virtual time, as text."""
    faults: Sequence[str] = ()
    """Faults drawn from the seed, each a text without a comma; all are over when the time given is."""
    faults_setting: str = ""
    """The setting that takes the faults, joined by commas; empty for a provider that has no faults of its own."""
    symbols: Sequence[str] = ()
    """The session's symbols, where none were asked for; none: the one of every run."""
    goes_on: bool = False
    """Whether its data go on where the loop's time stands when a session is killed and resumed, as those of a venue do.
    Where they begin anew, sessions are not killed."""


@attrs.frozen(kw_only=True)
class Evidence:
    """What a simulated session came to."""

    candles: Sequence[Candle] = ()
    """Every candle that the engine took, back-filled ones included, in order."""
    feed: Mapping[str, int] = attrs.field(factory=dict)
    """How often the provider reported each state of its feed."""
    malformed: int = 0
    """Messages that were held out because they were not what the protocol says."""
    degradations: Sequence[str] = ()
    """The degradations of the report."""
    lives: int = 1
    """In how many pieces the session ran: 1 unless it was killed."""
