/* CUDA's runtime over host memory: kernels do nothing, memory, copies and recordings are checked, every call is counted.

   What real CUDA refuses is refused: copies out of bounds or in the wrong direction, whatever waits or takes memory while
   the thread records. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver_types.h"
#include "vector_types.h"

enum { NAMES = 256, BLOCKS = 1 << 16, NODES = 1 << 16, ALIGNMENT = 512, DRIVER = 13000 };
enum kind { FREE, DEVICE, PINNED };

struct counter { char name[64]; long count; };
struct block { char *begin; size_t bytes; enum kind kind; };
struct graph { const char *names[NODES]; int count; };
struct stream { int broken; struct graph *graph; };

static struct counter counters[NAMES];
static struct block blocks[BLOCKS];
static int names, used;
static size_t held, peak;
static struct stream *recording; /* the one stream that records, or none */
static cudaError_t last_error;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- what the tests ask */

void stub_count(const char *name)
{
    int i = 0;
    pthread_mutex_lock(&lock);
    while (i < names && strcmp(counters[i].name, name)) i++;
    if (i == names) strncpy(counters[names++].name, name, sizeof counters->name - 1);
    counters[i].count++;
    pthread_mutex_unlock(&lock);
}

void stub_reset(void)
{
    for (int i = 0; i < names; i++) counters[i].count = 0;
    peak = held;
}

size_t stub_report(char *text, size_t room)
{
    size_t length = 0;
    for (int i = 0; i < names && length < room; i++)
        if (counters[i].count) length += snprintf(text + length, room - length, "%s=%ld\n", counters[i].name, counters[i].count);
    return length;
}

/* The name of what a graph does at an index; NULL after the last. */
const char *stub_node(struct graph *graph, int index) { return index < graph->count ? graph->names[index] : NULL; }

size_t stub_held_bytes(void) { return held; }
size_t stub_peak_bytes(void) { return peak; }

/* ---- errors, and what a stream does or records */

static cudaError_t answer(cudaError_t error) { return error ? (last_error = error) : cudaSuccess; }

static cudaError_t work(void *handle, const char *name)
{
    struct stream *stream = handle;
    char captured[64];
    if (recording && !stream) { /* the default stream waits for all others, which a recording cannot */
        recording->broken = 1;
        return answer(cudaErrorStreamCaptureImplicit);
    }
    if (!recording || stream != recording) {
        stub_count(name);
        return cudaSuccess;
    }
    if (stream->graph->count == NODES) abort();
    stream->graph->names[stream->graph->count++] = name;
    snprintf(captured, sizeof captured, "captured %s", name);
    stub_count(captured);
    return cudaSuccess;
}

/* Count a call that real CUDA refuses while the thread records. */
static cudaError_t outside_recordings(const char *name)
{
    stub_count(name);
    if (!recording) return cudaSuccess;
    recording->broken = 1;
    return answer(cudaErrorStreamCaptureUnsupported);
}

cudaError_t stub_launch(void *stream) { return work(stream, "launch"); }

cudaError_t cudaGetLastError(void) { cudaError_t error = last_error; last_error = cudaSuccess; return error; }
cudaError_t cudaPeekAtLastError(void) { return last_error; }
const char *cudaGetErrorString(cudaError_t error) { return error ? "refused by the stub" : "no error"; }
const char *cudaGetErrorName(cudaError_t error) { return error ? "cudaErrorOfStub" : "cudaSuccess"; }

/* ---- the device: one of compute capability 9.0 */

