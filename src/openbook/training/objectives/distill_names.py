"""How a student is drawn to its teacher, by name: free of torch, so that recipes can name it."""

from __future__ import annotations

from typing import Literal

Divergence = Literal["forward", "reverse", "jsd"]
"""KL(teacher || student), KL(student || teacher), or between both and their mixture."""
