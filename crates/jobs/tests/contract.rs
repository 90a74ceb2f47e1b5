//! What every ledger promises, held against each backend.

use std::{collections::HashSet, time::Duration};

use common::{Id, Secret};
use jobs::{Channels, Expired, Job, Jobs, Lease, NewJob, Output, RECORD_BYTES, Role, Settings, State, Stuck};

const TTL: Duration = Duration::from_secs(60);
/// So short that it is over before the next request.
const NO_TIME: Duration = Duration::ZERO;

fn new(owner: &str, key: Option<&str>) -> NewJob {
    NewJob {
        id: Id::fresh(),
        owner: owner.to_owned(),
        filename: Some("$film.mp4".to_owned()),
        video_fid: Id::fresh(),
        settings: Settings { bitrate: Some(128), ..Settings::default() },
        key: key.map(str::to_owned),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
    }
}

async fn uploading(jobs: &Jobs, owner: &str) -> Id {
    let new = new(owner, None);
    let id = new.id.clone();
    assert!(jobs.create(new).await.expect("create"));
    id
}

async fn stored(jobs: &Jobs, owner: &str) -> Id {
    let id = uploading(jobs, owner).await;
    assert!(jobs.stored(&id, 123).await.expect("stored").is_some());
    id
}

async fn taken(jobs: &Jobs, id: &Id, ttl: Duration) -> Job {
    match jobs.lease(id, &Id::fresh(), ttl).await.expect("lease") {
        Lease::Taken(job) => *job,
        other => panic!("not taken: {other:?}"),
    }
}

async fn state(jobs: &Jobs, id: &Id) -> State {
    jobs.get(id).await.expect("get").expect("there").state
}

fn output() -> Output {
    Output { mp3_fid: Id::fresh(), mp3_bytes: 9, duration: Duration::from_millis(1_500) }
}

async fn a_job_goes_its_way(jobs: Jobs) {
    let id = uploading(&jobs, "a@example.com").await;
    let job = jobs.get(&id).await.expect("get").expect("there");
    assert_eq!((job.state, job.owner.as_str(), job.percent), (State::Uploading, "a@example.com", 0));
    assert_eq!(job.filename.as_deref(), Some("$film.mp4"));
    assert!(job.traceparent.is_some_and(|context| context.ends_with("-01")) && job.ended_at.is_none());
    assert_eq!((job.run, job.settings.bitrate, job.settings.quality), (1, Some(128), None));
    assert!(jobs.still_uploading(&id).await.expect("going on"));
    assert!(jobs.stored(&id, 123).await.expect("stored").is_some());
    assert!(jobs.queued(&id).await.expect("queued"));
    let job = taken(&jobs, &id, TTL).await;
    assert_eq!((job.state, job.attempt, job.outputs.len(), job.video_bytes), (State::Converting, 1, 1, Some(123)));
    assert!(jobs.renew(&id, 1, 42, TTL).await.expect("renew"));
    assert_eq!(jobs.get(&id).await.expect("get").expect("there").percent, 42);
    let output = output();
    assert!(jobs.done(&id, 1, &output).await.expect("done").is_some());
    let job = jobs.by_mp3(&output.mp3_fid).await.expect("get").expect("found by its result");
    assert_eq!((job.state, job.percent, job.duration_s, job.mp3_bytes), (State::Done, 100, Some(1.5), Some(9)));
    assert!(!job.told && !job.mailed);
    assert_eq!(job.ended_at, Some(job.updated_at));
    assert!(job.lined_up_at >= job.created_at && job.leased_at >= Some(job.lined_up_at));
    assert!(jobs.told(&id, 1).await.expect("told"));
    assert!(!jobs.told(&id, 1).await.expect("told once"));
    assert!(jobs.mailed(&id, 1).await.expect("mailed"));
    let job = jobs.by_video(&job.video_fid).await.expect("get").expect("found by its video");
    assert!(job.told && job.mailed);
}

async fn a_move_needs_the_state_it_expects(jobs: Jobs) {
    let id = uploading(&jobs, "a@example.com").await;
    assert!(!jobs.queued(&id).await.expect("not yet stored"));
    assert!(matches!(jobs.lease(&id, &Id::fresh(), TTL).await.expect("lease"), Lease::Held));
    assert_eq!(jobs.deleting(&id).await.expect("not over"), None);
    let job = jobs.stored(&id, 1).await.expect("stored").expect("it was uploading");
    assert_eq!((&job.id, job.state, job.video_bytes), (&id, State::Stored, Some(1)));
    let again = jobs.stored(&id, 1).await.expect("the same move, repeated after a lost answer");
    assert_eq!(again.map(|job| job.id), Some(id.clone()));
    assert!(!jobs.abandon(&id).await.expect("accepted"), "an accepted job cannot be abandoned");
    assert!(!jobs.still_uploading(&id).await.expect("over"));
    assert!(jobs.done(&id, 1, &output()).await.expect("nobody's lease").is_none());
    assert!(!jobs.renew(&id, 0, 1, TTL).await.expect("nobody's lease"));
    assert!(matches!(jobs.lease(&Id::fresh(), &Id::fresh(), TTL).await.expect("lease"), Lease::Gone));
    assert_eq!(jobs.stored(&Id::fresh(), 1).await.expect("no such job"), None);

    // A worker may be quicker than the lost answer.
    let job = taken(&jobs, &id, TTL).await;
    assert!(jobs.done(&id, job.attempt, &output()).await.expect("done").is_some());
    assert_eq!(jobs.stored(&id, 1).await.expect("repeated").map(|job| job.state), Some(State::Done));
    assert!(jobs.deleting(&id).await.expect("deleting").is_some());
    assert_eq!(jobs.stored(&id, 1).await.expect("repeated"), None);
}

