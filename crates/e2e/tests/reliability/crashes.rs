//! A crash in every gap between two steps: for each of its points the process dies there, starts
//! again, and the promise holds.

use std::{
    collections::BTreeSet,
    os::unix::process::ExitStatusExt,
    path::Path,
    time::{Duration, Instant},
};

use common::fault::Point;
use e2e::{AllInOne, App, Checker, Due, Product, Setup, User, classic};
use reqwest::{
    Method,
    multipart::{Form, Part},
};
use testkit::eventually;

use crate::{LONG, SOON, film, impatient, long_film, silent_film};

const SECONDS: f64 = 2.0;

/// How a program comes to pass a point.
#[derive(Clone, Copy)]
struct Way {
    program: &'static str,
    /// Which passing it is, where all programs are one.
    nth: u32,
    deed: Deed,
}

#[derive(Clone, Copy, PartialEq)]
enum Deed {
    Film,
    SilentFilm,
    /// One too many: the first is given up.
    TwoFilms,
    Cancel,
    Retry,
    Delete,
    /// The worker is told to stop in the middle of a film.
    Stop,
    /// The broker loses the message of a film, and no worker is there.
    Loss,
    /// The broker loses the news of a film's end, and no notification is there.
    NewsLoss,
    /// The worker dies when it has written an MP3, whose owner then cancels.
    CancelWritten,
    /// A film that has to wait for another of its owner's.
    Wait,
    /// Films are not kept any longer.
    ExpireVideo,
    /// Nothing is kept any longer.
    ExpireRecord,
    /// A film of a gateway that keeps no ledger.
    Classic,
    /// Nothing but time, after a crash at that point.
    After(Point),
}

fn ways(point: Point) -> Vec<Way> {
    use Point::*;
    let way = |program, deed| Way { program, nth: 1, deed };
    match point {
        Announced | Received | Accepted | Published | Queued => vec![way("gateway", Deed::Film)],
        Chunked => vec![way("gateway", Deed::Film), Way { nth: 2, ..way("converter", Deed::Film) }],
        Abandoned | Emptied => vec![way("gateway", Deed::TwoFilms)],
        Cancelled => vec![way("gateway", Deed::Cancel)],
        Retried => vec![way("gateway", Deed::Retry)],
        Deleting | VideoRemoved | Mp3Removed | Remembered | Unfiled => vec![way("gateway", Deed::Delete)],
        LetGo => vec![way("gateway", Deed::Wait)],
        ClaimedStored => vec![way("gateway", Deed::After(Accepted))],
        ClaimedUpload => vec![way("gateway", Deed::After(Received))],
        ClaimedLease => vec![way("gateway", Deed::After(Leased))],
        ClaimedUntold | Retold => vec![way("gateway", Deed::After(Done))],
        ClaimedDeleting => vec![way("gateway", Deed::After(Deleting))],
        ClaimedQueued => vec![way("gateway", Deed::Loss)],
        ClaimedUnmailed | Remailed => vec![way("gateway", Deed::NewsLoss)],
        ClaimedUntidy | Tidied => vec![way("gateway", Deed::CancelWritten)],
        ClaimedVideo | VideoExpired => vec![way("gateway", Deed::ExpireVideo)],
        ClaimedRecord => vec![way("gateway", Deed::ExpireRecord)],
        Recorded => vec![way("converter", Deed::Classic)],
        Leased | Written | Done | Told => vec![way("converter", Deed::Film)],
        Failed => vec![way("converter", Deed::SilentFilm)],
        Released | Moved => vec![way("converter", Deed::Stop)],
        Judged => vec![way("converter", Deed::Film), Way { nth: 2, ..way("notification", Deed::Film) }],
        MailDue | MailSent => vec![way("notification", Deed::Film)],
        // It leaves a letter for the operator, whom `post` plays.
        GivenUp => vec![],
    }
}

/// What the gateway waits longer for until it is armed: what it is to die of must not be done before, nor must a
/// second copy of a message come that is to be lost.
fn later(point: Point) -> &'static [(&'static str, &'static str)] {
    use Point::*;
    match point {
        ClaimedUntold | Retold | ClaimedUnmailed | Remailed => &[("RENOTIFY_AFTER", "60s")],
        ClaimedQueued => &[("REPUBLISH_STORED_AFTER", "60s"), ("REPUBLISH_QUEUED_AFTER", "60s")],
        LetGo => &[("MAX_QUEUED_PER_USER", "1"), ("REPUBLISH_QUEUED_AFTER", "120s")],
        _ => &[],
    }
}

