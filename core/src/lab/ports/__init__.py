"""The five kinds of component, and what lab promises to each.

A component is its settings: an attrs class whose init fields are its keys in ``lab.toml`` (and on the command line),
and whose ``init=False`` fields are its state. Strategies, gates and brokers are synchronous: they do no I/O, read no
clock and draw no random number; everything they know is passed to them. Providers and reporters are coroutines.

A class is offered by a hook (see `lab.plugins.hookspecs`), checked by a contract suite (see `lab.testing`), and created
once a run.
"""

from lab.domain.orders import Accepted as Accepted
from lab.domain.orders import Amended as Amended
from lab.domain.orders import Ended as Ended
from lab.domain.orders import Rejected as Rejected
from lab.domain.orders import Triggered as Triggered
from lab.engine.protocols import Action as Action
from lab.errors import AuthenticationFailed as AuthenticationFailed
from lab.errors import ProviderError as ProviderError
from lab.errors import ProviderUnavailable as ProviderUnavailable
from lab.errors import RateLimited as RateLimited
from lab.ports.broker import Broker as Broker
from lab.ports.component import Component as Component
from lab.ports.provider import Channel as Channel
from lab.ports.provider import Check as Check
from lab.ports.provider import Clock as Clock
from lab.ports.provider import FeedState as FeedState
from lab.ports.provider import PriceSource as PriceSource
from lab.ports.provider import Provider as Provider
from lab.ports.provider import Realm as Realm
from lab.ports.provider import Runtime as Runtime
from lab.ports.provider import Sink as Sink
from lab.ports.provider import Subscription as Subscription
from lab.ports.rehearsal import Evidence as Evidence
from lab.ports.rehearsal import Rehearsal as Rehearsal
from lab.ports.reporter import Holding as Holding
from lab.ports.reporter import Record as Record
from lab.ports.reporter import Reporter as Reporter
from lab.ports.reporter import RunInfo as RunInfo
from lab.ports.reporter import Status as Status
from lab.ports.risk_gate import RiskGate as RiskGate
from lab.ports.strategy import Strategy as Strategy
from lab.records.report import Header as Header
from lab.records.report import Report as Report

ComponentType = type[Provider] | type[Strategy] | type[RiskGate] | type[Broker] | type[Reporter]
