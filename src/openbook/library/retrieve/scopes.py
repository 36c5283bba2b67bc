"""Which chunks a scope shows, remembered until the library changes."""

from __future__ import annotations

import threading

import apsw
import numpy as np
from numpy.typing import NDArray

from openbook.library.catalogue import reads
from openbook.library.catalogue.rows import Generation
from openbook.library.catalogue.scope import Scope

_KEPT = 32


class ScopeCache:
    """Answers for the last 32 scopes. An answer holds for one state of the library: any change of documents, chunks,
    paths or grants asks anew, because the number of its state is part of the key.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[Scope, tuple[tuple[int, int], NDArray[np.int64]]] = {}

    def allowed(self, connection: apsw.Connection, scope: Scope, generation: Generation) -> NDArray[np.int64] | None:
        """Ascending chunk ids that `scope` shows in the connection's state; None when it shows all."""
        if scope.is_everything:
            return None
        state = (generation.id, reads.state(connection))
        with self._lock:
            known = self._known.get(scope)
            if known is not None and known[0] == state:
                return known[1]
        ids = reads.allowed_chunk_ids(connection, scope, generation.id)
        if ids is None:
            return None
        with self._lock:
            if len(self._known) >= _KEPT:
                self._known.pop(next(iter(self._known)))
            self._known[scope] = (state, ids)
        return ids