/// What it does sooner once it is armed. Before, an upload might be given up, or an MP3 swept away, that is still
/// being written.
fn sooner(point: Point) -> &'static [(&'static str, &'static str)] {
    use Point::*;
    match point {
        ClaimedUntidy | Tidied => &[("SWEEP_AGE", "1s")],
        ClaimedUnmailed | Remailed => &[("REMAIL_AFTER", "2s")],
        ClaimedVideo | VideoExpired => &[("VIDEO_TTL", "0s")],
        ClaimedRecord => &[("MP3_TTL", "0s")],
        _ => &[],
    }
}

/// What stands in [`later`] and [`sooner`] and is not usually set.
const UNUSUAL: [&str; 3] = ["MAX_QUEUED_PER_USER", "VIDEO_TTL", "MP3_TTL"];

/// With all in one process: some points cannot be come by while the worker is up, a message is moved in one step,
/// and there is no gateway but its own.
fn is_for_parts(point: Point) -> bool {
    use Point::*;
    matches!(
        point,
        Cancelled
            | LetGo
            | ClaimedQueued
            | ClaimedLease
            | ClaimedUntidy
            | Tidied
            | ClaimedUnmailed
            | Remailed
            | Recorded
            | Moved
    )
}

/// What happens from outside of the product.
trait Outside {
    /// The broker loses the messages of a queue.
    async fn lose(&self, queue: &str);
    /// A gateway that keeps no ledger has taken a film in.
    async fn send(&self, film: &Path);
}

impl Outside for App {
    async fn lose(&self, queue: &str) {
        self.vhost.purge(queue).await.expect("the messages are lost");
    }

    async fn send(&self, film: &Path) {
        let video_fid = classic::put(self, film).await;
        classic::publish(&classic::channel(self).await, video_fid, &[]).await;
    }
}

impl Outside for AllInOne {
    async fn lose(&self, _queue: &str) {
        unreachable!("its worker is always there");
    }

