//! The promise, held against the whole state: every accepted upload ends in one MP3 and its mail,
//! or in one failure and its mail, and nothing else is left anywhere.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use testkit::{media, smtp::Mail};

use crate::{
    Product,
    state::{Record, State},
};

/// The broker counts its messages twice a second: what is to be believed is seen twice, and not
/// at once.
const SECOND_LOOK: Duration = Duration::from_millis(600);
/// By how much an MP3 may be longer or shorter than its film, in seconds.
const TOLERANCE: f64 = 0.1;

/// What is due to someone whose upload was accepted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Due {
    /// An MP3 as long as the film, in seconds.
    Mp3(f64),
    /// A reason why there is none.
    Failure,
    /// Nothing: they have cancelled it.
    Nothing,
}

/// Knows what was accepted.
#[derive(Debug, Default)]
pub struct Checker {
    accepted: BTreeMap<String, Due>,
    may_give_up: bool,
    /// Lengths of MP3s that were listened to, by their ids.
    heard: HashMap<String, f64>,
}

/// How it all ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    pub done: usize,
    pub failed: usize,
    pub cancelled: usize,
    /// Those that failed though nothing is wrong with the film.
    pub given_up: usize,
}

impl Checker {
    /// Faults may be so many that attempts are used up: then a failure will do for an MP3, and the
    /// message is among the dead letters.
    pub fn giving_up_allowed() -> Self {
        Self { may_give_up: true, ..Self::default() }
    }

    /// An upload was accepted, or its owner has changed their mind about it.
    pub fn expect(&mut self, id: impl Into<String>, due: Due) {
        self.accepted.insert(id.into(), due);
    }

    /// Its owner has deleted it: nothing may be left of it.
    pub fn forget(&mut self, id: &str) {
        self.accepted.remove(id);
    }

    pub fn accepted(&self) -> usize {
        self.accepted.len()
    }

    /// Waits until the promise is kept.
    ///
    /// # Errors
    /// With all that is still wrong when `patience` is over.
    pub async fn check(&mut self, product: &impl Product, patience: Duration) -> Result<Ends, Vec<String>> {
        let deadline = Instant::now() + patience;
        let mut clean = 0;
        loop {
            let wrong = match product.state().await {
                Ok(state) => {
                    let wrong = self.complaints(&state, &product.smtp().mails());
                    clean = if wrong.is_empty() { clean + 1 } else { 0 };
                    if clean == 2 {
                        let wrong = self.listen(product, &state).await;
                        return if wrong.is_empty() { Ok(self.ends(&state)) } else { Err(wrong) };
                    }
                    wrong
                }
                Err(error) => vec![format!("the state cannot be seen: {error:#}")],
            };
            if !wrong.is_empty() && Instant::now() > deadline {
                return Err(wrong);
            }
            tokio::time::sleep(if clean > 0 { SECOND_LOOK } else { SECOND_LOOK / 3 }).await;
        }
    }

    fn complaints(&self, state: &State, mails: &[Mail]) -> Vec<String> {
        let records: HashMap<_, _> = state.records.iter().map(|record| (record.id.as_str(), record)).collect();
        let lost = self.accepted.keys().filter(|id| !records.contains_key(id.as_str()));
        let mut wrong: Vec<_> = lost.map(|id| format!("{id} was accepted and is lost")).collect();
        let mut letters: HashMap<&str, Vec<(String, &Mail)>> = HashMap::new();
        let named: Vec<_> = mails.iter().filter_map(|mail| Some((mail.message_id()?, mail))).collect();
        for (name, mail) in &named {
            let name = name.split('@').next().unwrap_or_default();
            letters.entry(name.split('.').next().unwrap_or_default()).or_default().push((name.to_owned(), mail));
        }
        for record in &state.records {
            let letters = letters.get(record.id.as_str()).map_or(&[][..], Vec::as_slice);
            let about = self.of_record(record, state).into_iter().chain(of_mails(record, letters));
            wrong.extend(about.map(|what| format!("{} ({}): {what}", record.id, record.state)));
        }
        wrong.extend(of_doubles(&state.records));
        let videos = state.records.iter().map(|record| record.video_fid.as_str()).collect();
        let mp3s = state.records.iter().filter_map(|record| record.mp3_fid.as_deref()).collect();
        wrong.extend(of_store("film", &state.videos, &videos));
        wrong.extend(of_store("MP3", &state.mp3s, &mp3s));
        let excused = |queue: &str| self.may_give_up && queue == "video.dead";
        let full = state.queues.iter().filter(|(queue, count)| **count > 0 && !excused(queue));
        wrong.extend(full.map(|(queue, count)| format!("the queue {queue} holds {count}")));
        wrong
    }

