//! Conversions in a child process of the converter.
#![cfg(target_os = "linux")]

use std::{
    fs::File,
    io::{self, Cursor, Read, Seek, SeekFrom},
    ops::ControlFlow,
    path::PathBuf,
    time::{Duration, Instant},
};

use sandbox::{Limits, Sandbox};
use testkit::media;
use transcode::{Error, FileSink, Options, Progress, Sink};

/// For an MP3 that nobody looks at.
fn sink() -> FileSink {
    FileSink::new(tempfile::tempfile().expect("a file"))
}

fn sandbox(limits: Limits) -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_converter"), limits).expect("a sandbox")
}

fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// A folder with a film of so many seconds.
fn film(seconds: f64) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("film.mkv");
    media::film(&path, seconds, &media::Film::default()).expect("a film");
    (folder, path)
}

/// The children of this test: the process that is copied, and its copies.
fn children() -> Vec<i32> {
    let me = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").expect("processes").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // After the name in parentheses: state, then the parent.
        stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)) == Some(&me)
    })
    .collect()
}

/// Sends `number` to the children that are not among `idle`: to the one that converts.
fn interrupt(idle: &[i32], number: i32) {
    let converting: Vec<_> = children().into_iter().filter(|child| !idle.contains(child)).collect();
    assert_eq!(converting.len(), 1);
    signal(converting[0], number);
}

fn signal(pid: i32, signal: i32) {
    // SAFETY: kill takes two numbers; the process is a child of this one.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

#[test]
fn it_makes_the_same_mp3() {
    let (folder, film) = film(20.0);
    let (inside, outside) = (folder.path().join("inside.mp3"), folder.path().join("outside.mp3"));
    let create = |path| FileSink::create(path).expect("a file");
    let sandbox = sandbox(Limits::default());
    for options in [Options::default(), Options { loudness: Some(-16), ..Options::default() }] {
        let mut told = Vec::new();
        let summary = sandbox
            .convert(File::open(&film).expect("there"), &mut create(&inside), &options, &mut |progress| {
                told.push(progress);
                ControlFlow::Continue(())
            })
            .expect("an MP3");
        let same = transcode::convert(File::open(&film).expect("there"), &mut create(&outside), &options, &mut go_on);
        assert_eq!(summary, same.expect("an MP3"));
        let read = |path| std::fs::read(path).expect("an MP3");
        assert!(read(&inside) == read(&outside), "the bytes differ");
        assert!(told.windows(2).all(|pair| pair[0].done <= pair[1].done), "{told:?}");
    }
}

#[test]
fn what_is_wrong_is_told_as_it_is_without_it() {
    let sandbox = sandbox(Limits::default());
    let convert = |bytes: &[u8]| {
        let input = Cursor::new(bytes.to_vec());
        sandbox.convert(input, &mut sink(), &Options::default(), &mut go_on)
    };
    assert!(matches!(convert(b"just a text, and not a long one"), Err(Error::NotMedia)));
    assert!(matches!(convert(b""), Err(Error::NotMedia)));
    let folder = tempfile::tempdir().expect("a folder");
    let mute = folder.path().join("mute.mp4");
    media::silent_film(&mute, 1.0).expect("a film");
    assert!(matches!(convert(&std::fs::read(mute).expect("there")), Err(Error::NoSound)));
}

#[test]
fn errors_of_reader_and_sink_are_the_callers_own() {
    struct Unreadable(File);
    impl Read for Unreadable {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(libc::EIO))
        }
    }
    impl Seek for Unreadable {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }
    struct Full;
    impl Sink for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<()> {
            Err(io::Error::from_raw_os_error(libc::ENOSPC))
        }
        fn rewrite_head(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
            unreachable!("nothing was written")
        }
    }
    let (_folder, film) = film(2.0);
    let sandbox = sandbox(Limits::default());
    let open = || File::open(&film).expect("there");
    match sandbox.convert(Unreadable(open()), &mut sink(), &Options::default(), &mut go_on) {
        Err(Error::Input(error)) => assert_eq!(error.raw_os_error(), Some(libc::EIO)),
        other => panic!("{other:?}"),
    }
    match sandbox.convert(open(), &mut Full, &Options::default(), &mut go_on) {
        Err(Error::Output(error)) => assert_eq!(error.raw_os_error(), Some(libc::ENOSPC)),
        other => panic!("{other:?}"),
    }
    sandbox.convert(open(), &mut sink(), &Options::default(), &mut go_on).expect("the next one is not concerned");
}

/// A reader that does something once the conversion is under way.
struct Meanwhile<F>(File, Option<F>);

impl<F: FnOnce()> Read for Meanwhile<F> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if let Some(action) = self.1.take() {
            action();
        }
        self.0.read(buf)
    }
}

impl<F> Seek for Meanwhile<F> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn what_breaks_it_costs_one_conversion() {
    let (_folder, film) = film(5.0);
    let sandbox = sandbox(Limits::default());
    let convert = |deadly: i32| {
        let idle = children();
        let input = Meanwhile(File::open(&film).expect("there"), Some(move || interrupt(&idle, deadly)));
        sandbox.convert(input, &mut sink(), &Options::default(), &mut go_on)
    };
    for deadly in [libc::SIGILL, libc::SIGABRT, libc::SIGSYS] {
        let error = convert(deadly).expect_err("it died");
        assert!(matches!(&error, Error::Unbearable(_)) && error.is_final(), "{error}");
    }
    for from_outside in [libc::SIGKILL, libc::SIGTERM, libc::SIGINT] {
        let error = convert(from_outside).expect_err("it died");
        assert!(!error.is_final(), "nothing is wrong with the film: {error}");
    }
    convert(0).expect("the next one is not concerned");
    assert_eq!(children().len(), 1, "only the process that is copied is left");
}

