// The Gaussian kernel out of Gram products, and what the largest of its values leaves.

// exp(t) of t ≤ 0; 0 where it is no normal number, and of a NaN. ln 2 in two parts, and a polynomial on
// [−ln 2 / 2, ln 2 / 2] (Cephes expf).
static __device__ float exponential(float t)
{
    if (!(t >= -87.0f))
        return 0.0f;
    float k = rintf(t * 1.44269504088896341f);
    float r = fmaf(-k, -2.12194440e-4f, fmaf(-k, 0.693359375f, t));
    float e = fmaf(fmaf(1.9875691500e-4f, r, 1.3981999507e-3f), r, 8.3334519073e-3f);
    e = fmaf(fmaf(fmaf(e, r, 4.1665795894e-2f), r, 1.6666665459e-1f), r, 5.0000001201e-1f);
    return (fmaf(e, r * r, r) + 1.0f) * __uint_as_float((unsigned int)((int)k + 127) << 23);
}

// rate ‖x‖² of each row in float64: a warp for each row, eight of them in a block.
template <class Real>
static __device__ void row_halves(const Real *x, long long x_step, long long rows, long long p, double rate,
                                  double *halves)
{
    long long row = blockIdx.x * 8ll + threadIdx.x / 32;
    int lane = threadIdx.x % 32;
    if (row >= rows)
        return;
    double square = 0;
    for (long long j = lane; j < p; j += 32)
        square += (double)x[row * x_step + j] * (double)x[row * x_step + j];
    for (int other = 16; other > 0; other /= 2)
        square += __shfl_xor_sync(0xFFFFFFFFu, square, other);
    if (lane == 0)
        halves[row] = rate * square;
}

extern "C" __global__ void row_halves_float32(const float *x, long long x_step, long long rows, long long p,
                                              double rate, double *halves)
{
    row_halves(x, x_step, rows, p, rate, halves);
}

extern "C" __global__ void row_halves_float64(const double *x, long long x_step, long long rows, long long p,
                                              double rate, double *halves)
{
    row_halves(x, x_step, rows, p, rate, halves);
}

// A distance that rounding may have left of equal rows is none: a bandwidth that is small against the rows would make
// much of it. A NaN stays one, of rows that are too far away for their squares. A block for each row.
extern "C" __global__ void gaussian(const double *row_halves, const float *halves, float *out, long long out_step,
                                    long long r)
{
    float half = (float)row_halves[blockIdx.x];
    float least = 9.5367431640625e-7f * half;  // 2⁻²⁰
    float *row = out + blockIdx.x * out_step;
    for (long long j = threadIdx.x; j < r; j += 256) {
        float t = (row[j] - half) - halves[j];
        row[j] = exponential(t < -fmaf(9.5367431640625e-7f, halves[j], least) ? t : 0.0f * t);
    }
}

// The same of Gram products in float64.
extern "C" __global__ void gaussian_wide(const double *row_halves, const double *halves, const double *products,
                                         long long product_step, float *out, long long out_step, long long r)
{
    double half = row_halves[blockIdx.x];
    for (long long j = threadIdx.x; j < r; j += 256) {
        double t = (products[blockIdx.x * product_step + j] - half) - halves[j];
        bool apart = t < -1.7763568394002505e-15 * (half + halves[j]);  // 2⁻⁴⁹
        out[blockIdx.x * out_step + j] = exponential((float)(apart ? t : 0.0 * t));
    }
}

// (1 − max |v|²)² of each row of kernel values: a warp for each row, eight of them in a block.
extern "C" __global__ void remains(const float *values, long long value_step, long long rows, long long r, double *out)
{
    long long row = blockIdx.x * 8ll + threadIdx.x / 32;
    int lane = threadIdx.x % 32;
    if (row >= rows)
        return;
    float nearest = 0;
    for (long long j = lane; j < r; j += 32)
        nearest = fmaxf(nearest, fabsf(values[row * value_step + j]));
    for (int other = 16; other > 0; other /= 2)
        nearest = fmaxf(nearest, __shfl_xor_sync(0xFFFFFFFFu, nearest, other));
    double left = fmax(1 - (double)nearest * (double)nearest, 0.0);
    if (lane == 0)
        out[row] = left * left;
}
