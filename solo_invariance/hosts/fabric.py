"""Several processes on one piece of work, by Lightning Fabric."""

import atexit
import logging
import os
import re
from collections.abc import Callable
from typing import Any, cast

import torch
from lightning.fabric import Fabric

from solo_invariance.errors import UserError, reason_of
from solo_invariance.processes import Item, Processes

# Here, since started processes import this module before Fabric has something to say; the results speak for themselves.
# Which of the first two it says it by depends on what else was imported.
for _name in ("fabric.utilities.rank_zero", "pytorch.utilities.rank_zero", "fabric.utilities.distributed"):
    logging.getLogger(f"lightning.{_name}").setLevel(logging.WARNING)
logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)

# What a process says of another one that is gone, which may be heard before that.
_HUNG_UP = re.compile(r"Connection (closed|reset) by peer|Broken pipe")

Work = Callable[[Processes, torch.device, Any], None]
"""Called in every process, with its device and with what is to be done."""


class FabricProcesses(Processes):
    """The processes that Fabric started, or found started by torchrun.

    Args:
        fabric: Launched.
    """

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self.rank = fabric.global_rank
        self.count = fabric.world_size

    def wait(self) -> None:
        """Wait until every process is here."""
        self._fabric.barrier()

    def gather(self, items: list[Item]) -> list[Item]:
        """Return the items of all processes, by rank."""
        gathered: list[list[Item]] = [[] for _ in range(self.count)]
        torch.distributed.all_gather_object(gathered, items)
        return [item for part in gathered for item in part]


def run_in_processes(work: Work, content: Any, device: torch.device, devices: int) -> None:
    """Do a piece of work in several processes, and wait until all have done their share.

    Args:
        work: A function of a module, so that other processes find it.
        content: What it is given, besides the processes and the device.
        device: Of which kind the devices are.
        devices: How many processes to start on this machine, each on a device of its own; under torchrun these run
            already, and it says how many there are.

    Raises:
        UserError: One of them raised it; or there are fewer devices.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        here = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // here
        fabric = Fabric(accelerator=device.type, devices=here, num_nodes=nodes, strategy="ddp")
        fabric.launch()
        _share(fabric, work, content)
        return
    there = torch.cuda.device_count() if device.type == "cuda" else os.cpu_count() or 1
    if devices > there:
        raise UserError(f"devices={devices}: this machine has {there} ({device.type})")
    try:
        fabric = Fabric(accelerator=device.type, devices=devices, strategy="ddp_spawn")
        fabric.launch(cast(Any, _share_or_leave), work, content)  # typed as if it took no arguments
    except (torch.multiprocessing.ProcessRaisedException, torch.multiprocessing.ProcessExitedException) as error:
        if isinstance(error, torch.multiprocessing.ProcessRaisedException) and not _HUNG_UP.search(str(error)):
            raise _as_raised(error) from error
        raise UserError(
            f"devices={devices}: a process was ended from outside, as the system does where memory is short; take "
            f"fewer, or a smaller batch_size"
        ) from error
    except (ValueError, RuntimeError) as error:
        raise UserError(f"devices={devices}: {reason_of(error)}") from error


def _share(fabric: Fabric, work: Work, content: Any) -> None:
    work(FabricProcesses(fabric), fabric.device, content)


def _share_or_leave(fabric: Fabric, work: Work, content: Any) -> None:
    """Do a started process's share; where that fails, the process leaves once the error is on its way to the others.

    The threads of ``torch.distributed`` still wait for the other processes then. An interpreter that ends around them
    now and then aborts, and says so beside the error.
    """
    try:
        _share(fabric, work, content)
    except BaseException:
        atexit.register(os._exit, 1)
        raise


def _as_raised(error: Exception) -> Exception:
    """Return a process's error as it was raised there, where it was the user's; else as it came."""
    last = str(error).strip().splitlines()[-1]
    name, _, message = last.partition("UserError: ")
    return UserError(message) if name.startswith(UserError.__module__) else error