    fn of_record(&self, record: &Record, state: &State) -> Vec<String> {
        let mut wrong = Vec::new();
        let is_failed = record.state == "failed";
        let fits = match self.accepted.get(&record.id) {
            Some(Due::Mp3(_)) => record.state == "done" || (is_failed && self.may_give_up),
            Some(Due::Failure) => is_failed,
            Some(Due::Nothing) => record.state == "cancelled",
            // Accepted, and its client could not be told.
            None => matches!(record.state.as_str(), "done" | "failed" | "cancelled"),
        };
        if !fits {
            wrong.push(format!("due was {:?}", self.accepted.get(&record.id)));
        }
        if record.state != "cancelled" && !record.told {
            wrong.push("nobody was told".to_owned());
        }
        match state.videos.whole.get(&record.video_fid) {
            Some(_) if record.video_expired => wrong.push("its film is kept for too long".to_owned()),
            Some(true) => {}
            _ if record.video_expired || record.state == "cancelled" => {}
            _ => wrong.push(format!("its film {} is not whole", record.video_fid)),
        }
        let mp3 = record.mp3_fid.as_ref().map(|fid| state.mp3s.whole.get(fid) == Some(&true));
        match (record.state.as_str(), mp3) {
            ("done", Some(true)) => {}
            ("done", _) => wrong.push(format!("its MP3 {:?} is not whole", record.mp3_fid)),
            (_, None) => {}
            (_, Some(_)) => wrong.push("it has an MP3".to_owned()),
        }
        wrong
    }

    async fn listen(&mut self, product: &impl Product, state: &State) -> Vec<String> {
        let mut wrong = Vec::new();
        for record in &state.records {
            let Some(fid) = &record.mp3_fid else { continue };
            if !self.heard.contains_key(fid) {
                match media::decode_mp3(&product.stored_mp3(fid).await) {
                    Ok(mp3) => _ = self.heard.insert(fid.clone(), mp3.seconds()),
                    Err(error) => wrong.push(format!("{}: its MP3 is none: {error:#}", record.id)),
                }
            }
            let Some(heard) = self.heard.get(fid) else { continue };
            match self.accepted.get(&record.id) {
                Some(Due::Mp3(seconds)) if (heard - seconds).abs() > TOLERANCE => {
                    wrong.push(format!("{}: its MP3 has {heard} s instead of {seconds}", record.id));
                }
                _ => {}
            }
        }
        wrong
    }

    fn ends(&self, state: &State) -> Ends {
        let count = |name: &str| state.records.iter().filter(|record| record.state == name).count();
        let given_up =
            |record: &&Record| record.state == "failed" && matches!(self.accepted.get(&record.id), Some(Due::Mp3(_)));
        Ends {
            done: count("done"),
            failed: count("failed"),
            cancelled: count("cancelled"),
            given_up: state.records.iter().filter(given_up).count(),
        }
    }
}

/// Of one record, which must have ended once and told its owner so, under one name.
fn of_mails(record: &Record, letters: &[(String, &Mail)]) -> Vec<String> {
    if !matches!(record.state.as_str(), "done" | "failed") {
        return Vec::new();
    }
    let run = if record.run > 1 { format!("{}.{}", record.id, record.run) } else { record.id.clone() };
    let due = format!("{run}.{}", record.state);
    let mut wrong = Vec::new();
    let ends = ["done", "failed"].map(|end| format!("{run}.{end}"));
    let of_run: Vec<_> = letters.iter().filter(|(name, _)| ends.contains(name)).collect();
    if !of_run.iter().any(|(name, mail)| *name == due && mail.acknowledged) {
        wrong.push("its owner got no mail".to_owned());
    }
    for (name, mail) in of_run {
        if *name != due {
            wrong.push(format!("its owner got the mail {name}"));
        }
        if mail.to != [record.owner.as_str()] {
            wrong.push(format!("its mail went to {:?}", mail.to));
        }
        let named = record.mp3_fid.as_ref().is_none_or(|fid| mail.text().contains(fid));
        if !named {
            wrong.push("its mail names another MP3".to_owned());
        }
    }
    wrong
}

/// What no two records of an owner may have in common.
fn of_doubles(records: &[Record]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let keys = records.iter().filter_map(|record| Some(("have the key", &record.owner, record.key.as_ref()?)));
    let mp3s = records.iter().filter_map(|record| Some(("name the MP3", &record.owner, record.mp3_fid.as_ref()?)));
    let doubles = keys.chain(mp3s).filter(|one| !seen.insert(*one));
    doubles.map(|(what, _, one)| format!("two records {what} {one}")).collect()
}

