// Sines and cosines of angles, where these lie: a block of 256 threads for each row.

// π/2 in three parts of 8, 10 and 24 bits (Cody and Waite 1980), and polynomials on [−π/4, π/4] (Cephes sinf and cosf).
static __device__ void sine_and_cosine(float x, float *sine, float *cosine)
{
    float k = rintf(x * 0.636619772f);
    float r = fmaf(-k, 3.139164786504813e-7f, fmaf(-k, 4.8351287841796875e-4f, fmaf(-k, 1.5703125f, x)));
    float z = r * r;
    float s = fmaf(r * z, fmaf(z, fmaf(z, -1.9515295891e-4f, 8.3321608736e-3f), -1.6666654611e-1f), r);
    float c = fmaf(z, fmaf(z, 2.443315711809948e-5f, -1.388731625493765e-3f), 4.166664568298827e-2f);
    c = fmaf(z * z, c, fmaf(-0.5f, z, 1.0f));
    int quadrant = (int)k;
    bool swap = quadrant & 1;
    *sine = (quadrant & 2 ? -1.0f : 1.0f) * (swap ? c : s);
    *cosine = ((quadrant + 1) & 2 ? -1.0f : 1.0f) * (swap ? s : c);
}

// Angles that float32 does not hold are made anew in float64, of rows x (rows, p) and frequencies (p, m).
extern "C" __global__ void waves(const float *x, long long x_step, const float *frequencies, long long frequency_step,
                                 long long p, float *out, long long out_step, long long m, float scale)
{
    const float *row = x + blockIdx.x * x_step;
    float *cosines = out + blockIdx.x * out_step;
    for (long long j = threadIdx.x; j < m; j += 256) {
        float sine, cosine;
        if (fabsf(cosines[j]) <= 1e5f) {
            sine_and_cosine(cosines[j], &sine, &cosine);
        } else {
            double angle = 0, wide_sine, wide_cosine;
            for (long long i = 0; i < p; i++)
                angle += (double)row[i] * (double)frequencies[i * frequency_step + j];
            sincos(angle, &wide_sine, &wide_cosine);
            sine = (float)wide_sine;
            cosine = (float)wide_cosine;
        }
        cosines[j] = cosine * scale;
        cosines[m + j] = sine * scale;
    }
}

// The same of angles in float64.
extern "C" __global__ void waves_wide(const double *angles, long long angle_step, float *out, long long out_step,
                                      long long m, float scale)
{
    float *cosines = out + blockIdx.x * out_step;
    for (long long j = threadIdx.x; j < m; j += 256) {
        double sine, cosine;
        sincos(angles[blockIdx.x * angle_step + j], &sine, &cosine);
        cosines[j] = (float)cosine * scale;
        cosines[m + j] = (float)sine * scale;
    }
}
