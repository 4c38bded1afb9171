"""The data of a backtest: asked of its provider for one run, or read once and held for many."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from attrs import define, field, frozen

from lab.composition.assembly import Assembly
from lab.composition.declared import Declared
from lab.composition.subscription import run_subscriptions
from lab.domain.inputs import Input
from lab.domain.instrument import Instrument
from lab.ports import Subscription


class BatchData(Protocol):
    """What a backtest is fed. Its methods raise what the provider raises."""

    def wanted(self) -> Sequence[Subscription]:
        """Return what the run subscribes to."""

    def batches(self) -> Iterator[Sequence[Input]] | None:
        """Return all inputs anew; ``None`` where the provider has no recorded data."""

    def instrument(self, symbol: str) -> Instrument | None:
        """Return the instrument of a symbol that is wanted."""

    def source(self) -> Mapping[str, str]:
        """Return what identifies the data."""


@define
class ProviderData:
    """The data of an assembly's own provider, asked at every call."""

    assembly: Assembly

    def wanted(self) -> Sequence[Subscription]:
        """Return the subscriptions of the run's settings. Raises `lab.errors.ProviderError`."""
        run, part = self.assembly.settings, self.assembly.provider
        return run_subscriptions(part.name, part.component, run.symbols, run.interval_ns)

    def batches(self) -> Iterator[Sequence[Input]] | None:
        """Return the provider's batches from their beginning."""
        return self.assembly.provider.component.batches(self.wanted(), seed=self.assembly.settings.seed)

    def instrument(self, symbol: str) -> Instrument | None:
        """Return what the provider says."""
        return self.assembly.provider.component.batch_instrument(symbol)

    def source(self) -> Mapping[str, str]:
        """Return what the provider says."""
        return self.assembly.provider.component.source()


@frozen
class HeldData:
    """Data that was read once: every run is fed the same objects, which nobody can change."""

    subscriptions: Sequence[Subscription]
    declared: Declared
    instruments: Mapping[str, Instrument]
    identity: Mapping[str, str]
    held: Sequence[Sequence[Input]] = field(repr=False)

    def wanted(self) -> Sequence[Subscription]:
        """Return the subscriptions the data was read for."""
        return self.subscriptions

    def batches(self) -> Iterator[Sequence[Input]]:
        """Return the batches from their beginning."""
        return iter(self.held)

    def instrument(self, symbol: str) -> Instrument | None:
        """Return the instrument as the provider described it."""
        return self.instruments.get(symbol)

    def source(self) -> Mapping[str, str]:
        """Return what identified the data when it was read."""
        return self.identity
