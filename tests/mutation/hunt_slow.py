"""As ``hunt``, over the flows of slow work."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path[:0] = [sys.argv[1], str(Path(__file__).resolve().parents[2])]

from tests.mutation.flows import CASES  # noqa: E402  # of the package that was just put first
from tests.mutation.hunt import hunt  # noqa: E402  # as above
from tests.mutation.slow_flows import SLOW_CASES  # noqa: E402  # as above

if __name__ == "__main__":
    CASES.clear()
    CASES.update(SLOW_CASES)
    sys.stdout.write(json.dumps(hunt(int(sys.argv[2]))))
