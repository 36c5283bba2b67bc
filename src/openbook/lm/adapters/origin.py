"""The hash of a base model, by which an adapter knows what it was trained on."""

from __future__ import annotations

import hashlib

import torch

from openbook.lm.families.base import Family

_SAMPLES = 1_024


@torch.no_grad()
def origin_of(model: Family) -> str:
    """16 hexadecimal digits of a plain model: of its tensors' names and shapes in the checkpoint, and of signs of weights.

    Signs of up to 1024 weights spread over each parameter: they are the same in every dtype that the model is loaded in,
    and another model has others. A head that was drawn beside the model does not count.
    """
    digest = hashlib.sha256(str(model.config.model_type).encode())
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for link in sorted(model.links()):
        if link.ours not in parameters or link.ours.rpartition(".")[0] in model.drawn:
            continue
        parameter = parameters[link.ours]
        flat = parameter.detach().flatten()
        signs = flat[:: max(1, flat.numel() // _SAMPLES)].signbit()
        digest.update(f"{link.theirs} {tuple(parameter.shape)} ".encode())
        digest.update(signs.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
