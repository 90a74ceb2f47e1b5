//! What every store of files promises, held against each backend.

use std::{
    io::{Read, Seek, SeekFrom},
    ops::Range,
    time::Duration,
};

use blobs::{Blobs, Meta, ReadAhead};
use common::{Id, Secret};
use futures_util::TryStreamExt;
use tokio::runtime::Handle;

/// Bytes that tell their own place.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

async fn put(store: &Blobs, bytes: &[u8], piece: usize) -> Id {
    let id = Id::fresh();
    let mut writer = store.create(id.clone(), Meta::default()).await.expect("create");
    for piece in bytes.chunks(piece) {
        writer.write(piece).await.expect("write");
    }
    let stat = writer.finish().await.expect("finish");
    assert_eq!((stat.length, &stat.id), (bytes.len() as u64, &id));
    id
}

async fn get(store: &Blobs, id: &Id, range: Range<u64>) -> Vec<u8> {
    let stat = store.stat(id).await.expect("stat").expect("the file is there");
    store.stream(&stat, range).try_collect::<Vec<_>>().await.expect("read").concat()
}

async fn what_goes_in_comes_out(store: Blobs) {
    // None, one byte, and either side of every boundary a backend is likely to have.
    for length in [0, 1, 255 * 1024 - 1, 255 * 1024, 255 * 1024 + 1, 4 * 255 * 1024, 5_000_001] {
        let bytes = pattern(length);
        let id = put(&store, &bytes, 70_001).await;
        assert!(get(&store, &id, 0..u64::MAX).await == bytes, "{length} bytes");
    }
}

async fn any_range_can_be_read(store: Blobs) {
    let bytes = pattern(3_000_000);
    let id = put(&store, &bytes, 1 << 20).await;
    for range in [0..1, 261_119..261_121, 261_120..522_240, 1_500_000..1_500_000, 2_999_999..3_000_000, 7..2_999_993] {
        let read = get(&store, &id, range.clone()).await;
        assert!(read == bytes[range.start as usize..range.end as usize], "{range:?}");
    }
    assert_eq!(get(&store, &id, 2_999_998..9_000_000).await, bytes[2_999_998..], "beyond the end");
}

async fn nobody_sees_a_file_before_it_is_complete(store: Blobs) {
    let id = Id::fresh();
    let mut writer = store.create(id.clone(), Meta::default()).await.expect("create");
    writer.write(&pattern(2_000_000)).await.expect("write");
    assert_eq!(store.stat(&id).await.expect("stat"), None);
    writer.finish().await.expect("finish");
    assert!(store.stat(&id).await.expect("stat").is_some());
}

async fn what_was_written_can_be_rewritten(store: Blobs) {
    for (kept, length) in
        [(600_000, 1_000), (600_000, 300_000), (600_000, 900_000), (600_000, 2_000_000), (0, 5_000_000)]
    {
        let mut bytes = pattern(length);
        let id = Id::fresh();
        let writer = store.create(id.clone(), Meta::default()).await.expect("create");
        let mut writer = writer.keeping_head(kept);
        writer.write(&bytes).await.expect("write");
        // Within a block, and across the edges of GridFS' blocks; kept, on its way, and last.
        let places = [10, 2 * 261_120 - 4, 261_120, 600_000 - 9, 4 * 261_120 - 1, length - 9];
        for at in places.into_iter().filter(|at| at + 9 <= length) {
            writer.rewrite(at as u64, b"corrected").await.expect("rewrite");
            bytes[at..at + 9].copy_from_slice(b"corrected");
        }
        writer.write(b"and more").await.expect("write");
        bytes.extend_from_slice(b"and more");
        writer.finish().await.expect("finish");
        assert!(get(&store, &id, 0..u64::MAX).await == bytes, "{length} bytes");
    }
}

