"""What everything compiles to: the interface of strategies, and the base of all that have a successor."""
