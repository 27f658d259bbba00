"""What parts of a checkpoint are called, whoever wrote it: which are no backbone's, and which of several is evaluated.

Tables: a name that another code has is one word more in a row.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass


def _any_of(rows: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(rows), re.IGNORECASE)


_CLASSIFIERS = re.compile(r"fc\d*|heads?|linear\d*|mlp|classif\w*|logits?|auxlogits|aux\d*|last|top", re.IGNORECASE)
"""Words of names of what stands on a backbone: torchvision's, timm's."""

_NO_CLASSIFIERS = {"norm", "pre"}
"""Words by which these belong to the features in spite of it: ``fc_norm``, ``pre_logits``."""

_HEADS = _any_of(
    [
        # Probes beside the training: stable-pretraining, lightly's benchmarks.
        r"probes?|knn",
        # Projectors and predictors: MoCo, SimSiam, SwAV, Barlow Twins, VICReg, BYOL.
        r"proj\w*|pred\w*|necks?|whiten\w*|expander|pooler",
        # Prototypes and clusters: SwAV, MSN, DeepCluster.
        r"proto\w*|cluster\w*|centers?|centroids?|assign\w*",
        # What masked images are made good by: MAE, SimMIM, iBOT (masked_embed), BEiT (lm_head).
        r"decod\w*|mask\w*|regress\w*",
        # Queues: MoCo, NNCLR, MSN, lightly.
        r"queue\w*|memory|bank",
        # Losses that keep something: DINO, iBOT.
        r"loss\w*|crit\w*",
        # Copies of the network, each with heads of its own.
        r"online|target|momentum|teacher|student|ema|anchor|key",
    ]
)
"""Words of names that heads have, and whatever else is no backbone's; one of several says it, as in ``dino_head``."""

_COMPUTED = _any_of(
    [
        # Positions: BEiT, Swin, DINOv3's rope_embed.periods, transformers.
        r"relative_position_index|relative_coords_table|attn_mask|periods|inv_freq|position_ids",
        # Which of DINOv3's biases count.
        r"bias_mask",
    ]
)
"""Names of what a network keeps, but computes itself: nothing in it was trained."""

_BESIDE = _any_of(
    [
        # What training goes on from: Lightning, timm, DINO, I-JEPA.
        r"opt|optim\w*|lr|sched\w*|scal\w*|amp|callbacks?|loops?|rng\w*|random|generator|sampl\w*|buffers?|progress",
        # What is said of the run.
        r"args|argv|hparams?|hyper\w*|config\w*|cfg|meta\w*|settings|info|metrics?|stats?|statistics|history|logs?",
        # What images are normalised by: mmselfsup, lightly-train.
        r"preproc\w*|normali\w*|mean|std|transforms?",
        # Barlow Twins' normalisation of what its projector gives.
        r"bn",
        # CLIP's tower of texts.
        r"text\w*|token|positional|transformer|ln|logit",
    ]
)
"""Words of names that lie beside a backbone, but never in it."""


def is_head(name: str) -> bool:
    """Whether a part of a name is a head's: a classifier, a projector, a decoder, a queue, a copy of the network.

    Args:
        name: One part of a dotted name, such as ``projection_head``.

    Example:
        >>> is_head("projection_head"), is_head("fc_norm"), is_head("layer4")
        (True, False, False)
    """
    words = name.split("_")
    classifies = any(map(_CLASSIFIERS.fullmatch, words)) and _NO_CLASSIFIERS.isdisjoint(words)
    return classifies or any(map(_HEADS.fullmatch, words))


def is_beside(name: str) -> bool:
    """Whether a part of a name is known to lie beside a backbone: a head, or what training goes on from.

    Args:
        name: One part of a dotted name, such as ``optimizer``.

    Example:
        >>> is_beside("optimizer_states"), is_beside("gate")
        (True, False)
    """
    return is_head(name) or any(map(_BESIDE.fullmatch, name.split("_")))


def is_computed(name: str) -> bool:
    """Whether a tensor is one that networks compute themselves, and no weight.

    Args:
        name: Its dotted name.

    Example:
        >>> is_computed("blocks.0.attn.relative_position_index")
        True
    """
    return _COMPUTED.fullmatch(name.rpartition(".")[2]) is not None


@dataclass(frozen=True)
class Copies:
    """Names of one of several copies of a network, which training keeps beside each other.

    Args:
        words: Of which its name has one.
        rank: Of a file's copies, that of the lowest is evaluated.
        source: Which codes call it so, and evaluate it, or another one.
    """

    words: frozenset[str]
    rank: int
    source: str


_OTHERS = 3
"""The rank of a network whose name says nothing."""

_LAST = 4
_COPIES = (
    Copies(
        frozenset({"teacher", "ema", "swa", "averaged", "average"}),
        0,
        "DINO, iBOT, DINOv2, DINOv3: eval's checkpoint_key=teacher; stable-pretraining's TeacherStudentWrapper; timm's "
        "load_state_dict(use_ema=True); torch.optim.swa_utils",
    ),
    Copies(
        frozenset({"momentum", "key", "k", "anchor", "current"}),
        _LAST,
        "MoCo, MoCo v3 and solo-learn evaluate the other one; lightly's MSN its backbone, whose anchor is trained; "
        "Lightning's WeightAveraging keeps the current weights beside the averaged ones",
    ),
    Copies(
        frozenset({"online", "query", "q", "base"}),
        1,
        "BYOL: the online network; MoCo's main_lincls.py: encoder_q; MoCo v3's: base_encoder",
    ),
    Copies(frozenset({"target encoder"}), 2, "I-JEPA; MSN's linear_eval.py: target_encoder"),
    Copies(frozenset({"target", "student"}), _LAST, "BYOL evaluates the online network, DINO the teacher"),
)
"""By name, the first row that has a word of it."""

_BYOLS = re.compile(r"(^|[._])predict(or|ion_head)\.")


def rank_of(key: str, names: Iterable[str]) -> int:
    """Return how early a network is taken where a file has several: the lowest is what its method's authors evaluate.

    Args:
        key: Where the network is in the file, such as ``state_dict.momentum_backbone``.
        names: Of all tensors in the file. BYOL's momentum network, which lightly calls a teacher, is not evaluated;
            that it is one shows in a predictor beside it, and in that there is no student.

    Example:
        >>> rank_of("teacher.backbone", []) < rank_of("student.backbone", [])
        True
    """
    words = set(re.split(r"[._]", key))
    if "target_encoder" in key.split("."):
        words |= {"target encoder"}
    rank = next((row.rank for row in _COPIES if row.words & words), _OTHERS)
    return _LAST if rank == 0 and "teacher" in words and _is_byols(list(names)) else rank


def _is_byols(names: list[str]) -> bool:
    has_predictor = any(map(_BYOLS.search, names))
    return has_predictor and not any("student" in name for name in names)
