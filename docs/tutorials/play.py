"""A marimo notebook: choose a transform and watch the views, and what a backbone makes of them.

marimo edit play.py
"""

import marimo

app = marimo.App(width="medium", app_title="Invariance, one transform at a time")


@app.cell
def _():
    import marimo as mo
    import torch
    from PIL import Image

    from solo_invariance import MeasureSettings, load_backbone, measure
    from solo_invariance.data import LatentScenes
    from solo_invariance.measure import ResizeCrop
    from solo_invariance.plugins import discover

    return (Image, LatentScenes, MeasureSettings, ResizeCrop, discover, load_backbone, measure, mo, torch)


@app.cell
def _(mo):
    mo.md("""
    # Invariance, one transform at a time

    Above: one picture under a transform, from one end of its parameters to the other. Below: how similar the
    features of each view are to those of the clean picture, over 64 pictures. 1: the backbone does not see the change.

    The backbone is untrained until you name one: a checkpoint of yours, or `timm:resnet18`.
    """)
    return


@app.cell
def _(discover, mo):
    _names = [plugin.name for plugin in discover("transforms")]
    transform_name = mo.ui.dropdown(_names, value="rotation", label="transform")
    picture = mo.ui.slider(0, 63, value=2, label="picture", show_value=True)
    source = mo.ui.text("random:resnet10", label="backbone")
    mo.hstack([transform_name, picture, source], justify="start")
    return (picture, source, transform_name)


@app.cell
def _(LatentScenes, ResizeCrop, load_backbone, source):
    scenes = LatentScenes(400, size=64)
    backbone = load_backbone(source.value, crop_size=56)
    geometry = ResizeCrop(64, 56)
    return (backbone, geometry, scenes)


@app.cell
def _(Image, discover, geometry, mo, picture, scenes, torch, transform_name):
    (plugin,) = [one for one in discover("transforms") if one.name == transform_name.value]
    transform = plugin.load()
    grid = transform.grid(9, geometry, "clean")
    image = scenes.images[picture.value].expand(len(grid), -1, -1, -1).float() / 255
    strip = torch.cat(list(transform.apply(image, grid, geometry)), dim=2)
    views = Image.fromarray((strip * 255).byte().permute(1, 2, 0).numpy())
    mo.image(views.resize((2 * views.width, 2 * views.height)))
    return (transform,)


@app.cell
def _(MeasureSettings, backbone, geometry, measure, mo, scenes, transform_name):
    settings = MeasureSettings(k=9, num_images=64, geometry=geometry)
    result = measure(backbone, scenes.images, [transform_name.value], settings, device="cpu").only
    measured = result.transforms[transform_name.value]
    rows = [
        {
            "parameter": ", ".join(f"{number:.3g}" for number in parameter),
            "unit": measured.unit,
            "similarity": round(similarity, 3),
            "": "█" * round(40 * max(similarity, 0)),
        }
        for parameter, similarity in zip(measured.parameters, measured.curve, strict=True)
    ]
    one = measured.similarity
    mo.vstack(
        [
            mo.md(f"**{result.label}**, mean similarity **{one.mean:.2f}** [{one.low:.2f}, {one.high:.2f}]"),
            mo.ui.table(rows, selection=None, pagination=False),
        ]
    )
    return (measured,)


if __name__ == "__main__":
    app.run()
