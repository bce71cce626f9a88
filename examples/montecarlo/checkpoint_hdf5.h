/* checkpoint_hdf5.h - the state of a run inside its result file; see checkpoint.h and results_hdf5.c. */
#ifndef MONTECARLO_CHECKPOINT_HDF5_H
#define MONTECARLO_CHECKPOINT_HDF5_H

#include "checkpoint.h"
#include <hdf5.h>

/* 0, or not 0 when something failed. */
int checkpoint_write(hid_t file, const struct progress_file *p);

/* The type of a struct history_row; the caller closes it. */
hid_t history_type(void);

#endif
