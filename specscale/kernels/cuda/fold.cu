// A product in float32 added to a total in float64: a block of 256 threads for each row.
extern "C" __global__ void fold(const float *product, long long product_step, double *total, long long total_step,
                                long long columns, long long lower)
{
    long long row = blockIdx.x;
    long long end = lower && row + 1 < columns ? row + 1 : columns;  // of the lower triangle, to the diagonal
    for (long long j = threadIdx.x; j < end; j += 256)
        total[row * total_step + j] += (double)product[row * product_step + j];
}
