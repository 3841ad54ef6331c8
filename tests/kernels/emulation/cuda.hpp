// What a kernel in CUDA C finds on a host: its words, the intrinsics that specscale's kernels use, and the calls by
// which threads of a block meet, which fibres.cpp keeps.
#pragma once

#include <cstdint>
#include <cstring>
#include <math.h>
#include <stdlib.h>
#include <string>
#include <type_traits>

#define __global__
#define __device__
#define __constant__ static const
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
// Blocks come one after another, so that what one block shares may be static; it is poisoned before the next.
#define __shared__ static __attribute__((section("shared_memory")))

struct dim3 {
    unsigned x, y, z;
};
extern dim3 threadIdx, blockIdx, blockDim, gridDim;
inline constexpr int warpSize = 32;

namespace emulation {

void meet_block(int line);
void meet_warp(unsigned mask, int line);
// What the lane `source` hands over where all lanes of a mask meet; poison where it is none of them.
uint64_t exchange(unsigned mask, uint64_t given, unsigned source, int line);
unsigned ballot(unsigned mask, bool given, int line);
unsigned lane();

template <class To, class From> To bits(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof(to));
    return to;
}

template <class T> T handed(unsigned mask, T value, unsigned source, int line) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8);
    uint64_t slot = 0;
    memcpy(&slot, &value, sizeof(T));
    slot = exchange(mask, slot, source, line);
    memcpy(&value, &slot, sizeof(T));
    return value;
}

// The types that a kernel takes, as NumPy writes them, "*" where it takes an address and "&" where it may write there.
template <class T> std::string type() {
    if constexpr (std::is_pointer_v<T>)
        return (std::is_const_v<std::remove_pointer_t<T>> ? "*" : "&") +
               type<std::remove_const_t<std::remove_pointer_t<T>>>();
    else {
        const char kind = std::is_same_v<T, bool> ? 'b' : std::is_floating_point_v<T> ? 'f' : std::is_signed_v<T> ? 'i' : 'u';
        return kind + std::to_string(sizeof(T));
    }
}

template <auto kernel> struct Emulated;
template <class... A, void (*kernel)(A...)> struct Emulated<kernel> {
    static std::string takes() {
        std::string all;
        ((all += type<A>() + " "), ...);
        return all;
    }
    static void call(void** arguments) { call(arguments, std::index_sequence_for<A...>()); }
    template <size_t... I> static void call([[maybe_unused]] void** arguments, std::index_sequence<I...>) {
        kernel(*static_cast<A*>(arguments[I])...);
    }
};

const char* launch(void (*body)(void**), void** arguments, unsigned blocks, unsigned threads, unsigned order, bool meets);

}  // namespace emulation

// Exports a kernel: what it takes, and a launch that returns what went wrong.
#define EXPORTED extern "C" __attribute__((visibility("default"))) const char*
#define EMULATED(NAME)                                                                                                \
    EXPORTED takes_##NAME() {                                                                                         \
        static const std::string all = emulation::Emulated<&NAME>::takes();                                           \
        return all.c_str();                                                                                           \
    }                                                                                                                 \
    EXPORTED launch_##NAME(void** arguments, unsigned blocks, unsigned threads, unsigned order, int meets) {          \
        return emulation::launch(&emulation::Emulated<&NAME>::call, arguments, blocks, threads, order, meets != 0);   \
    }

// Meetings

inline void __syncthreads(int line = __builtin_LINE()) { emulation::meet_block(line); }
inline void __syncwarp(unsigned mask = ~0u, int line = __builtin_LINE()) { emulation::meet_warp(mask, line); }

template <class T> T __shfl_sync(unsigned mask, T value, int source, int width = 32, int line = __builtin_LINE()) {
    const unsigned first = emulation::lane() & ~(width - 1u);
    return emulation::handed(mask, value, first + (source & (width - 1u)), line);
}
template <class T> T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, int line = __builtin_LINE()) {
    const unsigned own = emulation::lane(), last = own | (width - 1u);
    return emulation::handed(mask, value, own + delta > last ? own : own + delta, line);
}
template <class T> T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, int line = __builtin_LINE()) {
    const unsigned own = emulation::lane(), first = own & ~(width - 1u);
    return emulation::handed(mask, value, own < first + delta ? own : own - delta, line);
}
template <class T> T __shfl_xor_sync(unsigned mask, T value, int other, int width = 32, int line = __builtin_LINE()) {
    const unsigned own = emulation::lane(), last = own | (width - 1u), source = own ^ other;
    return emulation::handed(mask, value, source > last ? own : source, line);
}
inline unsigned __ballot_sync(unsigned mask, int given, int line = __builtin_LINE()) {
    return emulation::ballot(mask, given != 0, line);
}
inline int __any_sync(unsigned mask, int given, int line = __builtin_LINE()) {
    return emulation::ballot(mask, given != 0, line) != 0;
}
inline int __all_sync(unsigned mask, int given, int line = __builtin_LINE()) {
    return emulation::ballot(mask, given == 0, line) == 0;
}

inline float __uint_as_float(unsigned a) { return emulation::bits<float>(a); }
inline unsigned __float_as_uint(float a) { return emulation::bits<unsigned>(a); }
inline double __longlong_as_double(long long a) { return emulation::bits<double>(a); }
inline long long __double_as_longlong(double a) { return emulation::bits<long long>(a); }
inline int __popc(unsigned a) { return __builtin_popcount(a); }