async fn one_of_many_gets_the_lease(jobs: Jobs) {
    let id = stored(&jobs, "a@example.com").await;
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (jobs, id) = (jobs.clone(), id.clone());
        workers.spawn(async move { jobs.lease(&id, &Id::fresh(), TTL).await.expect("lease") });
    }
    let leases = workers.join_all().await;
    assert_eq!(leases.iter().filter(|lease| matches!(lease, Lease::Taken(_))).count(), 1);
    assert_eq!(leases.iter().filter(|lease| matches!(lease, Lease::Held)).count(), 15);
}

async fn a_zombie_loses(jobs: Jobs) {
    let id = stored(&jobs, "a@example.com").await;
    let zombie = taken(&jobs, &id, NO_TIME).await;
    let heir = taken(&jobs, &id, TTL).await;
    assert_eq!((zombie.attempt, heir.attempt), (1, 2));
    assert_eq!(heir.outputs[..1], zombie.outputs, "the heir learns what the zombie may have left");
    assert!(!jobs.renew(&id, zombie.attempt, 50, TTL).await.expect("renew"));
    assert!(jobs.done(&id, zombie.attempt, &output()).await.expect("done").is_none());
    assert!(jobs.failed(&id, zombie.attempt, "no").await.expect("failed").is_none());
    assert!(!jobs.release(&id, zombie.attempt).await.expect("release"));
    let output = output();
    assert!(jobs.done(&id, heir.attempt, &output).await.expect("done").is_some());
    assert!(jobs.done(&id, heir.attempt, &output).await.expect("repeated after a lost answer").is_some());
    assert!(matches!(jobs.lease(&id, &Id::fresh(), TTL).await.expect("lease"), Lease::Over(_)));
}

async fn a_failure_keeps_its_reason(jobs: Jobs) {
    let id = stored(&jobs, "a@example.com").await;
    let job = taken(&jobs, &id, TTL).await;
    let reason = "$reason \"quoted\" {$x: 1}";
    assert!(jobs.failed(&id, job.attempt, reason).await.expect("failed").is_some());
    let job = jobs.get(&id).await.expect("get").expect("there");
    assert_eq!((job.state, job.reason.as_deref()), (State::Failed, Some(reason)));
    assert_eq!(job.message().reason.as_deref(), Some(reason));
}

async fn what_is_given_back_can_be_taken(jobs: Jobs) {
    let id = stored(&jobs, "a@example.com").await;
    let job = taken(&jobs, &id, TTL).await;
    assert!(jobs.release(&id, job.attempt).await.expect("release"));
    assert_eq!(state(&jobs, &id).await, State::Queued);
    let again = taken(&jobs, &id, NO_TIME).await;
    assert_eq!((again.attempt, again.attempt_of_run()), (2, 1), "nothing speaks against it");
    let heir = taken(&jobs, &id, TTL).await;
    assert_eq!((heir.attempt, heir.attempt_of_run()), (3, 1), "nobody can say that the one before was heard of");
}

async fn a_lease_counts_if_its_worker_heard_of_it(jobs: Jobs) {
    let id = stored(&jobs, "a@example.com").await;
    for (attempt, of_run, heard) in [(1, 1, true), (2, 2, false), (3, 2, false), (4, 2, true), (5, 3, true)] {
        let job = taken(&jobs, &id, NO_TIME).await;
        assert_eq!((job.attempt, job.attempt_of_run()), (attempt, of_run));
        assert!(!heard || jobs.renew(&id, attempt, 0, NO_TIME).await.expect("renew"));
        // Either the next worker finds that it has run out, or the reconciler does.
        let claimed = attempt % 2 == 0;
        assert!(!claimed || jobs.claim(Stuck::Lease, NO_TIME).await.expect("claim").is_some());
    }
    assert_eq!(taken(&jobs, &id, TTL).await.attempt_of_run(), 4);
}

async fn its_owner_can_end_it(jobs: Jobs) {
    let id = stored(&jobs, "a@example.com").await;
    let job = taken(&jobs, &id, TTL).await;
    assert_eq!(jobs.deleting(&id).await.expect("still running"), None);
    assert!(jobs.cancel(&id).await.expect("cancel"));
    assert!(!jobs.cancel(&id).await.expect("cancelled already"));
    assert!(!jobs.renew(&id, job.attempt, 1, TTL).await.expect("the worker learns of it"));
    assert!(jobs.done(&id, job.attempt, &output()).await.expect("too late").is_none());
    assert!(!jobs.remove(&id).await.expect("files first"));
    assert!(jobs.deleting(&id).await.expect("deleting").is_some());
    let page = jobs.list("a@example.com", None, 10).await.expect("list");
    assert!(page.jobs.iter().all(|job| job.id != id), "no longer visible");
    assert!(jobs.remove(&id).await.expect("remove"));
    assert_eq!(jobs.get(&id).await.expect("get"), None);
}

