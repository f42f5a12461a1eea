"""The tests of flowdsl, and what they share."""