cudaError_t cudaGetDeviceCount(int *count) { *count = 1; return cudaSuccess; }
cudaError_t cudaGetDevice(int *device) { *device = 0; return cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int *version) { *version = DRIVER; return cudaSuccess; }
cudaError_t cudaDriverGetVersion(int *version) { *version = DRIVER; return cudaSuccess; }

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *device, int index)
{
    memset(device, 0, sizeof *device);
    strcpy(device->name, "stub");
    device->major = 9;
    device->totalGlobalMem = (size_t)80 << 30;
    device->warpSize = 32;
    device->multiProcessorCount = 132;
    device->maxThreadsPerBlock = device->maxThreadsDim[0] = device->maxThreadsDim[1] = 1024;
    device->maxThreadsDim[2] = 64;
    device->maxGridSize[0] = 2147483647;
    device->maxGridSize[1] = device->maxGridSize[2] = 65535;
    device->maxThreadsPerMultiProcessor = 2048;
    device->sharedMemPerBlock = 49152;
    device->sharedMemPerBlockOptin = 232448;
    device->sharedMemPerMultiprocessor = 233472;
    device->regsPerBlock = device->regsPerMultiprocessor = 65536;
    device->l2CacheSize = 50 << 20;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device)
{
    struct cudaDeviceProp stub;
    cudaGetDeviceProperties(&stub, device);
    switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor: *value = stub.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = stub.minor; break;
    case cudaDevAttrMultiProcessorCount: *value = stub.multiProcessorCount; break;
    case cudaDevAttrMaxThreadsPerBlock: *value = stub.maxThreadsPerBlock; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = stub.maxThreadsPerMultiProcessor; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = stub.sharedMemPerBlock; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = stub.sharedMemPerBlockOptin; break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = stub.sharedMemPerMultiprocessor; break;
    case cudaDevAttrWarpSize: *value = stub.warpSize; break;
    default: *value = 1;
    }
    return cudaSuccess;
}

/* ---- memory */

static struct block *block_of(const void *address, size_t bytes)
{
    const char *begin = address;
    for (int i = 0; i < used; i++)
        if (blocks[i].kind && blocks[i].begin <= begin && begin + bytes <= blocks[i].begin + blocks[i].bytes) return &blocks[i];
    return NULL;
}

static cudaError_t take(void **address, size_t bytes, enum kind kind)
{
    int i = 0;
    *address = NULL;
    if (posix_memalign(address, ALIGNMENT, bytes ? bytes : 1)) return answer(cudaErrorMemoryAllocation);
    memset(*address, 0, bytes);
    pthread_mutex_lock(&lock);
    while (i < used && blocks[i].kind) i++;
    if (i == BLOCKS) abort();
    if (i == used) used++;
    blocks[i] = (struct block){*address, bytes, kind};
    if (kind == DEVICE && (held += bytes) > peak) peak = held;
    pthread_mutex_unlock(&lock);
    return cudaSuccess;
}

static cudaError_t give_back(void *address)
{
    struct block *block = address ? block_of(address, 0) : NULL;
    if (!address) return cudaSuccess;
    if (!block || block->begin != address) return answer(cudaErrorInvalidValue);
    pthread_mutex_lock(&lock);
    if (block->kind == DEVICE) held -= block->bytes;
    block->kind = FREE;
    pthread_mutex_unlock(&lock);
    free(address);
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **address, size_t bytes)
{
    cudaError_t error = outside_recordings("allocate");
    return error ? error : take(address, bytes, DEVICE);
}

cudaError_t cudaHostAlloc(void **address, size_t bytes, unsigned flags)
{
    cudaError_t error = outside_recordings("pin");
    return error ? error : take(address, bytes, PINNED);
}

cudaError_t cudaFree(void *address)
{
    cudaError_t error = outside_recordings("free");
    return error ? error : give_back(address);
}

cudaError_t cudaMallocHost(void **address, size_t bytes) { return cudaHostAlloc(address, bytes, 0); }
cudaError_t cudaFreeHost(void *address) { return cudaFree(address); }
cudaError_t cudaMallocFromPoolAsync(void **address, size_t bytes, void *pool, void *stream) { return cudaMalloc(address, bytes); }
cudaError_t cudaFreeAsync(void *address, void *stream) { return cudaFree(address); }

cudaError_t cudaMemGetInfo(size_t *left, size_t *total)
{
    *total = (size_t)80 << 30;
    *left = *total - held;
    return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *attributes, const void *address)
{
    struct block *block = block_of(address, 0);
    memset(attributes, 0, sizeof *attributes);
    if (!block) return cudaSuccess; /* memory that CUDA does not know is no error */
    attributes->type = block->kind == DEVICE ? cudaMemoryTypeDevice : cudaMemoryTypeHost;
    attributes->devicePointer = (void *)address;
    attributes->hostPointer = block->kind == PINNED ? (void *)address : NULL;
    return cudaSuccess;
}

