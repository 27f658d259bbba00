"""What the recipe of a running script says: the configuration files beside the one that was named."""

from pathlib import Path
from typing import Any

from solo_invariance.known_datasets import known_dataset


def crop_size_of_run(dataset: str, chosen: int | None = None) -> int:
    """Return the side of a run's crops, in pixels: the chosen one, else the recipe's, else the dataset's (224 else).

    Args:
        dataset: The run's ``data.dataset``.
        chosen: The run's ``invariance.crop_size``.
    """
    return chosen if chosen is not None else recipe_crop_size() or known_dataset(dataset).crop_size


def origin_of_crop_size(dataset: str, chosen: int | None = None) -> str:
    """Return where ``crop_size_of_run`` has its number from, in a few words; nothing where it was chosen."""
    if chosen is not None:
        return ""
    if recipe_crop_size() is not None:
        return "crop size of the recipe's own augmentations"
    if known_dataset(dataset) != known_dataset(None):
        return f"crop size of data.dataset={dataset}"
    return f"crop size assumed: neither the recipe nor data.dataset={dataset} says one, +invariance.crop_size=N does"


def recipe_crop_size() -> int | None:
    """Return the side of the large crops that a running Hydra application's own augmentations have, in pixels.

    A choice of ours takes the place of the recipe's ``augmentations``, which are not composed. They are the list in
    its primary configuration, or else the files of the group ``augmentations`` on its search path, where all of these
    have one size. None where they have not, where there are none, and where no application runs.
    """
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return None
    running: Any = HydraConfig.get()
    folders = [Path(running.runtime.cwd, one.path) for one in running.runtime.config_sources if one.schema == "file"]
    for folder in folders:
        size = _first_crop_size(_content(folder / f"{running.job.config_name}.yaml", "augmentations"))
        if size is not None:
            return size
    files = [file for folder in folders for file in sorted((folder / "augmentations").glob("*.yaml"))]
    sizes = {size for file in files if (size := _first_crop_size(_content(file))) is not None}
    return sizes.pop() if len(sizes) == 1 else None


def _content(file: Path, key: str | None = None) -> Any:
    """What a file of the recipe's holds, not resolved; None where it is not there, or no YAML."""
    import yaml
    from omegaconf import OmegaConf

    try:
        content: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return content if key is None else content.get(key) if isinstance(content, dict) else None


def _first_crop_size(augmentations: Any) -> int | None:
    """The crop size of a list's first entry: solo-learn takes entries of that size for its large crops."""
    first = augmentations[0] if isinstance(augmentations, list) and augmentations else None
    size = first.get("crop_size") if isinstance(first, dict) else None
    return size if isinstance(size, int) and not isinstance(size, bool) and size > 0 else None
