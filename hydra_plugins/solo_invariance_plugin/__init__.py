"""Hydra's door: our configurations on the search paths of those who train with them. Imports nothing heavy."""

import re
import sys
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

_SOLO_LEARN = "solo.methods.base"
_OUR_CONFIGS, _OUR_PRETRAINING = "pkg://solo_invariance.config", "solo_invariance.commands.pretrain"
# Whoever types one of these asks for ours, whatever the application.
_ASKED_FOR = re.compile(r"\+*augmentations=invariance/|\++invariance=\[?[\w, ]*\b(monitor|transfer)\b")


def crop_size(dataset: str, chosen: int | None = None, *, _root_: Any) -> int:
    """Return the crop size that was chosen, else the recipe's own, else the dataset's usual one (224 where unknown)."""
    from solo_invariance.config.recipes import crop_size_of_run
    from solo_invariance.errors import UserError
    from solo_invariance.hosts.refusals import composed, leave_solo_learn, refuse_dali

    composed()
    try:
        # Solo-learn asks for crop sizes before it asks for DALI, which one would install to have it refused.
        refuse_dali(_root_)
    except UserError as error:
        leave_solo_learn(error)
    return crop_size_of_run(dataset, chosen)


def small_crop_size(dataset: str, large: int | None = None, chosen: int | None = None) -> int:
    """Return the side of the small crops of multi-crop that was chosen, or 18 for crops of 32 and 3/7 of others."""
    from solo_invariance.config.recipes import crop_size_of_run

    size = crop_size_of_run(dataset, large)
    return chosen if chosen is not None else 18 if size == 32 else round(size * 3 / 7)


def family(chosen: Any = None) -> Any:
    """Return the family that was chosen, or the name of the default one."""
    return chosen if chosen is not None else "default"


class SoloInvarianceSearchPath(SearchPathPlugin):
    """Append ``augmentations/invariance/*`` and ``invariance/monitor`` to the search path of who asks for them.

    These are solo-learn's scripts, our own commands, and a command line that names one of them.

    Every Hydra application in the environment comes by here, and a group that an application does not know would change
    what its command line means: where there is a group ``augmentations``, ``augmentations=false`` no longer sets a
    value. So all others are left as they are; one that names these configurations in its own lists
    ``pkg://solo_invariance.plugin_configs`` in its ``hydra.searchpath``.
    """

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Extend the search path; where solo-learn is running, give it our backbones as well."""
        for resolver in (crop_size, small_crop_size, family):
            OmegaConf.register_new_resolver(f"solo_invariance.{resolver.__name__}", resolver, replace=True)
        hosted = _SOLO_LEARN in sys.modules
        ours = _OUR_PRETRAINING in sys.modules or any(one.path == _OUR_CONFIGS for one in search_path.get_path())
        if hosted or ours or any(map(_ASKED_FOR.match, sys.argv[1:])):
            search_path.append("solo-invariance", "pkg://solo_invariance.plugin_configs")
        if hosted:
            from solo_invariance.hosts.refusals import explain_at_exit
            from solo_invariance.hosts.solo_learn.registry import register_backbones

            register_backbones()
            explain_at_exit(sys.argv[1:])
