"""The card of an exported folder: what the backbone is, where it comes from and how it is used, for readers."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from solo_invariance.backbones.backbone import Backbone
from solo_invariance.backbones.files.exported import WEIGHTS
from solo_invariance.backbones.sources import source_of
from solo_invariance.export.written import Written
from solo_invariance.results import InvarianceResult, TransferResult
from solo_invariance.results.estimate import Estimate
from solo_invariance.results.files import as_text

_TASK = "image-feature-extraction"
_UNKNOWN = "unknown"
_COLUMNS = ("similarity", "width_matched_similarity", "distance")


def card_of(
    written: Written,
    folder: str,
    measured: Sequence[InvarianceResult | TransferResult] = (),
    license: str | None = None,
    *,
    for_timm: bool = False,
) -> str:
    """Return a card in Markdown, with the front matter by which model hubs sort it.

    Args:
        written: The backbone.
        folder: What the folder is called.
        measured: Results of the backbone to show.
        license: Of the weights, None where it is not known.
        for_timm: Whether timm reads the folder, too.
    """
    backbone = written.backbone
    sections = [
        _front_matter(license, for_timm),
        f"# {_text(written.shortened(backbone.provenance.label))}",
        f"Maps images to {backbone.num_features} features. Its weights are frozen; it has no classifier.",
        _table(["", ""], _facts(written)),
        "## Use it",
        _use(folder, written, for_timm),
        *_results(measured),
        "## License",
        _license(license),
    ]
    return str(as_text("\n\n".join(sections))) + "\n"


def _front_matter(license: str | None, for_timm: bool) -> str:
    tags = [_TASK, "solo-invariance", *(["timm"] if for_timm else [])]
    library = "timm" if for_timm else "solo-invariance"
    lines = [f"library_name: {library}", f"license: {license or _UNKNOWN}", f"pipeline_tag: {_TASK}", "tags:"]
    return "\n".join(["---", *lines, *(f"- {tag}" for tag in tags), "---"])


def _facts(written: Written) -> Iterator[tuple[str, str]]:
    backbone = written.backbone
    members = backbone.members
    if members:
        fusion = written.content["backbone"]["fusion"]
        if fusion.get("shaped") is None:
            yield "fusion", f"{_code(fusion['mode'])} of {len(members)} backbones"
        else:
            yield "shaped", f"by {_code(fusion['mode'])}: {', '.join(map(_code, fusion['shaped']))}"
        for number, member in enumerate(members, 1):
            label = _text(written.shortened(member.provenance.label))
            yield f"member {number}", f"{label}: {'; '.join(_about(member, written))}"
        if backbone.fitted_on:
            yield "fitted to", f"{len(backbone.fitted_on)} images, whose digests are in `config.json`"
    else:
        for number, fact in enumerate(_about(backbone, written)):
            yield "made of" if number == 0 else "", fact
    if list(backbone.layers) != [""]:
        yield "layers", ", ".join(f"{_code(name)} ({width})" for name, width in backbone.layers.items())
    described = backbone.describe()
    if described["pool"] is not None:
        yield "of its tokens", _code(" ".join(filter(None, (described["pool"], described["tokens"]))))
    views = described["views"]
    if views is not None:
        yield "averaged over", f"{views['num_views']} views of each image by {_made_by(views)}"
    yield "input", _input(backbone)
    yield "parameters", f"{sum(one.numel() for one in backbone.whole_network.parameters()):,}"
    yield _code(WEIGHTS), f"sha256 {_code(written.content['sha256'])}"
    for remark in described["remarks"]:
        yield "remark", _text(written.shortened(remark))
    yield "written by", f"solo-invariance {written.content['versions']['solo-invariance']}"


def _made_by(views: Mapping[str, Any]) -> str:
    """Return what makes the views that features are averaged over: a family, or transforms."""
    names = [one["name"] for one in views["transforms"]] if "transforms" in views else [views["family"]]
    return ", ".join(map(_code, names))


def _about(backbone: Backbone, written: Written) -> Iterator[str]:
    """Yield what a backbone is, which is no fused one, and where its weights come from."""
    architecture, origin = backbone.architecture, backbone.provenance
    arguments = _written(architecture.kwargs)
    small = ", with a stem for small images" if architecture.small_stem else ""
    yield f"{_code(written.shortened(architecture.name))}{f' with {_code(arguments)}' if arguments else ''}{small}"
    if origin.checkpoint is not None:
        key = f", {_code(origin.key)} in it" if origin.key else ""
        sha256 = f", sha256 {_code(origin.sha256)}" if origin.sha256 else ""
        yield f"weights from {_code(Path(origin.checkpoint).name)}{key}{sha256}"
    elif any(architecture.kwargs.get(key) for key in ("pretrained", "weights")):
        yield "weights as its package publishes them"
    elif origin.label.startswith("random:"):
        yield "random weights, untrained"


def _written(kwargs: Mapping[str, Any]) -> str:
    """Return arguments as Python has them, whole mappings and those that say where weights are left out."""
    shown = {name: value for name, value in kwargs.items() if name not in ("pretrained", "weights")}
    return ", ".join(f"{name}={'{...}' if isinstance(one, Mapping) else repr(one)}" for name, one in shown.items())


def _input(backbone: Backbone) -> str:
    spec = backbone.input_spec
    resized = f"(N, 3, H, W) in [0, 1], resized to {spec.crop_size} x {spec.crop_size} pixels ({spec.interpolation})"
    if backbone.members:
        return f"{resized}; each member resizes and normalises for itself"
    mean, std = (", ".join(f"{one:.4g}" for one in numbers) for numbers in (spec.mean, spec.std))
    return f"{resized}; then normalised with mean ({mean}) and std ({std})"


def _use(folder: str, written: Written, for_timm: bool) -> str:
    backbone = written.backbone
    name = re.sub(r"[^\w./+ -]", "", folder) or "FOLDER"
    shell = f"'backbone.checkpoint={name}'" if " " in name else f"backbone.checkpoint={name}"
    asked = list(dict.fromkeys(filter(None, (_asks_for(one, written) for one in (backbone, *backbone.members)))))
    trust, key = (", trust=True", " backbone.trust=true") if asked else ("", "")
    python = [
        "from solo_invariance import load_backbone",
        "",
        f'backbone = load_backbone("{name}"{trust})  # this folder',
        f"features = backbone(images)  # (N, 3, H, W) in [0, 1] to (N, {backbone.num_features})",
    ]
    parts = [
        _block("python", python),
        _block("sh", [f"solo-invariance measure {shell}{key} data.path=photos"]),
    ]
    if asked:
        parts.append(
            f"Its network is not of a package alone, hence the trust: to build it would {' and '.join(asked)}."
        )
    if for_timm:
        timm = ["import timm", "", f'network = timm.create_model("local-dir:{name}", pretrained=True)']
        parts += ["timm reads it, too; images are then normalised by its caller:", _block("python", timm)]
    return "\n\n".join(parts)


def _asks_for(backbone: Backbone, written: Written) -> str | None:
    """Return what to build a backbone's network would do beyond what packages do, in Markdown."""
    if backbone.members:
        return None
    source, name = source_of(backbone.architecture.name)
    asks = source.asks_for(name, backbone.architecture.without_weights().kwargs)
    return None if asks is None else _text(written.shortened(asks))


