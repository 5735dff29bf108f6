"""``predict`` on a Ray cluster: each worker draws a piece of the bank, and joined they are one's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from datamodules.assets.bank_pieces import PIECE, join_pieces, pieces_folder
from datamodules.cluster.ray_cluster import CLUSTER, cluster_room, spread_jobs
from datamodules.errors import InputError
from datamodules.files.folder_lock import folder_lock
from datamodules.processes import ENDS_WITH, track
from lit import ROOT
from lit.callbacks.bank_writer import BankWriter


def predict_in_pieces(argv: list[str], data: Any, callbacks: list[Any]) -> bool:
    """Draw a bank over the workers of the cluster that the environment names.

    Args:
        argv: ``predict`` and its arguments.
        data: as the configuration builds it; it prepares what it reads, and says how many batches there are to share.
        callbacks: the trainer's.

    Returns:
        Whether it has done so; False for a prediction that writes no bank.

    Raises:
        InputError: a piece failed, or as :func:`datamodules.cluster.ray_cluster.join_cluster`.
    """
    writers = [callback for callback in callbacks if isinstance(callback, BankWriter)]
    if len(writers) != 1:
        return False
    folder, address = Path(writers[0].folder), os.environ[CLUSTER]
    data.prepare_data()
    data.setup("predict")
    cores, gpus = cluster_room(address)
    count = max(1, min(len(data.predict_dataloader()), gpus or cores))
    with folder_lock(folder.parent, f"the bank {folder.name!r}", f".{folder.name}.pieces.lock"):
        shutil.rmtree(pieces_folder(folder), ignore_errors=True)
        job = partial(draw_piece, argv=argv, count=count, folder=str(folder))
        for _ in track(spread_jobs(job, range(count), count, address, gpus=min(gpus, 1)), "pieces", total=count):
            pass
        join_pieces(folder, count)
    print(f"bank: {folder} ({count} pieces)")
    return True


def draw_piece(number: int, argv: list[str], count: int, folder: str) -> None:
    """Draw piece ``number`` in a process of its own, which ends with this one.

    Raises:
        InputError: it failed; says its last line.
    """
    place = pieces_folder(folder)
    place.mkdir(parents=True, exist_ok=True)
    log = place / f"{number:04d}.log"
    environment = {**os.environ, PIECE: f"{number}/{count}", ENDS_WITH: str(os.getpid())}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with log.open("w") as stream:
        words = [sys.executable, "-m", "lit", *argv]
        code = subprocess.run(words, stdout=stream, stderr=subprocess.STDOUT, env=environment, check=False).returncode
    if code:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        said = lines[-1].removeprefix("error: ") if lines else f"exit status {code}"
        raise InputError(f"piece {number} of {count} of the bank {folder}: {said} (log: {log})")
