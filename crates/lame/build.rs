//! Compiles LAME once for any processor and, on x86-64, once more for those with AVX2 and FMA.
//!
//! The source is that of the crate `mp3lame-sys`, taken from wherever Cargo keeps it. All global
//! names get the kernel's name in front, so that both fit into one program, beside a libmp3lame
//! that FFmpeg's libraries may bring along.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const FILES: &[&str] = &[
    "VbrTag",
    "bitstream",
    "encoder",
    "fft",
    "gain_analysis",
    "id3tag",
    "lame",
    "newmdct",
    "presets",
    "psymodel",
    "quantize",
    "quantize_pvt",
    "reservoir",
    "set_get",
    "tables",
    "takehiro",
    "util",
    "vbrquantize",
    "version",
];

/// What of LAME's is replaced by ours, or called by another name for it: `(file, [(text, new text)])`.
type Edits = (&'static str, &'static [(&'static str, &'static str)]);

const MASKING: Edits = (
    "psymodel",
    &[
        ("static void\nvbrpsy_compute_fft_l(", "#include \"spreading.h\"\nstatic void\nvbrpsy_compute_fft_l("),
        ("static int\ninit_s3_values(", "static int\ninit_s3_rows("),
        (
            "    for (j = b = 0; b < gds->npart; b++) {\n",
            "    FLOAT masking[CBANDS];\n    int tonality[CBANDS];\n    spread(gds, eb, mask_idx_s, masking, tonality);\n    for (j = b = 0; b < gds->npart; b++) {\n",
        ),
        ("dd = mask_idx_s[kk];", "dd = tonality[b], kk = last;"),
        ("ecb = gds->s3[j] * eb[kk] * tab[mask_idx_s[kk]];", "ecb = masking[b];"),
        (
            "            x = gds->s3[j] * eb[kk] * tab[mask_idx_s[kk]];\n            ecb = vbrpsy_mask_add(ecb, x, kk - b, delta);\n",
            "",
        ),
        (
            "    k = 0;\n    for (b = 0; b < gdl->npart; b++) {\n",
            "    FLOAT masking[CBANDS];\n    int tonality[CBANDS];\n    spread(gdl, eb_l, mask_idx_l, masking, tonality);\n    k = 0;\n    for (b = 0; b < gdl->npart; b++) {\n",
        ),
        ("dd = mask_idx_l[kk];", "dd = tonality[b], kk = last;"),
        ("ecb = gdl->s3[k] * eb_l[kk] * tab[mask_idx_l[kk]];", "ecb = masking[b];"),
        (
            "            x = gdl->s3[k] * eb_l[kk] * tab[mask_idx_l[kk]];\n            t = vbrpsy_mask_add(ecb, x, kk - b, delta);\n",
            "            t = ecb;\n",
        ),
    ],
);

const POWERS: Edits = (
    "quantize",
    &[("static void\ninit_xrpow_core_c(", "#include \"xrpow.h\"\nstatic void\nreplaced_init_xrpow_core_c(")],
);

const BITS: Edits = (
    "bitstream",
    &[
        ("/*write j bits into the bit stream, ignoring frame headers */", "#include \"bits.h\""),
        (
            "        putbits2(gfc, h->table[x1], cbits);\n        putbits2(gfc, (int)ext, xbits);\n",
            "        put_bits(gfc, (uint64_t) h->table[x1] << xbits | ext, cbits + xbits);\n",
        ),
    ],
);

const REGIONS: Edits = (
    "takehiro",
    &[
        ("void\nbest_huffman_divide(", "#include \"huffman.h\"\nvoid\nbest_huffman_divide("),
        ("    int     r0_tbl[7 + 15 + 1];\n", "    int     r0_tbl[7 + 15 + 1];\n    struct huffman_sums sums;\n"),
    ],
);

/// For processors with AVX2.
const LOOPS: Edits = (
    "vbrquantize",
    &[
        (
            "#ifdef TAKEHIRO_IEEE754_HACK\n#define DOUBLEX",
            "#include \"vbr_avx2.h\"\n#ifdef TAKEHIRO_IEEE754_HACK\n#define DOUBLEX",
        ),
        ("static  uint8_t\nfind_scalefac_x34(", "static uint8_t\nreplaced_find_scalefac_x34("),
        ("static void\nquantize_x34(", "static void\nreplaced_quantize_x34("),
    ],
);

