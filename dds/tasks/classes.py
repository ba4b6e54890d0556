"""From logits to classes."""

from torch import Tensor

from dds.batch import NO_CLASS
from dds.errors import InputError

_ONE = 1e-4  # rounding of a sum of probabilities


def likeliest_class(logits: Tensor) -> Tensor:
    """Return the class with the largest logit, `[B, C, ...]` to `[B, ...]`; `NO_CLASS` if that is not finite.

    A class may be ruled out by a logit of minus infinity; NaN or plus infinity in any class is no answer.
    """
    largest, classes = logits.max(1)  # NaN is larger than all; as argmax, in a tenth of its time
    return classes.where(largest.isfinite(), NO_CLASS)


def refuse_probabilities(output: Tensor) -> None:
    """Refuse what is no logits but their softmax, `[B, C, ...]`: attacks find no gradient through it.

    Raises:
        InputError: If the outputs are at least 0 and those of the classes add up to 1.
    """
    total = output.sum(1)
    if output.shape[1] > 1 and output.min() >= 0 and bool((total - 1).abs().max() < _ONE):
        raise InputError(
            "the network returns probabilities, which add up to 1, as after a softmax; expected logits, as "
            "attacks find next to no gradient through a softmax. Leave that layer out, or take its logarithm."
        )
