/* The spectrum's |x|^(3/4). build.rs puts it into quantize.c in place of a function of the same name,
 * which took double roots, one after the other. */

static void
init_xrpow_core_c(gr_info * const cod_info, FLOAT xrpow[576], int upper, FLOAT * sum)
{
    FLOAT   total = 0, largest = cod_info->xrpow_max;
    int     i;
    for (i = 0; i <= upper; i++) {
        FLOAT const size = fabsf(cod_info->xr[i]), power = sqrtf(size * sqrtf(size));
        total += size;
        largest = power > largest ? power : largest;
        xrpow[i] = power;
    }
    cod_info->xrpow_max = largest;
    *sum = total;
}
