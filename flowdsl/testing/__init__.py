"""Tools for the tests of flows: a driver in virtual time, and a simulation of everything that can go wrong."""

from flowdsl.testing.driver import Driver
from flowdsl.testing.simulation.failed import Report, SimulationFailed
from flowdsl.testing.simulation.oracle import ALL_CHECKS
from flowdsl.testing.simulation.simulate import simulate
from flowdsl.testing.virtual import VirtualClock

__all__ = ["ALL_CHECKS", "Driver", "Report", "SimulationFailed", "VirtualClock", "simulate"]