async fn what_is_known_of_a_file_is_kept(store: Blobs) {
    let (id, job) = (Id::fresh(), Id::fresh());
    let meta = Meta {
        username: Some("a@example.com".to_owned()),
        filename: Some("Füße $x 映画.mkv".to_owned()),
        content_type: Some("video/x-matroska".to_owned()),
        job_id: Some(job),
        ..Meta::default()
    };
    let mut writer = store.create(id.clone(), meta.clone()).await.expect("create");
    // Known only when all is written.
    writer.note_waveform(&[0, 7, 255]);
    writer.finish().await.expect("finish");
    let meta = Meta { waveform: Some("0007ff".to_owned()), ..meta };
    assert_eq!(meta.points(), Some(vec![0, 7, 255]));
    assert_eq!(store.stat(&id).await.expect("stat").expect("there").meta, meta);
}

async fn a_deleted_file_is_gone_and_deleting_again_is_fine(store: Blobs) {
    let id = put(&store, &pattern(1_000_000), 1 << 20).await;
    let stat = store.stat(&id).await.expect("stat").expect("there");
    store.delete(&id).await.expect("delete");
    store.delete(&id).await.expect("delete again");
    assert_eq!(store.stat(&id).await.expect("stat"), None);
    // A reader that was at it gets an error, not an early end.
    assert!(store.stream(&stat, 0..u64::MAX).try_collect::<Vec<_>>().await.is_err());
}

async fn an_interrupted_write_leaves_nothing(store: Blobs, remains: impl AsyncFn(&Id) -> u64) {
    for abort in [true, false] {
        let id = Id::fresh();
        let mut writer = store.create(id.clone(), Meta::default()).await.expect("create");
        writer.write(&pattern(6_000_000)).await.expect("write");
        if abort {
            writer.abort().await;
            assert_eq!(remains(&id).await, 0);
        } else {
            drop(writer);
            testkit::eventually(Duration::from_secs(10), async || remains(&id).await == 0).await;
        }
        assert_eq!(store.stat(&id).await.expect("stat"), None);
    }
}

async fn files_are_listed_with_the_jobs_they_are_of(store: Blobs) {
    let id = |n: u64| format!("5f000000{n:016x}").parse::<Id>().expect("an id");
    let job = Id::fresh();
    let of_job = Meta { job_id: Some(job.clone()), ..Meta::default() };
    let begin = async |n, meta: &Meta| store.create(id(n), meta.clone()).await.expect("create");
    for (n, meta) in [(3, &of_job), (1, &of_job), (5, &Meta::default()), (6, &of_job)] {
        let mut writer = begin(n, meta).await;
        writer.write(b"whole").await.expect("write");
        writer.finish().await.expect("finish");
    }
    let mut unfinished = begin(4, &of_job).await;
    unfinished.write(&pattern(2_000_000)).await.expect("write");
    let page = async |after| store.list(&id(after), &id(6), 2).await.expect("list");
    assert_eq!(page(0).await, [(id(1), Some(job.clone())), (id(3), Some(job))]);
    assert_eq!(page(3).await, [(id(5), None)]);
    assert_eq!(page(5).await, []);
    unfinished.abort().await;
}

async fn a_demuxer_can_read_and_seek(store: Blobs) {
    let bytes = pattern(4_000_000);
    let id = put(&store, &bytes, 1 << 20).await;
    let stat = store.stat(&id).await.expect("stat").expect("there");
    let runtime = Handle::current();
    let read = move || {
        let mut reader = ReadAhead::new(store, stat, runtime);
        let mut piece = vec![0; 50_000];
        for at in [0u64, 3_900_000, 10, 1_000_000, 1_050_000, 1_100_000, 2_500_000, 2_400_000] {
            assert_eq!(reader.seek(SeekFrom::Start(at)).expect("seek"), at);
            reader.read_exact(&mut piece).expect("read");
            assert!(piece == bytes[at as usize..at as usize + piece.len()], "at {at}");
        }
        assert_eq!(reader.seek(SeekFrom::End(-3)).expect("seek"), 3_999_997);
        let mut tail = Vec::new();
        reader.read_to_end(&mut tail).expect("read");
        assert_eq!(tail, bytes[3_999_997..]);
        reader.rewind().expect("seek");
        let mut all = Vec::new();
        reader.read_to_end(&mut all).expect("read");
        assert!(all == bytes);
        assert!(reader.seek(SeekFrom::Current(-9_000_000)).is_err());
        reader.seek(SeekFrom::Start(9_000_000)).expect("beyond the end is a place too");
        assert_eq!(reader.read(&mut piece).expect("read"), 0);
    };
    tokio::task::spawn_blocking(read).await.expect("as promised");
}

