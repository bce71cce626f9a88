#!/usr/bin/env python3
"""Reads a file of results as its users do, and checks all of it.

    results_check.py FILE rows N     the tasks 1 .. N are there, each once, with the right output
    results_check.py FILE some       the same of those that are there, while the file is being written
"""
import sys

import h5py
import numpy


def main():
    path, what = sys.argv[1], sys.argv[2]
    with h5py.File(path, "r", libver="latest", swmr=True) as file:
        rows = file["results"][:]
        data = file["bytes"][:]
        nodes = file["nodes"].asstr()[:]
    tasks = rows["task"]
    assert len(numpy.unique(tasks)) == len(tasks), "a task is there twice"
    if what == "rows":
        n = int(sys.argv[3])
        assert len(tasks) == n and tasks.min() == 1 and tasks.max() == n, f"{len(tasks)} rows, not {n}"
    assert (rows["state"] == 2).all(), "a task did not succeed"
    if "output" in rows.dtype.names:
        numbers = rows["output"]["number"]
    else:
        starts = rows["bytes_start"].astype(numpy.int64)
        ends = starts + rows["bytes_size"].astype(numpy.int64)
        assert (ends <= len(data)).all(), "a row refers to bytes that are not there"
        numbers = numpy.array([data[at:at + 8].view("<u8")[0] for at in starts], dtype="u8")
    assert (numbers == tasks).all(), "an output is not that of its task"
    known = ~numpy.isnan(rows["duration"])
    assert (rows["started"][known] <= rows["finished"][known]).all(), "a task ended before it began"
    where = rows["node"][rows["node"] < len(nodes)]
    print(f"{len(tasks)} rows, {known.sum()} with durations, {len(where)} with nodes")


if __name__ == "__main__":
    main()
