//! How often a password may be guessed.
//!
//! Wrong passwords are counted three times: for the account and the address together, for the
//! address over all accounts, and for the account over all addresses. The first two refuse. The
//! third must not: else a stranger could lock somebody out by guessing from many addresses. It
//! only makes those wait whom the account does not know, addresses that have never logged in
//! there. Accounts that do not exist are treated like those that do.
//!
//! All of it is kept in this process, in bounded memory: so many replicas, so many times as many
//! guesses, and a restart forgets them.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use common::{
    Error, Result,
    client::network,
    error::Limit,
    rate::{Buckets, Rate},
};

/// For one account from one address.
const PAIR: Rate = Rate { burst: 20, every: Duration::from_secs(30) };
/// From one address, which an office or a school may share.
const ADDRESS: Rate = Rate { burst: 200, every: Duration::from_secs(3) };
/// For one account from everywhere.
const ACCOUNT: Rate = Rate { burst: 60, every: Duration::from_secs(60) };
/// What an address that the account does not know has to wait once that is used up.
const PAUSE: Duration = Duration::from_secs(3);
/// Addresses that are remembered as known to an account; the oldest half is forgotten beyond.
const MOST_KNOWN: usize = 100_000;

/// An address' text may be as long as a header: in its place stands a hash with a secret key.
type Account = u64;

/// The counts of one process.
pub struct Throttle {
    hasher: RandomState,
    pairs: Buckets<(Account, IpAddr)>,
    addresses: Buckets<IpAddr>,
    accounts: Buckets<Account>,
    known: Mutex<Known>,
}

/// Who has logged in from where, and the how-manieth that was.
#[derive(Default)]
struct Known {
    count: u64,
    since: HashMap<(Account, IpAddr), u64>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            pairs: Buckets::new(PAIR),
            addresses: Buckets::new(ADDRESS),
            accounts: Buckets::new(ACCOUNT),
            known: Mutex::default(),
        }
    }
}

/// One try at a password. Counts as a wrong one from its beginning, so that many at the same
/// moment do not pass unseen; what was taken is given back at its end, unless it [was
/// wrong](Self::wrong).
pub struct Attempt<'a> {
    throttle: &'a Throttle,
    account: Account,
    address: Option<IpAddr>,
    /// Whether the account's own bucket had something left.
    counted: bool,
    pause: Duration,
    wrong: bool,
}

impl Throttle {
    /// A try for the account of this name, in lower case, from an address if one is known.
    ///
    /// # Errors
    /// [`Error::Limited`]: too many wrong ones.
    pub fn begin(&self, name: &str, address: Option<IpAddr>) -> Result<Attempt<'_>> {
        let account = self.hasher.hash_one(name);
        let address = address.map(network);
        if let Some(address) = address {
            self.addresses.take(address).map_err(|after| refusal(ADDRESS, after))?;
            if let Err(after) = self.pairs.take((account, address)) {
                self.addresses.give_back(&address);
                return Err(refusal(PAIR, after));
            }
        }
        let counted = self.accounts.take(account).is_ok();
        let pause = if counted || self.knows(account, address) { Duration::ZERO } else { PAUSE };
        Ok(Attempt { throttle: self, account, address, counted, pause, wrong: false })
    }

    fn knows(&self, account: Account, address: Option<IpAddr>) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        address.is_some_and(|address| known.since.contains_key(&(account, address)))
    }
}

impl Attempt<'_> {
    /// What is to be waited for before the password is looked at.
    pub fn pause(&self) -> Duration {
        self.pause
    }

    pub fn wrong(mut self) {
        self.wrong = true;
    }

    pub fn right(self) {
        if let Some(address) = self.address {
            let mut known = self.throttle.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.note((self.account, address));
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.wrong {
            return;
        }
        if let Some(address) = self.address {
            self.throttle.addresses.give_back(&address);
            self.throttle.pairs.give_back(&(self.account, address));
        }
        if self.counted {
            self.throttle.accounts.give_back(&self.account);
        }
    }
}