async fn what_was_removed_is_remembered(jobs: Jobs) {
    assert!(jobs.removed(&[]).await.expect("asked").is_empty());
    let (begun, ended) = (uploading(&jobs, "a@example.com").await, stored(&jobs, "b@example.com").await);
    let gone = stored(&jobs, "c@example.com").await;
    for id in [&ended, &gone] {
        assert!(jobs.cancel(id).await.expect("cancel") && jobs.deleting(id).await.expect("deleting").is_some());
    }
    assert!(jobs.remove(&gone).await.expect("remove"));
    assert!(!jobs.remove(&gone).await.expect("again") && !jobs.remove(&begun).await.expect("not deleting"));
    let mut asked: Vec<Id> = (0..1_000).map(|_| Id::fresh()).collect();
    asked.extend([begun, ended, gone.clone(), gone.clone()]);
    assert_eq!(jobs.removed(&asked).await.expect("asked"), HashSet::from([gone]));
}

async fn a_message_without_a_record_makes_one(jobs: Jobs) {
    let video = Id::fresh();
    let wished = Settings { channels: Some(Channels::Mono), start: Some(1.5), end: Some(61.25), ..Settings::default() };
    let adopt = || jobs.adopt(&video, "a@example.com", wished.clone());
    let (first, second) = tokio::join!(adopt(), adopt());
    let (first, second) = (first.expect("adopt").expect("a record"), second.expect("adopt").expect("a record"));
    assert_eq!((&first.id, &second.id), (&video, &video));
    assert_eq!((first.state, first.owner.as_str()), (State::Queued, "a@example.com"));
    assert_eq!((first.settings, second.settings), (wished.clone(), wished.clone()));
    // A video that has a record under another id keeps it.
    let id = stored(&jobs, "a@example.com").await;
    let known = jobs.get(&id).await.expect("get").expect("there");
    let adopted = jobs.adopt(&known.video_fid, "x@example.com", Settings::default()).await.expect("adopt");
    assert_eq!(adopted.map(|job| job.id), Some(id.clone()));
    // The message may come again when its owner has deleted all of it.
    assert!(jobs.cancel(&video).await.expect("cancel") && jobs.deleting(&video).await.expect("deleting").is_some());
    assert!(jobs.remove(&video).await.expect("removed"));
    assert_eq!(adopt().await.expect("adopt"), None);
    // And a worker that keeps no ledger may have finished it.
    let mp3 = Id::fresh();
    assert!(jobs.done_elsewhere(&id, &mp3).await.expect("done"));
    assert!(!jobs.done_elsewhere(&id, &Id::fresh()).await.expect("once"));
    let job = jobs.get(&id).await.expect("get").expect("there");
    assert_eq!((job.state, job.mp3_fid, job.told), (State::Done, Some(mp3), true));
}

async fn a_list_is_newest_first_in_pages_and_ones_own(jobs: Jobs) {
    let mut made = Vec::new();
    for _ in 0..7 {
        made.push(stored(&jobs, "a@example.com").await);
        stored(&jobs, "b@example.com").await;
    }
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = jobs.list("a@example.com", cursor.as_ref(), 3).await.expect("list");
        assert!(page.jobs.iter().all(|job| job.owner == "a@example.com") && page.jobs.len() <= 3);
        assert!(page.jobs.is_sorted_by(|a, b| a.created_at >= b.created_at));
        seen.extend(page.jobs.into_iter().map(|job| job.id));
        let Some(next) = page.next else { break };
        cursor = Some(next.to_string().parse().expect("a cursor survives its text form"));
    }
    made.sort();
    seen.sort();
    assert_eq!(seen, made);
}

async fn what_is_stuck_is_claimed_by_one(jobs: Jobs) {
    let long = Duration::from_secs(3_600);
    let upload = uploading(&jobs, "a@example.com").await;
    let lost = stored(&jobs, "a@example.com").await;
    let abandoned = stored(&jobs, "a@example.com").await;
    taken(&jobs, &abandoned, NO_TIME).await;
    for stuck in [Stuck::Upload, Stuck::Stored] {
        assert_eq!(jobs.claim(stuck, long).await.expect("claim"), None, "{stuck:?}: too early");
    }
    let claim = async |stuck| jobs.claim(stuck, NO_TIME).await.expect("claim").expect("found");
    assert_eq!(claim(Stuck::Lease).await.id, abandoned);
    assert_eq!(state(&jobs, &abandoned).await, State::Stored);
    assert!(jobs.queued(&abandoned).await.expect("told anew"));
    assert_eq!(claim(Stuck::Queued).await.id, abandoned);
    assert_eq!(claim(Stuck::Stored).await.id, lost);
    assert_eq!(jobs.claim(Stuck::Stored, Duration::from_secs(5)).await.expect("claim"), None, "its clock starts anew");
    let job = claim(Stuck::Upload).await;
    assert_eq!((job.id, job.state), (upload.clone(), State::Deleting));
    assert_eq!(claim(Stuck::Deleting).await.id, upload);
    assert_eq!(jobs.claim(Stuck::Untold, NO_TIME).await.expect("claim"), None);
    let job = taken(&jobs, &lost, TTL).await;
    assert!(jobs.failed(&lost, job.attempt, "no sound").await.expect("failed").is_some());
    assert_eq!(claim(Stuck::Untold).await.id, lost);
    assert!(jobs.told(&lost, 1).await.expect("told"));
    assert_eq!(jobs.claim(Stuck::Untold, NO_TIME).await.expect("claim"), None);
}

