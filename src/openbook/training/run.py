"""A run: a recipe from its first step to its last, evaluated, saved, logged, stopped and gone on with.

`OUT/` holds `recipe.yaml` (all settings in force), `log.jsonl`, `step-*` (checkpoints), `report.html`, and at the end `model`:
the best checkpoint, or the last where nothing is evaluated, as any command takes it.
"""

from __future__ import annotations

import math
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from openbook.core.errors import BadData, ModelUnavailable, RunStopped
from openbook.core.faults import fault_point
from openbook.core.progress import Progress, silent
from openbook.training import checkpoint
from openbook.training.begin import Begun, open_model, open_tokenizer
from openbook.training.check import first_checks
from openbook.training.compiling import checkpoint_layers, compile_layers
from openbook.training.continual import frozen, open_penalty
from openbook.training.evaluate import Evaluation, evaluate
from openbook.training.events import EventFile
from openbook.training.forgetting import Forgetting, open_forgetting
from openbook.training.interrupt import Interrupts
from openbook.training.log import NAME as LOG
from openbook.training.log import Log
from openbook.training.loop import Diverged, Loop, Step
from openbook.training.opening import optimization_of, pace_of, spread
from openbook.training.parallel import Ranks, is_lost, join_ranks, leave_ranks
from openbook.training.parallel_mesh import laid_out
from openbook.training.place import held
from openbook.training.precision import narrow_frozen
from openbook.training.recipe import Recipe, as_yaml
from openbook.training.report import write_report
from openbook.training.same import check_same
from openbook.training.status import Best, Outcome, Status, write_status
from openbook.training.stopped import dump_micros, is_memory_error, memory_remedy
from openbook.training.tasks.open import open_task
from openbook.training.tasks.task import Task

MODEL = "model"
RECIPE = "recipe.yaml"
GO_ON = "the checkpoints before it are whole: make room, then go on with --resume"


