"""The two protocols, quirk by quirk: ``paper`` does what the official code does, ``clean`` repairs it.

Settings name a protocol; code asks for a quirk: ``protocol_named(settings.protocol).shrinks``. Source of the quirks:
Ericsson, Gouk & Hospedales (2022), "Why Do Self-Supervised Models Transfer?", and its official code
(linusericsson/ssl-invariances).
"""

from dataclasses import dataclass
from typing import Literal, get_args

ProtocolName = Literal["clean", "paper"]
LogisticSolver = Literal["official", "converged"]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What a protocol does where the official code and a careful one differ.

    The first is of all that is drawn, the next nine are of measuring (official code: ``eval_synthetic_invariance.py``,
    ``eval_realworld_invariance.py``, ``datasets/alot.py``), the next of probes (``eval_downstream.py``,
    ``eval_causal3dident.py``), the last four of tasks (``datasets/``).

    Args:
        name: What settings call it.
        fixed_seed: The seed of the images that are measured on and of the tasks' splits and draws, whatever seed
            settings have; None where settings say it.
        draws_images_twice: Images to measure on are drawn with replacement, and so some more than once.
        counts_identity: The mean over a transform's parameters includes those that change nothing, so that grids of
            different sizes are not comparable.
        one_light_a_material: ALOT's viewpoints are looked at under one of its six lights for each material, which takes
            turns, not under all.
        counts_diagonal: A view group's similarity counts each view's similarity with itself.
        shear_of_affine: Degrees by which translation and scale shear, too.
        affine_of_deformation: Pixels by which the three control points of an affine map are moved at random, at most,
            along each axis, when a view is deformed; beside it, the elastic part moves nothing that can be seen. 0 for
            an elastic deformation that deforms.
        transforms_before_resizing: Transforms act on images as they were loaded, and so lengths in pixels are those of
            the file; then views are resized. Else images are resized first, and a pixel means the same on all of them.
        rounds_to_eight_bits: Views have 8 bits a channel, as Pillow's images have.
        shrinks_covariance: The covariance is shrunk a little, always (``clean``); else one that cannot be inverted is
            an error.
        holds_out: What is measured on an image of the reference is whitened without that image, and pictures that
            repeat in the reference count once (``clean``); else they count as they are, and bias the numbers.
        penalty_is_inverse: Ridge regression is given 1 / penalty.
        rounds_penalties: The grid of penalties is computed in single precision.
        takes_smallest_penalty: Of several best penalties, the smallest, which is met first; else the largest, the
            simplest model.
        logistic_solver: How logistic regression is fitted where settings leave it open: ``official`` is
            scikit-learn's L-BFGS, stopped after 100 steps, that goes on from fits that have seen the images held out.
        redraws_folds: Ridge and kernel ridge regression draw new folds for every penalty.
        stratifies: Folds have the same shares of each class.
        unit_deviation: Features are scaled to unit deviation before a linear probe, not centred alone.
        centres_targets: Kernel ridge regression does not penalise the mean of its targets.
        takes_published_metric: A task is scored as the paper scores it, where that is another metric than usual.
        replaces_training_images: Caltech-101's 30 training images a class are drawn with replacement.
        truncates_landmarks: CelebA's landmarks are cut to whole pixels.
        counts_landmarks_from_one: 300-W's ``.pts`` are taken as they are; their first pixel is called 1.
    """

    name: ProtocolName
    fixed_seed: int | None
    draws_images_twice: bool
    counts_identity: bool
    one_light_a_material: bool
    counts_diagonal: bool
    shear_of_affine: float
    affine_of_deformation: float
    transforms_before_resizing: bool
    rounds_to_eight_bits: bool
    shrinks_covariance: bool
    holds_out: bool
    penalty_is_inverse: bool
    rounds_penalties: bool
    takes_smallest_penalty: bool
    logistic_solver: LogisticSolver
    redraws_folds: bool
    stratifies: bool
    unit_deviation: bool
    centres_targets: bool
    takes_published_metric: bool
    replaces_training_images: bool
    truncates_landmarks: bool
    counts_landmarks_from_one: bool

    def seed_of_draws(self, given: int) -> int:
        """Return the seed of images, splits and draws: the protocol's own, where it has one, or the one given."""
        return given if self.fixed_seed is None else self.fixed_seed


PAPER = Protocol(
    name="paper",
    fixed_seed=0,
    draws_images_twice=True,
    counts_identity=True,
    one_light_a_material=True,
    counts_diagonal=True,
    shear_of_affine=1.0,
    affine_of_deformation=50.0,
    transforms_before_resizing=True,
    rounds_to_eight_bits=True,
    shrinks_covariance=False,
    holds_out=False,
    penalty_is_inverse=True,
    rounds_penalties=True,
    takes_smallest_penalty=True,
    logistic_solver="official",
    redraws_folds=True,
    stratifies=False,
    unit_deviation=False,
    centres_targets=False,
    takes_published_metric=True,
    replaces_training_images=True,
    truncates_landmarks=True,
    counts_landmarks_from_one=True,
)

CLEAN = Protocol(
    name="clean",
    fixed_seed=None,
    draws_images_twice=False,
    counts_identity=False,
    one_light_a_material=False,
    counts_diagonal=False,
    shear_of_affine=0.0,
    affine_of_deformation=0.0,
    transforms_before_resizing=False,
    rounds_to_eight_bits=False,
    shrinks_covariance=True,
    holds_out=True,
    penalty_is_inverse=False,
    rounds_penalties=False,
    takes_smallest_penalty=False,
    logistic_solver="converged",
    redraws_folds=False,
    stratifies=True,
    unit_deviation=True,
    centres_targets=True,
    takes_published_metric=False,
    replaces_training_images=False,
    truncates_landmarks=False,
    counts_landmarks_from_one=False,
)

_PROTOCOLS = {protocol.name: protocol for protocol in (PAPER, CLEAN)}


def protocol_named(name: str) -> Protocol:
    """Return a protocol by its name.

    Raises:
        ValueError: There is none of that name.

    Example:
        >>> protocol_named("paper").counts_identity
        True
    """
    for known in get_args(ProtocolName):
        if name == known:
            return _PROTOCOLS[known]
    raise ValueError(f"protocol={name!r}, expected one of {', '.join(get_args(ProtocolName))}")
