//! What every ledger promises, held against each backend.

use std::time::Duration;

use common::{Id, Secret};
use jobs::{Job, Jobs, Lease, NewJob, Output, State, Stuck};

const TTL: Duration = Duration::from_secs(60);
/// So short that it is over before the next request.
const NO_TIME: Duration = Duration::ZERO;

async fn uploading(jobs: &Jobs, owner: &str) -> Id {
    let new = NewJob {
        id: Id::fresh(),
        owner: owner.to_owned(),
        filename: Some("$film.mp4".to_owned()),
        video_fid: Id::fresh(),
    };
    let id = new.id.clone();
    jobs.create(new).await.expect("create");
    id
}

async fn stored(jobs: &Jobs, owner: &str) -> Id {
    let id = uploading(jobs, owner).await;
    assert!(jobs.stored(&id, 123).await.expect("stored"));
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
    assert!(jobs.still_uploading(&id).await.expect("going on"));
    assert!(jobs.stored(&id, 123).await.expect("stored"));
    assert!(jobs.queued(&id).await.expect("queued"));
    let job = taken(&jobs, &id, TTL).await;
    assert_eq!((job.state, job.attempt, job.outputs.len(), job.video_bytes), (State::Converting, 1, 1, Some(123)));
    assert!(jobs.renew(&id, 1, 42, TTL).await.expect("renew"));
    assert_eq!(jobs.get(&id).await.expect("get").expect("there").percent, 42);
    let output = output();
    assert!(jobs.done(&id, 1, &output).await.expect("done"));
    let job = jobs.by_mp3(&output.mp3_fid).await.expect("get").expect("found by its result");
    assert_eq!((job.state, job.percent, job.duration_s, job.mp3_bytes), (State::Done, 100, Some(1.5), Some(9)));
    assert!(!job.told && !job.mailed);
    assert!(jobs.told(&id).await.expect("told"));
    assert!(!jobs.told(&id).await.expect("told once"));
    assert!(jobs.mailed(&id).await.expect("mailed"));
    let job = jobs.by_video(&job.video_fid).await.expect("get").expect("found by its video");
    assert!(job.told && job.mailed);
}

async fn a_move_needs_the_state_it_expects(jobs: Jobs) {
    let id = uploading(&jobs, "a@example.com").await;
    assert!(!jobs.queued(&id).await.expect("not yet stored"));
    assert!(matches!(jobs.lease(&id, &Id::fresh(), TTL).await.expect("lease"), Lease::Held));
    assert!(!jobs.deleting(&id).await.expect("not over"));
    assert!(jobs.stored(&id, 1).await.expect("stored"));
    assert!(jobs.stored(&id, 1).await.expect("the same move, repeated after a lost answer"));
    assert!(!jobs.abandon(&id).await.expect("accepted"), "an accepted job cannot be abandoned");
    assert!(!jobs.still_uploading(&id).await.expect("over"));
    assert!(!jobs.done(&id, 1, &output()).await.expect("nobody's lease"));
    assert!(!jobs.renew(&id, 0, 1, TTL).await.expect("nobody's lease"));
    assert!(matches!(jobs.lease(&Id::fresh(), &Id::fresh(), TTL).await.expect("lease"), Lease::Gone));
    assert!(!jobs.stored(&Id::fresh(), 1).await.expect("no such job"));
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
    assert!(!jobs.done(&id, zombie.attempt, &output()).await.expect("done"));
    assert!(!jobs.failed(&id, zombie.attempt, "no").await.expect("failed"));
    assert!(!jobs.release(&id, zombie.attempt).await.expect("release"));
    let output = output();
    assert!(jobs.done(&id, heir.attempt, &output).await.expect("done"));
    assert!(jobs.done(&id, heir.attempt, &output).await.expect("repeated after a lost answer"));
    assert!(matches!(jobs.lease(&id, &Id::fresh(), TTL).await.expect("lease"), Lease::Over(_)));
}

async fn a_failure_keeps_its_reason(jobs: Jobs) {
    let id = stored(&jobs, "a@example.com").await;
    let job = taken(&jobs, &id, TTL).await;
    let reason = "$reason \"quoted\" {$x: 1}";
    assert!(jobs.failed(&id, job.attempt, reason).await.expect("failed"));
    let job = jobs.get(&id).await.expect("get").expect("there");
    assert_eq!((job.state, job.reason.as_deref()), (State::Failed, Some(reason)));
    assert_eq!(job.message().reason.as_deref(), Some(reason));
}

