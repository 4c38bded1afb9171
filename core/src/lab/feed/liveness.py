"""Judges the silence of a connection and its channels. Pure; the caller passes the monotonic time in."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from attrs import define, field

from lab.feed.habits import Habits
from lab.feed.venue import ChannelKey
from lab.ports import FeedState

_GUESS_MOST_S: Final = 24.0
_QUICK_AGAIN_S: Final = 60.0


class Subscribe(NamedTuple):
    """Send one frame that asks for these channels."""

    channels: Sequence[ChannelKey]


class Ping(NamedTuple):
    """Send the dialect's ping."""


class Replace(NamedTuple):
    """Give this connection up."""

    reason: str


Action = Subscribe | Ping | Replace


@define
class Paces:
    """The pace of each channel on all sockets so far: a channel that seldom sends makes no socket count as dead.

    A socket that was replaced for one silent channel may not have been the cause. So the next one gives the channel
    longer, 24 s and then 48 s to 60 s, until a silence ends by itself: then that is how slow the channel is. After a
    minute in which it was quick it counts as quick again.
    """

    habits: Habits = field(factory=Habits)
    _slow_s: dict[ChannelKey, float] = field(init=False, factory=dict)
    _told: set[ChannelKey] = field(init=False, factory=set)

    def first_told(self, channel: ChannelKey) -> bool:
        """Note that the silence of an optional channel is to be told; return whether it was not yet."""
        new = channel not in self._told
        self._told.add(channel)
        return new

    def first_s(self, channel: ChannelKey) -> float:
        """Return how long a channel may take to send after its subscription."""
        return max(self.habits.first_data_s, self._slow_s.get(channel, 0.0))

    def degraded_s(self, channel: ChannelKey) -> float:
        """Return the silence after which a channel is subscribed again."""
        return max(self.habits.degraded_s, 1.5 * self._slow_s.get(channel, 0.0))

    def dead_s(self, channel: ChannelKey) -> float:
        """Return the silence after which the socket is replaced."""
        return max(self.habits.dead_s, 2.5 * self._slow_s.get(channel, 0.0))

    def gave_up(self, channel: ChannelKey) -> None:
        """Note that a socket was replaced because of this channel."""
        slow_s = self._slow_s.get(channel, 0.0)
        self._slow_s[channel] = max(slow_s, min(_GUESS_MOST_S, max(self.habits.dead_s, 2.0 * slow_s)))

    def spoke(self, channel: ChannelKey, silent_s: float, quick_s: float) -> None:
        """Note a silence that ended, and the time since the last noticeable one."""
        slow_s = self._slow_s.get(channel)
        if slow_s is None:
            return
        if quick_s >= _QUICK_AGAIN_S:
            del self._slow_s[channel]
        elif silent_s > slow_s:
            self._slow_s[channel] = silent_s


@define
class _Line:
    asked_at: float
    asked_again: bool = False
    heard_at: float | None = None
    quick_since: float = 0.0


@define
class _Quiet:
    """An optional channel: when it was asked for or heard last, and the silence it is allowed now."""

    since: float
    allowed_s: float

    @property
    def due(self) -> float:
        return self.since + self.allowed_s


