"""Measure what a purifier buys and costs: `python evaluate.py --config seg_scenes.yaml`."""

from dds.cli import evaluate

if __name__ == "__main__":
    evaluate()
