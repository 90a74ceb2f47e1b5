/* What Rust calls, as one table for each build of LAME; see `Kernel` in sys.rs. */

#include "lame.h"

extern const struct kernel KERNEL;

const struct kernel {
    lame_t (*init)(void);
    int (*close)(lame_t);
    int (*set_errorf)(lame_t, lame_report_function);
    int (*set_debugf)(lame_t, lame_report_function);
    int (*set_msgf)(lame_t, lame_report_function);
    int (*set_num_channels)(lame_t, int);
    int (*set_mode)(lame_t, MPEG_mode);
    int (*set_in_samplerate)(lame_t, int);
    int (*set_out_samplerate)(lame_t, int);
    int (*set_write_vbr_tag)(lame_t, int);
    int (*set_vbr)(lame_t, vbr_mode);
    int (*set_vbr_quality)(lame_t, int);
    int (*set_bit_rate)(lame_t, int);
    int (*init_params)(lame_t);
    int (*encode)(lame_t, const float *, const float *, int, unsigned char *, int);
    int (*flush)(lame_t, unsigned char *, int);
    int (*flush_nogap)(lame_t, unsigned char *, int);
    size_t (*tag_frame)(lame_t, unsigned char *, size_t);
} KERNEL = {
    lame_init,
    lame_close,
    lame_set_errorf,
    lame_set_debugf,
    lame_set_msgf,
    lame_set_num_channels,
    lame_set_mode,
    lame_set_in_samplerate,
    lame_set_out_samplerate,
    lame_set_bWriteVbrTag,
    lame_set_VBR,
    lame_set_VBR_q,
    lame_set_brate,
    lame_init_params,
    lame_encode_buffer_ieee_float,
    lame_encode_flush,
    lame_encode_flush_nogap,
    lame_get_lametag_frame,
};
