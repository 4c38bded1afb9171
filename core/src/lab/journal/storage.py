"""What a session writes with. A simulated session gets a disk that fails."""

from collections.abc import Callable

from attrs import frozen

from lab.journal.reserve import Reserve
from lab.journal.store import Journal
from lab.journal.tape import TapeWriter


@frozen
class Storage:
    """The classes of a session's journal, tape and reserve, or what makes objects of them."""

    journal: Callable[..., Journal] = Journal
    tape: Callable[..., TapeWriter] = TapeWriter
    reserve: Callable[..., Reserve] = Reserve
