"""Callbacks that several Trainers share, several of one kind in one Trainer, and copies of them."""

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric
from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from solo_invariance.errors import UserError
from solo_invariance.hosts.callbacks import callbacks_factory
from solo_invariance.hosts.lightning.families_callback import FamiliesCallback
from solo_invariance.hosts.lightning.monitor import Monitor
from solo_invariance.hosts.lightning.monitor_callback import MonitorCallback

pytestmark = pytest.mark.filterwarnings("ignore:.*(num_workers|GPU available|LeafSpec|isinstance.treespec).*")


class Images(Dataset[Any]):
    transform: Any = None

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[int, Any, int]:
        image = (torch.arange(3 * 32 * 32).reshape(3, 32, 32) * (index + 1)).remainder(251).byte()
        return index, image if self.transform is None else self.transform(image), 0


class Method(LightningModule):
    """A module that remembers the shapes and the sums of what it is given."""

    def __init__(self, family: str | None = None, **cfg: Any) -> None:
        super().__init__()
        entry = {"crop_size": 32, "num_crops": 2, **({"family": family} if family else {})}
        self.cfg = OmegaConf.create({"seed": 7, "data": {"dataset": "cifar10"}, "augmentations": [entry], **cfg})
        self.layer = nn.Linear(1, 1)
        self.backbone = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.seen: list[Any] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        crops = batch[1]
        self.seen.append([crop.clone() for crop in crops] if isinstance(crops, list) else tuple(crops.shape))
        return self.layer(torch.ones(1, 1)).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Counter(Callback):
    """Somebody else's callback, with a state of its own."""

    def __init__(self) -> None:
        self.batches = 0

    def on_train_batch_end(self, *arguments: Any) -> None:
        self.batches += 1

    def state_dict(self) -> dict[str, Any]:
        return {"batches": self.batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.batches = state_dict["batches"]


PLAIN = [(4, 3, 32, 32)] * 2


@pytest.fixture
def trainer_of(tmp_path: Path) -> Callable[..., Trainer]:
    def build(callbacks: Any = None, kind: type[Trainer] = Trainer, **arguments: Any) -> Trainer:
        quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False)
        settings = {"max_epochs": 1, "accelerator": "cpu", "enable_checkpointing": False, **quiet, **arguments}
        return kind(callbacks=callbacks, default_root_dir=tmp_path, **settings)

    return build


def fit(trainer: Trainer, family: str | None = None, **arguments: Any) -> list[Any]:
    """Train a new module, and return what it saw."""
    module, images = Method(family), Images()
    trainer.fit(module, DataLoader(images, batch_size=4), **arguments)
    assert images.transform is None
    return module.seen


def equal(seen: list[Any], others: list[Any]) -> bool:
    """Whether two runs saw the same crops."""
    pairs = [pair for crops in zip(seen, others, strict=True) for pair in zip(*crops, strict=True)]
    return all(torch.equal(one, other) for one, other in pairs)


def of_kind(trainer: Trainer, kind: type[Callback]) -> list[Any]:
    return [callback for callback in trainer.callbacks if isinstance(callback, kind)]


def saved(trainer: Trainer, path: Path) -> dict[str, Any]:
    trainer.save_checkpoint(path)
    content: dict[str, Any] = torch.load(path, weights_only=True)
    return content


@pytest.mark.parametrize("order", [("ventral", None, "dorsal"), (None, "ventral", None), (None, "dorsal", "dorsal")])
def test_one_list_serves_three_trainers(trainer_of: Any, tmp_path: Path, order: tuple[str | None, ...]) -> None:
    expected = {family: fit(trainer_of(), family) for family in set(order)}
    callbacks: list[Callback] = [Counter()]
    trainers = [trainer_of(callbacks) for _ in order]
    assert [len(of_kind(trainer, FamiliesCallback)) for trainer in trainers] == [1, 2, 3]
    seen = [fit(trainer, family) for trainer, family in zip(trainers, order, strict=True)]
    for family, batches in zip(order, seen, strict=True):
        assert batches == PLAIN if family is None else equal(batches, expected[family])
    # What a Trainer saves is of its own run, whichever came after it.
    for index, (trainer, family) in enumerate(zip(trainers, order, strict=True)):
        states = saved(trainer, tmp_path / f"{index}.ckpt")["callbacks"]
        assert states.keys() == ({"Counter", "FamiliesCallback"} if family else {"Counter"})
        assert family is None or f"2 x {family}@32" in states["FamiliesCallback"]["families"]


