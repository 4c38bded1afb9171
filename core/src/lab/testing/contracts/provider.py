"""The contract of providers: P1 to P16, in four sets of rules.

``provider_description`` has P1 to P4 and P7, ``provider_history`` P5, P6 and P12, ``provider_stream`` P8 to P11
and P13 to P15, ``provider_symbols`` P16; ``provider_harness`` is what they share.
"""

from lab.testing.contracts.provider_description import DescriptionRules
from lab.testing.contracts.provider_history import HistoryRules
from lab.testing.contracts.provider_stream import StreamRules
from lab.testing.contracts.provider_symbols import SymbolRules


class ProviderContract(DescriptionRules, HistoryRules, StreamRules, SymbolRules):
    """What lab relies on in every provider. Inherit it, give the fixture ``make``, and run pytest.

        class TestMyVenue(ProviderContract):
            @pytest.fixture
            def make(self):
                return MyVenue

    ``make`` gives a fresh instance each time. With ``simulated`` the rules run in virtual time, with the network in
    memory: a provider needs a counterpart inside the simulation, or no network at all. A fixture runs outside the
    simulated loop and can't start one; a subclass of the provider can, in its own ``start``::

        class WithVenue(MyVenue):
            async def start(self, runtime):
                await runtime.tasks.start(serve_my_venue)
                await super().start(runtime)

    With ``other_symbol`` a provider of several symbols is asked for two at once. Without ``simulated`` the rules run
    in real time and take ``stream_s`` each.
    """
