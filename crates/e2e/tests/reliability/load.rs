//! A crowd of clients that all upload at once, over links of one speed: every answer is honest,
//! nothing accepted is lost, nobody is served at another's cost, and memory stays flat.
//!
//! Most clients are users of their own. One in five belongs to one greedy user, who joins when a
//! quarter of the time is over, has more uploads than `MAX_UPLOADS_PER_USER` allows, and does not
//! wait for as long as told.
//!
//! `LOAD_CLIENTS` and `LOAD_MINUTES` make it larger and longer.

mod clients;
mod figures;
mod memory;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use e2e::{App, Checker, Due, Product, Setup, User};
use futures_util::{
    future::join_all,
    stream::{self, StreamExt},
};
use testkit::eventually;

use self::{
    clients::{Client, Film, Manners, Tally},
    figures::{median, quantile},
    memory::Watch,
};

/// Uploads a second that two cores can also convert, in a development build.
const PACE: u32 = 8;
/// No upload is quicker than this, or few clients would be uploading at once.
const QUICKEST: Duration = Duration::from_secs(4);
/// What the greedy user may have at once.
const PLACES: usize = 4;
/// By how much the resident set of a service may grow between the first and the last third of the
/// crowded time: room for an allocator's fragments, and none for what grows with each upload.
const GROWTH: f64 = 1.3;
/// Beside it, in bytes: what a few larger buffers at the same time make of a small program.
const SLACK: f64 = 6e6;

struct Plan {
    clients: u32,
    time: Duration,
    /// How long an upload takes by its link.
    link: Duration,
}

impl Plan {
    fn from_env() -> Self {
        let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u32>().expect(name));
        let clients = number("LOAD_CLIENTS").unwrap_or(60);
        let time = number("LOAD_MINUTES").map_or(Duration::from_secs(16), |minutes| Duration::from_secs(60) * minutes);
        Self { clients, time, link: (Duration::from_secs(1) * clients / PACE).max(QUICKEST) }
    }

    /// Clients of the greedy user.
    fn greedy(&self) -> u32 {
        (self.clients / 5).max(2 * PLACES as u32)
    }
}

/// As it is shipped, where tests are usually impatient.
fn env() -> Vec<(&'static str, String)> {
    let places = PLACES.to_string();
    let env = [
        ("MAX_UPLOADS_PER_USER", places.as_str()),
        ("REQUESTS_PER_MINUTE", "3000"),
        ("REQUESTS_PER_MINUTE_AND_ADDRESS", "30000"),
        ("LEASE", "60s"),
        ("RECONCILE_INTERVAL", "10s"),
    ];
    env.map(|(name, value)| (name, value.to_owned())).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_is_served_honestly_and_alike() {
    let plan = Plan::from_env();
    let app = App::start_with(Setup { env: env(), converters: Some(2), ..Setup::default() }).await;
    let films: Arc<[Film]> = clients::films(&app).into();
    // A log-in costs a core some time, on purpose: a few at once.
    let users: Vec<User> = stream::iter(0..=plan.clients - plan.greedy())
        .map(async |n| app.user(&format!("user{n}")).await)
        .buffer_unordered(4)
        .collect()
        .await;
    let (greedy, others) = users.split_last().expect("some users");

    let watch = Watch::start(app.services().into_iter());
    let started = Instant::now();
    let (crowded, over) = (started + plan.time / 4, started + plan.time);
    let client = |number, user: &User, manners| {
        let (user, films) = (user.clone(), films.clone());
        Client { number, user, films, link: plan.link, manners }
    };
    let good = |(number, user)| tokio::spawn(client(number, user, Manners::Good).upload(started, over));
    let others: Vec<_> = others.iter().enumerate().map(good).collect();
    let impatient = |number| tokio::spawn(client(number, greedy, Manners::None).upload(crowded, over));
    let greedy: Vec<_> = (0..plan.greedy() as usize).map(impatient).collect();
    let others: Vec<Tally> = join_all(others).await.into_iter().map(|tally| tally.expect("no panic")).collect();
    let greedy: Tally = join_all(greedy).await.into_iter().map(|tally| tally.expect("no panic")).sum();
    let memory = watch.stop().await;

    let all: Tally = others.iter().cloned().chain([greedy.clone()]).sum();
    println!("{} clients, {} of them of one user, for {:.0?}:", plan.clients, plan.greedy(), started.elapsed());
    figures::print(&all, &greedy, &memory, started.elapsed());

    // Nothing accepted is lost.
    let mut checker = Checker::default();
    for upload in &all.accepted {
        checker.expect(&*upload.id, Due::Mp3(upload.seconds));
    }
    let began = Instant::now();
    let patience = Duration::from_secs(60) + Duration::from_millis(500) * all.accepted.len() as u32;
    let waiting =
        async || app.vhost.contents().await.expect("the broker answers").values().map(|q| q.ready).sum::<u64>();
    eventually(patience, async || waiting().await == 0).await;
    println!("queues empty after another {:.0?}", began.elapsed());
    match checker.check(&app, patience).await {
        Ok(ends) => println!("{ends:?}, 0 lost"),
        Err(wrong) => panic!("{} complaints: {wrong:#?}", wrong.len()),
    }

    // Answers are honest, and nobody is refused at another's cost.
    assert!(all.faults.is_empty(), "{} dishonest answers: {:#?}", all.faults.len(), all.faults);
    let refused: u32 = others.iter().map(|tally| tally.refused(429)).sum();
    assert_eq!(refused, 0, "who has one upload at a time is within all limits");
    assert!(greedy.refused(429) > 0, "{} clients of one user, {PLACES} places", plan.greedy());

    // Equal users get equal shares, and one who wants more has no more than the places allow.
    let rates = |from, to| others.iter().map(|tally| tally.rate(from, to)).collect::<Vec<_>>();
    let (before, shares) = (rates(started, crowded), rates(crowded, over));
    let (least, usual, most) = (quantile(&shares, 0.0), median(&shares), quantile(&shares, 1.0));
    let (taken, before) = (greedy.rate(crowded, over), median(&before));
    println!("uploads a minute of a user: at least {least:.1}, usually {usual:.1}, at most {most:.1}");
    println!("the greedy one: {taken:.1}; the usual one before that one came: {before:.1}");
    assert!(least > 0.5 * usual && most < 2.0 * usual, "unequal shares");
    assert!(taken < PLACES as f64 * 1.5 * usual, "more than the places allow");
    assert!(usual > 0.5 * before, "served at another's cost");

    for (name, growth) in memory.growth(crowded, over) {
        println!("{name}: {:.0} MB, then {:.0} MB", growth.first / 1e6, growth.last / 1e6);
        assert!(growth.last <= growth.first * GROWTH + SLACK, "{name} grows: {growth:?}");
    }
}
