/* What the bands mask of each other. build.rs puts it into psymodel.c, where masking was summed up one
 * masker after the other for one band after the other. Here it is done for all bands at once: for
 * each distance between two bands, by the same sums in the same order. */

/* Farther away than this no band is a near one; see tab_mask_add_delta. */
enum { NEAR = 2, DISTANCES = 2 * CBANDS - 1 };

struct spreading {
    int     lowest, highest; /* distances at which anything is masked */
    FLOAT   by[DISTANCES][CBANDS]; /* how much; of no effect is 0 */
};

/* Two maskings that are alike mask more than their sum, by a factor that depends on how alike they
 * are, from 10^(k/16) on. */
static const FLOAT alike[] = { 0, 1.1547820f, 1.3335214f, 1.5399265f, 1.7782794f, 2.0535250f, 2.3713737f,
    2.7384196f, 3.1622777f, 3.6517413f
};
static const FLOAT gain[] = { 1.33352 * 1.33352, 1.35879 * 1.35879, 1.38454 * 1.38454, 1.39497 * 1.39497,
    1.40548 * 1.40548, 1.3537 * 1.3537, 1.30382 * 1.30382, 1.22321 * 1.22321, 1.14758 * 1.14758, 1
};

static inline void
add_near(FLOAT masking[CBANDS], const FLOAT *by, const FLOAT *strength, const int is_near[CBANDS])
{
    FLOAT   larger[CBANDS], smaller[CBANDS], factor[CBANDS];
    unsigned int b, k;
    for (b = 0; b < CBANDS; b++) {
        FLOAT const x = by[b] * strength[b];
        larger[b] = masking[b] > x ? masking[b] : x;
        smaller[b] = masking[b] > x ? x : masking[b];
        factor[b] = gain[0];
    }
    for (k = 1; k < dimension_of(gain); k++) {
        FLOAT const from = alike[k], times = gain[k];
        for (b = 0; b < CBANDS; b++) {
            FLOAT const so_far = factor[b];
            factor[b] = larger[b] >= from * smaller[b] ? times : so_far;
        }
    }
    for (b = 0; b < CBANDS; b++) {
        FLOAT const sum = larger[b] + smaller[b];
        FLOAT const far = larger[b] < ma_max_i2 * smaller[b] ? sum : larger[b];
        masking[b] = is_near[b] ? sum * factor[b] : far;
    }
}

/* Of bands that are far apart either counts, or their sum where they are not too different. */
static inline void
add_far(FLOAT masking[CBANDS], const FLOAT *by, const FLOAT *strength)
{
    unsigned int b;
    for (b = 0; b < CBANDS; b++) {
        FLOAT const x = by[b] * strength[b];
        FLOAT const larger = masking[b] > x ? masking[b] : x, smaller = masking[b] > x ? x : masking[b];
        masking[b] = larger < ma_max_i2 * smaller ? larger + smaller : larger;
    }
}

/* All bands' masking, and how tonal on average what masks them is. */
static void
spread(PsyConst_CB2SB_t const *gd, const FLOAT *energy, const unsigned char *mask_idx, FLOAT masking[CBANDS],
       int tonality[CBANDS])
{
    const struct spreading *const spreading = (const struct spreading *) gd->s3;
    FLOAT   strength[3 * CBANDS] = { 0 }; /* with nothing on either side */
    int     is_near[CBANDS] = { 0 }, sum[CBANDS + 1] = { 0 };
    int     b, distance;
    memset(masking, 0, CBANDS * sizeof(FLOAT));
    for (b = 0; b < gd->npart; b++) {
        strength[CBANDS + b] = energy[b] * tab[mask_idx[b]];
        sum[b + 1] = sum[b] + mask_idx[b];
    }
    for (b = 0; b < gd->npart; b++) {
        int const first = gd->s3ind[b][0], end = gd->s3ind[b][1] + 1;
        /* An odd number by an even one: a float rounds it to no whole number. */
        tonality[b] = (int) ((FLOAT) (1 + 2 * (sum[end] - sum[first])) / (FLOAT) (2 * (end - first)));
    }
    for (distance = spreading->lowest; distance <= spreading->highest; distance++) {
        const FLOAT *const by = spreading->by[distance + CBANDS - 1];
        const FLOAT *const from = strength + CBANDS + distance;
        if (abs(distance) > NEAR) {
            add_far(masking, by, from);
            continue;
        }
        for (b = 0; b < gd->npart; b++) {
            is_near[b] = abs(distance) <= mask_add_delta(mask_idx[b]);
        }
        add_near(masking, by, from, is_near);
    }
}

/* The function of the same beginning fills a table with one row after the other; this one goes on to
 * sort it by distance. LAME frees either as `s3`. */
static int init_s3_rows(FLOAT ** p, int (*s3ind)[2], int npart, FLOAT const *bval, FLOAT const *bval_width,
                        FLOAT const *norm);

static int
init_s3_values(FLOAT ** p, int (*s3ind)[2], int npart, FLOAT const *bval, FLOAT const *bval_width, FLOAT const *norm)
{
    struct spreading *spreading;
    FLOAT  *rows = NULL;
    int     i, j, k = 0;
    if (init_s3_rows(&rows, s3ind, npart, bval, bval_width, norm) != 0) {
        return -1;
    }
    spreading = lame_calloc(struct spreading, 1);
    if (spreading != NULL) {
        for (i = 0; i < npart; i++) {
            spreading->lowest = Min(spreading->lowest, s3ind[i][0] - i);
            spreading->highest = Max(spreading->highest, s3ind[i][1] - i);
            for (j = s3ind[i][0]; j <= s3ind[i][1]; j++) {
                spreading->by[j - i + CBANDS - 1][i] = rows[k++];
            }
        }
    }
    free(rows);
    *p = (FLOAT *) spreading;
    return spreading != NULL ? 0 : -1;
}
