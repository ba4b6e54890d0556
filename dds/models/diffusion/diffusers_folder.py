import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import nn

from dds.errors import InputError
from dds.models.hub.reaching import remedy

Network = TypeVar("Network", bound=nn.Module)

_WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|model|pytorch_model)(?:\.(?P<variant>\w+))?(?:-\d+-of-\d+)?\.(?P<suffix>\w+)"
)
_HALF = "fp16"


@dataclass(frozen=True)
class DiffusersFolder:
    """A model in diffusers' own layout: a folder as `save_pretrained` writes it, or a name on the hub.

    Attributes:
        source: What `from_pretrained` takes: the folder's path or the name.
        configs: The folder that holds its JSON files; of a hub model the cached ones.
    """

    source: str
    configs: Path

    @classmethod
    def find(cls, name: str) -> "DiffusersFolder":
        """Open a folder, or fetch what says of which kind a hub model is, before its weights.

        Raises:
            InputError: If there is neither a folder nor a model on the hub of that name.
        """
        path = Path(name).expanduser()
        if path.is_dir():
            return cls(str(path), path)
        from huggingface_hub import snapshot_download  # takes a second to import

        try:
            return cls(name, Path(snapshot_download(name, allow_patterns="*.json")))
        except (OSError, ValueError) as error:  # what the hub's errors have in common
            raise InputError(
                f"there is no folder {name}, and the hub does not give such a model: {error} {remedy(name)}"
            ) from error

    @property
    def remedy(self) -> str:
        """What to do where it cannot be loaded."""
        return remedy(self.source)

    def has(self, part: str) -> bool:
        """Tell whether there is a folder of that name in it."""
        return (self.configs / part).is_dir()

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Read a configuration, e.g. `unet/config.json`; None where there is no such file.

        Raises:
            InputError: If it is damaged.
        """
        path = self.configs / name
        if not path.is_file():
            return None
        try:
            content = json.loads(path.read_text())
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} cannot be read: {error}. Download it again.") from error
        if not isinstance(content, dict):
            raise InputError(f"{path} holds a {type(content).__name__}; expected entries. Download it again.")
        return content

    def variant(self, part: str, use_safetensors: bool | None = None) -> str | None:
        """Return which weights of a network to load where the plain ones are absent, e.g. `fp16`; else None.

        Args:
            part: The folder that it lies in; empty for a network alone.
            use_safetensors: As in `read_network`.

        Raises:
            InputError: If there are several but no plain ones.
        """
        suffixes = ("safetensors",) if use_safetensors else ("safetensors", "bin")
        found = [_WEIGHTS.fullmatch(name) for name in self._files(part)]
        variants = {match["variant"] for match in found if match and match["suffix"] in suffixes}
        if not variants or None in variants:
            return None
        if len(variants) > 1 and _HALF not in variants:
            named = ", ".join(sorted(variants))
            raise InputError(
                f"{self.source} holds the weights of {part or 'its network'} only as {named}; expected plain "
                f"ones, {_HALF}, or one of these alone. Remove the others."
            )
        return _HALF if _HALF in variants else variants.pop()

    def _files(self, part: str) -> list[str]:
        """Return the names of a part's files; of a hub model those on the hub, or else in the cache."""
        here = [path.name for path in (self.configs / part).glob("*")]
        plain = [match for match in map(_WEIGHTS.fullmatch, here) if match and match["variant"] is None]
        if plain or Path(self.source).is_dir():
            return here
        from huggingface_hub import list_repo_files  # likewise

        try:
            paths = map(Path, list_repo_files(self.source))
        except Exception:  # from_pretrained will say so
            return here
        return [path.name for path in paths if path.parent == Path(part)]

    def read_network(self, kind: type[Network], part: str, use_safetensors: bool | None = None) -> Network:
        """Load a network with exactly the weights that its configuration asks for, in float32.

        Args:
            kind: Its class in diffusers, e.g. `UNet2DModel`.
            part: The folder that it lies in, e.g. `unet`; empty for a network alone.
            use_safetensors: Take no other weights; None: also `.bin`, of which no code is run either.

        Raises:
            InputError: If its files are absent or damaged, or the weights do not fit.
        """
        variant = self.variant(part, use_safetensors)
        what = f"the network {part} of {self.source}" if part else f"the network of {self.source}"
        try:
            network, report = cast(Any, kind).from_pretrained(
                self.source,
                subfolder=part,
                torch_dtype=torch.float32,
                low_cpu_mem_usage=False,
                use_safetensors=use_safetensors,
                variant=variant,
                output_loading_info=True,
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(f"{what} cannot be loaded: {error} {self.remedy}") from error
        wrong = [f"{kind} {', '.join(keys[:4])}" for kind, keys in report.items() if keys]
        if wrong:
            raise InputError(
                f"the weights of {what} do not fit its config.json: {'; '.join(wrong)}. {self.remedy}"
            )
        return cast(Network, network)