async fn it_knows_what_it_takes_up(store: Blobs) {
    put(&store, b"", 1).await;
    let before = store.usage().await.expect("usage");
    let id = put(&store, &pattern(3_000_000), 1 << 20).await;
    let after = store.usage().await.expect("usage");
    assert!((3_000_000..3_100_000).contains(&(after.bytes - before.bytes)), "{before:?} {after:?}");
    let disk = after.disk.expect("a disk of our own");
    assert!(disk.free > 0 && disk.free < disk.size, "{disk:?}");
    store.delete(&id).await.expect("delete");
    assert_eq!(store.usage().await.expect("usage").bytes, before.bytes);
}

/// Makes a test of each promise, on the empty store that `$store` gives (with what it needs to
/// stay alive).
macro_rules! contract {
    ($store:expr) => {
        contract! { $store =>
            what_goes_in_comes_out
            any_range_can_be_read
            nobody_sees_a_file_before_it_is_complete
            what_was_written_can_be_rewritten
            what_is_known_of_a_file_is_kept
            a_deleted_file_is_gone_and_deleting_again_is_fine
            files_are_listed_with_the_jobs_they_are_of
            a_demuxer_can_read_and_seek
            it_knows_what_it_takes_up
        }
    };
    ($store:expr => $($promise:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $promise() {
            let (store, _home) = $store.await;
            super::$promise(store).await;
        }
    )*};
}

mod gridfs {
    use mongodb::{
        Client, Database,
        bson::{Binary, Bson, Document, doc, oid::ObjectId, spec::BinarySubtype},
    };
    use testkit::Servers;

    use super::*;

    async fn store() -> (Blobs, Database) {
        let servers = Servers::shared();
        let uri = servers.mongodb_uri();
        let name = testkit::unique_name("videos");
        let store = Blobs::connect(&Secret::new(uri), &name, blobs::LIMIT).await.expect("connect");
        (store, Client::with_uri_str(uri).await.expect("connect").database(&name))
    }

    contract!(store());

    #[tokio::test(flavor = "multi_thread")]
    async fn an_interrupted_write_leaves_nothing() {
        let (store, database) = store().await;
        let remains = async |id: &Id| {
            let key = ObjectId::parse_str(id.as_str()).expect("id");
            let chunks = database.collection::<Document>("fs.chunks");
            chunks.count_documents(doc! {"files_id": key}).await.expect("count")
        };
        super::an_interrupted_write_leaves_nothing(store, remains).await;
    }

