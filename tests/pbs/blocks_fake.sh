#!/bin/bash
# Jobs that flmd asks for, on the fake PBS.
pbs=fake
. "${FLM_SRCDIR:?run me by make check}/tests/pbs/cluster.sh"
. "$FLM_SRCDIR/tests/pbs/battery_blocks.sh"
battery_blocks
