"""Networks of one's own code, of torch.hub's repositories and of plugins; files may ask for none of them."""

import json
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import torch

from solo_invariance import plugins
from solo_invariance.backbones import Architecture, BackboneConfig, InputSpec, load_backbone, random_init_of
from solo_invariance.backbones.files.fused_checkpoint import save_fused
from solo_invariance.backbones.sources import DescribedNetwork, torch_hub
from solo_invariance.errors import UserError
from solo_invariance.features.digests import digest_of_backbone
from solo_invariance.fuse import fuse
from solo_invariance.plugins import Plugin, discover

_NETS = """
import pathlib, torch
from torch import nn
pathlib.Path({marker!r}).touch()

class Net(nn.Module):
    def __init__(self, width=16, pretrained=False):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, width, 3, 4, bias=False), nn.BatchNorm2d(width)
        nn.init.normal_(self.conv.weight, std=0.5)
        if pretrained:
            weights = torch.Generator().manual_seed(7)
            nn.init.normal_(self.conv.weight, generator=weights)
            nn.init.normal_(self.norm.weight, generator=weights)
    def forward(self, images):
        return self.norm(self.conv(images)).mean((2, 3))

def trained(width=16):
    return Net(width, True)

def described(width=16, pretrained=True):
    return Net(width, pretrained), {{"crop_size": 48, "mean": [0.4] * 3, "std": [0.2] * 3, "interpolation": "bicubic"}}

def tokens():
    net = Net(16, True)
    net.token = nn.Parameter(torch.arange(4.0))
    return net

def nothing(): pass
def number(): return 3
def odd(): return Net(), {{"size": 48}}
def wrong(): return Net(), {{"crop_size": -1}}
def broken(): raise ValueError("no weights at home")
model = Net()
constant = 3
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current directory, with a module ``my_nets`` that leaves a mark where it is imported."""
    (tmp_path / "my_nets.py").write_text(_NETS.format(marker=str(tmp_path / "ran")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", ".")])
    yield tmp_path
    for name in ("my_nets", "nets_of_repository", "broken_nets"):
        sys.modules.pop(name, None)


@pytest.fixture
def repository(here: Path) -> Path:
    """A checkout with a ``hubconf.py``, which imports a module beside it."""
    folder = here / "repository"
    folder.mkdir()
    (here / "my_nets.py").rename(folder / "nets_of_repository.py")
    (folder / "hubconf.py").write_text(
        "dependencies = ['torch']\nimport nets_of_repository as nets\n"
        "def net(pretrained=True, width=16):\n    '''A net'''\n    return nets.Net(width, pretrained)\n"
        "def late():\n    import late_nets\n    return late_nets.net\n"
        "def weighty(*, weights=None):\n    return nets.Net(16, weights is not None)\n"
    )
    (folder / "late_nets.py").write_text("import nets_of_repository\nnet = nets_of_repository.Net()\n")
    return folder


def test_what_a_function_of_ones_own_returns(here: Path) -> None:
    backbone = load_backbone("python:my_nets:trained", kwargs={"width": 8})
    import my_nets  # type: ignore[import-not-found]

    images = torch.rand(2, 3, 224, 224)
    expected = my_nets.trained(8).eval()
    torch.testing.assert_close(backbone(images), expected((images - backbone.mean) / backbone.std))
    assert (backbone.num_features, backbone.input_spec) == (8, InputSpec())
    assert backbone.provenance.label == "python:my_nets:trained"
    by_class = load_backbone("python:my_nets:Net", kwargs={"pretrained": True, "width": 8})
    torch.testing.assert_close(by_class(images), backbone(images))
    assert load_backbone("python:my_nets:model").network is not my_nets.model


def test_a_function_that_describes_the_input_and_takes_pretrained(here: Path) -> None:
    backbone = load_backbone("python:my_nets:described")
    assert backbone.input_spec == InputSpec(48, (0.4,) * 3, (0.2,) * 3, "bicubic")
    assert load_backbone("python:my_nets:described", crop_size=32).input_spec.crop_size == 32
    drawn = [load_backbone("random:python:my_nets:described", seed=seed) for seed in (0, 0, 1)]
    weights = [one.network.state_dict()["conv.weight"] for one in (backbone, *drawn)]
    assert torch.equal(weights[1], weights[2])
    assert not torch.equal(weights[1], weights[3])
    assert abs(float(weights[1].std()) - 0.5) < 0.05  # as the function draws them, and not as a layer does
    torch.save(backbone.network.state_dict(), here / "mine.pth")
    of_file = load_backbone(here / "mine.pth", name="python:my_nets:described")
    images = torch.rand(2, 3, 48, 48)
    assert torch.equal(of_file(images), backbone(images))
    assert of_file.input_spec == backbone.input_spec


def test_untrained_ones_of_a_function_that_always_loads_weights(here: Path) -> None:
    backbone = load_backbone("python:my_nets:trained")
    for untrained in (random_init_of(backbone, 0), load_backbone("random:python:my_nets:trained")):
        weights = untrained.network.state_dict()
        assert not torch.equal(weights["conv.weight"], backbone.network.state_dict()["conv.weight"])
        assert torch.equal(weights["norm.weight"], torch.ones(16))
    with pytest.raises(UserError, match=r"its weights cannot be drawn again \(token has no layer .*take pretrained"):
        random_init_of(load_backbone("python:my_nets:tokens"), 0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_nets:nothing", "python:my_nets:nothing returned nothing, expected a torch.nn.Module"),
        ("my_nets:number", "returned a int, expected"),
        ("my_nets:odd", "returned 'size' in it as its input, expected an InputSpec or a mapping with crop_size"),
        ("my_nets:wrong", "returned an input whose crop_size is -1, expected at least 1"),
        ("my_nets:broken", "python:my_nets:broken raised ValueError: no weights at home"),
        ("my_nets:trainde", "my_nets has no 'trainde'; did you mean 'trained'"),
        ("my_nets:constant", "is a int, which cannot be called"),
        ("my_net:trained", "there is no module 'my_net', neither here nor among what is installed"),
        ("my_nets.py:trained", "a file is named without .py"),
        ("broken_nets:net", "broken_nets cannot be imported .*No module named 'nowhere'"),
        ("my_nets", "expected python:MODULE:CALLABLE"),
        (":trained", "expected python:MODULE:CALLABLE"),
    ],
)
def test_what_is_none(here: Path, name: str, message: str) -> None:
    (here / "broken_nets.py").write_text("import nowhere\n")
    with pytest.raises(UserError, match=message):
        load_backbone(f"python:{name}")


def test_features_are_kept_by_weights_and_code(here: Path) -> None:
    first = load_backbone("python:my_nets:described")
    other = load_backbone("python:my_nets:described", kwargs={"pretrained": False})
    assert first.provenance.sha256 != other.provenance.sha256
    digest = digest_of_backbone(first)
    assert digest_of_backbone(load_backbone("python:my_nets:described")) == digest
    text = (here / "my_nets.py").read_text().replace("mean((2, 3))", "amax((2, 3))")
    (here / "my_nets.py").write_text(text)
    del sys.modules["my_nets"]
    changed = load_backbone("python:my_nets:described")
    assert changed.provenance.sha256 == first.provenance.sha256
    assert digest_of_backbone(changed) != digest


def test_a_repositorys_code_runs_where_it_may(repository: Path) -> None:
    name, mark = f"torch.hub:{repository}:net", repository.parent / "ran"
    with pytest.raises(UserError, match=rf"would run code, net of {repository}/hubconf\.py; backbone\.trust=true"):
        load_backbone(name)
    assert not mark.exists()
    backbone = load_backbone(name, trust=True, kwargs={"width": 8})
    expected = torch.hub.load(str(repository), "net", source="local", width=8).state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in backbone.network.state_dict().items())
    twin = random_init_of(backbone, 0)
    assert not torch.equal(twin.network.state_dict()["conv.weight"], expected["conv.weight"])
    drawn = load_backbone(f"random:{name}", trust=True)
    assert torch.equal(drawn.network.state_dict()["norm.weight"], torch.ones(16))
    assert load_backbone(f"torch.hub:{repository}:late", trust=True).num_features == 16
    with pytest.raises(UserError, match=r"has no 'nett'; did you mean 'net'"):
        load_backbone(f"torch.hub:{repository}:nett", trust=True)
    with pytest.raises(UserError, match=r"there is no hubconf\.py in"):
        load_backbone(f"torch.hub:{repository.parent}:net", trust=True)


