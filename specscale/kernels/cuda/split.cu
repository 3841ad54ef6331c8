// Numbers in float32 as sums of two that tensor cores take as they are: a block of 256 threads for each row.

// The nearest number of 10 bits; cut off where that is beyond the floating type.
static __device__ float ten_bits(float value)
{
    unsigned int bits = __float_as_uint(value);
    unsigned int nearest = (bits + 0xFFFu + (bits >> 13 & 1u)) & ~0x1FFFu;
    bool beyond = (nearest & 0x7F800000u) == 0x7F800000u;
    return __uint_as_float(beyond ? bits & ~0x1FFFu : nearest);
}

extern "C" __global__ void split(const float *source, long long source_step, float *high, long long high_step,
                                 float *low, long long low_step, long long columns)
{
    for (long long j = threadIdx.x; j < columns; j += 256) {
        float value = source[blockIdx.x * source_step + j];
        float first = ten_bits(value);
        float rest = value - first;
        high[blockIdx.x * high_step + j] = first;
        low[blockIdx.x * low_step + j] = rest - rest == 0 ? ten_bits(rest) : 0.0f;  // nothing, of an infinity
    }
}