impl Known {
    fn note(&mut self, who: (Account, IpAddr)) {
        self.count += 1;
        if self.since.len() >= MOST_KNOWN && !self.since.contains_key(&who) {
            let recent = self.count - (MOST_KNOWN / 2) as u64;
            self.since.retain(|_, since| *since > recent);
        }
        self.since.insert(who, self.count);
    }
}

fn refusal(rate: Rate, after: Duration) -> Error {
    Error::Limited(Limit {
        what: "too many failed log-ins",
        policy: "log-ins",
        quota: rate.burst.into(),
        window: Some(rate.every * rate.burst),
        unit: None,
        left: 0,
        after,
    })
}

#[cfg(test)]
mod tests {
    use super::{ACCOUNT, ADDRESS, Duration, Error, IpAddr, Known, MOST_KNOWN, PAIR, PAUSE, Throttle};

    fn ip(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    fn guess(throttle: &Throttle, name: &str, address: Option<IpAddr>) {
        throttle.begin(name, address).expect("allowed").wrong();
    }

    #[test]
    fn guesses_at_one_account_from_one_address_come_to_an_end() {
        let throttle = Throttle::default();
        for _ in 0..PAIR.burst {
            guess(&throttle, "ada", ip(1));
        }
        let Err(Error::Limited(limit)) = throttle.begin("ada", ip(1)) else { panic!("one guess too many") };
        assert!(limit.after > PAIR.every / 2 && limit.after <= PAIR.every, "{limit:?}");
        assert!(throttle.begin("ada", ip(2)).is_ok(), "its owner is elsewhere");
        assert!(throttle.begin("ben", ip(1)).is_ok(), "another account");
    }

    #[test]
    fn an_address_that_tries_many_accounts_is_refused_for_all() {
        let throttle = Throttle::default();
        for account in 0..ADDRESS.burst {
            guess(&throttle, &account.to_string(), ip(1));
        }
        assert!(throttle.begin("ada", ip(1)).is_err());
        assert!(throttle.begin("ada", ip(2)).is_ok());
        let v6 = |text: &str| Some(text.parse().expect("an address"));
        for account in 0..ADDRESS.burst {
            guess(&throttle, &account.to_string(), v6(&format!("2001:db8::{account:x}")));
        }
        assert!(throttle.begin("ada", v6("2001:db8::ffff")).is_err(), "a network is one client");
        assert!(throttle.begin("ada", v6("2001:db8:0:1::1")).is_ok());
    }

    #[test]
    fn a_crowd_of_strangers_locks_nobody_out() {
        let throttle = Throttle::default();
        throttle.begin("ada", ip(1)).expect("allowed").right();
        for guesses in 0..ACCOUNT.burst {
            guess(&throttle, "ada", ip(100 + (guesses % 100) as u8));
        }
        let pause = |address| throttle.begin("ada", address).expect("never refused").pause();
        assert_eq!(pause(ip(1)), Duration::ZERO, "where its owner was before");
        assert_eq!(pause(ip(2)), PAUSE, "an address that it does not know");
        assert_eq!(pause(None), PAUSE);
        assert_eq!(throttle.begin("nobody", ip(2)).expect("allowed").pause(), Duration::ZERO);
    }

    #[test]
    fn what_was_right_or_never_came_to_an_end_does_not_count() {
        let throttle = Throttle::default();
        for _ in 0..ADDRESS.burst {
            throttle.begin("ada", ip(1)).expect("allowed").right();
            drop(throttle.begin("ada", ip(1)).expect("allowed"));
        }
        let at_once: Vec<_> = (0..PAIR.burst).map(|_| throttle.begin("ada", ip(1)).expect("allowed")).collect();
        assert!(throttle.begin("ada", ip(1)).is_err(), "not even all at the same moment");
        drop(at_once);
        assert!(throttle.begin("ada", ip(1)).is_ok());
    }

    #[test]
    fn those_who_were_there_lately_are_remembered() {
        let mut known = Known::default();
        let address = IpAddr::from([192, 0, 2, 1]);
        for account in 0..=MOST_KNOWN as u64 {
            known.note((account, address));
        }
        assert!(known.since.len() <= MOST_KNOWN / 2 + 1);
        assert!(known.since.contains_key(&(MOST_KNOWN as u64, address)));
        assert!(!known.since.contains_key(&(0, address)));
    }
}
