"""The logs that indexes follow, `deletions` and `outbox`: how far they were trimmed, and trimming them.

A derived file holds every chunk up to its base and needs the deletions after it. An index in memory that is further
behind than what was trimmed opens the files anew. An external index takes its work from the outbox; `outbox_taken` in
`meta` is the last entry that every registered one has taken, and is absent while none is registered: one that is
registered later begins with all chunks that are there.
"""

from __future__ import annotations

import apsw

_TRIMMED, _TAKEN = "deletions_trimmed", "outbox_taken"


def trimmed_to(connection: apsw.Connection) -> int:
    """The last deletion that is no longer in the log; 0 when all are."""
    return int(connection.execute("SELECT value FROM meta WHERE key = ?", (_TRIMMED,)).get or 0)


def trim_logs(connection: apsw.Connection, deletion_seq: int) -> None:
    """Drops the deletions up to `deletion_seq`, which every derived file has passed, and what the outbox need not keep."""
    connection.execute("DELETE FROM deletions WHERE seq <= ?", (deletion_seq,))
    connection.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE "
        "SET value = max(CAST(value AS INTEGER), CAST(excluded.value AS INTEGER))",
        (_TRIMMED, str(deletion_seq)),
    )
    taken = connection.execute("SELECT value FROM meta WHERE key = ?", (_TAKEN,)).get
    if taken is None:
        connection.execute("DELETE FROM outbox")
    else:
        connection.execute("DELETE FROM outbox WHERE seq <= ?", (int(taken),))


def log_sizes(connection: apsw.Connection) -> tuple[int, int]:
    """How many entries `deletions` and `outbox` hold."""
    return (
        int(connection.execute("SELECT count(*) FROM deletions").get),
        int(connection.execute("SELECT count(*) FROM outbox").get),
    )
