"""The training loop.

Everything random is a function of (seed, epoch, number of the sample): the place and the deformation of each tile, the
dropout mask. So a run that was stopped goes on as if it never had been, the same seed gives the same bits, and
many processes share the tiles that one would have taken.
"""

import math
import signal
import sys
import time
from pathlib import Path
from types import FrameType

import numpy as np
import torch
from tqdm import tqdm

from unet_fast.augment import random_warp
from unet_fast.checkpoint import Model, save_model
from unet_fast.config import TrainConfig
from unet_fast.data import LabelledImages, Normalization
from unet_fast.loss import class_balance
from unet_fast.networks import make_network
from unet_fast.precision import choose_precision, set_deterministic, set_tf32
from unet_fast.samples import Sampler
from unet_fast.trainer.fine_tuning import start_from
from unet_fast.trainer.journal import Journal, Stopwatch
from unet_fast.trainer.losses import Losses
from unet_fast.trainer.optimization import learning_rate
from unet_fast.trainer.processes import Processes
from unet_fast.trainer.state import State
from unet_fast.trainer.step import Step
from unet_fast.validation import Validator

DEFAULT_EPOCHS = 20


class Trainer:
    """One run: the network, its optimiser, the images, and the folder that keeps them.

    Args:
        config: of the run.
        images: all labelled images; some are held back for validation.
        out: folder of the run.

    Raises:
        ValueError: the settings do not fit the images, the device or the number of processes.
    """

    def __init__(self, config: TrainConfig, images: LabelledImages, out: Path) -> None:
        self.config, self.out = config, out
        self.processes = Processes.join(config.device)
        precision = choose_precision(config.precision, self.processes.device)
        if self.processes.device.type == "cuda":
            set_tf32(precision == "tf32")
        set_deterministic(config.deterministic)
        torch.manual_seed(config.seed)
        self.net = make_network(config, images.channels, images.class_count)
        self.notes = [start_from(self.net, config.init)] if config.init else []
        self.net.to(self.processes.device)

        training, held_back = split(images, config)
        self.class_weight = class_balance(torch.as_tensor(training.class_pixels()), config.class_weight)
        self.sampler = Sampler(training, self.class_weight, config, self.processes.device, self.net.sides)
        self.step = Step(self.net, config, precision, self.processes)
        kind = "instances" if images.label_kind == "freiburg" else images.label_kind
        self.model = Model(self.step.averaged, Normalization(config.normalization), kind, images.class_names)
        self.validator = Validator(self.model, held_back, training, self.sampler, config.score, precision)
        self.state = State(images=list(training.names))
        self.losses = Losses(behind=1 if self.processes.device.type == "cuda" else 0)
        self.last_loss = math.nan
        self.stopwatch = Stopwatch()
        self.stopping = False

    def describe(self) -> str:
        """Say what is about to be trained, on what, for how long."""
        config, total = self.config, self.total_steps()
        parameters = sum(p.numel() for p in self.net.parameters())
        weights = ", ".join(f"{w:.3g}" for w in self.class_weight.tolist())
        several = f", {self.processes.count} processes" if self.processes.count > 1 else ""
        kind = f"{self.net.sides.name}, base {config.base}"
        lines = [
            f"network: {kind}, {parameters:,} parameters, {config.backend} backend,"
            f" {self.step.precision} on {self.processes.device}, {torch.get_num_threads()} threads{several}"
            f"{self.step.mode}",
            f"training: {len(self.sampler.sources)} images, {config.batch_size} tiles of {config.tile} pixels per step,"
            f" {self.sampler.steps_per_epoch()} steps per epoch, {total if total is not None else 'unlimited'} steps; "
            f"class weights {weights}; {len(self.validator.images)} images held back",
            *self.notes,
            f"results: {self.out}",
        ]
        return "\n".join(lines)

    def total_steps(self) -> int | None:
        """Return the number of steps of the whole run, None where only hours limit it."""
        config = self.config
        epochs = config.epochs
        if epochs is None and config.steps is None and config.hours is None:
            epochs = DEFAULT_EPOCHS
        limits = [config.steps, None if epochs is None else epochs * self.sampler.steps_per_epoch()]
        return min([limit for limit in limits if limit is not None], default=None)

    def fit(self) -> None:
        """Train until the budget is spent, the score stops improving, or a signal asks to stop."""
        state, per_epoch = self.state, self.sampler.steps_per_epoch()
        self.started = time.monotonic() - 3600 * state.hours
        self.saved = time.monotonic()
        if self.processes.first:
            (self.out / "preview").mkdir(parents=True, exist_ok=True)
            self.journal = Journal(self.out, self.validator.names, tensorboard=self.config.tensorboard)
            if not state.rows:
                self._score({})
                self._save("checkpoint_last.pt")
        silent = not self.processes.first or not sys.stderr.isatty()
        with tqdm(total=self.total_steps(), initial=self._done(), unit="step", disable=silent) as bar:
            while not self.processes.any(self._finished()):
                self._train_step()
                bar.update()
                bar.set_postfix(loss=f"{self.last_loss:.4f}", best=f"{state.best:.4f}")
                if state.step == per_epoch:
                    self._end_epoch()
                elif time.monotonic() - self.saved > 60 * self.config.checkpoint_minutes:
                    self._save("checkpoint_last.pt")
        if state.step:
            self._save("checkpoint_last.pt")
            if not self.stopping:
                self._score(self._measured())

    def _done(self) -> int:
        """Return the number of steps since the start of the run."""
        return self.state.epoch * self.sampler.steps_per_epoch() + self.state.step

    def _hours(self) -> float:
        return (time.monotonic() - self.started) / 3600

    def _progress(self) -> float:
        """Return the share of the run that is done: of its steps, or of its hours where only these limit it."""
        total = self.total_steps()
        if total is not None:
            return self._done() / total
        assert self.config.hours is not None
        return self.processes.from_first(self._hours()) / self.config.hours

    def _finished(self) -> bool:
        config, total = self.config, self.total_steps()
        return (
            self.stopping
            or (total is not None and self._done() >= total)
            or (config.hours is not None and self._hours() >= config.hours)
            or (config.patience is not None and self.state.validations_since_best >= config.patience)
        )

    def _train_step(self) -> None:
        """Take one step, and look at the losses that are due."""
        config, state = self.config, self.state
        own = config.batch_size // self.processes.count
        first = state.step * config.batch_size + self.processes.rank * own
        size = own // config.accumulate
        parts = [range(first + i * size, first + (i + 1) * size) for i in range(config.accumulate)]
        with self.stopwatch.training(config.batch_size):
            with self.stopwatch.waiting_for_data():
                batches = [self.sampler.batch(state.epoch, part) for part in parts]
            seeds = [[self._dropout_seed(index) for index in part] for part in parts]
            rate = learning_rate(config, self._done(), self._progress())
            self.losses.put(state.epoch, state.step, self.step.take(batches, seeds, rate, self._done()))
            state.step += 1
            self._count_losses()

    def _count_losses(self, all_of_them: bool = False) -> None:
        """Add up the losses that are due, or those of all steps taken.

        Raises:
            FloatingPointError: one is not finite.
        """
        for loss in self.losses.arrived(all_of_them):
            if not math.isfinite(loss.value):
                raise FloatingPointError(
                    f"the loss or its gradient is {loss.value} at epoch {loss.epoch}, step {loss.step}, tiles of "
                    f"{self._images_of_step(loss.epoch, loss.step)}; this step changed no weights, and the last "
                    f"checkpoint is in {self.out}: try a smaller --lr or --precision float32"
                )
            self.state.loss_sum += loss.value
            self.last_loss = loss.value

    def _dropout_seed(self, index: int) -> int:
        words = np.random.SeedSequence((self.config.seed, self.state.epoch, index)).generate_state(1, np.uint64)
        return int(words[0] >> 2)

    def _images_of_step(self, epoch: int, step: int) -> str:
        """Name the images whose tiles a step had."""
        config, first = self.config, step * self.config.batch_size
        indices = range(first, first + config.batch_size)
        warp = random_warp(config.seed, epoch, indices, self.sampler.sizes, config.tile, config.augment)
        return ", ".join(dict.fromkeys(self.sampler.names[source] for source in warp.source.tolist()))

    def _end_epoch(self) -> None:
        state = self.state
        row = self._measured()
        state.epoch, state.step, state.loss_sum = state.epoch + 1, 0, 0.0
        if self.processes.first:
            self._score(row)
        self._save("checkpoint_last.pt")

    def _measured(self) -> dict[str, float]:
        """Return what training says about the epoch under way."""
        with self.stopwatch.training(0):
            self._count_losses(all_of_them=True)
        loss = self.state.loss_sum / self.state.step
        return {"loss": loss, "learning_rate": self.step.rate, **self.stopwatch.read()}

    def _score(self, measured: dict[str, float]) -> None:
        """Score the network, keep it if it is the best, and write down how the run goes."""
        if not self.processes.first:
            return
        state = self.state
        epoch = state.epoch + state.step / self.sampler.steps_per_epoch()
        row = {"epoch": epoch, "step": self._done(), "hours": self._hours(), **measured}
        due = math.ceil(epoch) % self.config.validate_every == 0 or self._finished()
        better = not self.validator.names  # nothing tells networks apart: keep the last
        if due:
            scores = self.validator.score(self.out / "preview" / f"epoch_{math.ceil(epoch):03}.png")
            row |= scores
            if scores:
                value = self.validator.value(scores)
                better = value > state.best
                state.validations_since_best = 0 if better else state.validations_since_best + 1
                state.best = max(value, state.best)
        state.rows.append(row)
        if better:
            save_model(self.out / "model.safetensors", self.model)
            self._save("checkpoint_best.pt")
        progress = self._done() / total if (total := self.total_steps()) else None
        remaining = 3600 * self._hours() * (1 / progress - 1) if progress else None
        if self.config.hours is not None:
            remaining = min(remaining or math.inf, 3600 * max(self.config.hours - self._hours(), 0))
        self.journal.write(state.rows, remaining)

    def _save(self, name: str) -> None:
        self._count_losses(all_of_them=True)  # no checkpoint of a step whose loss is not known to be finite
        if self.processes.first:
            self.state.hours = self._hours()
            self.state.save(self.out / name, self.step, self.config)
            self.saved = time.monotonic()

    def resume(self, checkpoint: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is no checkpoint of this package, or of another network, other images, another optimiser.
        """
        changes = self.state.load(checkpoint, self.step, self.config)
        self.notes.append(f"resume: {checkpoint}, epoch {self.state.epoch}, step {self.state.step}")
        self.notes += [f"resume: changed: {change}" for change in changes]

    def stop_at_signal(self, number: int, frame: FrameType | None) -> None:
        """Finish the step under way, write a checkpoint and end; a second signal ends at once."""
        if self.stopping:
            raise KeyboardInterrupt
        self.stopping = True
        tqdm.write(f"{signal.Signals(number).name}: stopping after this step")


def split(images: LabelledImages, config: TrainConfig) -> tuple[LabelledImages, LabelledImages]:
    """Return the images to train on and those held back.

    Raises:
        ValueError: there are fewer images than folds, or none.
    """
    fold = config.fold_of()
    if fold is None:
        return images.split(config.validation, seed=config.seed)
    if fold[1] > len(images):
        raise ValueError(f"fold: wanted at most {len(images)} folds, one for each image, got {config.fold}")
    return images.split(fold=fold[0], folds=fold[1], seed=config.seed)
