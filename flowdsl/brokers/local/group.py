"""One consumer group: members, who owns which partition, and committed offsets. Pure logic; time comes from a clock.

The rule: a partition has one owner at most. It gets a new one only after the old one released it, left, or was expelled
for not having been heard of. Members learn what to do from ``heartbeat``, one order at a time.

One lock guards each group. It is held for one method at a time, and under it only the storage's lock (``births``) and
the waiter's counter are touched, neither of which ever waits for a group: so there is no cycle. Listeners are called by
consumers, outside of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from threading import RLock

from msgspec import Struct

from flowdsl.brokers.local.deal import deal
from flowdsl.clock import Clock
from flowdsl.errors import BrokerError, Fenced
from flowdsl.types import Partition

Partitions = frozenset[Partition]


class Member(Struct, eq=False):
    """``generation``: the last eager rebalance it arrived at. ``settled``: the version of the group it has no order from."""

    wanted: Partitions
    poll_interval: float
    seen: float
    generation: int = -1
    settled: int = -1


class Order(Struct, frozen=True):
    """What a member has to do: give these up, then ``release`` them; or begin with those. Neither: go on reading."""

    revoke: Partitions = frozenset()
    assign: Partitions = frozenset()


GO_ON = Order()


class Group:
    """The state of one group. ``notify`` is called whenever another member may have something to do."""

    def __init__(
        self, name: str, clock: Clock, notify: Callable[[], None], *, accepts_stale_commits: bool = False
    ) -> None:
        self.name, self.clock, self.notify = name, clock, notify
        self.accepts_stale_commits = accepts_stale_commits
        self.members: dict[int, Member] = {}
        self.owners: dict[Partition, int] = {}
        self.generation = 0
        self._eager = False
        self._target: dict[Partition, int] = {}
        self._committed: dict[Partition, int] = {}
        self._began: dict[str, int] = {}
        self._last_id = 0
        self._version = 0
        self._lock = RLock()

    # -- membership -----------------------------------------------------------------------------------------------

    def new_id(self) -> int:
        """For a member to join with: it knows it before, and can leave even if it was interrupted while it joined."""
        with self._lock:
            self._last_id += 1
            return self._last_id

    def join(self, member_id: int, wanted: Partitions, poll_interval: float, *, eager: bool) -> None:
        """Raises BrokerError when the members that are there rebalance by the other protocol."""
        with self._lock:
            self._expel_silent()
            if self.members and eager != self._eager:
                names = {True: "eager", False: "cooperative"}
                msg = (
                    f"group {self.name!r} rebalances by the {names[self._eager]} protocol, and a new member asks for the "
                    f"{names[eager]} one: give all members the same partition.assignment.strategy"
                )
                raise BrokerError(msg)
            self._eager = eager
            self.members[member_id] = Member(wanted, poll_interval, self.clock())
            self._rebalance()

    def heartbeat(self, member_id: int, wanted: Partitions) -> Order | None:
        """The next order for a member that reads; None for one that was expelled and has to join again."""
        with self._lock:
            self._expel_silent()
            member = self.members.get(member_id)
            if member is None:
                return None
            member.seen = self.clock()
            if member.wanted != wanted:
                member.wanted = wanted
                self._rebalance()
            if member.settled == self._version:
                return GO_ON
            order = self._order(member_id, member)
            if order is GO_ON:
                member.settled = self._version
            return order

    def has_all(self, member_id: int) -> bool:
        """Whether the member has everything that it will get as the group is now, which may be nothing."""
        with self._lock:
            if self._eager and any(member.generation != self.generation for member in self.members.values()):
                return False
            mine = (partition for partition, owner in self._target.items() if owner == member_id)
            return all(self.owners.get(partition) == member_id for partition in mine)

    def release(self, member_id: int, partitions: Collection[Partition]) -> None:
        """The member is through with these; commits for them are not its business any more."""
        with self._lock:
            for partition in partitions:
                if self.owners.get(partition) == member_id:
                    del self.owners[partition]
            if member_id in self.members:
                self.members[member_id].seen = self.clock()
            self._changed()

    def leave(self, member_id: int) -> None:
        """The member goes; what it owns is free."""
        with self._lock:
            self._drop([member_id])

    # -- offsets --------------------------------------------------------------------------------------------------

    def commit(self, member_id: int, offsets: Mapping[Partition, int]) -> BrokerError | None:
        """Store next offsets, or say why not: only owners commit, unless stale commits are accepted."""
        with self._lock:
            self._expel_silent()
            if not self.accepts_stale_commits:
                if member_id not in self.members:
                    return Fenced(
                        f"this member was expelled from group {self.name!r}, since it did not read for longer than its "
                        "max.poll.interval.ms: others have its partitions, and its commit was refused"
                    )
                foreign = sorted(partition for partition in offsets if self.owners.get(partition) != member_id)
                if foreign:
                    return Fenced(f"{foreign[0]} is not assigned to this member of group {self.name!r}: commit refused")
            self._committed.update(offsets)
            return None

    def begin(self, offsets: Mapping[Partition, int]) -> None:
        """Store where the group begins, for partitions that have no offset yet."""
        with self._lock:
            self._committed = {**offsets, **self._committed}

    def committed(self) -> dict[Partition, int]:
        with self._lock:
            return dict(sorted(self._committed.items()))

    def began(self, what: str, births: int) -> int:
        """How many partitions there had ever been when the group first subscribed to a topic, or a pattern."""
        with self._lock:
            return self._began.setdefault(what, births)

    def forget(self, topic: str) -> None:
        """The topic was deleted: so are its offsets."""
        with self._lock:
            self._committed = {at: offset for at, offset in self._committed.items() if at.topic.name != topic}
            self._began.pop(topic, None)

    # -- rebalancing ----------------------------------------------------------------------------------------------

    def _order(self, member_id: int, member: Member) -> Order:
        held = frozenset(partition for partition, owner in self.owners.items() if owner == member_id)
        if self._eager and not self._has_arrived(member, held):
            return Order(revoke=held) if held else GO_ON
        mine = frozenset(partition for partition, owner in self._target.items() if owner == member_id)
        if not held <= mine:
            return Order(revoke=held - mine)
        free = mine - self.owners.keys()
        if not free:
            return GO_ON
        self.owners.update(dict.fromkeys(free, member_id))
        return Order(assign=free)

    def _has_arrived(self, member: Member, held: Partitions) -> bool:
        """The barrier of the eager protocol: nobody gets anything until everybody has given up everything."""
        if member.generation != self.generation:
            if held:
                return False
            member.generation = self.generation
            self._open_barrier()
        return all(other.generation == self.generation for other in self.members.values())

    def _open_barrier(self) -> None:
        if all(member.generation == self.generation for member in self.members.values()):
            self._target = deal(self._wants(), self._target)
            self._changed()

    def _rebalance(self) -> None:
        self.generation += 1
        if not self._eager:
            self._target = deal(self._wants(), {**self._target, **self.owners})
        self._changed()

    def _wants(self) -> dict[int, Partitions]:
        return {member_id: member.wanted for member_id, member in self.members.items()}

    def _expel_silent(self) -> None:
        now = self.clock()
        self._drop([key for key, member in self.members.items() if now - member.seen > member.poll_interval])

    def _drop(self, member_ids: Iterable[int]) -> None:
        gone = self.members.keys() & set(member_ids)
        if gone:  # who is interrupted here tries again, and must find those who own something among the members
            self.owners = {partition: owner for partition, owner in self.owners.items() if owner not in gone}
            self.members = {member_id: member for member_id, member in self.members.items() if member_id not in gone}
            self._rebalance()

    def _changed(self) -> None:
        self._version += 1
        self.notify()