async fn who_got_no_mail_is_found_once(jobs: Jobs) {
    let failed = async || {
        let id = stored(&jobs, "a@example.com").await;
        let job = taken(&jobs, &id, TTL).await;
        assert!(jobs.failed(&id, job.attempt, "no sound").await.expect("failed").is_some());
        id
    };
    let unmailed = async || jobs.claim(Stuck::Unmailed, NO_TIME).await.expect("claim").map(|job| job.id);
    // Who was told then may well have sent a mail, and does not say so.
    let before = failed().await;
    assert!(jobs.told(&before, 1).await.expect("told"));
    assert_eq!(unmailed().await, None);
    tokio::time::sleep(Duration::from_millis(5)).await;
    for _ in 0..2 {
        jobs.here(&Id::fresh(), Role::Notification).await.expect("here");
    }
    assert_eq!(unmailed().await, None);

    let id = failed().await;
    assert_eq!(unmailed().await, None, "it was not told yet");
    assert!(jobs.told(&id, 1).await.expect("told"));
    assert_eq!(jobs.claim(Stuck::Unmailed, TTL).await.expect("claim"), None, "too early");
    // Until something is made of it, for who claimed it may have died.
    assert_eq!((unmailed().await, unmailed().await), (Some(id.clone()), Some(id.clone())));
    assert!(jobs.retold(&id, 1).await.expect("noted"));
    assert!(!jobs.retold(&id, 1).await.expect("asked"), "there is no third time");
    assert_eq!(unmailed().await, None);
    let refused = failed().await;
    assert!(jobs.told(&refused, 1).await.expect("told") && jobs.unmailed(&refused, 1).await.expect("noted"));
    assert_eq!(unmailed().await, None);

    // What is tried again has news of its own; and who has the mail needs no other.
    assert!(jobs.retry(&id).await.expect("retried"));
    let job = taken(&jobs, &id, TTL).await;
    assert!(jobs.done(&id, job.attempt, &output()).await.expect("done").is_some());
    assert!(jobs.told(&id, 2).await.expect("told"));
    assert_eq!(unmailed().await, Some(id.clone()));
    assert!(jobs.mailed(&id, 2).await.expect("mailed"));
    assert_eq!(unmailed().await, None);
    let cancelled = stored(&jobs, "a@example.com").await;
    assert!(jobs.cancel(&cancelled).await.expect("cancelled"));
    assert_eq!(unmailed().await, None, "nobody is written to of that");
}

async fn outputs_that_do_not_count_are_found(jobs: Jobs) {
    let done = stored(&jobs, "a@example.com").await;
    taken(&jobs, &done, NO_TIME).await;
    let job = taken(&jobs, &done, TTL).await;
    let counts = Output { mp3_fid: job.outputs[1].clone(), ..output() };
    assert_eq!(jobs.claim(Stuck::Untidy, NO_TIME).await.expect("claim"), None, "it is not over");
    assert!(jobs.done(&done, job.attempt, &counts).await.expect("done").is_some());
    assert_eq!(jobs.claim(Stuck::Untidy, TTL).await.expect("claim"), None, "too early");
    let found = jobs.claim(Stuck::Untidy, NO_TIME).await.expect("claim").expect("found");
    assert_eq!((&found.id, &found.outputs), (&done, &job.outputs));
    assert!(jobs.tidied(&found).await.expect("tidied"));
    assert_eq!(jobs.get(&done).await.expect("get").expect("there").outputs, [counts.mp3_fid]);
    assert!(!jobs.tidied(&found).await.expect("tidied once"));

    let cancelled = stored(&jobs, "a@example.com").await;
    taken(&jobs, &cancelled, TTL).await;
    assert!(jobs.cancel(&cancelled).await.expect("cancelled"));
    let found = jobs.claim(Stuck::Untidy, NO_TIME).await.expect("claim").expect("found");
    assert_eq!(found.id, cancelled);
    assert!(jobs.tidied(&found).await.expect("tidied"));
    assert_eq!(jobs.claim(Stuck::Untidy, NO_TIME).await.expect("claim"), None);
}

async fn what_is_tried_again_begins_anew(jobs: Jobs) {
    let id = stored(&jobs, "a@example.com").await;
    assert!(!jobs.retry(&id).await.expect("not over"));
    let zombie = taken(&jobs, &id, NO_TIME).await;
    let job = taken(&jobs, &id, TTL).await;
    assert!(jobs.renew(&id, job.attempt, 70, TTL).await.expect("renew"));
    assert!(jobs.failed(&id, job.attempt, "no").await.expect("failed").is_some());
    assert!(jobs.told(&id, 1).await.expect("told") && jobs.mailed(&id, 1).await.expect("mailed"));
    assert!(jobs.retry(&id).await.expect("retry"));
    assert!(!jobs.retry(&id).await.expect("once"), "it is under way");
    let job = jobs.get(&id).await.expect("get").expect("there");
    assert_eq!((job.state, job.run, job.percent, job.reason.as_deref()), (State::Stored, 2, 0, None));
    assert_eq!((job.attempt, job.attempt_of_run(), job.outputs.len()), (2, 0, 2));
    assert_eq!((job.settings.bitrate, job.told, job.mailed), (Some(128), false, false));
    assert!(!jobs.told(&id, 1).await.expect("told") && !jobs.mailed(&id, 1).await.expect("mailed"), "old news");
    let job = taken(&jobs, &id, TTL).await;
    assert_eq!((job.attempt, job.attempt_of_run()), (3, 1));
    assert!(!jobs.renew(&id, zombie.attempt, 1, TTL).await.expect("renew"), "a worker of the last run stays out");
    assert!(jobs.done(&id, job.attempt, &output()).await.expect("done").is_some());
    assert!(!jobs.retry(&id).await.expect("well done"));
    assert!(jobs.told(&id, 2).await.expect("told") && jobs.mailed(&id, 2).await.expect("mailed"));
    let cancelled = stored(&jobs, "a@example.com").await;
    assert!(jobs.cancel(&cancelled).await.expect("cancel"));
    assert!(jobs.retry(&cancelled).await.expect("retry"));
    assert!(!jobs.retry(&Id::fresh()).await.expect("no such job"));
}

