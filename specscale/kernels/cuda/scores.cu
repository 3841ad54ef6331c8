// What is learned about scores (rows, modes): sums of powers, and the members of both tails of each mode.

// Σu², Σu⁴, Σu³v and Σu²v² of one mode, in an order that is a matter of the rows alone: a block of 256 threads each.
extern "C" __global__ void moments(const float *scores, long long score_step, const float *acted, long long acted_step,
                                   long long rows, double *sums, long long sum_step)
{
    __shared__ double partial[4][256];
    int thread = threadIdx.x;
    double total[4] = {0, 0, 0, 0};
    for (long long row = thread; row < rows; row += 256) {
        double u = scores[row * score_step + blockIdx.x], v = acted[row * acted_step + blockIdx.x];
        double square = u * u;
        total[0] += square;
        total[1] += square * square;
        total[2] += square * u * v;
        total[3] += square * v * v;
    }
    for (int power = 0; power < 4; power++)
        partial[power][thread] = total[power];
    for (int half = 128; half > 0; half /= 2) {
        __syncthreads();
        if (thread < half)
            for (int power = 0; power < 4; power++)
                partial[power][thread] += partial[power][thread + half];
    }
    if (thread == 0)
        for (int power = 0; power < 4; power++)
            sums[power * sum_step + blockIdx.x] = partial[power][0];
}

// How strong a row is in a tail: as bits, whose order is that of positive numbers; 0 where it does not pass `last`.
static __device__ unsigned int strength(float score, bool negated, double last)
{
    score = negated ? -score : score;
    return score > last ? __float_as_uint(score) : 0;
}

// How many rows of a mode are at least so strong; all lanes of a warp count.
static __device__ long long reaching(unsigned int least, const float *column, long long step, long long rows,
                                     bool negated, double last)
{
    long long count = 0;
    for (long long row = threadIdx.x; row < rows; row += 32)
        count += strength(column[row * step], negated, last) >= least;
    for (int other = 16; other > 0; other /= 2)
        count += __shfl_xor_sync(0xFFFFFFFFu, count, other);
    return count;
}

// Rows that may enter a tail, in their order and at most `top`: of more, the strongest, and of equals the first. A warp
// for each mode of the one tail and then of the other; strengths (2, k, top), and `found` likewise; counts (2, k).
extern "C" __global__ void find_tails(const float *scores, long long score_step, const long long *numbers,
                                      long long rows, long long k, long long top, const double *strengths,
                                      double *found_strengths, long long *found_rows, long long *counts)
{
    long long place = blockIdx.x * top, count = 0, equals = 0;
    unsigned int lane = threadIdx.x, before = (1u << lane) - 1, least = 0;
    bool negated = blockIdx.x >= k;
    const float *column = scores + blockIdx.x % k;
    double last = strengths[place + top - 1];
    long long eligible = reaching(1, column, score_step, rows, negated, last);
    if (eligible > top) {
        for (unsigned int bit = 1u << 30; bit > 0; bit /= 2)
            if (reaching(least | bit, column, score_step, rows, negated, last) >= top)
                least |= bit;
        equals = top - reaching(least + 1, column, score_step, rows, negated, last);
    }
    for (long long low = 0; low < rows && eligible > 0; low += 32) {
        long long row = low + lane;
        unsigned int bits = row < rows ? strength(column[row * score_step], negated, last) : 0;
        unsigned int same = __ballot_sync(0xFFFFFFFFu, bits == least);
        bool enters = bits > least || (bits == least && __popc(same & before) < equals);
        unsigned int entering = __ballot_sync(0xFFFFFFFFu, enters);
        if (enters) {
            found_strengths[place + count + __popc(entering & before)] = __uint_as_float(bits);
            found_rows[place + count + __popc(entering & before)] = numbers[row];
        }
        equals -= __popc(same) < equals ? __popc(same) : equals;
        count += __popc(entering);
    }
    if (lane == 0)
        counts[blockIdx.x] = count;
}

// How many of a descending list are above a strength, or equal to it too.
static __device__ long long count_above(const double *list, long long length, double strength, bool equal)
{
    long long low = 0, high = length;
    while (low < high) {
        long long middle = (low + high) / 2;
        if (list[middle] > strength || (equal && list[middle] == strength))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// Merges what was found into strengths and rows (2, k, top), which stay descending; of equals the lower row first. A
// block of 256 threads for each mode and tail; `sorted` is scratch, and `found` becomes it.
extern "C" __global__ void merge_tails(long long top, const long long *counts, double *strengths, long long *rows,
                                       double *found_strengths, long long *found_rows, double *sorted_strengths,
                                       long long *sorted_rows)
{
    long long place = blockIdx.x * top, count = counts[blockIdx.x];
    if (count == 0)
        return;
    strengths += place;
    rows += place;
    found_strengths += place;
    found_rows += place;
    sorted_strengths += place;
    sorted_rows += place;
    for (long long i = threadIdx.x; i < count; i += 256) {
        double own = found_strengths[i];
        long long rank = 0;
        for (long long j = 0; j < count; j++)
            rank += found_strengths[j] > own || (found_strengths[j] == own && j < i);
        sorted_strengths[rank] = own;
        sorted_rows[rank] = found_rows[i];
    }
    __syncthreads();
    for (long long i = threadIdx.x; i < count; i += 256) {
        long long to = i + count_above(strengths, top, sorted_strengths[i], true);
        if (to < top) {
            found_strengths[to] = sorted_strengths[i];
            found_rows[to] = sorted_rows[i];
        }
    }
    for (long long i = threadIdx.x; i < top; i += 256) {
        long long to = i + count_above(sorted_strengths, count, strengths[i], false);
        if (to < top) {
            found_strengths[to] = strengths[i];
            found_rows[to] = rows[i];
        }
    }
    __syncthreads();
    for (long long i = threadIdx.x; i < top; i += 256) {
        strengths[i] = found_strengths[i];
        rows[i] = found_rows[i];
    }
}
