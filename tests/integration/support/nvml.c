/* A made NVML: one GPU whose energy and power are in the file that the variable MADE_NVML names, as
 * "MILLIJOULES MILLIWATTS MICROSECONDS": a reading takes as long as the last number says. The functions and numbers are those
 * of NVIDIA's library; only those that are used are here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, UNKNOWN = 999 };

static int look(unsigned long long *mj, unsigned int *mw)
{
    unsigned long us = 0;
    const char *name = getenv("MADE_NVML");
    FILE *file = name ? fopen(name, "r") : NULL;
    if (!file)
        return UNKNOWN;
    int count = fscanf(file, "%llu %u %lu", mj, mw, &us);
    fclose(file);
    struct timespec time = { us / 1000000, us % 1000000 * 1000 };
    nanosleep(&time, NULL);
    return count == 3 ? SUCCESS : UNKNOWN;
}

int nvmlInit_v2(void) { return SUCCESS; }
int nvmlInitWithFlags(unsigned int flags) { (void)flags; return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int error) { (void)error; return "made error"; }

int nvmlDeviceGetCount_v2(unsigned int *count)
{
    *count = 1;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device)
{
    static int made;
    *device = &made;
    return index == 0 ? SUCCESS : INVALID_ARGUMENT;
}

int nvmlDeviceGetName(void *device, char *name, unsigned int length)
{
    (void)device;
    snprintf(name, length, "made GPU");
    return SUCCESS;
}

int nvmlDeviceGetUUID(void *device, char *uuid, unsigned int length)
{
    (void)device;
    snprintf(uuid, length, "GPU-made");
    return SUCCESS;
}

int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *energy)
{
    unsigned int power;
    (void)device;
    return look(energy, &power);
}

int nvmlDeviceGetPowerUsage(void *device, unsigned int *power)
{
    unsigned long long energy;
    (void)device;
    return look(&energy, power);
}
