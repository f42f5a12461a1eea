"""A flow on a simulated broker: members crash, join and leave, and everything that can go wrong does, in virtual time."""