    /// The driver's own GridFS stands in for any other client.
    #[tokio::test(flavor = "multi_thread")]
    async fn others_can_read_what_we_wrote() {
        let (store, database) = store().await;
        let bytes = pattern(1_234_567);
        let id = put(&store, &bytes, 100_000).await;
        let key = ObjectId::parse_str(id.as_str()).expect("id");
        let mut stream = database.gridfs_bucket(None).open_download_stream(key.into()).await.expect("open");
        let mut read = Vec::new();
        futures_util::AsyncReadExt::read_to_end(&mut stream, &mut read).await.expect("read");
        assert!(read == bytes);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn we_can_read_what_others_wrote() {
        let (store, database) = store().await;
        let bytes = pattern(777_777);
        let options = mongodb::options::GridFsBucketOptions::builder().chunk_size_bytes(100_000).build();
        let mut stream = database.gridfs_bucket(options).open_upload_stream("film.avi").await.expect("open");
        futures_util::AsyncWriteExt::write_all(&mut stream, &bytes).await.expect("write");
        futures_util::AsyncWriteExt::close(&mut stream).await.expect("close");
        let id: Id = stream.id().as_object_id().expect("an ObjectId").to_hex().parse().expect("id");
        assert!(get(&store, &id, 0..u64::MAX).await == bytes);
        assert!(get(&store, &id, 99_999..300_001).await == bytes[99_999..300_001]);
        let meta = store.stat(&id).await.expect("stat").expect("there").meta;
        assert_eq!(meta, Meta { filename: Some("film.avi".to_owned()), ..Meta::default() });
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_missing_or_short_chunk_is_an_error() {
        let (store, database) = store().await;
        let chunks = database.collection::<Document>("fs.chunks");
        for damage in [doc! {"$set": {"n": 99}}, doc! {"$set": {"data": short()}}] {
            let id = put(&store, &pattern(1_000_000), 1 << 20).await;
            let key = ObjectId::parse_str(id.as_str()).expect("id");
            chunks.update_one(doc! {"files_id": key, "n": 2}, damage).await.expect("damage");
            let stat = store.stat(&id).await.expect("stat").expect("there");
            assert!(store.stream(&stat, 0..u64::MAX).try_collect::<Vec<_>>().await.is_err());
        }
    }

    fn short() -> Bson {
        Binary { subtype: BinarySubtype::Generic, bytes: vec![0; 10] }.into()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_chunk_cannot_be_there_twice() {
        let (store, database) = store().await;
        let id = put(&store, &pattern(10), 10).await;
        let key = ObjectId::parse_str(id.as_str()).expect("id");
        let twin = doc! {"files_id": key, "n": 0, "data": short()};
        assert!(database.collection::<Document>("fs.chunks").insert_one(twin).await.is_err());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_sweep_removes_old_orphans_alone() {
        let (store, database) = store().await;
        let chunks = database.collection::<Document>("fs.chunks");
        let kept = put(&store, &pattern(600_000), 1 << 20).await;
        let old = ObjectId::parse_str("5f0000000000000000000001").expect("id");
        for (files_id, n) in [(old, 1), (old, 2), (ObjectId::new(), 0)] {
            chunks.insert_one(doc! {"files_id": files_id, "n": n, "data": short()}).await.expect("insert");
        }
        assert_eq!(store.sweep(Duration::from_secs(3_600)).await.expect("sweep"), 1);
        assert_eq!(store.sweep(Duration::from_secs(3_600)).await.expect("sweep"), 0);
        assert_eq!(chunks.count_documents(doc! {"files_id": old}).await.expect("count"), 0);
        assert_eq!(chunks.count_documents(doc! {}).await.expect("count"), 3 + 1);
        assert_eq!(get(&store, &kept, 0..u64::MAX).await.len(), 600_000);
    }

    /// A file of which something is missing is never made.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_write_that_was_swept_up_fails() {
        let (store, database) = store().await;
        let mut writer = store.create(Id::fresh(), Meta::default()).await.expect("create");
        writer.write(&pattern(3 << 20)).await.expect("write");
        let chunks = database.collection::<Document>("fs.chunks");
        let some = async || chunks.count_documents(doc! {}).await.is_ok_and(|count| count > 0);
        testkit::eventually(Duration::from_secs(20), some).await;
        chunks.delete_one(doc! {"n": 0}).await.expect("delete");
        assert!(matches!(writer.finish().await, Err(blobs::Error::Unavailable(_))));
        assert_eq!(chunks.count_documents(doc! {}).await.expect("count"), 0);
    }

    /// A transaction that holds the same key makes the server sit on an insert for as long as it likes.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_arrives_after_the_writer_gave_up_is_removed() {
        tokio::join!(
            arrives_late("fs.chunks", |file| doc! {"files_id": file, "n": 0}),
            arrives_late("fs.files", |file| doc! {"_id": file}),
        );
    }

    async fn arrives_late(held: &str, twin: impl Fn(ObjectId) -> Document) {
        let (store, database) = store().await;
        put(&store, b"makes the collections", 10).await;
        let uri = Secret::new(Servers::shared().mongodb_uri());
        let store = Blobs::connect(&uri, database.name(), Duration::from_secs(10)).await.expect("connect");
        let id = Id::fresh();
        let file = ObjectId::parse_str(id.as_str()).expect("id");
        let mut session = database.client().start_session().await.expect("session");
        session.start_transaction().await.expect("transaction");
        let twin = twin(file);
        database.collection::<Document>(held).insert_one(twin).session(&mut session).await.expect("hold");
        let mut writer = store.create(id, Meta::default()).await.expect("create");
        writer.write(b"too late").await.expect("write");
        assert!(matches!(writer.finish().await, Err(blobs::Error::Unavailable(_))), "{held}");
        session.abort_transaction().await.expect("let go");
        let log = database.client().database("local").collection::<Document>("oplog.rs");
        let removed = doc! {"ns": format!("{}.{held}", database.name()), "op": "d"};
        let was_removed = async || log.find_one(removed.clone()).await.expect("log").is_some();
        testkit::eventually(Duration::from_secs(20), was_removed).await;
        for collection in ["fs.chunks", "fs.files"] {
            let left = database.collection::<Document>(collection);
            let one = async || left.count_documents(doc! {}).await.expect("count") == 1;
            testkit::eventually(Duration::from_secs(20), one).await;
        }
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_given_up_in_time() {
        let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = Secret::new(format!("mongodb://{}/?directConnection=true", mute.local_addr().expect("an address")));
        let store = Blobs::connect(&url, "videos", Duration::from_millis(200)).await.expect("connect");
        let asked = tokio::time::timeout(Duration::from_secs(3), store.stat(&Id::fresh())).await.expect("in time");
        assert_eq!(asked.expect_err("mute").to_string(), "the store does not answer: no answer within 200ms");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_that_is_away_is_an_error_in_time_and_no_reason_to_restart() {
        let mut server = testkit::Mongod::start().await.expect("mongod");
        let store = Blobs::connect(&Secret::new(server.url()), "videos", blobs::LIMIT).await.expect("connect");
        let id = put(&store, b"before", 10).await;
        server.stop().await.expect("stop");
        let asked = std::time::Instant::now();
        assert!(store.stat(&id).await.is_err());
        assert!(store.create(Id::fresh(), Meta::default()).await.is_ok(), "nothing was asked of it yet");
        assert!(asked.elapsed() < Duration::from_secs(31), "{:?}", asked.elapsed());
        server.restart().await.expect("restart");
        testkit::eventually(Duration::from_secs(20), async || store.stat(&id).await.is_ok_and(|s| s.is_some())).await;
    }
}

mod file {
    use std::{
        fs::{self, File},
        time::SystemTime,
    };

    use tempfile::TempDir;

    use super::*;

    async fn store() -> (Blobs, TempDir) {
        let home = tempfile::tempdir().expect("a folder");
        let url = format!("file:{}/with%20a%20space", home.path().display());
        (Blobs::connect(&Secret::new(url), "videos", blobs::LIMIT).await.expect("connect"), home)
    }

    fn folder(home: &TempDir) -> std::path::PathBuf {
        home.path().join("with a space/videos")
    }

    /// The names in the store that begin like this.
    fn names(home: &TempDir, begin: &str) -> Vec<String> {
        let entries = fs::read_dir(folder(home)).expect("a folder");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
        names.retain(|name| name.starts_with(begin));
        names.sort();
        names
    }

    contract!(store());

    #[tokio::test(flavor = "multi_thread")]
    async fn an_interrupted_write_leaves_nothing() {
        let (store, home) = store().await;
        super::an_interrupted_write_leaves_nothing(store, async |id| names(&home, id.as_str()).len() as u64).await;
    }

    #[tokio::test]
    async fn a_file_is_a_file_for_everybody() {
        let (store, home) = store().await;
        let id = put(&store, b"plain bytes", 4).await;
        assert_eq!(fs::read(folder(&home).join(id.as_str())).expect("a file"), b"plain bytes");
        assert_eq!(names(&home, ""), [id.to_string(), format!("{id}.json")]);
        store.delete(&id).await.expect("delete");
        assert_eq!(names(&home, ""), [""; 0]);
    }

    #[tokio::test]
    async fn a_file_that_was_cut_off_is_an_error() {
        let (store, home) = store().await;
        let id = put(&store, &pattern(1_000_000), 1 << 20).await;
        let stat = store.stat(&id).await.expect("stat").expect("there");
        File::options().write(true).open(folder(&home).join(id.as_str())).and_then(|f| f.set_len(10)).expect("cut");
        assert!(store.stream(&stat, 0..u64::MAX).try_collect::<Vec<_>>().await.is_err());
    }

    /// As after a power cut, at each step of a write.
    #[tokio::test]
    async fn the_sweep_removes_old_remains_alone() {
        let (store, home) = store().await;
        let kept = put(&store, &pattern(10), 10).await;
        let long_ago = SystemTime::now() - Duration::from_secs(7_200);
        let leave = |name: String, at: SystemTime| {
            let file = File::create(folder(&home).join(name)).expect("a file");
            file.set_modified(at).expect("a time");
        };
        let (early, late, fresh) = (Id::fresh(), Id::fresh(), Id::fresh());
        leave(format!("{early}.part"), long_ago);
        leave(format!("{late}.part"), long_ago);
        leave(format!("{late}.json"), long_ago);
        leave(format!("{fresh}.part"), SystemTime::now());
        leave("notes.part".to_owned(), long_ago);
        assert_eq!(store.sweep(Duration::from_secs(3_600)).await.expect("sweep"), 2);
        assert_eq!(store.sweep(Duration::from_secs(3_600)).await.expect("sweep"), 0);
        let mut left = vec![kept.to_string(), format!("{kept}.json"), format!("{fresh}.part"), "notes.part".to_owned()];
        left.sort();
        assert_eq!(names(&home, ""), left);
        store.delete(&fresh).await.expect("delete");
        assert_eq!(names(&home, fresh.as_str()), [""; 0]);
    }

    #[tokio::test]
    async fn a_folder_that_is_away_is_an_error_and_not_an_empty_store() {
        let (store, home) = store().await;
        let id = put(&store, b"before", 10).await;
        let stat = store.stat(&id).await.expect("stat").expect("there");
        let (here, away) = (folder(&home), home.path().join("away"));
        fs::rename(&here, &away).expect("taken away");
        assert!(store.ping().await.is_err() && store.stat(&id).await.is_err() && store.delete(&id).await.is_err());
        assert!(store.create(Id::fresh(), Meta::default()).await.is_err());
        let read = store.stream(&stat, 0..1).try_collect::<Vec<_>>().await;
        assert!(matches!(read, Err(blobs::Error::Unavailable(_))), "{read:?}");
        fs::rename(&away, &here).expect("brought back");
        store.ping().await.expect("there again");
        assert_eq!(get(&store, &id, 0..u64::MAX).await, b"before");
    }

    #[tokio::test]
    async fn only_absolute_paths_are_taken() {
        for url in ["file:", "file:videos", "file://host/videos"] {
            assert!(Blobs::connect(&Secret::new(url), "x", blobs::LIMIT).await.is_err(), "{url}");
        }
    }
}
