"""Every decision about tasks and executors. Pure: no clock, no I/O, no loop."""