@define
class ChannelMonitor:
    """One connection, from its opening to its end, by the `Habits` of ``paces``.

    connecting → (greeting, or ``hello_within_s`` without it) → subscribed → (each wanted channel spoke) → warm, live.
    Where none is wanted, live at once.
    Live → (a channel silent for ``degraded_s`` while others flow: asked for again) → degraded → live, or replaced at
    ``dead_s``; later where the channel is known to be slow.
    Any → (no frame for ``silent_s``: ping) → suspect → what it was, or replaced ``pong_within_s`` later.
    A channel that does not speak within ``first_data_s`` of subscribing is asked for once more, then the connection is
    replaced: data alone proves that a subscription was taken.
    A silent ``optional`` channel changes no state and replaces no connection: it may have nothing to say. It is told
    once, and asked for again after ``quiet_s``, twice that, and so on up to ``quiet_most_s``.

    `due` says what to do now, `next_due` when to ask again; ``changes`` collects the states entered.
    """

    wanted: Sequence[ChannelKey]
    opened_at: float
    paces: Paces = field(factory=Paces)
    optional: Sequence[ChannelKey] = ()
    state: FeedState = field(init=False, default=FeedState.CONNECTING)
    changes: list[tuple[FeedState, str]] = field(init=False, factory=list)
    _habits: Habits = field(init=False)
    _degraded_s: float = field(init=False)
    _frame_at: float = field(init=False)
    _ping_at: float = field(init=False)
    _doubted_at: float | None = field(init=False, default=None)
    _subscribed: bool = field(init=False, default=False)
    _lines: dict[ChannelKey, _Line] = field(init=False, factory=dict)
    _quiet: dict[ChannelKey, _Quiet] = field(init=False, factory=dict)
    _unheard: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self._habits = self.paces.habits
        self._degraded_s = self._habits.degraded_s
        self._frame_at = self.opened_at
        self._ping_at = self.opened_at + self._habits.ping_every_s

    def frame(self, now: float) -> None:
        """Note that any frame came."""
        self._frame_at = now
        if self._doubted_at is not None:
            self._doubted_at = None
            self._settle("the socket answered")

    def data(self, channel: ChannelKey, now: float) -> None:
        """Note usable data of a channel that was asked for."""
        line = self._lines.get(channel)
        if line is None:
            quiet = self._quiet.get(channel)
            if quiet is not None:
                quiet.since, quiet.allowed_s = now, self._habits.quiet_s
            return
        before, again = line.heard_at, line.asked_again
        if before == now and not again:
            return  # one read brought several
        line.heard_at = now
        line.asked_again = False
        if before is None or now - before > self._degraded_s:
            line.quick_since = now
        if before is not None:
            self.paces.spoke(channel, now - before, now - line.quick_since)
        if before is None:
            self._unheard -= 1
            if not self._unheard:
                self._enter(FeedState.WARM, f"all {len(self._lines)} channels spoke")
                self._enter(FeedState.LIVE, "")
        elif again:
            self._settle(f"{_name(channel)} flows again")

    def hello(self, now: float) -> Sequence[Action]:
        """Note the venue's greeting: time to subscribe."""
        return self._subscribe(now) if self._awaits_subscription() else ()

    def due(self, now: float) -> list[Action]:
        """Return what is to be done now, in this order."""
        actions: list[Action] = []
        if self._awaits_subscription() and now >= self.opened_at + self._habits.hello_within_s:
            actions.extend(self._subscribe(now))
        if self._doubted_at is not None and now >= self._doubted_at + self._habits.pong_within_s:
            return [Replace(f"no frame for {now - self._frame_at:.1f} s, ping unanswered")]
        if self._doubted_at is None and now >= self._frame_at + self._habits.silent_s:
            self._doubted_at = now
            self._enter(FeedState.SUSPECT, f"no frame for {now - self._frame_at:.1f} s")
            self._ping_at = now
        if now >= self._ping_at:
            self._ping_at = now + self._habits.ping_every_s
            actions.append(Ping())
        if self._doubted_at is None:
            actions.extend(self._silent_channels(now))
            actions.extend(self._quiet_channels(now))
        return actions

    def next_due(self) -> float:
        """Return when `due` next has something to do, if no frame comes before."""
        times = [self._ping_at]
        if self._doubted_at is not None:
            times.append(self._doubted_at + self._habits.pong_within_s)
        else:
            times.append(self._frame_at + self._habits.silent_s)
            times.extend(self._limit(channel, line) for channel, line in self._lines.items())
            times.extend(quiet.due for quiet in self._quiet.values())
        if self._awaits_subscription():
            times.append(self.opened_at + self._habits.hello_within_s)
        return min(times)

    def _awaits_subscription(self) -> bool:
        return not self._subscribed and bool(self.wanted or self.optional)

    def _subscribe(self, now: float) -> Sequence[Action]:
        self._subscribed = True
        frames, sent_at = self._ask((*self.wanted, *self.optional), now)
        self._lines = {channel: _Line(sent_at[channel]) for channel in self.wanted}
        self._quiet = {channel: _Quiet(sent_at[channel], self._habits.quiet_s) for channel in self.optional}
        self._unheard = len(self._lines)
        self._enter(FeedState.SUBSCRIBED, f"{len(self._lines) + len(self._quiet)} channels asked for")
        if not self._unheard:
            self._enter(FeedState.LIVE, "")
        return frames

    def _ask(self, channels: Sequence[ChannelKey], now: float) -> tuple[Sequence[Action], dict[ChannelKey, float]]:
        """Return the frames that ask for channels, and when each is sent: a venue may limit the channels of a frame."""
        most = self._habits.channels_per_frame or len(channels)
        parts = [channels[first : first + most] for first in range(0, len(channels), most)]
        every_s = self._habits.frame_every_s
        sent_at = {channel: now + place * every_s for place, part in enumerate(parts) for channel in part}
        return tuple(Subscribe(tuple(part)) for part in parts), sent_at

    def _limit(self, channel: ChannelKey, line: _Line) -> float:
        if line.heard_at is None:
            return line.asked_at + self.paces.first_s(channel)
        allowed_s = self.paces.dead_s if line.asked_again else self.paces.degraded_s
        return line.heard_at + allowed_s(channel)

    def _silent_channels(self, now: float) -> Sequence[Action]:
        again: list[ChannelKey] = []
        for channel, line in self._lines.items():
            if now < self._limit(channel, line):
                continue
            if line.asked_again:
                self.paces.gave_up(channel)
                silent_s = now - (line.asked_at if line.heard_at is None else line.heard_at)
                return [Replace(f"{_name(channel)} silent for {silent_s:.1f} s, also after it was asked for again")]
            line.asked_again = True
            again.append(channel)
        if not again:
            return []
        frames, sent_at = self._ask(again, now)
        for channel in again:
            self._lines[channel].asked_at = sent_at[channel]
        names = ", ".join(_name(channel) for channel in again)
        state = self.state if self._unheard else FeedState.DEGRADED
        self._enter(state, f"{names} silent: asked for once more")
        return frames

    def _quiet_channels(self, now: float) -> Sequence[Action]:
        again = [channel for channel, quiet in self._quiet.items() if now >= quiet.due]
        for channel in again:
            quiet = self._quiet[channel]
            if self.paces.first_told(channel):
                self._enter(self.state, f"{_name(channel)} silent for {quiet.allowed_s:g} s: the run goes on without")
            quiet.since, quiet.allowed_s = now, min(self._habits.quiet_most_s, 2.0 * quiet.allowed_s)
        return self._ask(again, now)[0] if again else []

    def _settle(self, detail: str) -> None:
        if not self._subscribed:
            self._enter(FeedState.CONNECTING, detail)
        elif self._unheard:
            self._enter(FeedState.SUBSCRIBED, detail)
        elif any(line.asked_again for line in self._lines.values()):
            self._enter(FeedState.DEGRADED, detail)
        else:
            self._enter(FeedState.LIVE, detail)

    def _enter(self, state: FeedState, detail: str) -> None:
        self.state = state
        self.changes.append((state, detail))


def _name(channel: ChannelKey) -> str:
    return f"{channel[0]} {channel[1]}"
