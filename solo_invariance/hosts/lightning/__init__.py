"""Callbacks in Lightning's trainers."""
