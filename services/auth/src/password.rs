//! Passwords: argon2id hashes, and the plain text that old installations left behind.

use std::{
    net::IpAddr,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, anyhow};
use argon2::{
    Algorithm, Params,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use common::{Error, Result, client::network, error::Limit, places::Places};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use crate::hasher::Hasher;

/// Longer passwords are refused before any work is done for them.
pub const LONGEST: usize = 1_024;
pub const SHORTEST: usize = 8;

/// What became of a try.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The right password, and what to store instead of what is stored now, if anything.
    Right {
        rewrite: Option<String>,
    },
    Wrong,
}

/// Passwords that may wait for each core: more than it can check before whoever sent them stops
/// waiting would be work for nobody.
const WAITING: usize = 64;

/// Of them, from one client's address: nobody has all places to himself.
const SHARE: usize = 4;

/// Hashes and checks passwords, on threads of their own and as many at once as there are
/// cores: each takes 19 MiB and some 20 ms, which must not be had for free in any number.
/// Some more may wait; who comes when there are too many is refused at once.
pub struct Passwords {
    cores: Arc<Semaphore>,
    /// Those that have no work now. Each holds its 19 MiB, and there are never more than cores.
    hashers: Arc<Mutex<Vec<Hasher>>>,
    /// For those at work and those that wait.
    places: Arc<Semaphore>,
    places_of_clients: Places<IpAddr>,
    /// Checked in the place of a hash that is not there, for the time it takes.
    dummy: Arc<str>,
}

impl Passwords {
    pub async fn new() -> anyhow::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::on_cores(cores, cores * (1 + WAITING)).await
    }

    async fn on_cores(cores: usize, places: usize) -> anyhow::Result<Self> {
        let mut passwords = Self {
            cores: Arc::new(Semaphore::new(cores)),
            hashers: Arc::default(),
            places: Arc::new(Semaphore::new(places)),
            places_of_clients: Places::new(places.div_ceil(SHARE)),
            dummy: Arc::from(""),
        };
        passwords.dummy = passwords.hash("nobody's password", None).await?.into();
        Ok(passwords)
    }

    /// The PHC string to store for a password, given by a client at this address, if it is known.
    pub async fn hash(&self, password: &str, client: Option<IpAddr>) -> Result<String> {
        let password = password.to_owned();
        Ok(self.on_a_core(client, move |hasher| hash(hasher, &password)).await??)
    }

    /// Compares a password with what is stored, or with nothing when there is no such user.
    /// Wrong answers take equally long: a stranger cannot tell who has an account.
    pub async fn check(&self, stored: Option<String>, given: &str, client: Option<IpAddr>) -> Result<Verdict> {
        let (given, dummy) = (given.to_owned(), self.dummy.clone());
        Ok(self.on_a_core(client, move |hasher| check(hasher, stored.as_deref(), &given, &dummy)).await??)
    }

    async fn on_a_core<T: Send + 'static>(
        &self,
        client: Option<IpAddr>,
        work: impl FnOnce(&Hasher) -> T + Send + 'static,
    ) -> Result<T> {
        let share = |client| self.places_of_clients.take(network(client)).ok_or_else(|| self.too_many());
        let share = client.map(share).transpose()?;
        let full = |_| Error::Busy("too many passwords wait to be checked");
        let place = self.places.clone().try_acquire_owned().map_err(full)?;
        let core = self.cores.clone().acquire_owned().await.context("the cores are never closed")?;
        // The permits go along: work whose client has left still occupies its core.
        let hashers = self.hashers.clone();
        let task = tokio::task::spawn_blocking(move || {
            let _permits = (share, place, core);
            let hashers = || hashers.lock().unwrap_or_else(PoisonError::into_inner);
            let hasher = hashers().pop().unwrap_or_default();
            let done = work(&hasher);
            hashers().push(hasher);
            done
        });
        Ok(task.await.context("hashing a password did not end well")?)
    }

    fn too_many(&self) -> Error {
        let (what, quota) = ("too many passwords at once from this address", self.places_of_clients.most());
        Error::Limited(Limit::at_once(what, "passwords", quota, Duration::from_secs(1)))
    }
}

