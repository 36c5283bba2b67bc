"""The errors of Openbook: each says what was got, what is allowed, and what to do next."""

from __future__ import annotations


class OpenbookError(Exception):
    """An error that a person can act on: `message` says what happened, `remedy` what to do next.

    The CLI prints both without a traceback and exits with `exit_code`; a server maps the class to a status.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}: {self.remedy}" if self.remedy else self.message


class UsageError(OpenbookError, ValueError):
    """A wrong argument, option or query."""

    exit_code = 2


class UnreadableFile(OpenbookError):
    """A file that cannot be turned into a document: encrypted, broken, too large, or of an unknown kind."""

    exit_code = 4


class LibraryLocked(OpenbookError):
    """Another process holds the library's ingest lease."""

    exit_code = 5


class CorruptLibrary(OpenbookError):
    """The catalogue or a derived file does not agree with itself."""


class IncompatibleEmbedder(OpenbookError):
    """A query or an addition would use another embedder than the one that made the library's vectors."""


class ModelUnavailable(OpenbookError):
    """A model, checkpoint or endpoint that was named cannot be used."""


class EmptyAnswer(ModelUnavailable):
    """A model that was asked and wrote nothing."""


class BadData(OpenbookError):
    """Training data that cannot be read, or that nothing can be learned from."""


class RunStopped(OpenbookError):
    """A training run that cannot go on, or cannot be right."""
