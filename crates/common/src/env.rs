//! Configuration from the environment: every fault is collected, and all are reported together.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    str::FromStr,
    time::Duration,
};

use url::Url;

use crate::Secret;

/// The environment being read, and what is wrong with it so far.
///
/// A getter that finds a fault notes it and returns a stand-in, so that reading goes on and
/// the user learns of everything at once from [`Env::finish`].
#[derive(Debug, Default)]
pub struct Env {
    vars: BTreeMap<String, Secret>,
    asked: BTreeSet<String>,
    faults: Vec<String>,
}

/// All that is wrong with a configuration, one sentence each.
#[derive(Debug, thiserror::Error)]
#[error("the configuration has {} fault{}:\n  {}", .0.len(), if .0.len() == 1 { "" } else { "s" }, .0.join("\n  "))]
pub struct Faults(pub Vec<String>);

impl Env {
    /// The environment of this process.
    pub fn from_process() -> Self {
        // Names or values that are not UTF-8 are no setting of ours.
        std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect()
    }

    /// The value of `NAME`, unless it is unset or empty.
    pub fn optional(&mut self, name: &str) -> Option<String> {
        self.asked.insert(name.to_owned());
        self.vars.get(name).map(|v| v.expose().to_owned()).filter(|v| !v.is_empty())
    }

    pub fn string(&mut self, name: &str, default: &str) -> String {
        self.optional(name).unwrap_or_else(|| default.to_owned())
    }

    /// The value of `NAME`, or the content of the file that `NAME_FILE` names, less its line end.
    pub fn secret(&mut self, name: &str) -> Option<Secret> {
        let file_var = format!("{name}_FILE");
        match (self.optional(name), self.optional(&file_var)) {
            (Some(_), Some(_)) => {
                self.fault(format!("{name} and {file_var} are both set; set one of them"));
                None
            }
            (Some(value), None) => Some(Secret::new(value)),
            (None, Some(path)) => match std::fs::read_to_string(&path) {
                Ok(value) => Some(Secret::new(value.trim_end_matches(['\r', '\n']))),
                Err(e) => {
                    self.fault(format!("{file_var}: cannot read {path}: {e}"));
                    None
                }
            },
            (None, None) => None,
        }
    }

    /// A value with a text form of its own.
    pub fn parse<T: FromStr>(&mut self, name: &str, default: T) -> T
    where
        T::Err: Display,
    {
        match self.optional(name).map(|text| text.trim().parse::<T>()) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(e)) => {
                self.fault(format!("{name}: {e}"));
                default
            }
        }
    }

    /// `true`/`false`, `1`/`0`, `yes`/`no`, `on`/`off`.
    pub fn flag(&mut self, name: &str, default: bool) -> bool {
        match self.optional(name).map(|v| v.to_ascii_lowercase()).as_deref() {
            None => default,
            Some("true" | "1" | "yes" | "on") => true,
            Some("false" | "0" | "no" | "off") => false,
            Some(_) => {
                self.fault(format!("{name}: true or false is expected"));
                default
            }
        }
    }

    /// A span of time: a number and `ms`, `s`, `m`, `h` or `d`.
    pub fn duration(&mut self, name: &str, default: Duration) -> Duration {
        let Some(text) = self.optional(name) else { return default };
        parse_duration(text.trim()).unwrap_or_else(|| {
            self.fault(format!("{name}: a number with ms, s, m, h or d is expected, such as 90s"));
            default
        })
    }

    /// How long something is waited for: more than nothing, and no more than a day.
    pub fn time_limit(&mut self, name: &str, default: Duration) -> Duration {
        let limit = self.duration(name, default);
        if limit.is_zero() || limit > Duration::from_secs(86_400) {
            self.fault(format!("{name}: from 1ms to 1d is expected"));
            return default;
        }
        limit
    }

    /// Spans of time with commas between them, one at the least.
    pub fn durations(&mut self, name: &str, default: &[Duration]) -> Vec<Duration> {
        let Some(text) = self.optional(name) else { return default.to_vec() };
        let spans: Option<_> = text.split(',').map(|span| parse_duration(span.trim())).collect();
        spans.unwrap_or_else(|| {
            self.fault(format!("{name}: spans of time are expected, such as 1s,30s,10m"));
            default.to_vec()
        })
    }

    /// A URL (which may hold a password, hence read like a secret) with one of these schemes.
    pub fn url(&mut self, name: &str, default: &str, schemes: &[&str]) -> Secret {
        let value = self.secret(name).unwrap_or_else(|| Secret::new(default));
        let scheme = value.expose().split_once(':').map_or("", |(scheme, _)| scheme);
        if !schemes.contains(&scheme) {
            let expected = schemes.iter().map(|s| format!("{s}:")).collect::<Vec<_>>().join(" or ");
            self.fault(format!("{name}: a URL that begins with {expected} is expected"));
        }
        value
    }

    /// Where files or records are kept: `NAME`, a URL of MongoDB's or of the `embedded` kind,
    /// or else the classic `MONGODB_URI`.
    pub fn store_url(&mut self, name: &str, embedded: &str) -> Secret {
        let named = [name.to_owned(), format!("{name}_FILE")].iter().any(|name| self.optional(name).is_some());
        if named {
            return self.url(name, "", &["mongodb", "mongodb+srv", embedded]);
        }
        self.url("MONGODB_URI", "mongodb://localhost:27017", &["mongodb", "mongodb+srv"])
    }

    /// Sets `NAME` where neither it nor `NAME_FILE` is set.
    pub fn default_to(&mut self, name: &str, value: impl Into<String>) {
        if self.optional(name).is_none() && self.optional(&format!("{name}_FILE")).is_none() {
            self.vars.insert(name.to_owned(), Secret::new(value));
        }
    }

    /// A base address that others reach us by, without a trailing slash.
    pub fn public_url(&mut self, name: &str) -> Option<String> {
        let text = self.optional(name)?;
        match Url::parse(&text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
                Some(text.trim_end_matches('/').to_owned())
            }
            _ => {
                self.fault(format!("{name}: an http or https URL is expected"));
                None
            }
        }
    }

    /// Variables that are set and that nobody has asked for: misspelt ones, say.
    pub fn unread(&self) -> Vec<&str> {
        self.vars.keys().filter(|name| !self.asked.contains(*name)).map(String::as_str).collect()
    }

    /// Notes a fault found by the caller, once.
    pub fn fault(&mut self, fault: impl Into<String>) {
        let fault = fault.into();
        // Two settings, or two services of one process, may read the same variable.
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    /// Hands the configuration out, if nothing was wrong.
    pub fn finish<T>(self, config: T) -> Result<T, Faults> {
        if self.faults.is_empty() { Ok(config) } else { Err(Faults(self.faults)) }
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let vars = pairs.into_iter().map(|(k, v)| (k.into(), Secret::new(v))).collect();
        Self { vars, ..Self::default() }
    }
}

