"""A linear layer in another form, that says what it stands for: what a low-rank change needs to know of its base."""

from __future__ import annotations

from torch import Tensor

from openbook.core.errors import UsageError
from openbook.lm.nn.linear import Linear, Packed


class PackedBase(Packed):
    """Computes by `inner`, which was made of `source`; its weights are held once, in the form of `inner`."""

    def __init__(self, source: Linear, inner: Packed) -> None:
        super().__init__()
        self.inner = inner
        self.shape: tuple[int, int] = (source.weight.shape[0], source.weight.shape[1])
        self.device = source.weight.device
        self.bias: Tensor | None = None if source.bias is None else source.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, in) -> (N, out)."""
        return self.inner(x)  # type: ignore[no-any-return]

    def dequantized(self) -> Tensor:
        """(out, in): the weight that it stands for."""
        if (found := getattr(self.inner, "dequantized", None)) is not None:
            weight: Tensor = found()
            return weight
        stored = getattr(self.inner, "weight", None)
        if not isinstance(stored, Tensor):
            raise UsageError(f"a {type(self.inner).__name__} does not tell its weights", "use a plain base")
        return stored.to_dense() if stored.is_mkldnn else stored
