#!/bin/sh
# One worker for each graphics card of a host, each seeing only its own, for a scheduler that runs elsewhere.
# On a single host without a scheduler, `dofa embed ... --workers N` (N = number of cards) does the same.
# Usage: several_gpus.sh SCHEDULER_FILE
set -eu

scheduler_file=$1
cards=$(nvidia-smi --query-gpu=index --format=csv,noheader)

for card in $cards; do
    CUDA_VISIBLE_DEVICES=$card dask worker --scheduler-file "$scheduler_file" \
        --name "$(hostname)-gpu$card" --nthreads 1 --memory-limit 0 &
done
wait
