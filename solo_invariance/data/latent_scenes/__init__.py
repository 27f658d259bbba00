"""Rendered scenes of known pose, light and colour: the embedded dataset."""

from solo_invariance.data.latent_scenes.dataset import VIEW_SETS, LatentScenes, view_groups

__all__ = ["VIEW_SETS", "LatentScenes", "view_groups"]
