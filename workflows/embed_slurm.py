"""Embed an archive with many jobs of a SLURM cluster: each job is a dask worker with a GPU, or with some cores.

    pip install "cellvjepa[cluster]"
    python workflows/embed_slurm.py --jobs 8 --partition gpu --gpus 1 -- ARCHIVE --model RUN --cells labels/ --out cells.zarr

Start it on the login node, in tmux or screen; it writes the store itself, the jobs only compute. What stands after ``--`` is handed to
`cellvjepa embed`. Archive, run and this environment must lie where all nodes see them. A job that is ended by the cluster costs the pieces
it had; when this is stopped, the same command goes on. `--print-job` shows the script that would be sent, and ends.
"""

from __future__ import annotations

import argparse
import signal
import sys
from typing import Any


def main() -> int:
    """Start the jobs, embed, end the jobs."""
    options, embedding = _options()
    ctrl_c = signal.getsignal(signal.SIGINT)
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError:
        print('embed_slurm: needs dask-jobqueue. pip install "cellvjepa[cluster]".', file=sys.stderr)
        return 2
    signal.signal(signal.SIGINT, ctrl_c)  # which importing dask_jobqueue has taken for itself
    with SLURMCluster(**job_settings(options)) as cluster:
        if options.print_job:
            print(cluster.job_script())
            return 0
        cluster.scale(jobs=options.jobs)
        from cellvjepa.cli import run

        return run(["embed", *embedding, "--dask", cluster.scheduler_address])


def job_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return what dask-jobqueue calls the settings of one job: with a GPU one worker thread, else one for each core."""
    directives = [f"--gpus={options.gpus}"] if options.gpus else []
    return {
        "cores": 1 if options.gpus else options.cores,
        "processes": 1,
        "job_cpu": options.cores,
        "memory": options.memory,
        "walltime": options.time,
        "queue": options.partition,
        "account": options.account,
        "job_extra_directives": [*directives, *options.directive],
        "job_script_prologue": options.first,
        "death_timeout": 120,  # seconds after which a job that lost its scheduler ends
    }


def _options() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=4, help="how many")
    parser.add_argument("--partition", help="of the cluster")
    parser.add_argument("--account", help="that pays")
    parser.add_argument("--gpus", type=int, default=0, help="of a job: 1, or 0 for its cores")
    parser.add_argument("--cores", type=int, default=8, help="of a job")
    parser.add_argument("--memory", default="32GB", help="of a job")
    parser.add_argument("--time", default="08:00:00", help="of a job")
    parser.add_argument("--directive", action="append", default=[], help="another line for sbatch, e.g. --qos=long; may be repeated")
    parser.add_argument("--first", action="append", default=[], help="a command that each job begins with, e.g. 'module load cuda'; may be repeated")
    parser.add_argument("--print-job", action="store_true", help="show the script of a job, and end")
    parser.add_argument("embedding", nargs="*", help="-- and what `cellvjepa embed` is to be told")
    options = parser.parse_args()
    return options, options.embedding


if __name__ == "__main__":
    sys.exit(main())
