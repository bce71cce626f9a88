#!/bin/bash
# flmrun in a job of a real OpenPBS.
pbs=openpbs
. "${FLM_SRCDIR:?run me by make check}/tests/pbs/cluster.sh"
. "$FLM_SRCDIR/tests/pbs/battery_job.sh"
battery_job