/// What LAME's `configure` would find on any system that Rust and FFmpeg run on, with float as
/// the type of its mathematics.
const CONFIG: &[(&str, &str)] = &[
    ("STDC_HEADERS", "1"),
    ("HAVE_ERRNO_H", "1"),
    ("HAVE_FCNTL_H", "1"),
    ("HAVE_INTTYPES_H", "1"),
    ("HAVE_LIMITS_H", "1"),
    ("HAVE_STDINT_H", "1"),
    ("HAVE_STRCHR", "1"),
    ("HAVE_MEMCPY", "1"),
    ("ieee754_float32_t", "float"),
    ("LAME_LIBRARY_BUILD", "1"),
    ("PACKAGE", "\"lame\""),
    ("VERSION", "\"3.100\""),
    // Rounds floats by adding to their bits; works in either byte order.
    ("TAKEHIRO_IEEE754_HACK", "1"),
    ("USE_FAST_LOG", "1"),
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rerun-if-changed=symbols.txt");
    let source = lame_source();
    let is_x86 = env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64");
    build(&source, "lame_baseline", is_x86, &[MASKING, POWERS, BITS, REGIONS], &[]);
    if is_x86 {
        let flags = ["-mavx2", "-mfma", "-mbmi", "-mbmi2", "-mlzcnt"];
        build(&source, "lame_avx2", is_x86, &[MASKING, POWERS, BITS, REGIONS, LOOPS], &flags);
    }
}

/// The folder `lame-3.100` inside of `mp3lame-sys`. Cargo tells a build script where a dependency
/// is only if that has a `links` key, which this one has not; its metadata names it all the same,
/// in a registry's cache as well as in a vendored tree.
fn lame_source() -> PathBuf {
    let cargo = env::var_os("CARGO").expect("set by Cargo");
    let target = env::var("TARGET").expect("set by Cargo");
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--locked", "--filter-platform", &target])
        .output()
        .expect("cargo metadata starts");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    let manifests = metadata.split("\"manifest_path\":\"").skip(1).filter_map(|rest| rest.split('"').next());
    manifests
        .filter(|path| path.contains("mp3lame-sys"))
        .map(|path| Path::new(path).with_file_name("lame-3.100"))
        .find(|folder| folder.join("libmp3lame/lame.c").exists())
        .expect("mp3lame-sys is a dependency and carries LAME 3.100")
}

/// A file of LAME's, or a copy with the edits that are meant for it.
fn edited(source: &Path, file: &str, kernel: &str, edits: &[Edits]) -> PathBuf {
    let original = source.join("libmp3lame").join(file).with_extension("c");
    let Some((_, edits)) = edits.iter().find(|(name, _)| *name == file) else {
        return original;
    };
    let mut text = fs::read_to_string(original).expect("LAME's source can be read").replace("\r\n", "\n");
    for (old, new) in *edits {
        assert_eq!(text.matches(old).count(), 1, "{file}.c: {old}");
        text = text.replace(old, new);
    }
    let copy = out_dir().join(format!("{kernel}_{file}.c"));
    fs::write(&copy, text).expect("OUT_DIR is ours to write");
    copy
}

fn out_dir() -> PathBuf {
    PathBuf::from(env::var_os("OUT_DIR").expect("set by Cargo"))
}

fn build(source: &Path, kernel: &str, is_x86: bool, edits: &[Edits], flags: &[&str]) {
    let out = out_dir();
    let prefix = out.join(format!("{kernel}.h"));
    let mut names = String::new();
    for name in include_str!("symbols.txt").lines() {
        writeln!(names, "#define {name} {kernel}_{name}").expect("a string takes all");
    }
    writeln!(names, "#define KERNEL {kernel}_kernel").expect("a string takes all");
    fs::write(&prefix, names).expect("OUT_DIR is ours to write");

    let mut build = cc::Build::new();
    for (name, value) in CONFIG {
        build.define(name, *value);
    }
    if is_x86 {
        build.define("HAVE_XMMINTRIN_H", "1").file(source.join("libmp3lame/vector/xmm_quantize_sub.c"));
    }
    build
        .file("src/kernel.c")
        .files(FILES.iter().map(|file| edited(source, file, kernel, edits)))
        .include(source.join("include"))
        .include(source.join("libmp3lame"))
        .include("src")
        .flag("-include")
        .flag(prefix)
        // Whatever the profile: a debug build of an encoder is of no use to anybody.
        .opt_level(3)
        .debug(false)
        // A fifth faster than without; the sound differs by thousandths of a decibel.
        .flag("-ffast-math")
        .flags(flags)
        .warnings(false)
        .compile(kernel);
}
