//! Faults of every kind, in an order drawn by lot, while films keep coming in; then peace, and
//! the promise is held against what is there.
//!
//! `NEMESIS_SEED` repeats an order. `NEMESIS_MINUTES` deals the faults again and again for so long;
//! without it each is dealt once.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    time::{Duration, Instant, SystemTime},
};

use e2e::{App, Checker, Due, Heard, Product, Setup, User, Wires};
use futures_util::future::join_all;
use testkit::{Breakage, Mariadb, Proxy, Rabbitmq, load_schema};

use crate::{film, impatient, silent_film};

const CLIENTS: u32 = 4;
/// Uploads in all, at the most.
const UPLOADS: u32 = 20_000;
/// Accepted uploads, in a round of all faults.
const FEWEST: usize = 20;
const PEACE: Duration = Duration::from_secs(150);
/// Beside it, for each upload that was accepted.
const PEACE_EACH: Duration = Duration::from_millis(500);

/// Reproducible chance: SplitMix64 (Steele, Lea and Flood, 2014).
struct Lots(u64);

impl Lots {
    fn draw(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    fn between(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.draw(most - least))
    }

    fn shuffle<T>(&mut self, cards: &mut [T]) {
        for last in (1..cards.len()).rev() {
            cards.swap(last, self.draw(last as u64 + 1) as usize);
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Card {
    Kill(&'static str),
    /// Longer than a lease.
    Freeze(&'static str),
    Restart(&'static str),
    /// Without a chance to say goodbye.
    PowerCut(&'static str),
    /// It answers, and takes no writes.
    StepDown,
    Wire(&'static str, Breakage),
}

const PROGRAMS: [&str; 5] = ["auth", "gateway", "converter", "converter", "notification"];
const SERVERS: [&str; 3] = ["MariaDB", "MongoDB", "RabbitMQ"];
const WIRES: [&str; 4] = ["MariaDB", "MongoDB", "RabbitMQ", "SMTP"];
const BREAKAGES: [Breakage; 5] = [
    Breakage::Refuse,
    Breakage::Delay(Duration::from_millis(50)),
    Breakage::Blackhole,
    Breakage::SwallowReplies,
    Breakage::CutAfter(10_000),
];

fn deck() -> Vec<Card> {
    let mut deck: Vec<_> = PROGRAMS.map(Card::Kill).into();
    deck.extend(["gateway", "converter", "notification"].map(Card::Freeze));
    deck.extend(SERVERS.map(Card::Restart));
    deck.extend(SERVERS.map(Card::PowerCut));
    deck.push(Card::StepDown);
    deck.extend(WIRES.iter().flat_map(|wire| BREAKAGES.map(|how| Card::Wire(wire, how))));
    deck
}

impl Card {
    fn kind(self) -> String {
        match self {
            Self::Kill(what) => format!("kill -9 of {what}"),
            Self::Freeze(what) => format!("SIGSTOP of {what} past the lease"),
            Self::Restart(what) => format!("restart of {what}"),
            Self::PowerCut(what) => format!("kill -9 of {what}"),
            Self::StepDown => "step-down of MongoDB".to_owned(),
            Self::Wire(what, how) => {
                let how = format!("{how:?}");
                format!("wire to {what}: {}", how.split('(').next().unwrap_or_default())
            }
        }
    }
}

struct World {
    app: App,
    mariadb: Mariadb,
    rabbitmq: Rabbitmq,
}

impl World {
    async fn start() -> Self {
        let (mariadb, rabbitmq) = tokio::join!(Mariadb::start(), Rabbitmq::start());
        let (mariadb, rabbitmq) = (mariadb.expect("MariaDB"), rabbitmq.expect("RabbitMQ"));
        let mysql = mariadb.database().await.expect("a database");
        load_schema(&mysql).await.expect("the schema");
        let mut env = impatient();
        // Nothing waits for minutes, and nothing runs out of attempts.
        env.extend([
            ("SWEEP_AGE", "40s".to_owned()),
            // Longer than any freeze.
            ("UPLOAD_DEADLINE", "15s".to_owned()),
            ("RETRY_DELAYS", "1s,1s,1s,2s,2s,2s,3s,3s,3s,3s,3s,3s".to_owned()),
            ("MAIL_RETRY_DELAYS", ["1s"; 60].join(",")),
            ("SMTP_TIMEOUT", "2s".to_owned()),
        ]);
        let broker = Some(rabbitmq.broker().default_vhost());
        let setup = Setup { env, broker, mysql: Some(mysql), wired: true, converters: Some(2), ..Setup::default() };
        let world = Self { app: App::start_with(setup).await, mariadb, rabbitmq };
        let vhost = world.app.vhost.clone();
        let queues = async || vhost.queues().await.expect("the broker answers");
        let on_disk = async || queues().await.iter().all(|queue| world.rabbitmq.knows_quorum_queue(&vhost, queue));
        testkit::eventually(Duration::from_secs(30), on_disk).await;
        world
    }

    fn wire(&self, name: &str) -> &Proxy {
        let Wires { mysql, mongodb, rabbitmq, smtp } = self.app.wires.as_ref().expect("wired");
        match name {
            "MariaDB" => mysql,
            "MongoDB" => mongodb,
            "RabbitMQ" => rabbitmq,
            _ => smtp,
        }
    }

    async fn play(&mut self, card: Card, lots: &mut Lots) {
        match card {
            Card::Kill(program) => {
                let one = lots.draw(self.app.converters.len() as u64) as usize;
                let program =
                    if program == "converter" { &mut self.app.converters[one] } else { self.app.program(program) };
                program.kill();
                tokio::time::sleep(lots.between(10, 1_500)).await;
                program.relaunch();
            }
            Card::Freeze(program) => {
                let program = self.app.program(program);
                program.signal(libc::SIGSTOP);
                tokio::time::sleep(lots.between(5_500, 7_000)).await;
                program.signal(libc::SIGCONT);
            }
            Card::Restart(server) => {
                match server {
                    "MariaDB" => self.mariadb.stop().await.expect("stops"),
                    "MongoDB" => self.app.mongod.stop().await.expect("stops"),
                    _ => self.rabbitmq.stop().await.expect("stops"),
                }
                self.bring_back(server).await;
            }
            Card::PowerCut(server) => {
                match server {
                    "MariaDB" => self.mariadb.kill(),
                    "MongoDB" => self.app.mongod.kill(),
                    _ => self.rabbitmq.kill(),
                }
                self.bring_back(server).await;
            }
            Card::StepDown => self.app.mongod.step_down().await.expect("steps down"),
            Card::Wire(name, how) => {
                self.wire(name).break_it(how);
                tokio::time::sleep(lots.between(300, 2_500)).await;
                self.wire(name).mend();
                // What has lost bytes would stay silent for as long as its ends are patient.
                self.wire(name).cut();
            }
        }
    }

    async fn bring_back(&mut self, server: &str) {
        match server {
            "MariaDB" => self.mariadb.restart().await.expect("starts again"),
            "MongoDB" => self.app.mongod.restart().await.expect("starts again"),
            _ => self.rabbitmq.restart().await.expect("starts again"),
        }
    }

    /// All that has died is alive again.
    async fn peace(&mut self) {
        let App { auth, gateway, converters, notification, .. } = &mut self.app;
        for program in [auth, gateway, notification].into_iter().chain(converters) {
            if !program.is_running() {
                program.relaunch();
            }
            program.ready().await;
        }
    }
}

/// What the clients have done.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    sent: AtomicU32,
    accepted: Mutex<Vec<(String, Due)>>,
    /// What none of them should have heard.
    wrong: Mutex<Vec<String>>,
}

/// Sends films, one after the other, for as long as it is told to.
async fn client(user: User, films: Vec<(PathBuf, Due)>, load: Arc<Load>, mut lots: Lots) {
    while !load.over.load(SeqCst) && load.sent.fetch_add(1, SeqCst) < UPLOADS {
        let (film, due) = &films[lots.draw(films.len() as u64) as usize];
        match user.try_submit(film).await {
            Heard::Accepted(id) => load.accepted.lock().expect("no panic").push((id, *due)),
            Heard::Wrong(what) => load.wrong.lock().expect("no panic").push(what),
            Heard::Later | Heard::Nothing => {}
        }
        tokio::time::sleep(lots.between(200, 1_200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_under_faults_of_every_kind() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let seed = number("NEMESIS_SEED").unwrap_or(now);
    let minutes = number("NEMESIS_MINUTES").unwrap_or(0);
    println!("NEMESIS_SEED={seed}");
    let mut lots = Lots(seed);
    let mut world = World::start().await;
    let films = [1.0, 2.0, 20.0].map(|seconds| (film(&world.app, seconds), Due::Mp3(seconds)));
    let films: Vec<_> = films.into_iter().chain([(silent_film(&world.app), Due::Failure)]).collect();
    let load = Arc::<Load>::default();
    let mut clients = Vec::new();
    for n in 0..CLIENTS {
        let user = world.app.user(&format!("user{n}")).await;
        clients.push(tokio::spawn(client(user, films.clone(), load.clone(), Lots(seed ^ u64::from(n) << 32))));
    }

    let (mut dealt, mut decks) = (BTreeMap::<String, u32>::new(), 0);
    let started = Instant::now();
    loop {
        let mut cards = deck();
        lots.shuffle(&mut cards);
        decks += 1;
        for card in cards {
            eprintln!("{:>7.1?}  {}", started.elapsed(), card.kind());
            *dealt.entry(card.kind()).or_default() += 1;
            world.play(card, &mut lots).await;
            tokio::time::sleep(lots.between(50, 500)).await;
        }
        if started.elapsed() >= Duration::from_secs(60 * minutes) {
            break;
        }
    }
    load.over.store(true, SeqCst);
    join_all(clients).await;
    world.peace().await;

    let mut checker = Checker::giving_up_allowed();
    for (id, due) in load.accepted.lock().expect("no panic").drain(..) {
        checker.expect(id, due);
    }
    let began = Instant::now();
    let patience = PEACE + PEACE_EACH * checker.accepted() as u32;
    let checked = checker.check(&world.app, patience).await;
    println!("{} faults in {:.0?}:", dealt.values().sum::<u32>(), started.elapsed());
    for (kind, count) in &dealt {
        println!("{count:>5}  {kind}");
    }
    let (sent, accepted) = (load.sent.load(SeqCst), checker.accepted());
    println!("{sent} uploads, {accepted} accepted, at rest after {:.0?}", began.elapsed());
    let ends = match checked {
        Ok(ends) => ends,
        Err(wrong) => panic!("NEMESIS_SEED={seed}: {} complaints: {wrong:#?}", wrong.len()),
    };
    println!("{ends:?}, 0 lost");
    let wrong = std::mem::take(&mut *load.wrong.lock().expect("no panic"));
    assert!(wrong.is_empty(), "NEMESIS_SEED={seed}: clients heard {wrong:#?}");
    // Nothing is lost where nothing is done, either.
    let enough = accepted >= FEWEST * decks && ends.done >= accepted / 2 && ends.given_up <= 1 + accepted / 20;
    assert!(enough, "NEMESIS_SEED={seed}: {accepted} accepted in {decks} rounds: {ends:?}");
}
