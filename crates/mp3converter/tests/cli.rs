//! The program as its users type it.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use testkit::{eventually, media};

const SOON: Duration = Duration::from_secs(30);

/// The program in `folder`, with its data there too.
fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mp3converter"));
    command.args(arguments).current_dir(folder).env_clear().env("HOME", folder).env("HTTP_ADDR", "127.0.0.1:0");
    command
}

fn run(folder: &Path, arguments: &[&str], input: Option<&[u8]>) -> Output {
    let mut command = program(folder, arguments);
    let piped = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut child = command.stdin(piped).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        let input = input.to_owned();
        std::thread::spawn(move || stdin.write_all(&input));
    }
    child.wait_with_output().expect("it ends")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn home() -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().expect("a folder");
    let film = home.path().join("Ein Film.mp4");
    media::film(&film, 3.0, &media::Film::default()).expect("a film");
    (home, film)
}

/// The names in a folder, but for the program's data.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> = entries.map(|e| e.expect("an entry").file_name().into_string().expect("text")).collect();
    names.retain(|name| name != ".local");
    names.sort();
    names
}

fn assert_is_the_films_sound(mp3: &[u8]) {
    let mp3 = media::decode_mp3(mp3).expect("an MP3");
    assert!((mp3.seconds() - 3.0).abs() < 0.05, "{}", mp3.seconds());
}

#[test]
fn a_file_becomes_a_file_and_none_is_overwritten() {
    let (home, _) = home();
    let output = run(home.path(), &["convert", "Ein Film.mp4", "x.mp3"], None);
    assert!(output.status.success() && output.stdout.is_empty(), "{}", said(&output));
    assert!(said(&output).contains("Ein Film.mp4 → x.mp3: 0:03 min"), "{}", said(&output));
    let mp3 = home.path().join("x.mp3");
    assert_is_the_films_sound(&fs::read(&mp3).expect("read"));

    fs::write(&mp3, "precious").expect("written");
    let output = run(home.path(), &["convert", "Ein Film.mp4", "x.mp3"], None);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("x.mp3 exists; --force"), "{}", said(&output));
    assert_eq!(fs::read(&mp3).expect("read"), b"precious");
    let output = run(home.path(), &["convert", "--force", "--bitrate", "128", "Ein Film.mp4", "x.mp3"], None);
    assert!(output.status.success(), "{}", said(&output));
    assert_is_the_films_sound(&fs::read(&mp3).expect("read"));
    assert_eq!(names(home.path()), ["Ein Film.mp4", "x.mp3"], "no drafts are left");
}

/// The same film with and without, and what is wrong in the same words.
#[cfg(target_os = "linux")]
#[test]
fn a_sandbox_changes_nothing_but_the_risk() {
    let (home, _) = home();
    fs::write(home.path().join("text.mp4"), "this is no film").expect("written");
    let convert = |arguments: &[&str]| run(home.path(), &[&["convert"], arguments].concat(), None);
    assert!(convert(&["Ein Film.mp4", "in.mp3", "--sandbox"]).status.success());
    assert!(convert(&["Ein Film.mp4", "out.mp3"]).status.success());
    let read = |name: &str| fs::read(home.path().join(name)).expect("read");
    assert!(read("in.mp3") == read("out.mp3"));
    let (inside, outside) = (convert(&["--sandbox", "text.mp4", "x.mp3"]), convert(&["text.mp4", "x.mp3"]));
    assert_eq!((inside.status.code(), said(&inside)), (Some(1), said(&outside)));
}

