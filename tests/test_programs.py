"""Whole programs, as users write them: each runs as it stands, on the embedded broker."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any

import nbformat
import pytest

from flowdsl import (
    JSON,
    ClosedFlow,
    Flow,
    LocalBroker,
    Partition,
    RunHandle,
    Stats,
    StepFailed,
    Topic,
    batch,
    broadcast,
    filter_,
    from_iterable,
    map_,
    route,
    sink,
    through,
    to_list,
)
from flowdsl.clock import SYSTEM_CLOCK, Deadline
from flowdsl.strategies import Commit, CommitOffsets, ProcessingStrategyFactory, RunTask
from tests.kernels import execute, runs_kernels

PATIENCE = 60.0
"""Seconds that anything may take on a machine that is busy."""

ORDERS: list[dict[str, Any]] = [
    {"id": "a", "paid": True, "country": "DE"},
    {"id": "b", "paid": False, "country": "FR"},
    {"id": "c", "paid": True, "country": "IT"},
]


@pytest.fixture
def broker() -> Iterator[LocalBroker]:
    with LocalBroker() as made:
        yield made


def wait_until(reached: Callable[[], bool]) -> None:
    deadline = Deadline.after(SYSTEM_CLOCK, PATIENCE)
    while not reached():
        assert not deadline.expired, "it never came to that"
        deadline.pause(0.01)


# -- a service ------------------------------------------------------------------------------------------------------------

SERVICE = """
    import json, os, signal, sys, threading, time
    from flowdsl import LocalBroker, batch, filter_, map_, sink

    kafka = LocalBroker()
    kafka.write("orders", [json.dumps({{"id": n, "paid": n % 2 == 0}}) for n in range(1200)])
    inserted = []

    def insert_rows(rows: list[dict[str, object]]) -> None:
        inserted.append([row["id"] for row in rows])

    flow = (
        kafka.source("orders", group_id="billing")
        | map_(json.loads)
        | filter_(lambda order: order["paid"])
        | batch(500, within=30.0)
        | sink(insert_rows)
    )

    def end_it():
        while not kafka.committed("billing") or not inserted:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.{name})

    threading.Thread(target=end_it, daemon=True).start()

    if __name__ == "__main__":
        flow.run()
        with open(sys.argv[1], "w") as told:
            json.dump([inserted, sum(kafka.committed("billing").values())], told)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_service_runs_until_a_signal_then_drains_commits_and_leaves(name: str, tmp_path: Path) -> None:
    script, told = tmp_path / "service.py", tmp_path / "told.json"
    script.write_text(dedent(SERVICE.format(name=name)))
    done = subprocess.run([sys.executable, script, told], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    inserted, committed = json.loads(told.read_text())
    assert len(inserted[0]) == 500
    assert [row for rows in inserted for row in rows] == list(range(0, committed, 2))


# -- a newcomer -----------------------------------------------------------------------------------------------------------

NEWCOMER = """
    from flowdsl import JSON, LocalBroker, filter_, map_, to_list

    broker = LocalBroker()
    broker.write("orders", [{"id": 1, "paid": True}, {"id": 2, "paid": False}], encode=JSON)
    ids = broker.source("orders", group_id="demo", decode=JSON) | filter_(lambda o: o["paid"]) | map_(lambda o: o["id"]) | to_list()
    assert ids.run(until="end") == [1]
    assert sum(broker.committed("demo").values()) == 2
"""


def test_newcomer_needs_nothing_but_the_package() -> None:
    exec(dedent(NEWCOMER), {"__name__": "__main__"})  # noqa: S102  # the program above


# -- fragments, branches, several topics ------------------------------------------------------------------------------------


def parse(raw: bytes) -> dict[str, Any]:
    order: dict[str, Any] = json.loads(raw)
    return order


def valid(order: dict[str, Any]) -> bool:
    return "id" in order


def suspicious(order: dict[str, Any]) -> bool:
    return not order["paid"]


def test_fragments_branches_and_several_topics(broker: LocalBroker) -> None:
    archived: list[list[dict[str, Any]]] = []
    broker.write("web", [*ORDERS, {"nothing": 0}], encode=JSON)
    broker.write("app", [{"id": "d", "paid": False, "country": "DE"}], encode=JSON)

    clean = map_(parse) | filter_(valid)
    alerts = filter_(suspicious) | broker.sink("alerts", key=lambda o: o["id"], encode=JSON)
    archive = batch(1000, within=5.0) | sink(archived.append)
    flow = broker.source(["web", "app"], group_id="g") | clean | broadcast(alerts, archive)

    stats = flow.run(until="end")
    assert [record.key for record in broker.read("alerts")] == [b"b", b"d"]
    assert [order["id"] for order in archived[0]] == ["a", "b", "c", "d"]
    assert broker.committed("g") == {Partition(Topic("app"), 0): 1, Partition(Topic("web"), 0): 4}
    assert (stats.read, stats.filtered, stats.delivered, stats.failed) == (5, 3, 3, 0)  # a list is one value


def test_fragments_are_used_as_often_as_one_likes(broker: LocalBroker) -> None:
    broker.write("web", ORDERS, encode=JSON)
    clean = map_(parse) | filter_(valid)
    for group in ("one", "two"):
        orders = (broker.source("web", group_id=group) | clean | to_list()).run(until="end")
        assert orders == ORDERS


def test_route_hands_each_order_to_its_country(broker: LocalBroker) -> None:
    got: dict[str, list[str]] = {"german": [], "french": [], "elsewhere": []}

    def into(name: str) -> Any:
        return sink(lambda o: got[name].append(o["id"]))

    broker.write("orders", ORDERS, encode=JSON)
    source = broker.source("orders", group_id="g", decode=JSON)
    german, french, elsewhere = into("german"), into("french"), into("elsewhere")
    flow = source | route(lambda o: o["country"], {"DE": german, "FR": french}, default=elsewhere)
    assert isinstance(flow, ClosedFlow)
    flow.run(until="end")
    assert got == {"german": ["a"], "french": ["b"], "elsewhere": ["c"]}
    assert sum(broker.committed("g").values()) == 3


# -- an operator of one's own -----------------------------------------------------------------------------------------------


def parsed(flow: Flow[bytes]) -> Flow[dict[str, Any]]:
    return flow | map_(parse) | filter_(valid)


def test_function_from_a_flow_to_a_flow_is_an_operator(broker: LocalBroker) -> None:
    stored: list[Sequence[dict[str, Any]]] = []
    broker.write("orders", ORDERS, encode=JSON)
    flow = broker.source("orders", group_id="g") | parsed | batch(100) | sink(stored.append)
    flow.run(until="end")
    assert stored == [ORDERS]


# -- beside other code ------------------------------------------------------------------------------------------------------


def counting(broker: LocalBroker) -> RunHandle[Stats]:
    broker.write("orders", ORDERS, encode=JSON)
    handle = (broker.source("orders", group_id="g", decode=JSON) | sink(lambda _: None)).start()
    wait_until(lambda: sum(handle.stats.committed.values()) == 3)
    return handle


def test_handle_tells_what_happened_and_stops(broker: LocalBroker) -> None:
    handle = counting(broker)
    assert (handle.stats.read, handle.stats.delivered) == (3, 3)
    assert handle.stats.committed == {Partition(Topic("orders"), 0): 3}
    assert handle.running
    stats = handle.stop(timeout=PATIENCE)
    assert (stats.read, stats.delivered) == (3, 3)
    assert not handle.running


def test_handle_raises_what_the_flow_raised(broker: LocalBroker) -> None:
    broker.write("orders", ["no JSON"])
    handle = (broker.source("orders", group_id="g", decode=JSON) | sink(print)).start()
    with pytest.raises(StepFailed):
        handle.result(timeout=PATIENCE)
    with pytest.raises(StepFailed):
        handle.stop(timeout=PATIENCE)


def test_handle_works_inside_a_running_event_loop(broker: LocalBroker) -> None:
    async def main() -> tuple[Stats, list[int]]:
        handle = counting(broker)
        handle.stop(timeout=PATIENCE)
        async with (from_iterable([1, 2]) | to_list()).start() as other:
            return await handle, await other

    stats, values = asyncio.run(main())
    assert (stats.read, values) == (3, [1, 2])


NOTEBOOK = """
    from flowdsl import LocalBroker, StepFailed, map_, sink
    broker = LocalBroker()
    broker.write("orders", ["1", "2", "x"])
    def number(raw):
        return int(raw)
    # --
    handle = (broker.source("orders", group_id="g") | map_(number) | sink(print)).start()
    try:
        await handle
    except StepFailed as error:
        failed = error
    # --
    assert handle.stats.delivered == 2
    assert (failed.step, failed.offset, failed.value) == ("number", 2, b"x")
    assert (failed.file, failed.line) == ("Cell In[1]", 4)
    assert sum(broker.committed("g").values()) == 2
    (broker.source("orders") | map_(number)).preview()
"""


@pytest.mark.slow
@runs_kernels
def test_handle_works_in_a_notebook(tmp_path: Path) -> None:
    cells = dedent(NOTEBOOK).strip().split("# --\n")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    execute(notebook, tmp_path)
    (shown,) = notebook.cells[-1].outputs
    assert "ValueError" in shown.data["text/html"]


# -- strategies written by hand -----------------------------------------------------------------------------------------------

BY_HAND = """
    from flowdsl import Topic, sink, through
    from flowdsl.processing import ONCE_PER_SECOND, StreamProcessor
    from flowdsl.strategies import CommitOffsets, KafkaPayload, ProcessingStrategyFactory, RunTask

    class Factory(ProcessingStrategyFactory[KafkaPayload]):
        def create_with_partitions(self, commit, partitions):
            return RunTask(lambda message: print(message.payload.value), CommitOffsets(commit))

    StreamProcessor(consumer=broker.consumer(group_id="g"), topic=Topic("orders"), processor_factory=Factory(), commit_policy=ONCE_PER_SECOND).run()
"""


def test_strategies_written_by_hand_run_as_they_are(broker: LocalBroker) -> None:
    """The program never ends by itself; a Ctrl-C comes while it prints the last record."""
    seen: list[bytes] = []

    def noting(value: bytes) -> None:
        seen.append(value)
        if value == b"last":
            raise KeyboardInterrupt

    broker.write("orders", ["first", "second", "last"])
    with pytest.raises(KeyboardInterrupt):
        exec(dedent(BY_HAND), {"__name__": "__main__", "broker": broker, "print": noting})  # noqa: S102  # the program above
    assert seen == [b"first", b"second", b"last"]
    assert broker.committed("g") == {Partition(Topic("orders"), 0): 2}


class Factory(ProcessingStrategyFactory[bytes]):
    """Prints what passes, and commits."""

    def __init__(self, seen: list[bytes]) -> None:
        self._seen = seen

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int]
    ) -> RunTask[bytes, None]:  # as the interface has it
        return RunTask(lambda message: self._seen.append(message.payload), CommitOffsets(commit))


