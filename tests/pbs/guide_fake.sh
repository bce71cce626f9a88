#!/bin/bash
# The guide, on the fake PBS.
pbs=fake
. "${FLM_SRCDIR:?run me by make check}/tests/pbs/cluster.sh"
. "$FLM_SRCDIR/tests/pbs/battery_guide.sh"
battery_guide