def train(
    recipe: Recipe,
    *,
    resume: bool = False,
    watch: Callable[[Status], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
    progress: Progress = silent,
) -> Outcome:
    """Runs `recipe`, or what is left of it.

    Raises UsageError for a place that holds another run, RunStopped for a run that cannot be right or cannot go on, and what
    reading the model and the data raises.
    """
    ranks = join_ranks()
    try:
        return _train(recipe, resume, ranks, watch, say, progress)
    finally:
        leave_ranks()


def _train(
    recipe: Recipe,
    resume: bool,
    ranks: Ranks,
    watch: Callable[[Status], None],
    say: Callable[[str], None],
    progress: Progress,
) -> Outcome:
    """The model is gone when this returns, and with it what it holds of the ranks."""
    with held(Path(recipe.out), resume=resume) if ranks.is_first else nullcontext():
        run = open_run(recipe, ranks, say, progress)
        try:
            return run.go(resume, watch)
        finally:
            run.task.close()


def open_run(
    recipe: Recipe, ranks: Ranks, say: Callable[[str], None] = lambda _: None, progress: Progress = silent
) -> Run:
    """The model, the data and the loop of a recipe; nothing is written but tokenised data."""
    ranks = laid_out(recipe, ranks)
    begun = frozen(recipe, open_model(recipe, open_tokenizer(recipe)))
    task = open_task(recipe, begun, ranks, progress)
    steps = recipe.steps or max(math.ceil((recipe.epochs or 1) * task.per_epoch / recipe.batch_size), 1)
    if recipe.adapter is not None and recipe.adapter.kind != "dora" and recipe.way != "fsdp":
        # DoRA reads the lengths of the base's rows, and FSDP shards parameters of one format
        narrow_frozen(begun.model, recipe.precision)
    if recipe.gradient_checkpointing:
        checkpoint_layers(begun.model)
    if recipe.compile:
        compile_layers(begun.model, is_fixed=task.is_fixed)
    spread(recipe, begun.model, ranks)
    loop = Loop(
        begun.model,
        task.source,
        task.objective,
        optimization_of(recipe),
        pace_of(recipe, steps),
        ranks=ranks,
        ema=recipe.ema,
        penalty=open_penalty(recipe, begun, ranks, progress),
        beside=task.beside,
    )
    return Run(recipe, begun, task, loop, ranks, say, open_forgetting(recipe, begun))


@dataclass
class Run:
    """An opened recipe. `say` gets lines for a person. `saved`: the step of the newest checkpoint."""

    recipe: Recipe
    begun: Begun
    task: Task
    loop: Loop[Any]
    ranks: Ranks
    say: Callable[[str], None]
    forgetting: Forgetting | None = None
    best: Best = field(default_factory=Best)
    saved: int | None = None

    @property
    def out(self) -> Path:
        return Path(self.recipe.out)

    def go(self, resume: bool, watch: Callable[[Status], None]) -> Outcome:
        self._begin(resume)
        log = Log(self.out, self.loop.done) if self.ranks.is_first else None
        events = EventFile(self.out, self.loop.done) if self.ranks.is_first and self.recipe.tensorboard else None
        step, ended = None, "done"
        try:
            with Interrupts() as interrupts, _told(self):
                while self.loop.done < self.loop.pace.steps and not self._has_stopped():
                    self.loop.model.train()
                    step = self.loop.step()
                    fault_point(f"train.step.{self.ranks.process}")
                    evaluation = self._evaluate() if self._is_due(self.recipe.eval_every) else None
                    status = self._status(step, evaluation)
                    write_status(status, log, events)
                    watch(status)
                    ended = self._ending(evaluation, self.ranks.any(interrupts.asked))
                    if ended != "done" or self._is_due(self.recipe.save_every):
                        self._save()
                    if ended != "done":
                        break
                if ended != "interrupted":
                    self._finish(step, log, events)
        finally:
            for one in (log, events):
                if one is not None:
                    one.close()
            self._report()
        return self._outcome(ended, step)

    def _begin(self, resume: bool) -> None:
        """The newest checkpoint, or the first checks of a new run."""
        found = checkpoint.checkpoints(self.out) if resume else []
        if self.ranks.is_first:
            self.out.mkdir(parents=True, exist_ok=True)
            checkpoint.clear(self.out)
        self.task.begin()
        self._check_held_out()
        if (forgetting := self._asking()) is not None:
            forgetting.ask_before(self.loop.model)
        if found:
            check_same(self.recipe, found[-1] / "training" / RECIPE)
            notes = checkpoint.resume(self.loop, found[-1])
            self.best = Best(**notes.get("best", {}))
            self.saved = self.loop.done
            self.say(f"goes on behind step {self.loop.done} of {self.loop.pace.steps}")
        else:
            if resume:
                self.say("no checkpoint was saved: it begins anew")
                (self.out / LOG).unlink(missing_ok=True)
            for line in (*self.begun.notes, *self.task.notes, *first_checks(self.loop, self.begun, self.task)):
                self.say(line)
        if self.ranks.is_first:
            (self.out / RECIPE).write_text(as_yaml(self.recipe), "utf-8")

    def _check_held_out(self) -> None:
        """BadData where there is nothing to evaluate on, before a step is spent."""
        if not self.recipe.has_evaluation:
            return
        known = self.task.is_held_out
        own = any(self.loop.objective.weight(one) > 0 for one in self.task.held_out()) if known is None else known
        if not self.ranks.any(own):
            raise BadData(
                "nothing of what is held out can be evaluated", "give data.eval=FILE with more, or leave it out"
            )

    def _is_due(self, every: int | None) -> bool:
        return every is not None and self.loop.done % every == 0

    def _evaluate(self) -> Evaluation | None:
        """Of the averaged weights where there are some; a new best is saved."""
        if not self.recipe.has_evaluation:
            return None
        if self.loop.ema is not None:
            with self.loop.ema.in_place():
                found = self._evaluated()
        else:
            found = self._evaluated()
        if not math.isfinite(found.loss):
            raise RunStopped(f"the held-out loss after step {self.loop.done} is {found.loss}", "lower the rate")
        if self.best.saw(found.loss, self.loop.done):
            self.saved = None  # a checkpoint of this step may be there, which does not know that it is the best
            self._save()
        return found

    def _evaluated(self) -> Evaluation:
        loop = self.loop
        spare = loop.micros[0] if loop.micros else None
        return evaluate(loop.model, loop.objective, self.task.held_out(), self.ranks, loop.pace.precision, spare)

    def _ending(self, evaluation: Evaluation | None, is_asked: bool) -> str:
        if is_asked and self.loop.done < self.loop.pace.steps:
            return "interrupted"
        return "stopped early" if evaluation is not None and self._has_stopped() else "done"

    def _has_stopped(self) -> bool:
        """So many evaluations without a better one are enough, also where a run that ended so is told to go on."""
        patience = self.recipe.early_stopping
        return patience is not None and self.best.since >= patience

    def _save(self) -> None:
        if self.loop.done != self.saved:
            notes, best = {"best": asdict(self.best)}, self.best.step
            in_parts = self.recipe.checkpoint == "sharded"
            try:
                checkpoint.save(
                    self.loop,
                    self.out,
                    keep=self.recipe.keep,
                    best=best,
                    also=self._beside,
                    notes=notes,
                    in_parts=in_parts,
                )
            except (OSError, ModelUnavailable, SafetensorError) as error:
                raise RunStopped(f"step {self.loop.done} could not be saved: {error}", GO_ON) from None
            self.saved = self.loop.done
        self.ranks.wait()

    def _with_model(self, folder: Path) -> None:
        """What a model needs beside its weights."""
        self.begun.tokenizer.save(folder)
        if self.task.also is not None:
            self.task.also(folder)

    def _beside(self, folder: Path) -> None:
        self._with_model(folder)
        (folder / "training" / RECIPE).write_text(as_yaml(self.recipe), "utf-8")

    def _finish(self, step: Step | None, log: Log | None, events: EventFile | None) -> None:
        """The last evaluation and checkpoint, and what the run was for."""
        has_evaluated = self.recipe.eval_every is not None and self._is_due(self.recipe.eval_every)
        if step is not None and not has_evaluated and (evaluation := self._evaluate()) is not None:
            write_status(self._status(step, evaluation), log, events, only_evaluation=True)
        self._save()
        if checkpoint.is_in_parts(self._chosen()):
            self._join_parts()
        elif self.ranks.is_first:
            self._write_model()
        self._tell_forgetting()
        self.ranks.wait()

    def _chosen(self) -> Path:
        """The best checkpoint, or the last."""
        best = self.out / f"step-{self.best.step:08d}" if self.best.step is not None else None
        return best if best is not None and best.is_dir() else checkpoint.checkpoints(self.out)[-1]

    def _asking(self) -> Forgetting | None:
        """One process is enough, unless each has a part of the model only."""
        return self.forgetting if self.ranks.is_first or self.recipe.way != "ddp" else None

    def _tell_forgetting(self) -> None:
        """Of the model that the run leaves."""
        forgetting = self._asking()
        if forgetting is None:
            return
        if self.loop.ema is not None:  # it has been filled with the best
            with self.loop.ema.in_place():
                forgetting.ask_after(self.loop.model)
        else:
            checkpoint.fill_model(self.loop.model, self._chosen())
            forgetting.ask_after(self.loop.model)
            checkpoint.fill_model(self.loop.model, checkpoint.checkpoints(self.out)[-1])
        if self.ranks.is_first:
            forgetting.write(self.out)
            for line in forgetting.lines():
                self.say(line)

    def _report(self) -> None:
        if self.ranks.is_first:
            try:
                write_report(self.out)
            except OSError as error:
                self.say(f"the report could not be written: {error}")

    def _write_model(self) -> None:
        """`OUT/model`, whole or as it was."""
        chosen, beside = self._chosen(), self._fresh_place()
        if self.loop.ema is None:
            shutil.copytree(chosen, beside, ignore=shutil.ignore_patterns("training"), dirs_exist_ok=True)
        else:
            self.loop.ema.resume(load_file(chosen / "training" / "ema.safetensors"))
            with self.loop.ema.in_place():
                checkpoint.save_trained(self.loop.model, beside)
            self._with_model(beside)
        self._put_in_place(beside)

    def _join_parts(self) -> None:
        """`OUT/model` of a checkpoint in parts; every process reads its own, and the first one writes all of them."""
        checkpoint.fill_model(self.loop.model, self._chosen())
        with checkpoint.whole_model(self.loop) as model:
            if self.ranks.is_first:
                beside = self._fresh_place()
                checkpoint.save_trained(model, beside)
                self._with_model(beside)
                self._put_in_place(beside)
        checkpoint.fill_model(self.loop.model, checkpoint.checkpoints(self.out)[-1])

    def _fresh_place(self) -> Path:
        beside = self.out / f".{MODEL}.part"
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        return beside

    def _put_in_place(self, beside: Path) -> None:
        shutil.rmtree(self.out / MODEL, ignore_errors=True)
        beside.rename(self.out / MODEL)

    def _status(self, step: Step, evaluation: Evaluation | None) -> Status:
        left = (self.loop.pace.steps - step.number) * step.seconds
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return Status(step, self.loop.pace.steps, step.tokens / max(step.seconds, 1e-9), left, most, evaluation)

    def _outcome(self, ended: str, step: Step | None) -> Outcome:
        model = self.out / MODEL
        return Outcome(
            ended,
            self.loop.done,
            self.loop.pace.steps,
            step.loss if step is not None else math.nan,
            self.best.loss if self.best.step is not None else None,
            self.best.step,
            model if model.is_dir() else None,
        )


@contextmanager
def _told(run: Run) -> Iterator[None]:
    """Errors of the machine while the block runs become RunStopped with what to do; a step that failed is written down."""
    try:
        yield
    except Diverged as error:
        path = dump_micros(run.out, run.loop.done, run.loop.micros, run.begun.tokenizer, run.ranks.process)
        raise RunStopped(f"{error.message}; what it read is in {path}", error.remedy) from None
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and is_lost(error):
            raise run.ranks.lost(error) from None
        if not is_memory_error(error):
            raise
        raise RunStopped("the step does not fit into memory", memory_remedy(run.recipe, run.loop.model)) from None
    except OSError as error:
        raise RunStopped(f"{run.out} could not be written: {error}", GO_ON) from None
