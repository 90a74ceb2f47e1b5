//! Where tests break the product: points at which a process dies when told to, and mutants, which
//! misbehave on purpose. In debug builds alone; a release has nothing of it.

/// An enum whose variants have names, and the list of them all.
macro_rules! named {
    ($(#[$meta:meta])* $kind:ident { $($(#[$doc:meta])* $variant:ident = $name:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $kind {
            $($(#[$doc])* $variant,)+
        }

        impl $kind {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

named! {
    /// A gap between two steps that are each safe by themselves. `CRASH_AT=leased` ends the process
    /// the first time it passes that one, `CRASH_AT=leased:3` the third time.
    Point {
        // The gateway takes a film in.
        /// Its record is there, and nothing of the film.
        Announced = "announced",
        /// A file's bytes are in the store, and what makes a file of them is not.
        Chunked = "chunked",
        /// The film is whole in the store, and not accepted.
        Received = "received",
        /// It is accepted, and the broker does not know.
        Accepted = "accepted",
        /// The broker has its message, and the ledger does not know.
        Published = "published",
        /// It is queued, and the client does not know.
        Queued = "queued",
        /// A film was given up, and its bytes are there.
        Abandoned = "abandoned",
        /// Its bytes are gone, and its record is there.
        Emptied = "emptied",

        // The gateway does as an owner wishes.
        Cancelled = "cancelled",
        /// In its next run, and the broker does not know.
        Retried = "retried",
        Deleting = "deleting",
        VideoRemoved = "video-removed",
        Mp3Removed = "mp3-removed",
        /// It is known of the record that it was there, and it still is.
        Remembered = "remembered",
        /// A file is none any more, and its bytes (or what is known of it) are there.
        Unfiled = "unfiled",
        /// It is no longer held back, and the broker does not know.
        LetGo = "let-go",

        // The reconciler has claimed what stood still, and not set it going.
        ClaimedLease = "claimed-lease",
        ClaimedStored = "claimed-stored",
        ClaimedQueued = "claimed-queued",
        ClaimedUntold = "claimed-untold",
        ClaimedUnmailed = "claimed-unmailed",
        ClaimedUpload = "claimed-upload",
        ClaimedDeleting = "claimed-deleting",
        ClaimedUntidy = "claimed-untidy",
        /// A film that is not to be kept any longer, and all of it that is there.
        ClaimedVideo = "claimed-video",
        /// The film is gone, and its record does not know.
        VideoExpired = "video-expired",
        /// A record that is not to be kept any longer, and all of it that is there.
        ClaimedRecord = "claimed-record",
        /// MP3s that do not count are gone, and the record still names them.
        Tidied = "tidied",
        /// It has published the news of an end, and the ledger does not know.
        Retold = "retold",
        /// It has asked for a mail once more, and the ledger does not know.
        Remailed = "remailed",

        // The worker.
        /// Of a message that came without one there is a record, and nobody holds it.
        Recorded = "recorded",
        Leased = "leased",
        /// The MP3 is whole in the store, and does not count yet.
        Written = "written",
        /// It counts, and the notification does not know.
        Done = "done",
        Failed = "failed",
        /// The lease is given back, and the message is not moved on.
        Released = "released",
        /// The notification has the news, and the ledger does not know.
        Told = "told",

        // The notification.
        MailDue = "mail-due",
        /// The mail is sent, and the ledger does not know.
        MailSent = "mail-sent",
        /// The mail is given up, and the message is not laid aside.
        GivenUp = "given-up",

        // Whoever works on messages.
        /// A message has its verdict, which is not carried out.
        Judged = "judged",
        /// It is in its next queue as well as in this one.
        Moved = "moved",
    }
}

named! {
    /// What must never be so. `MUTANT=ack-first` makes it so, that it may be seen to be noticed.
    Mutant {
        /// Messages are acknowledged before they are handled.
        AckFirst = "ack-first",
        /// A message counts as published before the broker has confirmed it.
        NoConfirms = "no-confirms",
        /// All attempts at a film write their MP3 under one id.
        ReusedId = "reused-id",
        /// The ledger lets two records have one `Idempotency-Key`.
        OpenIndex = "open-index",
        /// A mail is noted as sent before a server took it.
        MailedFirst = "mailed-first",
    }
}

impl Point {
    /// Ends the process, as a power cut would, if it was told to end here.
    #[inline(always)]
    pub fn pass(self) {
        #[cfg(debug_assertions)]
        armed::pass(self);
    }
}

impl Mutant {
    /// Always false in a release.
    #[inline(always)]
    pub fn is_on(self) -> bool {
        #[cfg(debug_assertions)]
        return armed::is_on(self);
        #[cfg(not(debug_assertions))]
        false
    }
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    };

    use super::{Mutant, Point};

    static CRASH: LazyLock<Option<(String, AtomicU32)>> = LazyLock::new(|| {
        let told = std::env::var("CRASH_AT").ok()?;
        let (name, times) = told.split_once(':').unwrap_or((&told, "1"));
        Some((name.to_owned(), AtomicU32::new(times.parse().unwrap_or(1))))
    });
    static MUTANT: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("MUTANT").ok());

    pub fn pass(point: Point) {
        if let Some((name, left)) = &*CRASH
            && name == point.name()
            && left.fetch_sub(1, Ordering::Relaxed) == 1
        {
            eprintln!("died at {name}, as it was told to");
            std::process::abort();
        }
    }

    pub fn is_on(mutant: Mutant) -> bool {
        MUTANT.as_deref() == Some(mutant.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Mutant, Point};

    #[test]
    fn each_has_a_name_of_its_own() {
        let points: HashSet<_> = Point::ALL.iter().map(|point| point.name()).collect();
        let mutants: HashSet<_> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
        assert_eq!((points.len(), mutants.len()), (Point::ALL.len(), Mutant::ALL.len()));
    }
}
