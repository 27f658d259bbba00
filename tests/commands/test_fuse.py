from pathlib import Path

import torch

from solo_invariance.backbones import BackboneConfig, load_backbone


def test_a_fusion_is_written_and_its_use_explained(cli, host_checkpoint, tmp_path: Path) -> None:
    members = [host_checkpoint("default"), host_checkpoint("ventral", 1)]
    out = tmp_path / "fused.ckpt"
    code, printed, err = cli("fuse", f"members=[{members[0]},{members[1]}]", f"out={out}")
    assert code == 0, err
    assert "default+ventral: 2 members, concat, 128 features" in printed
    assert f"+backbone.kwargs.checkpoint={out}" in printed
    assert load_backbone(BackboneConfig(checkpoint=str(out))).num_features == 128
    assert cli("fuse", f"members=[{members[0]},{members[1]}]", "mode=sum", f"out={out}")[0] == 0
    assert load_backbone(BackboneConfig(checkpoint=str(out))).num_features == 64


def test_nothing_but_a_fusion_is_ever_overwritten(cli, host_checkpoint, tmp_path: Path) -> None:
    members = [host_checkpoint("default"), host_checkpoint("ventral", 1)]
    before = [path.read_bytes() for path in members]
    code, _, err = cli("fuse", f"members=[{members[0]},{members[1]}]", f"out={members[1]}")
    assert code == 2
    assert "is one of the members" in err
    code, _, err = cli("fuse", f"members=[{members[0]}]", f"out={members[1]}")
    assert code == 2
    assert "is no fused checkpoint" in err
    assert [path.read_bytes() for path in members] == before


def test_unequal_widths_cannot_be_summed(cli, host_checkpoint, tmp_path: Path) -> None:
    members = [host_checkpoint("default"), host_checkpoint("ventral", 1, width=0.25)]
    code, _, err = cli("fuse", f"members=[{members[0]},{members[1]}]", "mode=sum", f"out={tmp_path / 'fused.ckpt'}")
    assert code == 2
    assert "mode=sum does not fit its members (default: 64, ventral: 128)" in err
    assert not (tmp_path / "fused.ckpt").exists()


def test_the_file_holds_plain_tensors_and_data_only(cli, host_checkpoint, tmp_path: Path) -> None:
    cli("fuse", f"members=[{host_checkpoint()}]", f"out={tmp_path / 'fused.ckpt'}")
    content = torch.load(tmp_path / "fused.ckpt", weights_only=True)
    assert set(content) == {"state_dict", "fusion"}
    assert content["fusion"]["members"][0]["architecture"]["name"] == "resnet10"
