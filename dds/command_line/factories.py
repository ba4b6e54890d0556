"""Functions that make networks, named by `class_path` although they do not say what they return."""

from inspect import Parameter, isclass
from typing import Any

from jsonargparse import _postponed_annotations
from torch import nn

_told = _postponed_annotations.get_return_type


def _returned(component: Any, logger: Any = None) -> Any:
    """Return what a function is annotated to return; without that, a network.

    `from_pretrained` and `torch.hub.load` are of this kind. What is built is looked at by the task.
    """
    try:
        said = _told(component, logger)
    except (TypeError, ValueError):  # of builtins
        return None
    unsaid = said is Parameter.empty or not (isclass(said) or hasattr(said, "__origin__"))
    return nn.Module if unsaid and not isclass(component) else said


def admit_factories() -> None:
    """Have jsonargparse take them where a network is expected."""
    _postponed_annotations.get_return_type = _returned
