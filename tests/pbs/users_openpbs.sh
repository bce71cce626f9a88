#!/bin/bash
# Several users at once, on a real OpenPBS.
pbs=openpbs
. "${FLM_SRCDIR:?run me by make check}/tests/pbs/battery_users.sh"
. "$FLM_SRCDIR/tests/pbs/cluster.sh"
battery_users
