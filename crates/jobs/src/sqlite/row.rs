//! A row of the table, as a record.

use common::Id;
use sqlx::{Row, sqlite::SqliteRow};
use time::OffsetDateTime;

use super::away;
use crate::{Error, Job, Result};

pub fn job(row: &SqliteRow) -> Result<Job> {
    let bytes = |column| row.try_get::<Option<i64>, _>(column).map(|bytes| bytes.map(i64::unsigned_abs));
    let is_set = |column| row.try_get::<Option<i64>, _>(column).map(|at| at.is_some());
    let id = |column| row.try_get::<Option<&str>, _>(column).map_err(away)?.map(parse).transpose();
    let missing = || Error(anyhow::anyhow!("a record without an id"));
    let outputs: &str = row.try_get("outputs").map_err(away)?;
    Ok(Job {
        id: id("_id")?.ok_or_else(missing)?,
        owner: row.try_get("owner").map_err(away)?,
        filename: row.try_get("filename").map_err(away)?,
        state: row.try_get::<&str, _>("state").map_err(away)?.parse()?,
        percent: row.try_get("percent").map_err(away)?,
        video_fid: id("video_fid")?.ok_or_else(missing)?,
        video_bytes: bytes("video_bytes").map_err(away)?,
        mp3_fid: id("mp3_fid")?,
        mp3_bytes: bytes("mp3_bytes").map_err(away)?,
        duration_s: row.try_get("duration_s").map_err(away)?,
        reason: row.try_get("reason").map_err(away)?,
        settings: serde_json::from_str(row.try_get("settings").map_err(away)?).map_err(|e| Error(e.into()))?,
        key: row.try_get("key").map_err(away)?,
        run: row.try_get("run").map_err(away)?,
        attempt: row.try_get("attempt").map_err(away)?,
        attempts_before: row.try_get("attempts_before").map_err(away)?,
        outputs: outputs.split_whitespace().map(parse).collect::<Result<_>>()?,
        told: is_set("told_at").map_err(away)?,
        mailed: is_set("mailed_at").map_err(away)?,
        created_at: time(row.try_get("created_at").map_err(away)?)?,
        updated_at: time(row.try_get("updated_at").map_err(away)?)?,
        lined_up_at: time(row.try_get("lined_up_at").map_err(away)?)?,
        leased_at: row.try_get::<Option<i64>, _>("leased_at").map_err(away)?.map(time).transpose()?,
        ended_at: row.try_get::<Option<i64>, _>("ended_at").map_err(away)?.map(time).transpose()?,
        video_expired: is_set("video_expired_at").map_err(away)?,
        traceparent: row.try_get("traceparent").map_err(away)?,
    })
}

pub fn parse(id: &str) -> Result<Id> {
    id.parse().map_err(|e: common::id::NotAnId| Error(e.into()))
}

fn time(millis: i64) -> Result<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).map_err(|e| Error(e.into()))
}