#[test]
fn a_part_of_it_in_mono() {
    let (home, film) = home();
    let arguments = ["convert", "--channels", "mono", "--start", "0:00:01.25", "--end", "2", "Ein Film.mp4", "x.mp3"];
    let output = run(home.path(), &arguments, None);
    assert!(output.status.success(), "{}", said(&output));
    let mp3 = media::decode_mp3(&fs::read(home.path().join("x.mp3")).expect("read")).expect("an MP3");
    assert_eq!((mp3.channels, mp3.frames()), (1, 33_075));
    let original = media::reference(&film, 44_100, 1).expect("the film's sound");
    let there = original.samples[0][55_125..55_125 + mp3.frames()].to_vec();
    let likeness = media::compare(&media::Pcm { samples: vec![there], ..mp3.clone() }, &mp3);
    assert!(likeness.similarity > 0.97 && likeness.lag == 0, "{likeness:?}");

    for (arguments, code, words) in [
        (&["--start", "5"][..], 1, "there is no sound at 0:05: it ends at 0:03"),
        (&["--start", "2", "--end", "1.5"], 1, "end: it must come after start"),
        (&["--start", "1:75"], 2, "seconds or HH:MM:SS are expected"),
        (&["--channels", "quad"], 2, "mono or stereo is expected"),
    ] {
        let output = run(home.path(), &[&["convert"], arguments, &["Ein Film.mp4", "y.mp3"]].concat(), None);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(said(&output).contains(words), "{}", said(&output));
    }
    assert_eq!(names(home.path()), ["Ein Film.mp4", "x.mp3"]);
}

#[test]
fn its_chapters_in_a_zip() {
    let (home, film) = home();
    let convert = |output| run(home.path(), &["convert", "--split", "chapters", "Ein Film.mp4", output], None);
    let output = convert("x.zip");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("this video has no chapters"), "{}", said(&output));
    media::divide(&film, &[("Eins", 1.25), ("Zwei", 1.75)]).expect("chapters");
    fs::create_dir(home.path().join("out")).expect("a folder");
    let output = convert("out");
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(names(&home.path().join("out")), ["Ein Film.zip"]);
    let zip = fs::read(home.path().join("out/Ein Film.zip")).expect("read");
    let files = media::unzip(&zip).expect("a zip");
    let seconds = |mp3: &[u8]| media::decode_mp3(mp3).expect("an MP3").seconds();
    let facts: Vec<_> = files.iter().map(|(name, mp3)| (name.as_str(), (seconds(mp3) * 4.0).round())).collect();
    assert_eq!(facts, [("01 Eins.mp3", 5.0), ("02 Zwei.mp3", 7.0)]);
    // To a pipe as well, and no half zip stays behind.
    assert!(convert("-").stdout == zip);
    assert_eq!(names(home.path()), ["Ein Film.mp4", "out"]);
    let output = run(home.path(), &["convert", "--split", "silence", "Ein Film.mp4", "y.zip"], None);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}

#[test]
fn several_go_into_a_folder_and_one_bad_one_does_not_stop_the_rest() {
    let (home, film) = home();
    media::silent_film(&home.path().join("silent.mp4"), 2.0).expect("a silent film");
    fs::copy(&film, home.path().join("b.mp4")).expect("a copy");
    let output = run(home.path(), &["convert", "silent.mp4", "gone.mp4", "Ein Film.mp4", "b.mp4", "out"], None);
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    assert!(said.contains("silent.mp4: this video has no sound track"), "{said}");
    assert!(said.contains("gone.mp4: No such file") && said.contains("2 of 4 were not converted"), "{said}");
    assert_eq!(names(&home.path().join("out")), ["Ein Film.mp3", "b.mp3"]);
    assert_is_the_films_sound(&fs::read(home.path().join("out/b.mp3")).expect("read"));
}

#[test]
fn pipes_are_fine_on_either_side() {
    let (home, film) = home();
    let bytes = fs::read(&film).expect("read");
    // An MP4 has its index at the end, where a pipe cannot be asked.
    let output = run(home.path(), &["convert", "-", "-"], Some(&bytes));
    assert!(output.status.success(), "{}", said(&output));
    assert_is_the_films_sound(&output.stdout);
    let output = run(home.path(), &["convert", "-", "-"], Some(b""));
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(said(&output).contains("-: this is not a video or audio file"), "{}", said(&output));
    // Half a film is damaged, not short.
    let output = run(home.path(), &["convert", "-", "half.mp3"], Some(&bytes[..bytes.len() / 2]));
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert_eq!(names(home.path()), ["Ein Film.mp4"]);
}

