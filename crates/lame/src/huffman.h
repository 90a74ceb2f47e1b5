/* The search for the regions that take the fewest bits. build.rs puts it into takehiro.c, in front of
 * best_huffman_divide, whose two helpers it replaces. They count the bits of some hundred regions,
 * which overlap; here each is a difference of sums from the beginning, by the very same tables. */

/* Tables by the largest value that they can hold: one, two or three to choose from, and at the end
 * those for any value. */
enum { GROUPS = 6, ANY_VALUE = GROUPS };

static const struct {
    int     largest, first, count;
} groups[GROUPS] = { {1, 1, 1}, {2, 2, 2}, {3, 5, 2}, {5, 7, 3}, {7, 10, 3}, {15, 13, 3} };

struct huffman_sums {
    unsigned int known;
    int     pairs;
    /* Up to each pair of lines: bits by each table, in 16 bits each. Of ANY_VALUE those of the two kinds
     * of tables without their linbits, and how many lines need those. */
    uint64_t bits[GROUPS + 1][576 / 2 + 1];
};

static void
sum_up(struct huffman_sums *sums, const int *ix, int group)
{
    uint64_t *const bits = sums->bits[group];
    uint64_t sum = 0;
    int     i;
    bits[0] = 0;
    if (group == ANY_VALUE) {
        for (i = 0; i < sums->pairs; i++) {
            unsigned int const x = ix[2 * i] < 15 ? ix[2 * i] : 15, y = ix[2 * i + 1] < 15 ? ix[2 * i + 1] : 15;
            uint64_t const both = largetbl[x * 16 + y], linbits = (x == 15) + (y == 15);
            bits[i + 1] = sum += (both >> 16) | (both & 0xffff) << 16 | linbits << 32;
        }
    }
    else {
        int const first = groups[group].first, largest = groups[group].largest;
        const uint8_t *const one = ht[first].hlen;
        const uint8_t *const two = groups[group].count > 1 ? ht[first + 1].hlen : one;
        const uint8_t *const three = groups[group].count > 2 ? ht[first + 2].hlen : one;
        unsigned int const width = ht[first].xlen;
        for (i = 0; i < sums->pairs; i++) {
            unsigned int const x = ix[2 * i] < largest ? ix[2 * i] : largest;
            unsigned int const y = ix[2 * i + 1] < largest ? ix[2 * i + 1] : largest;
            unsigned int const at = x * width + y;
            bits[i + 1] = sum += one[at] | (uint64_t) two[at] << 16 | (uint64_t) three[at] << 32;
        }
    }
    sums->known |= 1u << group;
}

/* The first table of this kind whose linbits are enough. */
static int
escape_table(int table, int end, int largest)
{
    while (table < end && (int) ht[table].linmax < largest - 15) {
        table++;
    }
    return table;
}

/* The best table for the lines from `begin` to `end`, whose largest is told; adds its bits. */
static int
choose_by_sums(struct huffman_sums *sums, const int *ix, int begin, int end, int largest, int *bits)
{
    int     group = 0, table, of_one, of_two, of_three;
    uint64_t difference;
    if (largest == 0) {
        return 0;
    }
    if (largest > IXMAX_VAL) {
        *bits = LARGE_BITS;
        return -1;
    }
    while (group < ANY_VALUE && largest > groups[group].largest) {
        group++;
    }
    if (!(sums->known >> group & 1)) {
        sum_up(sums, ix, group);
    }
    difference = sums->bits[group][end / 2] - sums->bits[group][begin / 2];
    of_one = difference & 0xffff;
    of_two = difference >> 16 & 0xffff;
    of_three = (int) (difference >> 32);
    if (group == ANY_VALUE) {
        int const other = escape_table(24, 32, largest);
        table = escape_table(other - 8, 24, largest);
        of_one += of_three * (int) ht[table].xlen;
        of_two += of_three * (int) ht[other].xlen;
        *bits += of_one > of_two ? of_two : of_one;
        return of_one > of_two ? other : table;
    }
    table = groups[group].first;
    if (groups[group].count > 1 && of_one > of_two) {
        of_one = of_two;
        table = groups[group].first + 1;
    }
    if (groups[group].count > 2 && of_one > of_three) {
        of_one = of_three;
        table = groups[group].first + 2;
    }
    *bits += of_one;
    return table;
}

