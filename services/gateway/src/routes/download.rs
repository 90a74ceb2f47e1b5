//! `GET /download?fid=…`: the MP3 (or a zip of some), or a range of it, to its owner.

use axum::{
    body::Body,
    extract::{Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use blobs::Stat;
use common::{Error, Id, Result};
use futures_util::TryStreamExt;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::{
    App,
    auth_client::User,
    range::{Wanted, wanted},
};

/// What RFC 8187 lets stand in an extended header value as it is.
const ATTR_CHAR: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const ZIP: &str = "application/zip";

#[derive(Deserialize)]
pub struct Params {
    fid: Option<String>,
}

pub async fn download(State(app): State<App>, Query(params): Query<Params>, headers: HeaderMap) -> Result<Response> {
    let user = app.auth.user(&headers).await?;
    let fid = params.fid.filter(|fid| !fid.is_empty());
    let fid = fid.ok_or_else(|| Error::BadRequest("fid is required".to_owned()))?;
    // Not an id, unknown, and another user's: the three must look alike.
    let fid: Id = fid.parse().map_err(|_| Error::NotFound)?;
    let mp3 = app.mp3s.stat(&fid).await.map_err(Error::unavailable("the store"))?.ok_or(Error::NotFound)?;
    if !may_have(&app, &user, &mp3).await? {
        return Err(Error::NotFound);
    }

    let etag = format!("\"{fid}\"");
    let fixed = [
        (header::CONTENT_TYPE, HeaderValue::from_static(if is_zip(&mp3) { ZIP } else { "audio/mpeg" })),
        (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
        (header::ETAG, value(&etag)?),
        (header::CONTENT_DISPOSITION, value(&disposition(&mp3))?),
    ];
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let same = |list: &str| {
        list.split(',').any(|tag| matches!(tag.trim().trim_start_matches("W/"), t if t == etag || t == "*"))
    };
    if text(header::IF_NONE_MATCH).is_some_and(same) {
        return Ok((StatusCode::NOT_MODIFIED, fixed).into_response());
    }
    // A range of another version than the client has is of no use to it.
    let range = text(header::RANGE).filter(|_| text(header::IF_RANGE).is_none_or(|tag| tag.trim() == etag));
    let length = mp3.length;
    let (status, part) = match wanted(range, length) {
        Wanted::All => (StatusCode::OK, 0..length),
        Wanted::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Wanted::Unsatisfiable => {
            let whole = [(header::CONTENT_RANGE, format!("bytes */{length}"))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, whole, "range not satisfiable").into_response());
        }
    };
    let mut response = (status, fixed).into_response();
    let head = response.headers_mut();
    head.insert(header::CONTENT_LENGTH, (part.end - part.start).into());
    if status == StatusCode::PARTIAL_CONTENT {
        head.insert(header::CONTENT_RANGE, value(&format!("bytes {}-{}/{length}", part.start, part.end - 1))?);
    }
    let place = app.allowance.download(&user.name)?;
    let handed_out = metrics::counter!("download_bytes_total");
    let bytes = app.mp3s.stream(&mp3, part).inspect_ok(move |bytes| {
        let _held = &place;
        handed_out.increment(bytes.len() as u64);
    });
    *response.body_mut() = Body::from_stream(bytes);
    Ok(response)
}

/// An MP3 belongs to whom its own record names, or else to whom the ledger does.
async fn may_have(app: &App, user: &User, mp3: &Stat) -> Result<bool> {
    let owner = match &mp3.meta.username {
        Some(owner) => Some(owner.clone()),
        None => {
            let job = app.jobs.by_mp3(&mp3.id).await.map_err(Error::unavailable("the store"))?;
            job.map(|job| job.owner)
        }
    };
    Ok(owner.map_or(app.config.allow_unowned_downloads, |owner| owner.to_lowercase() == user.name))
}

/// Whether it is one of several MP3s. Whatever else others may have noted is no word to pass on.
fn is_zip(mp3: &Stat) -> bool {
    mp3.meta.content_type.as_deref() == Some(ZIP)
}

fn disposition(mp3: &Stat) -> String {
    // A browser plays the one, and has nothing to show of the other.
    let (kind, extension) = if is_zip(mp3) { ("attachment", "zip") } else { ("inline", "mp3") };
    let plain = format!("{kind}; filename=\"{}.{extension}\"", mp3.id);
    match &mp3.meta.filename {
        Some(name) => format!("{plain}; filename*=UTF-8''{}", utf8_percent_encode(name, ATTR_CHAR)),
        None => plain,
    }
}

fn value(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).map_err(|e| Error::Internal(e.into()))
}
