"""The command `dds`, also `python -m dds`: what `evaluate.py` and `train.py` do, by one word each."""

import sys
from inspect import getdoc

import dds
from dds.cli import COMMANDS, evaluate
from dds.command_line import Arguments, plainly, program
from dds.command_line.nearest import did_you_mean
from dds.errors import InputError
from dds.training import train

_ALL = {"evaluate": evaluate, "train": train, **COMMANDS}


def main(arguments: Arguments = None) -> None:
    """Carry out the command that comes first, with all that follows."""
    given = sys.argv[1:] if arguments is None else arguments
    word, *others = given or ["--help"]
    if word in ("--help", "-h"):
        print(_help())
    elif word == "--version":
        print(f"dds {dds.__version__}")
    elif word in COMMANDS:
        evaluate(given)
    elif word in _ALL:
        _ALL[word](others)
    else:
        _refuse([word])


def _help() -> str:
    """Return a line on each command, the first of what it says of itself."""
    width = max(map(len, _ALL))
    lines = [f"  {name:{width}}  {(getdoc(it) or '').partition(chr(10))[0]}" for name, it in _ALL.items()]
    return "\n".join(
        [
            f"usage: {program('COMMAND')} …",
            "",
            (getdoc(dds) or "").partition("\n")[0],
            "",
            *lines,
            "",
            f"{program('COMMAND')} --help explains one. The first run, without any download:",
            f"  {program()} --config seg_scenes.yaml",
        ]
    )


@plainly
def _refuse(words: list[str]) -> None:
    (word,) = words
    wrong = f"{word} before a command" if word.startswith("-") else f"there is no command {word!r}"
    close = did_you_mean(word, _ALL)
    raise InputError(f"{wrong}; expected {', '.join(_ALL)}.{close} See {program('--help')}.")


if __name__ == "__main__":
    main()
