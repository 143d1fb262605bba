"""Start a scheduler whose workers are Slurm jobs; dofa joins it through the scheduler file.

    pip install dask-jobqueue
    python slurm_jobqueue.py scheduler.json 20 &
    while [ ! -e scheduler.json ]; do sleep 10; done  # written when the first worker is there
    dofa embed scenes/ -o embeddings/ --resume --scheduler scheduler.json

The scheduler ends with this script. Workers come as the queue allows, and jobs that end are replaced.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

from dask_jobqueue import SLURMCluster

CORES = 16


def main() -> None:
    file, jobs = Path(sys.argv[1]), int(sys.argv[2])
    cluster = SLURMCluster(
        queue="normal",
        cores=1,  # threads of Dask: one batch after another
        processes=1,
        job_cpu=CORES,
        memory="64GB",
        walltime="04:00:00",
        worker_extra_args=["--memory-limit", "0", "--lifetime", "220m", "--lifetime-stagger", "10m"],
        job_script_prologue=[f"export OMP_NUM_THREADS={CORES}"],
        # with graphics cards: job_extra_directives=["--gpus=1"]
    )
    cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs)
    cluster.wait_for_workers(1)
    file.write_text(json.dumps({"address": cluster.scheduler_address}), encoding="utf-8")
    signal.sigwait({signal.SIGINT, signal.SIGTERM})
    file.unlink()
    cluster.close()


if __name__ == "__main__":
    main()