/* ---- copies */

static int on_device(const void *address, size_t bytes)
{
    struct block *block = block_of(address, bytes);
    return block && block->kind == DEVICE;
}

static const char *copy_name(const void *target, const void *source, size_t bytes, enum cudaMemcpyKind kind)
{
    int to = on_device(target, bytes), from = on_device(source, bytes);
    if (kind != cudaMemcpyDefault && (to != (kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice) ||
                                      from != (kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice)))
        return NULL;
    return to ? (from ? "copy" : "upload") : (from ? "download" : "host copy");
}

cudaError_t cudaMemcpyAsync(void *target, const void *source, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream)
{
    const char *name = copy_name(target, source, bytes, kind);
    if (!name) return answer(cudaErrorInvalidValue);
    memmove(target, source, bytes);
    return work(stream, name);
}

cudaError_t cudaMemcpy(void *target, const void *source, size_t bytes, enum cudaMemcpyKind kind)
{
    cudaError_t error = outside_recordings("waiting copy");
    const char *name = copy_name(target, source, bytes, kind);
    if (error || !name) return error ? error : answer(cudaErrorInvalidValue);
    memmove(target, source, bytes);
    stub_count(name);
    return cudaSuccess;
}

static void copy_rows(struct cudaPitchedPtr to, struct cudaPos at, struct cudaPitchedPtr from, struct cudaPos begin,
                      struct cudaExtent extent)
{
    for (size_t z = 0; z < extent.depth; z++)
        for (size_t y = 0; y < extent.height; y++)
            memmove((char *)to.ptr + ((z + at.z) * to.ysize + y + at.y) * to.pitch + at.x,
                    (char *)from.ptr + ((z + begin.z) * from.ysize + y + begin.y) * from.pitch + begin.x, extent.width);
}

static int holds(struct cudaPitchedPtr region, struct cudaPos at, struct cudaExtent extent)
{
    return at.x + extent.width <= region.pitch && at.y + extent.height <= region.ysize &&
           on_device(region.ptr, region.pitch * region.ysize * (at.z + extent.depth));
}

cudaError_t cudaMemcpy3DAsync(const struct cudaMemcpy3DParms *copy, cudaStream_t stream)
{
    if (copy->kind != cudaMemcpyDeviceToDevice || !holds(copy->dstPtr, copy->dstPos, copy->extent) ||
        !holds(copy->srcPtr, copy->srcPos, copy->extent))
        return answer(cudaErrorInvalidValue);
    copy_rows(copy->dstPtr, copy->dstPos, copy->srcPtr, copy->srcPos, copy->extent);
    return work(stream, "copy");
}

cudaError_t cudaMemcpy2DAsync(void *target, size_t to, const void *source, size_t from, size_t width, size_t rows,
                              enum cudaMemcpyKind kind, cudaStream_t stream)
{
    const char *name = rows ? copy_name(target, source, (rows - 1) * (to < from ? to : from) + width, kind) : "copy";
    if (!name) return answer(cudaErrorInvalidValue);
    for (size_t row = 0; row < rows; row++) memmove((char *)target + row * to, (char *)source + row * from, width);
    return work(stream, name);
}

cudaError_t cudaMemsetAsync(void *address, int value, size_t bytes, cudaStream_t stream)
{
    if (!on_device(address, bytes)) return answer(cudaErrorInvalidValue);
    memset(address, value, bytes);
    return work(stream, "fill");
}

cudaError_t cudaMemset(void *address, int value, size_t bytes)
{
    cudaError_t error = outside_recordings("fill");
    if (error || !on_device(address, bytes)) return error ? error : answer(cudaErrorInvalidValue);
    memset(address, value, bytes);
    return cudaSuccess;
}

/* ---- streams, events, recordings */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    *stream = calloc(1, sizeof(struct stream));
    return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t *stream) { return cudaStreamCreateWithFlags(stream, 0); }
cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return outside_recordings("synchronise"); }
cudaError_t cudaDeviceSynchronize(void) { return outside_recordings("synchronise"); }
cudaError_t cudaEventSynchronize(cudaEvent_t event) { return outside_recordings("synchronise"); }
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) { return work(stream, "wait for event"); }
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) { return work(stream, "event"); }
cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned flags) { return work(stream, "event"); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) { *event = malloc(1); return cudaSuccess; }
cudaError_t cudaEventCreate(cudaEvent_t *event) { return cudaEventCreateWithFlags(event, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t event) { free(event); return cudaSuccess; }

/* The host function runs now: whoever waits finds it done. In a recording it would run again with each replay. */
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void *argument)
{
    function(argument);
    return work(stream, "host function");
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *status)
{
    struct stream *own = (struct stream *)stream;
    *status = !own || own != recording      ? cudaStreamCaptureStatusNone
              : recording->broken ? cudaStreamCaptureStatusInvalidated
                                  : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
    if (recording || !stream) return answer(cudaErrorIllegalState);
    recording = (struct stream *)stream;
    recording->broken = 0;
    recording->graph = calloc(1, sizeof(struct graph));
    stub_count("recording");
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    int broken = recording && recording->broken;
    if (!recording || recording != (struct stream *)stream) return answer(cudaErrorIllegalState);
    *graph = (cudaGraph_t)recording->graph;
    recording = NULL;
    if (!broken) return cudaSuccess;
    free(*graph);
    *graph = NULL;
    return answer(cudaErrorStreamCaptureInvalidated);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *replay, cudaGraph_t graph, unsigned long long flags)
{
    *replay = malloc(1);
    return outside_recordings("instantiate");
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) { free(graph); return cudaSuccess; }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t replay) { free(replay); return cudaSuccess; }

cudaError_t cudaGraphLaunch(cudaGraphExec_t replay, cudaStream_t stream)
{
    if (recording) { /* CUDA launches no graph into a stream that records */
        recording->broken = 1;
        return answer(cudaErrorStreamCaptureUnsupported);
    }
    return work(stream, "replay");
}

/* ---- kernels */

static __thread struct { dim3 grid, block; size_t shared; void *stream; } next; /* what stood between <<< and >>> */

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void *stream)
{
    next.grid = grid;
    next.block = block;
    next.shared = shared;
    next.stream = stream;
    return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void **stream)
{
    *grid = next.grid;
    *block = next.block;
    *shared = next.shared;
    *stream = next.stream;
    return cudaSuccess;
}

cudaError_t cudaLaunchKernel(const void *kernel, dim3 grid, dim3 block, void **arguments, size_t shared, cudaStream_t stream)
{
    return stub_launch(stream);
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **arguments, size_t shared, cudaStream_t stream)
{
    return stub_launch(stream);
}

cudaError_t cudaLaunchCooperativeKernel(const void *kernel, dim3 grid, dim3 block, void **arguments, size_t shared,
                                        cudaStream_t stream)
{
    return stub_launch(stream);
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *launch, const void *kernel, void **arguments)
{
    return stub_launch(launch->stream);
}

cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *attributes, const void *kernel)
{
    memset(attributes, 0, sizeof *attributes);
    attributes->maxThreadsPerBlock = 1024;
    attributes->numRegs = 32;
    return cudaSuccess;
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *count, const void *kernel, int block, size_t shared,
                                                                   unsigned flags)
{
    *count = 1;
    return cudaSuccess;
}

static int nothing(void) { return 0; }

cudaError_t cudaGetDriverEntryPointByVersion(const char *name, void **function, unsigned version, unsigned long long flags,
                                             enum cudaDriverEntryPointQueryResult *found)
{
    *function = (void *)nothing;
    if (found) *found = cudaDriverEntryPointSuccess;
    return cudaSuccess;
}

cudaError_t cudaLibraryLoadData(void **library) { *library = malloc(1); return cudaSuccess; }
cudaError_t cudaLibraryGetKernel(void **kernel) { *kernel = malloc(1); return cudaSuccess; }
cudaError_t cudaMemPoolCreate(void **pool) { *pool = malloc(1); return cudaSuccess; }
cudaError_t __cudaGetKernel(void **kernel, const void *function) { *kernel = (void *)function; return cudaSuccess; }
void **__cudaRegisterFatBinary(void *binary) { static void *handle[4]; return handle; }
