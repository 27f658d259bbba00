"""Faults of the machine, planted while commands work: they are killed, asked to end, out of disk, or two at once."""