/// Runs the program on a terminal, as `script` makes one, and presses Ctrl-C when it shows `sign`.
fn interrupted_at(folder: &Path, arguments: &str, sign: &str) -> (Option<i32>, String) {
    let command = program(folder, &[]);
    let call = format!("{} {arguments}", command.get_program().to_string_lossy());
    let mut script = Command::new("script");
    script.args(["-q", "-e", "-f", "-c", &call, "/dev/null"]).current_dir(folder).env("TERM", "xterm");
    let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
    let (mut keyboard, mut screen) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
    let (mut shown, mut some) = (String::new(), [0; 4096]);
    let mut pressed = false;
    while let Ok(count @ 1..) = screen.read(&mut some) {
        shown.push_str(&String::from_utf8_lossy(&some[..count]));
        if !pressed && shown.contains(sign) {
            pressed = true;
            keyboard.write_all(b"\x03").expect("pressed");
        }
    }
    drop(keyboard);
    (child.wait().expect("it ends").code(), shown)
}

#[test]
fn a_terminal_shows_how_far_it_is_and_ctrl_c_leaves_nothing_behind() {
    let home = tempfile::tempdir().expect("a folder");
    media::film(&home.path().join("long.mkv"), 300.0, &media::Film::default()).expect("a film");
    let (code, shown) = interrupted_at(home.path(), "convert long.mkv long.mp3", "s left");
    assert_eq!(code, Some(130), "{shown}");
    assert!(shown.contains("long.mkv") && shown.contains('%'), "{shown}");
    assert!(shown.contains("stopped; long.mp3 was not made"), "{shown}");
    assert_eq!(names(home.path()), ["long.mkv"], "no drafts are left");
}

/// The length of the draft in a folder.
fn draft(folder: &Path) -> Option<u64> {
    let name = names(folder).into_iter().find(|name| name.starts_with(".mp3converter-"))?;
    Some(fs::metadata(folder.join(name)).ok()?.len())
}

/// Sends the program these signals once its draft has so many bytes. `hangup` is what SIGHUP does to it
/// from the start: `default`, or `ignore` as under `nohup`, which may have started the tests too.
async fn signalled(folder: &Path, hangup: &str, arguments: &[&str], bytes: u64, signals: &[Signal]) -> Output {
    let command = program(folder, arguments);
    let mut env = Command::new("env");
    env.arg(format!("--{hangup}-signal=HUP")).arg(command.get_program()).args(arguments).current_dir(folder);
    env.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = env.spawn().expect("it runs");
    // Stays open, and nothing comes.
    let stdin = child.stdin.take();
    eventually(SOON, async || draft(folder).is_some_and(|length| length >= bytes)).await;
    for signal in signals {
        kill_process(Pid::from_child(&child), *signal).expect("sent");
    }
    let output = child.wait_with_output().expect("it ends");
    drop(stdin);
    output
}

/// As by `timeout`, by systemd, or by a terminal that closes.
#[tokio::test]
async fn told_to_end_it_leaves_nothing_behind() {
    let home = tempfile::tempdir().expect("a folder");
    media::film(&home.path().join("long.mkv"), 300.0, &media::Film::default()).expect("a film");
    let arguments = ["convert", "long.mkv", "long.mp3"];
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129)] {
        let output = signalled(home.path(), "default", &arguments, 1, &[signal]).await;
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(said(&output).contains("stopped; long.mp3 was not made"), "{}", said(&output));
        assert_eq!(names(home.path()), ["long.mkv"], "no drafts are left");
    }
    let output = signalled(home.path(), "ignore", &arguments, 1, &[Signal::HUP]).await;
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(names(home.path()), ["long.mkv", "long.mp3"]);
}

