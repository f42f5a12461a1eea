"""How a world comes to rest: once nothing goes wrong any more, everything must be delivered and committed."""

from __future__ import annotations

from collections.abc import Mapping

from flowdsl.errors import StepFailed
from flowdsl.stages.context import StepCount
from flowdsl.testing.simulation.member import Member
from flowdsl.testing.simulation.world import GROUP, World
from flowdsl.types import Partition

MOST_ROUNDS = 6_000
QUIET_SECONDS = 1.5
"""Without any event for so long, beyond what the flow itself waits, the world is at rest."""
LONG_TURN = 0.5
"""Seconds that one turn of one member may take, and the others go on as if nothing had happened."""
MOST_BUSY_TURNS = 12
IDLE_TURNS = 6
"""Turns that bring nothing, in a row, after which a faultless run is at its end."""


def live(world: World) -> None:
    """Live through it all. Raises Violation."""
    world.run()
    world.calm_down()
    _come_to_rest(world)
    for member in list(world.alive):
        world.stop_if_alive(member)
        _until_quiet(world)
    _come_and_go(world)
    world.topics.end()
    _come_to_rest(world)
    for member in list(world.alive):
        _stop_in_peace(world, member)
        _until_quiet(world)
    world.oracle.at_end()
    world.oracle.raise_violation()
    _check_committed(world)


def _come_and_go(world: World) -> None:
    """Members come and go while there is work under way. Nothing goes wrong, so nobody leaves anything undone."""
    world.join()
    world.join()
    _until_quiet(world)
    world.topics.write(world.topics.left // 2)
    if _is_busy(world):
        _stop_in_peace(world, world.dice.random.choice(world.alive))
        world.join()
    world.topics.write(world.topics.left // 2)
    if _is_busy(world):
        world.join()
        _come_to_rest(world)


def _is_busy(world: World) -> bool:
    """Whether anybody is left, after a few turns of work."""
    for _ in range(world.dice.random.randint(1, MOST_BUSY_TURNS)):
        if world.alive:
            world.one_turn()
    return bool(world.alive)


def _come_to_rest(world: World) -> None:
    """All that was written is delivered in time, and committed, unless the flow or its policy holds something back."""
    _until_quiet(world)
    if not (world.alive and world.scene.lets_go):
        return
    held = world.oracle.missing()
    if held is None and world.dice.weather.commit_seconds is not None:
        held = _uncommitted(world, {p: at for member in world.alive for p, at in member.consumer.arrived.items()})
    held = held or next(filter(None, (_lagging(world, member) for member in world.alive)), None)
    if held is not None:
        world.oracle.broken("converges", f"the members are at rest, but {held}")
        world.oracle.raise_violation()


def live_alone(world: World) -> Mapping[str, StepCount]:
    """One member, no mischief: what the flow does by itself. Returns what its steps counted; raises what it raises."""
    world.topics.write()
    world.join()
    member = world.alive[0]
    idle = 0
    while member.is_alive and idle < IDLE_TURNS:
        before = member.loop.feeder.taken
        _turn_alone(world, member)
        waits = not member.loop.feeder.is_empty or member.loop.feeder.taken > before or member.has_plans
        idle = 0 if waits else idle + 1
    if member.is_alive:
        member.stop()
    if isinstance(member.error, StepFailed):
        raise member.error
    if member.error is not None:
        world.oracle.broken("raised", f"{member.error!r} ended a run in which nothing goes wrong", member.error)
    world.oracle.raise_violation()
    return member.counts


def _turn_alone(world: World, member: Member) -> None:
    world.clock.sleeps = 0
    world.clock.advance(max(0.0, member.wake - world.clock()))
    member.consumer.arrive()
    member.turn()


def _until_quiet(world: World) -> None:
    """Until nothing has happened for a while, and nobody has had anything for which it is worth waiting longer."""
    world.last_event = busy = world.clock()
    for _ in range(MOST_ROUNDS):
        if not world.alive and world.ended_by_itself and _uncommitted(world) is not None:
            world.join()
        now = world.clock()
        if any(member.has_work for member in world.alive):
            busy = now
        quiet = now - world.last_event
        if not world.alive or min(quiet, now - busy) > QUIET_SECONDS or quiet > QUIET_SECONDS + world.scene.patience:
            return
        world.one_turn()
        if world.clock() - now > LONG_TURN:
            busy = world.clock()  # the others had no turn meanwhile, and may even be taken for dead
    world.oracle.broken("converges", f"the members do not come to rest within {MOST_ROUNDS} turns")
    world.oracle.raise_violation()


def _stop_in_peace(world: World, member: Member) -> None:
    """With time enough a member leaves nothing that it took undone."""
    stopped = world.all_done(member, member.loop.membership.partitions)
    if world.stop_if_alive(member):
        stopped()
        world.oracle.raise_violation()


def _lagging(world: World, member: Member) -> str | None:
    """What a member at rest did not commit, although its policy wants that of so many records."""
    consumer, most = member.consumer, world.dice.weather.commit_messages
    count = sum(world.oracle.written(p, consumer.arrived[p], at) for p, at in consumer.positions.items())
    if most is None or count < most:
        return None
    return f"member {member.number} did not commit {count} records, where it commits every {most}"


def _check_committed(world: World) -> None:
    told = _uncommitted(world)
    if told is not None:
        world.oracle.broken("converges", told)
        world.oracle.raise_violation()


def _uncommitted(world: World, arrived: Mapping[Partition, int] | None = None) -> str | None:
    """What is not committed. ``arrived``: what was, by those who are there, whatever became of it."""
    committed = world.client.committed(GROUP)
    for partition, at in (arrived or {}).items():
        committed[partition] = max(at, committed.get(partition, 0))
    for partition, end in sorted(world.topics.ends.items()):
        if committed.get(partition, 0) < end and world.oracle.logs.get(partition):
            return f"{partition} is committed at {committed.get(partition, 0)} in the end, and the log ends at {end}"
    return None
