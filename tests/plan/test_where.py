"""Where the user wrote something."""

import subprocess
import sys

from flowdsl import batch, from_iterable, map_
from flowdsl.plan.where import Where, here

CELL = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell("1 + 1", store_history=True)
shell.run_cell("from flowdsl import map_\\n\\nplace = map_(str).where", store_history=True)
print(shell.user_ns["place"])
shell.history_manager.end_session()
"""


def test_here_is_the_line_that_called() -> None:
    place = here()
    assert place == Where(__file__, place.line)
    assert place.line == test_here_is_the_line_that_called.__code__.co_firstlineno + 1


def test_a_step_knows_the_line_of_its_constructor() -> None:
    first = batch(2).where
    second = batch(2).where
    assert first.file == __file__
    assert second.line == first.line + 1


def test_a_source_knows_its_line_too() -> None:
    assert from_iterable([1]).plan.source.where == Where(__file__, here().line)


def test_where_is_no_part_of_equality() -> None:
    one = map_(str)
    other = map_(str)
    assert one.where != other.where
    assert one == other
    assert hash(one) == hash(other)


def test_in_a_notebook_the_file_is_the_cell() -> None:
    done = subprocess.run([sys.executable, "-c", CELL], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "Cell In[2]:3"
