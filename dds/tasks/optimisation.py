from typing import Any

import torch
from lightning.pytorch import LightningModule


def adamw_one_cycle(module: LightningModule, lr: float, weight_decay: float) -> dict[str, Any]:
    """Return AdamW with a one-cycle schedule over the whole training (Smith & Topin 2018).

    Args:
        module: What is trained; parameters without gradient are left alone.
        lr: The highest learning rate.
        weight_decay: Decoupled weight decay.
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=lr, weight_decay=weight_decay)
    steps = int(module.trainer.estimated_stepping_batches)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.1)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
