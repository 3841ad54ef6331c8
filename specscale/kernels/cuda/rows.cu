// Rows as they are stored, brought to the floating type of the work: a warp for each row, eight of them in a block.

static __device__ float widened(unsigned short half)
{
    unsigned int magnitude = half & 0x7FFFu;
    unsigned int sign = (half & 0x8000u) << 16;
    if (magnitude >= 0x7C00u)  // an infinity or a NaN
        return __uint_as_float(sign | 0x7F800000u | magnitude << 13);
    // The product moves the bias of the exponent, and makes normal numbers of those that are not.
    return __uint_as_float(sign | magnitude << 13) * __uint_as_float(0x77800000u);
}

static __device__ float widened(float value) { return value; }
static __device__ double widened(double value) { return value; }

template <class Number> static __device__ bool is_finite(Number value) { return value - value == 0; }

static __device__ double sum_of_lanes(double value)
{
    for (int lane = 16; lane > 0; lane /= 2)
        value += __shfl_xor_sync(0xFFFFFFFFu, value, lane);
    return value;
}

static __device__ long long row_of_warp() { return blockIdx.x * 8ll + threadIdx.x / 32; }

// Each lane reads and writes the same columns, so that `out` may be `raw`.
template <class Raw, class Real>
static __device__ void standardise(const Raw *raw, long long raw_step, const Real *centre, long long unit, Real *out,
                                   long long out_step, long long rows, long long p, int *bad_rows)
{
    long long row = row_of_warp();
    int lane = threadIdx.x % 32;
    if (row >= rows)
        return;
    raw += row * raw_step;
    out += row * out_step;
    double square = 0, infinite = 0;
    for (long long j = lane; j < p; j += 32) {
        Real value = (Real)widened(raw[j]);
        square += (double)value * (double)value;
        infinite += is_finite(value) ? 0 : 1;
    }
    square = sum_of_lanes(square);
    bool good = sum_of_lanes(infinite) == 0 && !(unit && !(square > 0 && is_finite(square)));
    double scale = unit ? 1 / sqrt(square) : 1;  // float64, in which the norm of a subnormal row has an inverse
    for (long long j = lane; j < p; j += 32)
        out[j] = good ? (Real)((Real)widened(raw[j]) * scale) - centre[j] : (Real)0;
    if (lane == 0)
        bad_rows[row] = !good;
}

template <class Raw, class Real>
static __device__ void affine(const Raw *raw, long long raw_step, const double *shift, const double *factor, Real *out,
                              long long out_step, long long rows, long long p, int *bad_rows)
{
    long long row = row_of_warp();
    int lane = threadIdx.x % 32;
    if (row >= rows)
        return;
    double infinite = 0;
    for (long long j = lane; j < p; j += 32) {
        Real value = (Real)(((double)widened(raw[row * raw_step + j]) - shift[j]) * factor[j]);
        out[row * out_step + j] = value;
        infinite += is_finite(value) ? 0 : 1;
    }
    infinite = sum_of_lanes(infinite);
    if (lane == 0)
        bad_rows[row] = infinite > 0;
}

extern "C" __global__ void standardise_float16_float32(const unsigned short *raw, long long raw_step,
                                                       const float *centre, long long unit, float *out,
                                                       long long out_step, long long rows, long long p, int *bad_rows)
{
    standardise(raw, raw_step, centre, unit, out, out_step, rows, p, bad_rows);
}

extern "C" __global__ void standardise_float32_float32(const float *raw, long long raw_step, const float *centre,
                                                       long long unit, float *out, long long out_step, long long rows,
                                                       long long p, int *bad_rows)
{
    standardise(raw, raw_step, centre, unit, out, out_step, rows, p, bad_rows);
}

extern "C" __global__ void standardise_float64_float32(const double *raw, long long raw_step, const float *centre,
                                                       long long unit, float *out, long long out_step, long long rows,
                                                       long long p, int *bad_rows)
{
    standardise(raw, raw_step, centre, unit, out, out_step, rows, p, bad_rows);
}

extern "C" __global__ void standardise_float16_float64(const unsigned short *raw, long long raw_step,
                                                       const double *centre, long long unit, double *out,
                                                       long long out_step, long long rows, long long p, int *bad_rows)
{
    standardise(raw, raw_step, centre, unit, out, out_step, rows, p, bad_rows);
}

extern "C" __global__ void standardise_float32_float64(const float *raw, long long raw_step, const double *centre,
                                                       long long unit, double *out, long long out_step, long long rows,
                                                       long long p, int *bad_rows)
{
    standardise(raw, raw_step, centre, unit, out, out_step, rows, p, bad_rows);
}

extern "C" __global__ void standardise_float64_float64(const double *raw, long long raw_step, const double *centre,
                                                       long long unit, double *out, long long out_step, long long rows,
                                                       long long p, int *bad_rows)
{
    standardise(raw, raw_step, centre, unit, out, out_step, rows, p, bad_rows);
}

extern "C" __global__ void affine_float16_float32(const unsigned short *raw, long long raw_step, const double *shift,
                                                  const double *factor, float *out, long long out_step, long long rows,
                                                  long long p, int *bad_rows)
{
    affine(raw, raw_step, shift, factor, out, out_step, rows, p, bad_rows);
}

extern "C" __global__ void affine_float32_float32(const float *raw, long long raw_step, const double *shift,
                                                  const double *factor, float *out, long long out_step, long long rows,
                                                  long long p, int *bad_rows)
{
    affine(raw, raw_step, shift, factor, out, out_step, rows, p, bad_rows);
}

extern "C" __global__ void affine_float64_float32(const double *raw, long long raw_step, const double *shift,
                                                  const double *factor, float *out, long long out_step, long long rows,
                                                  long long p, int *bad_rows)
{
    affine(raw, raw_step, shift, factor, out, out_step, rows, p, bad_rows);
}

extern "C" __global__ void affine_float16_float64(const unsigned short *raw, long long raw_step, const double *shift,
                                                  const double *factor, double *out, long long out_step,
                                                  long long rows, long long p, int *bad_rows)
{
    affine(raw, raw_step, shift, factor, out, out_step, rows, p, bad_rows);
}

extern "C" __global__ void affine_float32_float64(const float *raw, long long raw_step, const double *shift,
                                                  const double *factor, double *out, long long out_step,
                                                  long long rows, long long p, int *bad_rows)
{
    affine(raw, raw_step, shift, factor, out, out_step, rows, p, bad_rows);
}

extern "C" __global__ void affine_float64_float64(const double *raw, long long raw_step, const double *shift,
                                                  const double *factor, double *out, long long out_step,
                                                  long long rows, long long p, int *bad_rows)
{
    affine(raw, raw_step, shift, factor, out, out_step, rows, p, bad_rows);
}

// The first bad row, unless there is none or an earlier operation noted another: one block of 256 threads.
extern "C" __global__ void note_first(const int *bad_rows, long long rows, long long *noted)
{
    __shared__ long long firsts[256];
    int thread = threadIdx.x;
    long long first = rows;
    for (long long row = thread; row < rows && first == rows; row += 256)
        if (bad_rows[row])
            first = row;
    firsts[thread] = first;
    for (int half = 128; half > 0; half /= 2) {
        __syncthreads();
        if (thread < half && firsts[thread + half] < firsts[thread])
            firsts[thread] = firsts[thread + half];
    }
    if (thread == 0 && firsts[0] < rows && *noted < 0)
        *noted = firsts[0];
}
