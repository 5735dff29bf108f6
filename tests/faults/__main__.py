"""``python -m tests.faults``: damages files at random and sees what the suite's readers make of them.

    python -m tests.faults --inputs 10000 --seed 0 [--surface NAME ...] [--keep DIR]
    python -m tests.faults --replay DIR

Exit status 1 where a reader accepted what it could have told, raised anything but one line, or did not end.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from tests.faults.outcome import BAD, COLUMNS
from tests.faults.replay import keep_case, replay
from tests.faults.surfaces import SURFACES
from tests.faults.worker import run_surface, workplace


def shares(names: list[str], inputs: int) -> dict[str, int]:
    """Inputs by surface: in proportion to their shares, three each at least."""
    total = sum(SURFACES[name].share for name in names)
    return {name: max(3, round(inputs * SURFACES[name].share / total)) for name in names}


def main(argv: list[str] | None = None) -> int:
    """Run or replay. Returns the exit status."""
    parser = argparse.ArgumentParser("tests.faults", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10_000, help="over all surfaces (10000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--surface", nargs="+", choices=sorted(SURFACES), default=list(SURFACES), help="only these")
    parser.add_argument("--keep", type=Path, help="folder for the inputs that failed, for --replay")
    parser.add_argument("--replay", type=Path, help="folder of SURFACE__VERDICT__KIND/{input,original} to try again")
    options = parser.parse_args(argv)
    if options.replay:
        return replay(options.replay)
    print(f"{'surface':<20}{'inputs':>8}" + "".join(f"{name:>11}" for name in COLUMNS), flush=True)
    total: Counter[str] = Counter()
    failed: list[str] = []
    for name, inputs in shares(options.surface, options.inputs).items():
        counts = run_one(name, options.seed, inputs, options.keep, failed)
        print(row(name, counts), flush=True)
        total += counts
    print(row("all", total))
    for line in failed if len(failed) <= 40 or options.keep is None else []:
        print(line)
    if options.keep and failed:
        (options.keep / "failed.txt").write_text("\n".join(failed) + "\n")
        print(f"{len(failed)} failed inputs under {options.keep}, listed in failed.txt")
    return int(any(total[name] for name in BAD))


def run_one(name: str, seed: int, inputs: int, keep: Path | None, failed: list[str]) -> Counter[str]:
    """Verdicts of one surface; lines about failed inputs are added to ``failed``, and the inputs kept."""
    counts: Counter[str] = Counter()
    with workplace(SURFACES[name]) as folder:
        for case in run_surface(SURFACES[name], seed, inputs, folder):
            found = case.outcome
            counts[found.verdict] += 1
            if found.verdict in BAD:
                failed.append(f"{name} {case.number} {case.file} {case.kind}: {found.verdict}: {found.detail}")
                if keep:
                    keep_case(SURFACES[name], case, seed, folder, keep)
    return counts


def row(name: str, counts: Counter[str]) -> str:
    """One line of the table."""
    return f"{name:<20}{sum(counts.values()):>8}" + "".join(f"{counts[column]:>11}" for column in COLUMNS)


if __name__ == "__main__":
    sys.exit(main())