@pytest.mark.parametrize("given", [list, lambda callbacks: callbacks], ids=["copy", "same"])
def test_another_trainers_callbacks_are_taken_over(trainer_of: Any, given: Callable[[Any], Any]) -> None:
    expected = fit(trainer_of(), "ventral")
    first = trainer_of([Counter()])
    fit(first, "dorsal")
    second = trainer_of(given(first.callbacks))
    assert equal(fit(second, "ventral"), expected)
    assert fit(trainer_of(given(second.callbacks))) == PLAIN
    assert of_kind(second, Counter)[0].batches == 3 * 2


def test_a_trainer_within_a_trainer_has_a_run_of_its_own(trainer_of: Any) -> None:
    """Someone trains a probe at the end of every epoch, and hands its own callbacks on."""

    class Probing(Callback):
        def on_train_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
            others = [one for one in trainer.callbacks if one is not self]
            assert equal(fit(trainer_of(others), "dorsal"), dorsal)
            assert fit(trainer_of(others)) == PLAIN

    dorsal, ventral = fit(trainer_of(), "dorsal"), fit(trainer_of(), "ventral")
    assert equal(fit(trainer_of([Probing()]), "ventral"), ventral)


def test_subclasses_of_trainer_have_them_too(trainer_of: Any) -> None:
    class Mine(Trainer):
        pass

    expected = fit(trainer_of(), "ventral")
    callbacks: list[Callback] = []
    assert equal(fit(trainer_of(callbacks, Mine), "ventral"), expected)
    assert equal(fit(trainer_of(callbacks, Mine), "ventral"), expected)


class Mine(FamiliesCallback):
    """A user's own, which counts what it does."""

    def __init__(self) -> None:
        super().__init__()
        self.batches = 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
        self.batches += isinstance(batch[1], list)


@pytest.mark.parametrize("kind", [FamiliesCallback, Mine])
def test_families_that_are_added_by_hand_are_applied_once(
    trainer_of: Any, tmp_path: Path, kind: type[FamiliesCallback]
) -> None:
    expected = fit(trainer_of(), "ventral")
    by_hand = kind()
    trainer = trainer_of([by_hand])
    assert equal(fit(trainer, "ventral"), expected)
    assert getattr(by_hand, "batches", 2) == 2
    # The key is that of every checkpoint, so that a run goes on without the callback, and one without it goes on with.
    states = saved(trainer, tmp_path / "hand.ckpt")["callbacks"]
    assert states.keys() == {"FamiliesCallback"}
    plain = trainer_of()
    fit(plain, "ventral")
    assert saved(plain, tmp_path / "plain.ckpt")["callbacks"] == states
    fit(trainer_of(max_epochs=2), "ventral", ckpt_path=tmp_path / "hand.ckpt")
    fit(trainer_of([kind()], max_epochs=2), "ventral", ckpt_path=tmp_path / "plain.ckpt")
    with pytest.raises(UserError, match=r"trained with 2 x ventral.* asks for 2 x dorsal"):
        fit(trainer_of([kind()], max_epochs=2), "dorsal", ckpt_path=tmp_path / "plain.ckpt")


def test_a_module_may_bring_its_own(trainer_of: Any) -> None:
    class Bringing(Method):
        def configure_callbacks(self) -> list[Callback]:
            return [Mine()]

    module, trainer = Bringing("ventral"), trainer_of()
    trainer.fit(module, DataLoader(Images(), batch_size=4))
    assert equal(module.seen, fit(trainer_of(), "ventral"))
    assert [type(callback) for callback in of_kind(trainer, FamiliesCallback)] == [Mine]


