"""Tries every step from here to the far end, over connections of its own, and says what to do where one fails.

`result` is what a step says, `network`, `own` and `tunnel` are the steps, `examine` puts them in order for a
configuration file, `report` prints them.
"""
