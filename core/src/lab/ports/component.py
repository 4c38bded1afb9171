"""The base of every component: settings as init fields, state beside them."""


class Component:
    """Base of every component, an attrs class: init fields are its settings, ``init=False`` fields its state.

    A component decides from its settings and from what it is given, in that order, and from nothing else: a run is
    recovered and verified by giving the recorded inputs to a new component with the same settings.
    """
