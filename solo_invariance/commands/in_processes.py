"""Running a command in one process or in several."""

import os
from collections.abc import Callable
from typing import Any

import torch
from omegaconf import OmegaConf

from solo_invariance.config.composed import as_dict, as_object, literal
from solo_invariance.device import choose_device
from solo_invariance.processes import Processes

Work = Callable[[Processes, torch.device, Any], None]
"""Called in every process, with its device and the composed configuration; a function of a module."""


def run_shared(config: Any, schema: type[Any], work: Work) -> None:
    """Do a command's work in as many processes as ``devices`` says, or as torchrun has started.

    Args:
        config: Composed; it has the keys ``device`` and ``devices``.
        schema: Of the configuration.
        work: What to do.

    Raises:
        UserError: A process raised it, or there are fewer devices.
    """
    settings = as_object(config, schema)
    device = choose_device(settings.device)
    if settings.devices == 1 and "TORCHELASTIC_RUN_ID" not in os.environ:
        work(Processes(), device, config)
        return
    from solo_invariance.hosts.fabric import run_in_processes

    run_in_processes(_composed, (schema, work, as_dict(config)), device, settings.devices)


def _composed(processes: Processes, device: torch.device, content: tuple[type[Any], Work, dict[str, Any]]) -> None:
    # Plain data: a composed configuration loses its schema on the way to another process.
    schema, work, plain = content
    work(processes, device, OmegaConf.merge(OmegaConf.structured(schema), literal(plain)))
