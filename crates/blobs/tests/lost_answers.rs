//! What the server does and cannot say, because the wire breaks in between: a file whose writer was told of an error
//! is never there in part, and in the end not at all.

use std::time::Duration;

use blobs::{Blobs, Error, Meta, Stat};
use common::{Id, Secret};
use futures_util::TryStreamExt;
use mongodb::{
    Client, Database,
    bson::{Document, doc, oid::ObjectId},
};
use testkit::{Breakage, Proxy, Servers, eventually};

const LIMIT: Duration = Duration::from_secs(5);
/// For what must happen.
const SOON: Duration = Duration::from_secs(30);
const BYTES: &[u8] = b"all of it";

async fn put(store: &Blobs, id: Id) -> Result<Stat, Error> {
    let mut writer = store.create(id, Meta::default()).await?;
    writer.write(BYTES).await?;
    writer.finish().await
}

async fn get(store: &Blobs, stat: &Stat) -> Vec<u8> {
    store.stream(stat, 0..u64::MAX).try_collect::<Vec<_>>().await.expect("read").concat()
}

/// A store at the end of a wire, and what is the same without it.
struct Store {
    far: Blobs,
    near: Blobs,
    database: Database,
    wire: Proxy,
}

impl Store {
    async fn start() -> Self {
        let (servers, name) = (Servers::shared(), testkit::unique_name("videos"));
        let uri = servers.mongodb_uri();
        let near = Blobs::connect(&Secret::new(uri), &name, blobs::LIMIT).await.expect("connect");
        let database = Client::with_uri_str(uri).await.expect("connect").database(&name);
        let (wire, url) = Proxy::before(uri).await;
        let far = Blobs::connect(&Secret::new(url), &name, LIMIT).await.expect("connect");
        // With a connection at hand and the indexes made, a request is one question and one answer.
        eventually(SOON, || put(&far, Id::fresh())).await;
        Self { far, near, database, wire }
    }

    /// So many chunks of this file arrive, or are left.
    async fn has_chunks(&self, file: ObjectId, count: u64) {
        let chunks = self.database.collection::<Document>("fs.chunks");
        let of_it = doc! {"files_id": file};
        eventually(SOON, async || chunks.count_documents(of_it.clone()).await.is_ok_and(|n| n == count)).await;
    }

    fn mend(&self) {
        self.wire.mend();
        // The connections that lost answers are of no more use.
        self.wire.cut();
    }

    async fn can_be_used_again(&self) {
        let stat = eventually(SOON, || put(&self.far, Id::fresh())).await;
        assert_eq!(get(&self.far, &stat).await, BYTES);
    }
}

fn fresh() -> (Id, ObjectId) {
    let id = Id::fresh();
    let file = ObjectId::parse_str(id.as_str()).expect("id");
    (id, file)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_bytes_were_not_acknowledged_is_not_made() {
    let store = Store::start().await;
    let (id, file) = fresh();
    store.wire.break_it(Breakage::SwallowReplies);
    let finished = tokio::time::timeout(LIMIT * 3, put(&store.far, id.clone())).await.expect("given up in time");
    assert!(matches!(finished, Err(Error::Unavailable(_))), "{finished:?}");
    store.has_chunks(file, 1).await;
    assert_eq!(store.near.stat(&id).await.expect("stat"), None);
    store.mend();
    store.can_be_used_again().await;
    store.has_chunks(file, 0).await;
    assert_eq!(store.near.stat(&id).await.expect("stat"), None);
}

/// A transaction that holds the same key makes the server sit on the record until the wire is broken.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_made_unheard_is_whole_until_it_is_removed() {
    let store = Store::start().await;
    let (id, file) = fresh();
    let client = store.database.client();
    let mut session = client.start_session().await.expect("session");
    session.start_transaction().await.expect("transaction");
    let files = store.database.collection::<Document>("fs.files");
    files.insert_one(doc! {"_id": file}).session(&mut session).await.expect("hold");
    let finished = {
        let (far, id) = (store.far.clone(), id.clone());
        tokio::spawn(async move { put(&far, id).await })
    };
    let waits = doc! {"currentOp": 1, "op": "insert", "ns": format!("{}.fs.files", store.database.name())};
    eventually(SOON, async || {
        let found = client.database("admin").run_command(waits.clone()).await;
        found.is_ok_and(|found| found.get_array("inprog").is_ok_and(|inserts| !inserts.is_empty()))
    })
    .await;
    store.wire.break_it(Breakage::SwallowReplies);
    session.abort_transaction().await.expect("let go");
    let finished = tokio::time::timeout(LIMIT * 3, finished).await.expect("given up in time").expect("no panic");
    assert!(matches!(finished, Err(Error::Unavailable(_))), "{finished:?}");
    let stat = eventually(SOON, async || store.near.stat(&id).await.ok().flatten()).await;
    assert_eq!(get(&store.near, &stat).await, BYTES);
    store.mend();
    // Its writer hears at last that it was made, and nobody waits for it any more.
    eventually(SOON, async || store.near.stat(&id).await.is_ok_and(|stat| stat.is_none())).await;
    store.has_chunks(file, 0).await;
    store.can_be_used_again().await;
}
