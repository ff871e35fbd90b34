"""What a setting does to learning, over seeds, on two cores.

    python -m bench.learning NAME FOLDER [--seeds 0 1 2] [--variants A B]

NAME is a key of `bench.learning.experiments.EXPERIMENTS`. Variants that are compared go on from the same weights at the
end of the supervised stage. Runs that are finished are not trained again, and runs that were broken off are resumed, so
the same command goes on where it stopped. FOLDER keeps the run folders, of several experiments, and after each run
NAME.json (`results.record`). Ends with transcripts of the first run, a table, and NAME.png.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bench.learning.experiments import EXPERIMENTS
from bench.learning.results import Records, figure, record, table, transcripts
from bench.learning.runs import trained
from cluster.record.run_reader import RunRecord


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=EXPERIMENTS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", help="beside the first; all if left out")
    args = parser.parse_args()
    experiment = EXPERIMENTS[args.name]
    unknown = set(args.variants or ()) - set(experiment.variants)
    if unknown:
        parser.error(f"no variant is called {', '.join(unknown)}; there are {', '.join(experiment.variants)}")
    root = args.folder.absolute()
    root.mkdir(parents=True, exist_ok=True)
    path = root / f"{args.name}.json"
    records: Records = json.loads(path.read_text()) if path.is_file() else {}
    first = experiment.first
    for seed in args.seeds:
        of_seed = records.setdefault(str(seed), {})
        for variant in experiment.variants:
            if variant in of_seed or (variant != first and args.variants and variant not in args.variants):
                continue
            runs = [RunRecord(trained(root, args.name, one, seed)) for one in (variant, first)]
            of_seed[variant] = record(*runs)
            path.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    figure(records, root / f"{args.name}.png")
    print(transcripts(RunRecord(trained(root, args.name, first, args.seeds[0]))))
    print(table(records))


if __name__ == "__main__":
    main()
