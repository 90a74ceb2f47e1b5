//! A child in which somebody else's code runs: whatever it sends or does not take, the parent ends
//! it in time, and believes nothing that cannot be.

use std::{
    fs,
    io::{Read, Seek, SeekFrom, Write},
    ops::ControlFlow,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use sandbox::{
    Limits, Sandbox,
    frames::{self, Kind},
};
use tempfile::TempDir;
use transcode::{Error, FileSink, Options, Split, Summary};

/// A frame with so many bytes of nothing.
fn frame(kind: Kind, number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frames::send(&mut frame, kind, number, bytes).expect("memory");
    frame
}

/// The child is a script, which says that it is ready and then does as it is told; `$sent` is a file
/// that holds `sent`.
struct Hostile {
    folder: TempDir,
    options: Options,
    limits: Limits,
    give_up: Option<Duration>,
}

impl Hostile {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (time, silence) = (Duration::from_secs(20), Duration::from_secs(2));
        let limits = Limits { time, silence, ..Limits::default() };
        Self { folder, options: Options::default(), limits, give_up: None }
    }

    fn convert(&self, sent: &[u8], script: &str) -> Result<Summary, Error> {
        let mut film = tempfile::tempfile().expect("a file");
        film.write_all(&vec![7; 1 << 20]).expect("written");
        self.convert_film(film, sent, script)
    }

    fn convert_film(&self, film: impl Read + Seek, sent: &[u8], script: &str) -> Result<Summary, Error> {
        let program = self.program(&frame(Kind::Ready, 0, &[]), sent, script);
        let mut sink = FileSink::new(tempfile::tempfile().expect("a file"));
        let began = Instant::now();
        let sandbox = Sandbox::new(program, self.limits.clone()).expect("it says that it is ready");
        let outcome = sandbox.convert(film, &mut sink, &self.options, &mut |_| match self
            .give_up
            .is_some_and(|after| began.elapsed() > after)
        {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        });
        assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
        outcome
    }

    /// A child that sends `first`, and then does as the script says.
    fn program(&self, first: &[u8], sent: &[u8], script: &str) -> PathBuf {
        let path = |name: &str| self.folder.path().join(name);
        fs::write(path("first"), first).expect("written");
        fs::write(path("sent"), sent).expect("written");
        let here = self.folder.path().display();
        let script = format!("sent={here}/sent\n/bin/cat {here}/first >&0\n{script}\n");
        fs::write(path("script"), script).expect("written");
        let program = path("child");
        fs::copy(env!("CARGO_BIN_EXE_scripted-child"), &program).expect("a program");
        program
    }

    /// Sends that, and says no more.
    fn send(&self, sent: &[u8]) -> Result<Summary, Error> {
        self.convert(sent, "/bin/cat $sent >&0; exec /bin/sleep 60")
    }
}

fn assert_blamed(outcome: Result<Summary, Error>, what: &str) {
    match outcome {
        Err(error @ Error::Unbearable(_)) => assert!(error.is_final()),
        other => panic!("{what}: {other:?}"),
    }
}

#[test]
fn one_that_cannot_be_locked_up_is_given_nothing() {
    let hostile = Hostile::new();
    let exposed = frame(Kind::Exposed, 0, b"the kernel takes no filter");
    let program = hostile.program(&exposed, &[], "exec /bin/sleep 60");
    let refused = Sandbox::new(program, hostile.limits.clone()).expect_err("it can do anything");
    assert_eq!(format!("{refused:#}"), "the child that converts cannot be locked up: the kernel takes no filter");
}

#[test]
fn one_that_takes_no_answers_is_ended() {
    let asks: Vec<u8> = (0..200).flat_map(|_| frame(Kind::Read, 0, &[])).collect();
    assert_blamed(Hostile::new().send(&asks), "it has asked, and does not listen");
    let hurried = Hostile { give_up: Some(Duration::from_millis(500)), ..Hostile::new() };
    let outcome = hurried.send(&asks);
    assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
}

