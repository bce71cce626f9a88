#include "node/gpus.h"

#include <string.h>

/* NVIDIA; AMD's runtime, and HIP above it; OpenCL of AMD; Intel's Level Zero. */
const char *const gpus_variables[] = {"CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES",
                                      "GPU_DEVICE_ORDINAL",   "ZE_AFFINITY_MASK",     NULL};

/* The begin of element `index`, where the list ends for index = their number. */
static const char *element(const char *list, unsigned index)
{
    while (index--) {
        list = strchr(list, ',');
        list++;
    }
    return list;
}

bool gpus_share(const char *list, unsigned lane, unsigned slots, char *out, size_t n)
{
    if (!*list || strcmp(list, "NoDevFiles") == 0 || strcmp(list, "-1") == 0 || lane >= slots)
        return false;
    unsigned gpus = 1;
    for (const char *p = list; (p = strchr(p, ',')); p++)
        gpus++;
    /* From first up to last, not included. */
    unsigned first = lane % gpus, last = first + 1;
    if (gpus >= slots) {
        first = (unsigned)((unsigned long long)lane * gpus / slots);
        last = (unsigned)((unsigned long long)(lane + 1) * gpus / slots);
    }
    const char *begin = element(list, first);
    size_t size = last == gpus ? strlen(begin) : (size_t)(element(begin, last - first) - 1 - begin);
    if (size >= n)
        return false;
    memcpy(out, begin, size);
    out[size] = 0;
    return true;
}
