//! Those who upload, and what they were told.

use std::{
    collections::BTreeMap,
    iter::Sum,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use e2e::{Product, User};
use futures_util::stream::{self, StreamExt};
use reqwest::{
    Body, Method, Response,
    multipart::{Form, Part},
};
use testkit::media;

/// A film leaves in so many pieces, with a pause before each.
const PIECES: usize = 16;
/// Nothing that takes longer, beside the link's own time, is an answer.
const HANG: Duration = Duration::from_secs(60);
/// All that someone without manners waits after a refusal.
const IMPATIENCE: Duration = Duration::from_millis(100);

pub struct Film {
    name: &'static str,
    seconds: f64,
    bytes: Bytes,
}

/// Little sound, so that it can be converted as fast as it comes, behind pictures of many bytes or of few.
pub fn films(product: &impl Product) -> Vec<Film> {
    let films = [
        ("small.mp4", 1.0, vec![]),
        ("middle.mkv", 1.0, vec!["-qp", "0"]),
        // Not compressed at all.
        ("large.mkv", 1.5, vec!["-c:v", "rawvideo"]),
    ];
    let make = |(name, seconds, arguments)| {
        let path = product.path(name);
        media::film(&path, seconds, &media::Film { arguments, ..media::Film::default() }).expect("a film");
        Film { name, seconds, bytes: std::fs::read(path).expect("a film").into() }
    };
    films.map(make).into()
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manners {
    /// Waits for as long as `Retry-After` says.
    Good,
    None,
}

pub struct Client {
    /// Of all clients: not all send the same film at the same time.
    pub number: usize,
    pub user: User,
    pub films: Arc<[Film]>,
    /// How long a film takes through its link, small or large.
    pub link: Duration,
    pub manners: Manners,
}

/// An upload that was accepted.
#[derive(Clone, Debug)]
pub struct Accepted {
    pub id: String,
    pub begun: Instant,
    pub ended: Instant,
    pub seconds: f64,
    pub bytes: usize,
    /// From the last byte to the answer.
    pub waited: Duration,
}

/// What one was told, or several were.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub sent: u32,
    pub accepted: Vec<Accepted>,
    /// Honest refusals, by status.
    pub refusals: BTreeMap<u16, u32>,
    /// Whatever else came instead of an answer.
    pub faults: Vec<String>,
}

impl Tally {
    pub fn refused(&self, status: u16) -> u32 {
        self.refusals.get(&status).copied().unwrap_or_default()
    }

    /// Accepted uploads a minute between two points in time, each spread over the time that it took.
    pub fn rate(&self, from: Instant, to: Instant) -> f64 {
        let within = self.accepted.iter().map(|upload| {
            let inside = upload.ended.min(to).saturating_duration_since(upload.begun.max(from));
            inside.as_secs_f64() / (upload.ended - upload.begun).as_secs_f64()
        });
        within.sum::<f64>() / (to - from).as_secs_f64() * 60.0
    }
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), |mut sum, tally| {
            sum.sent += tally.sent;
            sum.accepted.extend(tally.accepted);
            for (status, count) in tally.refusals {
                *sum.refusals.entry(status).or_default() += count;
            }
            sum.faults.extend(tally.faults);
            sum
        })
    }
}

impl Client {
    /// Sends one film after the other.
    pub async fn upload(self, from: Instant, until: Instant) -> Tally {
        tokio::time::sleep_until(from.into()).await;
        let mut tally = Tally::default();
        for n in 0.. {
            if Instant::now() >= until {
                break;
            }
            let film = &self.films[(self.number + n) % self.films.len()];
            tally.sent += 1;
            let wait = self.send(film, &mut tally).await;
            tokio::time::sleep(if self.manners == Manners::Good { wait } else { wait.min(IMPATIENCE) }).await;
        }
        tally
    }

    /// Returns how long to wait before the next one.
    async fn send(&self, film: &Film, tally: &mut Tally) -> Duration {
        let (sent, begun) = (Arc::new(OnceLock::new()), Instant::now());
        let part =
            Part::stream_with_length(slowly(film.bytes.clone(), self.link, sent.clone()), film.bytes.len() as u64);
        let form = Form::new().part("file", part.file_name(film.name));
        let request = self.user.request(Method::POST, "/v1/conversions").multipart(form);
        match request.timeout(self.link + HANG).send().await {
            Err(error) => tally.faults.push(format!("after {:.1?}: {error:?}", begun.elapsed())),
            Ok(answer) if answer.status() == 202 => {
                let waited = sent.get().map_or(Duration::ZERO, Instant::elapsed);
                match id(&answer) {
                    Some(id) => {
                        let (seconds, bytes) = (film.seconds, film.bytes.len());
                        tally.accepted.push(Accepted { id, begun, ended: Instant::now(), seconds, bytes, waited });
                    }
                    None => tally.faults.push(format!("accepted, and no place named: {answer:?}")),
                }
            }
            Ok(answer) => match honest(&answer) {
                Some(after) => {
                    *tally.refusals.entry(answer.status().as_u16()).or_default() += 1;
                    return after;
                }
                None => tally.faults.push(format!("{answer:?}")),
            },
        }
        Duration::ZERO
    }
}

/// A film through a link that takes so long for it; notes when the last piece left.
fn slowly(bytes: Bytes, link: Duration, sent: Arc<OnceLock<Instant>>) -> Body {
    let size = bytes.len().div_ceil(PIECES);
    let pieces = (0..PIECES).map(move |n| bytes.slice(n * size..bytes.len().min((n + 1) * size)));
    Body::wrap_stream(stream::iter(pieces.enumerate()).then(move |(n, piece)| {
        let sent = sent.clone();
        async move {
            tokio::time::sleep(link / PIECES as u32).await;
            if n + 1 == PIECES {
                let _ = sent.set(Instant::now());
            }
            std::io::Result::Ok(piece)
        }
    }))
}

fn id(answer: &Response) -> Option<String> {
    let place = answer.headers().get("location")?.to_str().ok()?;
    place.strip_prefix("/v1/conversions/").map(str::to_owned)
}

/// A refusal that says when to come back: when.
fn honest(answer: &Response) -> Option<Duration> {
    let is_honest = matches!(answer.status().as_u16(), 429 | 503);
    let after = answer.headers().get("retry-after").filter(|_| is_honest)?;
    after.to_str().ok()?.parse().ok().map(Duration::from_secs)
}
