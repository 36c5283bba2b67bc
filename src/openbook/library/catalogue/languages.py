"""Which languages the documents are in."""

from __future__ import annotations

import apsw

from openbook.library.catalogue.scope import Scope


def document_languages(connection: apsw.Connection, scope: Scope) -> dict[str, int]:
    """How many documents of each language `scope` shows."""
    condition, bindings = scope.where()
    rows = connection.execute(f"SELECT d.language, count(*) FROM documents d WHERE {condition} GROUP BY 1", bindings)
    return {str(language): int(count) for language, count in rows}