#[test]
fn one_that_stops_within_a_frame_is_ended() {
    let half = &frame(Kind::Write, 0, &[7; 1_000])[..500];
    assert_blamed(Hostile::new().send(half), "half a frame");
    let hurried = Hostile { give_up: Some(Duration::from_millis(500)), ..Hostile::new() };
    let outcome = hurried.send(half);
    assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
    // Nor does it help to send a byte now and then.
    let head = "printf '\\3\\0\\0\\0\\377\\0\\0\\0' >&0";
    let trickle = format!("{head}; while :; do printf x >&0; /bin/sleep 0.5; done");
    assert_blamed(Hostile::new().convert(&[], &trickle), "a trickle");
}

#[test]
fn one_that_goes_on_and_on_is_ended() {
    let progress = frame(Kind::Progress, 0, &serde_json::to_vec(&transcode::Progress::default()).expect("JSON"));
    let limits = Limits { time: Duration::from_secs(2), ..Hostile::new().limits };
    let outcome = Hostile { limits, ..Hostile::new() }.convert(&progress, "while :; do /bin/cat $sent >&0; done");
    assert_blamed(outcome, "progress without end");
}

#[test]
fn one_that_hangs_up_and_lives_on_is_ended() {
    assert_blamed(Hostile::new().convert(&[], "exec 0<&- /bin/sleep 60"), "it has hung up");
    // One that just ends may have had its reasons.
    let outcome = Hostile::new().convert(&[], "exit 3");
    assert!(matches!(&outcome, Err(error) if !error.is_final()), "{outcome:?}");
}

#[test]
fn what_cannot_be_is_not_believed() {
    let json = |value: &Summary| serde_json::to_vec(value).expect("JSON");
    let failed = |error: &Error| frame(Kind::Failed, 0, &serde_json::to_vec(error).expect("JSON"));
    let mut giant = frame(Kind::Write, 0, &[]);
    giant[4..8].fill(0xFF);
    for (what, sent) in [
        ("no such frame", vec![99; 16]),
        ("a frame of 4 GiB", giant),
        ("a frame of the parent's", frame(Kind::Start, 0, &[])),
        ("a place beyond the end", frame(Kind::Read, (1 << 20) + 1, &[])),
        ("a place beyond any file", frame(Kind::Read, u64::MAX, &[])),
        ("a head in front of nothing", frame(Kind::Head, 0, b"ID3")),
        ("a head beyond all heads", frame(Kind::Head, u64::MAX, b"ID3")),
        ("an MP3 that it never sent", frame(Kind::Done, 0, &json(&Summary { bytes_out: 5, ..Summary::default() }))),
        (
            "a picture without end",
            frame(Kind::Done, 0, &json(&Summary { waveform: vec![9; 9_999], ..Summary::default() })),
        ),
        ("no summary at all", frame(Kind::Done, 0, b"[1, 2")),
        ("a reason of two lines", failed(&Error::UnknownCodec { codec: "aac\r\nBcc: x@example.com".to_owned() })),
        ("a reason of its own", failed(&Error::Unbearable("see http://example.com".to_owned()))),
        ("a very long reason", failed(&Error::UnknownCodec { codec: "x".repeat(1 << 20) })),
    ] {
        assert_blamed(Hostile::new().send(&sent), what);
    }
    let options = Options { max_output_bytes: Some(1_000), ..Options::default() };
    let too_much: Vec<u8> = (0..8).flat_map(|_| frame(Kind::Write, 0, &vec![7; 1 << 20])).collect();
    assert_blamed(Hostile { options, ..Hostile::new() }.send(&too_much), "more than it may");
    let options = Options { split: Some(Split::Chapters), ..Options::default() };
    let beyond = [frame(Kind::Write, 0, b"PK"), frame(Kind::Head, 1, b"PK")].concat();
    assert_blamed(Hostile { options, ..Hostile::new() }.send(&beyond), "a correction of what is not there");
    // The last byte may be read, and what is true is believed.
    let honest = [frame(Kind::Read, 1 << 20, &[]), frame(Kind::Done, 0, &json(&Summary::default()))].concat();
    Hostile::new().send(&honest).expect("nothing is wrong with it");
}

