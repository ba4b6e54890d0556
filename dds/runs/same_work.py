"""Whether a run is gone on with as it was started."""

from difflib import unified_diff

import yaml

_FACTS = ("# data:", "# weights:", "# levels:")
"""Lines of `config.yaml` that tell what the configuration met: as decisive as itself."""

_DECISIVE = ("task", "data", "protocol", "certificate", "save_attacked")
"""Settings of `config.yaml` that decide what a run leaves; the last may be lacking, as in older runs."""

_PRECISIONS = {None: "32-true", 16: "16-mixed", 32: "32-true", 64: "64-true", "bf16": "bf16-mixed"}
"""What Lightning makes of the short names of `trainer.precision`; numbers may also be text."""

DIGEST = "# data: digest"
"""The line that tells the images of one data set from those of another; older runs lack it."""

_LEVELS = "# levels:"
"""Lines that tell a t of one schedule from that of another; older runs lack them."""


def difference(there: str, now: str) -> str | None:
    """Say what of two configurations decides the results and differs.

    Args:
        there: The `config.yaml` that a run was started with.
        now: The one to go on with.

    Returns:
        What it was started with and how that differs; None where it does not.

    Raises:
        yaml.YAMLError: If one is no YAML; `LookupError` or `TypeError` if it is no run's configuration.
    """
    before, after = _work(there).splitlines(), _work(now).splitlines()
    for late in (DIGEST, _LEVELS):
        if not any(line.startswith(late) for line in before):
            after = [line for line in after if not line.startswith(late)]
    return _in_words(before, after) if before != after else None


def _work(config: str) -> str:
    """Return what of a configuration decides the results."""
    settings = yaml.safe_load(config)
    for harmless in ("batch_size", "num_workers"):
        settings["data"]["init_args"].pop(harmless, None)
    facts = [line for line in config.splitlines() if line.startswith(_FACTS)]
    work = {part: settings[part] for part in _DECISIVE if settings.get(part)}
    work["precision"] = _precision((settings.get("trainer") or {}).get("precision"))
    return "\n".join([*facts, yaml.safe_dump(work)])


def _precision(given: str | int | None) -> str:
    number = int(given) if isinstance(given, str) and given.isdecimal() else given
    return _PRECISIONS.get(number, str(given))


def _in_words(before: list[str], now: list[str]) -> str:
    """Say what a run was started with; the two are what `_work` returns, in lines."""
    settings = [[line for line in work if not line.startswith(_FACTS[0])] for work in (before, now)]
    what = "another configuration"
    if settings[0] == settings[1]:
        what = (
            "other images: files of the data set were added, removed, renamed or changed since, so that its "
            "numbers of images mean others now. Put them back, or measure all anew under another name"
        )
    return "\n".join([f"{what}:", *unified_diff(before, now, "before", "now", n=1, lineterm="")])
