#!/usr/bin/env bash
# A search on Slurm: this script is the job that coordinates, and has jobs of one worker each started.
#
#   sbatch examples/slurm.sh
#
# Cancelled, or at its time limit, it stops cleanly; submitted again, it continues where it stopped.
# What your site asks for (partition, account) goes here for this job, and for the workers' jobs into
# ~/.config/dask/jobqueue.yaml or the table [cluster] of a settings file: see docs/cluster.md.
#SBATCH --job-name=mnist-lab
#SBATCH --output=mnist-lab-%j.log
#SBATCH --time=08:00:00
#SBATCH --cpus-per-task=1
#SBATCH --mem=2G
# Two minutes before the time limit, so that what is written is written.
#SBATCH --signal=B:TERM@120

exec mnist-lab random-search --iters 50 --cluster slurm --workers "${WORKERS:-20}" "$@"
