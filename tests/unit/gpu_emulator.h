// Just enough of a GPU to run a kernel's text on a CPU, one threadgroup after the other.
//
// A threadgroup's threads are fibers that run until they reach a barrier or the end. `descending` decides which is
// first, so that a missing barrier shows as a result that depends on the order.

#define _XOPEN_SOURCE 700
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <ucontext.h>
#include <vector>

struct uint3 { unsigned x, y, z; };
static uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }
using half = _Float16;
using float16_t = _Float16;
using std::exp;
using std::sqrt;

struct Where { uint3 thread_in_group, group, thread_in_grid; };

namespace emulator {

constexpr size_t STACK = 64 * 1024;

static ucontext_t scheduler;
static std::vector<ucontext_t> fibers;
static std::vector<Where> places;
static std::vector<bool> ended;
static size_t current;
static uint3 threadgroup_size;
static void (*body)();

static void enter() {
    body();
    ended[current] = true;
    swapcontext(&fibers[current], &scheduler);
}

static void barrier() { swapcontext(&fibers[current], &scheduler); }

// 0 if every thread met the same barriers, 1 if one ended while another waited.
static int run_threadgroup(bool descending) {
    static std::vector<char> stacks;
    const size_t threads = places.size();
    stacks.resize(threads * STACK);
    fibers.assign(threads, ucontext_t());
    ended.assign(threads, false);
    for (size_t i = 0; i < threads; i++) {
        getcontext(&fibers[i]);
        fibers[i].uc_stack.ss_sp = &stacks[i * STACK];
        fibers[i].uc_stack.ss_size = STACK;
        fibers[i].uc_link = &scheduler;
        makecontext(&fibers[i], enter, 0);
    }
    for (;;) {
        for (size_t i = 0; i < threads; i++) {
            current = descending ? threads - 1 - i : i;
            swapcontext(&scheduler, &fibers[current]);
        }
        size_t done = 0;
        for (bool each : ended) done += each;
        if (done == threads) return 0;
        if (done) return 1;
    }
}

// Metal ends the grid in the middle of a threadgroup, CUDA rounds it up.
static int run(const unsigned* grid, const unsigned* group, bool descending, void (*text)()) {
#ifdef CUDA
    const bool whole = true;
#else
    const bool whole = false;
#endif
    body = text;
    threadgroup_size = {group[0], group[1], group[2]};
    unsigned groups[3];
    for (int d = 0; d < 3; d++) groups[d] = (grid[d] + group[d] - 1) / group[d];
    for (unsigned gz = 0; gz < groups[2]; gz++)
        for (unsigned gy = 0; gy < groups[1]; gy++)
            for (unsigned gx = 0; gx < groups[0]; gx++) {
                places.clear();
                for (unsigned z = 0; z < group[2]; z++)
                    for (unsigned y = 0; y < group[1]; y++)
                        for (unsigned x = 0; x < group[0]; x++) {
                            const uint3 at = {gx * group[0] + x, gy * group[1] + y, gz * group[2] + z};
                            if (whole || (at.x < grid[0] && at.y < grid[1] && at.z < grid[2]))
                                places.push_back({{x, y, z}, {gx, gy, gz}, at});
                        }
                if (int problem = run_threadgroup(descending)) return problem;
            }
    return 0;
}

}  // namespace emulator

#define HERE emulator::places[emulator::current]

#ifdef METAL
// Address spaces. Threadgroup memory exists once, and threadgroups run one by one.
#define device
#define constant
#define thread
#define threadgroup static
namespace mem_flags { enum { mem_threadgroup }; }
#define threadgroup_barrier(flags) ((void)(flags), emulator::barrier())
// Further words that no variable may have as its name.
#define kernel @
#define vertex @
#define fragment @
#define sampler @
#define texture @
#define uniform @
#define ray_data @
#define object_data @
#define visible @
#define patch_control_point @
#endif

#ifdef CUDA
#define __shared__ static
#define __syncthreads() emulator::barrier()
#define threadIdx (HERE.thread_in_group)
#define blockIdx (HERE.group)
#define blockDim (emulator::threadgroup_size)
#endif
