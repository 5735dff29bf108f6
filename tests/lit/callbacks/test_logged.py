"""Every logger of a run gets the same scalars, pictures, configuration and files, by its own methods."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyLogger, Logger

from lit.callbacks.logged import log_configuration, log_file, log_picture, takes_pictures
from lit.cli import main

PICTURE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
SEEN: dict[str, list[Any]] = {}  # what the stand-ins below were given, by their kind


class StandIn(Logger):
    """A logger that keeps what it is given."""

    kind = "other"

    def __init__(self) -> None:
        self.seen = SEEN.setdefault(self.kind, [])

    @property
    def name(self) -> str:
        return self.kind

    @property
    def version(self) -> str:
        return "0"

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.seen += [("scalar", name, step) for name in metrics]

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        self.seen.append(("config", params))


class WandbLike(StandIn):
    """The methods of Lightning's WandbLogger, and of the run behind it, that are used."""

    kind = "wandb"

    @property
    def experiment(self) -> Any:
        def save(glob_str: str, base_path: str | None = None, policy: str = "live") -> None:
            self.seen.append(("file", glob_str))

        return SimpleNamespace(save=save)

    def log_image(self, key: str, images: list[Any], step: int | None = None, **kwargs: Any) -> None:
        assert isinstance(images, list)
        self.seen.append(("picture", key, images[0].shape, step))


class MlflowLike(StandIn):
    """The methods of Lightning's MLFlowLogger, and of the client behind it, that are used."""

    kind, run_id = "mlflow", "a1"

    @property
    def experiment(self) -> Any:
        def log_image(
            run_id: str, image: Any, artifact_file: str | None = None, key: str | None = None, step: int | None = None
        ) -> None:
            self.seen.append(("picture", key, image.shape, step))

        def log_artifact(run_id: str, local_path: str, artifact_path: str | None = None) -> None:
            self.seen.append(("file", local_path))

        return SimpleNamespace(log_image=log_image, log_artifact=log_artifact)


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    SEEN.clear()


def run_with(*loggers: Any) -> Any:
    return SimpleNamespace(loggers=list(loggers), global_step=7)


def test_each_logger_takes_a_picture_its_own_way(tmp_path: Path) -> None:
    board = TensorBoardLogger(str(tmp_path), name="", version="")
    trainer = run_with(WandbLike(), MlflowLike(), board)
    assert takes_pictures(trainer)
    log_picture(trainer, "val/boxes", PICTURE)
    assert SEEN["wandb"] == SEEN["mlflow"] == [("picture", "val/boxes", (4, 6, 3), 7)]
    board.experiment.flush()
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = events.EventAccumulator(str(tmp_path))
    found.Reload()
    assert [event.step for event in found.Images("val/boxes")] == [7]


def test_a_logger_without_pictures_is_named_once_a_run(tmp_path: Path) -> None:
    trainer = run_with(CSVLogger(str(tmp_path)), DummyLogger())
    with pytest.warns(UserWarning, match="CSVLogger takes no pictures; TensorBoard, W&B or MLflow"):
        assert not takes_pictures(trainer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        log_picture(trainer, "val/boxes", PICTURE)


def test_configuration_and_files_reach_all(tmp_path: Path) -> None:
    board = TensorBoardLogger(str(tmp_path / "board"), name="", version="")
    trainer = run_with(WandbLike(), MlflowLike(), board, DummyLogger())
    (tmp_path / "result.json").write_text("{}")
    log_configuration(trainer, {"data": {"root": tmp_path}, "seed_everything": 3})
    log_file(trainer, tmp_path / "result.json")
    log_file(trainer, tmp_path / "absent.png")
    expected = [("config", {"data": {"root": str(tmp_path)}, "seed_everything": 3})]
    assert SEEN["wandb"] == SEEN["mlflow"] == [*expected, ("file", str(tmp_path / "result.json"))]


def test_a_training_gives_two_loggers_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = [f"{__name__}.{kind.__name__}" for kind in (WandbLike, MlflowLike)]
    (tmp_path / "toy.yaml").write_text(
        "trainer: {max_steps: 2, accelerator: cpu, enable_progress_bar: false, log_every_n_steps: 1,\n"
        f"  logger: [{{class_path: {names[0]}}}, {{class_path: {names[1]}}}]}}\n"
        "model: {class_path: tests.lit.toy_training.ToyModel}\n"
        "data: {class_path: tests.lit.toy_training.ToyDataModule}\n"
    )
    assert main(["fit", "-c", "toy.yaml", "--trainer.default_root_dir", "run"]) == 0
    assert SEEN["wandb"] == SEEN["mlflow"]
    assert {entry[0] for entry in SEEN["wandb"]} >= {"scalar", "config", "file"}


@pytest.mark.parametrize("kind", ["wandb", "mlflow"])
def test_the_real_loggers(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline, and in a local store."""
    pytest.importorskip(kind)
    from lightning.pytorch.loggers import MLFlowLogger, WandbLogger

    monkeypatch.setenv("WANDB_MODE", "offline")
    logger: Any = (
        WandbLogger(save_dir=str(tmp_path), offline=True)
        if kind == "wandb"
        else MLFlowLogger(tracking_uri=f"sqlite:///{tmp_path / 'runs.db'}", artifact_location=str(tmp_path / "files"))
    )
    trainer = run_with(logger)
    (tmp_path / "result.json").write_text("{}")
    log_picture(trainer, "val/boxes", PICTURE)
    log_configuration(trainer, {"seed_everything": 3})
    log_file(trainer, tmp_path / "result.json")
    logger.finalize("success")
    assert [path for path in tmp_path.rglob("*.png") if path.stat().st_size]
