#!/bin/bash
# flmrun in a job of the fake PBS.
pbs=fake
. "${FLM_SRCDIR:?run me by make check}/tests/pbs/cluster.sh"
. "$FLM_SRCDIR/tests/pbs/battery_job.sh"
battery_job
