"""What the command lines of `evaluate.py`, `train.py` and `dds` share."""

from dds.command_line.parser import CONFIGS, Arguments, Parser, find_config, make_parser, stem
from dds.command_line.plainly import plainly
from dds.command_line.program import program

__all__ = ["CONFIGS", "Arguments", "Parser", "find_config", "make_parser", "plainly", "program", "stem"]
