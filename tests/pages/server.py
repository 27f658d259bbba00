"""Runs solo-invariance and Python for shells, each in a fork of one process that has imported everything once.

Started as ``python server.py SOCKET``. A client sends, with its three standard streams, a JSON list of its directory,
environment, program (``solo-invariance`` or ``python``) and arguments, and is sent the exit code.
"""

import importlib
import json
import os
import runpy
import socket
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from solo_invariance.cli import COMMANDS, main
from solo_invariance.config.kinds import command_behind

# What pages leave at a size for real work; a command that sets a key itself keeps it. Where there is no image or no
# target to count, fewer of them are drawn.
_SMALLER = {
    "measure": [
        "transforms=[rotation,hue]",
        "k=16",
        "num_images=5",
        "data.num_images=40",
        "data.num_groups=5",
        "gallery=5",
    ],
    "pretrain": [
        "max_epochs=1",
        "data.num_images=64",
        "optimizer.batch_size=8",
        "method_kwargs.queue_size=16",
        "accelerator=cpu",
    ],
    "transfer": ["task.num_train=40", "task.num_test=20"],
    "study": [
        "study.pretrain.max_epochs=1",
        "study.pretrain.data={num_images: 64, size: 32}",
        "study.pretrain.optimizer={batch_size: 32}",
        "study.pretrain.invariance={crop_size: 32}",
        "study.measure.data={num_images: 40, num_groups: 5, num_views: 3, size: 32}",
        "study.measure.reference={num_images: 300, size: 32}",
        "study.measure.k=2",
        "study.measure.num_images=6",
        "study.task={num_train: 60, num_test: 30, size: 32}",
        "study.fuse_reference={num_images: 200, size: 32}",
    ],
}
_FLAGS = ("--help", "--cfg", "--version")


def serve(path: str) -> None:
    """Answer one request after the other."""
    import torch

    torch.set_num_threads(1)
    for command in {*map(command_behind, COMMANDS)}:
        importlib.import_module(f"solo_invariance.commands.{command}")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        print("ready", flush=True)
        while True:
            connection, _ = listening.accept()
            with connection:
                request, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
                child = os.fork()
                if child == 0:
                    _become(streams, *json.loads(request))
                _, status = os.waitpid(child, 0)
                connection.send(str(os.waitstatus_to_exitcode(status) % 256).encode())
                for stream in streams:
                    os.close(stream)


def _become(
    streams: Sequence[int], directory: str, environment: dict[str, str], program: str, arguments: list[str]
) -> NoReturn:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    if program == "python":
        _run_script(arguments)
    sys.argv = [program, *arguments, *_smaller(arguments)]
    main()
    raise AssertionError("main leaves the process")


def _smaller(arguments: list[str]) -> list[str]:
    if not arguments or any(one.startswith(_FLAGS) for one in arguments):
        return []
    keys = {one.partition("=")[0] for one in arguments}
    # Of files, all are taken: these are few. View sets have no transforms unless they are asked for.
    given = keys | ({"task.num_train", "task.num_test"} if any("path" in one for one in arguments) else set())
    given |= {"transforms"} if "data.name" in keys else set()
    rendered = command_behind(arguments[0]) != "measure" or "data.name=latent_scenes" in arguments
    given |= set() if rendered else {"data.num_images", "data.num_groups"}
    return [one for one in _SMALLER.get(command_behind(arguments[0]), []) if one.partition("=")[0] not in given]


def _run_script(arguments: list[str]) -> NoReturn:
    """Run a file as ``python FILE`` does, or a program as ``python -c PROGRAM`` does."""
    code = 0
    try:
        sys.argv, sys.path[0] = arguments, os.getcwd()
        if arguments[0] == "-c":
            exec(arguments[1], {"__name__": "__main__"})
        else:
            runpy.run_path(arguments[0], run_name="__main__")
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
