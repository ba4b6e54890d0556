"""From logits to classes."""

from torch import Tensor, nn

from dds.batch import NO_CLASS
from dds.errors import InputError

_ONE = 1e-4  # rounding of a sum of probabilities


def likeliest_class(logits: Tensor) -> Tensor:
    """Return the class with the largest logit, `[B, C, ...]` to `[B, ...]`; `NO_CLASS` if that is not finite.

    A class may be ruled out by a logit of minus infinity; NaN or plus infinity in any class is no answer.
    """
    largest, classes = logits.max(1)  # NaN is larger than all; as argmax, in a tenth of its time
    return classes.where(largest.isfinite(), NO_CLASS)


def refuse_probabilities(network: nn.Module, output: Tensor) -> None:
    """Refuse what is no logits but their softmax or sigmoid, `[B, C, ...]`.

    Raises:
        InputError: If the outputs are at least 0 and those of the classes add up to 1, or if they are in
            [0, 1] and the network ends in a sigmoid.
    """
    low, high, total = output.min(), output.max(), output.sum(1)
    softmax = output.shape[1] > 1 and low >= 0 and bool((total - 1).abs().max() < _ONE)
    sigmoid = isinstance(list(network.modules())[-1], nn.Sigmoid) and low >= 0 and high <= 1
    if softmax or sigmoid:
        raise InputError(
            f"the network returns probabilities, as after a {'softmax' if softmax else 'sigmoid'}; expected "
            "logits, as attacks find next to no gradient through such a layer. Leave it out."
        )