async fn what_is_given_back_can_be_taken(jobs: Jobs) {
    let id = stored(&jobs, "a@example.com").await;
    let job = taken(&jobs, &id, TTL).await;
    assert!(jobs.release(&id, job.attempt).await.expect("release"));
    assert_eq!(state(&jobs, &id).await, State::Queued);
    assert_eq!(taken(&jobs, &id, TTL).await.attempt, 2);
}

async fn its_owner_can_end_it(jobs: Jobs) {
    let id = stored(&jobs, "a@example.com").await;
    let job = taken(&jobs, &id, TTL).await;
    assert!(!jobs.deleting(&id).await.expect("still running"));
    assert!(jobs.cancel(&id).await.expect("cancel"));
    assert!(!jobs.cancel(&id).await.expect("cancelled already"));
    assert!(!jobs.renew(&id, job.attempt, 1, TTL).await.expect("the worker learns of it"));
    assert!(!jobs.done(&id, job.attempt, &output()).await.expect("too late"));
    assert!(!jobs.remove(&id).await.expect("files first"));
    assert!(jobs.deleting(&id).await.expect("deleting"));
    let page = jobs.list("a@example.com", None, 10).await.expect("list");
    assert!(page.jobs.iter().all(|job| job.id != id), "no longer visible");
    assert!(jobs.remove(&id).await.expect("remove"));
    assert_eq!(jobs.get(&id).await.expect("get"), None);
}

async fn a_message_without_a_record_makes_one(jobs: Jobs) {
    let video = Id::fresh();
    let (first, second) = tokio::join!(jobs.adopt(&video, "a@example.com"), jobs.adopt(&video, "a@example.com"));
    let (first, second) = (first.expect("adopt"), second.expect("adopt"));
    assert_eq!((&first.id, &second.id), (&video, &video));
    assert_eq!((first.state, first.owner.as_str()), (State::Queued, "a@example.com"));
    // A video that has a record under another id keeps it.
    let id = stored(&jobs, "a@example.com").await;
    let known = jobs.get(&id).await.expect("get").expect("there");
    assert_eq!(jobs.adopt(&known.video_fid, "x@example.com").await.expect("adopt").id, id);
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
    assert!(jobs.failed(&lost, job.attempt, "no sound").await.expect("failed"));
    assert_eq!(claim(Stuck::Untold).await.id, lost);
    assert!(jobs.told(&lost).await.expect("told"));
    assert_eq!(jobs.claim(Stuck::Untold, NO_TIME).await.expect("claim"), None);
}

async fn workers_are_seen(jobs: Jobs) {
    assert!(!jobs.any_worker(TTL).await.expect("ask"));
    jobs.here(&Id::fresh()).await.expect("here");
    assert!(jobs.any_worker(TTL).await.expect("ask"));
    assert!(!jobs.any_worker(NO_TIME).await.expect("ask"));
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
            its_owner_can_end_it
            a_message_without_a_record_makes_one
            a_list_is_newest_first_in_pages_and_ones_own
            what_is_stuck_is_claimed_by_one
            workers_are_seen
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
    use super::*;

    /// The ledger's database has a fixed name, so each test has a server of its own.
    async fn ledger() -> (Jobs, testkit::Mongod) {
        let server = testkit::Mongod::start().await.expect("mongod");
        (Jobs::connect(&Secret::new(server.url())).await.expect("connect"), server)
    }

    contract!(ledger());
}

mod sqlite {
    use super::*;

    fn url(folder: &tempfile::TempDir) -> Secret {
        Secret::new(format!("sqlite:{}/jobs.db", folder.path().display()))
    }

    async fn ledger() -> (Jobs, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        (Jobs::connect(&url(&folder)).await.expect("connect"), folder)
    }

    contract!(ledger());

    #[tokio::test]
    async fn what_is_written_is_there_for_the_next_who_opens_the_file() {
        let (jobs, folder) = ledger().await;
        let id = stored(&jobs, "a@example.com").await;
        drop(jobs);
        let jobs = Jobs::connect(&url(&folder)).await.expect("connect");
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
                let jobs = Jobs::connect(&url).await.expect("connect");
                jobs.lease(&id, &Id::fresh(), TTL).await.expect("lease")
            });
        }
        let taken = workers.join_all().await.into_iter().filter(|lease| matches!(lease, Lease::Taken(_))).count();
        assert_eq!(taken, 1);
    }
}
