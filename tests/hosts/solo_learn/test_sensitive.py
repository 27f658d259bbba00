"""A second loss inside the unmodified main_pretrain.py: it is trained by, resumed, and in nobody's way."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from solo_invariance import load_backbone

pytestmark = pytest.mark.host

KEYS = ("+invariance.sensitive=[color_jitter,resized_crop]", "+invariance.sensitive_weight=0.5")


def _checkpoint(out: Path, epoch: int) -> Path:
    (path,) = out.rglob(f"*ep={epoch}.ckpt")
    return path


def _content(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(path, weights_only=True)
    return content


def test_it_is_trained_by_and_the_method_goes_on_as_it_was(run_spied: Callable[..., Any]) -> None:
    _, (plain,), without = run_spied("plain", 1)
    done, (seen,), end = run_spied("sensitive", 1, *KEYS)
    assert "sensitive to color_jitter, resized_crop, weight 0.5" in done.stdout + done.stderr
    for theirs, mine in zip(plain["train"], seen["train"], strict=True):
        assert torch.equal(theirs["indexes"], mine["indexes"])
        assert all(map(torch.equal, theirs["crops"], mine["crops"]))
    # The first step's loss of the method does not know of it; later ones have another backbone.
    assert plain["metrics"][0]["train_nce_loss"] == pytest.approx(seen["metrics"][0]["train_nce_loss"], rel=1e-5)
    losses = [one.get("invariance/sensitive/color_jitter") for one in seen["metrics"]]
    assert 0 < losses[-1] < 10
    ends = [_content(one) for one in (without, end)]
    assert set(ends[0]["state_dict"]) == set(ends[1]["state_dict"])
    assert "invariance_head" not in ends[0]
    assert {name.split(".")[1] for name in ends[1]["invariance_head"]} == {"color_jitter", "resized_crop"}
    name = "backbone.layer4.1.conv2.weight"
    assert not torch.equal(ends[0]["state_dict"][name], ends[1]["state_dict"][name])
    assert load_backbone(end).num_features == 512


def test_several_processes_train_one_head(run_spied: Callable[..., Any], tmp_path: Path) -> None:
    _, seen, end = run_spied("both", 2, *KEYS)
    assert len(seen) == 2
    content = _content(end)
    assert all(value.isfinite().all() for value in content["invariance_head"].values())
    epochs = [each["metrics"][-1]["invariance/sensitive/color_jitter"] for each in seen]
    assert epochs[0] == epochs[1]


@pytest.mark.parametrize("method", ["simclr", "byol", "barlow", "swav", "dino"])
def test_methods_with_other_optimisers_heads_and_crops(
    method: str, run_host: Callable[..., Any], photo_folder: Path, tmp_path: Path
) -> None:
    small = {
        "simclr": ["method_kwargs.proj_hidden_dim=32", "method_kwargs.proj_output_dim=16"],
        "byol": ["method_kwargs.proj_hidden_dim=32", "method_kwargs.proj_output_dim=16"],
        "barlow": ["method_kwargs.proj_hidden_dim=32", "method_kwargs.proj_output_dim=16"],
        "swav": ["method_kwargs.proj_hidden_dim=32", "method_kwargs.queue_size=16"],
        "dino": ["method_kwargs.proj_hidden_dim=32", "method_kwargs.num_prototypes=32"],
    }
    out = tmp_path / "checkpoints"
    keys = [
        "--config-path=scripts/pretrain/cifar",
        f"--config-name={method}",
        f"name={method}",
        "data.dataset=custom",
        f"data.train_path={photo_folder / 'train'}",
        "data.val_path=null",
        "augmentations=invariance/default",
        "+invariance.crop_size=32",
        f"checkpoint.dir={out}",
        *small[method],
        *KEYS,
    ]
    run_host("main_pretrain.py", *keys, "max_epochs=1", "checkpoint.frequency=1")
    first = _content(_checkpoint(out, 0))
    assert first["invariance_head"]
    if method == "swav":  # which resumes from no checkpoint of its own
        return
    run_host("main_pretrain.py", *keys, "max_epochs=2", f"++resume_from_checkpoint='{_checkpoint(out, 0)}'")
    second = _content(_checkpoint(out, 1))
    name = "networks.color_jitter.0.weight"
    assert not torch.equal(first["invariance_head"][name], second["invariance_head"][name])
    assert first["optimizer_states"][0]["param_groups"][0]["params"]
