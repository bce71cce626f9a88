#!/bin/bash
# Several users at once, on the fake PBS.
pbs=fake
. "${FLM_SRCDIR:?run me by make check}/tests/pbs/battery_users.sh"
. "$FLM_SRCDIR/tests/pbs/cluster.sh"
battery_users
