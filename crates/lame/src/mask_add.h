/* How two maskings add up. build.rs puts it into psymodel.c; the function of this name that was there is
 * called mask_add_near now, and still does what only neighbours need. */

/* Both are energies, and not negative. Of bands that are far apart either counts, or their sum where
 * they are alike: that takes no division, and no branch that nobody can predict. */
static inline FLOAT
vbrpsy_mask_add(FLOAT m1, FLOAT m2, int b, int delta)
{
    FLOAT const larger = m1 > m2 ? m1 : m2, smaller = m1 > m2 ? m2 : m1;
    if (abs(b) <= delta) {
        return mask_add_near(m1, m2, b, delta);
    }
    return larger < ma_max_i2 * smaller ? m1 + m2 : larger;
}
