"""The seams to other programs: Lightning, solo-learn, and the embedded host."""
