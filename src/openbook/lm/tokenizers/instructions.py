"""How a question is put to a model without a chat template."""

ALPACA = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{}\n\n### Response:\n"
)
"""Source: Taori et al. 2023, Stanford Alpaca. Their second text, for rows with an input, is not used: an input stands under its
instruction, as a person would write it.
"""
