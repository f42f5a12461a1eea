"""Ways to break the library, each by name: which rule of delivery it breaks, and how to write it."""

from __future__ import annotations

from tests.mutation.of_commits import COMMITS
from tests.mutation.of_offsets import OFFSETS
from tests.mutation.of_stages import STAGES

MUTANTS = (*COMMITS, *OFFSETS, *STAGES)