fn of_store(what: &str, store: &crate::state::Store, counted: &BTreeSet<&str>) -> Vec<String> {
    let remains = store.remains.iter().map(|id| format!("pieces of {id}, which is no {what}"));
    let stray = store.whole.keys().filter(|id| !counted.contains(id.as_str()));
    remains.chain(stray.map(|id| format!("the {what} {id}, which no record counts"))).collect()
}

#[cfg(test)]
mod tests {
    use super::{Checker, Due, Mail, Record, State};

    const ID: &str = "65a1b2c3d4e5f60718293a4b";

    fn mail(name: &str) -> Mail {
        let raw = format!("Message-ID: <{name}@x>\r\nSubject: MP3 Download\r\n\r\nmp3 file_id: mp3 is now ready!\r\n");
        Mail {
            from: String::new(),
            to: vec!["ada@example.com".into()],
            raw: raw.into(),
            credentials: None,
            encrypted: false,
            acknowledged: true,
        }
    }

    fn good() -> (Checker, State, Vec<Mail>) {
        let mut checker = Checker::default();
        checker.expect(ID, Due::Mp3(2.0));
        let mut state = State::default();
        state.records.push(Record {
            id: ID.into(),
            owner: "ada@example.com".into(),
            state: "done".into(),
            run: 1,
            attempt: 1,
            told: true,
            key: Some("k".into()),
            video_expired: false,
            video_fid: "video".into(),
            mp3_fid: Some("mp3".into()),
        });
        state.videos.whole.insert("video".into(), true);
        state.mp3s.whole.insert("mp3".into(), true);
        state.queues.insert("video".into(), 0);
        (checker, state, vec![mail(&format!("{ID}.done"))])
    }

    /// What is said when one thing is otherwise than it should be.
    fn said(spoil: impl FnOnce(&mut Checker, &mut State, &mut Vec<Mail>)) -> String {
        let (mut checker, mut state, mut mails) = good();
        spoil(&mut checker, &mut state, &mut mails);
        checker.complaints(&state, &mails).join("; ")
    }

    #[test]
    fn a_promise_that_is_kept() {
        assert_eq!(said(|_, _, _| {}), "");
        assert_eq!(said(|_, _, mails| mails.push(mails[0].clone())), "", "the same mail twice");
        assert_eq!(said(|checker, _, _| checker.forget(ID)), "", "its client was not told");
        let expired = said(|_, state, _| {
            state.records[0].video_expired = true;
            state.videos.whole.clear();
        });
        assert_eq!(expired, "", "its film is no longer kept");
    }

    #[test]
    fn whatever_is_wrong_is_said() {
        for (wanted, said) in [
            ("is lost", said(|checker, _, _| checker.expect("other", Due::Failure))),
            ("due was", said(|_, state, _| state.records[0].state = "queued".into())),
            ("due was", said(|checker, _, _| checker.expect(ID, Due::Failure))),
            ("nobody was told", said(|_, state, _| state.records[0].told = false)),
            ("is not whole", said(|_, state, _| _ = state.videos.whole.insert("video".into(), false))),
            ("is not whole", said(|_, state, _| _ = state.mp3s.whole.remove("mp3"))),
            ("is not whole", said(|_, state, _| state.records[0].mp3_fid = None)),
            ("kept for too long", said(|_, state, _| state.records[0].video_expired = true)),
            ("two records name the MP3", said(|_, state, _| state.records.push(state.records[0].clone()))),
            ("which no record counts", said(|_, state, _| _ = state.mp3s.whole.insert("more".into(), true))),
            ("which no record counts", said(|_, state, _| _ = state.videos.whole.insert("more".into(), true))),
            ("pieces of more", said(|_, state, _| _ = state.mp3s.remains.insert("more".into()))),
            ("the queue video holds 1", said(|_, state, _| _ = state.queues.insert("video".into(), 1))),
            ("the queue mp3.dead", said(|_, state, _| _ = state.queues.insert("mp3.dead".into(), 1))),
            ("got no mail", said(|_, _, mails| mails.clear())),
            ("got no mail", said(|_, _, mails| mails[0].acknowledged = false)),
            ("got the mail", said(|_, _, mails| mails.push(mail(&format!("{ID}.failed"))))),
            ("went to", said(|_, _, mails| mails[0].to = vec!["eve@example.com".into()])),
            (
                "names another MP3",
                said(|_, state, _| {
                    state.records[0].mp3_fid = Some("else".into());
                    state.mp3s.whole = [("else".into(), true)].into();
                }),
            ),
            ("two records have the key", said(|_, state, _| state.records.push(state.records[0].clone()))),
        ] {
            assert!(said.contains(wanted), "{wanted}: {said}");
        }
    }
}
