"""fit, validate, test and predict: a thin LightningCLI whose configurations hold class paths."""

from __future__ import annotations

import codecs
import logging
import os
import subprocess
import warnings
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, NoReturn

import lightning.pytorch as pl
import torch
import yaml
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger

from datamodules.assets.bank_pieces import this_piece
from datamodules.cluster.ray_cluster import CLUSTER
from datamodules.errors import InputError
from datamodules.files.folder_lock import folder_lock
from datamodules.files.text_files import read_text
from datamodules.files.training_checkpoints import check_checkpoint
from datamodules.files.typed_json import read_yaml
from datamodules.processes import ending_children
from lit.callbacks.last_checkpoint import LastCheckpoint
from lit.callbacks.logged import log_file
from lit.callbacks.record import Record
from lit.checkpoint_files import AtomicCheckpoints, remove_parts
from lit.config_errors import explain, one_line_refusals
from lit.launched import fill_in_processes, refuse_processes
from lit.predict_pieces import predict_in_pieces

DEFAULTS = {
    "use_distributed_sampler": False,  # the datamodule shards by itself: epoch and index decide every draw
    "enable_model_summary": False,
}
ENDING = 60.0  # seconds that the other processes of a training have to end after the first


class SuiteParser(LightningArgumentParser):
    """LightningCLI's parser, with errors of one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the message as one line.

        Raises:
            InputError: always.
        """
        if not self.exit_on_error:  # a nested parser: the outer one reports
            super().error(message, ex)
        parser = getattr(ex, "subcommand_parser", None) or self
        raise InputError(explain(message, ex, [action.dest for action in parser._actions])) from ex


