"""Scoring frozen backbones on downstream tasks."""
