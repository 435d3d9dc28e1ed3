"""The lab: three sites of booted Debian systems on one machine, for the demo, the tests and for trying things."""
