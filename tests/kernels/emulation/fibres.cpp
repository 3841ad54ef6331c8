// Runs the blocks of a launch one after another. The threads of a block are fibres that go on until they meet others,
// in an order that shows whoever counts on one; where no kernel meets, they are turns of a loop.
#include "cuda.hpp"

#include <algorithm>
#include <csetjmp>
#include <numeric>
#include <random>
#include <ucontext.h>
#include <vector>

dim3 threadIdx, blockIdx, blockDim, gridDim;

extern "C" {
extern char __start_shared_memory[] __attribute__((weak, visibility("hidden")));
extern char __stop_shared_memory[] __attribute__((weak, visibility("hidden")));
}

namespace emulation {
namespace {

constexpr size_t stack_bytes = 1 << 16;
constexpr unsigned warp = 32, every = warp;

enum class State { going, at_block, at_warp, ended };

struct Fibre {
    State state;
    unsigned mask;
    int line;
    bool begun = false;
    unsigned source;         // the lane whose `given` it waits for, or `every`
    uint64_t given, taken;
    jmp_buf here;
    ucontext_t beginning;
    std::vector<char> stack = std::vector<char>(stack_bytes);
};

std::vector<Fibre*> fibres;  // kept from launch to launch: each begins the next thread where it ended the last
Fibre* current = nullptr;
jmp_buf scheduler;
void (*body)(void**);
void** arguments;
std::string failure;

void leave() {
    if (_setjmp(current->here) == 0) _longjmp(scheduler, 1);
}

void live() {
    for (;;) {
        body(arguments);
        current->state = State::ended;
        leave();
    }
}

void resume(unsigned thread) {
    current = fibres[thread];
    threadIdx.x = thread;
    if (_setjmp(scheduler)) return;
    if (current->begun) _longjmp(current->here, 1);
    current->begun = true;
    getcontext(&current->beginning);
    current->beginning.uc_stack.ss_sp = current->stack.data();
    current->beginning.uc_stack.ss_size = stack_bytes;
    makecontext(&current->beginning, live, 0);
    setcontext(&current->beginning);
}

void meet(State state, unsigned mask, int line) {
    if (!current) {
        failure = "a thread waits for others in a kernel that was taken for one whose threads do not";
        return;
    }
    current->state = state;
    current->mask = mask;
    current->line = line;
    leave();
}

bool met(const Fibre& one, const Fibre& other) {
    return one.state == other.state && one.mask == other.mask && one.line == other.line;
}

// What a thread of the warp from `first` on takes away where its mask has met.
uint64_t taken(unsigned first, const Fibre& one) {
    uint64_t all = 0;
    if (one.source != every) return one.mask >> one.source & 1 ? fibres[first + one.source]->given : ~uint64_t{0};
    for (unsigned lane = 0; lane < warp; lane++)
        if (one.mask >> lane & 1) all |= fibres[first + lane]->given << lane;
    return all;
}

// Lets those go on who wait for nobody else; false where there are none.
bool released(unsigned threads) {
    bool all = fibres[0]->state == State::at_block;
    for (unsigned i = 0; all && i < threads; i++) all = met(*fibres[i], *fibres[0]);
    if (all) {
        for (unsigned i = 0; i < threads; i++) fibres[i]->state = State::going;
        return true;
    }
    bool some = false;
    for (unsigned i = 0; i < threads; i++) {
        const Fibre& one = *fibres[i];
        const unsigned first = i / warp * warp, mask = one.mask;
        if (one.state != State::at_warp || !(mask >> (i - first) & 1)) continue;
        bool together = true;
        for (unsigned lane = 0; lane < warp; lane++)
            if (mask >> lane & 1) together = together && first + lane < threads && met(*fibres[first + lane], one);
        if (!together) continue;
        some = true;
        for (unsigned lane = 0; lane < warp; lane++)
            if (mask >> lane & 1) fibres[first + lane]->taken = taken(first, *fibres[first + lane]);
        for (unsigned lane = 0; lane < warp; lane++)
            if (mask >> lane & 1) fibres[first + lane]->state = State::going;
    }
    return some;
}

std::string apart(unsigned threads) {
    for (unsigned i = 0; i < threads; i++)
        if (fibres[i]->state != State::ended)
            return "thread " + std::to_string(i) + " of block " + std::to_string(blockIdx.x) + " waits in line " +
                   std::to_string(fibres[i]->line) + " for threads that do not come";
    return "";
}

void run_fibres(const std::vector<unsigned>& order) {
    const unsigned threads = order.size();
    while (fibres.size() < threads) fibres.push_back(new Fibre);
    for (unsigned i = 0; i < threads; i++) fibres[i]->state = State::going;
    for (;;) {
        for (unsigned i : order)
            if (fibres[i]->state == State::going) resume(i);
        current = nullptr;
        bool ended = true;
        for (unsigned i = 0; ended && i < threads; i++) ended = fibres[i]->state == State::ended;
        if (ended) return;
        if (!released(threads)) {
            failure = apart(threads);
            for (Fibre* one : fibres) one->begun = false;  // what is on their stacks is never taken up again
            return;
        }
    }
}

void run_loop(const std::vector<unsigned>& order) {
    for (unsigned i : order) {
        threadIdx.x = i;
        body(arguments);
    }
}

// 0 is ascending, 1 descending, all others are orders drawn by that number.
std::vector<unsigned> ordered(unsigned count, unsigned order, unsigned block) {
    std::vector<unsigned> all(count);
    std::iota(all.begin(), all.end(), 0u);
    if (order == 1) std::reverse(all.begin(), all.end());
    if (order > 1) std::shuffle(all.begin(), all.end(), std::minstd_rand(order * 7919 + block));
    return all;
}

}  // namespace

void meet_block(int line) { meet(State::at_block, 0, line); }

void meet_warp(unsigned mask, int line) { exchange(mask, 0, every, line); }

unsigned lane() { return threadIdx.x % warp; }

uint64_t exchange(unsigned mask, uint64_t given, unsigned source, int line) {
    if (current) current->given = given, current->source = source;
    meet(State::at_warp, mask, line);
    return current ? current->taken : given;
}

unsigned ballot(unsigned mask, bool given, int line) { return exchange(mask, given, every, line); }

const char* launch(void (*kernel)(void**), void** given, unsigned blocks, unsigned threads, unsigned order, bool meets) {
    body = kernel, arguments = given, failure.clear();
    blockDim = {threads, 1, 1}, gridDim = {blocks, 1, 1}, threadIdx = blockIdx = {0, 0, 0};
    for (unsigned block : ordered(blocks, order, ~0u)) {
        blockIdx.x = block;
        if (__start_shared_memory) memset(__start_shared_memory, 0xff, __stop_shared_memory - __start_shared_memory);
        const std::vector<unsigned> turns = ordered(threads, order, block);
        meets ? run_fibres(turns) : run_loop(turns);
        if (!failure.empty()) return failure.c_str();
    }
    return nullptr;
}

}  // namespace emulation
