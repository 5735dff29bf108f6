"""fit, validate, test and predict: a thin LightningCLI whose configurations hold class paths."""

from __future__ import annotations

import logging
import warnings
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, NoReturn

import lightning.pytorch as pl
import yaml
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger

from datamodules.errors import InputError
from datamodules.files.folder_lock import folder_lock
from lit.callbacks.last_checkpoint import LastCheckpoint
from lit.callbacks.record import Record
from lit.config_errors import causes, explain

DEFAULTS = {
    "use_distributed_sampler": False,  # the datamodule shards by itself: epoch and index decide every draw
    "enable_model_summary": False,
}


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
        refuse_empty_files(self.argv)
        self.config = parser.parse_args(self.argv)

    def _parse_ckpt_path(self) -> None:
        """Nothing: a checkpoint's hyperparameters must not override the configuration and the flags of this run."""

    def before_instantiate_classes(self) -> None:
        path = self._get(self.config, "ckpt_path")
        if self.execute and path not in (None, "last", "best", "hpc") and not Path(path).exists():
            raise InputError(f"--ckpt_path {path}: no such file; expected a checkpoint, or last")

    def instantiate_classes(self) -> None:
        if self.execute:
            try:
                super().instantiate_classes()
            except ValueError as error:  # jsonargparse wraps what a constructor raises in lines of its own
                raise next((e for e in causes(error) if isinstance(e, InputError)), error) from error
            self.record.config = self.resolved()

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        config = self._get(self.config_init, "trainer")
        root = config.get("default_root_dir") or str(self.default_root())
        checkpoint = self._get(self.config_init, "checkpoint")
        checkpoint.dirpath = checkpoint.dirpath or root
        logger = config.get("logger")
        if logger is None or logger is True:
            logger = TensorBoardLogger(root, name="", version="")
        return super().instantiate_trainer(default_root_dir=root, logger=logger, **kwargs)

    def _run_subcommand(self, subcommand: str) -> None:
        if not self.execute:
            return
        writes = subcommand == "fit" and self.trainer.is_global_zero  # the other processes write into the same folder
        with folder_lock(self.trainer.default_root_dir, "a run") if writes else nullcontext():
            super()._run_subcommand(subcommand)

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        if subcommand == "predict":
            kwargs["return_predictions"] = False  # writers take them batch by batch; nothing needs them all in memory
        return kwargs

    @property
    def record(self) -> Record:
        """The run's record callback."""
        return self._get(self.config_init, "record")

    def resolved(self) -> dict[str, Any]:
        """The complete configuration as plain values."""
        self._dump_config()
        return dict(self.config_dump)

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
        path = self.record.write(self.trainer, split, command)
        if self.trainer.is_global_zero:
            print(f"wrote {path}")


def run(argv: list[str]) -> int:
    """Run ``fit``, ``validate``, ``test`` or ``predict`` with its arguments."""
    quiet_lightning()
    cli = SuiteCLI(argv)
    return 1 if cli.trainer.interrupted else 0


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


def refuse_empty_files(words: list[str]) -> None:
    """Look into the YAML files of a command line: an empty one would count as null, an arm without its injection.

    Raises:
        InputError: names the first empty one.
    """
    for word in words:
        path = Path(word.rpartition("=")[2])
        if path.suffix in (".yaml", ".yml") and path.is_file():
            with suppress(yaml.YAMLError):  # which the parser reports
                if yaml.compose(path.read_bytes()) is None:
                    raise InputError(f"{path}: empty, expected a configuration; write null to leave the option out")


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