#[test]
fn what_it_said_before_it_went_is_heard() {
    // It has read ahead, found out enough, and is gone before its answers come.
    let failed = serde_json::to_vec(&Error::NoSound).expect("JSON");
    let sent = [frame(Kind::Read, 0, &[]).repeat(3), frame(Kind::Failed, 0, &failed)].concat();
    for _ in 0..20 {
        let outcome = Hostile::new().convert(&sent, "/bin/cat $sent >&0");
        assert!(matches!(outcome, Err(Error::NoSound)), "{outcome:?}");
    }
}

#[test]
fn what_it_said_before_it_was_asked_is_heard() {
    struct Slow;
    impl Read for Slow {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Ok(0)
        }
    }
    impl Seek for Slow {
        fn seek(&mut self, _: SeekFrom) -> std::io::Result<u64> {
            std::thread::sleep(Duration::from_millis(300)); // it is gone before it hears of its film
            Ok(100)
        }
    }
    let sent = frame(Kind::Failed, 0, &serde_json::to_vec(&Error::NoSound).expect("JSON"));
    let outcome = Hostile::new().convert_film(Slow, &sent, "/bin/cat $sent >&0");
    assert!(matches!(outcome, Err(Error::NoSound)), "{outcome:?}");
}

/// A reader is the caller's, and so is its error, whatever the child makes of it.
#[test]
fn an_error_of_the_reader_stays_what_it_is() {
    struct Gone;
    impl Read for Gone {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::ConnectionReset.into())
        }
    }
    impl Seek for Gone {
        fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
            Ok(if let SeekFrom::Start(at) = to { at } else { 100 })
        }
    }
    let failed = serde_json::to_vec(&Error::Input(std::io::Error::other("says the child"))).expect("JSON");
    let sent = [frame(Kind::Read, 0, &[]), frame(Kind::Failed, 0, &failed)].concat();
    let outcome = Hostile::new().convert_film(Gone, &sent, "/bin/cat $sent >&0; exec /bin/sleep 60");
    match outcome {
        Err(Error::Input(error)) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        other => panic!("{other:?}"),
    }
}

/// Who is to be killed while a child of its own goes round and round: this program, once more, told where the
/// child's program is.
const PARENT: &str = "PARENT_TO_BE_KILLED";

#[test]
fn one_that_goes_round_and_round_ends_with_its_parent() {
    if let Some(program) = std::env::var_os(PARENT) {
        let sandbox = Sandbox::new(program, Limits::default()).expect("it says that it is ready");
        let film = std::io::Cursor::new(vec![7; 1 << 20]);
        let mut sink = FileSink::new(tempfile::tempfile().expect("a file"));
        let outcome = sandbox.convert(film, &mut sink, &Options::default(), &mut |_| ControlFlow::Continue(()));
        panic!("nobody killed it: {outcome:?}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("child");
    fs::copy(env!("CARGO_BIN_EXE_scripted-child"), &program).expect("a program");
    let me = std::env::current_exe().expect("a program");
    let arguments = ["--exact", "one_that_goes_round_and_round_ends_with_its_parent"];
    let mut parent =
        Command::new(me).args(arguments).env(PARENT, program).stdout(Stdio::null()).spawn().expect("a parent");
    let busy =
        wait_for(|| children(parent.id()).into_iter().find(|child| computed(*child) > Duration::from_millis(300)));
    parent.kill().expect("killed");
    parent.wait().expect("its end");
    // Dead, if not buried: whose it is now may not look after it.
    wait_for(|| stat(busy).is_none_or(|stat| stat[0] == "Z").then_some(()));
}

/// What `look` finds, within half a minute.
fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        match look() {
            Some(found) => return found,
            None if began.elapsed() > Duration::from_secs(30) => panic!("in vain"),
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// What the kernel tells of a process after its name, while there is one.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit(')').next()?.split_whitespace().map(str::to_owned).collect())
}

fn children(parent: u32) -> Vec<u32> {
    let pids = fs::read_dir("/proc").expect("processes").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|stat| stat[1] == parent.to_string())).collect()
}

/// Of a processor's time.
fn computed(pid: u32) -> Duration {
    let ticks = stat(pid).and_then(|stat| stat[11].parse().ok()).unwrap_or(0);
    Duration::from_millis(10) * ticks
}