def test_of_several_monitors_the_first_measures(trainer_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[Monitor] = []
    monkeypatch.setattr(Monitor, "measure", lambda monitor, network: measured.append(monitor) or {})
    watch = {"monitor": {"every": 1, "transforms": ["hue"], "num_images": 4, "reference_images": 4}}
    callbacks: list[Callback] = [MonitorCallback()]
    for count, invariance in enumerate((watch, {}, watch)):
        trainer = trainer_of(callbacks)
        assert len(of_kind(trainer, MonitorCallback)) == count + 2
        trainer.fit(Method(invariance=invariance), DataLoader(Images(), batch_size=4))
    assert len(measured) == 2
    assert measured[0] is not measured[1]


def test_other_peoples_stateful_callbacks_are_saved_and_resumed_with_the_same_list(
    trainer_of: Any, tmp_path: Path
) -> None:
    callbacks: list[Callback] = [Counter()]
    first = trainer_of(callbacks)
    fit(first)
    assert saved(first, tmp_path / "first.ckpt")["callbacks"] == {"Counter": {"batches": 2}}
    callbacks[0].batches = 0  # type: ignore[attr-defined]
    fit(trainer_of(callbacks, max_epochs=2), ckpt_path=tmp_path / "first.ckpt")
    assert callbacks[0].batches == 4  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="more than one stateful callback of type `Counter`"):
        trainer_of([Counter(), Counter()])


def test_a_checkpoint_of_weights_alone_is_refused_by_lightning_itself(trainer_of: Any, tmp_path: Path) -> None:
    """Lightning tells no callback about a checkpoint without callbacks' states, and does not resume from it."""
    trainer = trainer_of()
    fit(trainer, "ventral")
    trainer.save_checkpoint(tmp_path / "weights.ckpt", weights_only=True)
    assert "callbacks" not in torch.load(tmp_path / "weights.ckpt", weights_only=True)
    with pytest.raises(KeyError, match="checkpoint contains only the model"):
        fit(trainer_of(max_epochs=2), "dorsal", ckpt_path=tmp_path / "weights.ckpt")


def test_nothing_is_written_where_nothing_was_trained(trainer_of: Any, tmp_path: Path) -> None:
    class Tested(Method):
        def test_step(self, batch: Any, batch_idx: int) -> None:
            pass

    trainer = trainer_of()
    trainer.test(Tested("no such family"), DataLoader(Images(), batch_size=4), verbose=False)
    assert saved(trainer, tmp_path / "tested.ckpt")["callbacks"] == {}


class Copying(Callback):
    """Copies and pickles the Trainer's callbacks while they are at work."""

    def __init__(self, hooks: list[str]) -> None:
        self.copies: dict[str, list[list[Any]]] = {}
        for hook in hooks:
            setattr(self, hook, lambda trainer, *_, hook=hook, **__: self._copy(trainer, hook))

    def _copy(self, trainer: Trainer, hook: str) -> None:
        ours = [one for one in trainer.callbacks if isinstance(one, FamiliesCallback | MonitorCallback)]
        self.copies[hook] = [copy.deepcopy(ours), [pickle.loads(_dormant_pickle(one)) for one in ours]]


def _dormant_pickle(callback: Callback) -> bytes:
    content = pickle.dumps(callback)
    assert len(content) < 300, "more than a callback"
    assert not any(name in content for name in (b"Images", b"Method", b"Trainer\x94", b"lambda", b"torch."))
    return content


def test_callbacks_are_copied_and_pickled_before_during_and_after_a_run(trainer_of: Any) -> None:
    for callback in callbacks_factory():
        assert pickle.loads(_dormant_pickle(callback)).__class__ is callback.__class__
    hooks = ["setup", "on_train_batch_start", "teardown"]
    copying = Copying(hooks)
    watch = {"monitor": {"every": 1, "transforms": ["hue"], "num_images": 4, "reference_images": 4}}
    trainer, module = trainer_of([*callbacks_factory(), copying]), Method("ventral", invariance=watch)
    trainer.fit(module, DataLoader(Images(), batch_size=4))
    copying._copy(trainer, "after")
    assert copying.copies.keys() == {*hooks, "after"}
    for copies in (copies for kinds in copying.copies.values() for copies in kinds):
        assert equal(fit(trainer_of(copies), "ventral"), module.seen)
        assert fit(trainer_of(copies)) == PLAIN


