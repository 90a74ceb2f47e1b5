/* The two inner loops of LAME's VBR, eight lines of the spectrum at a time. build.rs puts them into
 * vbrquantize.c in place of functions of the same names and the same answers, but for the last bits
 * of a float. */

#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* How the tables over quantized values are looked up: those for 0 to 7, or to 15, fit into
 * registers, which is many times faster than to fetch them one by one. */
enum lookup { TO_7, TO_15, ANY };

/* The largest products of a line and a step that are certain to stay below, rounding included. */
static const float MOST_OF_7 = 7.4f, MOST_OF_15 = 15.4f;

/* Below this a line becomes 0: 0.5 on the curve of x^(3/4), where adj43asm shifts roundings to. */
static const float ALL_ZERO = 0.594f;

/* The lines of one band, filled up with zeros to whole vectors. */
struct band {
    float   size[576 + 8] __attribute__((aligned(32))); /* |xr| */
    float   size34[576 + 8] __attribute__((aligned(32))); /* |xr|^(3/4) */
    unsigned int lines;      /* a multiple of 8 */
    float   largest34;
    float   energy;
    float   limit;           /* noise that is allowed */
};

INLINE float
sum_of(__m256 v)
{
    __m128  s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

INLINE float
largest_of(__m256 v)
{
    __m128  m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

INLINE __m256
look_up(const float *table, __m256i at, enum lookup lookup)
{
    if (lookup == ANY) {
        return _mm256_i32gather_ps(table, at, 4);
    }
    __m256  value = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), at);
    if (lookup == TO_15) {
        __m256 const high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 8), at);
        /* Bit 3 says which half. */
        value = _mm256_blendv_ps(value, high, _mm256_castsi256_ps(_mm256_slli_epi32(at, 28)));
    }
    return value;
}

/* Rounds to the value that stands for the line best. */
INLINE __m256i
quantize(__m256 x, enum lookup lookup)
{
    __m256 const adjustment = look_up(adj43asm, _mm256_cvtps_epi32(x), lookup);
    return _mm256_cvtps_epi32(_mm256_add_ps(x, adjustment));
}

static void
load_band(struct band *band, const FLOAT *xr, const FLOAT *xr34, unsigned int lines)
{
    __m256 const sign = _mm256_set1_ps(-0.0f);
    __m256  energy = _mm256_setzero_ps(), largest = _mm256_setzero_ps();
    unsigned int i;
    band->lines = (lines + 7u) & ~7u;
    memcpy(band->size, xr, lines * sizeof(float));
    memcpy(band->size34, xr34, lines * sizeof(float));
    memset(band->size + lines, 0, (band->lines - lines) * sizeof(float));
    memset(band->size34 + lines, 0, (band->lines - lines) * sizeof(float));
    for (i = 0; i < band->lines; i += 8) {
        __m256 const size = _mm256_andnot_ps(sign, _mm256_load_ps(band->size + i));
        _mm256_store_ps(band->size + i, size);
        energy = _mm256_fmadd_ps(size, size, energy);
        largest = _mm256_max_ps(largest, _mm256_load_ps(band->size34 + i));
    }
    band->energy = sum_of(energy);
    band->largest34 = largest_of(largest);
}

/* Whether this much noise or more is made; what is certain is not summed up to the end. */
INLINE int
exceeds(const struct band *band, float step, float step34, enum lookup lookup)
{
    __m256 const steps = _mm256_set1_ps(step), steps34 = _mm256_set1_ps(step34);
    __m256  noise = _mm256_setzero_ps();
    unsigned int i;
    for (i = 0; i < band->lines; i += 8) {
        __m256i const value = quantize(_mm256_mul_ps(steps34, _mm256_load_ps(band->size34 + i)), lookup);
        __m256 const played = look_up(pow43, value, lookup);
        __m256 const error = _mm256_fnmadd_ps(steps, played, _mm256_load_ps(band->size + i));
        noise = _mm256_fmadd_ps(error, error, noise);
        if ((i & 24u) == 24u && sum_of(noise) > band->limit) {
            return 1;
        }
    }
    return sum_of(noise) > band->limit;
}