/// A number and `ms`, `s`, `m`, `h` or `d`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    Some(match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.checked_mul(60)?),
        "h" => Duration::from_secs(number.checked_mul(3_600)?),
        "d" => Duration::from_secs(number.checked_mul(86_400)?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::{io::Write, time::Duration};

    use super::Env;

    #[test]
    fn all_faults_are_reported_together() {
        let mut env: Env = [("PORT", "many"), ("WAIT", "soon"), ("URL", "ftp://x"), ("S", "a"), ("S_FILE", "/x")]
            .into_iter()
            .collect();
        env.parse("PORT", 1u16);
        env.duration("WAIT", Duration::ZERO);
        env.url("URL", "", &["amqp", "amqps"]);
        env.secret("S");
        let faults = env.finish(()).expect_err("four faults");
        assert_eq!(faults.0.len(), 4, "{faults}");
        assert!(faults.to_string().contains("amqp: or amqps:"), "{faults}");
    }

    #[test]
    fn a_secret_may_come_from_a_file_and_is_never_shown() {
        let mut file = tempfile::NamedTempFile::new().expect("temporary file");
        writeln!(file, "hunter2").expect("write");
        let mut env: Env = [("KEY_FILE", file.path().to_str().expect("path"))].into_iter().collect();
        let secret = env.secret("KEY").expect("value");
        assert_eq!(secret.expose(), "hunter2");
        assert!(!format!("{secret:?} {secret} {env:?}").contains("hunter2"));
    }

    #[test]
    fn a_store_has_a_url_of_its_own_or_the_classic_one() {
        let mut env: Env = [("MONGODB_URI", "mongodb://m"), ("BLOBS_URL", "file:/b")].into_iter().collect();
        assert_eq!(env.store_url("BLOBS_URL", "file").expose(), "file:/b");
        assert_eq!(env.store_url("LEDGER_URL", "sqlite").expose(), "mongodb://m");
        env.default_to("LEDGER_URL", "sqlite:/l");
        env.default_to("BLOBS_URL", "file:/c");
        assert_eq!(env.store_url("LEDGER_URL", "sqlite").expose(), "sqlite:/l");
        assert_eq!(env.store_url("BLOBS_URL", "file").expose(), "file:/b");
        env.store_url("BLOBS_URL", "sqlite");
        env.store_url("BLOBS_URL", "sqlite");
        assert_eq!(env.finish(()).expect_err("the wrong kind").0.len(), 1, "told once");
    }

    #[test]
    fn empty_means_unset() {
        let mut env: Env = [("A", "")].into_iter().collect();
        assert_eq!(env.string("A", "default"), "default");
        assert!(!env.flag("A", false));
    }

    #[test]
    fn what_nobody_reads_is_known() {
        let mut env: Env = [("A", "1"), ("B", "2"), ("C_FILE", "/dev/null")].into_iter().collect();
        env.string("A", "");
        env.secret("C");
        assert_eq!(env.unread(), ["B"]);
    }

    #[test]
    fn a_time_limit_is_more_than_nothing_and_no_more_than_a_day() {
        let second = Duration::from_secs(1);
        let mut env: Env = [("GOOD", "5ms"), ("NONE", "0s"), ("LONG", "25h"), ("BAD", "soon")].into_iter().collect();
        assert_eq!((env.time_limit("GOOD", second), env.time_limit("UNSET", second)), (second / 200, second));
        env.time_limit("NONE", second);
        env.time_limit("LONG", second);
        env.time_limit("BAD", second);
        let faults = env.finish(()).expect_err("three faults").to_string();
        for name in ["NONE: ", "LONG: ", "BAD: "] {
            assert!(faults.contains(name), "{faults}");
        }
    }

    #[test]
    fn durations_have_units() {
        let mut env: Env = [("A", "250ms"), ("B", "2h"), ("C", "7")].into_iter().collect();
        assert_eq!(env.duration("A", Duration::ZERO), Duration::from_millis(250));
        assert_eq!(env.duration("B", Duration::ZERO), Duration::from_secs(7_200));
        env.duration("C", Duration::ZERO);
        assert_eq!(env.durations("A", &[]), [Duration::from_millis(250)]);
        assert!(env.finish(()).is_err());
    }
}