#[test]
fn the_process_that_is_copied_may_end() {
    let (_folder, film) = film(2.0);
    let sandbox = sandbox(Limits::default());
    let first = children();
    first.iter().for_each(|child| signal(*child, libc::SIGKILL));
    let convert = || sandbox.convert(File::open(&film).expect("there"), &mut sink(), &Options::default(), &mut go_on);
    convert().expect("from its successor");
    assert_ne!(children(), first);
    convert().expect("and once more");
}

#[test]
fn a_key_pressed_at_the_terminal_does_not_reach_it() {
    let (_folder, film) = film(2.0);
    let sandbox = sandbox(Limits::default());
    // SAFETY: getpgid takes a number.
    let group = |pid| unsafe { libc::getpgid(pid) };
    let own_group = group(0);
    let look = Some(move || {
        for child in children() {
            let group = group(child);
            assert!(group > 0 && group != own_group);
        }
    });
    let input = Meanwhile(File::open(&film).expect("there"), look);
    sandbox.convert(input, &mut sink(), &Options::default(), &mut go_on).expect("an MP3");
}

#[test]
fn nothing_of_the_environment_reaches_it() {
    let (_folder, film) = film(2.0);
    let sandbox = sandbox(Limits::default());
    assert!(std::env::vars_os().next().is_some(), "there is something to be kept from it");
    let look = Some(|| {
        let children = children();
        assert_eq!(children.len(), 2, "the process that is copied, and its copy");
        for child in children {
            let environment = std::fs::read(format!("/proc/{child}/environ")).expect("a child of ours");
            assert!(environment.is_empty(), "{}", String::from_utf8_lossy(&environment));
        }
    });
    let input = Meanwhile(File::open(&film).expect("there"), look);
    sandbox.convert(input, &mut sink(), &Options::default(), &mut go_on).expect("an MP3");
}

#[test]
fn one_that_hangs_is_ended() {
    let (_folder, film) = film(5.0);
    let limits = Limits { silence: Duration::from_secs(2), ..Limits::default() };
    let sandbox = sandbox(limits);
    let stopped = || {
        let idle = children();
        Meanwhile(File::open(&film).expect("there"), Some(move || interrupt(&idle, libc::SIGSTOP)))
    };
    let began = Instant::now();
    let error = sandbox.convert(stopped(), &mut sink(), &Options::default(), &mut go_on);
    assert!(matches!(error, Err(Error::Unbearable(_))), "{error:?}");
    assert!(began.elapsed() >= Duration::from_secs(2));

    // Whoever does not want to wait for that is heard before.
    let mut asked = 0;
    let cancelled = sandbox.convert(stopped(), &mut sink(), &Options::default(), &mut |_| {
        asked += 1;
        if asked > 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(cancelled, Err(Error::Cancelled)), "{cancelled:?}");
    assert_eq!(children().len(), 1, "only the process that is copied is left");
}

#[test]
fn time_and_memory_have_an_end() {
    let (_folder, film) = film(60.0);
    let convert = |limits: Limits| {
        let input = File::open(&film).expect("there");
        sandbox(limits).convert(input, &mut sink(), &Options::default(), &mut go_on)
    };
    let hurried = convert(Limits { time: Duration::from_millis(20), ..Limits::default() });
    assert!(matches!(hurried, Err(Error::Unbearable(_))), "{hurried:?}");
    // It begins with some 30 MB of its libraries' data, and one conversion takes about as much again.
    let memory = |bytes| Sandbox::new(env!("CARGO_BIN_EXE_converter"), Limits { memory: bytes, ..Limits::default() });
    memory(4 << 20).expect_err("too little to begin with");
    if let Ok(narrow) = memory(40 << 20) {
        let input = File::open(&film).expect("there");
        narrow.convert(input, &mut sink(), &Options::default(), &mut go_on).expect_err("too little memory");
    }
    convert(Limits::default()).expect("enough of both");
}

/// A child that waits for its film costs nothing.
#[test]
fn one_that_waits_rests() {
    let (_folder, film) = film(5.0);
    let sandbox = sandbox(Limits::default());
    let idle = children();
    let wait = move || {
        let converting = children().into_iter().find(|child| !idle.contains(child)).expect("a child");
        let before = ticks(converting);
        std::thread::sleep(Duration::from_secs(2));
        let worked = ticks(converting) - before;
        assert!(worked < 50, "{worked} hundredths of a second of two");
    };
    let film = Meanwhile(File::open(&film).expect("there"), Some(wait));
    sandbox.convert(film, &mut sink(), &Options::default(), &mut go_on).expect("an MP3");
}

/// Hundredths of a second that a process, with all its threads, has computed.
fn ticks(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let rest: Vec<_> = stat.rsplit(')').next().expect("the rest").split_whitespace().collect();
    rest[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}

#[test]
fn a_program_that_is_no_child_is_found_out_at_once() {
    for program in ["/bin/true", "/bin/there-is-no-such-program"] {
        Sandbox::new(program, Limits::default()).expect_err(program);
    }
}