def _results(measured: Sequence[InvarianceResult | TransferResult]) -> Iterator[str]:
    invariances = [one for one in measured if isinstance(one, InvarianceResult)]
    scores = [one for one in measured if isinstance(one, TransferResult)]
    if invariances:
        yield "## What it is invariant to"
        yield (
            "Means over images with 95 % intervals. A similarity of 1 and a distance of 0 are invariant; both depend "
            "on the number of features, width matched similarity does not."
        )
    for result in invariances:
        found = {**result.transforms, **result.views}
        columns = [name for name in _COLUMNS if all(name in one.metrics for one in found.values())]
        head = ["change", "kind", *(name.replace("_", " ") for name in columns)]
        rows = [
            [_code(name), one.kind, *(_number(one.metrics[column]) for column in columns)]
            for name, one in found.items()
        ]
        yield f"{result.num_images} images, protocol {_code(result.protocol)}, k={result.k}:"
        yield _table(head, rows)
        yield from (_text(caution) for caution in result.cautions)
    if scores:
        yield "## How well it does on tasks"
        yield "Frozen, with a probe on its features; 95 % intervals."
        rows = [[_code(one.task), one.metric.replace("_", " "), _number(one.score), one.probe] for one in scores]
        yield _table(["task", "metric", "score", "probe"], rows)


def _license(license: str | None) -> str:
    if license is not None:
        return f"`{license}`, as whoever exported it said."
    return (
        "Unknown: the program that wrote this card cannot tell it. It follows from those of the weights and of the "
        "images that they were trained on; find it out, and write it into the first lines, before you share this."
    )


def _number(estimate: Estimate) -> str:
    return f"{estimate.mean:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _table(head: Sequence[str], rows: Iterator[tuple[str, str]] | Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(' '.join(one.split()).replace('|', chr(92) + '|') for one in line)} |" for line in lines
    )


def _block(language: str, lines: Sequence[str]) -> str:
    return "\n".join([f"```{language}", *lines, "```"])


def _code(text: str) -> str:
    """Return a text, which may be a stranger's, as what means nothing but itself."""
    return f"`{' '.join(text.replace('`', chr(39)).split())}`"


def _text(text: str) -> str:
    """Return a stranger's words without markup, links or HTML; nor do addresses in them become links."""
    return re.sub(r"([\\`*_{}\[\]<>#|!@]|:(?=//)|(?<=www)\.)", r"\\\1", " ".join(text.split()))
