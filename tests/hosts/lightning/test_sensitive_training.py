"""A second loss inside an unmodified module: what it trains on, what it leaves as it was, and how a run resumes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from omegaconf import DictConfig
from torch import Tensor, nn

from solo_invariance.errors import UserError
from solo_invariance.families import SensitivityLoss, default
from solo_invariance.hosts.lightning.sensitive_training import HEAD

from .test_families_callback import _config, _fit, _Images

pytestmark = pytest.mark.filterwarnings("ignore:.*(num_workers|GPU available|LeafSpec|isinstance.treespec).*")


class _Method(LightningModule):
    """A backbone and a loss of its own, whose optimiser has groups and a schedule as solo-learn's have."""

    asked = 2  # crops that its step gives to the backbone
    as_mapping = False

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__()
        self.cfg = cfg
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.backbone = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 6))
            self.classifier = nn.Linear(6, 2)
        self.passes = 0
        self.losses: list[float] = []
        self.backbone.register_forward_hook(self._count)

    def _count(self, backbone: nn.Module, *_: Any) -> None:
        self.passes += backbone.training  # and not where its width is looked up

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        own = self.own_loss([self.backbone(crop) for crop in batch[1][: self.asked]])
        self.losses.append(float(own.detach()))
        return {"loss": own, "more": 1} if self.as_mapping else own

    def own_loss(self, features: list[Tensor]) -> Tensor:
        return 1e-3 * torch.stack([one.square().mean() for one in features]).mean()

    def configure_optimizers(self) -> Any:
        groups = [
            {"params": [p for p in self.backbone.parameters() if p.ndim > 1], "weight_decay": 1e-4},
            {"params": [p for p in self.backbone.parameters() if p.ndim < 2], "weight_decay": 0.0},
            {"params": [*self.classifier.parameters()], "lr": 0.01},
        ]
        optimiser = torch.optim.SGD(groups, lr=0.05, momentum=0.9)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, [lambda step: 0.9**step] * 3)
        return [optimiser], [{"scheduler": schedule, "interval": "step"}]


def _sensitive(names: Any = ("color_jitter",), weight: float | None = None, **changes: Any) -> DictConfig:
    asked = {"sensitive": list(names), **({} if weight is None else {"sensitive_weight": weight})}
    return _config(entry={"family": "default", **changes.pop("entry", {})}, invariance=asked, **changes)


def _weights(module: LightningModule) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.backbone.state_dict().items()}


def test_the_second_loss_is_that_of_the_drawn_parameters_and_moves_the_backbone(tmp_path: Path) -> None:
    module = _Method(_sensitive(weight=0.5))
    seen: dict[str, Any] = {}
    step = module.training_step

    def spied(batch: Any, batch_idx: int) -> Any:  # what the step was given, before anything is trained
        seen.setdefault("crops", [crop.clone() for crop in batch[1]])
        seen.setdefault("drawn", module.invariance_parameters)
        seen.setdefault("weights", _weights(module))
        return step(batch, batch_idx)

    vars(module)["training_step"] = spied
    trainer = _fit(module, _Images(), tmp_path, trainer={"limit_train_batches": 1})
    assert [set(one) for one in seen["drawn"]] == [set(default.names)] * 2
    assert seen["drawn"][0]["color_jitter"]["brightness"].shape == (4,)
    backbone = _Method(_sensitive()).backbone
    backbone.load_state_dict(seen["weights"])
    loss = SensitivityLoss(["color_jitter"], [default, default], 6, seed=7)
    expected = loss([backbone(crop) for crop in seen["crops"]], seen["drawn"])["color_jitter"]
    logged = trainer.callback_metrics
    assert float(logged["invariance/sensitive/color_jitter"]) == pytest.approx(float(expected.detach()), rel=1e-4)
    own = module.own_loss([backbone(crop) for crop in seen["crops"]])
    (0.5 * expected + own).backward()
    moved = module.backbone[2].weight - seen["weights"]["2.weight"]
    decayed = backbone[2].weight.grad + 1e-4 * seen["weights"]["2.weight"]
    torch.testing.assert_close(moved.detach(), -0.05 * decayed, rtol=1e-3, atol=1e-7)
    assert module.passes == 2  # of the step itself
    assert vars(module)["training_step"] is spied
    assert "configure_optimizers" not in vars(module)
    assert not hasattr(module, "invariance_parameters")


@pytest.mark.parametrize(("asked", "passes"), [(2, 4), (1, 4), (0, 4)])
def test_a_crop_that_the_step_did_not_look_at_is_looked_at(asked: int, passes: int, tmp_path: Path) -> None:
    class Asking(_Method):
        def own_loss(self, features: list[Tensor]) -> Tensor:
            return super().own_loss(features) if features else self.classifier.weight.square().mean()

    module = Asking(_sensitive())
    module.asked = asked
    _fit(module, _Images(), tmp_path)
    assert module.passes == passes


def test_it_trains_its_networks_in_the_groups_that_are_there(tmp_path: Path) -> None:
    module = _Method(_sensitive(["color_jitter", "resized_crop"]))
    trainer = _fit(module, _Images(), tmp_path, max_epochs=2)
    (optimiser,) = trainer.optimizers
    head = getattr(module, HEAD)
    assert len(optimiser.param_groups) == 3
    decayed, others, _ = ({id(one) for one in group["params"]} for group in optimiser.param_groups)
    for parameter in head.parameters():
        assert (id(parameter) in decayed, id(parameter) in others) == (parameter.ndim > 1, parameter.ndim < 2)
    first = next(iter(SensitivityLoss(["color_jitter"], [default, default], 6, seed=7).parameters()))
    assert not torch.equal(next(iter(head.parameters())), first)