def test_what_torch_hub_trusts(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = repository.parent / "home" / "hub"
    monkeypatch.setenv("TORCH_HOME", str(hub.parent))
    with pytest.raises(UserError, match=r"net of github\.com/some/body/hubconf\.py, which .*trusted_list does not"):
        load_backbone("torch.hub:some/body:net")
    # As torch.hub leaves what it has fetched with its owner's consent: of the default branch, and of a tag.
    for branch in ("main", "v1.0"):
        (hub / f"else_where_{branch}").mkdir(parents=True)
        for file in repository.iterdir():
            if file.is_file():
                (hub / f"else_where_{branch}" / file.name).write_bytes(file.read_bytes())
    (hub / "trusted_list").write_text("else_where\nsome_body\n")
    assert load_backbone("torch.hub:else/where:net").num_features == 16
    assert load_backbone("torch.hub:else/where:v1.0:net", kwargs={"width": 8}).num_features == 8
    # What is trusted, but not there, is asked for, where a network is.
    monkeypatch.setattr(torch_hub, "require_reachable", _refuse)
    for name in ("some/body", "facebookresearch/dino", "else/where:v2.0"):
        with pytest.raises(UserError, match=r"it is not in .*hub, and cannot be reached"):
            load_backbone(f"torch.hub:{name}:net", trust=name.endswith("2.0") or None)
    for name in ("net", "one:net", "a/b/c:net", ":net", "some/body:"):
        with pytest.raises(UserError, match=r"expected torch\.hub:OWNER/NAME:ENTRY"):
            load_backbone(f"torch.hub:{name}")


def _refuse(url: str, what: str) -> None:
    raise UserError(f"{what} cannot be reached")


@pytest.mark.parametrize("package", ["torchvision.models", "timm.models.resnet"])
def test_classifiers_of_the_two_packages_are_taken_off(here: Path, package: str) -> None:
    code = f"from {package} import resnet18\n\ndef net():\n    return resnet18(num_classes=5)\n"
    (here / "classify.py").write_text(code)
    backbone = load_backbone("python:classify:net")
    assert backbone.num_features == 512
    first = package.partition(".")[0]
    assert backbone.describe()["remarks"] == [f"python:classify:net: its classifier, as {first} has it, is taken off"]
    del sys.modules["classify"]
    (here / "classify.py").write_text(
        f"from {package} import resnet18\nfrom torch import nn\n\ndef net():\n    net = resnet18(num_classes=5)\n"
        "    net.fc = nn.Identity()\n    net.num_classes = 0\n    return net\n"
    )
    own = load_backbone("python:classify:net")
    assert (own.num_features, own.describe()["remarks"]) == (512, [])
    del sys.modules["classify"]


def test_two_repositories_have_a_module_of_the_same_name_each(repository: Path) -> None:
    other = repository.parent / "other"
    other.mkdir()
    for file in repository.iterdir():
        if file.is_file():
            text = file.read_text().replace("mean((2, 3))", "amax((2, 3))")
            (other / file.name).write_text(text)
    images = torch.rand(1, 3, 224, 224)
    features = [load_backbone(f"torch.hub:{one}:net", trust=True)(images) for one in (repository, other, repository)]
    assert torch.equal(features[0], features[2])
    assert not torch.allclose(features[0], features[1])


def _plugin_net(width: int = 8, pretrained: bool = True) -> DescribedNetwork:
    with torch.random.fork_rng():
        if pretrained:
            torch.manual_seed(1)
        network = torch.nn.Sequential(torch.nn.Conv2d(3, width, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    return DescribedNetwork(network, InputSpec(40, (0.3,) * 3, (0.2,) * 3))


def _plain_net() -> Any:
    return torch.nn.Flatten()


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another distribution's networks, ``their_net`` and ``plain_net``."""
    found = [
        Plugin("backbones", name, "theirs 1.0", EntryPoint(name, f"{__name__}:_{name}", "solo_invariance.backbones"))
        for name in ("plugin_net", "plain_net")
    ]
    known = discover
    discovering = lambda kind: tuple(found) if kind == "backbones" else known(kind)  # noqa: E731
    for place in (
        "solo_invariance.plugins",
        "solo_invariance.backbones.sources.plugins",
        "solo_invariance.config.backbone",
    ):
        monkeypatch.setattr(f"{place}.discover", discovering)


def test_a_plugins_network_by_its_name(plugin: None, tmp_path: Path) -> None:
    backbone = load_backbone("plugin_net")
    assert (backbone.num_features, backbone.input_spec) == (8, InputSpec(40, (0.3,) * 3, (0.2,) * 3))
    torch.save(backbone.network.state_dict(), tmp_path / "mine.pth")
    of_file = load_backbone(tmp_path / "mine.pth", name="plugin_net")
    images = torch.rand(1, 3, 40, 40)
    assert torch.equal(of_file(images), backbone(images))
    assert load_backbone(BackboneConfig(name="plugin_net", kwargs={"width": 4})).num_features == 4
    assert not torch.equal(load_backbone("random:plugin_net")(images), backbone(images))
    assert not torch.equal(random_init_of(backbone, 0)(images), backbone(images))
    with pytest.raises(UserError, match=r"'plain_net' of theirs 1\.0 returned a Flatten, expected DescribedNetwork"):
        load_backbone("plain_net")


def test_a_fused_file_runs_no_code_unless_it_is_trusted(here: Path, plugin: None) -> None:
    members = ["python:my_nets:trained", "plugin_net", "random:resnet10"]
    fused = fuse(members, out=here / "fused.ckpt")
    images = torch.rand(1, 3, 224, 224)
    expected = fused(images)
    del sys.modules["my_nets"]
    (here / "ran").unlink()
    with pytest.raises(UserError, match=r"fused\.ckpt: .* would run trained of the Python module my_nets.*trust=true"):
        load_backbone(here / "fused.ckpt")
    assert not (here / "ran").exists()
    assert "my_nets" not in sys.modules
    assert torch.equal(load_backbone(here / "fused.ckpt", trust=True)(images), expected)


@pytest.mark.parametrize(
    ("name", "asks"),
    [
        ("python:my_nets:trained", "run trained of the Python module my_nets"),
        ("python:os:mkdir", "run mkdir of the Python module os"),
        ("torch.hub:some/body:net", r"run net of github\.com/some/body/hubconf\.py"),
        (
            "torch.hub:facebookresearch/dino:dino_vits16",
            r"run dino_vits16 of github\.com/facebookresearch/dino/hubconf\.py",
        ),
        ("torch.hub:./repository:net", r"run net of \./repository/hubconf\.py"),
        ("plugin_net", r"run the backbones plugin 'plugin_net' of theirs 1\.0"),
        ("hf:org/net", "read from a hub"),
        ("hf:/some/where", "read a folder"),
        ("timm:hf-hub:org/net", "read hf-hub:org/net"),
        ("timm:local-dir:/some/where", "read local-dir:/some/where"),
    ],
)
@pytest.mark.parametrize("kind", ["fused", "args"])
def test_files_that_name_them(here: Path, plugin: None, name: str, asks: str, kind: str) -> None:
    path = here / "file.ckpt"
    fused = fuse(["random:resnet10"])
    save_fused(fused, path)
    content = torch.load(path, weights_only=True)
    if kind == "fused":
        # What a stranger's file may say of trust does not count.
        content["fusion"]["members"][0]["architecture"] |= {"name": name, "trusted": True}
    else:
        del content["fusion"]
        args = {"backbone": {"name": name, "kwargs": {"path": str(here / "made")}, "trust": True}, "trusted": True}
        (here / "args.json").write_text(json.dumps(args))
    torch.save(content, path)
    with pytest.raises(UserError, match=f"would {asks}, and a file says so, not you; backbone.trust=true allows it"):
        load_backbone(path)
    assert not (here / "ran").exists()
    assert not (here / "made").exists()


def test_an_architecture_of_code_is_none_that_is_built_unasked(here: Path) -> None:
    architecture = Architecture("python:my_nets:trained")
    with pytest.raises(UserError, match=r"backbone\.trust=true"):
        architecture.build()
    with pytest.raises(UserError, match=r"backbone\.trust=true"):
        architecture.untrained()
    assert not (here / "ran").exists()
    assert "trusted" not in Architecture("python:my_nets:trained", trusted=True).plain()
    assert not Architecture.from_mapping({"name": "resnet10", "trusted": True}, False).trusted


def test_it_is_said_which_plugins_group_there_is() -> None:
    assert "backbones" in plugins.KINDS
