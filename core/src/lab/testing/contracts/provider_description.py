"""What a provider says of itself and of its instruments, and how it starts and stops: P1 to P4, and P7."""

from decimal import Decimal
from typing import Final

import anyio

from lab.domain.instrument import Instrument
from lab.errors import ProviderError, ProviderUnavailable
from lab.ports import Channel, PriceSource, Provider, Realm
from lab.testing.contracts.base import rule
from lab.testing.contracts.listening import QUICK_S
from lab.testing.contracts.provider_harness import Make, ProviderHarness
from lab.testing.contracts.shared import SETTINGS_CURE, SETTINGS_WHY, check_numbers, check_settings

_START_S: Final = 10.0


class DescriptionRules(ProviderHarness):
    """What a session relies on before it takes a price."""

    @rule("P1", SETTINGS_WHY, SETTINGS_CURE)
    def test_settings_have_defaults_and_help(self, make: Make) -> None:
        check_settings(make(), Provider)

    @rule(
        "P2",
        "real, recorded and synthetic prices never meet in a session, and the report says where they came from.",
        "let realm() return a Realm, channels() a frozenset of Channel, origin() the host, file or seed.",
    )
    def test_says_what_it_is_and_what_it_can_give(self, make: Make) -> None:
        provider = make()
        realm, channels, depth = provider.realm(), provider.channels(), provider.history_depth()
        assert isinstance(realm, Realm), f"realm() gave {realm!r}"
        known = isinstance(channels, frozenset) and all(isinstance(one, Channel) for one in channels)
        assert known, f"channels() gave {channels!r}"
        assert channels, f"channels() gave {channels!r}"
        assert depth is None or (type(depth) is int and depth >= 0), f"history_depth() gave {depth!r}"
        source = provider.price_source()
        assert isinstance(source, PriceSource), f"price_source() gave {source!r}"
        if source is PriceSource.QUOTE:
            assert Channel.QUOTES in channels, "price_source() is quote, but channels() has no quotes"
        silence_s = provider.quote_silence_s()
        assert silence_s > 0, f"quote_silence_s() gave {silence_s!r}"
        origin = provider.origin()
        named = isinstance(origin, str) and origin.strip()
        assert named, f"origin() gave {origin!r}"
        check_numbers(provider.source(), "source()")

    @rule(
        "P3",
        "a session stops in five seconds, after a failed start too; a provider that hangs or leaks takes it all.",
        "let stop() accept a provider that never started or stopped already, and bound every wait in it.",
    )
    def test_starts_and_stops_quickly_and_stops_twice(self, make: Make) -> None:
        async def main() -> None:
            unstarted = make()
            with anyio.move_on_after(QUICK_S) as scope:
                await unstarted.stop()
            assert not scope.cancelled_caught, f"stop() without start() took over {QUICK_S} s"
            began = anyio.current_time()
            async with self.started(make()) as provider:
                took = anyio.current_time() - began
                assert took <= _START_S, f"start() took {took:.1f} s"
                for what in ("stop()", "a second stop()"):
                    began = anyio.current_time()
                    await provider.stop()
                    took = anyio.current_time() - began
                    assert took <= QUICK_S, f"{what} took {took:.1f} s"

        self.run(main)

    @rule(
        "P4",
        "orders are floored to the lot and priced on the tick: wrong steps make every order wrong.",
        "build the Instrument from the venue's own figures, as Decimal made from text.",
    )
    def test_the_instrument_is_plausible(self, make: Make) -> None:
        async def main() -> Instrument:
            async with self.started(make()) as provider:
                return await provider.instrument(self.symbol)

        found = self.run(main)
        assert isinstance(found, Instrument), f"instrument() gave {found!r}"
        assert found.symbol == self.symbol, f"asked for {self.symbol!r}, got {found.symbol!r}"
        assert all((found.base, found.quote)), f"base {found.base!r}, quote {found.quote!r}"
        for name in ("tick", "lot", "quantity_min", "maker_fee_rate", "taker_fee_rate"):
            value = getattr(found, name)
            assert isinstance(value, Decimal), f"{name} {value!r} is {type(value).__name__}, not Decimal"
        for name in ("maker_fee_rate", "taker_fee_rate"):
            rate = getattr(found, name)
            assert abs(rate) < Decimal("0.05"), f"{name} {rate} is no fraction (0.0006 is 0.06 %)"
        assert found.quantity_min > 0, f"quantity_min is {found.quantity_min}"
        assert found.quantity_min % found.lot == 0, f"quantity_min {found.quantity_min} is not on the lot {found.lot}"

    @rule(
        "P7",
        "a misspelt symbol must end with a message, not with a session that waits for ever.",
        "raise ProviderError (not ProviderUnavailable) whose text has the symbol as it was asked for.",
    )
    def test_an_unknown_symbol_is_named(self, make: Make) -> None:
        async def main() -> str:
            async with self.started(make()) as provider:
                try:
                    found = await provider.instrument(self.unknown_symbol)
                except ProviderUnavailable as error:
                    raise AssertionError(f"it raised ProviderUnavailable, which is tried again: {error}") from error
                except ProviderError as error:
                    return str(error)
                raise AssertionError(f"instrument({self.unknown_symbol!r}) gave {found}")

        said = self.run(main)
        assert self.unknown_symbol.lower() in said.lower(), f"{self.unknown_symbol!r} is not in the message {said!r}"
