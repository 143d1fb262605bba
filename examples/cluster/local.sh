#!/bin/sh
# A scheduler and two workers on this machine, joined by address file; what --workers 2 does in one step.
# Usage: local.sh SCENE OUTPUT [options of dofa embed]
set -eu

scene=$1 output=$2
shift 2
file=$(mktemp -d)/scheduler.json

dask scheduler --host 127.0.0.1 --port 0 --no-dashboard --scheduler-file "$file" >"$file.log" 2>&1 &
scheduler=$!
trap 'kill $scheduler $worker 2>/dev/null; rm -r "$(dirname "$file")"' EXIT
while [ ! -s "$file" ]; do sleep 0.1; done

# One thread each: the network takes one batch after another and uses OMP_NUM_THREADS cores for it.
OMP_NUM_THREADS=1 dask worker --scheduler-file "$file" --host 127.0.0.1 --no-dashboard \
    --nworkers 2 --nthreads 1 --memory-limit 0 >>"$file.log" 2>&1 &
worker=$!

dofa embed "$scene" -o "$output" --scheduler "$file" "$@"