#[tokio::test]
async fn standard_input_without_an_end_does_not_hold_it_up() {
    let home = tempfile::tempdir().expect("a folder");
    for (signals, code) in [(&[Signal::INT, Signal::INT][..], 130), (&[Signal::TERM], 143)] {
        let output = signalled(home.path(), "default", &["convert", "-", "x.mp3"], 0, signals).await;
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(names(home.path()).is_empty(), "no drafts are left");
    }
}

#[test]
fn wrong_words_are_answered_with_the_right_ones() {
    let (home, _) = home();
    for arguments in [&["convert"][..], &["convert", "a"], &["convert", "-q", "2", "-b", "128", "a", "b"], &["fly"]] {
        let output = run(home.path(), arguments, None);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(said(&output).contains("Usage"), "{}", said(&output));
    }
    let output = run(home.path(), &["convert", "--stream", "2", "Ein Film.mp4", "x.mp3"], None);
    assert!(said(&output).contains("no sound track 2: this video has only 1"), "{}", said(&output));
    let output = run(home.path(), &["convert", "--sample-rate", "44.1", "Ein Film.mp4", "x.mp3"], None);
    assert!(said(&output).contains("44100"), "{}", said(&output));
    let output = run(home.path(), &["convert", "-q", "11", "Ein Film.mp4", "x.mp3"], None);
    assert!(said(&output).contains("there is no VBR quality 11"), "{}", said(&output));
    assert_eq!(names(home.path()), ["Ein Film.mp4"]);
}

#[test]
fn accounts_are_handled_at_the_terminal() {
    let home = tempfile::tempdir().expect("a folder");
    let user = |arguments: &[&str], input| run(home.path(), &[&["user"], arguments].concat(), input);
    let output = user(&["add", "Ada@example.com"], None);
    assert!(output.status.success(), "{}", said(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("password: "), "one was made");
    let output = user(&["add", "ben@example.com", "--password-stdin"], Some(b"correct horse\n"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "added: ben@example.com\n", "{}", said(&output));
    for (arguments, input, word) in [
        (&["add", "ADA@example.com"][..], None, "taken"),
        (&["add", "nobody"], None, "not an e-mail address"),
        (&["add", "eve@example.com", "--password-stdin"], Some(&b"short"[..]), "shorter than 8"),
        (&["passwd", "eve@example.com"], None, "eve@example.com has no account"),
    ] {
        let output = user(arguments, input);
        assert!(!output.status.success() && said(&output).contains(word), "{arguments:?}: {}", said(&output));
    }
    assert!(user(&["passwd", "ada@example.com"], None).status.success());
    let output = user(&["list"], None);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ada@example.com\nben@example.com\n");
}

#[test]
fn the_doctor_says_what_is_wrong() {
    let home = tempfile::tempdir().expect("a folder");
    let output = run(home.path(), &["doctor"], None);
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{report}{}", said(&output));
    for what in ["sound", "data folder", "disk", "address", "accounts", "files", "ledger", "queue", "mail"] {
        assert!(report.lines().any(|line| line.starts_with(&format!("  ok      {what}"))), "{what}: {report}");
    }
    // A folder in the way of one store.
    let data = home.path().join(".local/share/mp3converter");
    fs::remove_dir_all(data.join("videos")).expect("removed");
    File::create(data.join("videos")).expect("made");
    let output = run(home.path(), &["doctor"], None);
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(report.lines().any(|line| line.starts_with("  FAULT   files")), "{report}");
}

/// Half a product is none: what cannot run ends the rest, and says so.
#[test]
fn a_service_that_fails_ends_the_program() {
    let home = tempfile::tempdir().expect("a folder");
    let output = program(home.path(), &[]).env("AMQP_URL", "sqlite:/no/such/folder/q.db").output().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("failed") && said(&output).contains("/no/such/folder/q.db"), "{}", said(&output));
    let output = program(home.path(), &["serve"]).envs([("LEASE", "1s"), ("AMQP_URL", "http://x")]).output();
    let output = output.expect("it ends");
    assert_eq!(output.status.code(), Some(64), "{}", said(&output));
    assert!(said(&output).contains("2 faults"), "{}", said(&output));
}
