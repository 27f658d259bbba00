"""The commands: each composes its settings, makes one public call, and prints."""
