//! Identifiers: 24 hexadecimal digits, the form of a MongoDB ObjectId.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

/// An opaque identifier of a conversion or a stored file: 24 lower-case hexadecimal digits.
///
/// The first four bytes are the second it was made in, the other eight are random, so ids
/// made later sort later (to the second) and none is ever made twice.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(String);

impl Id {
    /// A fresh id.
    ///
    /// # Panics
    /// When the operating system has no random bytes to give; nothing safe could go on.
    pub fn fresh() -> Self {
        let mut random = [0u8; 8];
        getrandom::fill(&mut random).expect("the operating system provides random bytes");
        Self::of(SystemTime::now(), u64::from_be_bytes(random))
    }

    /// Comes after all ids that were made more than `age` ago, and before all others.
    pub fn made_before(age: Duration) -> Self {
        Self::of(SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH), 0)
    }

    fn of(time: SystemTime, rest: u64) -> Self {
        let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs()) as u32;
        Self(format!("{seconds:08x}{rest:016x}"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text is not 24 hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("not an id: 24 hexadecimal digits are expected")]
pub struct NotAnId;

impl FromStr for Id {
    type Err = NotAnId;

    fn from_str(s: &str) -> Result<Self, NotAnId> {
        if s.len() == 24 && s.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self(s.to_ascii_lowercase()))
        } else {
            Err(NotAnId)
        }
    }
}

impl TryFrom<String> for Id {
    type Error = NotAnId;

    fn try_from(s: String) -> Result<Self, NotAnId> {
        s.parse()
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Id};

    #[test]
    fn ids_stand_in_the_order_of_their_seconds() {
        let (now, hour) = (Id::made_before(Duration::ZERO), Id::made_before(Duration::from_secs(3_600)));
        assert!(hour < now && now <= Id::fresh());
        assert_eq!(Id::made_before(Duration::MAX).as_str(), "0".repeat(24));
    }

    #[test]
    fn fresh_ids_differ_and_parse() {
        let (a, b) = (Id::fresh(), Id::fresh());
        assert_ne!(a, b);
        assert_eq!(a.as_str().parse::<Id>().expect("its own text"), a);
    }

    #[test]
    fn upper_case_is_the_same_id() {
        let upper: Id = "65A1B2C3D4E5F60718293A4B".parse().expect("hex");
        assert_eq!(upper.as_str(), "65a1b2c3d4e5f60718293a4b");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "1", "65a1b2c3d4e5f60718293a4", "65a1b2c3d4e5f60718293a4g", "../../../../../etc/passwd"] {
            assert!(text.parse::<Id>().is_err(), "{text}");
        }
    }
}