fn check(hasher: &Hasher, stored: Option<&str>, given: &str, dummy: &str) -> anyhow::Result<Verdict> {
    let Some(stored) = stored else {
        verify(hasher, &parse(dummy).context("the dummy is a hash")?, given);
        return Ok(Verdict::Wrong);
    };
    if let Some(phc) = parse(stored) {
        if !verify(hasher, &phc, given) {
            return Ok(Verdict::Wrong);
        }
        let rewrite = if is_current(&phc) { None } else { Some(hash(hasher, given)?) };
        return Ok(Verdict::Right { rewrite });
    }
    // An old row in plain text. No password at all is no password that fits.
    if !stored.is_empty() && bool::from(stored.as_bytes().ct_eq(given.as_bytes())) {
        return Ok(Verdict::Right { rewrite: Some(hash(hasher, given)?) });
    }
    verify(hasher, &parse(dummy).context("the dummy is a hash")?, given);
    Ok(Verdict::Wrong)
}

/// A complete argon2 hash; anything else, however it begins, was somebody's plain text.
fn parse(stored: &str) -> Option<PasswordHash> {
    let phc = PasswordHash::new(stored).ok()?;
    let complete = phc.salt.is_some() && phc.hash.is_some() && Params::try_from(&phc).is_ok();
    (complete && Algorithm::from_str(phc.algorithm.as_str()).is_ok()).then_some(phc)
}

fn is_current(phc: &PasswordHash) -> bool {
    let cost = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
    phc.algorithm.as_str() == Algorithm::Argon2id.as_str()
        && Params::try_from(phc).is_ok_and(|params| cost(&params) == cost(&Params::default()))
}

fn verify(hasher: &Hasher, phc: &PasswordHash, given: &str) -> bool {
    metrics::counter!("auth_password_hashes_total", "kind" => "check").increment(1);
    hasher.verify_password(given.as_bytes(), phc).is_ok()
}

fn hash(hasher: &Hasher, password: &str) -> anyhow::Result<String> {
    metrics::counter!("auth_password_hashes_total", "kind" => "make").increment(1);
    let phc = hasher.hash_password(password.as_bytes());
    phc.map(|phc| phc.to_string()).map_err(|e| anyhow!("cannot hash a password: {e}"))
}

#[cfg(test)]
mod tests {
    use argon2::{Argon2, Params, password_hash::PasswordHasher};

    use super::{Error, Hasher, Passwords, Verdict, is_current, parse};

    const KEEP: Verdict = Verdict::Right { rewrite: None };

    fn hash(password: &str) -> anyhow::Result<String> {
        super::hash(&Hasher::default(), password)
    }

    fn check(stored: Option<&str>, given: &str, dummy: &str) -> anyhow::Result<Verdict> {
        super::check(&Hasher::default(), stored, given, dummy)
    }

    fn dummy() -> String {
        hash("dummy").expect("a hash")
    }

    fn rewrite(verdict: Verdict) -> String {
        match verdict {
            Verdict::Right { rewrite: Some(hash) } => hash,
            other => panic!("to be rewritten, but: {other:?}"),
        }
    }

    #[test]
    fn a_hash_fits_its_password_only() {
        let stored = hash("correct horse").expect("a hash");
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert_ne!(stored, hash("correct horse").expect("a hash"), "salted");
        assert_eq!(check(Some(&stored), "correct horse", &dummy()).expect("checked"), KEEP);
        assert_eq!(check(Some(&stored), "wrong horse", &dummy()).expect("checked"), Verdict::Wrong);
        assert_eq!(check(Some(&stored), &stored, &dummy()).expect("checked"), Verdict::Wrong);
    }

