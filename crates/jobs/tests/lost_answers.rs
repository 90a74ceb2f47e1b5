//! What the server does and cannot say, because the wire breaks in between: the same request, made again, finds it
//! done and takes it for its own.

use std::{fmt::Debug, time::Duration};

use common::{Id, Secret};
use jobs::{Jobs, Lease, NewJob, Output, Settings, State};
use testkit::{Breakage, Mongod, Proxy, eventually};

const OWNER: &str = "a@example.com";
const LIMIT: Duration = Duration::from_secs(2);
/// For what must happen.
const SOON: Duration = Duration::from_secs(30);

fn new() -> NewJob {
    NewJob {
        id: Id::fresh(),
        owner: OWNER.to_owned(),
        filename: None,
        video_fid: Id::fresh(),
        settings: Settings::default(),
        key: None,
        traceparent: None,
    }
}

/// A ledger at the end of a wire, and the same one without it.
struct Ledger {
    far: Jobs,
    near: Jobs,
    wire: Proxy,
    _server: Mongod,
}

impl Ledger {
    async fn start() -> Self {
        let server = Mongod::start().await.expect("mongod");
        let near = Jobs::connect(&Secret::new(server.url()), jobs::LIMIT).await.expect("connect");
        let (wire, url) = Proxy::before(&server.url()).await;
        let far = Jobs::connect(&Secret::new(url), LIMIT).await.expect("connect");
        // With a connection at hand and its indexes made, a request is one question and one answer.
        eventually(SOON, || far.create(NewJob { owner: "somebody@example.com".to_owned(), ..new() })).await;
        Self { far, near, wire, _server: server }
    }

    /// The request is heard and done, but nobody is told.
    async fn lose_answer<T: Debug>(&self, request: impl Future<Output = jobs::Result<T>>) {
        self.wire.break_it(Breakage::SwallowReplies);
        let answer = tokio::time::timeout(LIMIT * 5, request).await.expect("given up in time");
        let error = answer.expect_err("the answer was lost");
        assert_eq!(error.to_string(), "the ledger does not answer: no answer within 2s");
    }

    fn mend(&self) {
        self.wire.mend();
        // The connections that lost answers are of no more use.
        self.wire.cut();
    }

    /// By the wire that does not break.
    async fn comes_to_be(&self, id: &Id, state: State) {
        eventually(SOON, async || self.near.get(id).await.is_ok_and(|job| job.is_some_and(|job| job.state == state)))
            .await;
    }

    async fn stored(&self) -> Id {
        let new = new();
        let id = new.id.clone();
        assert!(self.near.create(new).await.expect("create"));
        assert!(self.near.stored(&id, 123).await.expect("stored").is_some());
        id
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_made_is_found() {
    let ledger = Ledger::start().await;
    let new = new();
    ledger.lose_answer(ledger.far.create(new.clone())).await;
    ledger.comes_to_be(&new.id, State::Uploading).await;
    ledger.mend();
    assert!(eventually(SOON, || ledger.far.create(new.clone())).await, "it is its own");
    let job = ledger.far.get(&new.id).await.expect("get").expect("there");
    assert_eq!((job.state, job.video_fid), (State::Uploading, new.video_fid));
    let page = ledger.far.list(OWNER, None, 10).await.expect("list");
    assert_eq!(page.jobs.into_iter().map(|job| job.id).collect::<Vec<_>>(), [new.id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_is_accepted() {
    let ledger = Ledger::start().await;
    let new = new();
    let id = new.id.clone();
    assert!(ledger.near.create(new).await.expect("create"));
    ledger.lose_answer(ledger.far.stored(&id, 123)).await;
    ledger.comes_to_be(&id, State::Stored).await;
    ledger.mend();
    let job = eventually(SOON, || ledger.far.stored(&id, 123)).await.expect("it was not given up");
    assert_eq!((&job.id, job.state, job.video_bytes), (&id, State::Stored, Some(123)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_counts_goes_on_counting() {
    let ledger = Ledger::start().await;
    let id = ledger.stored().await;
    let Lease::Taken(job) = ledger.near.lease(&id, &Id::fresh(), SOON * 2).await.expect("lease") else {
        panic!("not taken");
    };
    let output = Output { mp3_fid: Id::fresh(), mp3_bytes: 9, duration: Duration::from_millis(1_500) };
    ledger.lose_answer(ledger.far.done(&id, job.attempt, &output)).await;
    ledger.comes_to_be(&id, State::Done).await;
    ledger.mend();
    let job = eventually(SOON, || ledger.far.done(&id, job.attempt, &output)).await.expect("no other result counts");
    assert_eq!((job.state, job.mp3_fid, job.mp3_bytes), (State::Done, Some(output.mp3_fid), Some(9)));
}