async fn a_key_stands_for_one_upload(jobs: Jobs) {
    let key = "$key {}";
    let first = new("a@example.com", Some(key));
    let id = first.id.clone();
    assert!(jobs.create(first.clone()).await.expect("create"));
    assert!(jobs.create(first).await.expect("the same, repeated after a lost answer"));
    assert!(!jobs.create(new("a@example.com", Some(key))).await.expect("taken"));
    assert!(jobs.create(new("a@example.com", Some("another"))).await.expect("another key"));
    assert!(jobs.create(new("b@example.com", Some(key))).await.expect("another owner"));
    let found = jobs.by_key("a@example.com", key).await.expect("ask").expect("there");
    assert_eq!((found.id, found.key.as_deref()), (id.clone(), Some(key)));
    assert_eq!(jobs.by_key("c@example.com", key).await.expect("ask"), None);
    // Nothing came of it: the key is free before the remains are gone.
    assert!(jobs.abandon(&id).await.expect("abandon"));
    assert_eq!(jobs.by_key("a@example.com", key).await.expect("ask"), None);
    let second = new("a@example.com", Some(key));
    let id = second.id.clone();
    assert!(jobs.create(second).await.expect("create"));
    assert!(jobs.stored(&id, 1).await.expect("stored").is_some() && jobs.cancel(&id).await.expect("cancel"));
    assert!(!jobs.create(new("a@example.com", Some(key))).await.expect("still there"));
    assert!(jobs.deleting(&id).await.expect("deleting").is_some());
    let mut racers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let jobs = jobs.clone();
        racers.spawn(async move { jobs.create(new("a@example.com", Some(key))).await.expect("create") });
    }
    assert_eq!(racers.join_all().await.into_iter().filter(|won| *won).count(), 1);
    assert!(jobs.claim(Stuck::Upload, NO_TIME).await.expect("claim").is_some_and(|job| job.key.is_none()));
}