    #[tokio::test]
    async fn a_flood_is_turned_away_before_it_takes_memory() {
        let passwords = Passwords::on_cores(1, 3).await.expect("made");
        let flood = (0..20).map(|_| passwords.check(None, "guess", None));
        let answers = futures_util::future::join_all(flood).await;
        let checked = answers.iter().filter(|answer| answer.is_ok()).count();
        let refused = answers.iter().filter(|answer| matches!(answer, Err(Error::Busy(_)))).count();
        assert_eq!((checked, refused), (3, 17));
        assert!(passwords.check(None, "guess", None).await.is_ok(), "it is over");
    }

    #[tokio::test]
    async fn one_address_leaves_room_for_others() {
        let passwords = Passwords::on_cores(1, 8).await.expect("made");
        let address = |last| Some(std::net::IpAddr::from([192, 0, 2, last]));
        let flood = (0..20).map(|i| passwords.check(None, "guess", address(if i < 19 { 1 } else { 2 })));
        let mut answers = futures_util::future::join_all(flood).await;
        assert!(answers.pop().is_some_and(|other| other.is_ok()), "another address");
        let checked = answers.iter().filter(|answer| answer.is_ok()).count();
        let refused = answers.iter().filter(|answer| matches!(answer, Err(Error::Limited(_)))).count();
        assert_eq!((checked, refused), (2, 17));
        assert!(passwords.hash("a new one", address(1)).await.is_ok(), "it is over");
    }

    /// Hashes take 19 MiB each, and no more than two are made at once.
    #[cfg(target_os = "linux")]
    #[tokio::test(flavor = "multi_thread")]
    async fn memory_does_not_grow_with_each_password() {
        let passwords = Passwords::on_cores(2, 200).await.expect("made");
        for _ in 0..2 {
            let flood = (0..20).map(|_| passwords.check(None, "guess", None));
            futures_util::future::join_all(flood).await;
        }
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
        let most: u64 = most.trim().trim_end_matches(" kB").parse().expect("a number");
        assert!(most < 100 * 1_024, "{most} kB");
    }

    #[test]
    fn an_unknown_user_fits_nothing_not_even_the_dummy() {
        assert_eq!(check(None, "dummy", &dummy()).expect("checked"), Verdict::Wrong);
    }

    #[test]
    fn plain_text_is_recognised_and_rewritten() {
        for plain in
            ["Admin123", "ümlaut pass", "$argon2id$ is my favourite", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ"]
        {
            let rewritten = rewrite(check(Some(plain), plain, &dummy()).expect("checked"));
            assert_eq!(check(Some(&rewritten), plain, &dummy()).expect("checked"), KEEP, "{plain}");
            assert_eq!(check(Some(plain), "Admin12", &dummy()).expect("checked"), Verdict::Wrong);
        }
        assert_eq!(check(Some(""), "", &dummy()).expect("checked"), Verdict::Wrong);
    }

    #[test]
    fn a_weaker_hash_is_renewed() {
        let weak = Argon2::from(Params::new(8_192, 1, 1, None).expect("parameters"));
        let stored = weak.hash_password(b"correct horse").expect("a hash").to_string();
        let renewed = rewrite(check(Some(&stored), "correct horse", &dummy()).expect("checked"));
        assert!(is_current(&parse(&renewed).expect("a hash")));
        assert_eq!(check(Some(&stored), "wrong horse", &dummy()).expect("checked"), Verdict::Wrong);
    }

    #[test]
    fn the_first_user_of_init_sql_has_the_password_of_the_readme() {
        let sql = include_str!("../../../init.sql");
        let stored = sql.split('\'').find(|text| text.starts_with("$argon2id$")).expect("a hash in init.sql");
        assert_eq!(check(Some(stored), "change-me-now", &dummy()).expect("checked"), KEEP);
    }
}
