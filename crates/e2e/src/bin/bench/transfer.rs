//! How fast a film gets into the store, and out of it.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    time::Instant,
};

use anyhow::{Context, ensure};
use mongodb::{
    Client, Collection,
    bson::{Binary, RawDocumentBuf, doc, oid::ObjectId, rawdoc, spec::BinarySubtype},
    options::{Acknowledgment, ClientOptions, WriteConcern},
};

use crate::{Bench, python, report::Report};

const MEGA: f64 = 1e6;
/// Chunks of one insert of the ceiling: about 1 MiB.
const BATCH: usize = 4;
const CHUNK: usize = 255 * 1024;

pub async fn upload(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let (mut ours, mut python, mut ceiling) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        ours.push(bench.bytes as f64 / post(bench).await? / MEGA);
        drop_store(bench).await?;
        python.push(bench.bytes as f64 / pymongo(bench, "put").await? / MEGA);
        drop_store(bench).await?;
        ceiling.push(bench.bytes as f64 / raw_inserts(bench).await? / MEGA);
        drop_store(bench).await?;
    }
    report.compare(
        &format!("Upload of {} MiB", bench.bytes >> 20),
        "MB/s",
        true,
        vec![
            ("POST /upload, from the socket into GridFS", ours),
            ("pymongo `GridFS.put` of a local file, no HTTP", python),
            ("the ceiling: chunks built beforehand, inserted over two connections", ceiling),
        ],
    )
}

pub async fn download(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    pymongo(bench, "put-mp3").await?;
    let client = Client::with_uri_str(bench.app.mongod.url()).await?;
    let files: Collection<mongodb::bson::Document> = client.database("mp3s").collection("fs.files");
    let file = files.find_one(doc! {}).await?.context("the file is there")?;
    let fid = file.get_object_id("_id")?.to_hex();
    let (mut ours, mut python) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        ours.push(bench.bytes as f64 / get(bench, fid.clone()).await? / MEGA);
        python.push(bench.bytes as f64 / pymongo(bench, "get").await? / MEGA);
    }
    drop_store(bench).await?;
    report.compare(
        &format!("Download of {} MiB", bench.bytes >> 20),
        "MB/s",
        true,
        vec![("GET /download, from GridFS to the socket", ours), ("pymongo `GridFS.get`, no HTTP", python)],
    )
}

async fn drop_store(bench: &Bench) -> anyhow::Result<()> {
    let client = Client::with_uri_str(bench.app.mongod.url()).await?;
    for name in ["videos", "mp3s"] {
        // Emptied rather than dropped: the services made their indexes once.
        for collection in ["fs.files", "fs.chunks"] {
            client.database(name).collection::<RawDocumentBuf>(collection).delete_many(doc! {}).await?;
        }
    }
    Ok(())
}

fn connect(bench: &Bench) -> anyhow::Result<(TcpStream, String)> {
    let address = bench.app.gateway.url().trim_start_matches("http://").to_owned();
    let socket = TcpStream::connect(&address)?;
    socket.set_nodelay(true)?;
    Ok((socket, format!("Host: {address}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n", bench.user.token)))
}

/// Seconds of one upload. The client costs as little as one can: a copy from file to socket.
pub async fn post(bench: &Bench) -> anyhow::Result<f64> {
    let (mut socket, headers) = connect(bench)?;
    let film = bench.film.clone();
    let work = move || -> anyhow::Result<f64> {
        let head = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"film.mov\"\r\n\r\n";
        let tail = "\r\n--b--\r\n";
        let mut file = std::fs::File::open(&film)?;
        let length = head.len() as u64 + file.metadata()?.len() + tail.len() as u64;
        let started = Instant::now();
        write!(
            socket,
            "POST /upload HTTP/1.1\r\n{headers}Content-Length: {length}\r\n\
             Content-Type: multipart/form-data; boundary=b\r\n\r\n{head}"
        )?;
        std::io::copy(&mut file, &mut socket)?;
        write!(socket, "{tail}")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        Ok(started.elapsed().as_secs_f64())
    };
    tokio::task::spawn_blocking(work).await?
}

async fn get(bench: &Bench, fid: String) -> anyhow::Result<f64> {
    let (mut socket, headers) = connect(bench)?;
    let bytes = bench.bytes;
    let work = move || -> anyhow::Result<f64> {
        let started = Instant::now();
        write!(socket, "GET /download?fid={fid} HTTP/1.1\r\n{headers}\r\n")?;
        let read = std::io::copy(&mut socket, &mut std::io::sink())?;
        ensure!(read > bytes && read < bytes + 2_000, "{read} bytes came");
        Ok(started.elapsed().as_secs_f64())
    };
    tokio::task::spawn_blocking(work).await?
}

/// Seconds that pymongo needs, which a Python service stands on.
async fn pymongo(bench: &Bench, what: &str) -> anyhow::Result<f64> {
    let script = r#"
import sys, time, gridfs, pymongo
what, uri, film, owner = sys.argv[1:]
client = pymongo.MongoClient(uri)
videos, mp3s = gridfs.GridFS(client["videos"]), gridfs.GridFS(client["mp3s"])
client.admin.command("ping")
started = time.perf_counter()
if what == "put":
    with open(film, "rb") as f: videos.put(f)
elif what == "put-mp3":
    with open(film, "rb") as f: mp3s.put(f, metadata={"username": owner})
else:
    out = mp3s.get(client["mp3s"]["fs.files"].find_one()["_id"])
    while out.read(1 << 18): pass
print(time.perf_counter() - started)
"#;
    let uri = bench.app.mongod.url();
    let arguments = [what.as_ref(), uri.as_ref(), bench.film.as_os_str(), bench.user.email.as_ref()];
    python::seconds(script, &arguments).await
}

/// Seconds that the server needs for the bytes alone, with nothing to do but insert them.
async fn raw_inserts(bench: &Bench) -> anyhow::Result<f64> {
    let batches = bench.bytes.div_ceil((BATCH * CHUNK) as u64);
    let data = read_chunks(&bench.film)?;
    let (mut clients, file) = (Vec::new(), ObjectId::new());
    // As safe as ours: on the disks of most of the servers.
    let safe = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
    let mut options = ClientOptions::parse(bench.app.mongod.url()).await?;
    options.write_concern = Some(safe);
    for _ in 0..2 {
        let client = Client::with_options(options.clone())?;
        let chunks: Collection<RawDocumentBuf> = client.database("videos").collection("fs.chunks");
        chunks.count_documents(doc! {}).await?;
        clients.push(chunks);
    }
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for (at, chunks) in clients.into_iter().enumerate() {
        let data = data.clone();
        tasks.spawn(async move {
            for batch in (at as u64..batches).step_by(2) {
                let documents = data.iter().zip(0..).map(|(data, n)| {
                    let n = (batch * BATCH as u64) as i32 + n;
                    rawdoc! {"_id": ObjectId::new(), "files_id": file, "n": n, "data": data.clone()}
                });
                chunks.insert_many(documents.collect::<Vec<_>>()).ordered(false).await?;
            }
            anyhow::Ok(())
        });
    }
    for outcome in tasks.join_all().await {
        outcome?;
    }
    Ok(started.elapsed().as_secs_f64())
}

fn read_chunks(film: &Path) -> anyhow::Result<Vec<Binary>> {
    let mut file = std::fs::File::open(film)?;
    (0..BATCH)
        .map(|_| {
            let mut bytes = vec![0; CHUNK];
            file.read_exact(&mut bytes)?;
            Ok(Binary { subtype: BinarySubtype::Generic, bytes })
        })
        .collect()
}
