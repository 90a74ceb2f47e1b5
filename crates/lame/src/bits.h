/* Bits into the stream, many at a time. build.rs puts it into bitstream.c, behind putbits2, which
 * writes what is left of one byte after the other and looks at each whether a header is due there. */

static inline void
put_bits(lame_internal_flags * gfc, uint64_t value, int count)
{
    EncStateVar_t const *const esv = &gfc->sv_enc;
    Bit_stream_struc *const bs = &gfc->bs;
    int const beyond = count - bs->buf_bit_idx; /* what does not fit into the byte at hand */
    int     bytes, i;
    if (esv->header[esv->w_ptr].write_timing - bs->totbit < count) {
        for (; count > 16; count -= 16) {
            putbits2(gfc, (int) (value >> (count - 16) & 0xffff), 16);
        }
        putbits2(gfc, (int) (value & ((1u << count) - 1)), count);
        return;
    }
    bs->totbit += count;
    if (beyond <= 0) {
        if (count > 0) {
            bs->buf[bs->buf_byte_idx] |= value << -beyond;
            bs->buf_bit_idx = -beyond;
        }
        return;
    }
    if (bs->buf_bit_idx > 0) {
        bs->buf[bs->buf_byte_idx] |= value >> beyond;
    }
    value <<= 64 - beyond;
    bytes = (beyond + 7) / 8;
    for (i = 0; i < bytes; i++) {
        bs->buf[++bs->buf_byte_idx] = value >> (56 - 8 * i);
    }
    bs->buf_bit_idx = 8 * bytes - beyond;
}
