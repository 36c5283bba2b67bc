"""Openbook: a language model sitting an open-book exam over your documents."""

__version__ = "0.1.0"
