"""Completions of the model that learns: written, rewarded, and ready to be learned from."""