/* The largest value in each band, of the lines before `end`. */
static void
largest_of_bands(const int *band, const int *ix, int end, int largest[SBMAX_l])
{
    int     sfb, i;
    for (sfb = 0; sfb < SBMAX_l; sfb++) {
        int const stop = band[sfb + 1] < end ? band[sfb + 1] : end;
        largest[sfb] = 0;
        for (i = band[sfb]; i < stop; i++) {
            largest[sfb] = largest[sfb] < ix[i] ? ix[i] : largest[sfb];
        }
    }
}

/* For each end of the second region the best end of the first. */
static void
divide_first_two(struct huffman_sums *sums, const lame_internal_flags *gfc, const gr_info *cod_info, const int *ix,
                 int r01_bits[], int r01_div[], int r0_tbl[], int r1_tbl[])
{
    const int *const band = gfc->scalefac_band.l;
    int const end = cod_info->big_values;
    int     largest[SBMAX_l], largest0 = 0, r0, r1;
    sums->known = 0;
    sums->pairs = end / 2;
    largest_of_bands(band, ix, end, largest);
    for (r0 = 0; r0 <= 7 + 15; r0++) {
        r01_bits[r0] = LARGE_BITS;
    }
    for (r0 = 0; r0 < 16 && band[r0 + 1] < end; r0++) {
        int     bits0 = 0, largest1 = 0, table0;
        largest0 = Max(largest0, largest[r0]);
        table0 = choose_by_sums(sums, ix, 0, band[r0 + 1], largest0, &bits0);
        for (r1 = 0; r1 < 8 && band[r0 + r1 + 2] < end; r1++) {
            int     bits = bits0, table1;
            largest1 = Max(largest1, largest[r0 + r1 + 1]);
            table1 = choose_by_sums(sums, ix, band[r0 + 1], band[r0 + r1 + 2], largest1, &bits);
            if (r01_bits[r0 + r1] > bits) {
                r01_bits[r0 + r1] = bits;
                r01_div[r0 + r1] = r0;
                r0_tbl[r0 + r1] = table0;
                r1_tbl[r0 + r1] = table1;
            }
        }
    }
}

/* Where the third region begins best, if it is better than what is known. */
static void
divide_last(struct huffman_sums *sums, const lame_internal_flags *gfc, const gr_info *cod_info2, gr_info *gi,
            const int *ix, const int r01_bits[], const int r01_div[], const int r0_tbl[], const int r1_tbl[])
{
    const int *const band = gfc->scalefac_band.l;
    int const end = cod_info2->big_values;
    int     largest[SBMAX_l], sfb, r2;
    largest_of_bands(band, ix, end, largest);
    for (sfb = SBMAX_l - 2; sfb >= 0; sfb--) {
        largest[sfb] = Max(largest[sfb], largest[sfb + 1]);
    }
    for (r2 = 2; r2 < SBMAX_l && band[r2] < end; r2++) {
        int     bits = r01_bits[r2 - 2] + cod_info2->count1bits, table2;
        if (gi->part2_3_length <= bits) {
            break;
        }
        table2 = choose_by_sums(sums, ix, band[r2], end, largest[r2], &bits);
        if (gi->part2_3_length > bits) {
            memcpy(gi, cod_info2, sizeof(gr_info));
            gi->part2_3_length = bits;
            gi->region0_count = r01_div[r2 - 2];
            gi->region1_count = r2 - 2 - r01_div[r2 - 2];
            gi->table_select[0] = r0_tbl[r2 - 2];
            gi->table_select[1] = r1_tbl[r2 - 2];
            gi->table_select[2] = table2;
        }
    }
}

#define recalc_divide_init(...) divide_first_two(&sums, __VA_ARGS__)
#define recalc_divide_sub(...) divide_last(&sums, __VA_ARGS__)
