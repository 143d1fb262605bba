#!/bin/bash
# One Slurm job that holds a scheduler, a worker a task, and dofa. Submit with: sbatch slurm.sh
# Scenes, outputs and this folder must lie on a file system that all nodes share.
#SBATCH --job-name=dofa
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=08:00:00
# with graphics cards: --gpus-per-task=1, and as many tasks a node as it has cards
set -euo pipefail

file=$PWD/scheduler-$SLURM_JOB_ID.json
dask scheduler --scheduler-file "$file" --no-dashboard &

# A worker that ends, because its node or the scheduler did, is started again.
export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK
srun --kill-on-bad-exit=0 bash -c \
    "while true; do dask worker --scheduler-file $file --nthreads 1 --memory-limit 0; sleep 5; done" &

# Killed or out of time: submit again, finished shards and scenes are kept.
dofa embed scenes/ -o embeddings/ --resume --scheduler "$file"
