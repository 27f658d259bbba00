"""Hydra's door: our configurations on every application's search path. Imports nothing heavy."""

import sys
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf


def crop_size(dataset: str, chosen: int | None = None) -> int:
    """Return the crop size that was chosen, or the one that solo-learn's recipes use for the dataset (224 else)."""
    if chosen is not None:
        return chosen
    from solo_invariance.data.known_datasets import known_dataset

    return known_dataset(dataset).crop_size


def small_crop_size(dataset: str, large: int | None = None, chosen: int | None = None) -> int:
    """Return the side of the small crops of multi-crop that was chosen, or 18 for crops of 32 and 3/7 of others."""
    size = crop_size(dataset, large)
    return chosen if chosen is not None else 18 if size == 32 else round(size * 3 / 7)


def family(chosen: Any = None) -> Any:
    """Return the family that was chosen, or the name of the default one."""
    return chosen if chosen is not None else "default"


class SoloInvarianceSearchPath(SearchPathPlugin):
    """Append what a host's runs name, ``augmentations/invariance/*`` and ``invariance/*``, after everybody else's."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Extend the search path; where solo-learn is running, give it our backbones as well."""
        search_path.append("solo-invariance", "pkg://solo_invariance.plugin_configs")
        for resolver in (crop_size, small_crop_size, family):
            OmegaConf.register_new_resolver(f"solo_invariance.{resolver.__name__}", resolver, replace=True)
        if "solo.methods.base" in sys.modules:
            from solo_invariance.hosts.solo_learn.registry import register_backbones

            register_backbones()
