"""Train a task's network or a denoiser: `python train.py --config train/seg_scenes.yaml`."""

from dds.training import train

if __name__ == "__main__":
    train()
