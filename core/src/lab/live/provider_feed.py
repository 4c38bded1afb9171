"""The provider's stream in a live session: its end is the end of the data, its failure the end of the run."""

from collections.abc import Callable
from decimal import Context, setcontext

from lab.composition.assembly import Assembly
from lab.composition.subscription import run_subscriptions
from lab.errors import AuthenticationFailed
from lab.exit_codes import EndReason
from lab.live.inbox import Inbox
from lab.live.provider_calls import is_cancellation, provider_failure
from lab.ports import Realm
from lab.runs.failures import FailureLog


class ProviderFeed:
    """Runs one provider's stream into the inbox, and makes whatever the provider raises its own failure.

    ``stop`` asks the session for an orderly end, ``failed`` for one that a failure causes; both take reason and text.
    """

    def __init__(
        self,
        assembly: Assembly,
        inbox: Inbox,
        failures: FailureLog,
        *,
        stop: Callable[[EndReason, str], None],
        failed: Callable[[EndReason, str], None],
    ) -> None:
        self.history_failures = 0
        """How often fetching history raised what it must not raise; the run goes on without that history."""
        self._name = assembly.provider.name
        self._provider = assembly.provider.component
        self._realm = assembly.declared.realm
        self._settings = assembly.settings
        self._inbox = inbox
        self._failures = failures
        self._stop = stop
        self._failed = failed

    async def stream(self) -> None:
        """Run the stream until it ends, fails or is cancelled."""
        setcontext(Context())  # a task shares its starter's, in which the strategies compute
        provider, run = self._provider, self._settings
        try:
            wanted = run_subscriptions(self._name, provider, run.symbols, run.interval_ns)
            await provider.stream(wanted, self._inbox)
        except BaseException as error:
            if is_cancellation(error):
                raise
            self.failed("stream", error)
            return
        self._inbox.end()
        if self._realm is Realm.REAL:
            text = f"provider {self._name}: its stream returned; a real venue's data has no end"
            self._failed(EndReason.PLUGIN, text)
        else:
            self._stop(EndReason.COMPLETED, "the data ended")

    def failed(self, call: str, error: BaseException) -> None:
        """End the run in order because of what the provider raised, in a call or in one of its tasks."""
        self._failed(EndReason.PLUGIN, provider_failure(self._failures, self._name, call, error))

    def history_failed(self, error: BaseException) -> None:
        """Count and keep what fetching history raised. Where the provider does not accept us, the run ends."""
        if issubclass(type(error), AuthenticationFailed):
            self.failed("history", error)
            return
        self.history_failures += 1
        self._failures.note("provider", self._name, "history", error)
