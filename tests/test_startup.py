"""What takes seconds to import is imported where it is used; how long a start takes is never judged."""

import json
import subprocess
import sys

HEAVY = [
    "art",
    "datasets",
    "diffusers",
    "h5py",
    "huggingface_hub",
    "jinja2",
    "mlflow",
    "onnx2torch",
    "pandas",
    "scipy.io",
    "segmentation_models_pytorch",
    "submitit",
    "timm",
    "transformers",
    "wandb",
]
"""Beside what Lightning imports itself."""

LINES = [
    "--help",
    "--task.help",
    "--protocol.purifier.help=LatentDenoiser",
    "--config=seg_scenes.yaml --protocl.draws=2",
    "--config=seg_scenes.yaml --protocol.attacks.pgd.init_args.epsilon=1",
    "--config=seg_scenes.yaml --task.class_path=Segmentation",
    "compare nowhere",
]

SCRIPT = """
import json, sys
import lightning.pytorch

heavy, lines = json.loads(sys.argv[1])
heavy = [name for name in heavy if name not in sys.modules]
import dds.cli, dds.training

found = {"import": [name for name in heavy if name in sys.modules]}
for line in lines:
    try:
        dds.cli.evaluate(line.split())
    except SystemExit:
        found[line] = [name for name in heavy if name in sys.modules]
print(json.dumps(found))
"""


def test_a_start_imports_nothing_heavy():
    command = [sys.executable, "-c", SCRIPT, json.dumps([HEAVY, LINES])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == {start: [] for start in ("import", *LINES)}