def test_such_a_factory_ends_a_flow(broker: LocalBroker) -> None:
    seen: list[bytes] = []
    broker.write("orders", ["first", "second"])
    (broker.source("orders", group_id="g") | through(Factory(seen))).run(until="end")
    assert (seen, sum(broker.committed("g").values())) == ([b"first", b"second"], 2)


# -- the data that went wrong -------------------------------------------------------------------------------------------------

SHOP = """
    import json

    def parse(raw):
        return json.loads(raw)["id"]
"""


def test_error_names_the_step_the_function_and_the_record(broker: LocalBroker, tmp_path: Path) -> None:
    file = tmp_path / "shop.py"
    file.write_text(dedent(SHOP))
    shop: dict[str, Any] = {"__name__": "shop"}
    exec(compile(file.read_text(), str(file), "exec"), shop)  # noqa: S102  # the module above
    broker.write("orders", [*[f'{{"id": {n}}}' for n in range(137)], '{"nothing": 0}'])

    flow = broker.source("orders", group_id="g") | map_(bytes.decode) | map_(shop["parse"]) | sink(lambda _: None)
    with pytest.raises(StepFailed) as raised:
        flow.run()
    failed = raised.value
    assert (failed.step, failed.function, failed.file, failed.line) == ("parse", "shop.parse", str(file), 4)
    assert (failed.topic, failed.partition, failed.offset) == ("orders", 0, 137)
    assert (failed.value, failed.input) == (b'{"nothing": 0}', '{"nothing": 0}')
    assert isinstance(failed.__cause__, KeyError)
    assert (failed.count, failed.attempts) == (1, 1)
    told = str(failed)
    for part in ("parse", "shop.parse", f"{file}:4", "orders[0]", "137", "KeyError", "nothing"):
        assert part in told
    assert sum(broker.committed("g").values()) == 137
