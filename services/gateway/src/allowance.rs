//! What one user, one address, or all together may have at once.

use std::{hash::Hash, net::IpAddr, sync::Arc, time::Duration};

use common::{
    Env, Error, Result,
    client::network,
    error::Limit,
    places::{Place, Places},
    rate::{Buckets, Rate},
};

const MINUTE: Duration = Duration::from_secs(60);
/// After so long another try may find one of the others finished.
const ONE_OVER: Duration = Duration::from_secs(10);
/// Whoever has no room left has to delete something, or to wait until it expires.
const ROOM: Duration = Duration::from_secs(3_600);

/// How much is allowed. In each case 0 means: any number.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quotas {
    /// Requests of one user in a minute.
    pub requests: u32,
    /// Requests from one address in a minute, whoever sends them.
    pub requests_of_address: u32,
    /// Uploads at the same time, whoever sends them: each takes memory.
    pub uploads: usize,
    /// Uploads of one user at the same time.
    pub uploads_of_user: usize,
    /// Downloads of one user at the same time: each takes memory for as long as its reader takes.
    pub downloads_of_user: usize,
    /// Streams of events of one user at the same time.
    pub streams_of_user: usize,
    /// Bytes of films and MP3s kept for one user.
    pub bytes: u64,
    /// Films of one user that stand in the line for a worker; more are accepted, and wait behind others'.
    pub queued: u64,
}

impl Quotas {
    pub fn from_env(env: &mut Env) -> Self {
        Self {
            requests: env.parse("REQUESTS_PER_MINUTE", 3_000),
            requests_of_address: env.parse("REQUESTS_PER_MINUTE_AND_ADDRESS", 30_000),
            uploads: env.parse("MAX_UPLOADS", 200),
            uploads_of_user: env.parse("MAX_UPLOADS_PER_USER", 32),
            downloads_of_user: env.parse("MAX_DOWNLOADS_PER_USER", 32),
            streams_of_user: env.parse("MAX_EVENT_STREAMS_PER_USER", 32),
            bytes: env.parse("MAX_BYTES_PER_USER", 100 << 30),
            queued: env.parse("MAX_QUEUED_PER_USER", 32),
        }
    }
}

/// What this gateway has counted. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Allowance {
    quotas: Quotas,
    users: Arc<Buckets<String>>,
    addresses: Arc<Buckets<IpAddr>>,
    uploads: Places<()>,
    uploads_of_users: Places<String>,
    downloads_of_users: Places<String>,
    streams_of_users: Places<String>,
}

/// A place for an upload. Dropped, it is free.
#[derive(Debug)]
pub struct UploadPlace {
    _of_user: Place<String>,
    _of_all: Place<()>,
}

impl Allowance {
    pub fn new(quotas: Quotas) -> Self {
        Self {
            users: Arc::new(Buckets::new(Rate::per_minute(quotas.requests))),
            addresses: Arc::new(Buckets::new(Rate::per_minute(quotas.requests_of_address))),
            uploads: Places::new(quotas.uploads),
            uploads_of_users: Places::new(quotas.uploads_of_user),
            downloads_of_users: Places::new(quotas.downloads_of_user),
            streams_of_users: Places::new(quotas.streams_of_user),
            quotas,
        }
    }

    /// One more request of this user.
    pub fn request(&self, user: &str) -> Result<()> {
        count(&self.users, self.quotas.requests, user.to_owned())
    }

    /// One more request from this address.
    pub fn request_from(&self, address: IpAddr) -> Result<()> {
        count(&self.addresses, self.quotas.requests_of_address, network(address))
    }

    /// One more upload of this user, as long as the place is held.
    pub fn upload(&self, user: &str) -> Result<UploadPlace> {
        Ok(UploadPlace {
            _of_user: place(&self.uploads_of_users, user, "uploads", "too many uploads at once")?,
            _of_all: self.uploads.take(()).ok_or(Error::Busy("too many uploads are under way"))?,
        })
    }

    /// One more download of this user, as long as the place is held.
    pub fn download(&self, user: &str) -> Result<Place<String>> {
        place(&self.downloads_of_users, user, "downloads", "too many downloads at once")
    }

    /// One more stream of events of this user, as long as the place is held.
    pub fn stream(&self, user: &str) -> Result<Place<String>> {
        place(&self.streams_of_users, user, "streams", "too many streams of events at once")
    }

    /// What is left of a user's room when `kept` bytes are taken; `None`: there is no end to it.
    pub fn room(&self, kept: u64) -> Option<u64> {
        (self.quotas.bytes > 0).then(|| self.quotas.bytes.saturating_sub(kept))
    }

    /// What those are told for whose upload there is no room.
    pub fn no_room(&self, left: u64) -> Error {
        Error::Limited(Limit {
            what: "there is no room left for this file: delete some conversions",
            policy: "bytes",
            quota: self.quotas.bytes,
            window: None,
            unit: Some("content-bytes"),
            left,
            after: ROOM,
        })
    }
}

fn place(places: &Places<String>, user: &str, policy: &'static str, what: &'static str) -> Result<Place<String>> {
    let full = || Error::Limited(Limit::at_once(what, policy, places.most(), ONE_OVER));
    places.take(user.to_owned()).ok_or_else(full)
}

fn count<K: Clone + Eq + Hash>(buckets: &Buckets<K>, quota: u32, key: K) -> Result<()> {
    if quota == 0 {
        return Ok(());
    }
    buckets.take(key).map_err(|after| {
        Error::Limited(Limit {
            what: "too many requests",
            policy: "requests",
            quota: quota.into(),
            window: Some(MINUTE),
            unit: None,
            left: 0,
            after,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{Allowance, Error, IpAddr, Quotas};

    fn allowance(limit: u32) -> Allowance {
        Allowance::new(Quotas {
            requests: limit,
            requests_of_address: limit,
            uploads: 2 * limit as usize,
            uploads_of_user: limit as usize,
            bytes: limit.into(),
            ..Quotas::default()
        })
    }

    #[test]
    fn everybody_has_their_own() {
        let allowance = allowance(2);
        let address = |last| IpAddr::from([192, 0, 2, last]);
        for _ in 0..2 {
            allowance.request("ada").expect("allowed");
            allowance.request_from(address(1)).expect("allowed");
        }
        assert!(matches!(allowance.request("ada"), Err(Error::Limited(_))));
        assert!(matches!(allowance.request_from(address(1)), Err(Error::Limited(_))));
        allowance.request("ben").expect("allowed");
        allowance.request_from(address(2)).expect("allowed");
        let (one, _two) = (allowance.upload("ada").expect("allowed"), allowance.upload("ada").expect("allowed"));
        assert!(matches!(allowance.upload("ada"), Err(Error::Limited(_))));
        allowance.upload("ben").expect("allowed");
        drop(one);
        allowance.upload("ada").expect("there is a place again");
        let _others = ["ben", "cam", "dan"].map(|user| allowance.upload(user).expect("allowed"));
        assert!(matches!(allowance.upload("eve"), Err(Error::Busy(_))), "all places are taken");
        assert_eq!((allowance.room(0), allowance.room(1), allowance.room(3)), (Some(2), Some(1), Some(0)));
    }

    #[test]
    fn nought_means_any_number() {
        let allowance = allowance(0);
        let places: Vec<_> = (0..100).map(|_| allowance.upload("ada").expect("allowed")).collect();
        for _ in &places {
            allowance.request("ada").expect("allowed");
        }
        assert_eq!(allowance.room(u64::MAX), None);
    }
}
