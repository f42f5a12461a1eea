"""Tools for the tests of flows: a driver in virtual time."""

from flowdsl.testing.driver import Driver
from flowdsl.testing.virtual import VirtualClock

__all__ = ["Driver", "VirtualClock"]