async fn who_waits_stands_in_line(jobs: Jobs) {
    let mut line = Vec::new();
    for _ in 0..4 {
        uploading(&jobs, "a@example.com").await;
        line.push(stored(&jobs, "a@example.com").await);
        // Places are told apart by the millisecond.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(jobs.queued(&line[1]).await.expect("queued"));
    assert_eq!(jobs.waiting(10).await.expect("ask"), line);
    assert_eq!(jobs.waiting(2).await.expect("ask"), line[..2]);
    let job = taken(&jobs, &line[0], TTL).await;
    assert_eq!(jobs.waiting(10).await.expect("ask"), line[1..]);
    assert!(jobs.failed(&line[0], job.attempt, "no").await.expect("failed").is_some());
    assert!(jobs.retry(&line[0]).await.expect("retry"));
    line.rotate_left(1);
    assert_eq!(jobs.waiting(10).await.expect("ask"), line, "who is tried again goes to the end");
}

async fn who_has_many_waits_behind_others(jobs: Jobs) {
    let (ada, ben) = ("ada@example.com", "ben@example.com");
    let queued_of = async |owner, within| jobs.queued_of(owner, within).await.expect("count");
    let first = stored(&jobs, ada).await;
    assert_eq!(queued_of(ada, TTL).await, 0, "the broker does not have it yet");
    assert!(jobs.queued(&first).await.expect("queued"));
    assert!(!jobs.hold(&first).await.expect("asked"), "the broker has it");
    let mut held = Vec::new();
    for _ in 0..2 {
        let id = stored(&jobs, ada).await;
        assert!(jobs.hold(&id).await.expect("held"));
        held.push(id);
        // Told apart by the millisecond.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let other = stored(&jobs, ben).await;
    assert_eq!(jobs.waiting(10).await.expect("ask"), [first.clone(), other.clone(), held[0].clone(), held[1].clone()]);
    assert_eq!((queued_of(ada, TTL).await, queued_of(ben, TTL).await), (1, 0));
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(queued_of(ada, Duration::from_millis(2)).await, 0, "what has stood for longer does not count");

    // Nobody forgot to tell of what is held back.
    assert_eq!(jobs.claim(Stuck::Stored, NO_TIME).await.expect("claim").map(|job| job.id), Some(other));
    assert_eq!(jobs.holding().await.expect("asked"), [ada]);
    assert_eq!(jobs.let_go(ben).await.expect("asked"), None);
    assert!(jobs.cancel(&held[0]).await.expect("cancelled"));
    let mut racers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let jobs = jobs.clone();
        racers.spawn(async move { jobs.let_go("ada@example.com").await.expect("asked").map(|job| job.id) });
    }
    let found: Vec<_> = racers.join_all().await.into_iter().flatten().collect();
    assert_eq!(found, [held[1].clone()], "once, and not what was cancelled");
    assert!(jobs.holding().await.expect("asked").is_empty());
    let stuck = async || jobs.claim(Stuck::Stored, NO_TIME).await.expect("claim").expect("found").id;
    assert!(held[1] == stuck().await || held[1] == stuck().await, "who let it go may have died");
    // A worker that hears of it all the same may have it.
    assert!(jobs.hold(&held[1]).await.expect("held"));
    taken(&jobs, &held[1], TTL).await;
}

async fn changes_are_seen(jobs: Jobs) {
    assert_eq!(jobs.changed(None, 10).await.expect("ask"), []);
    let (a, b) = (stored(&jobs, "a@example.com").await, stored(&jobs, "b@example.com").await);
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(jobs.queued(&a).await.expect("queued"));
    let last = jobs.changed(None, 10).await.expect("ask");
    assert_eq!(last.iter().map(|job| &job.id).collect::<Vec<_>>(), [&a]);
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(jobs.cancel(&b).await.expect("cancel") && jobs.deleting(&b).await.expect("deleting").is_some());
    let since = jobs.changed(Some(last[0].updated_at), 10).await.expect("ask");
    assert_eq!(since.iter().map(|job| &job.id).collect::<Vec<_>>(), [&a, &b], "the oldest change first");
    assert_eq!(since[1].state, State::Deleting);
    assert_eq!(jobs.changed(Some(last[0].updated_at), 1).await.expect("ask").len(), 1);
    assert_eq!(jobs.changed(Some(since[1].updated_at + TTL), 10).await.expect("ask"), []);
}

async fn the_time_left_follows_from_the_progress(jobs: Jobs) {
    let id = stored(&jobs, "a@example.com").await;
    let job = taken(&jobs, &id, TTL).await;
    assert_eq!((job.leased_at, job.time_left()), (Some(job.updated_at), None));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(jobs.renew(&id, job.attempt, 20, TTL).await.expect("renew"));
    let job = jobs.get(&id).await.expect("get").expect("there");
    let taken = Duration::try_from(job.updated_at - job.leased_at.expect("leased")).expect("forwards");
    assert!(taken >= Duration::from_millis(50), "{taken:?}");
    assert_eq!(job.time_left(), Some(taken * 4));
}

async fn workers_are_seen(jobs: Jobs) {
    let (worker, other) = (Role::Converter, Role::Notification);
    assert!(!jobs.any(worker, TTL).await.expect("ask"));
    jobs.here(&Id::fresh(), worker).await.expect("here");
    assert!(jobs.any(worker, TTL).await.expect("ask") && !jobs.any(other, TTL).await.expect("ask"));
    jobs.here(&Id::fresh(), other).await.expect("here");
    assert!(jobs.any(other, TTL).await.expect("ask"));
    assert!(!jobs.any(worker, NO_TIME).await.expect("ask"));
}

async fn a_census_counts_every_state(jobs: Jobs) {
    let census = async |every| jobs.census(every).await.expect("census").expect("made");
    assert_eq!(census(NO_TIME).await.longest_wait, Duration::ZERO);
    let first = stored(&jobs, "a@example.com").await;
    uploading(&jobs, "a@example.com").await;
    let failed = stored(&jobs, "b@example.com").await;
    assert!(jobs.queued(&first).await.expect("queued"));
    let job = taken(&jobs, &failed, TTL).await;
    assert!(jobs.failed(&failed, job.attempt, "no sound").await.expect("failed").is_some());
    tokio::time::sleep(Duration::from_millis(20)).await;
    let counted = census(NO_TIME).await;
    let of = |state| counted.states.iter().find(|(of, _)| *of == state).expect("every state").1;
    assert_eq!((of(State::Queued), of(State::Uploading), of(State::Failed), of(State::Done)), (1, 1, 1, 0));
    assert!((Duration::from_millis(20)..TTL).contains(&counted.longest_wait), "{counted:?}");
    taken(&jobs, &first, TTL).await;
    assert_eq!(census(NO_TIME).await.longest_wait, Duration::ZERO, "nobody waits any more");
}

async fn what_stands_still_can_be_listed(jobs: Jobs) {
    let (waiting, over) = (stored(&jobs, "a@example.com").await, stored(&jobs, "b@example.com").await);
    let job = taken(&jobs, &over, TTL).await;
    let listed = async |age| {
        let found = jobs.standing(age, 10).await.expect("listed");
        found.into_iter().map(|job| job.id).collect::<HashSet<_>>()
    };
    assert_eq!(listed(NO_TIME).await, HashSet::from([waiting.clone(), over.clone()]));
    assert_eq!(listed(TTL).await, HashSet::new());
    assert!(jobs.failed(&over, job.attempt, "no sound").await.expect("failed").is_some());
    assert_eq!(listed(NO_TIME).await.len(), 2, "its owner was not told");
    assert!(jobs.told(&over, 1).await.expect("told"));
    assert_eq!(listed(NO_TIME).await, HashSet::from([waiting]));
}

async fn a_video_is_kept_for_some_time_and_its_record_longer(jobs: Jobs) {
    let one = RECORD_BYTES + 123;
    let (done, failed) = (stored(&jobs, "a@example.com").await, stored(&jobs, "a@example.com").await);
    let (cancelled, waiting) = (stored(&jobs, "a@example.com").await, stored(&jobs, "b@example.com").await);
    assert_eq!(jobs.kept_bytes("a@example.com").await.expect("asked"), 3 * one);
    let job = taken(&jobs, &done, TTL).await;
    assert!(jobs.done(&done, job.attempt, &output()).await.expect("done").is_some());
    let job = taken(&jobs, &failed, TTL).await;
    assert!(jobs.failed(&failed, job.attempt, "no").await.expect("failed").is_some());
    assert!(jobs.cancel(&cancelled).await.expect("cancelled"));
    assert!(jobs.get(&cancelled).await.expect("get").expect("there").ended_at.is_some());
    assert_eq!(jobs.kept_bytes("a@example.com").await.expect("asked"), 3 * one + 9);

    for expired in [Expired::Video, Expired::Record] {
        assert_eq!(jobs.expire(expired, TTL, TTL).await.expect("asked"), None, "{expired:?}: too early");
    }
    let mut found = HashSet::new();
    while let Some(job) = jobs.expire(Expired::Video, NO_TIME, TTL).await.expect("asked") {
        assert!(job.video_expired && job.state != State::Deleting, "{job:?}");
        found.insert(job.id);
    }
    assert_eq!(found, HashSet::from([done.clone(), failed.clone(), cancelled.clone()]), "one claim each");
    for id in [&failed, &cancelled] {
        assert!(!jobs.retry(id).await.expect("asked"), "there is nothing to try it with");
    }
    let again = jobs.expire(Expired::Video, NO_TIME, NO_TIME).await.expect("asked");
    assert!(again.is_some_and(|job| found.contains(&job.id)), "whoever claimed it may have died");
    assert!(jobs.video_removed(&done).await.expect("noted"));
    assert!(!jobs.video_removed(&done).await.expect("once"));
    assert!(!jobs.video_removed(&waiting).await.expect("not expired"));
    assert_eq!(jobs.kept_bytes("a@example.com").await.expect("asked"), 3 * RECORD_BYTES + 2 * 123 + 9);

    // Its owner has the mail before it goes.
    let job = jobs.expire(Expired::Record, NO_TIME, TTL).await.expect("asked").expect("found");
    assert_eq!((job.id, job.state), (cancelled.clone(), State::Deleting));
    assert_eq!(jobs.expire(Expired::Record, NO_TIME, TTL).await.expect("asked"), None);
    assert!(jobs.told(&done, 1).await.expect("told"));
    assert_eq!(jobs.expire(Expired::Record, NO_TIME, TTL).await.expect("asked"), None, "the mail is under way");
    assert!(jobs.mailed(&done, 1).await.expect("mailed"));
    let job = jobs.expire(Expired::Record, NO_TIME, TTL).await.expect("asked").expect("found");
    assert_eq!((job.id, job.key, job.state), (done.clone(), None, State::Deleting));
    assert_eq!(jobs.kept_bytes("a@example.com").await.expect("asked"), one, "what is being deleted counts no more");
    assert_eq!(state(&jobs, &waiting).await, State::Stored);
    assert_eq!(
        (jobs.kept_bytes("b@example.com").await.expect("asked"), jobs.kept_bytes("").await.expect("asked")),
        (one, 0)
    );
}

async fn of_many_who_look_for_what_expires_each_finds_another(jobs: Jobs) {
    for _ in 0..4 {
        let id = stored(&jobs, "a@example.com").await;
        assert!(jobs.cancel(&id).await.expect("cancelled"));
    }
    let mut racers = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let jobs = jobs.clone();
        racers.spawn(async move { jobs.expire(Expired::Video, NO_TIME, TTL).await.expect("asked").map(|job| job.id) });
    }
    let found: Vec<_> = racers.join_all().await.into_iter().flatten().collect();
    assert_eq!((found.len(), found.iter().collect::<HashSet<_>>().len()), (4, 4));
}