    async fn send(&self, _film: &Path) {
        unreachable!("nobody else has its queue");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_services_may_die_at_every_point() {
    let app = App::start_with(Setup { env: impatient(), ..Setup::default() }).await;
    let mut rig = Rig::new(app, false).await;
    for &point in Point::ALL {
        for way in ways(point) {
            rig.survives(point, way).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_in_one_may_die_at_every_point() {
    let app = AllInOne::start_with(Setup { env: impatient(), ..Setup::default() }).await;
    let mut rig = Rig::new(app, true).await;
    for &point in Point::ALL.iter().filter(|point| !is_for_parts(**point)) {
        for way in ways(point) {
            rig.survives(point, way).await;
        }
    }
}

struct Rig<P> {
    product: P,
    one_process: bool,
    ada: User,
    checker: Checker,
    /// Records that are to be there.
    known: BTreeSet<String>,
    dead: BTreeSet<&'static str>,
}

impl<P: Product + Outside> Rig<P> {
    async fn new(product: P, one_process: bool) -> Self {
        let ada = product.user("ada").await;
        let (checker, known, dead) = Default::default();
        Self { product, one_process, ada, checker, known, dead }
    }

    async fn survives(&mut self, point: Point, way: Way) {
        let started = Instant::now();
        let mut chain = vec![(point, way)];
        while let Deed::After(before) = chain[0].1.deed {
            chain.insert(0, (before, ways(before)[0]));
        }
        let (first, first_way) = chain[0];
        let deed = first_way.deed;
        let refused = matches!(first, Point::Announced | Point::Received)
            || (first == Point::Chunked && way.program == "gateway");
        let later = later(point);
        if !later.is_empty() {
            self.wait_as_usual_but_for(later);
            self.product.program("gateway").restart().await;
        }
        let sooner = if refused { &[("UPLOAD_DEADLINE", "3s")] } else { sooner(point) };
        self.act(first, first_way).await;
        // From its next start on.
        self.wait_as_usual_but_for(sooner);
        if matches!(deed, Deed::Loss | Deed::NewsLoss | Deed::CancelWritten | Deed::ExpireVideo | Deed::ExpireRecord) {
            self.arm(first, first_way).relaunch();
        }
        self.dies(first, first_way).await;
        for &(point, way) in &chain[1..] {
            self.arm(point, way).relaunch();
            self.dies(point, way).await;
        }
        for program in std::mem::take(&mut self.dead) {
            let program = self.product.program(program);
            if !program.is_running() {
                program.relaunch();
            }
            program.ready().await;
        }
        // What was accepted though nobody heard of it; and what was not must be gone.
        let due = match deed {
            Deed::Film | Deed::Loss | Deed::NewsLoss | Deed::Classic => Some(Due::Mp3(SECONDS)),
            Deed::SilentFilm => Some(Due::Failure),
            _ => None,
        };
        let count = self.known.len() + usize::from(due.is_some() && !refused);
        let records = eventually(SOON, async || {
            let state = self.product.state().await.map_err(|error| format!("{error:#}"))?;
            let ids: BTreeSet<_> = state.records.into_iter().map(|record| record.id).collect();
            if ids.len() == count && ids.is_superset(&self.known) {
                Ok(ids)
            } else {
                Err(format!("{ids:?}, not {count}"))
            }
        })
        .await;
        for (id, due) in records.difference(&self.known).zip(due) {
            self.checker.expect(id, due);
        }
        self.known = records;
        let checked = self.checker.check(&self.product, SOON * 2).await;
        let wrong = checked.err().unwrap_or_default();
        assert!(wrong.is_empty(), "after a crash of {} at {}: {wrong:#?}", way.program, point.name());
        if !sooner.is_empty() {
            self.wait_as_usual_but_for(&[]);
            self.product.program("gateway").restart().await;
        }
        eprintln!("{:>7.1?}  {} at {}", started.elapsed(), way.program, point.name());
    }

    /// Has somebody do what the program will die of at the point.
    async fn act(&mut self, point: Point, way: Way) {
        match way.deed {
            Deed::Film | Deed::SilentFilm => {
                self.start_armed(point, way).await;
                self.ada.try_submit(&self.film(way.deed)).await;
            }
            Deed::TwoFilms => {
                self.start_armed(point, way).await;
                let part = || Part::bytes(std::fs::read(self.film(Deed::Film)).expect("a film")).file_name("a.mkv");
                let form = Form::new().part("one", part()).part("two", part());
                let _ = self.ada.request(Method::POST, "/upload").multipart(form).send().await;
            }
            Deed::Stop => {
                self.start_armed(point, way).await;
                let id = self.submit(&long_film(&self.product), Due::Mp3(LONG)).await;
                eventually(SOON, async || self.ada.conversion(&id).await["state"] == "converting").await;
                self.product.program(way.program).signal(libc::SIGTERM);
            }
            Deed::Loss => {
                self.product.program("converter").kill();
                self.dead.insert("converter");
                let film = self.film(Deed::Film);
                let id = self.ada.submit(&film).await;
                eventually(SOON, async || self.ada.conversion(&id).await["state"] == "queued").await;
                self.product.lose("video").await;
            }
            Deed::NewsLoss => {
                self.product.program("notification").kill();
                self.dead.insert("notification");
                let id = self.ada.submit(&self.film(Deed::Film)).await;
                self.ada.outcome(&id).await;
                let told = async || {
                    let state = self.product.state().await.expect("it can be looked at");
                    let told = state.records.iter().any(|record| record.id == id && record.told);
                    told && state.queues.get("mp3") == Some(&1)
                };
                eventually(SOON, told).await;
                self.product.lose("mp3").await;
            }
            Deed::Cancel => {
                self.product.program("converter").kill();
                self.dead.insert("converter");
                let id = self.submit(&self.film(Deed::Film), Due::Nothing).await;
                self.start_armed(point, way).await;
                self.ask(Method::POST, &format!("/v1/conversions/{id}/cancel")).await;
            }
            Deed::CancelWritten => {
                let worker = Way { program: "converter", ..way };
                self.start_armed(Point::Written, worker).await;
                let id = self.submit(&self.film(Deed::Film), Due::Nothing).await;
                self.dies(Point::Written, worker).await;
                assert_eq!(self.ada.post(&format!("/v1/conversions/{id}/cancel")).await.status(), 200);
            }
            Deed::Retry => {
                let id = self.submit(&self.film(Deed::SilentFilm), Due::Failure).await;
                self.ada.outcome(&id).await;
                self.start_armed(point, way).await;
                self.ask(Method::POST, &format!("/v1/conversions/{id}/retry")).await;
            }
            Deed::Delete => {
                let id = self.submit(&self.film(Deed::Film), Due::Mp3(SECONDS)).await;
                self.ada.outcome(&id).await;
                // Its mail shall be out before it goes.
                self.checker.check(&self.product, SOON).await.expect("in order so far");
                self.start_armed(point, way).await;
                self.checker.forget(&id);
                self.known.remove(&id);
                self.ask(Method::DELETE, &format!("/v1/conversions/{id}")).await;
            }
            Deed::Wait => {
                self.start_armed(point, way).await;
                let id = self.submit(&long_film(&self.product), Due::Mp3(LONG)).await;
                eventually(SOON, async || self.ada.conversion(&id).await["state"] == "converting").await;
                // It takes no other film until one stands in the line, and one waits for that.
                self.product.program("converter").signal(libc::SIGSTOP);
                self.submit(&self.film(Deed::Film), Due::Mp3(SECONDS)).await;
                let id = self.submit(&self.film(Deed::Film), Due::Mp3(SECONDS)).await;
                assert_eq!(self.ada.conversion(&id).await["state"], "stored");
                self.product.program("converter").signal(libc::SIGCONT);
            }
            Deed::ExpireVideo | Deed::ExpireRecord => {
                let id = self.submit(&self.film(Deed::Film), Due::Mp3(SECONDS)).await;
                self.ada.outcome(&id).await;
                self.checker.check(&self.product, SOON).await.expect("in order so far");
                if way.deed == Deed::ExpireRecord {
                    self.checker = Checker::default();
                    self.known.clear();
                }
            }
            Deed::Classic => {
                self.start_armed(point, way).await;
                self.product.send(&self.film(Deed::Film)).await;
            }
            Deed::After(_) => unreachable!("it comes after another"),
        }
    }

    fn film(&self, deed: Deed) -> std::path::PathBuf {
        if deed == Deed::SilentFilm { silent_film(&self.product) } else { film(&self.product, SECONDS) }
    }

    async fn submit(&mut self, film: &std::path::Path, due: Due) -> String {
        let id = self.ada.submit(film).await;
        self.checker.expect(&id, due);
        self.known.insert(id.clone());
        id
    }

    /// Asks for what the program will die of; there is no answer.
    async fn ask(&self, method: Method, path: &str) {
        let request = self.ada.request(method, path).timeout(Duration::from_secs(10));
        assert!(request.send().await.is_err(), "it died before it could answer");
    }

    fn arm(&mut self, point: Point, way: Way) -> &mut e2e::Service {
        let nth = if self.one_process { way.nth } else { 1 };
        let program = self.product.program(way.program);
        program.set("CRASH_AT", Some(&format!("{}:{nth}", point.name())));
        program
    }

    /// Has the gateway, from its next start on, wait as long as usual for all but some things.
    fn wait_as_usual_but_for(&mut self, others: &[(&str, &str)]) {
        let gateway = self.product.program("gateway");
        for name in UNUSUAL {
            gateway.set(name, None);
        }
        for (name, value) in impatient() {
            gateway.set(name, Some(&value));
        }
        for (name, value) in others {
            gateway.set(name, Some(value));
        }
    }

    async fn start_armed(&mut self, point: Point, way: Way) {
        self.arm(point, way).restart().await;
    }

    async fn dies(&mut self, point: Point, way: Way) {
        self.dead.insert(way.program);
        let program = self.product.program(way.program);
        let ended = program.ended(SOON).await;
        assert_eq!(ended.signal(), Some(libc::SIGABRT), "{}", program.log());
        assert!(program.log().contains(&format!("died at {}", point.name())));
        program.set("CRASH_AT", None);
    }
}