/* Whether the step is so fine that its noise is allowed whatever the lines are. */
static int
is_certainly_quiet(const struct band *band, float step, float most)
{
    int const largest = (int) most + 1;
    /* No line is farther from its value than half of the widest gap between two; and a bit. */
    float const error = 0.6f * step * (pow43[largest + 1] - pow43[largest]);
    return (float) band->lines * error * error <= band->limit;
}

static int
is_noisy(const struct band *band, unsigned int sf)
{
    float const step = pow20[sf + Q_MAX2], step34 = ipow20[sf];
    float const most = step34 * band->largest34;
    if (most < ALL_ZERO) {
        return band->energy > band->limit;
    }
    if (most < IXMAX_VAL && is_certainly_quiet(band, step, most)) {
        return 0;
    }
    if (most <= MOST_OF_7) {
        return exceeds(band, step, step34, TO_7);
    }
    if (most <= MOST_OF_15) {
        return exceeds(band, step, step34, TO_15);
    }
    return exceeds(band, step, step34, ANY);
}

/* A step's verdict, once it is known. */
static int
is_noisy_here(const struct band *band, char verdict[256], unsigned int sf)
{
    enum { UNKNOWN, QUIET, NOISY };
    if (verdict[sf] == UNKNOWN) {
        verdict[sf] = is_noisy(band, sf) ? NOISY : QUIET;
    }
    return verdict[sf] == NOISY;
}

/* The coarsest step whose noise, and that of both its neighbours, is allowed; by bisection. */
static  uint8_t
find_scalefac_x34(const FLOAT *xr, const FLOAT *xr34, FLOAT l3_xmin, unsigned int bw, uint8_t sf_min)
{
    struct band band;
    char    verdict[256];
    unsigned int sf = 128, by;
    int     found = -1;
    memset(verdict, 0, sizeof verdict);
    load_band(&band, xr, xr34, bw);
    band.limit = l3_xmin;
    for (by = 64; ; by >>= 1) {
        if (sf <= sf_min) {
            sf += by;
        }
        /* The coarser neighbour first: it is the likeliest to be too noisy. */
        else if ((sf < 255 && is_noisy_here(&band, verdict, sf + 1)) || is_noisy_here(&band, verdict, sf)
                 || is_noisy_here(&band, verdict, sf - 1)) {
            sf -= by;
        }
        else {
            found = (int) sf;
            sf += by;
        }
        if (by == 0) {
            break;
        }
    }
    if (found >= 0) {
        sf = (unsigned int) found;
    }
    return (uint8_t) (sf > sf_min ? sf : sf_min);
}

/* All lines, each by its band's step. */
static void
quantize_x34(const algo_t *that)
{
    gr_info *const cod_info = that->cod_info;
    int const by = cod_info->scalefac_scale == 0 ? 2 : 4;
    unsigned int const end = (unsigned int) cod_info->max_nonzero_coeff + 1;
    unsigned int begin = 0, sfb = 0;
    while (begin < end) {
        int const finer = (cod_info->scalefac[sfb] + (cod_info->preflag ? pretab[sfb] : 0)) * by
            + cod_info->subblock_gain[cod_info->window[sfb]] * 8;
        __m256 const step34 = _mm256_set1_ps(ipow20[(uint8_t) (cod_info->global_gain - finer)]);
        unsigned int const width = (unsigned int) cod_info->width[sfb];
        unsigned int const stop = begin + width < end ? begin + width : end;
        unsigned int i = begin;
        for (; i + 8 <= stop; i += 8) {
            __m256 const x = _mm256_mul_ps(step34, _mm256_loadu_ps(that->xr34orig + i));
            _mm256_storeu_si256((__m256i *) (cod_info->l3_enc + i), quantize(x, ANY));
        }
        if (i < stop) {
            size_t const rest = (stop - i) * sizeof(int);
            float   lines[8] = { 0 };
            int     values[8];
            memcpy(lines, that->xr34orig + i, rest);
            _mm256_storeu_si256((__m256i *) values, quantize(_mm256_mul_ps(step34, _mm256_loadu_ps(lines)), ANY));
            memcpy(cod_info->l3_enc + i, values, rest);
        }
        begin += width;
        ++sfb;
    }
}

#undef INLINE
