"""A layout is one addition, anybody's: an entry point."""

import re
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from solo_invariance import plugins
from solo_invariance.backbones import Architecture, load_backbone
from solo_invariance.backbones import namings as ours
from solo_invariance.errors import UserError

NARROW = {"width": 0.125}
EXAMPLE = Path(__file__).parents[2] / "examples" / "third_party_layout"


class _Distribution:
    name, version = "studio-layout", "0.1.0"


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The example, and one that is broken, beside ours."""
    real = plugins.entry_points
    theirs = [("studio", "studio_layout:studio"), ("broken", "no_such_module:layout"), ("raises", "odd_layouts:raises")]
    theirs += [("drops", "odd_layouts:drops")]

    def entry_points(group: str) -> list[EntryPoint]:
        found = [EntryPoint(*one, group)._for(_Distribution()) for one in theirs]  # type: ignore[attr-defined]
        return [*real(group=group), *found]

    monkeypatch.setattr(plugins, "entry_points", entry_points)
    odd = ModuleType("odd_layouts")
    odd.__dict__.update(raises=_raises, drops=_drops)
    monkeypatch.setitem(sys.modules, "odd_layouts", odd)
    monkeypatch.syspath_prepend(str(EXAMPLE))
    plugins.discover.cache_clear()
    yield
    plugins.discover.cache_clear()


def _raises(state: dict[str, Tensor], network: nn.Module) -> Any:
    raise RuntimeError("not mine")


def _drops(state: dict[str, Tensor], network: nn.Module) -> Any:
    """A layout that makes nothing of weights that it does not know."""
    known = {name.removeprefix("my_"): value for name, value in state.items() if name.startswith("my_")}
    return {**known, **{name: value for name, value in state.items() if name.startswith("fc.")}}


def _network() -> nn.Module:
    torch.manual_seed(0)
    return Architecture("resnet10", NARROW).build().eval()


def _studios(state: dict[str, Tensor]) -> dict[str, Tensor]:
    names = (
        (r"^conv1\.", "entry.filter."),
        (r"^bn1\.", "entry.norm."),
        (r"^layer(\d)\.(\d+)\.", r"stage\1.unit\2."),
        (r"\.conv(\d)\.", r".filter\1."),
        (r"\.bn(\d)\.", r".norm\1."),
        (r"\.downsample\.0\.", ".skip.filter."),
        (r"\.downsample\.1\.", ".skip.norm."),
    )
    found = {}
    for name, value in state.items():
        for pattern, new in names:
            name = re.sub(pattern, new, name)
        found[f"module.student.{name}"] = value
    return found


def test_the_examples_layout_is_found_and_everything_around_it_is_ours(tmp_path: Path) -> None:
    network = _network()
    theirs = _studios(network.state_dict())
    torch.save({"weights": {**theirs, "module.student.fc.weight": torch.rand(3, 3)}}, tmp_path / "a.pth")
    backbone = load_backbone(tmp_path / "a.pth", name="resnet10", kwargs=NARROW, crop_size=32)
    assert backbone.provenance.key == "weights.module.student"
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        expected = network((images - backbone.mean) / backbone.std)
    torch.testing.assert_close(backbone(images), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("module.student.entry.norm.bias"), r"1 missing \(bn1\.bias\)"),
        (lambda s: s.update({"module.student.gate": torch.rand(3)}), r"1 left over \(gate\)"),
        (lambda s: s.update({"module.student.stage1.unit1.filter1.weight": torch.rand(3)}), r"\(layer1\.1\.conv1"),
        (lambda s: s.update({"module.student.conv1.weight": torch.rand(8, 3, 7, 7)}), "does not fit the backbone"),
    ],
    ids=["missing", "unknown", "deeper", "twice"],
)
def test_every_weight_of_it_is_accounted_for(tmp_path: Path, change: Any, message: str) -> None:
    theirs = _studios(_network().state_dict())
    change(theirs)
    torch.save(theirs, tmp_path / "a.pth")
    with pytest.raises(UserError, match=message) as error:
        load_backbone(tmp_path / "a.pth", name="resnet10", kwargs=NARROW)
    # One that does not load is said, and stops nothing else; one that raises is not of the file.
    assert re.search(
        r"tried: as named, .*broken \(layouts plugin 'broken' of studio-layout 0\.1\.0 .*No module", str(error.value)
    )
    assert re.search(r"tried: .*raises, studio", str(error.value))


def test_what_a_layout_drops_is_left_over(tmp_path: Path) -> None:
    """A layout cannot make weights vanish: what it leaves out is no head because of that."""
    theirs = {f"net.my_{name}": value for name, value in _network().state_dict().items()}
    torch.save({**theirs, "net.fc.weight": torch.rand(3, 3)}, tmp_path / "a.pth")
    assert load_backbone(tmp_path / "a.pth", name="resnet10", kwargs=NARROW, crop_size=32).provenance.key == "net"
    torch.save({**theirs, "net.gate.weight": torch.rand(3, 3)}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"1 left over \(gate\.weight\)"):
        load_backbone(tmp_path / "a.pth", name="resnet10", kwargs=NARROW)


def test_each_table_says_whose_names_they_are() -> None:
    for one in ours.RENAMINGS:
        assert re.search(r"https://github\.com/\S+", one.source)
    with pytest.raises(ValueError, match=r"two tensors become blocks\.1\.norm1\.weight"):
        ours.dinov2({f"blocks.{n}.1.norm1.weight": torch.zeros(2) for n in (0, 1)}, nn.Identity())
