"""The embedded broker: topics, groups and rebalancing in memory, for notebooks, tests and simulations."""