/// Makes a test of each promise, on the empty ledger that `$ledger` gives (with what it needs to
/// stay alive).
macro_rules! contract {
    ($ledger:expr) => {
        contract! { $ledger =>
            a_job_goes_its_way
            a_move_needs_the_state_it_expects
            one_of_many_gets_the_lease
            a_zombie_loses
            a_failure_keeps_its_reason
            what_is_given_back_can_be_taken
            a_lease_counts_if_its_worker_heard_of_it
            its_owner_can_end_it
            what_was_removed_is_remembered
            a_message_without_a_record_makes_one
            a_list_is_newest_first_in_pages_and_ones_own
            what_is_stuck_is_claimed_by_one
            who_got_no_mail_is_found_once
            outputs_that_do_not_count_are_found
            what_is_tried_again_begins_anew
            a_key_stands_for_one_upload
            who_waits_stands_in_line
            who_has_many_waits_behind_others
            changes_are_seen
            the_time_left_follows_from_the_progress
            workers_are_seen
            a_census_counts_every_state
            what_stands_still_can_be_listed
            a_video_is_kept_for_some_time_and_its_record_longer
            of_many_who_look_for_what_expires_each_finds_another
        }
    };
    ($ledger:expr => $($promise:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $promise() {
            let (jobs, _home) = $ledger.await;
            super::$promise(jobs).await;
        }
    )*};
}

mod mongo {
    use futures_util::TryStreamExt;
    use mongodb::{
        Client,
        bson::{Document, doc},
    };

    use super::*;

