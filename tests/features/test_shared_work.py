import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch

from solo_invariance.backbones import Backbone
from solo_invariance.data.images import TensorImages
from solo_invariance.features import FeatureCache, extract_features
from solo_invariance.processes import Processes

# Of twelve images in units of two, image i has the value i; so the pixels tell which unit a network is given.
_SCRIPT = """
import os, signal, sys, time
from pathlib import Path

import torch
from torch import nn

from solo_invariance.backbones import Architecture, Backbone, InputSpec, Provenance
from solo_invariance.data.images import TensorImages
from solo_invariance.features import FeatureCache, extract, extract_features

folder, name, other, dies = Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4] == "dies"
extract._UNIT = 2
torch.set_num_threads(1)
images = TensorImages(torch.arange(12, dtype=torch.uint8)[:, None, None, None].expand(12, 3, 8, 8).contiguous())


def wait_for(path):
    while not path.exists():
        time.sleep(0.01)


def work(seed, dies):
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    backbone = Backbone(network, Architecture("resnet10"), InputSpec(8), Provenance("tiny"))
    done = []

    def note(module, inputs):
        if dies and len(done) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(int(inputs[0][0, 0, 0, 0] * 255 + 0.5) // 2)
        with (folder / f"{seed}-{name}.txt").open("a") as file:
            print(done[-1], file=file)
        time.sleep(0.1)

    backbone.register_forward_pre_hook(note)
    (folder / f"{seed}-{name}.ready").touch()
    wait_for(folder / f"{seed}-{other}.ready")
    features = extract_features(backbone, images, cache=FeatureCache(folder / "cache", 10**6))
    torch.save(features, folder / f"{seed}-{name}.pt")


work(0, False)
work(1, dies)
"""


def _units(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().split()]


def _features(path: Path) -> torch.Tensor:
    return torch.load(path, weights_only=True)


def test_two_processes_share_the_work_and_one_goes_on_where_the_other_dies(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(_SCRIPT)
    command = [sys.executable, str(tmp_path / "work.py"), str(tmp_path)]
    survivor = subprocess.Popen([*command, "a", "b", "lives"])
    victim = subprocess.Popen([*command, "b", "a", "dies"])
    assert survivor.wait(timeout=100) == 0
    assert victim.wait(timeout=100) == -signal.SIGKILL
    first, second = _units(tmp_path / "0-a.txt"), _units(tmp_path / "0-b.txt")
    assert sorted(first + second) == [0, 1, 2, 3, 4, 5]
    assert min(len(first), len(second)) >= 2
    assert torch.equal(_features(tmp_path / "0-a.pt"), _features(tmp_path / "0-b.pt"))
    finished, died = _units(tmp_path / "1-a.txt"), _units(tmp_path / "1-b.txt")
    assert len(died) == 2
    assert sorted(finished + died) == [0, 1, 2, 3, 4, 5]
    assert _features(tmp_path / "1-a.pt").isfinite().all()


def test_processes_of_a_group_share_the_work_of_several_members(
    make_backbone: Callable[..., Backbone], images: TensorImages, cache: FeatureCache, in_threads
) -> None:
    expected = extract_features(make_backbone(), images)
    backbones = {rank: make_backbone() for rank in (0, 1)}

    def work(processes: Processes) -> torch.Tensor:
        backbone = backbones[processes.rank]
        backbone.register_forward_pre_hook(lambda module, inputs: time.sleep(0.1))
        processes.wait()
        own = FeatureCache(cache.root, cache.max_bytes)
        return extract_features(backbone, images, cache=own, processes=processes)

    first, second = in_threads(2, work)
    assert torch.equal(first, expected)
    assert torch.equal(second, expected)
    assert backbones[0].seen + backbones[1].seen == 10
    assert Counter([backbones[0].seen, backbones[1].seen]) in (Counter([4, 6]), Counter([2, 8]))


def test_who_waits_takes_over_what_another_process_gives_up(
    make_backbone: Callable[..., Backbone], images: TensorImages, cache: FeatureCache, in_threads
) -> None:
    extract_features(make_backbone(), images, cache=cache)
    (missing,) = (path for path in cache.root.rglob("*.npy") if path.stat().st_size < 128 + 4 * 4 * 5)
    missing.unlink()

    def work(processes: Processes) -> int:
        own = FeatureCache(cache.root, cache.max_bytes)
        if processes.rank == 0:
            assert own.claim(missing.stem)
            processes.wait()
            time.sleep(0.3)
            own.release(missing.stem)
            return 0
        processes.wait()
        backbone = make_backbone()
        extract_features(backbone, images, cache=own)
        return int(backbone.seen)  # type: ignore[call-overload]

    assert in_threads(2, work) == [0, 2]
    assert os.path.exists(missing)