def test_a_users_subclass_keeps_its_attributes_in_copies() -> None:
    mine = Mine()
    mine.batches = 5
    assert [copy.deepcopy(mine).batches, pickle.loads(pickle.dumps(mine)).batches] == [5, 5]


def test_fabric_gets_none_of_them() -> None:
    class Heard:
        def on_something(self, value: int) -> None:
            values.append(value)

    values: list[int] = []
    fabric = Fabric(accelerator="cpu", devices=1, callbacks=[Heard()])
    fabric.call("on_something", value=3)
    assert values == [3]
    assert [type(callback) for callback in fabric._callbacks] == [Heard]


@pytest.mark.parametrize("start", ["ddp_fork", "ddp_spawn"])
def test_several_processes_share_one_list_too(tmp_path: Path, start: str) -> None:
    """Two ranks over gloo: the list's first Trainer runs with families, its second without, its third resumes."""
    script = tmp_path / "processes.py"
    script.write_text(_PROCESSES)
    with (tmp_path / "said.txt").open("w") as said:  # a pipe would be kept open by processes that hang
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(script), str(tmp_path), start], stdout=said, stderr=said, timeout=240
        )
    assert done.returncode == 0, (tmp_path / "said.txt").read_text()[-3000:]
    seen = {path.stem: torch.load(path, weights_only=True) for path in tmp_path.glob("*-?.pt")}
    for rank in range(2):
        assert seen[f"ventral-{rank}"] == [[(2, 3, 32, 32)] * 2] * 2
        assert seen[f"plain-{rank}"] == [[(2, 3, 32, 32)]] * 2
        # Both epochs: Lightning leaves the loops of the process that started the others where they were.
        assert seen[f"resumed-{rank}"] == [[(2, 3, 32, 32)] * 2] * 4
    # Saved by the first process in which nothing was set up, where the processes were spawned.
    states = torch.load(tmp_path / "ventral.ckpt", weights_only=True)["callbacks"]
    assert states["FamiliesCallback"]["families"].startswith("2 x ventral@32")


_PROCESSES = """
import os
import sys
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader, Dataset

class Images(Dataset):
    transform = None
    def __len__(self):
        return 8
    def __getitem__(self, index):
        image = torch.arange(3 * 32 * 32).reshape(3, 32, 32).remainder(251).byte()
        return index, image if self.transform is None else self.transform(image), 0

class Method(LightningModule):
    def __init__(self, name, families):
        super().__init__()
        self.cfg = {"seed": 7, "data": {"dataset": "cifar10"},
                    "augmentations": [{"crop_size": 32, "num_crops": 2, **families}]}
        self.name = name
        self.layer = torch.nn.Linear(1, 1)
        self.seen = []
    def training_step(self, batch, batch_idx):
        crops = batch[1] if isinstance(batch[1], list) else [batch[1]]
        self.seen.append([tuple(crop.shape) for crop in crops])
        return self.layer(torch.ones(1, 1)).sum()
    def on_fit_end(self):
        torch.save(self.seen, f"{sys.argv[1]}/{self.name}-{self.global_rank}.pt")
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

if __name__ == "__main__":
    out, callbacks = Path(sys.argv[1]), []
    families = {"family": "ventral"}
    for name, chosen, resume in (("ventral", families, None), ("plain", {}, None),
                                 ("resumed", families, out / "ventral.ckpt")):
        os.environ.pop("MASTER_PORT", None)  # a new one for each run
        trainer = Trainer(max_epochs=2 if resume else 1, accelerator="cpu", devices=2, strategy=sys.argv[2],
                          callbacks=callbacks, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                          enable_model_summary=False, default_root_dir=out)
        trainer.fit(Method(name, chosen), DataLoader(Images(), batch_size=2), ckpt_path=resume)
        trainer.save_checkpoint(out / f"{name}.ckpt")
"""