class SuiteCLI(LightningCLI):
    """The trainer commands.

    Args:
        argv: the command and its arguments.
        execute: False parses and checks only.
    """

    def __init__(self, argv: list[str], execute: bool = True) -> None:
        self.argv = argv
        self.execute = execute
        super().__init__(
            model_class=pl.LightningModule,
            datamodule_class=pl.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,  # the record holds the resolved configuration
            trainer_defaults=DEFAULTS,
            seed_everything_default=0,
            parser_class=SuiteParser,
            auto_configure_optimizers=False,
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # Lightning calls it on the instance
        """Only the command that was asked for: building a parser costs a second."""
        return {name: skip for name, skip in LightningCLI.subcommands().items() if name == self.argv[0]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(Record, "record")
        parser.add_lightning_class_args(LastCheckpoint, "checkpoint")

    def _set_seed(self) -> None:
        if self.execute:
            super()._set_seed()

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        refuse_strange_files(self.argv)
        self.config = parser.parse_args(self.argv)

    def _parse_ckpt_path(self) -> None:
        """Nothing: a checkpoint's hyperparameters must not override the configuration and the flags of this run."""

    def before_instantiate_classes(self) -> None:
        if not self.execute:
            return
        command, path = self.argv[0], self._get(self.config, "ckpt_path")
        if command != "fit" and path in (None, "last"):
            last = self.root() / "last.ckpt"
            if last.is_file():
                path = str(last)
            elif path or not has_weights(self._get(self.config, "model")):
                raise InputError(
                    f"{command}: no --ckpt_path, and {last} does not exist: the weights would be untrained; expected "
                    "the checkpoint of a training"
                )
            self.config[command]["ckpt_path"] = path
        if path not in (None, "last", "best", "hpc"):
            if not Path(path).exists():
                raise InputError(f"--ckpt_path {path}: no such file; expected a checkpoint, or last")
            steps = self._get(self.config, "trainer").get("max_steps") or -1
            check_checkpoint(path, command == "fit", steps if steps > 0 else None)

    def instantiate_classes(self) -> None:
        if self.execute:
            with one_line_refusals():
                super().instantiate_classes()
            self.record.config = self.resolved()

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        config = self._get(self.config_init, "trainer")
        root = str(self.root())
        fill_in_processes(config)
        refuse_processes(config.get("accelerator"), config.get("devices"))
        checkpoint = self._get(self.config_init, "checkpoint")
        checkpoint.dirpath = checkpoint.dirpath or root
        logger = config.get("logger")
        if logger is None or logger is True:
            logger = TensorBoardLogger(root, name="", version="")
        given = config.get("plugins") or []
        plugins = [*(given if isinstance(given, list) else [given]), AtomicCheckpoints()]
        trainer = super().instantiate_trainer(default_root_dir=root, logger=logger, plugins=plugins, **kwargs)
        if self.argv[0] == "predict" and (piece := this_piece()):  # one of several that do not talk to each other
            for name, value in zip(("global_rank", "world_size"), piece):
                setattr(trainer.strategy, name, value)
        return trainer

    def _run_subcommand(self, subcommand: str) -> None:
        if not self.execute:
            return
        writes = subcommand == "fit" and self.trainer.is_global_zero  # the other processes write into the same folder
        try:
            with folder_lock(self.trainer.default_root_dir, "a run") if writes else nullcontext():
                if writes:
                    remove_parts(self.trainer.default_root_dir)
                super()._run_subcommand(subcommand)
        except (RuntimeError, ValueError) as error:
            path = self._get(self.config, "ckpt_path")
            if path is None or "state_dict" not in str(error).replace(" dict", "_dict"):
                raise
            said = " ".join(str(error).split())
            raise InputError(
                f"--ckpt_path {path}: of another architecture than this configuration's ({said[:160]}); expected a "
                "checkpoint that this very configuration trained"
            ) from error

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        if subcommand == "predict":
            kwargs["return_predictions"] = False  # writers take them batch by batch; nothing needs them all in memory
        kwargs["weights_only"] = True  # nothing of a checkpoint is run
        return kwargs

    @property
    def record(self) -> Record:
        """The run's record callback."""
        return self._get(self.config_init, "record")

    def resolved(self) -> dict[str, Any]:
        """The complete configuration as plain values."""
        self._dump_config()
        return dict(self.config_dump)

    def parts(self) -> Namespace:
        """The objects that the configuration of the command describes, built but not run."""
        self.before_instantiate_classes()
        built: Namespace = self.parser.instantiate_classes(self.config)[self.argv[0]]
        return built

    def root(self) -> Path:
        """The run's folder."""
        given = self._get(self.config, "trainer").get("default_root_dir")
        return Path(given).expanduser() if given else self.default_root()

    def default_root(self) -> Path:
        """``runs/`` and the name of the first configuration file, or of the model's class."""
        files = [Path(str(path)).stem for path in self._get(self.config, "config") or []]
        model = self._get(self.config, "model")
        return Path("runs") / (files[0] if files else model.class_path.rsplit(".", 1)[-1].lower())

    def after_fit(self) -> None:
        """Evaluate the final weights unless the last step was evaluated, then write the record."""
        if self.trainer.interrupted:
            return
        if self.record.metrics_step != self.trainer.global_step and self.trainer.enable_validation:
            self.trainer.validate(self.model, datamodule=self.datamodule, verbose=False)
        self._write("val", "fit")

    def after_validate(self) -> None:
        """Write the record."""
        self._write("val", "validate")

    def after_test(self) -> None:
        """Write the record."""
        self._write("test", "test")

    def _write(self, split: str, command: str) -> None:
        require_finite(self.model)
        path = self.record.write(self.trainer, split, command)
        if self.trainer.is_global_zero:
            print(f"wrote {path}")
            sheets = (file for kind in ("png", "json") for file in sorted(path.parent.glob(f"*_{split}.{kind}")))
            for file in (path, path.parent / "injected.png", *sheets):
                log_file(self.trainer, file)


def run(argv: list[str]) -> int:
    """Run ``fit``, ``validate``, ``test`` or ``predict`` with its arguments."""
    quiet_lightning()
    argv = take_cluster(argv)
    if argv[0] == "predict" and os.environ.get(CLUSTER) and this_piece() is None:
        parts = SuiteCLI(argv, execute=False).parts()
        if predict_in_pieces(argv, parts.data, parts.trainer.callbacks or []):
            return 0
    with ending_children():
        cli = SuiteCLI(argv)
        others = getattr(cli.trainer.strategy.launcher, "procs", ())
        for process in others:  # which would end in the middle of their work
            with suppress(subprocess.TimeoutExpired):
                process.wait(ENDING)
    return 1 if cli.trainer.interrupted else 0


def take_cluster(argv: list[str]) -> list[str]:
    """Move ``--ray ADDRESS`` of a prediction into the environment: it is no setting of the model's.

    Raises:
        InputError: the address is missing.
    """
    if argv[0] != "predict" or "--ray" not in argv:
        return argv
    place = argv.index("--ray")
    if place + 1 == len(argv):
        raise InputError("--ray: expected an address: HOST:PORT of a cluster, auto or local")
    os.environ[CLUSTER] = argv[place + 1]
    return argv[:place] + argv[place + 2 :]


def resolve(argv: list[str]) -> dict[str, Any]:
    """Check a command line without running it.

    Returns:
        The resolved configuration, as the run's record will hold it.

    Raises:
        InputError: for anything ``run`` would refuse.
    """
    if argv[0] not in (known := LightningCLI.subcommands()):
        raise InputError(f"no trainer command '{argv[0]}': expected one of {', '.join(known)}")
    return SuiteCLI(argv, execute=False).resolved()


def refuse_strange_files(words: list[str]) -> None:
    """Look into the YAML files of a command line.

    An empty one would count as null, an arm without its injection; aliases unfold to any size.

    Raises:
        InputError: names the first that is empty, no text, or has aliases.
    """
    waiting = [Path(word.rpartition("=")[2]) for word in words]
    seen: set[Path] = set()
    while waiting:
        path = waiting.pop(0)
        if path.suffix not in (".yaml", ".yml") or not path.is_file() or path in seen:
            continue
        seen.add(path)
        text = read_text(path, "a configuration")
        if path.read_bytes().startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)):
            raise InputError(f"{path}: UTF-16 or UTF-32, expected UTF-8; save it as that")
        read_yaml(path, Any, "a configuration")
        with suppress(yaml.YAMLError):  # which the parser reports
            events = list(yaml.parse(text))
            if not any(isinstance(event, yaml.NodeEvent) for event in events):
                raise InputError(f"{path}: empty, expected a configuration; write null to leave the option out")
            named = [Path(event.value) for event in events if isinstance(event, yaml.ScalarEvent)]
            waiting += [place for name in named for place in (path.parent / name, name)]


def require_finite(model: torch.nn.Module) -> None:
    """Refuse to score a network that a diverged training left: its figures would look like a bad network's.

    Raises:
        InputError: names the first weights that are not finite.
    """
    for name, weights in model.named_parameters():
        if not bool(weights.detach().isfinite().all()):
            raise InputError(
                f"{name} holds NaN or infinities: the training diverged, its figures mean nothing; expected finite "
                "weights, lower the learning rate"
            )


def has_weights(model: Any) -> bool:
    """Whether a model's configuration names a file of trained weights: a detector's checkpoint, a network's weights."""
    if not isinstance(model, Mapping | Namespace):
        return False
    return any(
        (key in ("checkpoint", "weights") and isinstance(value, str)) or has_weights(value)
        for key, value in model.items()
    )


def quiet_lightning() -> None:
    """Drop Lightning's advertising and its device table from the log, and two warnings without meaning here."""
    warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*")  # Lightning against the pinned torch
    warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")  # a run's folder holds its log
    for name in (
        "lightning.pytorch.utilities.rank_zero",
        "lightning.fabric.utilities.rank_zero",
        "lightning.fabric.utilities.seed",
    ):
        logging.getLogger(name).addFilter(lambda entry: entry.levelno > logging.INFO)
