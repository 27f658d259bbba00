"""Results say where a layer lies in its network, and which weights are random."""

from solo_invariance.backbones import load_backbone
from solo_invariance.measure.record import backbone_entry


def test_layers_are_in_the_order_of_the_network_however_they_were_asked_for() -> None:
    layers = ["avgpool", "layer1", "layer4"]
    backbone = load_backbone("random:resnet10", kwargs={"width": 0.125}, crop_size=48, layer=layers)
    entries = {layer: backbone_entry(backbone, layer, twin=True)["backbone"] for layer in layers}
    assert sorted(layers, key=lambda layer: entries[layer]["depth"]) == ["layer1", "layer4", "avgpool"]
    assert not any(entry["untrained"] for entry in entries.values())
    twin = backbone_entry(backbone, "untrained/layer1", twin=True)["backbone"]
    assert (twin["untrained"], twin["depth"]) == (True, entries["layer1"]["depth"])


def test_the_output_has_no_depth() -> None:
    backbone = load_backbone("random:resnet10", kwargs={"width": 0.125}, crop_size=32)
    assert backbone_entry(backbone, "", twin=False)["backbone"]["depth"] is None
