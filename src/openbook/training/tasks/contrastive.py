"""An embedder: queries near the passages that answer them, learned from groups, as the library's embedder reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from openbook.core.errors import UsageError
from openbook.core.progress import Progress
from openbook.lm.families.base import Family
from openbook.lm.local import model_directory
from openbook.lm.sentence import Recipe as SentenceRecipe
from openbook.lm.sentence import read_recipe, write_recipe
from openbook.lm.tokenizers.encoder import EncoderTokenizer
from openbook.training.begin import Begun, os_path
from openbook.training.data.groups import Group
from openbook.training.objectives.contrastive import Contrastive, QueryGroups
from openbook.training.objectives.info_nce import InfoNce, Keys
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe
from openbook.training.tasks.grouped import group_tokenizer, open_groups
from openbook.training.tasks.task import Task


def contrastive_task(recipe: Recipe, begun: Begun, ranks: Ranks, progress: Progress) -> Task:
    """UsageError for a model that cannot be an embedder of the library, and for `dims` that its vectors do not have."""
    part = recipe.contrastive
    sentence = sentence_recipe(recipe, begun)
    if too_wide := [size for size in part.dims if size > sentence.hidden_size]:
        raise UsageError(
            f"contrastive.dims names {too_wide[0]}, the vectors have {sentence.hidden_size}", "name smaller ones"
        )
    _freeze_pooler(begun.model)
    reader = group_tokenizer(begun.tokenizer, recipe.max_seq_len)
    make = partial(read_texts, reader=reader, prompts=sentence.prompts)
    opened = open_groups(recipe, ranks, make, progress, negatives=part.negatives)
    return Task(
        opened.source,
        Contrastive(InfoNce(part.temperature, part.symmetric, part.dims), sentence.pooling),
        opened.held_out,
        len(opened.train),
        begins_at_guess=False,
        notes=opened.notes,
        also=partial(write_recipe, recipe=sentence, languages=part.languages),
    )


def sentence_recipe(recipe: Recipe, begun: Begun) -> SentenceRecipe:
    """How the trained embedder turns tokens into a vector: as its base does, with what the recipe says over it."""
    part, config = recipe.contrastive, begun.model.config
    if begun.model.causal or config.model_type != "bert":
        raise UsageError(
            f"an embedder of a library is a BERT encoder, not {config.model_type}", "name one with model.path, or bert"
        )
    if recipe.model.path is None:
        base = SentenceRecipe(hidden_size=int(config.hidden_size))
    else:
        base = read_recipe(model_directory(os_path(recipe.model.path)))
    if base.dense or base.transformer:
        raise UsageError(
            f"{recipe.model.path} has {'dense steps' if base.dense else 'its transformer in a folder of its own'}",
            "only an encoder with pooling can be trained",
        )
    prompts = {
        kind: text
        for kind, own in (("query", part.query_prompt), ("passage", part.passage_prompt))
        if (text := base.prompts.get(kind, "") if own is None else own)
    }
    return replace(base, max_tokens=recipe.max_seq_len, pooling=part.pooling or base.pooling, prompts=prompts)


def _freeze_pooler(model: Family) -> None:
    """A layer behind the vectors that are learned: no loss sees it."""
    pooler = getattr(model, "pooler", None)
    if pooler is not None:
        pooler.requires_grad_(False)


def read_texts(groups: Sequence[Group], reader: EncoderTokenizer, prompts: Mapping[str, str]) -> QueryGroups:
    """Queries, then positives, then negatives, with their prompts."""
    queries = [one.query for one in groups]
    positives = [one.positive for one in groups]
    negatives = [text for one in groups for text in one.negatives]
    asked, said = prompts.get("query", ""), prompts.get("passage", "")
    texts = [*(asked + text for text in queries), *(said + text for text in (*positives, *negatives))]
    return QueryGroups.of([one.ids for one in reader.encode(texts)], Keys.of(queries, positives, negatives))
