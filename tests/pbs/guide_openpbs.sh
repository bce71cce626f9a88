#!/bin/bash
# The guide, on a real OpenPBS.
pbs=openpbs
. "${FLM_SRCDIR:?run me by make check}/tests/pbs/cluster.sh"
. "$FLM_SRCDIR/tests/pbs/battery_guide.sh"
battery_guide
