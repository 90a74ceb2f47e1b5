//! Dashboards and alerts against the product that they speak of.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use e2e::{App, Product, Service};
use serde_json::Value;
use testkit::{eventually, media, workspace_root};

/// Others' metrics, by who has them.
const FOREIGN: [&str; 4] = [
    // Prometheus itself
    "up",
    // RabbitMQ
    "rabbitmq_alarms_free_disk_space_watermark",
    "rabbitmq_alarms_memory_used_watermark",
    "rabbitmq_queue_messages_ready",
];

fn component() -> PathBuf {
    workspace_root().join("manifests/components/monitoring")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands below `spec` in the PrometheusRule: a rule file as Prometheus itself reads it.
fn rules() -> Value {
    let manifest: Value = yaml_serde::from_str(&read(&component().join("rules.yaml"))).expect("YAML");
    assert_eq!(manifest["kind"], "PrometheusRule");
    manifest["spec"].clone()
}

fn alerts() -> Vec<Value> {
    let rules = rules();
    let groups = rules["groups"].as_array().expect("groups");
    groups.iter().flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
}

fn texts_under(key: &str, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == key => found.push(text.clone()),
                    other => texts_under(key, other, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| texts_under(key, value, found)),
        _ => {}
    }
}

/// The metrics that a PromQL expression names: words outside of label lists that are neither
/// functions nor keywords.
fn named(expression: &str) -> BTreeSet<String> {
    const KEYWORDS: [&str; 12] = [
        "by",
        "without",
        "on",
        "ignoring",
        "group_left",
        "group_right",
        "and",
        "or",
        "unless",
        "offset",
        "bool",
        "inf",
    ];
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let (mut found, mut rest) = (BTreeSet::new(), expression);
    while let Some(first) = rest.chars().next() {
        let skipped = match first {
            // Matchers, ranges and texts name no metric.
            '{' => rest.find('}').expect("closed") + 1,
            '[' => rest.find(']').expect("closed") + 1,
            '"' => rest[1..].find('"').expect("closed") + 2,
            c if is_word(c) => {
                let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                let (word, after) = (&rest[..end], rest[end..].trim_start());
                let lists_labels = ["by", "without", "on", "ignoring", "group_left", "group_right"].contains(&word);
                if lists_labels && after.starts_with('(') {
                    rest.len() - after.len() + after.find(')').expect("closed") + 1
                } else {
                    let is_number = word.starts_with(|c: char| c.is_ascii_digit());
                    // A function, or an aggregation before its labels.
                    let is_call = after.starts_with('(') || after.starts_with("by") || after.starts_with("without");
                    if !is_number && !is_call && !KEYWORDS.contains(&word) {
                        found.insert(word.to_owned());
                    }
                    end
                }
            }
            other => other.len_utf8(),
        };
        rest = &rest[skipped..];
    }
    found
}

#[test]
fn names_are_found_in_expressions() {
    let names = |expression| named(expression).into_iter().collect::<Vec<_>>();
    assert_eq!(names("sum by (le, job) (rate(a_bucket{x=\"y_total\"}[5m])) / on (z) b > 0.5e3"), ["a_bucket", "b"]);
    assert_eq!(names("max(a) unless on (n) (b offset 1h) and c == 0"), ["a", "b", "c"]);
    assert_eq!(names("histogram_quantile(0.9, sum without (pod) (d:rate5m)) or vector(1)"), ["d:rate5m"]);
}

/// The names under which a service's series can be asked for.
async fn exposed(service: &Service) -> BTreeSet<String> {
    let metrics = service.metrics().await;
    let types = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types
        .flat_map(|(name, kind)| match kind {
            "histogram" => ["_bucket", "_sum", "_count"].map(|ending| format!("{name}{ending}")).to_vec(),
            _ => vec![name.to_owned()],
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_name_metrics_that_the_services_have() {
    let app = App::start().await;
    let ada = app.user("ada").await;
    let film = app.path("film.mp4");
    media::film(&film, 2.0, &media::Film::default()).expect("a film");
    let done = ada.convert(&film).await;
    ada.mp3(&done).await;
    eventually(Duration::from_secs(20), async || app.smtp.mails().len() == 1).await;

    let mut expressions = Vec::new();
    let dashboard = serde_json::from_str(&read(&component().join("mp3converter.json"))).expect("JSON");
    texts_under("expr", &dashboard, &mut expressions);
    assert!(expressions.len() > 30, "a dashboard with panels");
    texts_under("expr", &rules(), &mut expressions);
    let asked: BTreeSet<_> = expressions.iter().flat_map(|expression| named(expression)).collect();
    for name in FOREIGN {
        assert!(asked.contains(name), "nobody asks for {name}");
    }
    // The reconciler takes its figures when it comes round.
    eventually(Duration::from_secs(20), async || {
        let mut known: BTreeSet<String> = FOREIGN.map(str::to_owned).into();
        for service in app.services() {
            known.extend(exposed(service).await);
        }
        let unknown: Vec<_> = asked.difference(&known).cloned().collect();
        if unknown.is_empty() { Ok(()) } else { Err(unknown) }
    })
    .await;
}

fn promtool(folder: &Path, arguments: &[&str]) {
    let output = Command::new("promtool").args(arguments).current_dir(folder).output().expect("promtool is installed");
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{said}");
}

#[test]
fn alerts_go_off_when_they_should_and_not_otherwise() {
    let folder = tempfile::tempdir().expect("a folder");
    // JSON is YAML.
    fs::write(folder.path().join("rules.yaml"), rules().to_string()).expect("written");
    let tests = read(&workspace_root().join("crates/e2e/tests/operations/alerts.yaml"));
    fs::write(folder.path().join("tests.yaml"), &tests).expect("written");
    promtool(folder.path(), &["check", "rules", "--lint-fatal", "rules.yaml"]);
    promtool(folder.path(), &["test", "rules", "tests.yaml"]);

    let tests: Value = yaml_serde::from_str(&tests).expect("YAML");
    let mut tested = Vec::new();
    texts_under("alertname", &tests, &mut tested);
    for alert in alerts() {
        let name = alert["alert"].as_str().expect("a name").to_owned();
        assert!(tested.contains(&name), "{name} has no test");
    }
}

#[test]
fn each_alert_says_how_bad_it_is_and_where_to_read_on() {
    let guide = read(&workspace_root().join("docs/OPERATIONS.md"));
    let headings = guide.lines().filter_map(|line| line.strip_prefix("### "));
    let mut described: BTreeSet<_> = headings.map(|heading| heading.trim().to_lowercase()).collect();
    for alert in alerts() {
        let name = alert["alert"].as_str().expect("a name");
        let severity = alert["labels"]["severity"].as_str().expect("a severity");
        assert!(["warning", "critical"].contains(&severity), "{name}: {severity}");
        let (summary, runbook) = (&alert["annotations"]["summary"], &alert["annotations"]["runbook_url"]);
        assert!(summary.as_str().is_some_and(|summary| summary.len() > 10), "{name}: {summary}");
        let anchor = runbook.as_str().and_then(|url| url.strip_prefix("docs/OPERATIONS.md#")).expect(name);
        assert_eq!(anchor, name.to_lowercase());
        assert!(described.remove(anchor), "{name} is not described");
    }
    assert!(described.is_empty(), "no longer alerts: {described:?}");
}
