"""Where user code is run over many values, or several things in turn: what it raises is data from here on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from flowdsl.stages.switch import Switch


def guarded(
    switch: Switch, values: Sequence[Any], run: Callable[[Iterator[Any]], None], *, in_one_piece: bool = False
) -> Exception | None:
    """Run over the values and return what was raised. Ends early when the run is to end.

    ``in_one_piece``: also when time is short, and the clock is looked at before each value otherwise.
    """
    iterator: Any = iter(values)
    switch.running = iterator  # published before the look at the switch: see Switch.stop
    try:
        if switch.one_by_one and not in_one_piece:
            for value in values:
                if not switch.has_time():
                    break
                run(iter([value]))
        else:
            run(iterator)
    except Exception as error:  # noqa: BLE001  # user code: its failure is data from here on
        return error
    except BaseException as error:
        if switch.abandoned:
            raise
        switch.interrupted(error)
    finally:
        switch.running = None
    return None


def first_error(*steps: Callable[[], object]) -> BaseException | None:
    """Do all of these, whatever one of them raises; returns what was raised first."""
    first: BaseException | None = None
    for step in steps:
        try:
            step()
        except BaseException as error:  # noqa: BLE001  # returned; the others still have their turn
            first = first or error
    return first