def test_a_module_that_is_fitted_again_goes_on_with_its_networks_and_takes_others_for_others(tmp_path: Path) -> None:
    module = _Method(_sensitive())
    _fit(module, _Images(), tmp_path)
    head = getattr(module, HEAD)
    _fit(module, _Images(), tmp_path)
    assert getattr(module, HEAD) is head
    module.cfg = _sensitive(["resized_crop"])
    _fit(module, _Images(), tmp_path)
    assert [*getattr(module, HEAD).loss.networks] == ["resized_crop"]


def test_a_step_may_return_a_mapping(tmp_path: Path) -> None:
    ends = []
    for as_mapping in (False, True):
        module = _Method(_sensitive())
        module.as_mapping = as_mapping
        _fit(module, _Images(), tmp_path)
        ends.append(_weights(module))
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_without_it_a_run_is_as_it_was_and_what_it_changes_is_the_backbone(tmp_path: Path) -> None:
    plain = _config(entry={"family": "default"})
    ends = []
    for cfg in (plain, _config(entry={"family": "default"}, invariance={"sensitive": None}), _sensitive()):
        module = _Method(cfg)
        torch.manual_seed(1)
        _fit(module, _Images(), tmp_path)
        ends.append((_weights(module), torch.rand(1)))
    assert all(torch.equal(ends[0][0][name], ends[1][0][name]) for name in ends[0][0])
    assert not torch.equal(ends[0][0]["2.weight"], ends[2][0]["2.weight"])
    assert ends[0][1] == ends[1][1] == ends[2][1]  # the global random state, too


def test_its_weights_lie_beside_the_modules_and_a_run_goes_on_from_them(tmp_path: Path) -> None:
    whole = _Method(_sensitive())
    _fit(whole, _Images(), tmp_path, max_epochs=4)
    module = _Method(_sensitive())
    trainer = _fit(module, _Images(), tmp_path, max_epochs=2)
    path = tmp_path / "half.ckpt"
    trainer.save_checkpoint(path)
    content = torch.load(path, weights_only=True)
    assert set(content["state_dict"]) == set(_Method(_config()).state_dict())
    assert not any("backbone" in key or "encoder" in key for key in (HEAD, *content[HEAD]))
    assert _Method.load_from_checkpoint(path, cfg=_config(), weights_only=True)
    resumed = _Method(_sensitive())
    _fit(resumed, _Images(), tmp_path, max_epochs=4, ckpt_path=path)
    for one, other in ((whole.backbone, resumed.backbone), (getattr(whole, HEAD), getattr(resumed, HEAD))):
        for first, second in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(first, second)


def test_a_run_does_not_go_on_with_another_loss(tmp_path: Path) -> None:
    plain, sensitive = tmp_path / "plain.ckpt", tmp_path / "sensitive.ckpt"
    _fit(_Method(_config(entry={"family": "default"})), _Images(), tmp_path).save_checkpoint(plain)
    _fit(_Method(_sensitive()), _Images(), tmp_path).save_checkpoint(sensitive)
    asked = [
        (plain, _sensitive()),
        (sensitive, _config(entry={"family": "default"})),
        (sensitive, _sensitive(weight=2.0)),
        (sensitive, _sensitive(["resized_crop"])),
    ]
    for path, cfg in asked:
        with pytest.raises(UserError, match=r"would resume from a checkpoint of other augmentations.*sensitive to"):
            _fit(_Method(cfg), _Images(), tmp_path, max_epochs=2, ckpt_path=path)
    content = torch.load(sensitive, weights_only=True)
    del content[HEAD]
    torch.save(content, sensitive)
    with pytest.raises(UserError, match=f"the checkpoint has no {HEAD} that fits"):
        _fit(_Method(_sensitive()), _Images(), tmp_path, max_epochs=2, ckpt_path=sensitive)


class _ByHand(_Method):
    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        self.automatic_optimization = False


class _WithoutBackbone(_Method):
    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        del self.backbone


class _Frozen(_Method):
    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.classifier.parameters(), lr=0.1)


@pytest.mark.parametrize(
    ("kind", "cfg", "message"),
    [
        (_Method, _sensitive(["colour"]), "invariance.sensitive: colour: the family default draws"),
        (_Method, _sensitive(["hue", 3]), "expected names of operations"),
        (_Method, _sensitive(["color_jitter"] * 2), "named twice"),
        (_Method, _sensitive(weight=-1), "invariance.sensitive_weight=-1: expected a number above 0"),
        (_Method, _config(invariance={"sensitive_weight": 2}), "to what"),
        (_Method, _config(invariance={"sensitve": ["hue"]}), "did you mean 'sensitive'"),
        (_Method, _sensitive(entry={"num_crops": 1}), "two views"),
        (_ByHand, _sensitive(), "_ByHand takes its optimiser's steps by itself"),
        (_WithoutBackbone, _sensitive(), "_WithoutBackbone has no backbone"),
        (_Frozen, _sensitive(), "no optimiser trains the backbone"),
    ],
)
def test_what_cannot_be_kept_is_refused(kind: type[_Method], cfg: DictConfig, message: str, tmp_path: Path) -> None:
    module = kind(cfg)
    with pytest.raises(UserError, match=message):
        _fit(module, _Images(), tmp_path)
    assert "training_step" not in vars(module)
