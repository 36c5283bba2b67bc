"""What stands between the products of a decoder, each in one pass over memory; the layers of `lm.nn` are the reference."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from openbook.lm.nn.linear import Packed
from openbook.lm.nn.norm import RmsNorm
from openbook.lm.nn.rope import Rotation


def has_one_pass(tensor: Tensor) -> bool:
    """Whether the kernels take this tensor: on the CPU, float32 or bfloat16."""
    return tensor.device.type == "cpu" and tensor.dtype in (torch.float32, torch.bfloat16)


class OnePassNorm(Packed):
    """An `RmsNorm` for inference; seven passes become one (4 to 40 times faster on 1,024 x 512, by the dtype)."""

    def __init__(self, source: RmsNorm) -> None:
        super().__init__()
        self.eps = np.float32(source.eps)
        self.weight = torch.nn.Parameter(source.weight.detach(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., size) -> the same shape and dtype."""
        from openbook.lm.kernels import decoder_rows

        rows = x.reshape(-1, x.shape[-1])
        out = torch.empty_like(rows, memory_format=torch.contiguous_format)
        is_wide = x.dtype is torch.float32
        kernel = decoder_rows.rms_norm_float32 if is_wide else decoder_rows.rms_norm_bfloat16
        kernel(_array(rows.contiguous()), _array(self.weight), self.eps, _array(out))
        return out.view(x.shape)


def turn_in_place(q: Tensor, k: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor]:
    """q: (N, H, D), k: (N, G, D), which are nobody else's: turned where they are. Queries and keys of one product in one go."""
    heads, kv_heads = q.shape[1], k.shape[1]
    width = q.stride(0) if len(q) > 1 else (heads + kv_heads) * q.shape[2]  # the stride of a single row says nothing
    is_behind = k.storage_offset() - q.storage_offset() == heads * q.shape[2]
    are_one = is_behind and q.untyped_storage().data_ptr() == k.untyped_storage().data_ptr()
    if are_one and (len(q) == 1 or k.stride(0) == width):
        _turn(q.as_strided((len(q), width), (width, 1)), rotation, heads + kv_heads)
        return q, k
    q, k = q.contiguous(), k.contiguous()
    _turn(q.view(len(q), -1), rotation, heads)
    _turn(k.view(len(k), -1), rotation, kv_heads)
    return q, k


def _turn(rows: Tensor, rotation: Rotation, heads: int) -> None:
    from openbook.lm.kernels import decoder_rows

    kernel = decoder_rows.rotate_float32 if rows.dtype is torch.float32 else decoder_rows.rotate_bfloat16
    kernel(_array(rows), _array(rotation.cos), _array(rotation.sin), heads)


def _array(tensor: Tensor) -> NDArray[np.float32] | NDArray[np.uint16]:
    """The same memory for numba: float32, or the bits of bfloat16."""
    tensor = tensor.detach()
    return tensor.numpy() if tensor.dtype is torch.float32 else tensor.view(torch.uint16).numpy()
