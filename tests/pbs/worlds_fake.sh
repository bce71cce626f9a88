#!/bin/bash
# MPI on several nodes of jobs of the fake PBS.
pbs=fake
. "${FLM_SRCDIR:?run me by make check}/tests/pbs/cluster.sh"
. "$FLM_SRCDIR/tests/pbs/battery_worlds.sh"
battery_worlds
