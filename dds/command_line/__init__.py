"""What the command lines of `train.py` and `evaluate.py` share."""

from dds.command_line.parser import CONFIGS, Arguments, Parser, find_config, make_parser, stem
from dds.command_line.plainly import plainly

__all__ = ["CONFIGS", "Arguments", "Parser", "find_config", "make_parser", "plainly", "stem"]
