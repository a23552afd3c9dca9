"""The training loop.

Everything random is a function of (seed, epoch, step): the deformation of each tile, its place, the dropout mask. So a
run that was stopped goes on as if it never had been, and the same seed gives the same bits.
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

from unet_fast.atomic_write import atomic_write
from unet_fast.checkpoint import Model, load_checkpoint, save_checkpoint, save_model
from unet_fast.config import PRESETS, TrainConfig
from unet_fast.data import LabelledImages, Normalization
from unet_fast.loss import class_balance, weighted_cross_entropy
from unet_fast.model import UNet
from unet_fast.plots import draw_progress
from unet_fast.predict import choose_device
from unet_fast.samples import Sampler
from unet_fast.validation import Validator

DEFAULT_EPOCHS = 10


class Trainer:
    """One run: the network, its optimiser, the images, and the folder that keeps them.

    Args:
        config: of the run.
        images: all labelled images; some are held back for validation.
        out: folder of the run.
    """

    def __init__(self, config: TrainConfig, images: LabelledImages, out: Path) -> None:
        self.config, self.out = config, out
        self.device = choose_device(config.device)
        self.dtype = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
        torch.manual_seed(config.seed)
        self.net = UNet(
            images.channels,
            images.class_count,
            config.base,
            config.depth,
            config.variant,
            config.backend,
            config.dropout,
        )
        self.net.to(self.device)
        self.model = Model(self.net, Normalization(config.normalization), images.label_kind, images.class_names)
        training, held_back = images.split(config.validation, fold=config.fold, seed=config.seed)
        self.class_weight = (
            class_balance(torch.as_tensor(training.class_pixels()))
            if config.class_weight == "balance"
            else torch.ones(images.class_count)
        )
        self.sampler = Sampler(training, self.class_weight, config, self.device)
        self.validator = Validator(self.model, held_back, self.sampler)
        self.preset = PRESETS[config.preset]
        self.optimizer = self._make_optimizer()
        self.epoch = self.step = 0  # position: whole epochs, steps within the next one
        self.loss_sum = 0.0  # over the steps of the epoch under way
        self.best, self.validations_since_best = -1.0, 0
        self.rows: list[dict[str, float]] = []
        self.stopping = False

    def _make_optimizer(self) -> torch.optim.Optimizer:
        rate = self.config.lr or self.preset.lr
        if self.preset.optimizer == "sgd":
            return torch.optim.SGD(self.net.parameters(), lr=rate, momentum=self.preset.momentum)
        return torch.optim.Adam(self.net.parameters(), lr=rate, betas=(self.preset.momentum, 0.999))

    def describe(self) -> str:
        """Say what is about to be trained, on what, for how long."""
        config, per_epoch, total = self.config, self.sampler.steps_per_epoch(), self.total_steps()
        parameters = sum(p.numel() for p in self.net.parameters())
        weights = ", ".join(f"{w:.3g}" for w in self.class_weight.tolist())
        return (
            f"network: {config.variant} U-Net, base {config.base}, {parameters:,} parameters, "
            f"{config.backend} backend, {config.precision} on {self.device}, {torch.get_num_threads()} threads\n"
            f"training: {len(self.sampler.sources)} images, tiles of {config.tile} pixels, "
            f"{per_epoch} steps per epoch, {total if total is not None else 'unlimited'} steps; "
            f"class weights {weights}; {len(self.validator.images)} images held back\n"
            f"results: {self.out}"
        )

    def total_steps(self) -> int | None:
        """Return the number of steps of the whole run, None where only hours limit it."""
        per_epoch = self.sampler.steps_per_epoch()
        epochs = self.config.epochs
        if epochs is None and self.config.steps is None and self.config.hours is None:
            epochs = DEFAULT_EPOCHS
        limits = [n for n in (self.config.steps, epochs and epochs * per_epoch) if n is not None]
        return min(limits, default=None)

    def fit(self) -> None:
        """Train until the budget is spent, the score stops improving, or a signal asks to stop."""
        (self.out / "preview").mkdir(parents=True, exist_ok=True)
        per_epoch, total = self.sampler.steps_per_epoch(), self.total_steps()
        started = time.monotonic()
        if not self.rows:
            self._score(started, {"epoch": 0})
        bar = tqdm(total=total, initial=self._done(), unit="step", disable=not sys.stderr.isatty())
        with bar:
            while not self._finished(started, total):
                loss = self._train_step(total)
                bar.update()
                bar.set_postfix(loss=f"{loss:.4f}", best=f"{self.best:.4f}")
                if self.step == per_epoch:
                    self._end_epoch(started)
        if self.step:
            self._save_checkpoint()
            if not self.stopping:
                self._score(started, {"epoch": self.epoch + self.step / per_epoch, "loss": self.loss_sum / self.step})

    def _done(self) -> int:
        """Return the number of steps since the start of the run."""
        return self.epoch * self.sampler.steps_per_epoch() + self.step

    def _finished(self, started: float, total: int | None) -> bool:
        hours = (time.monotonic() - started) / 3600
        patience = self.config.patience
        return (
            self.stopping
            or (total is not None and self._done() >= total)
            or (self.config.hours is not None and hours >= self.config.hours)
            or (patience is not None and self.validations_since_best >= patience)
        )

    def _train_step(self, total: int | None) -> float:
        """Take one step and return its loss."""
        config = self.config
        batch = self.sampler.batch(self.epoch, self.step)
        if self.preset.cosine and total is not None:
            rate = (config.lr or self.preset.lr) * 0.5 * (1 + math.cos(math.pi * self._done() / total))
            for group in self.optimizer.param_groups:
                group["lr"] = rate
        self.net.train()
        seed = np.random.SeedSequence((config.seed, self.epoch, self.step)).generate_state(1, np.uint64)
        torch.manual_seed(int(seed[0] >> 1))  # of the dropout mask
        scores = self.net(batch.image.to(self.dtype))
        loss = weighted_cross_entropy(scores, batch.classes, batch.weights, backend=config.backend)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise FloatingPointError(
                f"the loss is {value} at epoch {self.epoch}, step {self.step}; this step changed no weights, and the "
                f"last checkpoint is in {self.out}: try a smaller --lr or --precision float32"
            )
        self.optimizer.step()
        self.loss_sum += value
        self.step += 1
        return value

    def _end_epoch(self, started: float) -> None:
        row = {"epoch": self.epoch + 1, "loss": self.loss_sum / self.step}
        self.epoch, self.step, self.loss_sum = self.epoch + 1, 0, 0.0
        self._score(started, row)
        self._save_checkpoint()

    def _score(self, started: float, row: dict[str, float]) -> None:
        """Score the network, keep it if it is the best, and write down how the run goes."""
        number = math.ceil(row["epoch"])
        if self.validator.images.images and number % self.config.validate_every == 0:
            scores = self.validator.score(self.out / "preview" / f"epoch_{number:03}.png")
            row |= scores
            self.validations_since_best += 1
            if scores[self.validator.names[0]] > self.best:
                self.best, self.validations_since_best = scores[self.validator.names[0]], 0
                save_model(self.out / "model.safetensors", self.model)
        self.rows.append(row)
        self._write_progress()
        words = "  ".join(f"{name} {value:.4f}" for name, value in row.items() if name != "epoch")
        tqdm.write(f"epoch {number:3d}  {words}  ({time.monotonic() - started:.0f} s)")

    def _write_progress(self) -> None:
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        lines = [",".join(names)] + [",".join(f"{row[n]:.6g}" if n in row else "" for n in names) for row in self.rows]
        with atomic_write(self.out / "metrics.csv") as temporary:
            temporary.write_text("\n".join(lines) + "\n")
        draw_progress(self.rows, self.validator.names, self.out / "progress.png")

    def _save_checkpoint(self) -> None:
        state = {name: getattr(self, name) for name in self._STATE}
        state |= {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        save_checkpoint(self.out / "checkpoint_last.pt", state)

    _STATE = ("epoch", "step", "loss_sum", "best", "validations_since_best", "rows")

    def resume(self) -> None:
        """Go on from the last checkpoint of the run's folder."""
        state = load_checkpoint(self.out / "checkpoint_last.pt")
        try:
            self.net.load_state_dict(state["net"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"resume: the checkpoint in {self.out} is of another network: {error}") from error
        for name in self._STATE:
            setattr(self, name, state[name])

    def stop_at_signal(self, number: int, frame: FrameType | None) -> None:
        """Finish the step under way, write a checkpoint and end; a second signal ends at once."""
        if self.stopping:
            raise KeyboardInterrupt
        self.stopping = True
        tqdm.write(f"{signal.Signals(number).name}: stopping after this step")
