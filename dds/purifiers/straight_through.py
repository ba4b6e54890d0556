from torch import Tensor


def straight_through(exact: Tensor, stand_in: Tensor) -> Tensor:
    """Return the value of one tensor with the gradient of another.

    This is backward pass differentiable approximation (Athalye et al., ICML 2018): a step whose
    derivative is zero or missing would look robust only because gradient attacks stand still before it.

    Args:
        exact: `[B, C, H, W]`, the value; exactly this comes out.
        stand_in: The same shape, what the backward pass goes through.
    """
    return exact.detach() + (stand_in - stand_in.detach())