    /// The ledger's database has a fixed name, so each test has a server of its own.
    async fn ledger() -> (Jobs, testkit::Mongod) {
        let server = testkit::Mongod::start().await.expect("mongod");
        (Jobs::connect(&Secret::new(server.url()), jobs::LIMIT).await.expect("connect"), server)
    }

    contract!(ledger());

    /// However many there are that need nothing.
    #[tokio::test]
    async fn what_is_stuck_is_found_by_an_index() {
        let (jobs, server) = ledger().await;
        for _ in 0..20 {
            let id = stored(&jobs, "a@example.com").await;
            let job = taken(&jobs, &id, TTL).await;
            assert!(jobs.done(&id, job.attempt, &output()).await.expect("done").is_some());
            assert!(jobs.told(&id, 1).await.expect("told"), "somebody who keeps no ledger");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        jobs.here(&Id::fresh(), Role::Notification).await.expect("here");
        for _ in 0..20 {
            let id = stored(&jobs, "a@example.com").await;
            assert!(jobs.cancel(&stored(&jobs, "a@example.com").await).await.expect("cancelled"));
            let job = taken(&jobs, &id, TTL).await;
            assert!(jobs.done(&id, job.attempt, &output()).await.expect("done").is_some());
            assert!(jobs.told(&id, 1).await.expect("told") && jobs.mailed(&id, 1).await.expect("mailed"));
        }
        let database = Client::with_uri_str(server.url()).await.expect("connect").database("mp3converter");
        database.run_command(doc! {"profile": 2}).await.expect("profiled");
        let all = [
            Stuck::Upload,
            Stuck::Stored,
            Stuck::Queued,
            Stuck::Lease,
            Stuck::Untold,
            Stuck::Unmailed,
            Stuck::Deleting,
        ];
        for stuck in all {
            assert_eq!(jobs.claim(stuck, NO_TIME).await.expect("claim"), None, "{stuck:?}");
        }
        for expired in [Expired::Video, Expired::Record] {
            assert_eq!(jobs.expire(expired, TTL, TTL).await.expect("asked"), None, "{expired:?}");
        }
        for _ in 0..20 {
            let waits = stored(&jobs, "a@example.com").await;
            assert!(jobs.queued(&waits).await.expect("queued"));
            let id = stored(&jobs, "a@example.com").await;
            let job = taken(&jobs, &id, TTL).await;
            assert!(jobs.done(&id, job.attempt, &output()).await.expect("done").is_some());
            assert!(jobs.told(&id, 1).await.expect("told"));
        }
        assert_eq!(jobs.claim(Stuck::Unmailed, TTL).await.expect("claim"), None, "their mails are under way");
        let profile = database.collection::<Document>("system.profile");
        let claims =
            doc! {"command.findAndModify": "jobs", "command.query.$and": {"$exists": true}, "nModified": {"$ne": 1}};
        let seen = profile.find(claims).await.expect("found");
        let seen: Vec<_> = seen.try_collect().await.expect("read");
        assert_eq!(seen.len(), all.len() + 3);
        for query in seen {
            assert!(query.get_i32("docsExamined").is_ok_and(|read| read == 0), "{query}");
        }
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_given_up_in_time() {
        let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("mongodb://{}/?directConnection=true", mute.local_addr().expect("an address"));
        let jobs = Jobs::connect(&Secret::new(url), Duration::from_millis(200)).await.expect("connect");
        let error = tokio::time::timeout(Duration::from_secs(3), jobs.ping()).await.expect("in time");
        assert_eq!(error.expect_err("mute").to_string(), "the ledger does not answer: no answer within 200ms");
    }

    #[tokio::test]
    async fn of_many_who_ask_one_counts() {
        let (jobs, _home) = ledger().await;
        let before = jobs.census(TTL).await.expect("census").expect("made");
        uploading(&jobs, "a@example.com").await;
        assert_eq!(jobs.census(TTL).await.expect("census"), Some(before.clone()), "not yet due");
        assert_ne!(jobs.census(NO_TIME).await.expect("census"), Some(before));
    }
}

mod sqlite {
    use super::*;

    fn url(folder: &tempfile::TempDir) -> Secret {
        Secret::new(format!("sqlite:{}/jobs.db", folder.path().display()))
    }

    async fn ledger() -> (Jobs, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        (Jobs::connect(&url(&folder), jobs::LIMIT).await.expect("connect"), folder)
    }

    contract!(ledger());

    #[tokio::test]
    async fn what_is_written_is_there_for_the_next_who_opens_the_file() {
        let (jobs, folder) = ledger().await;
        let id = stored(&jobs, "a@example.com").await;
        drop(jobs);
        let jobs = Jobs::connect(&url(&folder), jobs::LIMIT).await.expect("connect");
        assert_eq!(state(&jobs, &id).await, State::Stored);
    }

    /// As services in processes of their own have it.
    #[tokio::test(flavor = "multi_thread")]
    async fn of_several_who_have_the_file_open_one_gets_the_lease() {
        let (jobs, folder) = ledger().await;
        let id = stored(&jobs, "a@example.com").await;
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (url, id) = (url(&folder), id.clone());
            workers.spawn(async move {
                let jobs = Jobs::connect(&url, jobs::LIMIT).await.expect("connect");
                jobs.lease(&id, &Id::fresh(), TTL).await.expect("lease")
            });
        }
        let taken = workers.join_all().await.into_iter().filter(|lease| matches!(lease, Lease::Taken(_))).count();
        assert_eq!(taken, 1);
    }
}
